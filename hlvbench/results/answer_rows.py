"""The rows of answers.jsonl: the label of each answer, why it is missing, its own scores; no dataset text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..metrics import Answers, decisions, similarity
from ..metrics.grounding import reciprocal_ranks
from ..prompting.parse import Parsed
from ..text import VIEWS
from ..types import Pair

_IN_VIEWS: Mapping[str, tuple[Callable[[Answers, str], np.ndarray], tuple[str, ...]]] = {
    "rouge_l": (similarity.rouge_l_values, ("raw",)),
    "bertscore": (similarity.bertscore_values, ("raw",)),
    "embedding_cosine": (similarity.embedding_cosine_values, VIEWS),
    "reciprocal_rank": (reciprocal_ranks, VIEWS),
}
"""In the views that a scorecard prints."""


def rounded(value: float, decimals: int = 6) -> float | None:
    """Rounded, so that a number does not depend on the order of a sum; None for NaN."""
    return None if math.isnan(value) else round(value, decimals) + 0.0  # never -0.0


def answer_rows(answers: Answers, parsed: Mapping[tuple[Pair, int], Parsed], sample: int) -> list[dict[str, Any]]:
    """One row per question: the label, why it is missing, every per-answer score. No dataset text."""
    columns = {
        "correct": decisions.correct(answers, "any"),
        "correct_priority": decisions.correct(answers, "priority"),
    }
    explained = [pair in answers.task.explained for pair in answers.questions]
    for name, (values_of, views) in _IN_VIEWS.items():
        for view in views:
            columns[f"{name}_{view}"] = np.full(len(explained), np.nan)
            columns[f"{name}_{view}"][explained] = values_of(answers.explained, view)
    rows = []
    for q, pair in enumerate(answers.questions):
        found = parsed.get((pair, sample))
        rows.append({
            "item": pair[0],
            "annotator": pair[1],
            "sample": sample,
            "label": found.label if found else None,
            "missing": "" if pair in answers.predictions else (found.reason if found else "no answer"),
            **{name: rounded(float(values[q])) for name, values in columns.items()},
        })  # fmt: skip
    return rows
