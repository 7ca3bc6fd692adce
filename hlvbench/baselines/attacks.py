"""Attacks on the index (docs/metrics.md section 9): cheap ways to look like an annotator, without explaining like one.

An attack knows every train record and the inputs of the questions. It reads no record of the scored split, except
for those of kind "gold", which are given the annotator's label and show what the label alone would buy. The
references `human`, `other`, `blind` and `orthography` read test records too: they are ceilings and floors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..metrics.predictions import Embedder
from ..prompting.prompt import render_answer
from ..text import norm, raw
from ..types import Generation, Label, Pair, Task
from .attacker import CLOSENESS, COMMON_WORDS, SLOT, Attacker, content_words, frame, splice
from .references import Answer, Reference

KINDS: Mapping[str, str] = {
    "people": "the ceiling: index and every factor 1",
    "zero": "index 0 within its interval",
    "attack": "index below .3",
    "gold": "is given the gold labels: reported, not tested",
}
_CANDIDATES = 4
_NEAREST = 20
_COLLAGE = 3
_LONGEST = 60
_END = ""


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
        slotted = [f for f in counts if SLOT in f] or list(counts)
        attacker.frames[key] = max(slotted, key=lambda f: (counts[f], -len(f), f))
    fields = list(attacker.task.items[pair[0]].text.values())[::-1]
    fill = [w for text in fields for w in content_words(text, attacker.common)] or norm(fields[0]).split() or [SLOT]
    slots = iter(np.resize(np.array(fill, dtype=object), len(attacker.frames[key])))
    return " ".join(next(slots) if word == SLOT else word for word in attacker.frames[key])


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


def _beyond_label(attacker: Attacker, pair: Pair, label: Label | None) -> str:
    """The own explanation closest to what is expected of this person on this item beyond the label."""
    return _best(attacker, pair, [raw(r.explanation) for r in attacker.own(pair[1])])


def _beyond_label_splice(attacker: Attacker, pair: Pair, label: Label | None) -> str:
    """The same with the splices of the explanations of the nearest inputs among the candidates."""
    items, base = attacker.task.items, attacker.base
    own, target = attacker.own(pair[1]), base.inputs[pair[0]].astype(float)
    near = sorted(own, key=lambda r: -float(target @ base.inputs[r.item]))[:_NEAREST]
    spliced = [splice(r.explanation, items[r.item], items[pair[0]], attacker.common) for r in near]
    return _best(attacker, pair, [*(raw(r.explanation) for r in own), *spliced])


def _best(attacker: Attacker, pair: Pair, texts: Sequence[str]) -> str:
    wanted = 2 * CLOSENESS * attacker.base.inputs[pair[0]].astype(float)
    if pair in attacker.beyond_label:
        wanted = wanted + attacker.beyond_label[pair]
    return texts[int(np.argmax((attacker.vectors(texts) @ wanted).round(9)))]


def _clustered(attacker: Attacker, pair: Pair, label: Label | None) -> str:
    """Of the likeliest cluster of own explanations the one of the nearest input."""
    base, target = attacker.base, attacker.base.inputs[pair[0]]
    return max(attacker.clustered[pair], key=lambda r: float(target @ base.inputs[r.item])).explanation


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
        System("restyled-other", "attack", "guess", _restyled, by_label=True),
        System("label-splice", "attack", "guess", _splice, by_label=True),
        System("chosen-splice", "attack", "guess", _chosen_splice, by_label=True),
        System("expected", "attack", "guess", _expected),
        System("collage", "attack", "guess", _collage),
        System("beyond-label", "attack", "guess", _beyond_label),
        System("beyond-label-splice", "attack", "guess", _beyond_label_splice),
        System("clustered", "attack", "guess", _clustered),
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
