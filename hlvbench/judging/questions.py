"""The attribution questions: one answer, up to four people with records of each; who wrote it?

Everything but the answer is a function of (task, split, seed) alone: candidates, references and letters of a question
are the same for every system and every judge, so systems are compared on one layout and none can move it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..bootstrap import clusters, seeded
from ..errors import UsageError
from ..io import dump_line, sha256_text
from ..text import in_view, legible
from ..types import Annotation, Item, Pair, Task

MOST = 4
"""Candidates of a question at most, the person asked for among them."""
LETTERS = "ABCD"
SHOTS = 5
SHOWN = ("label", "input")
"""What may be shown beside the explanations: labels, and the inputs that the references speak of."""
LONGEST = 4000
"""Characters of an answer that a judge sees; people's longest explanations have a few hundred."""
NONCE_DIGITS = 16

Orders = Literal["one", "all"]
View = Literal["raw", "norm"]
Answered = Mapping[Pair, Annotation] | Sequence[Mapping[Pair, Annotation]]
"""The answers of a system, or of each of its sample indexes."""


@dataclass(frozen=True)
class Question:
    """Who of `candidates` wrote `answer`? `answer` and `references` are texts in `view`, ready to be shown.

    candidates: annotators in the order of the letters A, B, C, D; `annotator`, whose answer it is asked as, is one of
    them. references: of each candidate, records of train items. order: number of the cyclic shift; 0 is the balanced
    one. nonce: a code that stands in none of the texts.
    """

    item: Item
    annotator: str
    sample: int
    order: int
    answer: Annotation
    candidates: tuple[str, ...]
    references: tuple[tuple[Annotation, ...], ...]
    show: tuple[str, ...]
    view: str
    nonce: str = ""

    @property
    def pair(self) -> Pair:
        return self.item.id, self.annotator

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells the question from all others of its run: item, annotator, and a number for sample and order."""
        return self.item.id, self.annotator, self.sample * MOST + self.order

    @property
    def letters(self) -> str:
        return LETTERS[: len(self.candidates)]

    @property
    def right(self) -> str:
        """The letter of the person asked for."""
        return LETTERS[self.candidates.index(self.annotator)]


@dataclass(frozen=True)
class Questionnaire:
    """The questions of one set of answers.

    missing: (item, annotator, sample) without an answer: nothing can be asked, and they count as wrong (docs/metrics.md
    section 1). left_out: pairs that cannot be asked of any system (fewer than two people have a record to show, or
    the one asked for has none); they count nowhere. cut: answers longer than `LONGEST`, shown up to there.
    """

    asked: tuple[Question, ...]
    missing: tuple[tuple[str, str, int], ...]
    left_out: tuple[Pair, ...]
    cut: int


@dataclass(frozen=True)
class _Layout:
    """A question without its answer."""

    candidates: tuple[str, ...]
    references: tuple[tuple[Annotation, ...], ...]


def attribution_questions(
    task: Task,
    split: str,
    answers: Answered,
    *,
    limit: int | None = None,
    shots: int = SHOTS,
    seed: int = 0,
    orders: Orders = "one",
    show: Sequence[str] = (),
    view: View = "raw",
) -> Questionnaire:
    """The questions about `answers`, in question order; about several samples of a system, one after the other.

    shots: references per candidate, of train items that share no input text with the item. orders: "one" asks each
    question once, with the letters shifted so that each letter is right equally often (of all questions of
    the split exactly, up to the remainder); "all" asks every cyclic shift. show: "label" and "input" show the
    labels of the texts and the inputs of the references. Annotators with too few records to be scored
    (`min_records`) are neither asked for nor candidates.
    """
    _check(shots, show)
    laid, left_out = _layouts(task, split, limit, shots, seed, view)
    asked, missing, cut = [], [], 0
    for sample, given in enumerate([answers] if isinstance(answers, Mapping) else answers):
        for pair, layout in laid.items():
            if pair not in given:
                missing.append((*pair, sample))
                continue
            shown = _shown(given[pair], view)
            cut += len(shown.explanation) > LONGEST
            shown = replace(shown, explanation=shown.explanation[:LONGEST])
            question = Question(
                task.items[pair[0]], pair[1], sample, 0, shown, layout.candidates, layout.references,
                tuple(s for s in SHOWN if s in show), view,
            )  # fmt: skip
            asked += [_with_nonce(task, q, seed) for q in _shifts(question, orders)]
    return Questionnaire(tuple(asked), tuple(missing), left_out, cut)


def _check(shots: int, show: Sequence[str]) -> None:
    if shots < 1:
        raise UsageError(f"--shots {shots}: a judge needs at least 1 record of each person")
    if unknown := sorted(set(show) - set(SHOWN)):
        raise UsageError(f"--show {','.join(unknown)}: there are {', '.join(SHOWN)}")


def _layouts(
    task: Task, split: str, limit: int | None, shots: int, seed: int, view: str
) -> tuple[dict[Pair, _Layout], tuple[Pair, ...]]:
    """The layout of every question of the split that can be asked, and the pairs that cannot."""
    if split not in task.splits:
        raise UsageError(f"task {task.name} has no split {split!r}; there are {', '.join(task.splits)}")
    references = _References(task, shots, seed, view)
    places = _Places(task, split, seed)
    laid, left_out = {}, []
    scored = set(task.scored_annotators)
    for item, annotator in task.questions(split, limit):
        if annotator not in scored or (item, annotator) not in task.explained:
            continue
        names = _candidates(task, references.people(item), item, annotator, seed)
        if len(names) < 2:
            left_out.append((item, annotator))
            continue
        start = (names.index(annotator) - places.next(item, annotator, len(names))) % len(names)
        ordered = names[start:] + names[:start]
        laid[item, annotator] = _Layout(ordered, tuple(references.of(item, a) for a in ordered))
    return laid, tuple(left_out)


def _candidates(task: Task, people: Sequence[str], item: str, annotator: str, seed: int) -> tuple[str, ...]:
    """The person asked for and up to three others, in a drawn order; empty where no question can be asked.

    The others annotated the item, too, as long as there are such: who works on other items writes about other things.
    """
    if annotator not in people:
        return ()
    rng = seeded("candidates", task.name, seed, item, annotator)
    others = [a for a in people if a != annotator]
    order = sorted(rng.permutation(len(others)).tolist(), key=lambda i: (item, others[i]) not in task.by_pair)
    drawn = sorted(order[: MOST - 1])
    names = [annotator, *(others[i] for i in drawn)]
    return tuple(names[i] for i in rng.permutation(len(names)))


class _Places:
    """Which letter is right: of all equally often, and of each annotator's questions as nearly as that allows.

    A place is drawn for every question of the split, whether or not a system answered it.
    """

    def __init__(self, task: Task, split: str, seed: int) -> None:
        self._seed = (task.name, split, seed)
        self._used: Counter[tuple[int, int]] = Counter()
        self._own: Counter[tuple[int, str, int]] = Counter()

    def next(self, item: str, annotator: str, letters: int) -> int:
        """One of the places used least so far, of these one used least for the annotator, the rest by seed."""
        order = seeded("letters", *self._seed, item, annotator).permutation(letters)
        place = int(min(order, key=lambda p: (self._used[letters, p], self._own[letters, annotator, p])))
        self._used[letters, place] += 1
        self._own[letters, annotator, place] += 1
        return place


class _References:
    """Train records of people, never of the item asked about nor of one that shares an input text with it."""

    def __init__(self, task: Task, shots: int, seed: int, view: str) -> None:
        self.task, self.shots, self.seed, self.view = task, shots, seed, view
        ids = list(task.items)
        self._cluster = {ids[i]: n for n, group in enumerate(clusters(list(task.items.values()))) for i in group}
        self._train: dict[str, list[Annotation]] = {a: [] for a in task.scored_annotators}
        for record in task.records_of("train"):
            if record.annotator in self._train:
                self._train[record.annotator].append(record)
        self._near = {(self._cluster[r.item], a) for a, own in self._train.items() for r in own}
        self._clusters = {cluster for cluster, _ in self._near}
        self._everybody = tuple(a for a, own in self._train.items() if own)

    def people(self, item: str) -> tuple[str, ...]:
        """The annotators who have a record to show beside this item, in the task's order."""
        if self._cluster[item] not in self._clusters:
            return self._everybody
        return tuple(a for a in self._train if self._usable(item, a))

    def of(self, item: str, annotator: str) -> tuple[Annotation, ...]:
        """The same for every question about the item, whoever is asked for: what is shown gives nobody away."""
        own = self._usable(item, annotator)
        order = seeded("references", self.task.name, self.seed, item, annotator).permutation(len(own))
        return tuple(_shown(own[i], self.view) for i in order[: self.shots])

    def _usable(self, item: str, annotator: str) -> list[Annotation]:
        if (self._cluster[item], annotator) not in self._near:
            return self._train[annotator]
        return [r for r in self._train[annotator] if self._cluster[r.item] != self._cluster[item]]


