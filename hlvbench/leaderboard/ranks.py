"""Who is ahead of whom: the paired comparisons of compare.py over a table's rows (docs/metrics.md section 10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..results.compare import LEVEL, Part, compare_values, mean_values
from ..results.score_report import INDEX

AGAINST = ("nearest", "label-guess")
"""The references that every system is held against."""
Parts = Mapping[str, Part]


def rank_groups(parts: Parts, ranked: Sequence[str]) -> dict[str, int]:
    """1 + the number of ranked systems that beat one on the index, Holm over all pairs; none without an index."""
    values = {name: {INDEX: parts[name].values[INDEX]} for name in ranked if INDEX in parts[name].values}
    if not values:
        return {}
    found = compare_values(values, min(parts[name].items for name in values))
    return {r["system"]: r["rank"] for r in found["metrics"][INDEX]["systems"] if r["rank"] is not None}


def against(parts: Parts, name: str, references: Mapping[str, str]) -> dict[str, Any]:
    """The system less each reference on the index, paired: difference, low, high, p, beats.

    references: "nearest" and so on -> the name of its row.
    """
    out = {}
    for shown, other in references.items():
        pair = [parts[n].values for n in (name, other)]
        if name == other or not all(INDEX in values for values in pair):
            continue
        both = {n: {INDEX: parts[n].values[INDEX]} for n in (name, other)}
        (found,) = compare_values(both, min(parts[n].items for n in both))["metrics"][INDEX]["pairs"] or [None]
        if found is not None and found["p"] is not None:
            kept = {k: found[k] for k in ("difference", "low", "high", "p", "beyond_resolution")}
            out[shown] = {**kept, "beats": found["p"] < LEVEL and found["difference"] > 0}
    return out


def overall_parts(tables: Sequence[Parts]) -> dict[str, Part]:
    """The rows that every table has, as the mean of their values and replicates."""
    names = [name for name in tables[0] if all(name in table for table in tables)]
    out = {}
    for name in names:
        parts = [table[name] for table in tables]
        out[name] = Part(
            "overall", {}, sum(p.questions for p in parts), sum(p.items for p in parts), 1, None,
            mean_values([p.values for p in parts]), {},
        )  # fmt: skip
    return out
