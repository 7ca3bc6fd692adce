"""What an explanation says of its annotator on its item, with style and label taken out (docs/metrics.md section 6b).

"Ours." As in `own_match`, an answer is compared with the records of the item. Moving an annotator's answers to the
annotator's other items gives the part that style, the label and the records' popularity earn without reading the item.

Cosine similarity is linear in the answer: the sum over an annotator's answers is a product with the sum of their
vectors. So the cost grows with the number of answers, and no table of items × items is built. Only at items where
somebody has two records, whose larger similarity counts, is every answer of the annotator compared by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..bootstrap import Draws, ranges
from .own_match import (
    CELLS,
    Layout,
    Sim,
    by_annotator,
    counts_of,
    divide,
    in_place,
    layout_of,
    left_out,
    similarity_to,
    variants,
)
from .predictions import Answers
from .projections import EMBED, View, check_embedder
from .registry import Estimate, metric

Within = Literal["label", "all"]
LEAST_GAIN = 0.01
"""The least G(human) that an own_gain is divided by."""


@dataclass(frozen=True)
class _Content:
    """One annotator's questions `own`, what D of each is made of, and the answers to them.

    D_i(x) is the similarity to the annotator's records of item i less the mean of those to the others', so it is linear
    in x where a question has one record. linear: (n, d), whose products with `answers`, (n, d), are that part of D.
    question, peer, part: (E) the other terms of D: which of `own`, the question whose records it is about, its weight.
    """

    layout: Layout
    own: np.ndarray
    answers: Any
    linear: Any
    question: np.ndarray
    peer: np.ndarray
    part: np.ndarray

    def moved(self, shares: np.ndarray, weights: np.ndarray, at: slice, among: slice) -> np.ndarray:
        """(R): the sum over the questions i of `own[at]` and j of `own[among]` of shares[r, i] · D_i(answer j) ·
        weights[r, j]."""
        out = _bilinear(shares[:, at], self.linear[at], self.answers[among], weights[:, among])
        left = np.flatnonzero((self.question >= at.start) & (self.question < at.stop))
        count = among.stop - among.start
        for block in np.array_split(left, len(left) * count // CELLS + 1) if len(left) else ():
            similar = weights[:, among] @ similarity_to(self.layout, self.peer[block], self.own[among]).T
            out += (similar * (shares[:, self.question[block]] * self.part[block])).sum(axis=1)
        return out


def _content(layout: Layout, own: np.ndarray) -> _Content:
    from scipy.sparse import csr_array

    size = layout.size[own]
    question, peer = np.repeat(np.arange(len(own)), size), ranges(layout.first[own], size)
    part = np.where(peer == own[question], 1.0, -1.0 / (size[question] - 1))
    single = layout.count[peer] == 1
    used = layout.record[peer[single]]
    sums = csr_array((part[single], (question[single], np.arange(len(used)))), shape=(len(own), len(used)))
    linear, answers, left = sums @ layout.records[used].astype(float), layout.answers[own].astype(float), ~single
    return _Content(layout, own, answers, linear, question[left], peer[left], part[left])


def _bilinear(shares: np.ndarray, left: Any, right: Any, weights: np.ndarray) -> np.ndarray:
    """(R): shares[r] @ left @ right.T @ weights[r]."""
    if isinstance(left, np.ndarray):
        return np.einsum("rd,rd->r", shares @ left, weights @ right)
    if left.shape[0] * right.shape[0] <= CELLS:
        return ((shares @ (left @ right.T).toarray()) * weights).sum(axis=1)
    out = np.zeros(len(shares))
    left, right = left.T.tocsr(), right.T.tocsr()
    for lists in np.array_split(np.arange(len(shares)), len(shares) * left.shape[0] // CELLS + 1):
        sums = (m @ np.ascontiguousarray(w[lists].T) for m, w in ((left, shares), (right, weights)))
        out[lists] = np.einsum("dr,dr->r", *sums)
    return out


def _annotator_gains(
    layout: Layout, gains: np.ndarray, own: np.ndarray, draws: Draws, within: str
) -> tuple[np.ndarray, np.ndarray]:
    """Gains of one annotator's questions `own` in R resamples: (R,) sum of D at the own item minus the mean D of the
    other answers, and (R,) number of questions summed. Copies of a question are not among its others."""
    labels = layout.labels[own] if within == "label" else np.zeros(len(own))
    order = np.argsort(labels, kind="stable")  # the questions of one label side by side
    own = own[order]
    _, group, sizes = np.unique(labels[order], return_inverse=True, return_counts=True)
    ends = sizes.cumsum()
    labelled = [slice(stop - size, stop) for stop, size in zip(ends, sizes, strict=True)]
    content, every = _content(layout, own), draws.of(layout.rows[own])
    found = np.zeros((2, len(draws)))
    # a part's tables fit the processor's cache
    for lists in np.array_split(np.arange(len(draws)), every.size // CELLS + 1):
        weights = every[lists]
        total = weights.sum(axis=1, keepdims=True)
        alike = np.add.reduceat(weights, ends - sizes, axis=1)[:, group] - weights
        paired = np.where(total - weights > 0, weights, 0.0)  # without another question there is nothing to compare
        shares = np.divide(paired, alike, out=np.zeros_like(weights), where=alike > 0)
        no_peer = (paired > 0) & (alike <= 0)
        fallback = np.divide(paired, total - weights, out=np.zeros_like(weights), where=no_peer)
        moved = -((shares + fallback) * weights) @ gains[own]
        for at in labelled:
            moved += content.moved(shares, weights, at, at)
            if no_peer[:, at].any():
                moved += content.moved(fallback, weights, at, slice(0, len(own)))
        found[:, lists] = paired @ gains[own] - moved, paired.sum(axis=1)
    return found[0], found[1]


def _gain_sums(answers: Answers, draws: Draws, view: str, sim: str, within: str) -> tuple[np.ndarray, np.ndarray]:
    """(R, K) sums of each annotator's gains in each resample, and (R, K) the number of questions summed."""

    def make() -> tuple[np.ndarray, np.ndarray]:
        layout, (_, gains) = layout_of(answers, view, sim), in_place(answers, view, sim)
        found = np.zeros((2, len(draws), len(answers.annotators)))
        for own in by_annotator(layout):
            found[:, :, layout.columns[own[0]]] = _annotator_gains(layout, gains, own, draws, within)
        return found[0], found[1]

    return answers.once_on(draws, ("own gains", view, sim, within), make)


