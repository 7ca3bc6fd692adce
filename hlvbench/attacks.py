"""Attacks on the index: cheap ways to look like an annotator without explaining as one does (docs/metrics.md §9).

An attack knows every train record and the inputs of the questions. It reads no record of the scored split, except
for those of kind "gold", which are given the annotator's label and show what the label alone would buy. The
references `human`, `other`, `blind` and `orthography` read test records too: they are ceilings and floors.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .metrics.answers import Embedder
from .metrics.reduce import people, residuals, usable
from .models.reference import Answer, Reference
from .prompt import render_answer
from .stats import seeded
from .text import norm, raw
from .types import Annotation, Generation, Item, Label, Pair, Task

KINDS: Mapping[str, str] = {
    "people": "the ceiling: index and every factor 1",
    "zero": "index 0 within its interval",
    "attack": "index below .3",
    "gold": "is given the gold labels: listed, not judged",
    "beyond": "an attack of our own, cleverer than the list of docs/metrics.md §9: listed, judged by a strict audit",
}
COMMON_WORDS = 100
"""So many most frequent words of the train explanations count as function words."""
CLOSENESS = 0.2
"""Weight of the input's embedding beside the expected difference: the value that buys most."""
_ALPHA = 10.0
_CANDIDATES = 4
_COLLAGE = 3
_LONGEST = 60
_WORD = re.compile(r"\w+")
_END = ""


