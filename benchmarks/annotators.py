"""What scoring costs as annotators are added: all metrics, 100 test items, 1,000 replicates, no time for embeddings."""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Sequence

import numpy as np

from hlvbench.prompt import render_answer
from hlvbench.score import score_task
from hlvbench.stats import seeded
from hlvbench.types import Annotation, Generation, Item, Task

LABELS = ("neutral", "entailment", "contradiction")
SIZES = {"train": 60, "dev": 100, "test": 100}


class Hashed:
    """Vectors of a text's hash, so that no encoder is timed."""

    name = "hashed"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        rows = [seeded("vector", text).normal(size=64) for text in texts]
        return np.array([r / np.linalg.norm(r) for r in rows], dtype=np.float32).reshape(len(texts), 64)

    def bertscore(self, candidates: Sequence[str], references: Sequence[str], model: str, layer: int) -> np.ndarray:
        return np.zeros(len(candidates))


def task_of(annotators: int) -> Task:
    """A task in which everybody has a record of everything."""
    names = tuple(f"Ann{k + 1}" for k in range(annotators))
    splits = {split: tuple(f"{split}{n}" for n in range(size)) for split, size in SIZES.items()}
    rng = seeded("annotators", annotators)
    items = {i: Item(i, {"text": f"text number {i}"}) for ids in splits.values() for i in ids}
    records = tuple(
        Annotation(i, a, LABELS[int(rng.integers(3))], f"{a} says of {i}: {rng.integers(1000)}")
        for i in items
        for a in names
    )
    return Task(
        name="many", version="1", kind="nominal", labels=LABELS, priority=LABELS, instruction="Decide.",
        fields={"text": "Text"}, annotators=names, items=items, records=records, splits=splits,
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__))
    parser.add_argument("annotators", type=int, nargs="*", default=[4, 12, 40])
    print("| annotators | answers | seconds of one core | memory |\n|---:|---:|---:|---:|")
    for annotators in parser.parse_args().annotators:
        task = task_of(annotators)
        rows = [
            Generation(*pair, 0, render_answer(task, record.label, record.explanation), "stop", 0, "")
            for pair in task.questions("test")
            for record in task.by_pair[pair]
        ]
        started = time.process_time()
        score_task(task, rows, Hashed())
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(f"| {annotators} | {len(rows):,} | {time.process_time() - started:.0f} | {memory:,} MiB |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
