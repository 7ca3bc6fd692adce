"""How fast training is, beside what a user would use instead, on the same batches of real records.

sft: against a plain transformers + peft loop. capo: against trl's stock DPOTrainer with `precompute_ref_log_probs`, so
that neither side computes the reference in a step; the time of our caching pass is printed. Ratios of tokens per
second, medians of alternating rounds. Needs HLVBENCH_DATA.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hlvbench.bootstrap import seeded
from hlvbench.data.task import load_task
from hlvbench.models.adapters import find_adapters, local_folder
from hlvbench.models.loading import identified
from hlvbench.models.logprobs import Example, forward
from hlvbench.models.smollm2 import NAME
from hlvbench.training.losses import answer_logps, capo_loss, sft_loss
from hlvbench.training.pairs import preferences
from hlvbench.training.train_adapters import train
from hlvbench.training.trainable_model import TRAINED, Bench
from hlvbench.training.training_batch import Encoder, Pair, micro_batches
from hlvbench.training.training_config import Config
from hlvbench.training.training_loop import Loop, Objective, rows_of_step

SFT_TARGET, CAPO_TARGET = 1.0, 1.0
ANNOTATOR = "Ann1"


def sft_pieces(rows: Sequence[Example], config: Config, micro: int, steps: int) -> list[list[list[Example]]]:
    """Step -> micro-batches: the very rows that our loop puts together."""
    out = []
    for step in range(steps):
        chosen = [rows[i] for i in rows_of_step(step, len(rows), config, ("varierr", ANNOTATOR))]
        out.append([[chosen[i] for i in piece] for piece in micro_batches(chosen, micro)])
    return out


def plain_sft(model: str, config: Config, steps: Sequence[list[list[Example]]], pad: int) -> Callable[[], None]:
    """What a user would write: padded on the right, labels of -100 on prompts, the model's own loss."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    adapter = LoraConfig(r=config.rank, lora_alpha=config.alpha, lora_dropout=0.05, target_modules="all-linear",
                         task_type="CAUSAL_LM")  # fmt: skip
    peft = get_peft_model(base, adapter).train()
    optimizer = torch.optim.AdamW([p for p in peft.parameters() if p.requires_grad], lr=2e-4)

    def run() -> None:
        for pieces in steps:
            for piece in pieces:
                width = max(r.tokens for r in piece)
                gaps = [width - r.tokens for r in piece]
                ids = [[*r.prompt, *r.answer] + [pad] * g for r, g in zip(piece, gaps, strict=True)]
                labels = [[-100] * len(r.prompt) + [*r.answer] + [-100] * g for r, g in zip(piece, gaps, strict=True)]
                mask = [[1] * r.tokens + [0] * g for r, g in zip(piece, gaps, strict=True)]
                loss = peft(
                    input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask), labels=torch.tensor(labels),
                    use_cache=False,
                ).loss  # fmt: skip
                (loss / len(pieces)).backward()
            torch.nn.utils.clip_grad_norm_([p for p in peft.parameters() if p.requires_grad], 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return run


def our_loop(
    bench: Bench, config: Config, objective: Objective, micro: int, steps: int, folder: Path
) -> Callable[[], None]:
    def run() -> None:
        loop = Loop(bench.weights(), objective, config, folder, ("varierr", ANNOTATOR), micro)
        for _ in range(steps):
            loop._step()
            loop.state.step += 1

    return run


def stock_dpo(
    model: str, sft: Path, pairs: Sequence[Pair], references: Sequence[Sequence[float]], scratch: Path, per_step: int
) -> Callable[[], None]:
    """trl's DPOTrainer on an adapter named "default", its reference precomputed; one step per batch of pairs."""
    import torch
    from datasets import Dataset
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    peft = PeftModel.from_pretrained(base, sft, is_trainable=True)
    rows = [{"prompt": "a", "chosen": "b", "rejected": "c"}] * 2
    trainer = DPOTrainer(
        peft, args=DPOConfig(str(scratch / "trl"), use_cpu=True, report_to=[], bf16=False, max_length=None,
                             gradient_checkpointing=False, per_device_train_batch_size=per_step,
                             precompute_ref_log_probs=True),
        train_dataset=Dataset.from_list(rows), processing_class=AutoTokenizer.from_pretrained(model),
    )  # fmt: skip
    optimizer = trainer.create_optimizer()
    trainer.current_gradient_accumulation_steps = 1
    collate, train_step = trainer.data_collator, trainer.training_step
    made = [
        {"prompt_ids": [*p.chosen.prompt], "chosen_ids": [*p.chosen.answer], "rejected_ids": [*p.rejected.answer],
         "ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
        for p, (chosen, rejected) in zip(pairs, references, strict=True)
    ]  # fmt: skip
    peft.train()

    def run() -> None:
        for start in range(0, len(made), per_step):
            train_step(peft, collate(made[start : start + per_step]))
            torch.nn.utils.clip_grad_norm_([p for p in peft.parameters() if p.requires_grad], 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return run


def compare(ours: Callable[[], None], theirs: Callable[[], None], tokens: int, rounds: int) -> tuple[float, float]:
    """Median tokens per second of both, in alternating rounds after one to warm up."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for own, run in zip(times, (ours, theirs), strict=True):
            started = time.perf_counter()
            run()
            if number:
                own.append(time.perf_counter() - started)
    return tokens / statistics.median(times[0]), tokens / statistics.median(times[1])


def report(name: str, ours: float, theirs: float, other: str, target: float) -> bool:
    print(f"{name}: {ours:.0f} tokens/s, {other} {theirs:.0f} tokens/s")
    print(f"  ratio {ours / theirs:.2f}, target at least {target}")
    return ours / theirs >= target


def bench_sft(model: str, steps: int, rounds: int, scratch: Path) -> bool:
    config = Config("sft", model, ("varierr",))
    bench = Bench(config, identified(model, Path(model)), "cpu")
    task = load_task("varierr")
    rows = Encoder(task, bench.decoder, bench.context).examples(task.records_of("train", ANNOTATOR))
    pieces, micro = sft_pieces(rows, config, 8, steps), 8
    tokens = sum(r.tokens for step in pieces for piece in step for r in piece)
    bench.add(0)

    def loss(positions: Sequence[int]) -> tuple[Any, dict[str, Any]]:
        return sft_loss(*forward(bench.model, [rows[i] for i in positions], bench.decoder.pad)), {}

    ours = our_loop(bench, config, Objective(rows, loss, lambda r: len(r.answer)), micro, steps, scratch)
    theirs = plain_sft(model, config, pieces, bench.decoder.pad)
    found = compare(ours, theirs, tokens, rounds)
    return report("sft", *found, "plain transformers + peft loop", SFT_TARGET)


def bench_capo(model: str, steps: int, rounds: int, scratch: Path) -> bool:
    import torch

    sft = train(Config("sft", model, ("varierr",), epochs=0.05, dropout=0.0), scratch / "sft", quiet=True, device="cpu")
    start = sft / "varierr" / ANNOTATOR
    per_step = 8
    config = Config("capo", model, ("varierr",), start=str(sft), batch=per_step, select="last")
    bench, task = Bench(config, identified(model, Path(model)), "cpu"), load_task("varierr")
    bench.load_start(find_adapters(str(config.start), {task.name: task.annotators}))
    made = Encoder(task, bench.decoder, bench.context).pairs(preferences(task, ANNOTATOR, config.policy()))
    chosen = seeded("benchmark").permutation(len(made))[: steps * per_step]
    pairs = [made[i] for i in chosen]
    bench.add(0, start)
    began = time.perf_counter()
    flat = [e for p in pairs for e in (p.chosen, p.rejected)]
    cached = torch.zeros(len(flat))
    with torch.no_grad(), bench.speaking(start) as reference:
        for piece in micro_batches(flat, 16):
            cached[piece] = answer_logps(*forward(reference, [flat[i] for i in piece], bench.decoder.pad))
    table, caching = cached.view(-1, 2), time.perf_counter() - began
    bench.activate(TRAINED, training=True)

    def loss(positions: Sequence[int]) -> tuple[Any, Any]:
        both = [pairs[i].chosen for i in positions] + [pairs[i].rejected for i in positions]
        logps, mask = forward(bench.model, both, bench.decoder.pad)
        chosen_ref, rejected_ref = table[list(positions)].T
        return capo_loss(logps, mask, chosen_ref, rejected_ref, config.beta)

    order = [i for s in range(steps) for i in rows_of_step(s, len(pairs), config, ("varierr", ANNOTATOR))]
    ours = our_loop(bench, config, Objective(pairs, loss, lambda r: 1.0), per_step, steps, scratch)
    theirs = stock_dpo(model, start, [pairs[i] for i in order], table[order].tolist(), scratch, per_step)
    tokens = sum(p.tokens for p in pairs)
    found = compare(ours, theirs, tokens, rounds)
    print(f"capo: caching the reference took {caching:.1f} s for {len(pairs)} pairs, once for all epochs")
    return report("capo, per step after it", *found, "stock DPOTrainer, its reference precomputed", CAPO_TARGET)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default=NAME, help="a folder, or %(default)s (the default)")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    model = str(local_folder(given.model, "--model"))
    with tempfile.TemporaryDirectory() as scratch:
        met = [
            bench_sft(model, given.steps, given.rounds, Path(scratch)),
            bench_capo(model, given.steps, given.rounds, Path(scratch)),
        ]
    return int(not all(met))


if __name__ == "__main__":
    sys.exit(main())
