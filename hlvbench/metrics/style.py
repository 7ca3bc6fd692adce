"""Distances between how a system writes and how humans write (docs/metrics.md section 7; ours).

Humans are a system here too: the priority record of every question, so humans against themselves are at 0. A
missing answer is the empty text, whose features are all 0. These distances see surface habits that are partly
content, and never rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from ..bootstrap import Draws
from ..types import Task
from .features import answer_features, columns, feature_names, train_cuts
from .predictions import Answers
from .registry import Estimate, Value, metric, over_annotators

View = Literal["raw", "norm"]
_MEANS = ({"view": "raw", "feature": "mean"}, {"view": "norm", "feature": "mean"})
_FEW_POINTS = 200
_CELLS = 1 << 19
"""Numbers in one temporary table, which fits the processor's cache."""
_NO_ANSWERS = "no answers"
_NO_TRAIN = "no train records to take the bins from"


def _per_feature(task: Task) -> tuple[Mapping[str, Value], ...]:
    return tuple({"view": "raw", "feature": name} for name in feature_names(len(task.fields), "raw"))


def divergence_terms(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """(p + ½) · ln((p + ½) / (q + ½)) of counts; their sum over B bins, divided by n + B/2, is the KL in nats."""
    return (p + 0.5) * (np.log(p + 0.5) - np.log(q + 0.5))


def swapped_terms(shared: np.ndarray, free: np.ndarray) -> np.ndarray:
    """The mean of `divergence_terms` over all swaps: (c + ½) · ln((c + ½) / (d + ½)), c = shared + k,
    d = shared + free - k, k ~ Binomial(free, ½).

    shared: positions with both texts in the bin; free: with exactly one. Whole numbers, of one shape; so is the
    result. Each distinct pair is computed once.
    """
    base = int(free.max(initial=0)) + 1
    codes = shared.astype(np.int64) * base + free.astype(np.int64)
    pairs, where = np.unique(codes, return_inverse=True)
    both, changing = pairs // base, pairs % base
    out = np.zeros(len(pairs))
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, base + 1)))])
    for count in np.unique(changing):
        # what lies beyond ten standard deviations, √count / 2 each, weighs less than 10⁻²⁰
        width = min(count / 2, 5 * np.sqrt(count))
        k = np.arange(np.ceil(count / 2 - width), np.floor(count / 2 + width) + 1, dtype=int)
        chance = np.exp(log_factorial[count] - log_factorial[k] - log_factorial[count - k] - count * np.log(2.0))
        same = changing == count
        c = both[same, None] + k
        out[same] = divergence_terms(c, c[:, ::-1]) @ chance
    return out[where].reshape(shared.shape)


def _bins(answers: Answers, view: str, cuts: list[np.ndarray]) -> np.ndarray:
    """(Q, F): the bin of each answer in each feature."""
    values = answer_features(answers, view).T
    return np.stack([np.searchsorted(c, v, side="right") for c, v in zip(cuts, values, strict=True)], axis=1)


def _divergences(answers: Answers, draws: Draws, view: str, excess: bool) -> np.ndarray:
    """(R, K, F): KL of every annotator and feature on every list; with `excess`, minus its mean over all swaps.

    A swap of a position's two texts keeps the bins' totals and the number of positions, so that mean is a sum
    over bins of binomial expectations: exact, where drawn relabellings would add noise.
    """

    def make() -> np.ndarray:
        cuts = train_cuts(answers.task, view)
        sizes = np.array([len(c) + 1 for c in cuts])
        starts = np.cumsum(sizes) - sizes
        every = np.concatenate([np.arange(size) for size in sizes])
        bins = [np.repeat(_bins(a, view, cuts).astype(np.int8), sizes, axis=1) for a in (answers.human, answers)]
        out = np.full((len(draws), len(answers.annotators), len(cuts)), np.nan)
        for annotator, own in enumerate(answers.own):
            weights = draws.of(answers.cells[0][own])
            humans, system = ((b[own] == every).astype(float) for b in bins)
            p, q = weights @ humans, weights @ system
            terms = divergence_terms(p, q)
            if excess:
                shared = weights @ (humans * system)
                terms -= swapped_terms(shared, p + q - 2 * shared)
            total = weights.sum(axis=1, keepdims=True)
            found = np.add.reduceat(terms, starts, axis=1) / (total + sizes / 2)
            out[:, annotator] = np.where(total > 0, found, np.nan)
        return out

    return answers.once_on(draws, ("divergences", view, excess), make)


