"""What the attacks know of a task: people's habits, expected differences, and how a text is moved to another item."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from ..bootstrap import seeded
from ..metrics.predictions import Embedder
from ..metrics.projections import human_annotations, residuals, usable
from ..text import norm, raw
from ..types import Annotation, Item, Label, Pair, Task
from .references import Answer, Reference

COMMON_WORDS = 100
"""So many most frequent words of the train explanations count as function words."""
CLOSENESS = 0.2
"""Weight of the input's embedding beside the expected difference: the value that buys most."""
SLOT = ""
"""Stands in a frame where the words of the item go."""
_ALPHA = 10.0
_CLUSTERS = 12
_WORD = re.compile(r"\w+")


def splice(text: str, source: Item, target: Item, common: frozenset[str]) -> str:
    """`text`, written about `source`, with each content word that it takes from an input text of `source` replaced by
    the word at the same relative place among the content words of the same field of `target`."""
    swap: dict[str, str] = {}
    for field, given in source.text.items():
        ours = content_words(given, common)
        theirs = content_words(target.text[field], common) or _WORD.findall(raw(target.text[field]))
        for place, word in enumerate(ours):
            if theirs:
                swap.setdefault(word.lower(), theirs[place * len(theirs) // len(ours)])
    return _WORD.sub(lambda match: swap.get(match[0].lower(), match[0]), raw(text))


def frame(text: str, source: Item, common: frozenset[str]) -> tuple[str, ...]:
    """The words of `text` with a slot, the empty word, for every run of content words taken from `source`."""
    taken = {w.lower() for given in source.text.values() for w in content_words(given, common)}
    out: list[str] = []
    for word in raw(text).split():
        slot = norm(word) in taken
        if not (slot and out and out[-1] == SLOT):
            out.append(SLOT if slot else word)
    return tuple(out)


def content_words(text: str, common: frozenset[str]) -> list[str]:
    """The words that are not common, each once, in order."""
    return list(dict.fromkeys(w for w in _WORD.findall(raw(text)) if w.lower() not in common))


class Attacker:
    """What attacks know of a task, computed once and shared by all of them."""

    def __init__(self, task: Task, split: str, embedder: Embedder, seed: int = 0) -> None:
        self.task, self.split, self.embedder, self.seed = task, split, embedder, seed
        self.base = Reference("label-guess", task, split, embedder, seed)
        self._references = {"label-guess": self.base}

    def reference(self, name: str, pair: Pair) -> Answer:
        """The answer of a reference system."""
        if name not in self._references:
            self._references[name] = Reference(name, self.task, self.split, self.embedder, self.seed)
        return self._references[name].decide(pair)

    def own(self, annotator: str, label: Label | None = None) -> Sequence[Annotation]:
        """The annotator's train records, those with `label` if there are any."""
        records = self.base.own(annotator)
        return [r for r in records if r.label == label] or records

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """(n, d) embeddings of the norm view, which the index compares."""
        return self.embedder.encode([norm(text) for text in texts]).astype(float)

    @cached_property
    def common(self) -> frozenset[str]:
        """The most frequent words of all train explanations."""
        counts = Counter(w for r in self.task.records_of("train") for w in norm(r.explanation).split())
        return frozenset(sorted(counts, key=lambda w: (-counts[w], w))[:COMMON_WORDS])

    @cached_property
    def habits(self) -> dict[str, np.ndarray]:
        """Per annotator the unit vector of the mean train explanation less what the others say of its items."""
        answers = human_annotations(self.task, "train", self.embedder)
        kept, columns = usable(answers, "self"), answers.cells[1]
        vectors, out = residuals(answers, "norm", "self"), {}
        for annotator in self.task.annotators:
            own = kept & (columns == answers.annotators.index(annotator)) if annotator in answers.annotators else []
            mean = vectors[own].sum(axis=0) if np.any(own) else np.zeros(vectors.shape[1])
            out[annotator] = mean / max(float(np.linalg.norm(mean)), 1e-9)
        return out

    @cached_property
    def centre(self) -> np.ndarray:
        """(d,) the mean over annotators of their mean train explanation."""
        means = [self.vectors([r.explanation for r in self.own(a)]).mean(axis=0) for a in self.task.annotators]
        return np.asarray(np.mean(means, axis=0))

    def typical(self, texts: Sequence[str], annotator: str) -> np.ndarray:
        """(n,) cosine of each text, less the centre, with the annotator's habits."""
        ahead = self.vectors(texts) - self.centre
        return np.asarray(ahead @ self.habits[annotator] / np.maximum(np.linalg.norm(ahead, axis=1), 1e-9))

    @cached_property
    def constants(self) -> dict[str, str]:
        """Per annotator the most typical train explanation; ties: the first."""
        out = {}
        for annotator in self.task.annotators:
            texts = [r.explanation for r in self.own(annotator)]
            out[annotator] = texts[int(np.argmax(self.typical(texts, annotator).round(9)))]
        return out

    @cached_property
    def chains(self) -> dict[tuple[str, Label | None], dict[tuple[str, str], list[str]]]:
        return {}

    @cached_property
    def frames(self) -> dict[tuple[str, Label | None], tuple[str, ...]]:
        return {}

    @cached_property
    def expected(self) -> dict[Pair, np.ndarray]:
        """Per question the embedding of what this person is expected to say less what the others are, by ridge
        regression from the input, less the person's mean: what `own_gain(within=all)` rewards. Empty for annotators
        without train items that others explained, too."""
        from sklearn.linear_model import Ridge

        pairs = [p for p in self.task.questions("train") if p in self.task.explained]
        vector = dict(zip(pairs, self.vectors([self.task.human(p).explanation for p in pairs]), strict=True))
        fellows: dict[str, list[Pair]] = {}
        for pair in pairs:
            fellows.setdefault(pair[0], []).append(pair)
        out: dict[Pair, np.ndarray] = {}
        for annotator in self.task.annotators:
            mine = [p for p in pairs if p[1] == annotator and len(fellows[p[0]]) > 1]
            asked = [p for p in self.task.questions(self.split) if p[1] == annotator]
            if not (mine and asked):
                continue
            ahead = [vector[p] - np.mean([vector[q] for q in fellows[p[0]] if q != p], axis=0) for p in mine]
            given, wanted = (np.array([self.base.features_of(i) for i, _ in ps]) for ps in (mine, asked))
            found = Ridge(_ALPHA).fit(given, np.array(ahead)).predict(wanted) - np.mean(ahead, axis=0)
            out |= dict(zip(asked, found, strict=True))
        return out

    @cached_property
    def beyond_label(self) -> dict[Pair, np.ndarray]:
        """`expected` less its mean over the person's questions with the same guessed label, of length 1: what
        `own_gain(within=label)` rewards. Where no other question has the label, `expected` itself."""
        out = {}
        for pair, vectors in self._groups(self.expected).items():
            ahead = self.expected[pair] - np.mean(vectors, axis=0) if len(vectors) > 1 else self.expected[pair]
            out[pair] = ahead / max(float(np.linalg.norm(ahead)), 1e-9)
        return out

    def _groups(self, values: Mapping[Pair, np.ndarray]) -> dict[Pair, list[np.ndarray]]:
        """Per question the values of the person's questions with the same guessed label, its own included."""
        groups: dict[tuple[str, Label], list[np.ndarray]] = {}
        for pair, value in values.items():
            groups.setdefault((pair[1], self.base.guesses[pair]), []).append(value)
        return {pair: groups[pair[1], self.base.guesses[pair]] for pair in values}

    @cached_property
    def clustered(self) -> dict[Pair, Sequence[Annotation]]:
        """Per question the person's train records of the cluster of explanations that a classifier on the input finds
        likelier than for the person's other questions with the same guessed label."""
        from sklearn.cluster import KMeans
        from sklearn.linear_model import LogisticRegression

        likely: dict[Pair, np.ndarray] = {}
        members: dict[str, list[list[Annotation]]] = {}
        for annotator in self.task.annotators:
            own = list(self.own(annotator))
            vectors = self.vectors([r.explanation for r in own])
            count = min(_CLUSTERS, len(np.unique(vectors, axis=0)))
            found = KMeans(count, n_init=4, random_state=self.seed).fit_predict(vectors)
            members[annotator] = [[r for r, c in zip(own, found, strict=True) if c == k] for k in range(count)]
            asked = [p for p in self.task.questions(self.split) if p[1] == annotator]
            if not asked:
                continue
            shares = np.ones((len(asked), count)) / count
            if count > 1:
                given, wanted = (np.array([self.base.features_of(i) for i in ids])
                                 for ids in ([r.item for r in own], [p[0] for p in asked]))  # fmt: skip
                shares = LogisticRegression(max_iter=1000).fit(given, found).predict_proba(wanted)
            likely |= dict(zip(asked, shares, strict=True))
        groups = self._groups(likely)
        return {p: members[p[1]][int(np.argmax((v - np.mean(groups[p], axis=0)).round(9)))] for p, v in likely.items()}

    def wanted(self, pair: Pair) -> np.ndarray:
        """(d,) the direction in which an answer gains both distinctness and grounding."""
        towards = CLOSENESS * self.base.inputs[pair[0]].astype(float)
        return towards + self.expected[pair] if pair in self.expected else towards

    def rng(self, name: str, pair: Pair) -> np.random.Generator:
        return seeded(name, self.task.name, self.seed, *pair)
