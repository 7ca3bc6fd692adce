"""Reference systems: what a score means is seen beside humans, simple baselines and cheap tricks (docs/metrics.md
section 9).

A reference is a function of what is known, the question and the sample. `other`, `random-own` and `orthography` draw
by (seed, question, sample); the rest answer every sample alike. All but `majority` answer with dataset text.
"""

from __future__ import annotations

from ..text import raw
from ..types import Annotation, Label, Pair
from .knowledge import Knowledge

Answer = tuple[Label, str]


def _of(record: Annotation) -> Answer:
    return record.label, record.explanation


def human(known: Knowledge, pair: Pair, sample: int) -> Answer:
    """The annotator's own annotation, the one of the priority label."""
    return _of(known.task.human(pair))


def majority(known: Knowledge, pair: Pair, sample: int) -> Answer:
    """The most frequent train label and one fixed sentence."""
    return known.modes[pair[1]], known.task.majority_sentence


def other(known: Knowledge, pair: Pair, sample: int) -> Answer:
    """Another annotator's annotation of the item; where there is none, the most frequent own label and no text."""
    others = [a for a in known.task.by_item[pair[0]] if a != pair[1]]
    if not others:
        return known.modes[pair[1]], ""
    chosen = others[int(known.rng("other", *pair, sample).integers(len(others)))]
    return _of(known.task.human((pair[0], chosen)))


def blind(known: Knowledge, pair: Pair, sample: int) -> Answer:
    """One annotation per item, drawn without looking at who is asked."""
    return _of(known.annotator_blind_answers[pair])


def nearest(known: Knowledge, pair: Pair, sample: int) -> Answer:
    """The own train annotation of the nearest input."""
    return _of(known.nearest(pair))


def random_own(known: Knowledge, pair: Pair, sample: int) -> Answer:
    """A random own train annotation."""
    own = known.train_annotations(pair[1])
    return _of(own[int(known.rng("random-own", *pair, sample).integers(len(own)))])


def orthography(known: Knowledge, pair: Pair, sample: int) -> Answer:
    """`blind` in the annotator's habits of final period and first capital, drawn at the annotator's rates."""
    label, text = blind(known, pair, sample)
    period, capital = known.orthography[pair[1]]
    draws = known.rng("orthography", *pair, sample).random(2)
    text = raw(text).rstrip(".") + ("." if draws[0] < period else "")
    first = text[:1].upper() if draws[1] < capital else text[:1].lower()
    return label, first + text[1:]


def echo(known: Knowledge, pair: Pair, sample: int) -> Answer:
    """The most frequent train label and the input itself."""
    return known.modes[pair[1]], known.task.items[pair[0]].joined


def label_guess(known: Knowledge, pair: Pair, sample: int) -> Answer:
    """A classifier's label for the input, and the own explanation of the nearest input with that label."""
    label = known.predicted_labels[pair]
    return label, known.nearest(pair, label).explanation
