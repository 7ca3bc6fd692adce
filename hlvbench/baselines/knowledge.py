"""What baselines know of a task: the train annotations, the inputs, and what is estimated from them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from ..bootstrap import seeded
from ..errors import UsageError
from ..metrics.predictions import Embedder, blind_answers
from ..metrics.projections import human_annotations, residuals, usable
from ..text import norm, raw
from ..types import Annotation, Label, Pair, Task

T = TypeVar("T")

COMMON_WORDS = 100
"""So many most frequent words of the train explanations count as function words."""
RIDGE_ALPHA = 10.0
"""Of the regression behind `Knowledge.expected_difference`."""
MAX_CLUSTERS = 12
"""Clusters of an annotator's train explanations, at most."""
TIE_TOLERANCE = 1e-5
"""Cosines this close to the largest are computed again, so that equal inputs tie."""


def _nearest(inputs: np.ndarray, target: np.ndarray, near: np.ndarray) -> int:
    """The first row of `inputs`, whose products with the target are `near`, that has the largest product."""
    # one by one, so that equal inputs tie whatever the matrix product rounds
    best = np.flatnonzero(near >= near.max() - TIE_TOLERANCE)
    return int(best[np.argmax([inputs[i] @ target for i in best])])


class Knowledge:
    """Everything that baselines compute from a task and a split, computed once and shared by all of them.

    Embeddings have d dimensions.
    """

    def __init__(self, task: Task, split: str, embedder: Embedder, seed: int = 0) -> None:
        self.task, self.split, self.embedder, self.seed = task, split, embedder, seed
        self._last: tuple[str | None, np.ndarray] = None, np.zeros(0)
        self._memo: dict[Hashable, Any] = {}

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """`make()` on the first call with this key, its result afterwards."""
        if key not in self._memo:
            self._memo[key] = make()
        found: T = self._memo[key]
        return found

    def rng(self, name: str, *key: str | int) -> np.random.Generator:
        """The random numbers of a baseline for one question."""
        return seeded(name, self.task.name, self.seed, *key)

    def train_annotations(self, annotator: str, label: Label | None = None) -> Sequence[Annotation]:
        """The annotator's train annotations, those with `label` if there are any; everybody's where there are none."""
        found = self.task.records_of("train", annotator) or self._everybodys
        return [r for r in found if r.label == label] or found

    @cached_property
    def _everybodys(self) -> tuple[Annotation, ...]:
        found = self.task.records_of("train")
        if not found:
            raise UsageError(f"task {self.task.name}: there are no train annotations, which baselines answer from")
        return found

    def questions_of(self, annotator: str) -> list[Pair]:
        """The annotator's questions of the split."""
        return self._questions.get(annotator, [])

    @cached_property
    def _questions(self) -> dict[str, list[Pair]]:
        out: dict[str, list[Pair]] = {}
        for pair in self.task.questions(self.split):
            out.setdefault(pair[1], []).append(pair)
        return out

    @cached_property
    def modes(self) -> dict[str, Label]:
        """The most frequent train label of each annotator; ties: the smaller label."""
        out = {}
        for annotator in self.task.annotators:
            own = self.task.records_of("train", annotator, label_only=True) or self.train_annotations(annotator)
            counts = Counter(r.label for r in own)
            out[annotator] = min(counts, key=lambda label: (-counts[label], label))
        return out

    @cached_property
    def inputs(self) -> dict[str, np.ndarray]:
        """(d,) per item the embedding of its joined input in the raw view."""
        vectors = self.embedder.encode([raw(item.joined) for item in self.task.items.values()])
        return dict(zip(self.task.items, vectors, strict=True))

    @cached_property
    def features(self) -> dict[str, np.ndarray]:
        """(F,) per item the input of the label classifier: the joined input's embedding, and for several fields how
        neighbouring ones relate (|u - v|, u · v)."""
        items = self.task.items.values()
        by_field = [self.embedder.encode([raw(i.text[f]) for i in items]) for f in self.task.fields]
        blocks = [self.embedder.encode([raw(i.joined) for i in items])]
        for first, second in itertools.pairwise(by_field):
            blocks += [np.abs(first - second), (first * second).sum(axis=1, keepdims=True)]
        return dict(zip(self.task.items, np.hstack(blocks), strict=True))

    def _features_of(self, items: Sequence[str]) -> np.ndarray:
        return np.array([self.features[item] for item in items])

    @cached_property
    def annotator_blind_answers(self) -> dict[Pair, Annotation]:
        """Per question the annotation of the item that is drawn whoever the annotator is."""
        return blind_answers(self.task, self.split, self.seed)

    def nearest(self, pair: Pair, label: Label | None = None) -> Annotation:
        """The annotator's train annotation (with that label, if any has it) of the nearest input; ties: the first."""

        def make() -> tuple[Sequence[Annotation], np.ndarray]:
            own = self.train_annotations(pair[1], label)
            return own, np.array([self.inputs[r.item] for r in own])

        candidates, inputs = self.once(("nearest", pair[1], label), make)
        target = self.inputs[pair[0]]
        return candidates[_nearest(inputs, target, inputs @ target)]

    def nearest_of_others(self, pair: Pair, label: Label | None = None) -> Annotation:
        """As `nearest`, the train annotation of another annotator; the own ones where there are no others."""
        records, (inputs, writers, labels) = self._everybodys, self._everybodys_arrays
        target = self.inputs[pair[0]]
        if self._last[0] != pair[0]:  # the questions of an item come one after the other
            self._last = pair[0], inputs @ target
        others = writers != pair[1] if (writers != pair[1]).any() else writers == pair[1]
        fitting = others & (labels == str(label))
        kept = fitting if fitting.any() else others
        return records[_nearest(inputs, target, np.where(kept, self._last[1], -np.inf))]

    @cached_property
    def _everybodys_arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of all train annotations: (n, d) embeddings of the inputs, (n) annotators and (n) labels."""
        found = self._everybodys
        labels = np.array([str(r.label) for r in found])
        return np.array([self.inputs[r.item] for r in found]), np.array([r.annotator for r in found]), labels

    @cached_property
    def predicted_labels(self) -> dict[Pair, Label]:
        """Per question of the split the label that a classifier of the annotator reads from the input."""
        return {p: y for a in self.task.annotators for p, y in self._predict_labels(a).items()}

    def _predict_labels(self, annotator: str) -> dict[Pair, Label]:
        pairs, own = self.questions_of(annotator), self.train_annotations(annotator)
        if not pairs:
            return {}
        labels = [r.label for r in own]
        if len(set(labels)) == 1:
            return dict.fromkeys(pairs, labels[0])
        train, test = self._features_of([r.item for r in own]), self._features_of([item for item, _ in pairs])
        if self.task.kind == "ordinal":
            return dict(zip(pairs, self._predict_scores(train, np.array(labels, dtype=float), test), strict=True))
        from sklearn.linear_model import LogisticRegression

        chosen = LogisticRegression(C=1.0, class_weight="balanced", max_iter=2000).fit(
            train, np.array(labels, dtype=object).astype(str)
        )
        names = {str(label): label for label in self.task.labels}
        return {p: names[y] for p, y in zip(pairs, chosen.predict(test), strict=True)}

    def _predict_scores(self, train: np.ndarray, scores: np.ndarray, test: np.ndarray) -> list[Label]:
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

    @cached_property
    def orthography(self) -> dict[str, tuple[float, float]]:
        """Per annotator the shares of train explanations that end in a period and start with a capital."""
        out = {}
        for annotator in self.task.annotators:
            texts = [t for r in self.train_annotations(annotator) if (t := raw(r.explanation))]
            count = max(len(texts), 1)
            out[annotator] = (sum(t[-1] == "." for t in texts) / count, sum(t[0].isupper() for t in texts) / count)
        return out

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """(n, d) embeddings of the norm view, which the index compares."""
        return self.embedder.encode([norm(text) for text in texts]).astype(float)

    @cached_property
    def common_words(self) -> frozenset[str]:
        """The most frequent words of all train explanations."""
        counts = Counter(w for r in self.task.records_of("train") for w in norm(r.explanation).split())
        return frozenset(sorted(counts, key=lambda w: (-counts[w], w))[:COMMON_WORDS])

    @cached_property
    def style_directions(self) -> dict[str, np.ndarray]:
        """(d,) per annotator the mean of (train explanation minus the mean of all explanations of its item), scaled to
        length 1; 0 for an annotator whose items nobody else explained."""
        answers = human_annotations(self.task, "train", self.embedder)
        kept, vectors, out = usable(answers, "self"), residuals(answers, "norm", "self"), {}
        own = dict(zip(answers.annotators, answers.own, strict=True))
        for annotator in self.task.annotators:
            questions = own.get(annotator, np.zeros(0, dtype=int))
            mean = vectors(questions[kept[questions]]).sum(axis=0)
            out[annotator] = mean / max(float(np.linalg.norm(mean)), 1e-9)
        return out

    @cached_property
    def mean_explanation(self) -> np.ndarray:
        """(d,) the mean over annotators of their mean train explanation."""
        texts = [[r.explanation for r in self.train_annotations(a)] for a in self.task.annotators]
        return np.asarray(np.mean([self.vectors(own).mean(axis=0) for own in texts], axis=0))

    def style_similarity(self, texts: Sequence[str], annotator: str) -> np.ndarray:
        """(n,) cosine of each text, less `mean_explanation`, with the annotator's style direction."""
        ahead = self.vectors(texts) - self.mean_explanation
        return np.asarray(ahead @ self.style_directions[annotator] / np.maximum(np.linalg.norm(ahead, axis=1), 1e-9))

    @cached_property
    def most_typical_explanations(self) -> dict[str, str]:
        """Per annotator the train explanation of the highest `style_similarity`; ties: the first."""
        out = {}
        for annotator in self.task.annotators:
            texts = [r.explanation for r in self.train_annotations(annotator)]
            out[annotator] = texts[int(np.argmax(self.style_similarity(texts, annotator).round(9)))]
        return out

    @cached_property
    def expected_difference(self) -> dict[Pair, np.ndarray]:
        """(d,) per question the expected embedding of the annotator's explanation minus that of the others, predicted
        from the input by ridge regression and centred per annotator: what `own_gain(within=all)` rewards. Annotators
        who share no explained train item have no entry."""
        from sklearn.linear_model import Ridge

        pairs = [p for p in self.task.questions("train") if p in self.task.explained]
        vector = dict(zip(pairs, self.vectors([self.task.human(p).explanation for p in pairs]), strict=True))
        on_item: dict[str, list[Pair]] = {}
        for pair in pairs:
            on_item.setdefault(pair[0], []).append(pair)
        out: dict[Pair, np.ndarray] = {}
        for annotator in self.task.annotators:
            own = [p for p in pairs if p[1] == annotator and len(on_item[p[0]]) > 1]
            questions = self.questions_of(annotator)
            if not (own and questions):
                continue
            ahead = [vector[p] - np.mean([vector[q] for q in on_item[p[0]] if q != p], axis=0) for p in own]
            train, test = (self._features_of([i for i, _ in ps]) for ps in (own, questions))
            found = Ridge(RIDGE_ALPHA).fit(train, np.array(ahead)).predict(test) - np.mean(ahead, axis=0)
            out |= dict(zip(questions, found, strict=True))
        return out

    @cached_property
    def expected_difference_given_label(self) -> dict[Pair, np.ndarray]:
        """(d,) per question `expected_difference` less its mean over the annotator's questions with the same predicted
        label, of length 1: what `own_gain(within=label)` rewards. Where no other question has the label, nothing is
        subtracted."""
        out = {}
        for pair, vectors in self._with_same_predicted_label(self.expected_difference).items():
            ahead = self.expected_difference[pair] - (np.mean(vectors, axis=0) if len(vectors) > 1 else 0)
            out[pair] = ahead / max(float(np.linalg.norm(ahead)), 1e-9)
        return out

    def _with_same_predicted_label(self, values: Mapping[Pair, np.ndarray]) -> dict[Pair, list[np.ndarray]]:
        """Per question the values of the annotator's questions with the same predicted label, its own included."""
        groups: dict[tuple[str, Label], list[np.ndarray]] = {}
        for pair, value in values.items():
            groups.setdefault((pair[1], self.predicted_labels[pair]), []).append(value)
        return {pair: groups[pair[1], self.predicted_labels[pair]] for pair in values}

    @cached_property
    def cluster_candidates(self) -> dict[Pair, Sequence[Annotation]]:
        """Per question the annotator's train annotations in one cluster of explanations: the one whose probability
        given the input most exceeds its mean over the annotator's questions with the same predicted label."""
        from sklearn.cluster import KMeans
        from sklearn.linear_model import LogisticRegression

        likely: dict[Pair, np.ndarray] = {}
        members: dict[str, list[list[Annotation]]] = {}
        for annotator in self.task.annotators:
            own, questions = list(self.train_annotations(annotator)), self.questions_of(annotator)
            vectors = self.vectors([r.explanation for r in own])
            count = min(MAX_CLUSTERS, len(np.unique(vectors, axis=0)))
            found = KMeans(count, n_init=4, random_state=self.seed).fit_predict(vectors)
            members[annotator] = [[r for r, c in zip(own, found, strict=True) if c == k] for k in range(count)]
            if not questions:
                continue
            shares = np.ones((len(questions), count)) / count
            if count > 1:
                train, test = (self._features_of(ids) for ids in ([r.item for r in own], [p[0] for p in questions]))
                shares = LogisticRegression(max_iter=1000).fit(train, found).predict_proba(test)
            likely |= dict(zip(questions, shares, strict=True))
        groups = self._with_same_predicted_label(likely)
        return {p: members[p[1]][int(np.argmax((v - np.mean(groups[p], axis=0)).round(9)))] for p, v in likely.items()}
