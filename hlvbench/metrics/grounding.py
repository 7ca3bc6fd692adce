"""Grounding: does the text speak about its item? (docs/metrics.md section 5, ours)"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from ..bootstrap import Draws, mean_over_annotators, seeded
from ..text import in_view
from ..types import Task
from .predictions import Answers
from .projections import encoded
from .registry import Estimate, Value, metric

View = Literal["raw", "norm"]
_VARIANTS = ({"view": "raw"}, {"view": "norm"})
INPUTS = 1000
_CELLS = 1 << 22
"""Numbers in one temporary table."""


def size_limits(task: Task) -> Mapping[str, Value]:
    """{"inputs": 1000} for a task with more dev or test items than that, else {}."""
    return {"inputs": INPUTS} if max(len(task.splits.get(s, ())) for s in ("dev", "test")) > INPUTS else {}


def mid_rank(similarities: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Rank of column `own[q]` in row q of (Q, N), largest first; ties share the mean of their ranks: (Q,).

    So a row of equal similarities, such as an all-zero vector's, ranks everything (N + 1) / 2.
    """
    mine = similarities[np.arange(len(own)), own][:, None]
    return 0.5 + (similarities > mine).sum(axis=1) + 0.5 * (similarities == mine).sum(axis=1)


def chance_rank(count: int) -> float:
    """g₀: the mean reciprocal rank of a random order of N inputs, (1/N) · Σ 1/r."""
    return float((1.0 / np.arange(1, count + 1)).mean())


def reciprocal_ranks(answers: Answers, view: str = "raw", inputs: int | None = None) -> np.ndarray:
    """Reciprocal mid-rank of each prediction's own input among the inputs of the split.

    The candidates are the inputs of the whole split, whatever `limit` is, so that the figure means the same.

    Args:
        answers: The predictions.
        view: "raw" or "norm".
        inputs: Number of candidates, the own one and others drawn by seed. 0 takes all; None does as the task's
            scorecard.

    Returns:
        (Q,) in (0, 1]; 0 where the prediction is missing.
    """
    most = int(size_limits(answers.task).get("inputs", 0)) if inputs is None else inputs
    return answers.once(("reciprocal_ranks", view, most), lambda: _reciprocal_ranks(answers, view, most))


def _candidates(answers: Answers, most: int) -> int:
    """How many inputs an answer is ranked among."""
    count = len(answers.task.splits[answers.split])
    return min(most or count, count)


def _reciprocal_ranks(answers: Answers, view: str, most: int) -> np.ndarray:
    ids = answers.task.splits[answers.split]
    count = _candidates(answers, most)
    if count < len(ids):
        drawn = seeded("grounding", answers.task.name, answers.split).permutation(len(ids))[:count]
        ids = tuple(ids[n] for n in drawn)
    position = {item: n for n, item in enumerate(ids)}
    own = np.array([position.get(item, -1) for item, _ in answers.questions], dtype=int)
    inputs = [in_view(answers.task.items[i].joined, view) for i in ids]
    # equal inputs share one column until here, so that rounding cannot break their tie
    distinct = {text: column for column, text in enumerate(dict.fromkeys(inputs))}
    columns = [distinct[text] for text in inputs]
    candidates = answers.embedder.encode(list(distinct)).astype(float).T
    embedded, ranks = encoded(answers, view), np.zeros(len(own))
    for part in np.array_split(np.arange(len(own)), len(own) * count // _CELLS + 1):
        vectors = embedded[part].astype(float)
        found = vectors @ candidates
        similarities = found if len(distinct) == len(columns) else found[:, columns]
        # an input that was not drawn takes the last one's place
        if len(rows := np.flatnonzero(own[part] < 0)):
            asked = [in_view(answers.task.items[answers.questions[q][0]].joined, view) for q in part[rows]]
            mine = (vectors[rows] * answers.embedder.encode(asked)).sum(axis=1)
            same = np.array([distinct.get(text, -1) for text in asked])
            similarities[rows, -1] = np.where(same >= 0, found[rows, same], mine)
        ranks[part] = mid_rank(similarities, own[part])
    return np.where(answers.predicted >= 0, 1.0 / ranks, 0.0)


@metric(better="higher", floor="chance", variants=_VARIANTS, large=size_limits, headline={"view": "raw"})
def grounding(answers: Answers, draws: Draws, *, view: View = "raw", inputs: int = 0) -> Estimate:
    """Mean reciprocal rank of the explanation's own input among all inputs of the split, by sentence embedding.

    Chance (the baseline) is g₀ = (1/N) Σ 1/r ≈ ln N / N. More than humans reach is not better: an echo of the input
    ranks first.

    Args:
        view: View of explanations and inputs.
        inputs: Number of candidates, the own input and others drawn by seed; 0 takes all.
    """
    values = answers.means(reciprocal_ranks(answers, view, inputs), draws)
    floor = np.full_like(values, chance_rank(_candidates(answers, inputs)))
    return Estimate(
        mean_over_annotators(values), len(answers.questions), values, answers.counts,
        floor=floor[:, :1].mean(axis=1), floor_by_annotator=floor,
    )  # fmt: skip


@metric(better="higher", variants=_VARIANTS, large=size_limits, headline={"view": "raw"}, all_annotators=True)
def grounding_skill(answers: Answers, draws: Draws, *, view: View = "raw", inputs: int = 0) -> Estimate:
    """(g - g₀) / (g_human - g₀) clipped to [0, 1]: 0 is chance or worse, 1 is as humans or above.

    Means over annotators come before the ratio, and the humans' side is recomputed in every replicate. NaN where the
    humans do not exceed chance.

    Args:
        view: As in `grounding`.
        inputs: As in `grounding`.
    """
    chance = chance_rank(_candidates(answers, inputs))
    system, humans = (a.means(reciprocal_ranks(a, view, inputs), draws) - chance for a in (answers, answers.human))

    def skill(above: np.ndarray, human: np.ndarray) -> np.ndarray:
        return np.clip(np.divide(above, human, out=np.full(above.shape, np.nan), where=human > 0), 0.0, 1.0)

    overall = skill(mean_over_annotators(system), mean_over_annotators(humans))
    note = "people's own explanations are not above chance" if np.isnan(overall).all() else ""
    return Estimate(overall, len(answers.questions), skill(system, humans), answers.counts, note)
