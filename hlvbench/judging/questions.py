"""Attribution questions: one answer, up to four annotators with references of each; who wrote it?

Candidates, letters and references depend on the task and the options, never on the answers, so every system and judge
gets the same layout.
"""

from __future__ import annotations

import itertools
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from ..bootstrap import clusters, seeded
from ..errors import UsageError
from ..io import dump_line, sha256_text
from ..metrics.predictions import once_per_task
from ..text import in_view, legible
from ..types import Annotation, Item, Pair, Task

MAX_CANDIDATES = 4
"""Of a question, the annotator in question among them."""
LETTERS = string.ascii_uppercase[:MAX_CANDIDATES]
SHOTS = 5
Shown = Literal["label", "input"]
SHOWN: tuple[Shown, ...] = get_args(Shown)
"""What may be shown beside the explanations: labels, and the inputs of the references."""
MAX_ANSWER_CHARS = 4000
"""Characters of an answer that a judge sees; the rest is cut. The longest human explanations have a few hundred."""
NONCE_DIGITS = 16

Predictions = Mapping[Pair, Annotation] | Sequence[Mapping[Pair, Annotation]]
"""The answers of a system, or of each of its sample indexes."""
Layout = tuple[tuple[str, ...], tuple[tuple[Annotation, ...], ...]]
"""Candidates in the order of the letters, and the references of each."""


