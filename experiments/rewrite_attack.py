"""An attack with a real model: SmolLM2 rewrites the annotator's nearest sentence so that it speaks of the new item.

    python experiments/rewrite_attack.py --task r2 --out rewritten

The label is the one that a classifier on the input guesses. The sentence is the annotator's train explanation of the
nearest input among those with this label. Prints the factors of the index and the index itself (docs/metrics.md
section 9). OUT/<task>.jsonl keeps the texts; a second call continues.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from hlvbench.api import load_task, render_answer, score_texts
from hlvbench.baselines.knowledge import Knowledge
from hlvbench.embeddings import load_embedder
from hlvbench.metrics.index import factor_metrics, index_metric
from hlvbench.models.smollm2 import fetch_embedded
from hlvbench.text import raw
from hlvbench.types import Item, Pair, Task

BATCH = 16
NEW_TOKENS = 40


def shown(item: Item) -> str:
    return "\n".join(f"{field}: {text}" for field, text in item.text.items())


def instruction(task: Task, known: Knowledge, pair: Pair) -> str:
    """The old texts with their sentence, the new texts, and what is asked."""
    record = known.nearest(pair, known.predicted_labels[pair])
    return (
        "A person explained an answer in one sentence.\n\n"
        f"{shown(task.items[record.item])}\nSentence: {raw(record.explanation)}\n\n"
        "Write the same person's sentence about these new texts. Keep the wording, and change only the words that come "
        f"from the old texts.\n\n{shown(task.items[pair[0]])}\n\nReply with the sentence alone."
    )


def rewrite(task: Task, known: Knowledge, pairs: list[Pair], path: Path) -> dict[Pair, str]:
    """The first line of the model's greedy reply to every question, kept in `path` as it comes."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    done = {(row["item"], row["annotator"]): row["text"] for row in rows}
    folder = fetch_embedded()
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    left = sorted((p for p in pairs if p not in done), key=lambda p: len(instruction(task, known, p)))
    with path.open("a", encoding="utf-8") as file:
        for start in range(0, len(left), BATCH):
            batch = left[start : start + BATCH]
            chats = [[{"role": "user", "content": instruction(task, known, p)}] for p in batch]
            given = tokenizer.apply_chat_template(
                chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
            )
            with torch.inference_mode():
                out = model.generate(**given, max_new_tokens=NEW_TOKENS, do_sample=False)
            replies = tokenizer.batch_decode(out[:, given["input_ids"].shape[1] :], skip_special_tokens=True)
            for pair, reply in zip(batch, replies, strict=True):
                done[pair] = next(iter(reply.strip().splitlines()), "").removeprefix("Sentence:").strip()
                file.write(json.dumps({"item": pair[0], "annotator": pair[1], "text": done[pair]}) + "\n")
            file.flush()
            print(f"{task.name}: {min(start + BATCH, len(left))}/{len(left)}", flush=True)
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="varierr,r2", help="comma-separated (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("rewritten"), help="default: %(default)s")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.task.split(","):
        task = load_task(name)
        known = Knowledge(task, "test", load_embedder())
        pairs = task.questions("test")
        texts = rewrite(task, known, list(pairs), arguments.out / f"{name}.jsonl")
        scores = score_texts(task, {p: render_answer(task, known.predicted_labels[p], texts[p]) for p in pairs})
        metrics = {**factor_metrics(), "index": index_metric(task)}
        for key, metric in metrics.items():
            found = scores[str(metric)]
            print(f"{name}: {key} {found.value:.3f} [{found.low:.3f}, {found.high:.3f}]")


if __name__ == "__main__":
    main()
