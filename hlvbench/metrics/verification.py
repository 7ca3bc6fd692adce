"""Are two groups of m explanations by the same annotator? (author verification, the task of the PAN shared tasks)

One group is the system's answers given as an annotator, the other the records of a person: of that annotator (the
right reply is yes) or of another one (no), in equal numbers. The two groups never share an item, nor an input text:
the items are cut into two halves, five times by seed, and a pair takes a group from each. The pairs, the verifier and
the reduction are ours; the four measures are PAN's.

The verifier knows people's dev records alone: the most frequent character 1- to 4-grams of dev in a view, tf-idf, less
the content (`reduce`), on the 64 main axes of dev; a group is the mean of its texts; the cosine of two groups becomes a
probability by a logistic regression on dev pairs made the same way, of the same m.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from ..bootstrap import Draws, clusters, every_item_once, seeded
from ..errors import MetricError
from .group import only_annotator, same_length
from .predictions import Answers, once_per_task
from .projections import View, people, usable
from .registry import Estimate, metric

Reduced = Literal["self", "none"]
Fit = Literal["dev"]
SIZES = (1, 5, 10, 20)
HALVINGS = 5
GROUPS = 20
"""Groups per annotator, halving and half: 200 pairs of each kind per annotator."""
GRAMS, AXES = 1000, 64
UNDECIDED = 0.05
"""Probabilities this close to one half are no answer; ours, as PAN leaves it to the verifier."""
_NOTHING = 1e-9
_CHUNK = 2_000_000


def auc(same: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of R lists, (R, P) and (R, Q) probabilities: (R,); ties count half.

    The share of (same, other) pairs in the right order, by mid-ranks (Mann & Whitney 1947); chance .5.
    """
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([same, other], axis=1), axis=1)
    size = same.shape[1]
    total = ranks[:, :size].sum(axis=1) - size * (size + 1) / 2
    return np.asarray(total / (size * other.shape[1]))


def c_at_1(same: np.ndarray, other: np.ndarray) -> np.ndarray:
    """c@1 = (n_c + n_u · n_c / n) / n of R lists: accuracy that credits an open reply with the accuracy of the others.

    n pairs, n_c right, n_u undecided. Always yes gives .5, nothing but open replies 0. Peñas & Rodrigo 2011, "A simple
    measure to assess non-response".
    """
    right = (same > 0.5 + UNDECIDED).sum(axis=1) + (other < 0.5 - UNDECIDED).sum(axis=1)
    open_ = _open(same) + _open(other)
    count = same.shape[1] + other.shape[1]
    return _with_nan((right + open_ * right / count) / count, same, other)


def f05u(same: np.ndarray, other: np.ndarray) -> np.ndarray:
    """F0.5u = 1.25 n_tp / (1.25 n_tp + .25 (n_fn + n_u) + n_fp) of R lists, n_u the undecided pairs of both kinds.

    An F-measure for which a wrong yes is worse than a wrong no, and an open reply is a wrong no. Bevendorff, Stein,
    Hagen & Potthast 2019, "Generalizing unmasking for short texts". Always yes gives 5/9.
    """
    true = (same > 0.5 + UNDECIDED).sum(axis=1)
    false = (other > 0.5 + UNDECIDED).sum(axis=1)
    missed = (same < 0.5 - UNDECIDED).sum(axis=1) + _open(same) + _open(other)
    whole = 1.25 * true + 0.25 * missed + false
    return _with_nan(np.divide(1.25 * true, whole, out=np.zeros(len(same)), where=whole > 0), same, other)