@dataclass(frozen=True)
class AttributionQuestion:
    """Who of `candidates` wrote `answer`? `answer` and `references` are texts in `view`, ready to be shown.

    candidates: annotators in the order of the letters A, B, C, D; `annotator`, whose answer it is meant to be, is one
    of them. references: of each candidate, annotations of train items. order: number of the cyclic shift; 0 is the
    balanced one. nonce: a code that occurs in none of the texts.
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
        """Item, annotator, and a number for sample and order: unique within a run."""
        return self.item.id, self.annotator, self.sample * MAX_CANDIDATES + self.order

    @property
    def letters(self) -> str:
        return LETTERS[: len(self.candidates)]

    @property
    def right(self) -> str:
        """The letter of the annotator in question."""
        return LETTERS[self.candidates.index(self.annotator)]


@dataclass(frozen=True)
class Questionnaire:
    """The questions about one set of answers.

    missing: (item, annotator, sample) without an answer: there is no question, and they count as wrong
    (docs/metrics.md section 1). left_out: pairs without a question whatever the system (fewer than two annotators
    have references, or the one in question has none); they count nowhere. cut: answers longer than `MAX_ANSWER_CHARS`.
    In neither list, and counted nowhere: pairs that the annotator gave no explanation for, and pairs of annotators with
    fewer than `min_records` test items.
    """

    questions: tuple[AttributionQuestion, ...]
    missing: tuple[tuple[str, str, int], ...]
    left_out: tuple[Pair, ...]
    cut: int


def attribution_questions(
    task: Task,
    split: str,
    answers: Predictions,
    *,
    limit: int | None = None,
    shots: int = SHOTS,
    seed: int = 0,
    orders: Literal["one", "all"] = "one",
    show: Sequence[Shown] = (),
    view: Literal["raw", "norm"] = "raw",
) -> Questionnaire:
    """The questions about a system's answers, in question order; about several samples, one after the other.

    Annotators with too few annotations to be scored (`min_records`) are neither in question nor candidates.

    Args:
        answers: the answers of a system, or of each of its sample indexes.
        limit: the first so many items of the split alone.
        shots: references per candidate, of train items that share no input text with the item.
        orders: "one" asks each question once, with the letters shifted so that each letter is right equally often (over
            all questions of the split exactly, up to the remainder); "all" asks every cyclic shift.
        show: "label" and "input" show the labels of the texts and the inputs of the references.
        view: view of the explanations, "raw" or "norm".

    Raises:
        UsageError: the task has no such split.
    """
    key = ("attribution layouts", split, limit, shots, seed, view)
    layouts, left_out = once_per_task(task, key, lambda: _layouts(task, split, limit, shots, seed, view))
    shown = tuple(name for name in SHOWN if name in show)
    questions, missing, cut = [], [], 0
    for sample, predictions in enumerate([answers] if isinstance(answers, Mapping) else answers):
        for pair, (candidates, references) in layouts.items():
            if pair not in predictions:
                missing.append((*pair, sample))
                continue
            answer = _in_view(predictions[pair], view)
            cut += len(answer.explanation) > MAX_ANSWER_CHARS
            answer = replace(answer, explanation=answer.explanation[:MAX_ANSWER_CHARS])
            for order in range(len(candidates) if orders == "all" else 1):
                start = -order % len(candidates)
                question = AttributionQuestion(
                    task.items[pair[0]],
                    pair[1],
                    sample,
                    order,
                    answer,
                    candidates[start:] + candidates[:start],
                    references[start:] + references[:start],
                    shown,
                    view,
                )
                questions.append(replace(question, nonce=_nonce(task, question, seed)))
    return Questionnaire(tuple(questions), tuple(missing), left_out, cut)


def _layouts(
    task: Task, split: str, limit: int | None, shots: int, seed: int, view: str
) -> tuple[dict[Pair, Layout], tuple[Pair, ...]]:
    """The layout of every question of the split, and the pairs that have none."""
    if split not in task.splits:
        raise UsageError(f"task {task.name} has no split {split!r}; there are {', '.join(task.splits)}")
    references = _References(task, shots, seed, view)
    balance = _LetterBalance(task, split, seed)
    layouts, left_out = {}, []
    scored = set(task.scored_annotators)
    for item, annotator in task.questions(split, limit):
        if annotator not in scored or (item, annotator) not in task.explained:
            continue
        names = _candidates(task, references.annotators(item), item, annotator, seed)
        if len(names) < 2:
            left_out.append((item, annotator))
            continue
        start = (names.index(annotator) - balance.next(item, annotator, len(names))) % len(names)
        ordered = names[start:] + names[:start]
        layouts[item, annotator] = ordered, tuple(references.of(item, name) for name in ordered)
    return layouts, tuple(left_out)


def _candidates(task: Task, annotators: Sequence[str], item: str, annotator: str, seed: int) -> tuple[str, ...]:
    """The annotator in question and up to three others, in random order; empty where there is no question.

    The others annotated the item, too, as far as possible: annotators of other items write about other topics.
    """
    if annotator not in annotators:
        return ()
    rng = seeded("candidates", task.name, seed, item, annotator)
    others = [a for a in annotators if a != annotator]
    order = sorted(rng.permutation(len(others)).tolist(), key=lambda i: (item, others[i]) not in task.by_pair)
    names = [annotator, *(others[i] for i in sorted(order[: MAX_CANDIDATES - 1]))]
    return tuple(names[i] for i in rng.permutation(len(names)))


class _LetterBalance:
    """Which letter is right: all equally often, and for each annotator as nearly as that allows.

    Letters are assigned to every question of the split, whether or not a system answered it.
    """

    def __init__(self, task: Task, split: str, seed: int) -> None:
        self._seed = (task.name, split, seed)
        self._used: Counter[tuple[int, int]] = Counter()
        self._own: Counter[tuple[int, str, int]] = Counter()

    def next(self, item: str, annotator: str, letters: int) -> int:
        """One of the positions used least so far, among these one used least for the annotator, then by seed."""
        order = seeded("letters", *self._seed, item, annotator).permutation(letters)
        position = int(min(order, key=lambda p: (self._used[letters, p], self._own[letters, annotator, p])))
        self._used[letters, position] += 1
        self._own[letters, annotator, position] += 1
        return position


class _References:
    """Train annotations, never of the item in question nor of one that shares an input text with it."""

    def __init__(self, task: Task, shots: int, seed: int, view: str) -> None:
        self.task, self.shots, self.seed = task, shots, seed
        ids = list(task.items)
        self._cluster = {ids[i]: n for n, group in enumerate(clusters(list(task.items.values()))) for i in group}
        self._train: dict[str, list[Annotation]] = {a: [] for a in task.scored_annotators}
        for record in task.records_of("train"):
            if record.annotator in self._train:
                self._train[record.annotator].append(_in_view(record, view))
        self._near = {(self._cluster[r.item], a) for a, own in self._train.items() for r in own}
        self._clusters = {cluster for cluster, _ in self._near}
        self._everybody = tuple(a for a, own in self._train.items() if own)

    def annotators(self, item: str) -> tuple[str, ...]:
        """The annotators with a reference to show beside this item, in the task's order."""
        # most test items share no text with train: with many annotators this saves most of the time
        if self._cluster[item] not in self._clusters:
            return self._everybody
        return tuple(a for a in self._train if self._usable(item, a))

    def of(self, item: str, annotator: str) -> tuple[Annotation, ...]:
        """References of a candidate. They do not depend on who is in question, so they cannot give the writer away."""
        own = self._usable(item, annotator)
        order = seeded("references", self.task.name, self.seed, item, annotator).permutation(len(own))
        return tuple(own[i] for i in order[: self.shots])

    def _usable(self, item: str, annotator: str) -> list[Annotation]:
        if (self._cluster[item], annotator) not in self._near:
            return self._train[annotator]
        return [r for r in self._train[annotator] if self._cluster[r.item] != self._cluster[item]]


def _in_view(record: Annotation, view: str) -> Annotation:
    """The annotation with its text in the view, without control characters and lone surrogates."""
    return replace(record, explanation=legible(in_view(record.explanation, view)))


def _nonce(task: Task, question: AttributionQuestion, seed: int) -> str:
    """A code that delimits the answer: the first of a series of hashes that no text of the prompt contains.

    The answer is hashed, too: a text that is changed to hold its code gets another one. The same question has the same
    code in every run.
    """
    texts = [question.answer.explanation, str(question.answer.label), *question.item.text.values()]
    texts += [r.explanation for own in question.references for r in own]
    texts += [t for own in question.references for r in own for t in task.items[r.item].text.values()]
    prompt = "\n".join(texts).casefold()
    whole = dump_line([task.name, seed, *question.key, question.view, texts])
    codes = (sha256_text(f"{attempt} {whole}")[:NONCE_DIGITS] for attempt in itertools.count())
    return next(code for code in codes if code not in prompt)