@metric(
    better="higher",
    bounds=(-np.inf, np.inf),
    variants=variants,
    headline={"view": "norm", "sim": "embed"},
)
def own_gain(
    answers: Answers, draws: Draws, *, view: View = "norm", sim: Sim = "embed", within: Within = "label",
    embed: str = EMBED,
) -> Estimate:  # fmt: skip
    """What an explanation says of this annotator on this item: G(system) / G(human).

    0 is nothing, 1 is the annotator's own words. G is the mean over questions of D_ia(x_ia) minus the mean of
    D_ia(x_ja) over the annotator's other questions j that the system answered with the same label, where D_ia(x) =
    s(x, own annotation) - mean of s(x, annotations of the item by others). The first difference removes the item, the
    second the annotator's style and what the label alone says. A missing prediction is the empty text with a label of
    its own. NaN with a note where G(human) < .01; an annotator needs two items.

    Args:
        view: View of the texts.
        sim: As in `own_match`.
        within: "label" compares with predictions of the same label, where there is one; "all" with all others.
        embed: Name of the encoder.
    """
    check_embedder(answers, embed)
    (gains, number), (best_gains, best_number) = (
        _gain_sums(who, draws, view, sim, within) for who in (answers, answers.human)
    )
    mean, best = divide(gains, number), divide(best_gains, best_number)
    by = divide(mean, best, LEAST_GAIN)
    total = divide(gains.sum(axis=1), number.sum(axis=1))
    span = divide(best_gains.sum(axis=1), best_number.sum(axis=1))
    overall = divide(total, span, LEAST_GAIN)
    notes = tuple(_why(best[:, k]) if np.isnan(by[:, k]).any() else "" for k in range(by.shape[1]))
    note = "; ".join(filter(None, [left_out(answers), _why(span) if np.isnan(overall).any() else ""]))
    counts = counts_of(answers, layout_of(answers, view, sim))
    return Estimate(overall, sum(counts), by, counts, note, notes)


def _why(span: np.ndarray) -> str:
    if np.isnan(span).any():
        return "needs two items with two annotators"
    return "not enough: the annotators' own records hardly differ (G(human) < .01)"