def splice(text: str, source: Item, target: Item, common: frozenset[str]) -> str:
    """`text`, written about `source`, with each content word that it takes from an input text of `source` replaced by
    the word at the same relative place among the content words of the same field of `target`."""
    swap: dict[str, str] = {}
    for field, given in source.text.items():
        ours = _content(given, common)
        theirs = _content(target.text[field], common) or _WORD.findall(raw(target.text[field]))
        for place, word in enumerate(ours):
            if theirs:
                swap.setdefault(word.lower(), theirs[place * len(theirs) // len(ours)])
    return _WORD.sub(lambda match: swap.get(match[0].lower(), match[0]), raw(text))


def frame(text: str, source: Item, common: frozenset[str]) -> tuple[str, ...]:
    """The words of `text` with a slot, the empty word, for every run of content words taken from `source`."""
    taken = {w.lower() for given in source.text.values() for w in _content(given, common)}
    out: list[str] = []
    for word in raw(text).split():
        slot = norm(word) in taken
        if not (slot and out and out[-1] == _END):
            out.append(_END if slot else word)
    return tuple(out)


def _content(text: str, common: frozenset[str]) -> list[str]:
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
        answers = people(self.task, "train", self.embedder)
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
        regression from the input, less the person's mean: what `own_gain` rewards. Empty for annotators without
        train items that others explained, too."""
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

    def wanted(self, pair: Pair) -> np.ndarray:
        """(d,) the direction in which an answer gains both distinctness and grounding."""
        towards = CLOSENESS * self.base.inputs[pair[0]].astype(float)
        return towards + self.expected[pair] if pair in self.expected else towards

    def rng(self, name: str, pair: Pair) -> np.random.Generator:
        return seeded(name, self.task.name, self.seed, *pair)


Text = Callable[[Attacker, Pair, Label | None], str]


def _nearest(attacker: Attacker, pair: Pair, label: Label | None) -> str:
    return attacker.base.nearest(pair, label).explanation


def _constant(attacker: Attacker, pair: Pair, label: Label | None) -> str:
    return attacker.constants[pair[1]]


def _constant_echo(attacker: Attacker, pair: Pair, label: Label | None) -> str:
    return f"{attacker.constants[pair[1]]} {attacker.task.items[pair[0]].joined}"


def _template(attacker: Attacker, pair: Pair, label: Label | None) -> str:
    """The annotator's most telling words (log-odds against the others), as many as usual, in usual order, and the
    label."""
    mine, others, places = Counter[str](), Counter[str](), dict[str, list[float]]()
    for record in attacker.task.records_of("train"):
        words = norm(record.explanation).split()
        (mine if record.annotator == pair[1] else others).update(words)
        if record.annotator == pair[1]:
            for place, word in enumerate(words):
                places.setdefault(word, []).append(place / len(words))
    size = int(np.median([len(norm(r.explanation).split()) for r in attacker.own(pair[1])]))
    frequent = sorted(mine, key=lambda w: (-mine[w], w))[:COMMON_WORDS]
    telling = sorted(frequent, key=lambda w: (-np.log((mine[w] + 1) / (others[w] + 1)), w))[:size]
    ordered = sorted(telling, key=lambda w: (float(np.mean(places[w])), w))
    return " ".join([*ordered, str(label if label is not None else attacker.base.modes[pair[1]])])


def _splice(attacker: Attacker, pair: Pair, label: Label | None) -> str:
    record = attacker.base.nearest(pair, label)
    items = attacker.task.items
    return splice(record.explanation, items[record.item], items[pair[0]], attacker.common)


def _frame_splice(attacker: Attacker, pair: Pair, label: Label | None) -> str:
    """The annotator's most frequent frame with slots, filled with the content words of the target, last field first."""
    key = (pair[1], label)
    if key not in attacker.frames:
        items, own = attacker.task.items, attacker.own(*key)
        counts = Counter(frame(r.explanation, items[r.item], attacker.common) for r in own)
        slotted = [f for f in counts if _END in f] or list(counts)
        attacker.frames[key] = max(slotted, key=lambda f: (counts[f], -len(f), f))
    fields = list(attacker.task.items[pair[0]].text.values())[::-1]
    fill = [w for text in fields for w in _content(text, attacker.common)] or norm(fields[0]).split() or [_END]
    slots = iter(np.resize(np.array(fill, dtype=object), len(attacker.frames[key])))
    return " ".join(next(slots) if word == _END else word for word in attacker.frames[key])


def _markov(attacker: Attacker, pair: Pair, label: Label | None) -> str:
    """Words drawn from the annotator's trigrams, at most 60."""
    key = (pair[1], label)
    if key not in attacker.chains:
        chain: dict[tuple[str, str], list[str]] = {}
        for record in attacker.own(*key):
            words = [_END, _END, *raw(record.explanation).split(), _END]
            for first, second, third in zip(words, words[1:], words[2:], strict=False):
                chain.setdefault((first, second), []).append(third)
        attacker.chains[key] = chain
    rng, words = attacker.rng("markov", pair), [_END, _END]
    while len(words) < _LONGEST + 2:
        following = attacker.chains[key][words[-2], words[-1]]
        words.append(following[int(rng.integers(len(following)))])
        if words[-1] == _END:
            break
    return " ".join(filter(None, words))


def _restyled(attacker: Attacker, pair: Pair, label: Label | None) -> str:
    """Another annotator's explanation of the nearest train input, its function words replaced run by run by the
    target's most frequent run of that place, in the target's habits of capital and period."""
    task, base = attacker.task, attacker.base
    others = [r for r in task.records_of("train") if r.annotator != pair[1]] or list(base.own(pair[1]))
    fitting = [r for r in others if r.label == label] or others
    target = base.inputs[pair[0]]
    source = fitting[int(np.argmax([target @ base.inputs[r.item] for r in fitting]))]
    text = splice(source.explanation, task.items[source.item], task.items[pair[0]], attacker.common)
    counts: dict[tuple[bool, bool], Counter[tuple[str, ...]]] = {}
    for record in attacker.own(pair[1], label):
        for place, run in _runs(record.explanation, attacker.common):
            counts.setdefault(place, Counter())[run] += run[0] in attacker.common
    parts: list[str] = []
    for place, run in _runs(text, attacker.common):
        known = counts.get(place)
        swap = run[0] in attacker.common and known and known.most_common(1)[0][1]
        parts += known.most_common(1)[0][0] if swap and known else run
    period, capital = base.orthography[pair[1]]
    made = " ".join(parts)
    return (made[:1].upper() if capital > 0.5 else made[:1]) + made[1:] + ("." if period > 0.5 else "")


def _runs(text: str, common: frozenset[str]) -> list[tuple[tuple[bool, bool], tuple[str, ...]]]:
    """The text cut into runs of function and of content words; each with (is first, is last)."""
    runs: list[list[str]] = []
    for word in norm(text).split():
        if runs and (runs[-1][-1] in common) == (word in common):
            runs[-1].append(word)
        else:
            runs.append([word])
    return [((k == 0, k == len(runs) - 1), tuple(run)) for k, run in enumerate(runs)]


def _chosen_splice(attacker: Attacker, pair: Pair, label: Label | None) -> str:
    """Of the nearest own explanations, spliced, the one that is most typical and closest to the input."""
    items, base = attacker.task.items, attacker.base
    target = base.inputs[pair[0]].astype(float)
    near = sorted(attacker.own(pair[1], label), key=lambda r: -float(target @ base.inputs[r.item]))[:_CANDIDATES]
    texts = [splice(r.explanation, items[r.item], items[pair[0]], attacker.common) for r in near]
    gained = attacker.typical(texts, pair[1]) + attacker.vectors(texts) @ target
    return texts[int(np.argmax(gained.round(9)))]


def _expected(attacker: Attacker, pair: Pair, label: Label | None) -> str:
    """The own explanation closest to what is expected of this person on this item."""
    return _collage_of(attacker, pair, 1)


def _collage(attacker: Attacker, pair: Pair, label: Label | None) -> str:
    """Up to three own explanations in a row that together come closest."""
    return _collage_of(attacker, pair, _COLLAGE)


def _collage_of(attacker: Attacker, pair: Pair, most: int) -> str:
    """Greedy: the embedding of texts in a row is taken to be the mean of theirs."""
    texts = list(dict.fromkeys(raw(r.explanation) for r in attacker.own(pair[1])))
    vectors, wanted = attacker.vectors(texts), attacker.wanted(pair)
    chosen: list[int] = []
    best = -np.inf
    while len(chosen) < most:
        sums = vectors + vectors[chosen].sum(axis=0)
        gained = ((sums @ wanted) / np.maximum(np.linalg.norm(sums, axis=1), 1e-9)).round(9)
        if gained.max() <= best:
            break
        best = gained.max()
        chosen.append(int(np.argmax(gained)))
    return " ".join(texts[k] for k in chosen)


@dataclass(frozen=True)
class System:
    """A row of the audit. kind: a key of KINDS. labels: where its labels come from. text: None for a reference, which
    answers by itself. by_label: the text is made from the train records with the answered label alone."""

    name: str
    kind: str
    labels: str
    text: Text | None = None
    by_label: bool = False

    def decide(self, attacker: Attacker, pair: Pair) -> Answer:
        if self.text is None:
            return attacker.reference(self.name, pair)
        label = _LABELS[self.labels](attacker, pair)
        return label, self.text(attacker, pair, label if self.by_label else None)


_LABELS: Mapping[str, Callable[[Attacker, Pair], Label]] = {
    "mode": lambda attacker, pair: attacker.base.modes[pair[1]],
    "nearest": lambda attacker, pair: attacker.base.nearest(pair).label,
    "guess": lambda attacker, pair: attacker.base.guesses[pair],
    "gold": lambda attacker, pair: attacker.task.by_pair[pair][0].label,
}

SYSTEMS: Mapping[str, System] = {
    system.name: system
    for system in (
        System("human", "people", "own"),
        System("blind", "zero", "own"),
        System("random-own", "zero", "own"),
        System("other", "zero", "own"),
        System("echo", "zero", "mode"),
        System("constant", "zero", "mode", _constant),
        System("majority", "attack", "mode"),
        System("orthography", "attack", "own"),
        System("nearest", "attack", "nearest"),
        System("label-guess", "attack", "guess"),
        System("majority+template", "attack", "mode", _template),
        System("constant+echo", "attack", "mode", _constant_echo),
        System("splice", "attack", "nearest", _splice),
        System("template+splice", "attack", "mode", _frame_splice),
        System("markov", "attack", "mode", _markov),
        System("nearest+guess", "attack", "guess", _nearest),
        System("constant+echo+guess", "attack", "guess", _constant_echo),
        System("splice+guess", "attack", "guess", _splice),
        System("template+splice+guess", "attack", "guess", _frame_splice, by_label=True),
        System("markov+guess", "attack", "guess", _markov, by_label=True),
        System("restyled-other", "beyond", "guess", _restyled, by_label=True),
        System("label-splice", "beyond", "guess", _splice, by_label=True),
        System("chosen-splice", "beyond", "guess", _chosen_splice, by_label=True),
        System("expected", "beyond", "guess", _expected),
        System("collage", "beyond", "guess", _collage),
        System("nearest+gold", "gold", "gold", _nearest, by_label=True),
        System("splice+gold", "gold", "gold", _splice, by_label=True),
        System("expected+gold", "gold", "gold", _expected),
    )
}


def generations(system: System, attacker: Attacker) -> list[Generation]:
    """The system's answer to every question of the split, as raw text."""
    task, out = attacker.task, []
    for pair in task.questions(attacker.split):
        text = render_answer(task, *system.decide(attacker, pair))
        out.append(Generation(*pair, 0, text, "stop", len(text.split()), ""))
    return out


class AttackModel(Reference):
    """An attack as a model of the main job; it answers every sample alike."""

    def __init__(self, name: str, task: Task, split: str, embedder: Embedder, seed: int = 0) -> None:
        super().__init__("label-guess", task, split, embedder, seed)
        self.name, self.attacker = name, Attacker(task, split, embedder, seed)

    def describe(self) -> dict[str, Any]:
        return {"kind": "attack", "name": self.name, "seed": self.seed}

    def decide(self, pair: Pair, sample: int = 0) -> Answer:
        return SYSTEMS[self.name].decide(self.attacker, pair)
