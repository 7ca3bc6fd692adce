"""Who wrote it? The attribution questions (docs/metrics.md section 8) in other harnesses, and their scores."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from ..judging.questions import AttributionQuestion, Questionnaire, attribution_questions
from ..judging.verdict import Judged, accuracies
from ..metrics import bind
from ..types import Pair
from .harness import task_of

NUMBERS = ("attribution", "attribution_low", "attribution_high", "chance", "unreadable")
WRONG = ""
"""Named in place of an annotator where there is no answer to judge."""
Named = tuple[tuple[str, str, int, str | None], ...]
"""(item, annotator, sample, the annotator that the judge named; None where its reply is unreadable)."""


@lru_cache(maxsize=8)
def human_questions(place: str, split: str) -> dict[Pair, AttributionQuestion]:
    """The questions about the humans' own answers (the priority annotations), in question order."""
    task = task_of(place)
    people = {pair: task.human(pair) for pair in task.questions(split)}
    return {question.pair: question for question in attribution_questions(task, split, people).questions}


@lru_cache(maxsize=8)
def attribution_numbers(place: str, split: str, named: Named, blame: bool) -> dict[str, float | None]:
    """Accuracy with its interval, chance, and the number of unreadable replies, on the questions that are named.

    blame: whether an unreadable reply is wrong (where judges are ranked) or left out (where systems are).
    """
    task, asked = task_of(place), human_questions(place, split)
    # the same layout for every system: the questions about humans stand for those about its answers
    questions = {(i, a, s): replace(asked[i, a], sample=s) for i, a, s, _ in named}
    names = {questions[i, a, s].key: name for i, a, s, name in named}
    found = Judged(task, Questionnaire(tuple(questions.values()), (), (), 0), names, blame)
    overall = accuracies(found, bind("attribution"), split)[0]
    return dict(zip(
        NUMBERS, (overall.value, overall.low, overall.high, found.chance, float(found.unreadable)), strict=True
    ))  # fmt: skip
