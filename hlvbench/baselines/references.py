"""Reference systems: what a score means is seen beside people, floors and cheap tricks (docs/metrics.md section 9).

All but `majority` answer with dataset text, so their generations are never published.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..bootstrap import seeded
from ..errors import UsageError
from ..metrics.predictions import Embedder, blind_answers
from ..models import Completion, Query
from ..prompting.prompt import render_answer
from ..text import raw
from ..types import Annotation, Label, Pair, Task

Answer = tuple[Label, str]
_NEARLY = 1e-5


class Reference:
    """A reference system for one split of one task; a Model that needs no prompt.

    Sampled systems (other, random-own, orthography) draw by (seed, question, sample); the rest answer
    every sample alike.
    """

    context: int | None = None
    batch_size = 1_000_000

    def __init__(self, name: str, task: Task, split: str, embedder: Embedder, seed: int = 0) -> None:
        if name not in SYSTEMS:
            raise UsageError(f"no reference system {name!r}; there are {', '.join(SYSTEMS)}")
        self.name, self.task, self.split, self.embedder, self.seed = name, task, split, embedder, seed
        self._answer = SYSTEMS[name]
        self._fitting: dict[tuple[str, Label | None], tuple[list[Annotation], np.ndarray]] = {}

    def describe(self) -> dict[str, Any]:
        return {"kind": "reference", "name": self.name, "seed": self.seed}

    def group(self, annotator: str) -> str:
        return ""

    def prompt_text(self, content: str) -> str:
        return content

    def count_tokens(self, content: str) -> int:
        return len(content.split())

    def answer(self, batch: Sequence[Query]) -> list[Completion]:
        out = []
        for query in batch:
            label, explanation = self.decide((query.item, query.annotator), query.sample)
            text = render_answer(self.task, label, explanation)
            out.append(Completion(text, "stop", len(text.split())))
        return out

    def decide(self, pair: Pair, sample: int = 0) -> Answer:
        """The label and explanation for one question."""
        return self._answer(self, pair, sample)

    def own(self, annotator: str) -> tuple[Annotation, ...]:
        """The annotator's train records, in question order; everybody's where there is none of this person's."""
        return self._own.get(annotator) or self._everybodys

    @cached_property
    def _everybodys(self) -> tuple[Annotation, ...]:
        found = self.task.records_of("train")
        if not found:
            raise UsageError(f"task {self.task.name}: there are no train records, which {self.name} needs")
        return found

    @cached_property
    def _own(self) -> dict[str, tuple[Annotation, ...]]:
        return {a: self.task.records_of("train", a) for a in self.task.annotators}

    @cached_property
    def modes(self) -> dict[str, Label]:
        """The most frequent train label of each annotator; ties: the smaller label."""
        out = {}
        for annotator in self.task.annotators:
            own = self.task.records_of("train", annotator, label_only=True) or self.own(annotator)
            counts = Counter(r.label for r in own)
            out[annotator] = min(counts, key=lambda label: (-counts[label], label))
        return out

    @cached_property
    def inputs(self) -> dict[str, np.ndarray]:
        """The embedding of every item's joined input in the raw view."""
        vectors = self.embedder.encode([raw(item.joined) for item in self.task.items.values()])
        return dict(zip(self.task.items, vectors, strict=True))

    @cached_property
    def blind(self) -> dict[Pair, Annotation]:
        return blind_answers(self.task, self.split, self.seed)

    @cached_property
    def guesses(self) -> dict[Pair, Label]:
        """A per-annotator classifier's label for every question of the split."""
        return {p: y for a in self.task.annotators for p, y in self._guess(a).items()}

    @cached_property
    def _asked(self) -> dict[str, list[Pair]]:
        out: dict[str, list[Pair]] = {}
        for pair in self.task.questions(self.split):
            out.setdefault(pair[1], []).append(pair)
        return out

    def nearest(self, pair: Pair, label: Label | None = None) -> Annotation:
        """The annotator's train record (with that label, if any has it) of the nearest input; ties: the first."""
        key = pair[1], label
        if key not in self._fitting:
            own = self.own(pair[1])
            fitting = [r for r in own if r.label == label] or list(own)
            self._fitting[key] = fitting, np.array([self.inputs[r.item] for r in fitting])
        fitting, inputs = self._fitting[key]
        target = self.inputs[pair[0]]
        near = inputs @ target
        # one by one, so that equal inputs tie whatever the matrix product rounds
        best = np.flatnonzero(near >= near.max() - _NEARLY)
        return fitting[int(best[np.argmax([inputs[i] @ target for i in best])])]

    def _guess(self, annotator: str) -> dict[Pair, Label]:
        pairs = self._asked.get(annotator, [])
        own = self.own(annotator)
        if not pairs:
            return {}
        train, test = (self._features([i for i, _ in ps]) for ps in ([(r.item, "") for r in own], pairs))
        labels = [r.label for r in own]
        if len(set(labels)) == 1:
            return dict.fromkeys(pairs, labels[0])
        if self.task.kind == "ordinal":
            return dict(zip(pairs, self._guess_scores(train, np.array(labels, dtype=float), test), strict=True))
        from sklearn.linear_model import LogisticRegression

        chosen = LogisticRegression(C=1.0, class_weight="balanced", max_iter=2000).fit(
            train, np.array(labels, dtype=object).astype(str)
        )
        names = {str(label): label for label in self.task.labels}
        return {p: names[y] for p, y in zip(pairs, chosen.predict(test), strict=True)}

    def _guess_scores(self, train: np.ndarray, scores: np.ndarray, test: np.ndarray) -> list[Label]:
        """Ridge regression, its predictions stretched to the spread of the annotator's own train scores.

        Least squares keeps near the mean, and quadratic-weighted κ punishes an annotator without extremes.
        """
        from sklearn.linear_model import Ridge, RidgeCV
        from sklearn.model_selection import cross_val_predict

        model = RidgeCV(alphas=np.logspace(-2, 2, 9)).fit(train, scores)
        unseen = cross_val_predict(Ridge(model.alpha_), train, scores, cv=min(5, len(scores)))
        spread = float(unseen.std())
        stretch = float(scores.std()) / spread if spread > 1e-6 else 1.0
        values = scores.mean() + stretch * (model.predict(test) - unseen.mean())
        low, high = min(self.task.labels), max(self.task.labels)
        return [int(y) for y in np.clip(np.rint(values), low, high)]

    def _features(self, items: list[str]) -> np.ndarray:
        return np.array([self.features_of(item) for item in items])

    def features_of(self, item: str) -> np.ndarray:
        """(F,) what the label classifier sees of an item: its inputs alone."""
        return self._item_features[item]

    @cached_property
    def _item_features(self) -> dict[str, np.ndarray]:
        """The input's embedding, and for several fields how each pair of neighbours relates (|u - v|, u · v)."""
        fields = list(self.task.fields)
        by_field = [self.embedder.encode([raw(i.text[f]) for i in self.task.items.values()]) for f in fields]
        blocks = [self.embedder.encode([raw(i.joined) for i in self.task.items.values()])]
        for first, second in itertools.pairwise(by_field):
            blocks += [np.abs(first - second), (first * second).sum(axis=1, keepdims=True)]
        return dict(zip(self.task.items, np.hstack(blocks), strict=True))

    @cached_property
    def orthography(self) -> dict[str, tuple[float, float]]:
        """Per annotator: the shares of train explanations that end in a period and start with a capital."""
        out = {}
        for annotator in self.task.annotators:
            texts = [t for r in self.own(annotator) if (t := raw(r.explanation))]
            count = max(len(texts), 1)
            out[annotator] = (sum(t[-1] == "." for t in texts) / count, sum(t[0].isupper() for t in texts) / count)
        return out

    def rng(self, pair: Pair, sample: int) -> np.random.Generator:
        return seeded(self.name, self.task.name, self.seed, *pair, sample)


