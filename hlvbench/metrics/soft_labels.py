"""The two decision metrics of the LeWiDi-2025 shared task, so that results line up with it (docs/metrics.md section 3).

Both are means over items, so they have no value of one annotator. A missing answer counts as the label that
costs most; where several answers to an item are missing, all as the one label that costs most together (both
distances are convex in the answers' distribution, so no other filling costs more).
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..bootstrap import Draws, weighted_means
from ..errors import MetricError
from ..types import Task
from .decisions import errors
from .predictions import Answers
from .registry import Estimate, Value, metric

Subset = Literal["all", "lewidi2025"]


def _variants(task: Task) -> tuple[dict[str, Value], ...]:
    return ({}, {"subset": "lewidi2025"}) if "lewidi2025" in task.subsets else ({},)


def binary_errors(answers: Answers) -> np.ndarray:
    """(Q,) mean over the L labels of |annotator gave it - model gives it|; missing: the costliest label."""
    size = len(answers.task.labels)
    given = answers.gold_sets.sum(axis=1)
    # answering label l flips its own cell: one error less if it is gold, one more if it is not
    cost = (given[:, None] + np.where(answers.gold_sets, -1, 1)) / size
    chosen = cost[np.arange(len(cost)), np.maximum(answers.predicted, 0)]
    return np.where(answers.predicted >= 0, chosen, cost.max(axis=1))


def distributions(answers: Answers) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The humans' and predicted share of each label per item, (N, L) each, and the share of missing answers, (N,).

    Nominal: the share of the item's annotators who gave the label (an annotator may give several). Ordinal: the
    distribution of the score, an annotator with several scores divided among them.
    """
    rows, _ = answers.cells
    humans = answers.gold_sets.astype(float)
    if answers.task.kind == "ordinal":
        humans /= humans.sum(axis=1, keepdims=True)
    said = (answers.predicted[:, None] == np.arange(humans.shape[1])).astype(float)
    sums = np.zeros((len(answers.items), 2 * humans.shape[1] + 2))
    missing = (answers.predicted < 0).astype(float)[:, None]
    np.add.at(sums, rows, np.concatenate([humans, said, missing, np.ones_like(missing)], axis=1))
    shares = sums[:, :-1] / sums[:, -1:]
    labels = humans.shape[1]
    return shares[:, :labels], shares[:, labels : 2 * labels], shares[:, -1]


def manhattan(humans: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(…, L) shares -> (…): mean over labels of |p - q| + |(1 - p) - (1 - q)|; 0 to 2."""
    return 2 * np.abs(humans - predicted).mean(axis=-1)


def wasserstein(humans: np.ndarray, predicted: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(…, L) distributions over `values` (L,) -> (…): the Wasserstein-1 distance, in units of the scale."""
    order = np.argsort(values)
    ahead = np.cumsum((humans - predicted)[..., order], axis=-1)[..., :-1]
    return (np.abs(ahead) * np.diff(values[order])).sum(axis=-1)


def soft_errors(answers: Answers) -> np.ndarray:
    """(N,) distance of the two distributions per item: Manhattan (nominal) or Wasserstein-1 (ordinal)."""
    humans, predicted, missing = distributions(answers)
    # (N, L, L): second axis, the label that takes the place of the missing answers
    filled = predicted[:, None, :] + missing[:, None, None] * np.eye(humans.shape[1])
    if answers.task.kind == "ordinal":
        costs = wasserstein(humans[:, None, :], filled, np.array(answers.task.labels, dtype=float))
    else:
        costs = manhattan(humans[:, None, :], filled)
    return costs.max(axis=1)


def _over_items(values: np.ndarray, answers: Answers, draws: Draws, subset: str) -> Estimate:
    """Mean over the items of the subset."""
    note = ""
    if subset != "all":
        inside = answers.task.subsets.get(subset, frozenset())
        kept = np.array([item.id in inside for item in answers.items], dtype=bool)
        values = np.where(kept, values, np.nan)
        note = "" if kept.any() else f"none of these items is in {subset}"
    overall = weighted_means(values[:, None], draws)[:, 0]
    return Estimate(overall, int((~np.isnan(values)).sum()), note=note)


@metric(better="lower", bounds=(0.0, np.inf), variants=_variants, texts=False, headline=True, all_annotators=True)
def lewidi_error(answers: Answers, draws: Draws, *, subset: Subset = "all", scale: float = 10.0) -> Estimate:
    """The LeWiDi-2025 error of single labels, averaged within items and then over items; n counts items.

    Nominal: average error rate, the share of wrong cells in an item's table of annotators × labels. Ordinal: average
    normalised absolute distance, |error| / scale.

    Args:
        subset: "lewidi2025" keeps the items of the shared task's test set.
        scale: Ordinal only. 10 is the span of -5 … 5; the shared task's own program divided by 11.

    Raises:
        MetricError: If `scale` is not positive.
    """
    if scale <= 0:
        raise MetricError(f"lewidi_error: scale={scale} is not above 0; give the span of the scale, such as 10")
    per_answer = errors(answers) / scale if answers.task.kind == "ordinal" else binary_errors(answers)
    # every item has at least one question, so no row is all NaN
    return _over_items(np.nanmean(answers.grid(per_answer), axis=1), answers, draws, subset)


@metric(better="lower", bounds=(0.0, np.inf), variants=_variants, texts=False)
def lewidi_soft_error(answers: Answers, draws: Draws, *, subset: Subset = "all") -> Estimate:
    """Mean distance between the label distributions of an item's predictions and annotations; n counts items.

    Nominal: Manhattan distance of the two-point distributions (given or not) of each label, mean over labels,
    0 to 2. Ordinal: Wasserstein-1 distance of the scores, in units of the scale.

    Args:
        subset: "lewidi2025" keeps the items of the shared task's test set.
    """
    return _over_items(soft_errors(answers), answers, draws, subset)
