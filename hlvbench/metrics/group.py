"""Whose way of explaining does a group of answers show? (docs/metrics.md section 6). "Ours": the source paper
publishes the names of these metrics and no formula.

Every answer has one logit per annotator (`probe`); a group's logits are the mean of its answers' logits, so
a replicate is a matrix product and touches no embedding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..stats import Draws, every_item_once, mean_over_annotators
from .answers import Answers
from .probe import GROUPS, Panel, groups_of, panel
from .reduce import EMBED, Reduce, View, ceiling, check_embedder, usable
from .registry import Estimate, metric

Fit = Literal["dev", "folds"]
SIZES = (1, 5, 10, 20, 50)
LEAST_SPAN = 0.05
"""The least distance of human confidence and floor that an imitation score is divided by."""
_CHUNK = 1 << 18
"""Numbers per pass: what fits a processor's cache."""

VARIANTS = (
    *({"view": view, "m": m} for view in ("raw", "norm") for m in SIZES),
    *({"view": view, "reduce": "item", "m": m} for view in ("raw", "norm") for m in (10, 50)),
)


@dataclass(frozen=True)
class _GroupStats:
    """Of the P annotators of a panel on R lists: (R, P, P) mean probability of class j for groups of writer i,
    and (R, P) share of groups whose likeliest class is their writer (ties share)."""

    probability: np.ndarray
    hits: np.ndarray

    @property
    def confidence(self) -> np.ndarray:
        """(R, P): the probability of the writer."""
        return np.diagonal(self.probability, axis1=1, axis2=2)


def _group_stats(answers: Answers, draws: Draws, view: str, reduce: str, m: int, fit: str) -> _GroupStats:
    """Group statistics on every list; replicates are kept, so the metrics of one panel share them."""
    scored = panel(answers, view, reduce, m, fit)
    if len(draws) == 1:
        return _on_lists(scored, draws, m)
    # the draws are kept beside the result: their id must not be given to others
    key = ("groups", view, reduce, m, fit, id(draws))
    return answers.once(key, lambda: (draws, _on_lists(scored, draws, m)))[1]


