"""A system's answers laid out for scoring: dense item × annotator arrays, computed once, shared by all metrics."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np

from ..bootstrap import Draws, seeded
from ..text import in_view
from ..types import Annotation, Item, Pair, Task

T = TypeVar("T")


class Embedder(Protocol):
    """What metrics need of neural encoders; `name` stands in signatures (default "minilm-l6@1110a24")."""

    @property
    def name(self) -> str: ...

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Unit rows (n, d), float32; a text without a token gives a zero row."""
        ...

    def bertscore(self, candidates: Sequence[str], references: Sequence[str], model: str, layer: int) -> np.ndarray:
        """BERTScore F1 of each pair, (n,); `model` "minilm-l6" is the verified default encoder."""
        ...


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers of one system (one sample index) to the questions of one split.

    `predictions` maps (item, annotator) to the parsed answer; a question without one is missing and stays in
    every denominator. `limit` scores the first items only, `only` these questions only, against the annotations of all.
    N items × K annotators;
    cells that are not asked are NaN / -1 / None throughout. A system is scored like humans: `human` is one more system.
    """

    task: Task
    split: str
    predictions: Mapping[Pair, Annotation]
    embedder: Embedder
    limit: int | None = None
    only: frozenset[Pair] | None = None
    texts_only: bool = False
    """Leave out the questions whose annotator wrote no explanation; their items stay, and hold no question."""
    memo: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)
    """Costly arrays that metrics computed of these answers, by metric name and parameters."""

    @cached_property
    def annotators(self) -> tuple[str, ...]:
        """The K annotators with enough records to be scored."""
        return self.task.scored_annotators

    @cached_property
    def items(self) -> tuple[Item, ...]:
        """The N scored items: those with at least one question to a scored annotator, in split order."""
        ids = dict.fromkeys(item for item, _ in self._all_questions)
        return tuple(self.task.items[i] for i in ids)

    @cached_property
    def _all_questions(self) -> tuple[Pair, ...]:
        kept = set(self.annotators)
        asked = self.task.questions(self.split, self.limit)
        return tuple(p for p in asked if p[1] in kept and (self.only is None or p in self.only))

    @cached_property
    def questions(self) -> tuple[Pair, ...]:
        return tuple(p for p in self._all_questions if not self.texts_only or p in self.task.explained)

    @cached_property
    def explained(self) -> Answers:
        """The same answers to the questions whose annotator wrote an explanation; these answers where all did."""
        if self.task.explained.issuperset(self.questions):
            return self
        return Answers(self.task, self.split, self.predictions, self.embedder, self.limit, self.only, texts_only=True)

    @cached_property
    def unrestricted(self) -> Answers:
        """The same answers to all questions about the scored items, also those that `only` leaves out."""
        if self.only is None:
            return self
        rows = frozenset(item.id for item in self.items)
        every = frozenset(p for p in self.task.questions(self.split, self.limit) if p[0] in rows)
        if every == self.only:
            return self
        return Answers(self.task, self.split, self.predictions, self.embedder, self.limit, every, self.texts_only)

    @cached_property
    def scored(self) -> np.ndarray:
        """(Q of `unrestricted`,) bool: is the question one of these?"""
        asked = set(self.questions)
        return np.array([pair in asked for pair in self.unrestricted.questions], dtype=bool)

    @cached_property
    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Row (item) and column (annotator) of every question, two int arrays of length Q."""
        row = {item.id: i for i, item in enumerate(self.items)}
        column = {a: k for k, a in enumerate(self.annotators)}
        pairs = [(row[i], column[a]) for i, a in self.questions]
        table = np.array(pairs, dtype=int).reshape(-1, 2)
        return table[:, 0], table[:, 1]

    def grid(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """One value per question -> (N, K), NaN where nothing is asked."""
        out = np.full((len(self.items), len(self.annotators)), np.nan)
        out[self.cells] = values
        return out

    @cached_property
    def asked(self) -> np.ndarray:
        """(N, K) bool: is there a question?"""
        return ~np.isnan(self.grid(np.ones(len(self.questions))))

    @cached_property
    def own(self) -> tuple[np.ndarray, ...]:
        """The questions of each annotator, in order: K int arrays."""
        if not self.annotators:
            return ()
        columns = self.cells[1]
        order = np.argsort(columns, kind="stable")
        return tuple(np.split(order, np.searchsorted(columns[order], np.arange(1, len(self.annotators)))))

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Questions per annotator."""
        return tuple(map(len, self.own))

    def means(self, values: np.ndarray, draws: Draws) -> np.ndarray:
        """One value per question -> (R, K): the mean over each annotator's questions in each resample.

        Questions without a value (NaN) are not part of the mean; NaN where no question is left.
        """
        out = np.full((len(draws), len(self.annotators)), np.nan)
        given = ~np.isnan(values)
        both = np.stack([np.where(given, values, 0.0), given], axis=1)
        for k, own in enumerate(self.own):
            total, count = (draws.of(self.cells[0][own]) @ both[own]).T
            np.divide(total, count, out=out[:, k], where=count > 0)
        return out

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """`make()` on the first call with this key, its result afterwards."""
        if key not in self.memo:
            self.memo[key] = make()
        return self.memo[key]

    def once_on(self, draws: Draws, key: Hashable, make: Callable[[], T]) -> T:
        """As `once`, a result for each draws: these are kept beside it, so that their id is not given to others."""
        return self.once((key, id(draws)), lambda: (draws, make()))[1]

    def keep_on(self, draws: Draws, key: Hashable, value: object) -> None:
        """Keep a result of `once_on` that was computed elsewhere."""
        self.memo[key, id(draws)] = draws, value

    def holds(self, draws: Draws, key: Hashable) -> bool:
        """Whether `once_on` has a result."""
        return (key, id(draws)) in self.memo

    def latest(self, name: str, key: Hashable, make: Callable[[], T]) -> T:
        """As `once`, for what is too large to be kept for every key: only the result of the last key is."""
        if name not in self.memo or self.memo[name][0] != key:
            self.memo[name] = key, make()
        found: T = self.memo[name][1]
        return found

    @cached_property
    def missing(self) -> int:
        """Questions without a parsed answer."""
        return sum(pair not in self.predictions for pair in self.questions)

    @cached_property
    def label_code(self) -> Mapping[object, int]:
        return {label: code for code, label in enumerate(self.task.labels)}

    @cached_property
    def predicted(self) -> np.ndarray:
        """(Q,) int: position of the answered label in `task.labels`, -1 where missing."""
        code = self.label_code
        return np.array(
            [code[self.predictions[p].label] if p in self.predictions else -1 for p in self.questions], dtype=int
        )

    @cached_property
    def gold(self) -> np.ndarray:
        """(Q,) int: position of the priority label."""
        return np.array([self.label_code[self.task.by_pair[p][0].label] for p in self.questions], dtype=int)

    @cached_property
    def gold_sets(self) -> np.ndarray:
        """(Q, L) bool: the labels that the annotator gave."""
        out = np.zeros((len(self.questions), len(self.task.labels)), dtype=bool)
        for q, pair in enumerate(self.questions):
            for record in self.task.by_pair[pair]:
                out[q, self.label_code[record.label]] = True
        return out

    def texts(self, view: str) -> list[str]:
        """(Q) explanations in a view; the empty text where missing."""
        return self.once(
            ("texts", view),
            lambda: [
                in_view(self.predictions[p].explanation, view) if p in self.predictions else "" for p in self.questions
            ],
        )

    def references(self, view: str) -> list[list[str]]:
        """(Q) lists: the explanations of the annotator's own records of the question, priority first."""

        def make() -> list[list[str]]:
            records = map(self.task.by_pair.__getitem__, self.questions)
            return [[in_view(r.explanation, view) for r in own if r.explanation] for own in records]

        return once_per_task(self.task, ("references", self.split, self.limit, self.only, self.texts_only, view), make)

    @cached_property
    def human(self) -> Answers:
        """Humans as a system: the priority record of every question. One object for all systems of a task."""
        return self._reference("human", lambda: {p: self.task.human(p) for p in self.questions})

    @cached_property
    def blind(self) -> Answers:
        """The annotator-blind reference (see `blind_answers`). One object for all systems of a task."""
        return self._reference("blind", lambda: blind_answers(self.task, self.split))

    def _reference(self, name: str, make: Callable[[], Mapping[Pair, Annotation]]) -> Answers:
        how = (self.embedder, self.limit, self.only, self.texts_only)
        key = (name, self.split, self.embedder.name, *how[1:])
        return once_per_task(self.task, key, lambda: Answers(self.task, self.split, make(), *how))


def once_per_task(task: Task, key: Hashable, make: Callable[[], T]) -> T:
    """`make()` on the first call with this key, its result as long as the task lives (as a cached_property's)."""
    store = task.__dict__.setdefault("_memo", {})
    if key not in store:
        store[key] = make()
    found: T = store[key]
    return found


def blind_answers(task: Task, split: str, seed: int = 0) -> dict[Pair, Annotation]:
    """One scored annotator's record per item (with an explanation, if any has one), drawn by seed, given to every
    annotator: about the item, blind to the annotator."""
    by_item: dict[str, list[Pair]] = {}
    for pair in task.questions(split, annotators=task.scored_annotators):
        by_item.setdefault(pair[0], []).append(pair)
    out = {}
    for item, pairs in by_item.items():
        known = [p for p in pairs if p in task.explained] or pairs
        record = task.human(known[int(seeded("blind", task.name, seed, item).integers(len(known)))])
        for pair in pairs:
            out[pair] = Annotation(item, pair[1], record.label, record.explanation)
    return out
