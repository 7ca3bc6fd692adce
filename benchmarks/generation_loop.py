"""Tokens per second of the whole generation loop, beside a bare `model.generate` on the same batches.

The loop renders prompts, tokenises, sorts, pads, decodes, hashes and syncs every batch to disk; the bare side
gets its batches tokenised, sorted by length and padded beforehand. Same model, precision, batch size and token
limit; greedy; no adapter. Rounds alternate, medians of wall time are compared; the processor's seconds stand beside
them, because on a busy machine wall time says more about the neighbours. Needs HLVBENCH_DATA unless `--task demo`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hlvbench.data.task import load_task
from hlvbench.generation.generate import generate
from hlvbench.generation.open_model import open_models
from hlvbench.io import read_generations
from hlvbench.models.adapters import local_folder
from hlvbench.models.smollm2 import NAME
from hlvbench.prompting.prompt import Prompter, render
from hlvbench.settings import Settings
from hlvbench.types import Task

TARGET = 0.95


def bare_batches(tokenizer: Any, task: Task, settings: Settings, size: int) -> list[Any]:
    """Left-padded input tensors, the longest prompts first."""
    prompter = Prompter(task, "base")
    texts = [render(prompter.content(*q), tokenizer) for q in task.questions("test", settings.limit)]
    ids = sorted(tokenizer(texts, add_special_tokens=False)["input_ids"], key=len, reverse=True)
    tokenizer.padding_side = "left"
    parts = [ids[start : start + size] for start in range(0, len(ids), size)]
    return [tokenizer.pad({"input_ids": part}, return_tensors="pt") for part in parts]


def bare_round(model: Any, batches: list[Any], settings: Settings, pad: int) -> tuple[int, float, float]:
    """(new tokens up to the one that ends each answer, wall seconds, processor seconds)."""
    import torch

    tokens, started, busy = 0, time.perf_counter(), time.process_time()
    ends = model.generation_config.eos_token_id
    ends = torch.tensor(ends if isinstance(ends, list) else [ends], device=model.device)
    with torch.inference_mode():
        for batch in batches:
            batch = batch.to(model.device)
            out = model.generate(
                **batch, do_sample=False, max_new_tokens=settings.max_new_tokens, pad_token_id=pad
            )  # fmt: skip
            new = out[:, batch["input_ids"].shape[1] :]
            ended = torch.isin(new, ends)
            length = torch.where(ended.any(1), ended.int().argmax(1) + 1, new.shape[1])
            tokens += int(length.sum())
    return tokens, time.perf_counter() - started, time.process_time() - busy


def our_round(model: Any, task: Task, settings: Settings, size: int) -> tuple[int, float, float]:
    """(new tokens, wall seconds, processor seconds) of the loop into a fresh folder."""
    with tempfile.TemporaryDirectory() as folder:
        started, busy = time.perf_counter(), time.process_time()
        generate(
            task, model, Path(folder), Prompter(task, "base").content, split="test", limit=settings.limit, samples=1,
            batch_size=size, settings=asdict(settings), resume=True, quiet=True,
        )  # fmt: skip
        elapsed, worked = time.perf_counter() - started, time.process_time() - busy
        rows = read_generations(Path(folder) / "generations.jsonl")
        return sum(row.new_tokens for row in rows), elapsed, worked


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--model", default=NAME, help="a folder, or %(default)s (the default)")
    parser.add_argument("--task", default="varierr")
    parser.add_argument("--limit", type=int, help="items; default: all")
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()

    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = str(local_folder(given.model, "--model"))
    settings = Settings(
        model=folder, task=(given.task,), limit=given.limit, max_new_tokens=given.max_new_tokens,
        dtype="float32", device=given.device,
    )  # fmt: skip
    task = load_task(given.task)
    ours = open_models(settings, [task])[task.name]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    bare = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").to(given.device).eval()
    batches = bare_batches(tokenizer, task, settings, given.batch_size)

    bare_round(bare, batches[:1], settings, tokenizer.pad_token_id)
    rounds = []
    for number in range(given.rounds):
        loop_tokens, loop_seconds, loop_cpu = our_round(ours, task, settings, given.batch_size)
        bare_tokens, bare_seconds, bare_cpu = bare_round(bare, batches, settings, tokenizer.pad_token_id)
        rounds.append((loop_tokens / loop_seconds, bare_tokens / bare_seconds))
        print(
            f"round {number + 1}: loop {loop_tokens} tokens in {loop_seconds:.1f} s ({loop_cpu:.1f} cpu), "
            f"bare {bare_tokens} tokens in {bare_seconds:.1f} s ({bare_cpu:.1f} cpu)",
            flush=True,
        )
    loop, plain = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"{len(task.questions('test', given.limit))} questions of {task.name}, batches of {given.batch_size}")
    print(f"loop {loop:.0f} tokens/s, bare {plain:.0f} tokens/s (medians of {given.rounds})")
    print(f"ratio {loop / plain:.3f}, target at least {TARGET}")
    return int(loop / plain < TARGET)


if __name__ == "__main__":
    sys.exit(main())
