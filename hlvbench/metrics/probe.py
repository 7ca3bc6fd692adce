"""The linear probe that names the writer of a group, and its logits for every answer (docs/metrics.md section 6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from ..bootstrap import Draws, halves, ranges, seeded
from ..errors import MetricError
from .predictions import Answers, once_per_task
from .projections import Residuals, human_annotations, residuals, usable

GROUPS = 200
MOST_GROUPS, LEAST_GROUPS = 2000, 20
"""With candidates: groups of all annotators together, about, and of one."""
MOST_ON_DEV = 10
"""The largest m when dev scores itself: its halves hold too few records for larger groups."""


def groups_of(count: int, m: int, column: int, groups: int = GROUPS) -> np.ndarray:
    """(groups, m) positions in a list of `count`, each row drawn without replacement; (count, 1) where m is 1.

    A group is the first m of a random order of all positions, less those beyond the list: lists of one
    length share their groups, whatever they hold. A list shorter than m is one group. Seed: (0, m, annotator).
    """
    return groups_by_length(np.array([count]), m, column, groups)[0]


def groups_by_length(counts: np.ndarray, m: int, column: int, groups: int) -> list[np.ndarray]:
    """`groups_of` of lists of these lengths."""
    found = [np.arange(n)[:, None] if m == 1 or n == 0 else np.arange(n)[None] for n in counts.tolist()]
    longer = np.flatnonzero(counts > m) if m > 1 else np.zeros(0, dtype=int)
    sizes = np.array([1 << (n - 1).bit_length() for n in counts[longer].tolist()], dtype=int)
    for size in np.unique(sizes).tolist():
        at = longer[sizes == size]
        for most in (4 * m + 20, size):  # at least half of the order lies within a list, so its beginning will do
            first = _first(m, column, size, min(size, most), groups)
            inside = first < counts[at, None, None]
            if (inside.sum(axis=2) >= m).all():
                break
        chosen = inside & (inside.cumsum(axis=2, dtype=np.int32) <= m)
        for place, own in zip(at, np.broadcast_to(first, inside.shape)[chosen].reshape(-1, groups, m), strict=True):
            found[place] = own
    return found


@lru_cache(maxsize=4096)
def _first(m: int, column: int, size: int, most: int, groups: int) -> np.ndarray:
    """(groups, most): the first positions of the random orders. Their keys are drawn position by position, so that a
    longer table begins with the shorter one."""
    keys = seeded("groups", 0, m, column).random((size, GROUPS)).T[:groups]
    first = np.argpartition(keys, most - 1, axis=1)[:, :most]
    order = np.argsort(np.take_along_axis(keys, first, axis=1), axis=1)
    return np.take_along_axis(first, order, axis=1).astype(np.int32)


def sums_of_groups(members: np.ndarray, sizes: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The members of each group, end to end, (G) how many it has, and an (n, d) table -> (G, d) sums of its rows."""
    from scipy.sparse import csr_array

    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    found: np.ndarray = csr_array((np.ones(len(members)), members, ends), shape=(len(sizes), len(table))) @ table
    return found


@dataclass(frozen=True)
class ProbeScores:
    """The annotators scored in groups of m, and the probes that give each of their predictions its logits.

    Attributes:
        members: Columns of the P annotators with enough predictions and reference annotations.
        classes: Per member, the C columns that its probe tells apart, its own among them; chance is 1/C. All members
            where they are at most `candidates`.
        questions: Per member, its (n) predictions.
        probes: Per member and fold, slope (d, C) and intercept (C,) of the probe.
        folds: (N,) which probe scores the item; a group stays within one fold.
        groups: Number of groups of a member.
        counts: Predictions per annotator (K).
        notes: Per annotator (K), why it has no value.
        note: The same for all annotators together.
    """

    members: tuple[int, ...]
    classes: tuple[tuple[int, ...], ...]
    questions: tuple[np.ndarray, ...]
    probes: tuple[tuple[tuple[np.ndarray, np.ndarray], ...], ...]
    folds: np.ndarray
    groups: int
    counts: tuple[int, ...]
    notes: tuple[str, ...]
    note: str

    @property
    def chance(self) -> np.ndarray:
        """(P,)"""
        return np.array([1.0 / len(own) for own in self.classes])


def probe_scores(answers: Answers, view: str, reduce: str, m: int, fit: str, candidates: int = 0) -> ProbeScores:
    """The probe's scores of a system; computed once per (answers, view, reduction, m, fit, candidates)."""
    if m < 1:
        raise MetricError(f"groups hold at least one answer; m={m} was asked for")
    if candidates < 0 or candidates == 1:
        raise MetricError(f"candidates={candidates}: a target is told from at least one other; 0 takes all annotators")
    key = ("probe scores", view, reduce, m, fit, candidates)
    return answers.once(key, lambda: _probe_scores(answers, view, reduce, m, fit, candidates))