def _human(system: Reference, pair: Pair, sample: int) -> Answer:
    record = system.task.human(pair)
    return record.label, record.explanation


def _majority(system: Reference, pair: Pair, sample: int) -> Answer:
    return system.modes[pair[1]], system.task.majority_sentence


def _other(system: Reference, pair: Pair, sample: int) -> Answer:
    """Another annotator's record of the item; where there is none, his own train mode and no text."""
    others = [a for a in system.task.by_item[pair[0]] if a != pair[1]]
    if not others:
        return system.modes[pair[1]], ""
    chosen = others[int(system.rng(pair, sample).integers(len(others)))]
    record = system.task.human((pair[0], chosen))
    return record.label, record.explanation


def _blind(system: Reference, pair: Pair, sample: int) -> Answer:
    record = system.blind[pair]
    return record.label, record.explanation


def _nearest(system: Reference, pair: Pair, sample: int) -> Answer:
    record = system.nearest(pair)
    return record.label, record.explanation


def _random_own(system: Reference, pair: Pair, sample: int) -> Answer:
    own = system.own(pair[1])
    record = own[int(system.rng(pair, sample).integers(len(own)))]
    return record.label, record.explanation


def _orthography(system: Reference, pair: Pair, sample: int) -> Answer:
    """The blind answer in the annotator's habits of final period and first capital, drawn at his rates."""
    label, text = _blind(system, pair, sample)
    period, capital = system.orthography[pair[1]]
    draws = system.rng(pair, sample).random(2)
    text = raw(text).rstrip(".") + ("." if draws[0] < period else "")
    first = text[:1].upper() if draws[1] < capital else text[:1].lower()
    return label, first + text[1:]


def _echo(system: Reference, pair: Pair, sample: int) -> Answer:
    return system.modes[pair[1]], system.task.items[pair[0]].joined


def _label_guess(system: Reference, pair: Pair, sample: int) -> Answer:
    label = system.guesses[pair]
    return label, system.nearest(pair, label).explanation


SYSTEMS: dict[str, Callable[[Reference, Pair, int], Answer]] = {
    "human": _human,
    "majority": _majority,
    "other": _other,
    "blind": _blind,
    "nearest": _nearest,
    "random-own": _random_own,
    "orthography": _orthography,
    "echo": _echo,
    "label-guess": _label_guess,
}
