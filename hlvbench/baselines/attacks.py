"""Attacks on the index (docs/metrics.md section 9): cheap ways to look like an annotator, without explaining like one.

An attack makes the explanation of a question from what is known of train and from the inputs. `label`, where it is
given, restricts it to train annotations with that label. It reads no annotation of the scored split.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ..text import norm, raw
from ..types import Item, Label, Pair
from .knowledge import COMMON_WORDS, Knowledge

SLOT = ""
"""Stands in a frame where the words of the item go."""
CLOSENESS = 0.2
"""Weight of the input's embedding beside the expected difference: the value that buys most."""
_CANDIDATES = 4
_NEAREST = 20
_COLLAGE = 3
_LONGEST = 60
_END = ""
_WORD = re.compile(r"\w+")


def splice(text: str, source: Item, target: Item, common: frozenset[str]) -> str:
    """`text`, written about `source`, with each content word that it takes from an input text of `source` replaced by
    the word at the same relative place among the content words of the same field of `target`."""
    swap: dict[str, str] = {}
    for field, text_of_field in source.text.items():
        ours = content_words(text_of_field, common)
        theirs = content_words(target.text[field], common) or _WORD.findall(raw(target.text[field]))
        for place, word in enumerate(ours):
            if theirs:
                swap.setdefault(word.lower(), theirs[place * len(theirs) // len(ours)])
    return _WORD.sub(lambda match: swap.get(match[0].lower(), match[0]), raw(text))


def frame(text: str, source: Item, common: frozenset[str]) -> tuple[str, ...]:
    """The words of `text` with a slot, the empty word, for every run of content words taken from `source`."""
    taken = {w.lower() for field in source.text.values() for w in content_words(field, common)}
    out: list[str] = []
    for word in raw(text).split():
        slot = norm(word) in taken
        if not (slot and out and out[-1] == SLOT):
            out.append(SLOT if slot else word)
    return tuple(out)


def content_words(text: str, common: frozenset[str]) -> list[str]:
    """The words that are not common, each once, in order."""
    return list(dict.fromkeys(w for w in _WORD.findall(raw(text)) if w.lower() not in common))


def nearest(known: Knowledge, pair: Pair, label: Label | None) -> str:
    """The own explanation of the nearest input."""
    return known.nearest(pair, label).explanation


def constant(known: Knowledge, pair: Pair, label: Label | None) -> str:
    """The most typical own sentence."""
    return known.most_typical_explanations[pair[1]]


def constant_echo(known: Knowledge, pair: Pair, label: Label | None) -> str:
    """The most typical own sentence, and the input."""
    return f"{known.most_typical_explanations[pair[1]]} {known.task.items[pair[0]].joined}"


def template(known: Knowledge, pair: Pair, label: Label | None) -> str:
    """The annotator's most telling words (log-odds against the others), as many as usual, in usual order, and the
    label."""
    words = known.once(("telling", pair[1]), lambda: _telling_words(known, pair[1]))
    return " ".join([*words, str(label if label is not None else known.modes[pair[1]])])


def _telling_words(known: Knowledge, annotator: str) -> list[str]:
    mine, others, places = Counter[str](), Counter[str](), dict[str, list[float]]()
    for record in known.task.records_of("train"):
        words = norm(record.explanation).split()
        (mine if record.annotator == annotator else others).update(words)
        if record.annotator == annotator:
            for place, word in enumerate(words):
                places.setdefault(word, []).append(place / len(words))
    size = int(np.median([len(norm(r.explanation).split()) for r in known.train_annotations(annotator)]))
    frequent = sorted(mine, key=lambda w: (-mine[w], w))[:COMMON_WORDS]
    telling = sorted(frequent, key=lambda w: (-np.log((mine[w] + 1) / (others[w] + 1)), w))[:size]
    return sorted(telling, key=lambda w: (float(np.mean(places[w])), w))


def nearest_splice(known: Knowledge, pair: Pair, label: Label | None) -> str:
    """The own explanation of the nearest input, the content words of the old input replaced by those of the new one."""
    record = known.nearest(pair, label)
    items = known.task.items
    return splice(record.explanation, items[record.item], items[pair[0]], known.common_words)


def frame_splice(known: Knowledge, pair: Pair, label: Label | None) -> str:
    """The annotator's most frequent frame with slots, filled with the content words of the target, last field first."""

    def most_frequent() -> tuple[str, ...]:
        items, own = known.task.items, known.train_annotations(pair[1], label)
        counts = Counter(frame(r.explanation, items[r.item], known.common_words) for r in own)
        slotted = [f for f in counts if SLOT in f] or list(counts)
        return max(slotted, key=lambda f: (counts[f], -len(f), f))

    chosen = known.once(("frame", pair[1], label), most_frequent)
    fields = list(known.task.items[pair[0]].text.values())[::-1]
    fill = [w for text in fields for w in content_words(text, known.common_words)] or norm(fields[0]).split() or [SLOT]
    slots = iter(np.resize(np.array(fill, dtype=object), len(chosen)))
    return " ".join(next(slots) if word == SLOT else word for word in chosen)


def markov(known: Knowledge, pair: Pair, label: Label | None) -> str:
    """Words drawn from the annotator's trigrams, at most 60."""

    def trigrams() -> dict[tuple[str, str], list[str]]:
        chain: dict[tuple[str, str], list[str]] = {}
        for record in known.train_annotations(pair[1], label):
            words = [_END, _END, *raw(record.explanation).split(), _END]
            for first, second, third in zip(words, words[1:], words[2:], strict=False):
                chain.setdefault((first, second), []).append(third)
        return chain

    chain = known.once(("trigrams", pair[1], label), trigrams)
    rng, words = known.rng("markov", *pair), [_END, _END]
    while len(words) < _LONGEST + 2:
        following = chain[words[-2], words[-1]]
        words.append(following[int(rng.integers(len(following)))])
        if words[-1] == _END:
            break
    return " ".join(filter(None, words))


def restyled(known: Knowledge, pair: Pair, label: Label | None) -> str:
    """Another annotator's explanation of the nearest train input, its function words replaced run by run by the
    target's most frequent run of that place, in the target's habits of capital and period."""

    def most_frequent() -> dict[tuple[bool, bool], tuple[tuple[str, ...], int]]:
        counts: dict[tuple[bool, bool], Counter[tuple[str, ...]]] = {}
        for record in known.train_annotations(pair[1], label):
            for place, run in _runs(record.explanation, known.common_words):
                counts.setdefault(place, Counter())[run] += run[0] in known.common_words
        return {place: found.most_common(1)[0] for place, found in counts.items()}

    found, items = known.once(("runs", pair[1], label), most_frequent), known.task.items
    source = known.nearest_of_others(pair, label)
    text = splice(source.explanation, items[source.item], items[pair[0]], known.common_words)
    parts: list[str] = []
    for place, run in _runs(text, known.common_words):
        usual, times = found.get(place, (run, 0))
        parts += usual if run[0] in known.common_words and times else run
    period, capital = known.orthography[pair[1]]
    text = " ".join(parts)
    return (text[:1].upper() if capital > 0.5 else text[:1]) + text[1:] + ("." if period > 0.5 else "")


def _runs(text: str, common: frozenset[str]) -> list[tuple[tuple[bool, bool], tuple[str, ...]]]:
    """The text cut into runs of function and of content words; each with (is first, is last)."""
    runs: list[list[str]] = []
    for word in norm(text).split():
        if runs and (runs[-1][-1] in common) == (word in common):
            runs[-1].append(word)
        else:
            runs.append([word])
    return [((k == 0, k == len(runs) - 1), tuple(run)) for k, run in enumerate(runs)]


def chosen_splice(known: Knowledge, pair: Pair, label: Label | None) -> str:
    """Of the nearest own explanations, spliced, the one that is most typical and closest to the input."""
    items = known.task.items
    own, target = known.train_annotations(pair[1], label), known.inputs[pair[0]].astype(float)
    near = sorted(own, key=lambda r: -float(target @ known.inputs[r.item]))[:_CANDIDATES]
    texts = [splice(r.explanation, items[r.item], items[pair[0]], known.common_words) for r in near]
    gained = known.style_similarity(texts, pair[1]) + known.vectors(texts) @ target
    return texts[int(np.argmax(gained.round(9)))]


def expected(known: Knowledge, pair: Pair, label: Label | None) -> str:
    """The own explanation closest to what is expected of this annotator on this item."""
    return _collage_of(known, pair, 1)


def beyond_label(known: Knowledge, pair: Pair, label: Label | None) -> str:
    """The own explanation closest to what is expected of this annotator on this item beyond the label."""
    return _best(known, pair, [raw(r.explanation) for r in known.train_annotations(pair[1])])


def beyond_label_splice(known: Knowledge, pair: Pair, label: Label | None) -> str:
    """`beyond-label`, with splices of the twenty nearest own explanations among the candidates."""
    items = known.task.items
    own, target = known.train_annotations(pair[1]), known.inputs[pair[0]].astype(float)
    near = sorted(own, key=lambda r: -float(target @ known.inputs[r.item]))[:_NEAREST]
    spliced = [splice(r.explanation, items[r.item], items[pair[0]], known.common_words) for r in near]
    return _best(known, pair, [*(raw(r.explanation) for r in own), *spliced])


def _best(known: Knowledge, pair: Pair, texts: Sequence[str]) -> str:
    wanted = 2 * CLOSENESS * known.inputs[pair[0]].astype(float)
    if pair in known.expected_difference_given_label:
        wanted = wanted + known.expected_difference_given_label[pair]
    return texts[int(np.argmax((known.vectors(texts) @ wanted).round(9)))]


def clustered(known: Knowledge, pair: Pair, label: Label | None) -> str:
    """The own explanation of the nearest input in the cluster that is likelier than for the label's other questions."""
    target = known.inputs[pair[0]]
    return max(known.cluster_candidates[pair], key=lambda r: float(target @ known.inputs[r.item])).explanation


def collage(known: Knowledge, pair: Pair, label: Label | None) -> str:
    """Up to three own explanations in a row that together come closest to what is expected."""
    return _collage_of(known, pair, _COLLAGE)


def _collage_of(known: Knowledge, pair: Pair, most: int) -> str:
    """Greedy: the embedding of texts in a row is taken to be the mean of theirs."""
    texts = list(dict.fromkeys(raw(r.explanation) for r in known.train_annotations(pair[1])))
    # the direction in which an answer gains both distinctness and grounding
    wanted = CLOSENESS * known.inputs[pair[0]].astype(float)
    if pair in known.expected_difference:
        wanted = wanted + known.expected_difference[pair]
    vectors = known.vectors(texts)
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
