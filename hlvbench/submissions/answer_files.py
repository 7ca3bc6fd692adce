"""The raw answers of a submission: is every question answered once, and nothing else?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ..data.splits import read_splits
from ..data.task import load_spec
from ..errors import DataError, HlvbenchError
from ..types import Generation, Pair, Task

_KINDS = {f.name: {"int": int, "str": str}[str(f.type)] for f in fields(Generation)}
MOST_SAMPLES = 50


@dataclass(frozen=True)
class Asked:
    """What may be answered. questions: in their order; None without the data, where only items and annotators are
    known."""

    items: Mapping[str, str]
    annotators: Collection[str]
    questions: Collection[Pair] | None

    @classmethod
    def of(cls, task: Task) -> Asked:
        items = {i: split for split, ids in task.splits.items() for i in ids}
        return cls(items, task.annotators, dict.fromkeys(task.questions("test", annotators=task.asked())))

    @classmethod
    def without_data(cls, name: str) -> Asked | None:
        """From the task's own folder, which holds ids and names but no text; None where that does not tell."""
        try:
            spec = load_spec(name)
            problems: list[str] = []
            splits = read_splits(spec, problems)
        except HlvbenchError:
            return None
        if splits is None or problems or getattr(spec, "upstream", None) is None or spec.annotators is None:
            return None
        return cls({i: split for split, ids in splits.ids.items() for i in ids}, spec.annotators, None)


def to_generations(rows: Sequence[Mapping[str, Any]]) -> list[Generation]:
    """Rows with exactly the fields of a Generation, each of its type; else a DataError."""
    bad = [
        f"row {n}: {', '.join(sorted(k for k in {*_KINDS, *row} if type(row.get(k)) is not _KINDS.get(k)))}"
        for n, row in enumerate(rows, start=1)
        if row.keys() != _KINDS.keys() or any(type(row[k]) is not kind for k, kind in _KINDS.items())
    ]
    bad += [f"row {n}: {why}" for n, row in enumerate(rows, start=1) if not bad and (why := _strange(row))]
    if bad:
        raise DataError(f"{len(bad)} rows with fields missing, foreign or of the wrong type; {'; '.join(bad[:5])}")
    return [Generation(**row) for row in rows]


def _strange(row: Mapping[str, Any]) -> str:
    """What no run writes beside a text: dataset text could hide there."""
    if not re.fullmatch(r"\w{0,40}", row["finish"]):
        return f"finish is {row['finish']!r:.40}"
    if not re.fullmatch(r"([0-9a-f]{64})?", row["prompt_sha256"]):
        return "prompt_sha256 is no sha256"
    return "" if row["new_tokens"] >= 0 else f"new_tokens is {row['new_tokens']}"


def answer_problems(rows: Sequence[Generation], asked: Asked, questions: int, samples: int) -> list[str]:
    """What is answered twice, not at all, or was never asked. questions, samples: as scores.json counts them."""
    if not 1 <= samples <= MOST_SAMPLES:
        return [f"{samples} samples; 1 to {MOST_SAMPLES} were expected"]
    counts = Counter((r.item, r.annotator, r.sample) for r in rows)
    found = [f"{_who(key)} stands {times} times" for key, times in counts.items() if times > 1]
    for key in counts:
        item, annotator, sample = key
        if not 0 <= sample < samples:
            found.append(f"{_who(key)}: there are {samples} samples, numbered from 0")
        elif annotator not in asked.annotators:
            found.append(f"{_who(key)}: no annotator of this task ({', '.join(list(asked.annotators)[:8])})")
        elif item not in asked.items:
            found.append(f"{_who(key)}: no item of this task")
        elif asked.items[item] != "test":
            found.append(f"{_who(key)}: an item of the {asked.items[item]} split, not of test")
        elif asked.questions is not None and (item, annotator) not in asked.questions:
            found.append(f"{_who(key)}: a pair that is never asked (the annotator left no label there)")
    for pair in sorted(asked.questions or ()):
        lacking = [s for s in range(samples) if (*pair, s) not in counts]
        if lacking:
            found.append(f"{_who((*pair, lacking[0]))} has no row; an answer that is missing has an empty text")
    if asked.questions is None and len(counts) != questions * samples:
        found.append(f"{len(counts)} answers to {questions} questions and {samples} samples")
    if asked.questions is not None and not found:
        order = [(*pair, sample) for pair in asked.questions for sample in range(samples)]
        place = next((n for n, (key, wanted) in enumerate(zip(counts, order, strict=True)) if key != wanted), None)
        if place is not None:
            found.append(f"row {place + 1} is {_who(list(counts)[place])}, {_who(order[place])} was expected: rows "
                         "stand in the order of the questions")  # fmt: skip
    return found


def _who(key: tuple[str, str, int]) -> str:
    item, annotator, sample = key
    return f"item {item!r:.60}, {annotator!r:.60}, sample {sample}"
