"""Grounding: does the text speak about its item? (docs/metrics.md section 5, ours)"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..stats import Draws, mean_over_annotators
from ..text import in_view
from .answers import Answers
from .registry import Estimate, metric

View = Literal["raw", "norm"]
_VARIANTS = ({"view": "raw"}, {"view": "norm"})


def mid_rank(similarities: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Rank of column `own[q]` in row q of (Q, N), largest first; ties share the mean of their ranks: (Q,).

    So a row of equal similarities, such as an all-zero vector's, ranks everything (N + 1) / 2.
    """
    mine = similarities[np.arange(len(own)), own][:, None]
    return 0.5 + (similarities > mine).sum(axis=1) + 0.5 * (similarities == mine).sum(axis=1)


def chance_rank(count: int) -> float:
    """g₀: the mean reciprocal rank of a random order of N inputs, (1/N) · Σ 1/r."""
    return float((1.0 / np.arange(1, count + 1)).mean())


def reciprocal_ranks(answers: Answers, view: str = "raw") -> np.ndarray:
    """(Q,) 1 / mid-rank of the answer's own input among all inputs of the split, in (0, 1]; 0 where missing.

    The candidates are the inputs of the whole split, whatever `limit` is, so the figure means the same.
    """
    return answers.once(("reciprocal_ranks", view), lambda: _reciprocal_ranks(answers, view))


def _reciprocal_ranks(answers: Answers, view: str) -> np.ndarray:
    ids = answers.task.splits[answers.split]
    inputs = [in_view(answers.task.items[i].joined, view) for i in ids]
    # equal inputs share one column until here, so that rounding cannot break their tie
    distinct = {text: column for column, text in enumerate(dict.fromkeys(inputs))}
    vectors = answers.embedder.encode(answers.texts(view)).astype(float)
    similarities = vectors @ answers.embedder.encode(list(distinct)).astype(float).T
    position = {item: n for n, item in enumerate(ids)}
    own = np.array([position[item] for item, _ in answers.questions], dtype=int)
    ranks = mid_rank(similarities[:, [distinct[text] for text in inputs]], own)
    return np.where(answers.predicted >= 0, 1.0 / ranks, 0.0)


@metric(better="higher", floor="chance", variants=_VARIANTS)
def grounding(answers: Answers, draws: Draws, *, view: View = "raw") -> Estimate:
    """Mean reciprocal rank of the answer's own input among all inputs of the split, by sentence embedding.

    Chance (the floor) is g₀ ≈ ln N / N. More than people reach is not better: an echo of the input ranks first.
    """
    values = answers.means(reciprocal_ranks(answers, view), draws)
    floor = np.full_like(values, chance_rank(len(answers.task.splits[answers.split])))
    return Estimate(
        mean_over_annotators(values), len(answers.questions), values, answers.counts,
        floor=floor[:, :1].mean(axis=1), floor_by_annotator=floor,
    )  # fmt: skip


@metric(better="higher", variants=_VARIANTS)
def grounding_skill(answers: Answers, draws: Draws, *, view: View = "raw") -> Estimate:
    """(g - g₀) / (g_human - g₀) cut to [0, 1]: 0 is chance or worse, 1 is as people do or more.

    Means over annotators come before the ratio; the people's side is recomputed on every list. NaN where the
    people themselves do not exceed chance.
    """
    chance = chance_rank(len(answers.task.splits[answers.split]))
    system, people = (
        a.means(reciprocal_ranks(a, view), draws) - chance for a in (answers, answers.human)
    )

    def skill(above: np.ndarray, human: np.ndarray) -> np.ndarray:
        return np.clip(np.divide(above, human, out=np.full(above.shape, np.nan), where=human > 0), 0.0, 1.0)

    overall = skill(mean_over_annotators(system), mean_over_annotators(people))
    note = "people's own explanations are not above chance" if np.isnan(overall).all() else ""
    return Estimate(overall, len(answers.questions), skill(system, people), answers.counts, note)