def brier(same: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Mean squared distance of the probability from 1 (same) and 0 (other) of R lists; 0 is best, always ½ gives .25.

    Brier 1950. PAN prints its complement.
    """
    return np.asarray(np.concatenate([(1 - same) ** 2, other**2], axis=1).mean(axis=1))


def _open(probability: np.ndarray) -> np.ndarray:
    return np.asarray((np.abs(probability - 0.5) <= UNDECIDED).sum(axis=1))


def _with_nan(values: np.ndarray, same: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Counting takes NaN for a no; a list without a probability has no value."""
    return np.where(np.isnan(same).any(axis=1) | np.isnan(other).any(axis=1), np.nan, values)


@dataclass(frozen=True)
class _Pairs:
    """Probabilities of every pair on R lists, (R, P, G, 2): [..., 0] the same person, [..., 1] another.

    members: columns of the P annotators with enough answers and records. notes: per annotator (K), why it has none.
    """

    probability: np.ndarray
    members: tuple[int, ...]
    notes: tuple[str, ...]
    note: str


def _estimate(
    answers: Answers, draws: Draws, measure: Callable[..., np.ndarray], view: str, reduce: str, m: int
) -> Estimate:
    """The measure over all pairs, as PAN takes it, and over each annotator's."""
    if m < 1:
        raise MetricError(f"groups hold at least one answer; m={m} was asked for")
    pairs = _pairs(answers, draws, view, reduce, m)
    overall = np.full(len(draws), np.nan)
    by = np.full((len(draws), len(answers.annotators)), np.nan)
    if pairs.members:
        flat = pairs.probability.reshape(len(draws), -1, 2)
        overall = measure(flat[..., 0], flat[..., 1])
        for place, k in enumerate(pairs.members):
            own = pairs.probability[:, place]
            by[:, k] = measure(own[..., 0], own[..., 1])
    counts = tuple(c if k in pairs.members else 0 for k, c in enumerate(answers.counts))
    return Estimate(overall, sum(counts), by, counts, pairs.note, pairs.notes)


@metric(better="higher", variants=())
def verification_auc(
    answers: Answers, draws: Draws, *, view: View = "norm", reduce: Reduced = "self", fit: Fit = "dev", m: int
) -> Estimate:
    """Area under the ROC curve over pairs of groups of m (see the module and `auc`); an annotator-blind system .5.

    A missing answer is the empty text. NaN where fewer than two annotators have m answers and records in each half.
    """
    return _estimate(answers, draws, auc, view, reduce, m)


@metric(better="higher", variants=())
def verification_c1(
    answers: Answers, draws: Draws, *, view: View = "norm", reduce: Reduced = "self", fit: Fit = "dev", m: int
) -> Estimate:
    """c@1 over pairs of groups of m (see `c_at_1`), as `verification_auc`."""
    return _estimate(answers, draws, c_at_1, view, reduce, m)


@metric(better="higher", variants=())
def verification_f05u(
    answers: Answers, draws: Draws, *, view: View = "norm", reduce: Reduced = "self", fit: Fit = "dev", m: int
) -> Estimate:
    """F0.5u over pairs of groups of m (see `f05u`), as `verification_auc`."""
    return _estimate(answers, draws, f05u, view, reduce, m)


@metric(better="lower", variants=())
def verification_brier(
    answers: Answers, draws: Draws, *, view: View = "norm", reduce: Reduced = "self", fit: Fit = "dev", m: int
) -> Estimate:
    """Brier error over pairs of groups of m (see `brier`), as `verification_auc`."""
    return _estimate(answers, draws, brier, view, reduce, m)


def _pairs(answers: Answers, draws: Draws, view: str, reduce: str, m: int) -> _Pairs:
    """Kept, so that the four measures share them; the draws beside them, lest their id be given to others."""
    key = ("verification", view, reduce, m, id(draws))
    return answers.once(key, lambda: (draws, _make_pairs(answers, draws, view, reduce, m)))[1]


def _make_pairs(answers: Answers, draws: Draws, view: str, reduce: str, m: int) -> _Pairs:
    nobody = np.zeros((len(draws), 0, 0, 2))
    why = _unfit(answers, reduce)
    notes = [why] * len(answers.annotators)
    if not why:
        dev = people(answers.task, "dev", answers.embedder)
        lacking = zip(_shortage(answers, reduce, m, "answers"), _shortage(dev, reduce, m, "dev records"), strict=True)
        notes = [first or second for first, second in lacking]
        members = tuple(k for k, note in enumerate(notes) if not note)
        if len(members) > 1:
            slope, intercept = _verifier(dev, view, reduce, m, members)
            cosines = _cosines(answers, answers.human, draws, view, reduce, m, members)
            probability = 1 / (1 + np.exp(-(slope * cosines + intercept)))
            left = ", ".join(f"{a} ({n})" for a, n in zip(answers.annotators, notes, strict=True) if n)
            return _Pairs(probability, members, tuple(notes), f"left out: {left}" if left else "")
        notes = [note or "needs a second annotator to tell apart" for note in notes]
    return _Pairs(nobody, (), tuple(notes), notes[0] if len(set(notes)) == 1 else "; ".join(dict.fromkeys(notes)))


def _unfit(answers: Answers, reduce: str) -> str:
    """Why no annotator can have a value."""
    if answers.split == "dev" or not answers.task.splits.get("dev"):
        return "the verifier is fitted on dev records, which must not be the scored ones"
    lone = only_annotator(answers)
    if lone is not None and reduce == "self":
        return f"answers for {answers.annotators[lone]} only: reduce=self compares a system's annotators"
    return ""


def _halves(answers: Answers) -> np.ndarray:
    """(T, N) bool: which half an item is in, in each halving; items that share an input text stay together."""
    groups = clusters(answers.items)
    out = np.zeros((HALVINGS, len(answers.items)), dtype=bool)
    for t in range(HALVINGS):
        sizes = [0, 0]
        for g in seeded("verification halves", answers.task.name, answers.split, t).permutation(len(groups)):
            smaller = int(sizes[1] < sizes[0])
            sizes[smaller] += len(groups[g])
            out[t, list(groups[g])] = smaller
    return out


def _asked(answers: Answers, reduce: str) -> np.ndarray:
    """(N, K) bool: the answers that groups are made of."""
    rows, columns = answers.cells
    out = np.zeros((len(answers.items), len(answers.annotators)), dtype=bool)
    kept = usable(answers, reduce)
    out[rows[kept], columns[kept]] = True
    return out


def _shortage(answers: Answers, reduce: str, m: int, what: str) -> list[str]:
    """Per annotator why groups of m cannot be made in every half; empty where they can."""
    asked, halves = _asked(answers, reduce), _halves(answers)
    given = np.min([(asked & half[:, None]).sum(axis=0) for one in halves for half in (one, ~one)], axis=0)
    return [f"needs {m} {what} in each half, {n} given" if n < m else "" for n in given.tolist()]


def _cosines(
    system: Answers, human: Answers, draws: Draws, view: str, reduce: str, m: int, members: tuple[int, ...]
) -> np.ndarray:
    """(R, P, 2 · halvings · GROUPS, 2): the cosine of every pair; NaN on a list with fewer than m answers in a half."""
    mine, theirs = _grid(system, view, reduce), _grid(human, view, reduce)
    asked, halves = _asked(system, reduce), _halves(system)
    out = np.full((len(draws), len(members), 2 * HALVINGS * GROUPS, 2), np.nan)
    step = max(1, _CHUNK // (len(members) * GROUPS * AXES))
    for start in range(0, len(draws), step):
        part = Draws(draws.groups, draws.picks[start : start + step])
        for block, (t, half) in enumerate((n, h) for n in range(HALVINGS) for h in (halves[n], ~halves[n])):
            groups = [_means(mine[:, k], part, asked[:, k] & half, m, (t, k, "system")) for k in members]
            own = [_means(theirs[:, k], part, asked[:, k] & ~half, m, (t, k, "same")) for k in members]
            others = np.stack([_means(theirs[:, k], part, asked[:, k] & ~half, m, (t, k, "other")) for k in members])
            at = slice(block * GROUPS, (block + 1) * GROUPS)
            for place in range(len(members)):
                out[start : start + step, place, at, 0] = _cosine(groups[place], own[place])
                turn = (np.arange(GROUPS) + block * GROUPS) % (len(members) - 1)
                chosen = np.delete(np.arange(len(members)), place)[turn]
                another = others[chosen, :, np.arange(GROUPS)].transpose(1, 0, 2)
                out[start : start + step, place, at, 1] = _cosine(groups[place], another)
    return out


def _means(vectors: np.ndarray, draws: Draws, given: np.ndarray, m: int, seed: tuple[Any, ...]) -> np.ndarray:
    """(R, GROUPS, d) mean vectors of groups of m of the items `given`, from each list; NaN where it has fewer."""
    out = np.full((len(draws), GROUPS, vectors.shape[1]), np.nan)
    for lists, positions in same_length(draws, given, max(1, _CHUNK // (GROUPS * m * AXES))):
        if positions.shape[1] >= m:
            groups = _groups(positions.shape[1], m, seed)
            out[lists] = vectors[positions[:, groups]].mean(axis=2)
    return out


@lru_cache(maxsize=8192)
def _groups(count: int, m: int, seed: tuple[Any, ...]) -> np.ndarray:
    """(GROUPS, m) positions in a list of `count`, drawn without replacement; lists of one length share them."""
    size = 1 << (count - 1).bit_length()
    keys = seeded("verification groups", m, *seed).random((size, GROUPS))
    return np.argsort(keys[:count], axis=0, kind="stable")[:m].T


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Along the last axis; 0 where one of the two has no direction."""
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    product = (a * b).sum(axis=-1)
    nothing = lengths <= _NOTHING
    return np.where(nothing, 0.0, product / np.where(nothing, 1.0, lengths))


def _grid(answers: Answers, view: str, reduce: str) -> np.ndarray:
    """(N, K, d): the answers on the axes of dev, less the content; zeros where nothing is asked."""

    def make() -> np.ndarray:
        space = _space(answers, view, reduce)
        rows, columns = answers.cells
        vectors = space.reduced(answers) @ space.axes
        vectors[np.linalg.norm(vectors, axis=1) <= _NOTHING] = 0.0
        out = np.zeros((len(answers.items), len(answers.annotators), vectors.shape[1]))
        out[rows, columns] = vectors
        return out

    return answers.once(("verification grid", view, reduce), make)


@dataclass(frozen=True)
class _Space:
    """Character n-grams of people's dev records in a view, and the main axes of what is left of them."""

    grams: Any
    view: str
    reduce: str
    centre: np.ndarray
    axes: np.ndarray

    def reduced(self, answers: Answers) -> np.ndarray:
        """(Q, GRAMS) tf-idf rows less the mean of the same system's answers to the item (self), or of dev (none)."""
        found = np.asarray(self.grams.transform(answers.texts(self.view)).todense())
        if self.reduce == "none":
            return np.asarray(found - self.centre)
        rows, _ = answers.cells
        sums = np.zeros((len(answers.items), found.shape[1]))
        np.add.at(sums, rows, found)
        return np.asarray(found - (sums / np.bincount(rows, minlength=len(sums))[:, None])[rows])


def _space(answers: Answers, view: str, reduce: str) -> _Space:
    def fit() -> _Space:
        from sklearn.feature_extraction.text import TfidfVectorizer

        dev = people(answers.task, "dev", answers.embedder)
        texts = dev.texts(view)
        if not any(texts):
            raise MetricError("the verifier is fitted on dev records, and these are empty")
        grams = TfidfVectorizer(
            analyzer="char", ngram_range=(1, 4), lowercase=False, sublinear_tf=True, max_features=GRAMS
        ).fit(texts)
        centre = np.asarray(grams.transform(texts).mean(axis=0))
        bare = _Space(grams, view, reduce, centre, np.zeros((0, 0)))
        _, _, axes = np.linalg.svd(bare.reduced(dev), full_matrices=False)
        return _Space(grams, view, reduce, centre, axes[:AXES].T)

    found: _Space = once_per_task(answers.task, ("verification space", view, reduce), fit)
    return found


def _verifier(dev: Answers, view: str, reduce: str, m: int, members: tuple[int, ...]) -> tuple[float, float]:
    """Slope and intercept of the logistic regression (C=1) from the cosine of a pair of dev groups."""

    def fit() -> tuple[float, float]:
        from sklearn.linear_model import LogisticRegression

        cosines = _cosines(dev, dev, every_item_once(len(dev.items)), view, reduce, m, members)[0]
        same = np.broadcast_to([True, False], cosines.shape)
        model = LogisticRegression(C=1.0).fit(cosines.reshape(-1, 1), same.ravel())
        return float(model.coef_[0, 0]), float(model.intercept_[0])

    return dev.once(("verifier", view, reduce, m, members), fit)
