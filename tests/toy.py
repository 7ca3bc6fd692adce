"""Tiny in-memory tasks and an embedder without weights, for tests."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from hlvbench.bootstrap import seeded
from hlvbench.types import Annotation, Item, Task

NLI = ("neutral", "entailment", "contradiction")
WORDS = "dog cat runs sleeps red blue house tree sings reads old new river bridge child woman".split()
OPENINGS = ("Because", "I think", "Clearly,", "Given that", "As stated,", "It seems", "Since", "Note that")


def toy_task(
    kind: str = "nominal",
    annotators: int = 4,
    items: tuple[int, int, int] = (30, 20, 20),
    seed: int = 0,
    absent: float = 0.0,
    doubles: float = 0.0,
    min_records: int = 1,
) -> Task:
    """A task whose annotators differ in label habits and openings; explanations name words of the item.

    items: sizes of train, dev and test. absent: share of pairs without a record; doubles: share with two.
    """
    rng = seeded("toy", kind, annotators, items, seed)
    labels: tuple = NLI if kind == "nominal" else tuple(range(-5, 6))
    names = tuple(f"Ann{k + 1}" for k in range(annotators))
    made, records, splits = {}, [], {}
    for split, size in zip(("train", "dev", "test"), items, strict=True):
        ids = []
        for number in range(size):
            words = [WORDS[w] for w in rng.integers(0, len(WORDS), 10)]
            item = Item(f"{split}{number}", {"premise": " ".join(words[:6]), "hypothesis": " ".join(words[6:])})
            made[item.id], base = item, int(rng.integers(len(labels)))
            ids.append(item.id)
            for k, name in enumerate(names):
                if rng.random() < absent:
                    continue
                shift = int(rng.random() < 0.3) * (k + 1)
                chosen = [labels[(base + shift) % len(labels)]]
                if rng.random() < doubles:
                    chosen.append(labels[(base + shift + 1) % len(labels)])
                opening = OPENINGS[k % len(OPENINGS)] + " " * (k >= len(OPENINGS)) + str(k) * (k >= len(OPENINGS))
                for label in chosen:
                    picked = " ".join(words[w] for w in rng.integers(0, 10, 3))
                    records.append(Annotation(item.id, name, label, f"{opening} the {picked} is so for {label}."))
        splits[split] = tuple(ids)
    return Task(
        name="toy", version="1", kind=kind, labels=labels, priority=labels,
        instruction="Decide the label (neutral, entailment, contradiction) and explain your decision."
        if kind == "nominal" else "Decide an integer score between -5 and 5 and explain your decision.",
        fields={"premise": "Premise", "hypothesis": "Hypothesis"}, annotators=names, items=made,
        records=tuple(records), splits=splits, min_records=min_records,
    )  # fmt: skip


def save_table(task: Task, tasks_dir: Path) -> Path:
    """Write a task as a table below `tasks_dir`, for commands that read tasks from disk; returns `tasks_dir`."""
    folder = tasks_dir / task.name
    folder.mkdir(parents=True)
    labels = f"labels = {json.dumps(task.labels)}" if task.kind == "nominal" else "range = [-5, 5]"
    shown = "\n".join(f"{field} = {json.dumps(name)}" for field, name in task.fields.items())
    (folder / "task.toml").write_text(
        f'name = "{task.name}"\nversion = "1"\nsource = "table"\nkind = "{task.kind}"\n{labels}\n'
        f"instruction = {json.dumps(task.instruction)}\nmin_records = {task.min_records}\n"
        f'splits = "splits.json"\n[fields]\n{shown}\n'
    )
    rows = {
        "items.jsonl": [{"id": i.id, "text": dict(i.text)} for i in task.items.values()],
        "annotations.jsonl": [dataclasses.asdict(r) for r in task.records],
    }
    for name, lines in rows.items():
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "splits.json").write_text(json.dumps({name: list(ids) for name, ids in task.splits.items()}))
    return tasks_dir


class ToyEmbedder:
    """Hashed bags of words, normalised: enough to rank texts by shared words."""

    name = "toy"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        out = np.zeros((len(texts), 64), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                digest = hashlib.sha256(word.encode()).digest()
                out[row, digest[0] % 64] += 1.0 if digest[1] % 2 else -1.0
        norms = np.linalg.norm(out, axis=1, keepdims=True)
        return np.divide(out, norms, out=np.zeros_like(out), where=norms > 0)

    def bertscore(self, candidates: Sequence[str], references: Sequence[str], model: str, layer: int) -> np.ndarray:
        return (self.encode(candidates) * self.encode(references)).sum(axis=1)


@cache
def direction(kind: str, text: str) -> np.ndarray:
    return seeded(kind, text).normal(size=24)


class StyleEmbedder:
    """Reads "item12 Ann3 40 7" as content of the item + 40 % of Ann3's style + noise of its own."""

    name = "style"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        out = np.zeros((len(texts), 24), dtype=np.float32)
        for row, text in enumerate(texts):
            if not text.strip():
                continue
            item, annotator, percent, *_ = [*text.lower().split(), "nobody", "0"]
            strength = int(percent) / 100 if percent.isdigit() else 0.0  # an input text: content alone
            vector = direction("content", item) + 0.6 * strength * direction("style", annotator)
            vector = vector + 0.4 * direction("noise", text.lower())
            out[row] = vector / np.linalg.norm(vector)
        return out

    def bertscore(self, candidates: Sequence[str], references: Sequence[str], model: str, layer: int) -> np.ndarray:
        raise NotImplementedError


STYLE = StyleEmbedder()


def style_task(items: tuple[int, int, int] = (10, 60, 60), annotators: int = 4) -> Task:
    """The toy task with explanations that StyleEmbedder reads."""
    task = toy_task(items=items, annotators=annotators)
    records = tuple(dataclasses.replace(r, explanation=f"{r.item} {r.annotator} 100 0") for r in task.records)
    return dataclasses.replace(task, records=records)