def _mean_divergence(answers: Answers, draws: Draws, view: str, feature: str, excess: bool) -> Estimate:
    wanted = columns(feature, len(answers.task.fields), view)
    if not (some := train_cuts(answers.task, view)) or not answers.questions:
        nothing = np.full((len(draws), len(answers.annotators)), np.nan)
        return over_annotators(nothing, answers.counts, _NO_ANSWERS if some else _NO_TRAIN)
    return over_annotators(_divergences(answers, draws, view, excess)[:, :, wanted].mean(axis=2), answers.counts)


@metric(better="lower", bounds=(0.0, np.inf), variants=lambda task: (*_MEANS, *_per_feature(task)))
def feature_kl(answers: Answers, draws: Draws, *, view: View = "norm", feature: str = "mean") -> Estimate:
    """Mean over annotators (and features) of KL(humans ‖ system) in nats between their histograms of a feature.

    Bins: quantiles of the pooled human train records, fixed in every replicate; add ½ per bin. 0 for humans
    themselves and grows as answers get fewer: the same person against himself has .3 at 10 answers, .06 at 95, so
    it means nothing without `feature_kl_excess`.
    """
    return _mean_divergence(answers, draws, view, feature, excess=False)


@metric(better="lower", bounds=(-np.inf, np.inf), variants=_MEANS)
def feature_kl_excess(answers: Answers, draws: Draws, *, view: View = "norm", feature: str = "mean") -> Estimate:
    """`feature_kl` minus its expectation when every question's human and system text change places by a coin.

    0 is what a system has that writes as humans do; negative is closer than chance. The expectation is exact
    (`swapped_terms`); a list's repeated items are swapped one by one.
    """
    return _mean_divergence(answers, draws, view, feature, excess=True)


@metric(better="lower", bounds=(0.0, np.inf), variants=_per_feature)
def feature_wasserstein(answers: Answers, draws: Draws, *, view: View = "norm", feature: str = "words") -> Estimate:
    """Mean over annotators of the Wasserstein-1 distance between the humans' and the system's values of a feature.

    In the feature's own unit (words, characters, share); no bins. Σ_j |F_human(v_j) - F_system(v_j)| · (v_{j+1} - v_j)
    over the sorted values v. `feature=mean` divides each feature by its standard deviation over the humans'
    records of the split first and leaves out the features in which humans are constant.
    """
    wanted = columns(feature, len(answers.task.fields), view)
    if not answers.questions:
        return over_annotators(np.full((len(draws), len(answers.annotators)), np.nan), answers.counts, _NO_ANSWERS)
    humans = answer_features(answers.human, view)[:, wanted]
    scale = humans.std(axis=0) if feature == "mean" else np.ones(1)
    varied = scale > 1e-12
    if not varied.any():
        return over_annotators(
            np.full((len(draws), len(answers.annotators)), np.nan), answers.counts, "people's features are all constant"
        )
    distances = _distances(answers, draws, view)[:, :, wanted]
    return over_annotators((distances[:, :, varied] / scale[varied]).mean(axis=2), answers.counts)


def _distances(answers: Answers, draws: Draws, view: str) -> np.ndarray:
    """(R, K, F): the Wasserstein-1 distance of every annotator and feature on every list."""

    def make() -> np.ndarray:
        humans, system = answer_features(answers.human, view), answer_features(answers, view)
        out = np.full((len(draws), len(answers.annotators), humans.shape[1]), np.nan)
        for annotator, own in enumerate(answers.own):
            weights = draws.of(answers.cells[0][own])
            total = weights.sum(axis=1, keepdims=True)
            pairs = zip(humans[own].T, system[own].T, strict=True)
            sums = np.stack([wasserstein(weights, h, s) for h, s in pairs], axis=1)
            np.divide(sums, total, out=out[:, annotator], where=total > 0)
        return out

    return answers.once_on(draws, ("wasserstein", view), make)


def wasserstein(weights: np.ndarray, humans: np.ndarray, system: np.ndarray) -> np.ndarray:
    """Wasserstein-1 distance of two samples of Q values under each row of weights (R, Q), times the row's sum: (R,)."""
    points = np.unique(np.concatenate([humans, system]))
    if len(points) < 2:
        return np.zeros(len(weights))
    if len(points) <= _FEW_POINTS:
        ahead = (humans[:, None] <= points[:-1]).astype(float) - (system[:, None] <= points[:-1])
        return np.abs(weights @ ahead) @ np.diff(points)
    # a table of values × points would grow with their product
    values = np.concatenate([humans, system])
    order = np.argsort(values, kind="stable")
    owner, sign, steps = order % len(humans), np.where(order < len(humans), 1.0, -1.0), np.diff(values[order])
    parts = np.array_split(weights, weights.size // _CELLS + 1)
    return np.concatenate([np.abs((part[:, owner] * sign).cumsum(axis=1)[:, :-1]) @ steps for part in parts])
