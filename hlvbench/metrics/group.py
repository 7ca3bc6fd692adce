"""Whose way of explaining does a group of answers show? (docs/metrics.md section 6). "Ours": the source paper
publishes the names of these metrics and no formula.

Every answer has one logit per annotator (`probe`); a group's logits are the mean of its answers' logits, so
a replicate is a matrix product and touches no embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from ..bootstrap import Draws, every_item_once, mean_over_annotators
from ..errors import MetricError
from ..types import Task
from .predictions import Answers
from .probe import ProbeScores, groups_by_length, member_logits, own_lists, probe_scores, sums_of_groups
from .projections import EMBED, Reduce, View, check_embedder, usable
from .registry import Estimate, Metric, Value, metric

Fit = Literal["dev", "folds"]
SIZES = (1, 5, 10, 20, 50)
LEAST_SPAN = 0.05
"""The least distance of human confidence and floor that an imitation score is divided by."""
CANDIDATES = 20
_TIE = 1e-9
_CHUNK = 1 << 16
"""Members of groups per pass: what fits a processor's cache."""
_WIDTH = 320
"""Columns of logits beyond which a pass takes fewer members."""

VARIANTS = (
    *({"view": view, "m": m} for view in ("raw", "norm") for m in SIZES),
    *({"view": view, "reduce": "item", "m": m} for view in ("raw", "norm") for m in (10, 50)),
)


def size_limits(task: Task) -> Mapping[str, Value]:
    """{"candidates": 20} for a task with more scored annotators than that, else {}."""
    return {"candidates": CANDIDATES} if len(task.scored_annotators) > CANDIDATES else {}


@dataclass(frozen=True)
class _GroupStats:
    """Of P scored annotators in R resamples: (R, P) mean probability of the writer, and (R, P) share of groups
    whose likeliest class is the writer (ties share)."""

    confidence: np.ndarray
    hits: np.ndarray


class Probe(NamedTuple):
    """Which probe, and the size of the groups that it is asked about; the fields are those of `group_confidence`."""

    view: str
    reduce: str
    m: int
    fit: str
    candidates: int


def _group_stats(answers: Answers, draws: Draws, probe: Probe) -> _GroupStats:
    """Group statistics of every resample, kept so that the metrics of one probe share them."""
    return answers.once_on(draws, ("groups", probe), lambda: _stats([(answers, probe)], [draws])[0][0])


def precompute_group_stats(asked: Sequence[tuple[Metric, Answers]], *every: Draws) -> None:
    """Compute the group statistics of these answers and of the humans, for the metrics to use later.

    Groups are drawn once for all views and reductions, which changes no number. Errors are left to the metrics.

    Args:
        asked: Metrics and the answers they will score, all of one split; other metrics are ignored.
        every: The resamples to compute them in.
    """
    alike: dict[tuple[object, ...], dict[tuple[int, Probe], Answers]] = {}
    for bound, system in asked:
        if bound.spec.function not in (group_confidence, group_accuracy, imitation_score):
            continue
        arguments = dict(bound.arguments)
        probe = Probe(*(arguments[f] for f in Probe._fields))  # type: ignore[arg-type]
        for answers in (system.explained, system.explained.human) if system.explained.questions else ():
            if not all(answers.holds(draws, ("groups", probe)) for draws in every):
                with suppress(MetricError):
                    scored = probe_scores(answers, *probe)
                    arrays = (own.tobytes() for own in (scored.folds, *scored.questions))
                    groups = (probe.m, scored.groups, scored.members, scored.classes, *arrays)
                    alike.setdefault(groups, {})[id(answers), probe] = answers
    for same in alike.values():
        pairs = [(answers, probe) for (_, probe), answers in same.items()]
        with suppress(MetricError):
            for draws, found in zip(every, _stats(pairs, every), strict=True):
                for (answers, probe), stats in zip(pairs, found, strict=True):
                    answers.keep_on(draws, ("groups", probe), stats)


