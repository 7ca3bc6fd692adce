"""The rows of answers.jsonl: the label of each answer, why it is missing, its own scores; no dataset text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
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


def _in_view(values: Callable[[Answers, str], np.ndarray], view: str) -> Callable[[Answers], np.ndarray]:
    """Of questions whose annotator wrote no explanation NaN."""

    def of(answers: Answers) -> np.ndarray:
        out = np.full(len(answers.questions), np.nan)
        out[[pair in answers.task.explained for pair in answers.questions]] = values(answers.explained, view)
        return out

    return of


PER_ANSWER: Mapping[str, Callable[[Answers], np.ndarray]] = {
    "correct": partial(decisions.correct, multi="any"),
    "correct_priority": partial(decisions.correct, multi="priority"),
    **{f"{name}_{view}": _in_view(of, view) for name, (of, views) in _IN_VIEWS.items() for view in views},
}
"""Per-answer scores kept in answers.jsonl: name -> one value per question."""


def rounded(value: float, decimals: int = 6) -> float | None:
    """Rounded, so that a number does not depend on the order of a sum; None for NaN."""
    return None if math.isnan(value) else round(value, decimals) + 0.0  # never -0.0


def answer_rows(answers: Answers, parsed: Mapping[tuple[Pair, int], Parsed], sample: int) -> list[dict[str, Any]]:
    """One row per question: the label, why it is missing, every per-answer score. No dataset text."""
    columns = {name: function(answers) for name, function in PER_ANSWER.items()}
    rows = []
    for q, pair in enumerate(answers.questions):
        found = parsed.get((pair, sample))
        rows.append({
            "item": pair[0],
            "annotator": pair[1],
            "sample": sample,
            "label": found.label if found else None,
            "missing": "" if pair in answers.given else (found.reason if found else "no answer"),
            **{name: rounded(float(values[q])) for name, values in columns.items()},
        })  # fmt: skip
    return rows
