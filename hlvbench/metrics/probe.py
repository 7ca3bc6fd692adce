"""The linear probe that names the writer of a group, and its logits for every answer (docs/metrics.md section 6)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..errors import MetricError
from ..stats import clusters, seeded
from .answers import Answers
from .reduce import people, residuals, usable

GROUPS = 200
MOST_ON_DEV = 10
"""The largest m when dev scores itself: its halves hold too few records for larger groups."""


@lru_cache(maxsize=4096)
def groups_of(count: int, m: int, column: int) -> np.ndarray:
    """(200, m) positions in a list of `count`, each row drawn without replacement; (count, 1) where m is 1.

    A group is the first m of a random order of all positions, less those beyond the list: lists of one
    length share their groups, whatever they hold. A list shorter than m is one group. Seed: (0, m, annotator).
    """
    if m == 1 or count == 0:
        return np.arange(count)[:, None]
    if count <= m:
        return np.arange(count)[None]
    order = _keys(m, column, 1 << (count - 1).bit_length())[:count].T
    return np.argpartition(order, m - 1, axis=1)[:, :m]


@lru_cache(maxsize=256)
def _keys(m: int, column: int, size: int) -> np.ndarray:
    """(size, 200): drawn position by position, so that a longer table begins with the shorter one."""
    return seeded("groups", 0, m, column).random((size, GROUPS))


@dataclass(frozen=True)
class Panel:
    """Who is scored in groups of m, and the P logits of each of their answers.

    members: columns of the P annotators with enough answers and reference records; the probe knows these
    alone, so chance is 1/P. logits: (N, P, P), item × writer × class, NaN where nothing is scored.
    folds: (N,) which probe scored the item; a group stays within one. counts: answers per annotator (K).
    notes: per annotator (K), why it has no value; note: the same for all of them.
    """

    members: tuple[int, ...]
    logits: np.ndarray
    folds: np.ndarray
    counts: tuple[int, ...]
    notes: tuple[str, ...]
    note: str


def panel(answers: Answers, view: str, reduce: str, m: int, fit: str) -> Panel:
    """The panel of a system; computed once per (answers, view, reduction, m, fit)."""
    if m < 1:
        raise MetricError(f"groups hold at least one answer; m={m} was asked for")
    return answers.once(("panel", view, reduce, m, fit), lambda: _panel(answers, view, reduce, m, fit))


def _panel(answers: Answers, view: str, reduce: str, m: int, fit: str) -> Panel:
    rows, columns = answers.cells
    source, halves = _reference(answers, fit)
    folds = np.array([halves.get(item.id, 0) for item in answers.items], dtype=int)
    fold_of_source = np.array([1 - halves[i.id] if halves else 0 for i in source.items], dtype=int)
    kept, kept_source = usable(answers, reduce), usable(source, reduce)
    counts, notes = [], []
    for k in range(len(answers.annotators)):
        own, ours = kept & (columns == k), kept_source & (source.cells[1] == k)
        counts.append(int(own.sum()))
        notes.append(_shortage(m, rows[own], folds, source.cells[0][ours], fold_of_source, bool(halves)))
        if answers.split == "dev" and m > MOST_ON_DEV:
            notes[-1] = f"dev scores itself in groups of at most {MOST_ON_DEV}"
    members = tuple(k for k, note in enumerate(notes) if not note)
    if len(members) < 2:
        notes = [note or "needs a second annotator to tell apart" for note in notes]
        members = ()
    logits = np.full((len(answers.items), len(members), len(members)), np.nan)
    if members:
        vectors = residuals(answers, view, reduce)
        place = np.full(len(answers.annotators), -1)
        place[list(members)] = range(len(members))
        for fold in sorted(set(folds)):
            slope, intercept = _fitted(source, view, reduce, m, members, fold_of_source == fold)
            chosen = kept & (place[columns] >= 0) & (folds[rows] == fold)
            logits[rows[chosen], place[columns[chosen]]] = vectors[chosen] @ slope + intercept
    note = _summary(answers.annotators, notes, counts, m, bool(members))
    return Panel(members, logits, folds, tuple(counts), tuple(notes), note)


def _summary(annotators: tuple[str, ...], notes: list[str], counts: list[int], m: int, some: bool) -> str:
    if not some and max(counts, default=0) < m:
        return f"needs {m} answers, {max(counts, default=0)} given"
    if not some and len(set(notes)) == 1:
        return notes[0]
    named = ", ".join(f"{a} ({note})" for a, note in zip(annotators, notes, strict=True) if note)
    return f"left out: {named}" if named else ""


def _reference(answers: Answers, fit: str) -> tuple[Answers, dict[str, int]]:
    """People's records that the probe learns from, and the half of every item where a split scores itself.

    Dev for every other split. Dev itself, a task without dev and fit=folds: two halves of the scored
    split (items that share an input stay together), each scored by the probe of the other.
    """
    task, embedder = answers.task, answers.embedder
    if fit == "dev" and answers.split != "dev" and task.splits.get("dev"):
        return people(task, "dev", embedder), {}
    source = people(task, answers.split, embedder)
    halves: dict[str, int] = {}
    sizes = [0, 0]
    for group in clusters(source.items):
        smaller = int(sizes[1] < sizes[0])
        sizes[smaller] += len(group)
        halves |= {source.items[i].id: smaller for i in group}
    return source, halves


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
    source: Answers, view: str, reduce: str, m: int, members: tuple[int, ...], items: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Slope (d, P) and intercept (P,) of the probe: standardise + multinomial logistic regression (C=1) on the
    groups of the members' records of `items` (bool per item of the source)."""

    def fit() -> tuple[np.ndarray, np.ndarray]:
        vectors, (rows, columns) = residuals(source, view, reduce), source.cells
        kept = usable(source, reduce) & items[rows]
        means = []
        for k in members:
            own = vectors[kept & (columns == k)]
            means.append(own[groups_of(len(own), m, k)].mean(axis=1))
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