def _stats(same: Sequence[tuple[Answers, Probe]], every: Sequence[Draws]) -> list[list[_GroupStats]]:
    """Per draws the group statistics of probes of one group size, members and questions."""
    (answers, probe), out = same[0], []
    scored = probe_scores(answers, *probe)
    logits = [member_logits(own, probe_scores(own, *one), one.view, one.reduce) for own, one in same]
    for draws in every:
        found = np.full((len(same), 2, len(draws), len(scored.members)), np.nan)
        for i in range(found.shape[-1]):
            confidence, hits = _of_member(answers, scored, [own[i] for own in logits], draws, probe.m, i)
            found[:, 0, :, i], found[:, 1, :, i] = confidence[:, 0], hits
        out.append([_GroupStats(*own) for own in found])
    return out


def _cross(answers: Answers, scored: ProbeScores, every: Sequence[np.ndarray], draws: Draws, m: int) -> np.ndarray:
    """(R, P): the mean probability that the groups of the others, of those told from it, give to each member."""
    sums, times = np.zeros((len(answers.annotators), len(draws))), np.zeros((len(answers.annotators), 1))
    for i, k in enumerate(scored.members):
        others = np.array(scored.classes[i])
        probability = _of_member(answers, scored, [every[i]], draws, m, i, every=True)[0][0]
        sums[others[others != k]] += probability[others != k]
        times[others[others != k]] += 1
    members = list(scored.members)
    return np.divide(
        sums[members], times[members], out=np.full((len(members), len(draws)), np.nan), where=times[members] > 0
    ).T


