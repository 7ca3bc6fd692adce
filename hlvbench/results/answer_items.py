"""The items of answers.jsonl from worst to best, and the judges' results beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from ..io import read_document, read_jsonl

MOST_ITEMS = 10
_SCORES = ("correct", "embedding_cosine_raw", "reciprocal_rank_raw")


@dataclass(frozen=True)
class ItemScore:
    """Means over the answers to one item; None where no answer has the score."""

    item: str
    answers: int
    missing: int
    right: float | None
    closeness: float | None
    grounding: float | None


def item_scores(path: Path) -> list[ItemScore]:
    """The items of an answers.jsonl, worst first: by share of right labels, then by the closeness of the explanations
    to the annotators' own (embedding cosine); [] without the file."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for _, row in read_jsonl(path) if path.exists() else ():
        rows.setdefault(str(row.get("item")), []).append(row)
    found = [
        ItemScore(
            item,
            len(own),
            sum(bool(row.get("missing")) for row in own),
            *(mean([row.get(key) for row in own]) for key in _SCORES),
        )
        for item, own in rows.items()
    ]
    return sorted(found, key=lambda s: (s.right or 0.0, s.closeness or 0.0))


def extremes(items: Sequence[ItemScore]) -> dict[str, Sequence[ItemScore]]:
    """At most ten of the worst and of the best items, none in both."""
    worst, best = items[: -(-len(items) // 2)], items[::-1][: len(items) // 2]
    found = {"Worst items": worst[:MOST_ITEMS], "Best items": best[:MOST_ITEMS]}
    return {title: chosen for title, chosen in found.items() if chosen}


class JudgeResult(TypedDict):
    """What a report shows of a `<judge>.json`."""

    judge: str
    accuracy: float | None
    low: float | None
    high: float | None
    ceiling: float | None
    floor: float | None
    chance: float | None
    unreadable: int
    n: int
    note: str


def judge_results(folder: Path) -> list[JudgeResult]:
    """The results of the judges of one task, `folder`/<judge>.json, by name; [] where nobody judged."""
    paths = [path for path in sorted(folder.glob("*.json")) if not path.name.endswith(".plan.json")]
    return [read_document(path, JudgeResult) for path in paths]


def mean(values: Sequence[Any]) -> float | None:
    """The mean of the numbers among the values; None without one."""
    known = [float(v) for v in values if isinstance(v, int | float)]
    return sum(known) / len(known) if known else None
