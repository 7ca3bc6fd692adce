"""Free against constrained answers of one model: readable answers, tokens and seconds per answer, side by side.

The same questions, prompts, batch size and token limit; greedy; no adapter. Needs HLVBENCH_DATA unless `--task demo`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from hlvbench.data.task import load_task
from hlvbench.generation.generate import generate
from hlvbench.generation.open_model import open_models
from hlvbench.io import read_generations
from hlvbench.models.smollm2 import NAME
from hlvbench.prompting.parse import parse
from hlvbench.prompting.prompt import Prompter
from hlvbench.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--model", default=NAME, help="a folder, a hub id, or %(default)s (the default)")
    parser.add_argument("--task", default="varierr")
    parser.add_argument("--limit", type=int, default=8, help="items (default: %(default)s)")
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    task = load_task(given.task)
    print(f"{len(task.questions('test', given.limit))} questions of {task.name}, batches of {given.batch_size}")
    print(f"{'answers':12}{'readable':>9}{'tokens each':>13}{'seconds each':>14}{'processor':>11}")
    for answers in ("free", "constrained"):
        settings = Settings(
            model=given.model, task=(given.task,), limit=given.limit, max_new_tokens=given.max_new_tokens,
            device=given.device, answers=answers,
        )  # fmt: skip
        model = open_models(settings, [task])[task.name]
        with tempfile.TemporaryDirectory() as folder:
            started, busy = time.perf_counter(), time.process_time()
            generate(
                task, model, Path(folder), Prompter(task, "base").content, split="test", limit=given.limit, samples=1,
                batch_size=given.batch_size, settings=asdict(settings), resume=True, quiet=True,
            )  # fmt: skip
            seconds, worked = time.perf_counter() - started, time.process_time() - busy
            rows = read_generations(Path(folder) / "generations.jsonl")
        readable = sum(parse(row.text, task).label is not None for row in rows)
        tokens = sum(row.new_tokens for row in rows)
        each = [value / len(rows) for value in (tokens, seconds, worked)]
        print(f"{answers:12}{readable:9}{each[0]:13.1f}{each[1]:14.2f}{each[2]:11.2f}", flush=True)


if __name__ == "__main__":
    main()