def _probe_scores(answers: Answers, view: str, reduce: str, m: int, fit: str, candidates: int) -> ProbeScores:
    every = answers.unrestricted
    source, half = _reference(every, fit)
    folds = np.array([half.get(item.id, 0) for item in answers.items], dtype=int)
    fold_of_source = np.array([1 - half[i.id] if half else 0 for i in source.items], dtype=int)
    theirs = _kept_rows(source, reduce)

    def shortages(of: Sequence[np.ndarray]) -> list[str]:
        pairs = zip(of, theirs, strict=True)
        return [_shortage(m, own, folds, records, fold_of_source, bool(half)) for own, records in pairs]

    asked = _kept_rows(answers, reduce)
    counts, notes = [len(own) for own in asked], shortages(_kept_rows(every, reduce))
    if answers.split == "dev" and m > MOST_ON_DEV:
        notes = [f"dev scores itself in groups of at most {MOST_ON_DEV}"] * len(notes)
    classes = _classes(every, tuple(k for k, note in enumerate(notes) if not note), candidates)
    told = tuple(k for k, own in classes.items() if len(own) > 1)
    if len(told) < 2:
        notes = [note or "needs a second annotator to tell apart" for note in notes]
        told = ()
    else:
        alone = "shares no item with another annotator"
        notes = [note or ("" if k in told else alone) for k, note in enumerate(notes)]
    if every is not answers:
        notes = [note or short for note, short in zip(notes, shortages(asked), strict=True)]
    members = tuple(k for k in told if not notes[k])
    kept = usable(answers, reduce)
    many = len(set(classes.values())) > 1
    reference = cache(lambda: residuals(source, view, reduce))
    learned = [fold_of_source == fold for fold in range(folds.max(initial=0) + 1)]
    probes = tuple(
        tuple(_fitted(source, reference, view, reduce, m, classes[k], here) for here in learned) for k in members
    )
    note = _summary(answers.annotators, notes, counts, m, bool(members))
    return ProbeScores(
        members, tuple(classes[k] for k in members), tuple(answers.own[k][kept[answers.own[k]]] for k in members),
        probes, folds,
        max(LEAST_GROUPS, min(GROUPS, MOST_GROUPS // max(1, len(told)))) if many else GROUPS,
        tuple(counts), tuple(notes), note,
    )  # fmt: skip


def member_logits(answers: Answers, scored: ProbeScores, view: str, reduce: str) -> list[np.ndarray]:
    """Per member, (n, C): the probe's logits of each of its predictions."""

    def make() -> list[np.ndarray]:
        vectors, found = residuals(answers, view, reduce), []
        for k, questions in enumerate(scored.questions):
            own, fold = vectors(questions), scored.folds[answers.cells[0][questions]]
            found.append(np.empty((len(own), len(scored.classes[k]))))
            for f, (slope, intercept) in enumerate(scored.probes[k]):
                found[-1][fold == f] = own[fold == f] @ slope + intercept
        return found

    return answers.latest("logits", id(scored), make)


def _classes(answers: Answers, members: tuple[int, ...], candidates: int) -> dict[int, tuple[int, ...]]:
    """The classes of each member's probe, itself included: all members, or at most `candidates` who share items.

    Sets of annotators who all share an item of the split with each other are drawn by seed, so that one probe serves
    the whole set. Annotators without a set come first, and a set that is too small is filled up with others who share
    an item with its first annotator. A member belongs to the first set all of whose annotators share an item with it.
    """
    if not candidates or len(members) <= candidates:
        return dict.fromkeys(members, members)
    from scipy.sparse import csr_array

    rows, columns = answers.cells
    asked = csr_array((np.ones(len(rows)), (columns, rows)), shape=(len(answers.annotators), len(answers.items)))
    shared = asked @ asked.T
    near = {k: set(shared.indices[shared.indptr[k] : shared.indptr[k + 1]].tolist()) for k in members}
    order = seeded("candidates", answers.task.name, answers.split).permutation(len(answers.annotators)).tolist()
    order = [k for k in order if k in near]
    found: dict[int, tuple[int, ...]] = {}
    for first in order:
        if first in found:
            continue
        others = [k for k in order if k in near[first] and k != first]
        clique, common = [first], near[first]
        # only `others` who are in `common` share items with all of the clique so far
        for k in [k for k in others if k not in found] + [k for k in others if k in found]:
            if len(clique) < candidates and k in common:
                clique.append(k)
                common = common & near[k]
        belong = [k for k in clique if k not in found]
        clique += [k for k in others if k not in clique][: candidates - len(clique)]
        chosen = tuple(sorted(clique))
        found |= {k: chosen for k in belong if k == first or near[k].issuperset(chosen)}
    return {k: found[k] for k in members}


def _summary(annotators: tuple[str, ...], notes: list[str], counts: list[int], m: int, some: bool) -> str:
    if not some and max(counts, default=0) < m:
        return f"needs {m} answers, {max(counts, default=0)} given"
    if not some and len(set(notes)) == 1:
        return notes[0]
    named = ", ".join(f"{a} ({note})" for a, note in zip(annotators, notes, strict=True) if note)
    return f"left out: {named}" if named else ""


def _reference(answers: Answers, fit: str) -> tuple[Answers, dict[str, int]]:
    """The humans' records that the probe learns from, and the half of every item where a split scores itself.

    Dev for every other split. Dev itself, a task without dev and fit=folds: two halves of the scored
    split (items that share an input stay together), each scored by the probe of the other.
    """
    task, embedder = answers.task, answers.embedder
    if fit == "dev" and answers.split != "dev" and task.splits.get("dev"):
        return human_annotations(task, "dev", embedder), {}
    source = human_annotations(task, answers.split, embedder)
    return source, halves(source.items)


def _kept_rows(answers: Answers, reduce: str) -> list[np.ndarray]:
    """Per annotator, the items of the questions that a reduction keeps."""
    kept = usable(answers, reduce)
    return [answers.cells[0][own[kept[own]]] for own in answers.own]


def _shortage(
    m: int, rows: np.ndarray, folds: np.ndarray, source_rows: np.ndarray, fold_of_source: np.ndarray, halved: bool
) -> str:
    """Why an annotator cannot be scored in groups of m; empty where it can."""
    where = " in each half" if halved else ""
    for what, found, fold in (("answers", rows, folds), ("reference records", source_rows, fold_of_source)):
        size = 2 if halved else 1
        given = int(np.bincount(fold[found], minlength=size).min())
        if given < m:
            return f"needs {m} {what}{where}, {given} given"
    return ""


def _fitted(
    source: Answers, vectors: Callable[[], Residuals], view: str, reduce: str, m: int, members: tuple[int, ...],
    items: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Slope (d, C) and intercept (C,) of the probe: standardise + multinomial logistic regression (C=1) on the
    groups of the members' records of `items` (bool per item of the source). vectors: residuals of the source."""

    def fit() -> tuple[np.ndarray, np.ndarray]:
        kept = usable(source, reduce) & items[source.cells[0]]
        means = []
        for k in members:
            own = vectors()(source.own[k][kept[source.own[k]]])
            groups = groups_of(len(own), m, k)
            count, size = groups.shape
            means.append(sums_of_groups(groups.ravel(), np.full(count, size), own) / size)
        writers = np.repeat(np.arange(len(members)), [len(x) for x in means])
        return _logistic(np.concatenate(means), writers)

    return source.once(("probe", view, reduce, m, members, items.tobytes()), fit)


def _logistic(points: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The probe as one affine map: standardisation folded into slope and intercept."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(points)
    model = LogisticRegression(C=1.0, max_iter=2000).fit(scaler.transform(points), classes)
    coefficients, intercept = model.coef_, model.intercept_
    if len(coefficients) == 1:  # two classes: sklearn keeps the second one's logit alone
        coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
        intercept = np.concatenate([np.zeros_like(intercept), intercept])
    slope = (coefficients / scaler.scale_).T
    return slope, intercept - scaler.mean_ @ slope


@dataclass(frozen=True)
class _Lists:
    """The R lists cut to one annotator's questions: their positions among these, end to end, and the lengths (R)."""

    positions: np.ndarray
    lengths: np.ndarray


def own_lists(answers: Answers, draws: Draws) -> list[_Lists]:
    """The lists cut to each annotator's questions, in drawn order, in time linear in the drawn answers: K entries.

    Equal for all systems with these questions, and for all encoders.
    """
    key = ("own lists", answers.split, answers.limit, answers.only, answers.texts_only, id(draws))
    return once_per_task(answers.task, key, lambda: (draws, _own_lists(answers, draws)))[1]


def _own_lists(answers: Answers, draws: Draws) -> list[_Lists]:
    rows, columns = answers.cells
    size = np.bincount(rows, minlength=len(answers.items))
    first = np.cumsum(size) - size
    place = np.empty(len(rows), dtype=np.uint16 if max(answers.counts, default=0) < 1 << 16 else np.uint32)
    for own in answers.own:
        place[own] = np.arange(len(own))
    narrow = columns.astype(np.uint16)  # sorted by radix
    parts, lengths = [], np.zeros((len(draws), len(answers.annotators)), dtype=int)
    for r, items in enumerate(draws.lists):
        count = size[items]
        drawn = ranges(first[items], count)
        lengths[r] = np.bincount(columns[drawn], minlength=lengths.shape[1])
        parts.append(place[drawn[np.argsort(narrow[drawn], kind="stable")]])
    ends = lengths.cumsum(axis=1)
    return [
        _Lists(
            np.concatenate([part[e - n : e] for part, e, n in zip(parts, ends[:, k], lengths[:, k], strict=True)]),
            lengths[:, k],
        )
        for k in range(lengths.shape[1])
    ]