def _shown(record: Annotation, view: str) -> Annotation:
    """The record with its text in the view, without control characters and half surrogates."""
    return replace(record, explanation=legible(in_view(record.explanation, view)))


def _shifts(question: Question, orders: Orders) -> Iterator[Question]:
    """The question itself, and with "all" its other cyclic shifts."""
    for shift in range(len(question.candidates) if orders == "all" else 1):
        start = -shift % len(question.candidates)
        yield replace(
            question, order=shift, candidates=question.candidates[start:] + question.candidates[:start],
            references=question.references[start:] + question.references[:start],
        )  # fmt: skip


def _with_nonce(task: Task, question: Question, seed: int) -> Question:
    """The question with a code that delimits its answer.

    The code is a hash of the answer itself among other things, drawn again until no text of the prompt holds it. So it
    needs no secret: whoever writes an answer would have to write a text that contains its own hash, and a text
    that does by chance gets another code. The same question has the same code in every run.
    """
    texts = [question.answer.explanation, str(question.answer.label), *question.item.text.values()]
    texts += [r.explanation for own in question.references for r in own]
    texts += [t for own in question.references for r in own for t in task.items[r.item].text.values()]
    held = "\n".join(texts).casefold()
    whole = dump_line([task.name, seed, *question.key, question.view, texts])
    for attempt in itertools.count():
        nonce = sha256_text(f"{attempt} {whole}")[:NONCE_DIGITS]
        if nonce not in held:
            return replace(question, nonce=nonce)
    raise AssertionError("a text holds every code")
