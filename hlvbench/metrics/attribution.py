"""Whose answers are these, in a judge's eyes? (docs/metrics.md section 8)

No scorecard holds it: its values come from a judge's replies, not from the answers alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from ..bootstrap import Draws, weighted_means
from ..types import Item
from .registry import Estimate, metric

By = Literal["style", "letters", "reply"]
Fit = Literal["none", "dev", "halves"]
Show = Literal["none", "label", "input", "label+input"]
View = Literal["raw", "norm"]
Orders = Literal["one", "all"]


@dataclass(frozen=True, eq=False)
class Verdicts:
    """A judge's replies about one set of predictions.

    Attributes:
        items: N items.
        annotators: K annotators.
        right: (N, K) share of a question's readable replies (over orders and samples) that name its annotator; 0 for
            a missing prediction; NaN where nothing is asked or no reply is readable.
    """

    items: tuple[Item, ...]
    annotators: tuple[str, ...]
    right: np.ndarray

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Questions per annotator that count."""
        return tuple(int(n) for n in (~np.isnan(self.right)).sum(axis=0))


@metric(better="higher", kinds=(), floor=None, ceiling=None, texts=False)
def attribution(
    verdicts: Verdicts,
    draws: Draws,
    *,
    judge: str = "stylometric",
    by: By = "style",
    fit: Fit = "none",
    view: View = "raw",
    show: Show = "none",
    shots: int = 5,
    orders: Orders = "one",
) -> Estimate:
    """Share of questions in which the judge names the annotator whose explanation is shown.

    Over all annotators it is the share of all questions, so that a judge who always names one letter is at chance.

    Args:
        judge: Name of the judge.
        by: How the judge answers.
        fit: What a fitted judge was fitted on.
        view: View of the texts.
        show: What is shown beside the explanations.
        shots: Annotations shown per annotator.
        orders: "one" order of the candidates or "all".
    """
    by_annotator = weighted_means(verdicts.right, draws)
    given = ~np.isnan(verdicts.right)
    both = np.stack([np.where(given, verdicts.right, 0.0).sum(axis=1), given.sum(axis=1)], axis=1)
    hits, asked = draws.sums(both).T
    overall = np.divide(hits, asked, out=np.full(len(draws), np.nan), where=asked > 0)
    return Estimate(overall, sum(verdicts.counts), by_annotator, verdicts.counts)