def _of_member(
    answers: Answers, scored: ProbeScores, logits: Sequence[np.ndarray], draws: Draws, m: int, i: int,
    every: bool = False,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Group statistics of member i in R resamples, from its answers' (n, C) logits by each of S probes: the mean
    probability of the writer, (S, 1, R), or of every class, (S, C, R); and the share of hits, (S, R).

    A group stays within one fold; the folds' means are averaged.
    """
    k, rows = scored.members[i], answers.cells[0][scored.questions[i]]
    writer, classes = scored.classes[i].index(k), len(scored.classes[i])
    folds = sorted(set(scored.folds))
    found = np.full((len(logits), len(folds), (classes if every else 1) + 1, len(draws)), np.nan)
    for f, fold in enumerate(folds):
        kept = scored.folds[rows] == fold
        if m == 1:  # every answer is a group
            weights = draws.of(rows[kept])
            total = weights.sum(axis=1)
            for out, own in zip(found, logits, strict=True):
                sums = _probabilities(own[kept].T.copy(), writer, every) @ weights.T
                np.divide(sums, total, out=out[f], where=total > 0)
            continue
        # positions of the questions of `own_lists` -> of the logits
        place = np.full(len(answers.own[k]), -1, dtype=np.int32)
        place[np.searchsorted(answers.cells[0][answers.own[k]], rows[kept])] = np.flatnonzero(kept)
        lists = own_lists(answers, draws)[k]
        positions, lengths = _cut(place[lists.positions], lists.lengths)
        starts, table = np.cumsum(lengths) - lengths, np.hstack(logits)
        order = np.argsort(lengths, kind="stable")
        order = order[lengths[order] > 0]
        width = 1 + table.shape[1] // _WIDTH
        for part in np.array_split(order, len(order) * scored.groups * m * width // _CHUNK + 1):
            # lists of one length share their groups; a list shorter than m is one group
            distinct, times = np.unique(lengths[part], return_counts=True)
            groups = groups_by_length(distinct, m, k, scored.groups)
            begins = np.split(starts[part], times.cumsum()[:-1])
            chosen = [(begin[:, None, None] + own).ravel() for begin, own in zip(begins, groups, strict=True)]
            each = np.repeat([len(own) for own in groups], times)
            sizes = np.repeat(np.repeat([own.shape[1] for own in groups], times), each)
            firsts = np.cumsum(each) - each
            means = np.ascontiguousarray(sums_of_groups(positions[np.concatenate(chosen)], sizes, table).T) / sizes
            for out, own in zip(found, np.split(means, len(logits)), strict=True):
                out[f][:, part] = np.add.reduceat(_probabilities(own, writer, every), firsts, axis=1) / each
    mean = found.mean(axis=1)
    return mean[:, :-1], mean[:, -1]


def _cut(positions: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lists, laid end to end, without the positions below 0."""
    if (kept := positions >= 0).all():
        return positions, lengths
    before = np.concatenate([[0], kept.cumsum()])
    ends = lengths.cumsum()
    return positions[kept], before[ends] - before[ends - lengths]


def _probabilities(logits: np.ndarray, writer: int, every: bool) -> np.ndarray:
    """(C, G) logits of groups -> the writer's probability, or those of all classes, and in the last row whether
    the writer is the likeliest (ties share)."""
    # the small axis first keeps every pass contiguous
    logits -= logits.max(axis=0)
    hits = (logits[writer] > -_TIE).astype(float)
    won = np.flatnonzero(hits)
    hits[won] = 1.0 / (logits[:, won] > -_TIE).sum(axis=0)
    np.exp(logits, out=logits)
    total = logits.sum(axis=0)
    return np.vstack([(logits if every else logits[writer]) / total, hits])


@dataclass(frozen=True)
class _Scope:
    """Which annotators a group metric gives a value for, and what its rows say."""

    places: tuple[int, ...]
    columns: tuple[int, ...]
    note: str
    notes: tuple[str, ...]
    counts: tuple[int, ...]


def _scope(answers: Answers, scored: ProbeScores, reduce: str) -> _Scope:
    places, notes = list(range(len(scored.members))), list(scored.notes)
    all_notes = []
    lone = only_annotator(answers)
    if lone is not None:
        why = f"answers for {answers.annotators[lone]} only"
        if reduce == "self":
            why += ": reduce=self compares a system's annotators; see reduce=item"
            places = []
        places = [p for p in places if scored.members[p] == lone]
        notes = [note or (why if k != lone or reduce == "self" else "") for k, note in enumerate(notes)]
        all_notes.append(why)
    if scored.note:
        all_notes.append(scored.note)
    rows, _ = answers.cells
    dropped = len(np.unique(rows[~usable(answers, reduce)]))
    if dropped:
        why = "one question" if answers.unrestricted is answers else "one annotator or only some questions asked"
        all_notes.append(f"{dropped} items with {why} left out")
    columns = tuple(scored.members[p] for p in places)
    counts = tuple(c if k in columns else 0 for k, c in enumerate(scored.counts))
    return _Scope(tuple(places), columns, "; ".join(all_notes), tuple(notes), counts)


def only_annotator(answers: Answers) -> int | None:
    """The column of the one annotator a system answers for, where there are others."""
    named = answers.once("answered for", lambda: {pair[1] for pair in answers.questions if pair in answers.predictions})
    return answers.annotators.index(next(iter(named))) if len(named) == 1 < len(answers.annotators) else None


def _spread(values: np.ndarray, scope: _Scope, count: int) -> np.ndarray:
    """(R, P) values of the scored annotators -> (R, K), NaN for annotators without a value."""
    out = np.full((len(values), count), np.nan)
    out[:, list(scope.columns)] = values[:, list(scope.places)]
    return out


@metric(better="higher", floor="chance", variants=VARIANTS, large=size_limits)
def group_confidence(
    answers: Answers, draws: Draws, *, view: View = "norm", reduce: Reduce = "self", fit: Fit = "dev",
    candidates: int = 0, embed: str = EMBED, m: int,
) -> Estimate:  # fmt: skip
    """Mean probability that the probe gives the target annotator, over annotators and groups of m explanations.

    In [0, 1]; the blind reference and chance are at 1/P. The mean is over the P annotators with m predictions and m
    reference annotations, who are the probe's classes. A missing prediction is the empty text. NaN with a note where
    there are fewer than two such annotators.

    Args:
        view: View of the texts.
        reduce: What is subtracted as content: "none", "self", "item" or "input" (see `residuals`).
        fit: Split or folds the probe is fitted on.
        candidates: Classes per target, the target included, drawn by seed among the annotators who share items
            (chance 1/candidates); 0 takes all. With it each annotator has 2,000 / P groups, from 20 to 200.
        embed: Name of the encoder.
        m: Group size.
    """
    check_embedder(answers, embed)
    stats = _group_stats(answers, draws, Probe(view, reduce, m, fit, candidates))
    return _estimate(answers, stats.confidence, probe_scores(answers, view, reduce, m, fit, candidates), reduce)


@metric(better="higher", floor="chance", variants=VARIANTS, large=size_limits)
def group_accuracy(
    answers: Answers, draws: Draws, *, view: View = "norm", reduce: Reduce = "self", fit: Fit = "dev",
    candidates: int = 0, embed: str = EMBED, m: int,
) -> Estimate:  # fmt: skip
    """Share of groups of m answers whose likeliest writer is the target; as `group_confidence`, ties share."""
    check_embedder(answers, embed)
    stats = _group_stats(answers, draws, Probe(view, reduce, m, fit, candidates))
    return _estimate(answers, stats.hits, probe_scores(answers, view, reduce, m, fit, candidates), reduce)


def _estimate(answers: Answers, values: np.ndarray, scored: ProbeScores, reduce: str) -> Estimate:
    scope = _scope(answers, scored, reduce)
    by = _spread(values, scope, len(answers.annotators))
    low = np.where(np.isnan(by), np.nan, _spread(scored.chance[None], scope, len(answers.annotators)))
    return Estimate(
        mean_over_annotators(by), sum(scope.counts), by, scope.counts, scope.note, scope.notes,
        floor=mean_over_annotators(low), floor_by_annotator=low,
    )  # fmt: skip


@metric(
    better="higher",
    bounds=(-np.inf, np.inf),
    floor="chance",
    variants=VARIANTS,
    large=size_limits,
    headline={"view": "norm", "reduce": "self", "m": 10},
    all_annotators=True,
)
def imitation_score(
    answers: Answers, draws: Draws, *, view: View = "norm", reduce: Reduce = "self", fit: Fit = "dev",
    candidates: int = 0, embed: str = EMBED, floor: Literal["chance", "cross"] = "chance", m: int,
) -> Estimate:  # fmt: skip
    """NIS = (C - floor) / (C_human - floor), C the mean group confidence over annotators: a ratio of means.

    0 is no trace of the annotator, 1 is as recognisable as the human, above 1 is a caricature; not clipped. NaN where
    C_human - floor < .05. The humans' side is recomputed in every replicate.

    Args:
        view: As in `group_confidence`.
        reduce: As in `group_confidence`.
        fit: As in `group_confidence`.
        candidates: As in `group_confidence`.
        embed: Name of the encoder.
        floor: "chance" is 1/P for P annotators, "cross" the confidence of the other annotators' own texts.
        m: Group size.
    """
    check_embedder(answers, embed)
    scored = probe_scores(answers, view, reduce, m, fit, candidates)
    scope = _scope(answers, scored, reduce)
    probe = Probe(view, reduce, m, fit, candidates)
    confidence = _group_stats(answers, draws, probe).confidence
    human = _group_stats(answers.human, draws, probe)
    lowest = np.broadcast_to(scored.chance, confidence.shape)
    if floor == "cross":
        humans = answers.human
        theirs = probe_scores(humans, view, reduce, m, fit, candidates)
        lowest = _cross(humans, theirs, member_logits(humans, theirs, view, reduce), draws, m)
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


def _ratio(gained: np.ndarray, span: np.ndarray) -> np.ndarray:
    return np.divide(gained, span, out=np.full(gained.shape, np.nan), where=span >= LEAST_SPAN)


def swap_matrix(answers: Answers, view: str, m: int) -> np.ndarray:
    """The mean probability that groups of m explanations predicted for annotator i (row) are annotator j's (column).

    Returns:
        (K, K); rows sum to 1 and are equal where a system answers alike for all. NaN for annotators with fewer than m
        predictions.
    """
    scored, draws = probe_scores(answers, view, "self", m, "dev"), every_item_once(len(answers.items))
    out = np.full((len(answers.annotators), len(answers.annotators)), np.nan)
    for i, own in enumerate(member_logits(answers, scored, view, "self")):
        found, _ = _of_member(answers, scored, [own], draws, m, i, every=True)
        out[scored.members[i], list(scored.classes[i])] = found[0, :, 0]
    return out
