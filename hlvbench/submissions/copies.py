"""Text that is not the system's own: copies of test annotations, memorised train annotations, stretches of the dataset.

Annotators repeat themselves, and so do systems that learned from them. Only text that no train or dev annotation holds
counts as a copy of the test annotations.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..prompting.parse import parse
from ..text import norm
from ..types import Generation, Task
from .folder import Findings

MOST_COPIES = 0.02
"""Share of all answers; beyond it the text comes from the test annotations, not from a coincidence."""
MOST_DATASET_TEXT = 0.25
"""Share of all answers; beyond it a submission would publish the dataset, for which no licence is stated."""
FEWEST_WORDS = 4
"""A shorter explanation is a formula that anybody may write."""
FEWEST_TRIGRAMS = 4
NEAR = 0.8
"""So large a share of an annotation's own trigrams in an answer makes it a near-duplicate."""
FEWEST_OWN, IN_ORDER, LONGER = 6, 0.9, 2.0
"""An annotation with so many words of its own, so large a share of which stands in its order in an answer of at most so
many times its words, was copied with words put in between."""
STRETCH = 60
"""Characters of dataset text that are no coincidence."""
Trigram = tuple[str, ...]
_ALIKE = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u04bb\u04cf\u03bf\u03b1\u03b9\u03bd"
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425\u0406\u0408\u0405",
    "aeopcyxijsdhloaivABEKMHOPCTXIJS",
)
"""Cyrillic and Greek letters that look like Latin ones."""


def plain_words(text: str) -> str:
    """The norm view, letters that only look like Latin ones replaced by these."""
    return norm(unicodedata.normalize("NFKC", text).translate(_ALIKE))


@dataclass(frozen=True)
class Own:
    """The words of an annotation that its input does not have, in their order. size: the number of all its words."""

    words: tuple[str, ...]
    size: int

    def within(self, words: Sequence[str]) -> bool:
        """Whether nearly all of them stand in this order in a text of not many more words."""
        enough = IN_ORDER * len(self.words)
        if len(words) > LONGER * self.size or sum(w in words for w in self.words) < enough:
            return False
        return longest_common(self.words, words) >= enough


def longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for word in first:
        before = 0
        for place, other in enumerate(second, start=1):
            above = row[place]
            row[place] = before + 1 if word == other else max(above, row[place - 1])
            before = above
    return row[-1]


@dataclass(frozen=True)
class Overlap:
    """Of `answers` answers: exact and near copies of test annotations, copies of train annotations, and those that hold
    a stretch of any dataset text (inputs or annotations)."""

    answers: int
    test_exact: int
    test_near: int
    train_copies: int
    dataset_text: int

    @property
    def counts(self) -> dict[str, int]:
        """What a card says about memorised text."""
        return {"answers": self.answers, "train_copies": self.train_copies, "dataset_text": self.dataset_text}

    def judge(self, where: str, findings: Findings) -> None:
        """Copies of test annotations and a republished dataset are errors, memorised text is a warning."""
        copies, total = self.test_exact + self.test_near, max(1, self.answers)
        if copies > MOST_COPIES * total:
            copied = f"copies of test annotations ({self.test_exact} exact, {self.test_near} near)"
            findings.error(where, f"{copies} of {self.answers} answers are {copied}: the test set was seen")
        elif copies:
            findings.warn(where, f"{copies} of {self.answers} answers equal a test annotation, or nearly")
        else:
            findings.ok(where, "no answer copies a test annotation")
        if self.dataset_text > MOST_DATASET_TEXT * total:
            held = f"{self.dataset_text} of {self.answers} answers hold long stretches of dataset text"
            findings.error(where, f"{held}, which has no licence and is not published; see CONTRIBUTING.md")
        elif self.train_copies or self.dataset_text:
            equal = f"{self.train_copies} of {self.answers} answers equal a train or dev annotation"
            findings.warn(where, f"memorised: {equal}, {self.dataset_text} hold a long stretch of dataset text")


class Originals:
    """The texts that answers to one task are compared with; made once per task."""

    def __init__(self, task: Task) -> None:
        self.task = task
        known = [r for split in ("train", "dev") for r in task.records_of(split)]
        self.known = {plain_words(r.explanation) for r in known}
        self.own = list[Own]()
        common = set[Trigram]().union(*(trigrams(r.explanation) for r in known))
        self.exact, self.near = set[str](), list[frozenset[Trigram]]()
        for record in task.records_of("test"):
            text = plain_words(record.explanation)
            if text not in self.known and len(text.split()) >= FEWEST_WORDS:
                self.exact.add(text)
            inputs = set[Trigram]().union(*(trigrams(t) for t in task.items[record.item].text.values()))
            own = trigrams(record.explanation) - common - inputs
            if len(own) >= FEWEST_TRIGRAMS:
                self.near.append(frozenset(own))
            read = {word for t in task.items[record.item].text.values() for word in plain_words(t).split()}
            mine = Own(tuple(word for word in text.split() if word not in read), len(text.split()))
            # what a train annotation has in this order is a formula
            if len(mine.words) >= FEWEST_OWN and not any(mine.within(k.split()) for k in self.known):
                self.own.append(mine)
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
            plain, own = plain_words(text), trigrams(text)
            is_exact = plain in self.exact
            exact += is_exact
            near += not is_exact and (
                any(len(r & own) >= NEAR * len(r) for r in self.near) or any(o.within(plain.split()) for o in self.own)
            )
            train += bool(plain) and plain in self.known
            held += self.quoted([row.text])
        return Overlap(len(rows), exact, near, train, held)


def trigrams(text: str) -> set[Trigram]:
    """Runs of three words."""
    words = plain_words(text).split()
    return set(zip(words, words[1:], words[2:], strict=False))


def stretches(texts: Iterable[str]) -> set[str]:
    """Every run of STRETCH characters that begins with a word."""
    found = set()
    for text in map(plain_words, texts):
        start = 0
        while start + STRETCH <= len(text):
            found.add(text[start : start + STRETCH])
            start = text.find(" ", start) + 1
            if not start:
                break
    return found
