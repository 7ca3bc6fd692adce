"""Can a classifier tell a system's answers from the annotator's own? (docs/metrics.md section 7).

A classifier two-sample test (Lopez-Paz & Oquab 2017, "Revisiting classifier two-sample tests") per annotator.
It sees the mode collapse that group metrics reward.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..bootstrap import Draws, clusters, mean_over_annotators, seeded
from ..types import Task
from .predictions import Answers
from .registry import Estimate, Value, metric

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

View = Literal["raw", "norm"]
FOLDS = 5
MOST = 500
"""Answers of an annotator on a task that has more."""
_OFTEN = 1 / 16
_TOO_FEW = "needs answers to items of two folds"


def chargram_counts(texts: Sequence[str], longest: int = 4) -> csr_matrix:
    """How often each character n-gram (n = 1 … longest) stands in each text: sparse (n, V), float64.

    An n-gram that only bridges two neighbouring texts has a column of zeros.
    """
    from scipy.sparse import csr_matrix

    letters = np.array([ord(c) for text in texts for c in text], dtype=np.int64)
    owner = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    alphabet, codes = np.unique(letters, return_inverse=True)
    columns, rows, width = [], [], 0
    gram, base = np.zeros(len(codes), dtype=np.int64), len(alphabet)
    for n in range(1, longest + 1):
        size = max(0, len(codes) - n + 1)
        # numbered afresh for every n, so that a number never outgrows 64 bits, whatever the alphabet
        known, gram = np.unique(gram[:size] * base + codes[n - 1 :], return_inverse=True)
        inside = owner[:size] == owner[n - 1 :]
        columns.append(gram[inside] + width)
        rows.append(owner[:size][inside])
        width += len(known)
    row, column = np.concatenate(rows), np.concatenate(columns)
    return csr_matrix((np.ones(len(row)), (row, column)), shape=(len(texts), max(1, width)))


def tfidf_gram(counts: csr_matrix, train: np.ndarray) -> np.ndarray:
    """Inner products of all texts' tf-idf rows, weights of the `train` rows (bool) alone: dense (n, n).

    idf = ln((1 + n) / (1 + df)) + 1 over the train rows, rows of length 1 (scikit-learn's smooth idf); an n-gram
    that no train row has is not in the vocabulary. A text without a known n-gram is a zero row.
    """
    from scipy.sparse import diags

    frequency = np.asarray((counts[train] > 0).sum(axis=0)).ravel()
    idf = np.where(frequency > 0, np.log((1 + train.sum()) / (1 + frequency)) + 1, 0.0)
    weighted = (counts @ diags(idf)).tocsc()
    # a product of sparse rows pays for every pair of texts that share an n-gram: the frequent ones go as a dense table
    often = frequency > _OFTEN * train.sum()
    rare, dense = weighted[:, ~often].tocsr(), weighted[:, often].toarray()
    gram = (rare @ rare.T).toarray() + dense @ dense.T
    length = np.sqrt(np.diag(gram))
    scale = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    return gram * scale[:, None] * scale


def logistic_scores(gram: np.ndarray, train: np.ndarray, positive: np.ndarray, strength: float = 10.0) -> np.ndarray:
    """Decision values of all rows under an L2 logistic regression (C = strength) fitted on the `train` rows: (n,).

    The primal optimum min ½‖w‖² + C Σ ln(1 + exp(-y(w·x + b))), b free, by Newton's method in the span of the
    train rows (w = Xᵀα), so that thousands of n-grams cost no more than the texts there are.
    """
    from scipy.linalg import cho_factor, cho_solve

    kernel, target = gram[np.ix_(train, train)], positive[train].astype(float)
    size = len(target)
    alpha, offset = np.zeros(size), 0.0
    for _ in range(50):
        chance = 1 / (1 + np.exp(-(kernel @ alpha + offset)))
        # at the optimum alpha = C (target - chance), and the sum of alpha is 0
        curvature = np.maximum(chance * (1 - chance), 1e-10)
        system = kernel.copy()
        np.fill_diagonal(system, kernel.diagonal() + 1 / (strength * curvature))
        response = kernel @ alpha + offset + (target - chance) / curvature
        both = np.stack([response, np.ones(size)], axis=1)
        solved, ones = cho_solve(cho_factor(system, lower=True, overwrite_a=True, check_finite=False), both).T
        before, alpha = np.append(alpha, offset), solved - ones * (solved.sum() / ones.sum())
        offset = float(solved.sum() / ones.sum())
        if np.abs(np.append(alpha, offset) - before).max() < 1e-8:
            break
    return gram[:, train] @ alpha + offset


def fold_of_items(answers: Answers) -> np.ndarray:
    """(N,) the fold of each item: items that share an input text together, dealt in a seeded order."""
    groups = clusters(answers.items)
    order = seeded("c2st", answers.task.name, answers.split).permutation(len(groups))
    fold = np.zeros(len(answers.items), dtype=int)
    for position, group in enumerate(order):
        fold[list(groups[group])] = position % FOLDS
    return fold


def out_of_fold_scores(humans: Sequence[str], system: Sequence[str], fold: np.ndarray) -> np.ndarray:
    """Decision values "this is the system's" of the humans' and the system's texts, (2, Q), each from the other folds.

    NaN where the other folds are empty.
    """
    counts = chargram_counts([*humans, *system])
    positive = np.repeat([False, True], len(humans))
    both = np.tile(fold, 2)
    out = np.full(len(both), np.nan)
    for f in np.unique(fold):
        train = both != f
        if train.any():
            out[~train] = logistic_scores(tfidf_gram(counts, train), train, positive)[~train]
    return out.reshape(2, -1)


def _wins(scores: np.ndarray) -> np.ndarray:
    """(Q, Q): 1 where the system's answer (row) scores above the person's (column), ½ where equal."""
    humans, system = np.round(scores, 9)
    return (system[:, None] > humans).astype(float) + 0.5 * (system[:, None] == humans)


def _error(deviations: np.ndarray, blocks: int) -> float:
    """Jackknife standard error from what leaving out a block changes; the other blocks of all change nothing."""
    return float(np.sqrt((blocks - 1) / blocks * ((deviations**2).sum() - deviations.sum() ** 2 / blocks)))


def _drawn(answers: Answers, k: int, most: int) -> np.ndarray:
    """The questions of annotator k, or `most` of them drawn by seed, in order."""
    own = answers.own[k]
    if not most or len(own) <= most:
        return own
    order = seeded("c2st answers", answers.task.name, answers.split, answers.annotators[k]).permutation(len(own))
    return np.sort(own[order[:most]])


def _auc_per_annotator(answers: Answers, view: str, most: int) -> tuple[np.ndarray, np.ndarray]:
    """AUC per annotator, (K,), NaN for an annotator with too few; and (1 + K) jackknife errors, of their mean first."""
    humans, system = np.array(answers.human.texts(view), object), np.array(answers.texts(view), object)
    rows = answers.cells[0]
    fold = fold_of_items(answers)
    blocks = clusters(answers.items)
    block_of = np.zeros(len(answers.items), dtype=int)
    for number, members in enumerate(blocks):
        block_of[list(members)] = number
    whole = np.full(len(answers.annotators), np.nan)
    error, changes = np.full(1 + len(whole), np.nan), np.zeros(len(blocks))
    for k in range(len(whole)):
        own = _drawn(answers, k, most)
        if len(np.unique(fold[rows[own]])) < 2:
            continue
        wins = _wins(out_of_fold_scores(humans[own], system[own], fold[rows[own]]))
        whole[k] = wins.mean()
        block, place = np.unique(block_of[rows[own]], return_inverse=True)
        # a pair of texts goes with the block of either; two folds hold two blocks at least, so some pairs are left
        member = (place == np.arange(len(block))[:, None]).astype(float)
        inside = np.einsum("bq,bq->b", member @ wins, member)
        sums = wins.sum() - member @ (wins.sum(axis=0) + wins.sum(axis=1)) + inside
        pairs = (len(own) - member.sum(axis=1)) ** 2
        change = sums / pairs - whole[k]
        changes[block] += change
        error[1 + k] = _error(change, len(blocks))
    if known := int((~np.isnan(whole)).sum()):
        error[0] = _error(changes / known, len(blocks))
    return whole, error


def size_limits(task: Task) -> Mapping[str, Value]:
    """Where an annotator has more than `MOST` answers."""
    counts = max((Counter(a for _, a in task.questions(s)) for s in ("dev", "test") if s in task.splits), key=_largest)
    return {"most": MOST} if _largest(counts) > MOST else {}


def _largest(counts: Counter[str]) -> int:
    return max(counts.values(), default=0)


@metric(
    better="ideal",
    floor=None,
    ceiling=None,
    variants=({"view": "raw"}, {"view": "norm"}),
    resamples=False,
    large=size_limits,
)
def c2st(answers: Answers, draws: Draws, *, view: View = "norm", most: int = 0) -> Estimate:
    """AUC with which a classifier tells the system's explanations from the annotator's own on the same items.

    Ideal .5; 1 is always told apart; humans against themselves are exactly .5. Per annotator: character 1-4-gram
    tf-idf, logistic regression (C = 10), pooled out-of-fold scores of 5 folds by item; then the mean over annotators.
    The 95 % interval is a jackknife over clusters of items of the out-of-fold scores, without refitting. A missing
    prediction is the empty text. There are no replicates: a resampled list would put copies of one text on both sides
    of a fold.

    Args:
        view: View of the texts.
        most: Explanations per annotator at most, drawn by seed; 0 takes all.
    """
    once = (draws.counts == 1).all(axis=0)
    by_annotator = np.full((len(draws), len(answers.annotators)), np.nan)
    intervals = np.full((1 + by_annotator.shape[1], 2), np.nan)
    note = ""
    if once.any():
        whole, error = _auc_per_annotator(answers, view, most)
        by_annotator[once] = whole
        middle = np.append(mean_over_annotators(whole[None]), whole)
        intervals = np.clip(np.stack([middle - 1.96 * error, middle + 1.96 * error], axis=1), 0.0, 1.0)
        note = _TOO_FEW if np.isnan(whole).all() else ""
    return Estimate(
        mean_over_annotators(by_annotator), sum(answers.counts), by_annotator, answers.counts, note, intervals=intervals
    )
