"""Can a classifier tell a system's answers from the annotator's own? (docs/metrics.md section 7).

A classifier two-sample test (Lopez-Paz & Oquab 2017, "Revisiting classifier two-sample tests") per annotator.
It sees the mode collapse that group metrics reward.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..stats import Draws, clusters, mean_over_annotators, seeded
from .answers import Answers
from .registry import Estimate, metric

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

View = Literal["raw", "norm"]
FOLDS = 5
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
    weighted = counts @ diags(idf)
    gram = np.asarray((weighted @ weighted.T).todense())
    length = np.sqrt(np.diag(gram))
    scale = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    return gram * scale[:, None] * scale


def logistic_scores(gram: np.ndarray, train: np.ndarray, positive: np.ndarray, strength: float = 10.0) -> np.ndarray:
    """Decision values of all rows under an L2 logistic regression (C = strength) fitted on the `train` rows: (n,).

    The primal optimum min ½‖w‖² + C Σ ln(1 + exp(-y(w·x + b))), b free, by Newton's method in the span of the
    train rows (w = Xᵀα), so that thousands of n-grams cost no more than the texts there are.
    """
    kernel, target = gram[np.ix_(train, train)], positive[train].astype(float)
    size = len(target)
    alpha, offset = np.zeros(size), 0.0
    for _ in range(50):
        chance = 1 / (1 + np.exp(-(kernel @ alpha + offset)))
        # at the optimum alpha = C (target - chance), and the sum of alpha is 0
        curvature = np.maximum(chance * (1 - chance), 1e-10)
        system = np.zeros((size + 1, size + 1))
        system[:size, :size] = kernel
        np.fill_diagonal(system[:size, :size], kernel.diagonal() + 1 / (strength * curvature))
        system[:size, size] = system[size, :size] = 1.0
        response = kernel @ alpha + offset + (target - chance) / curvature
        solution = np.linalg.solve(system, np.append(response, 0.0))
        step = np.abs(solution - np.append(alpha, offset)).max()
        alpha, offset = solution[:size], float(solution[size])
        if step < 1e-8:
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


def out_of_fold_scores(people: Sequence[str], system: Sequence[str], fold: np.ndarray) -> np.ndarray:
    """Decision values "this is the system's" of people's and the system's texts, (2, Q), each from the other folds.

    NaN where the other folds are empty.
    """
    counts = chargram_counts([*people, *system])
    positive = np.repeat([False, True], len(people))
    both = np.tile(fold, 2)
    out = np.full(len(both), np.nan)
    for f in np.unique(fold):
        train = both != f
        if train.any():
            out[~train] = logistic_scores(tfidf_gram(counts, train), train, positive)[~train]
    return out.reshape(2, -1)


def _wins(scores: np.ndarray) -> np.ndarray:
    """(Q, Q): 1 where the system's answer (row) scores above the person's (column), ½ where equal."""
    people, system = np.round(scores, 9)
    return (system[:, None] > people).astype(float) + 0.5 * (system[:, None] == people)


def _jackknife(whole: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """95 % intervals [..., 2] from G estimates that leave out one block each: (G, ...), (...)."""
    blocks = max(1, len(parts))
    error = np.sqrt((blocks - 1) / blocks * ((parts - parts.sum(axis=0) / blocks) ** 2).sum(axis=0))
    return np.clip(np.stack([whole - 1.96 * error, whole + 1.96 * error], axis=-1), 0.0, 1.0)


def _auc_per_annotator(answers: Answers, view: str) -> tuple[np.ndarray, np.ndarray]:
    """AUC per annotator, (K,), and without each block of items, (G, K); NaN for an annotator with too few."""
    people, system = np.array(answers.human.texts(view), object), np.array(answers.texts(view), object)
    rows, column = answers.cells
    fold = fold_of_items(answers)
    blocks = clusters(answers.items)
    block_of = np.zeros(len(answers.items), dtype=int)
    for number, members in enumerate(blocks):
        block_of[list(members)] = number
    whole = np.full(len(answers.annotators), np.nan)
    parts = np.full((len(blocks), len(answers.annotators)), np.nan)
    for k in range(len(answers.annotators)):
        own = column == k
        if len(np.unique(fold[rows[own]])) < 2:
            continue
        wins = _wins(out_of_fold_scores(people[own], system[own], fold[rows[own]]))
        whole[k] = wins.mean()
        member = (block_of[rows[own]] == np.arange(len(blocks))[:, None]).astype(float)
        kept = 1 - member
        pairs = kept.sum(axis=1) ** 2
        sums = ((kept @ wins) * kept).sum(axis=1)
        parts[:, k] = np.divide(sums, pairs, out=np.full(len(blocks), np.nan), where=pairs > 0)
    return whole, parts


@metric(better="ideal", floor=None, ceiling=None, variants=({"view": "raw"}, {"view": "norm"}), resamples=False)
def c2st(answers: Answers, draws: Draws, *, view: View = "norm") -> Estimate:
    """AUC with which a classifier tells the system's answers from the annotator's own on the same items.

    Per annotator: character 1-4-gram tf-idf, logistic regression (C = 10), out-of-fold scores of 5 folds by item,
    pooled; the mean over annotators. Ideal .5; 1 is always told apart; people against the same texts are exactly .5.
    The 95 % interval is a jackknife over items of the out-of-fold scores (items that share an input text are
    left out together; nothing is refitted). A missing answer is the empty text. Lists other than every item once
    are NaN: a resampled list would put copies of one text on both sides of a fold.
    """
    once = (draws.weights == 1).all(axis=1)
    by_annotator = np.full((len(draws), len(answers.annotators)), np.nan)
    intervals = np.full((1 + by_annotator.shape[1], 2), np.nan)
    note = ""
    if once.any():
        whole, parts = _auc_per_annotator(answers, view)
        by_annotator[once] = whole
        intervals[1:] = _jackknife(whole, parts)
        intervals[0] = _jackknife(mean_over_annotators(whole[None])[0], mean_over_annotators(parts))
        note = _TOO_FEW if np.isnan(whole).all() else ""
    return Estimate(
        mean_over_annotators(by_annotator), sum(answers.counts), by_annotator, answers.counts, note, intervals=intervals
    )
