"""Text that is not the system's own: copies of test records, memorised train records, stretches of the dataset.

People repeat themselves, and systems that learned from them do so, too. What counts as a copy of the test records is
therefore only what the train and dev records do not hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..parse import parse
from ..text import norm
from ..types import Generation, Task

FEWEST_WORDS = 4
"""A shorter record is a formula that anybody may hit on."""
FEWEST_TRIGRAMS = 4
NEAR = 0.8
"""So large a share of a record's own trigrams in an answer makes it a near-duplicate."""
STRETCH = 60
"""Characters of dataset text that are no coincidence."""
Trigram = tuple[str, ...]


@dataclass(frozen=True)
class Overlap:
    """Of `answers` answers: exact and near copies of test records, copies of train records, and those that hold a
    stretch of any dataset text (inputs or records)."""

    answers: int
    test_exact: int
    test_near: int
    train_copies: int
    dataset_text: int

    @property
    def told(self) -> dict[str, int]:
        """What a card says of it."""
        return {"answers": self.answers, "train_copies": self.train_copies, "dataset_text": self.dataset_text}

    def share(self, count: int) -> float:
        return count / max(1, self.answers)


class Originals:
    """What answers to one task are held against; made once per task."""

    def __init__(self, task: Task) -> None:
        self.task = task
        known = [r for split in ("train", "dev") for r in task.records_of(split)]
        self.known = {norm(r.explanation) for r in known}
        common = set[Trigram]().union(*(trigrams(r.explanation) for r in known))
        self.exact, self.near = set[str](), list[frozenset[Trigram]]()
        for record in task.records_of("test"):
            text = norm(record.explanation)
            if text not in self.known and len(text.split()) >= FEWEST_WORDS:
                self.exact.add(text)
            inputs = set[Trigram]().union(*(trigrams(t) for t in task.items[record.item].text.values()))
            own = trigrams(record.explanation) - common - inputs
            if len(own) >= FEWEST_TRIGRAMS:
                self.near.append(frozenset(own))
        texts = [t for item in task.items.values() for t in item.text.values()]
        self.stretches = stretches([*texts, *(r.explanation for r in task.records)])

    def quoted(self, texts: Iterable[str]) -> bool:
        """Whether any of the texts holds a stretch of the dataset."""
        return not self.stretches.isdisjoint(stretches(texts))

    def overlap(self, rows: Sequence[Generation]) -> Overlap:
        """How much of the answers is somebody else's text."""
        exact = near = train = held = 0
        for row in rows:
            text = parse(row.text, self.task).explanation or row.text
            plain, own = norm(text), trigrams(text)
            is_exact = plain in self.exact
            exact += is_exact
            near += not is_exact and any(len(r & own) >= NEAR * len(r) for r in self.near)
            train += bool(plain) and plain in self.known
            held += self.quoted([row.text])
        return Overlap(len(rows), exact, near, train, held)


def trigrams(text: str) -> set[Trigram]:
    """Runs of three words of the norm view."""
    words = norm(text).split()
    return set(zip(words, words[1:], words[2:], strict=False))


def stretches(texts: Iterable[str]) -> set[str]:
    """Every run of STRETCH characters of the norm view that begins with a word."""
    found = set()
    for text in map(norm, texts):
        start = 0
        while start + STRETCH <= len(text):
            found.add(text[start : start + STRETCH])
            start = text.find(" ", start) + 1
            if not start:
                break
    return found
