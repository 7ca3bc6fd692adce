"""One row of a table: what the page keeps of a submission's scores.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..results.score_report import Score, ScoreReport

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


def row_of(report: ScoreReport, judges: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The numbers of one submission on one task; ranks and comparisons are added by the table."""
    swap = next((table for table in report.swaps() if table.system is not None), None)
    return {
        "index": _ends(report.index()),
        "factors": {name: _ends(score) for name, score in report.factors().items()},
        "questions": report.questions,
        "samples": report.samples,
        "missing": report.missing,
        "majority": report.majority.get("mean"),
        "conditions": report.conditions[0],
        "annotators": report.annotators,
        "scores": _scores(report),
        "curves": {
            f"{name}, {view}": {str(m): [getattr(s, e) for e in _ENDS] for m, s in report.curve(metric, view).items()}
            for name, metric in CURVES.items()
            for view in ("norm", "raw")
        },
        "swap": swap and swap.model_dump(exclude={"note"}),
        "judges": [{k: j.get(k) for k in ("judge", "accuracy", "low", "high", "ceiling", "floor", "unreadable", "n")}
                   for j in judges],
        "replicates": {name: kept.model_dump() for name, kept in report.replicates.values.items()},
    }  # fmt: skip


def _ends(score: Score | None) -> dict[str, Any]:
    if score is None:
        return {"value": None, "low": None, "high": None, "note": "not computed"}
    return score.model_dump(include={"value", "low", "high", "note"})


def _scores(report: ScoreReport) -> list[dict[str, Any]]:
    """The headline metrics and those beside them, each with the annotators' own values."""
    beside = [score for name, parameters in BESIDE for score in report.find(name, **parameters)]
    own = {key: score.value for key, score in report.by_annotator.items()}
    people = report.annotators
    return [
        {
            "metric": s.name, **{e: getattr(s, e) for e in _ENDS}, "n": s.n, "note": s.note,
            "by": [own.get((s.signature, a)) for a in people] if (s.signature, people[0]) in own else None,
        }
        for s in [*report.headline(), *beside]
    ]  # fmt: skip