def _on_lists(scored: Panel, draws: Draws, m: int) -> _GroupStats:
    size = len(scored.members)
    probability, hits = np.full((len(draws), size, size), np.nan), np.full((len(draws), size), np.nan)
    folds = sorted(set(scored.folds))
    for i in range(size):
        parts_p, parts_h = [], []
        for fold in folds:
            given = ~np.isnan(scored.logits[:, i, 0]) & (scored.folds == fold)
            p, h = np.full((len(draws), size), np.nan), np.full(len(draws), np.nan)
            for lists, positions in same_length(draws, given, max(1, _CHUNK // (GROUPS * size))):
                groups = groups_of(positions.shape[1], m, scored.members[i])
                p[lists], h[lists] = _of_groups(scored.logits[positions, i], groups, i)
            parts_p.append(p)
            parts_h.append(h)
        probability[:, i], hits[:, i] = np.mean(parts_p, axis=0), np.mean(parts_h, axis=0)
    return _GroupStats(probability, hits)


def same_length(draws: Draws, given: np.ndarray, most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The lists cut to the items in `given`, `most` lists of one length at a time:
    (which lists, (lists, length) item positions)."""
    longest = max(map(len, draws.lists))
    padded = np.full((len(draws), longest), -1)
    for r, positions in enumerate(draws.lists):
        padded[r, : len(positions)] = positions
    kept = np.append(given, False)[padded]
    lengths = kept.sum(axis=1)
    for length in np.unique(lengths[lengths > 0]):
        chosen = np.flatnonzero(lengths == length)
        for start in range(0, len(chosen), most):
            lists = chosen[start : start + most]
            yield lists, padded[lists][kept[lists]].reshape(len(lists), length)


def _of_groups(logits: np.ndarray, groups: np.ndarray, writer: int) -> tuple[np.ndarray, np.ndarray]:
    """(L, n, P) logits of one writer's answers on L lists, (G, m) groups -> (L, P) mean probability, (L,) hits."""
    member = np.zeros((len(groups), logits.shape[1]))
    np.put_along_axis(member, groups, 1.0 / groups.shape[1], axis=1)
    # class by class, each (G, L): the small axis first keeps every pass contiguous
    mean = member @ np.ascontiguousarray(logits.transpose(2, 1, 0))
    mean -= mean.max(axis=0)
    best = mean > -1e-9
    hits = best[writer] / best.sum(axis=0)
    np.exp(mean, out=mean)
    mean /= mean.sum(axis=0)
    return mean.mean(axis=1).T, hits.mean(axis=0)


@dataclass(frozen=True)
class _Scope:
    """Which annotators a group metric gives a value for, and what its rows say."""

    classes: int
    places: tuple[int, ...]
    columns: tuple[int, ...]
    note: str
    notes: tuple[str, ...]
    counts: tuple[int, ...]


def _scope(answers: Answers, scored: Panel, reduce: str) -> _Scope:
    places, notes = list(range(len(scored.members))), list(scored.notes)
    said = []
    lone = only_annotator(answers)
    if lone is not None:
        why = f"answers for {answers.annotators[lone]} only"
        if reduce == "self":
            why += ": reduce=self compares a system's annotators; see reduce=item"
            places = []
        places = [p for p in places if scored.members[p] == lone]
        notes = [note or (why if k != lone or reduce == "self" else "") for k, note in enumerate(notes)]
        said.append(why)
    if scored.note:
        said.append(scored.note)
    rows, _ = answers.cells
    dropped = len(set(rows[~usable(answers, reduce)]))
    if dropped:
        said.append(f"{dropped} items with one question left out")
    columns = tuple(scored.members[p] for p in places)
    counts = tuple(c if k in columns else 0 for k, c in enumerate(scored.counts))
    return _Scope(len(scored.members), tuple(places), columns, "; ".join(said), tuple(notes), counts)


def only_annotator(answers: Answers) -> int | None:
    """The column of the one annotator a system answers for, where there are others."""
    named = {pair[1] for pair in answers.questions if pair in answers.given}
    return answers.annotators.index(named.pop()) if len(named) == 1 < len(answers.annotators) else None


def _spread(values: np.ndarray, scope: _Scope, count: int) -> np.ndarray:
    """(R, P) values of a panel -> (R, K), NaN for annotators without a value."""
    out = np.full((len(values), count), np.nan)
    out[:, list(scope.columns)] = values[:, list(scope.places)]
    return out


@metric(better="higher", floor="chance", variants=VARIANTS)
def group_confidence(
    answers: Answers, draws: Draws, *, view: View = "norm", reduce: Reduce = "self", fit: Fit = "dev",
    embed: str = EMBED, m: int,
) -> Estimate:  # fmt: skip
    """Mean probability of the target over annotators and groups of m answers; [0, 1], blind 1/K, chance 1/K.

    The mean is over the annotators with m answers and m reference records; the probe knows these alone.
    A missing answer is the empty text. Fewer than two such annotators: NaN with a note.
    """
    check_embedder(answers, embed)
    stats = _group_stats(answers, draws, view, reduce, m, fit)
    return _estimate(answers, stats.confidence, view, reduce, m, fit)


@metric(better="higher", floor="chance", variants=VARIANTS)
def group_accuracy(
    answers: Answers, draws: Draws, *, view: View = "norm", reduce: Reduce = "self", fit: Fit = "dev",
    embed: str = EMBED, m: int,
) -> Estimate:  # fmt: skip
    """Share of groups of m answers whose likeliest writer is the target; as `group_confidence`, ties share."""
    check_embedder(answers, embed)
    stats = _group_stats(answers, draws, view, reduce, m, fit)
    return _estimate(answers, stats.hits, view, reduce, m, fit)


def _estimate(answers: Answers, values: np.ndarray, view: str, reduce: str, m: int, fit: str) -> Estimate:
    scope = _scope(answers, panel(answers, view, reduce, m, fit), reduce)
    by = _spread(values, scope, len(answers.annotators))
    low = np.where(np.isnan(by), np.nan, 1.0 / max(1, scope.classes))
    return Estimate(
        mean_over_annotators(by), sum(scope.counts), by, scope.counts, scope.note, scope.notes,
        floor=mean_over_annotators(low), floor_by_annotator=low,
    )  # fmt: skip


@metric(better="higher", bounds=(-np.inf, np.inf), floor="chance", variants=VARIANTS)
def imitation_score(
    answers: Answers, draws: Draws, *, view: View = "norm", reduce: Reduce = "self", fit: Fit = "dev",
    embed: str = EMBED, floor: Literal["chance", "cross"] = "chance", m: int,
) -> Estimate:  # fmt: skip
    """NIS = (C - floor) / (C_human - floor), C the group confidence meaned over annotators: a ratio of means.

    0 = no trace of the annotator, 1 = as recognisable as the person, above 1 = a caricature; not clipped.
    floor: chance = 1/P for P annotators; cross = the confidence of the other annotators' own texts.
    NaN ("not enough") where C_human - floor < .05. The ceiling is recomputed on every list.
    """
    check_embedder(answers, embed)
    scored = panel(answers, view, reduce, m, fit)
    scope = _scope(answers, scored, reduce)
    confidence = _group_stats(answers, draws, view, reduce, m, fit).confidence
    human = _group_stats(ceiling(answers), draws, view, reduce, m, fit)
    lowest = _floor(human, floor)
    places = list(scope.places)
    gained, span = confidence - lowest, human.confidence - lowest
    by = _spread(_ratio(gained, span), scope, len(answers.annotators))
    overall = _ratio(mean_over_annotators(gained[:, places]), mean_over_annotators(span[:, places]))
    alike = "not enough: people's own confidence is less than .05 above the floor"
    lacking = np.isnan(by).any(axis=0)
    notes = tuple(note or (alike if lacking[k] else "") for k, note in enumerate(scope.notes))
    note = "; ".join(filter(None, [scope.note, alike if places and np.isnan(overall).any() else ""]))
    zero = (np.where(np.isnan(overall), np.nan, 0.0), np.where(np.isnan(by), np.nan, 0.0))
    return Estimate(
        overall, sum(scope.counts), by, scope.counts, note, notes, floor=zero[0], floor_by_annotator=zero[1]
    )


def _floor(human: _GroupStats, floor: str) -> np.ndarray:
    """(R, P): the confidence that earns nothing."""
    size = human.probability.shape[1]
    if floor == "chance" or size < 2:
        return np.full(human.confidence.shape, 1.0 / max(size, 1))
    return (human.probability.sum(axis=1) - human.confidence) / (size - 1)


def _ratio(gained: np.ndarray, span: np.ndarray) -> np.ndarray:
    return np.divide(gained, span, out=np.full(gained.shape, np.nan), where=span >= LEAST_SPAN)


def swap_matrix(answers: Answers, view: str, m: int, *, reduce: str = "self", fit: str = "dev") -> np.ndarray:
    """(K, K): the mean probability that groups of m answers given as annotator i (row) are annotator j's (column).

    Rows sum to 1; a system with four equal annotators has equal rows. NaN for annotators without m answers.
    """
    scored = panel(answers, view, reduce, m, fit)
    stats = _group_stats(answers, every_item_once(len(answers.items)), view, reduce, m, fit)
    out = np.full((len(answers.annotators), len(answers.annotators)), np.nan)
    out[np.ix_(scored.members, scored.members)] = stats.probability[0]
    return out
