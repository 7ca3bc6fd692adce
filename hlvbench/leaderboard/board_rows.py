"""One row of a table: what the page keeps of a submission's scores.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..results.rows import INDEX, annotators, by_metric, conditions, curve, find, headline, metric_text, swaps

BESIDE: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("own_match_skill", {"view": "norm", "sim": "embed"}),
    ("feature_kl_excess", {"view": "norm"}),
    ("c2st", {"view": "norm"}),
    ("label_support", {}),
    ("copy_rate", {}),
    ("distinct", {}),
)
"""Shown beside the headline metrics, and never ranked by."""
CURVES = {"imitation": "imitation_score", "confidence": "group_confidence"}
_ENDS = ("value", "low", "high", "floor", "ceiling")
Document = Mapping[str, Any]


def row_of(document: Document, judges: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The numbers of one submission on one task; ranks and comparisons are added by the table."""
    found = by_metric(document["scores"])
    return {
        "index": _ends(found.get(INDEX)),
        "factors": {name: _ends(score) for name, score in found.items() if name != INDEX},
        "questions": document["questions"],
        "samples": document["samples"],
        "missing": document["missing"],
        "majority": document["majority"].get("mean"),
        "conditions": conditions(document)[0],
        "annotators": annotators(document),
        "scores": _scores(document),
        "curves": {
            f"{name}, {view}": {str(m): [s[e] for e in _ENDS] for m, s in curve(document, metric, view).items()}
            for name, metric in CURVES.items()
            for view in ("norm", "raw")
        },
        "swap": next((_swap(t) for t in swaps(document) if t["system"] is not None), None),
        "judges": [{k: j.get(k) for k in ("judge", "accuracy", "low", "high", "ceiling", "floor", "unreadable", "n")}
                   for j in judges],
        "replicates": document["replicates"]["values"],
    }  # fmt: skip


def _swap(found: Mapping[str, Any]) -> dict[str, Any]:
    return {k: found[k] for k in ("view", "m", "system", "people")}


def _ends(score: Mapping[str, Any] | None) -> dict[str, Any]:
    if score is None:
        return {"value": None, "low": None, "high": None, "note": "not computed"}
    return {k: score[k] for k in ("value", "low", "high", "note")}


def _scores(document: Document) -> list[dict[str, Any]]:
    """The headline metrics and those beside them, each with the annotators' own values."""
    rows = headline(document)
    for name, parameters in BESIDE:
        rows += find(document, name, **parameters)
    own = {(s["signature"], s["annotator"]): s["value"] for s in document["scores"] if s["annotator"] is not None}
    people = annotators(document)
    return [
        {
            "metric": metric_text(s), **{e: s[e] for e in _ENDS}, "n": s["n"], "note": s["note"],
            "by": [own.get((s["signature"], a)) for a in people] if (s["signature"], people[0]) in own else None,
        }
        for s in rows
    ]  # fmt: skip
