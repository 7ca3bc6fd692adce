"""The same raw text scored again: does every number come out as it was submitted?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..bootstrap import decode
from ..results.score_check import EQUAL

_NUMBERS = ("value", "low", "high", "floor", "ceiling", "n")
_COUNTS = (
    "task", "questions", "samples", "missing", "missing_reasons", "without_explanation", "thought", "skipped",
    "unscored_annotators",
)  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """largest: the largest absolute difference of two scores, and whose it is. problems: what is not equal."""

    largest: float
    whose: str
    problems: tuple[str, ...]


def compare_documents(given: Mapping[str, Any], fresh: Mapping[str, Any]) -> Comparison:
    """A submitted scores.json against one made from its raw text; versions may differ, metrics may not."""
    problems = [
        f"{key} is {given[key]!r:.60}, re-scored {fresh[key]!r:.60}" for key in _COUNTS if given[key] != fresh[key]
    ]
    here, there = _by_metric(given), _by_metric(fresh)
    problems += [f"{name} was not submitted" for name in there if name not in here]
    problems += [f"{name} cannot be re-scored" for name in here if name not in there]
    problems += [
        f"{name}: its note is {row['note']!r:.80}, re-scored {there[name]['note']!r:.80}"
        for name, row in here.items() if name in there and row["note"] != there[name]["note"]
    ]  # fmt: skip
    if bool(given.get("details")) != bool(fresh.get("details")):
        problems.append("details are here, and scoring gives none" if given.get("details") else "details are missing")
    largest, whose = 0.0, ""
    for name, key, mine, other in _pairs(given, fresh):
        gap = _gap(mine, other)
        if gap > EQUAL:
            problems.append(f"{name}: {key} is {mine}, re-scored {other}")
        if gap > largest:
            largest, whose = gap, name
    return Comparison(largest if math.isfinite(largest) else 1e9, whose, tuple(problems))


def _gap(mine: Any, other: Any) -> float:
    if mine is None or other is None:
        return 0.0 if mine is other else math.inf
    return abs(float(mine) - float(other))


def _pairs(given: Mapping[str, Any], fresh: Mapping[str, Any]) -> Iterator[tuple[str, str, Any, Any]]:
    """(whose, which, submitted, re-scored) of every number that both have."""
    here, there = _by_metric(given), _by_metric(fresh)
    for name in (n for n in here if n in there):
        for key in _NUMBERS:
            yield name, key, here[name][key], there[name][key]
    yield from _table_pairs(given["majority"], fresh["majority"], "majority")
    yield from _replicate_pairs(given["replicates"]["values"], fresh["replicates"]["values"])
    if given.get("details") and fresh.get("details"):
        yield from _table_pairs(given["details"], fresh["details"], "details")


def _by_metric(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Bound metric (and annotator) -> row."""
    return {
        r["signature"].partition("|")[0] + (f", {r['annotator']}" if r["annotator"] is not None else ""): r
        for r in document["scores"]
    }


def _replicate_pairs(given: Mapping[str, Any], fresh: Mapping[str, Any]) -> Iterator[tuple[str, str, Any, Any]]:
    for name in sorted({*given, *fresh}):
        if name not in given or name not in fresh:
            yield f"replicates of {name}", "the whole", name in given or None, name in fresh or None
            continue
        drawn = zip(decode(given[name])[1].tolist(), decode(fresh[name])[1].tolist(), strict=False)
        for number, (mine, other) in enumerate((_known(a), _known(b)) for a, b in drawn):
            yield f"replicates of {name}", f"number {number}", mine, other


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _table_pairs(given: Any, fresh: Any, name: str) -> Iterator[tuple[str, str, Any, Any]]:
    """Every number of two nested values of one shape; where the shapes differ, one infinite difference."""
    if isinstance(fresh, dict) and isinstance(given, dict) and given.keys() == fresh.keys():
        for key in fresh:
            yield from _table_pairs(given[key], fresh[key], f"{name}.{key}")
    elif isinstance(fresh, list) and isinstance(given, list) and len(given) == len(fresh):
        for position, (a, b) in enumerate(zip(given, fresh, strict=True)):
            yield from _table_pairs(a, b, f"{name}[{position}]")
    elif isinstance(fresh, int | float) and isinstance(given, int | float):
        yield name, "a number", given, fresh
    elif given != fresh:
        yield name, "the shape", None, 0.0
