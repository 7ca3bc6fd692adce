"""A judge's replies -> accuracy, confusion and letters of one set of answers; a system beside humans and blind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from .. import __version__
from ..bootstrap import REPLICATES, item_draws
from ..errors import DataError, all_problems
from ..io import sha256_text
from ..metrics import Metric, Signature
from ..metrics.attribution import Verdicts
from ..metrics.krippendorff import krippendorff_alpha
from ..results.answer_rows import rounded
from ..results.score_report import Score
from ..results.scorecard import score_rows
from ..types import Generation, Pair, Task
from .judge_prompt import queries, read_letter
from .questions import LETTERS, Questionnaire

Key = tuple[str, str, int]


@dataclass(frozen=True, eq=False)
class Judged:
    """One set of answers with the annotator that the judge named in every question, None if the reply is unreadable.

    unreadable_is_wrong: True where judges are ranked; False where systems are, which are not to blame for it.
    """

    task: Task
    questionnaire: Questionnaire
    named: Mapping[Key, str | None]
    unreadable_is_wrong: bool = False

    @cached_property
    def verdicts(self) -> Verdicts:
        """Items and annotators in the task's order, whatever was answered."""
        hits: dict[Pair, dict[int, list[float]]] = {}
        for question in self.questionnaire.questions:
            name = self.named[question.key]
            own = hits.setdefault(question.pair, {}).setdefault(question.sample, [])
            if name is not None or self.unreadable_is_wrong:
                own.append(float(name == question.annotator))
        for item, annotator, sample in self.questionnaire.missing:
            hits.setdefault((item, annotator), {})[sample] = [0.0]
        names = self.task.scored_annotators
        present = {item for item, _ in hits}
        items = tuple(item for id_, item in self.task.items.items() if id_ in present)
        row = {item.id: n for n, item in enumerate(items)}
        right = np.full((len(items), len(names)), np.nan)
        for (item, annotator), samples in hits.items():
            if means := [np.mean(orders) for orders in samples.values() if orders]:
                right[row[item], names.index(annotator)] = np.mean(means)
        return Verdicts(items, names, right)

    @cached_property
    def unreadable(self) -> int:
        """Number of unreadable replies."""
        return sum(name is None for name in self.named.values())

    @cached_property
    def chance(self) -> float | None:
        """Mean over the questions of 1 / the number of candidates."""
        sizes = [len(question.candidates) for question in self.questionnaire.questions]
        return rounded(float(np.mean([1 / size for size in sizes]))) if sizes else None

    def confusion(self) -> list[list[int]]:
        """(K, K + 1) counts: the annotator in question in rows, the one named in columns, unreadable replies last."""
        names = list(self.task.scored_annotators)
        table = [[0] * (len(names) + 1) for _ in names]
        for question in self.questionnaire.questions:
            name = self.named[question.key]
            table[names.index(question.annotator)][len(names) if name is None else names.index(name)] += 1
        return table

    def letters(self) -> dict[str, dict[str, int]]:
        """How often each letter was named and was right: a judge that prefers a letter shows here."""
        questions = self.questionnaire.questions
        named, right = Counter[str](), Counter(question.right for question in questions)
        for question in questions:
            if (name := self.named[question.key]) is not None:
                named[LETTERS[question.candidates.index(name)]] += 1
        offered = LETTERS[: max((len(question.candidates) for question in questions), default=0)]
        return {"named": {x: named[x] for x in offered}, "right": {x: right[x] for x in offered}}


def read_replies(
    task: Task, questionnaire: Questionnaire, rows: Sequence[Generation], *, unreadable_is_wrong: bool = False
) -> Judged:
    """The annotators that replies name.

    Raises:
        DataError: the rows do not belong to exactly these questions; every problem is listed.
    """
    replies = {(r.item, r.annotator, r.sample): r for r in rows}
    prompts = {(q.item, q.annotator, q.sample): q.content for q in queries(task, questionnaire.questions)}
    problems = [f"{len(rows) - len(replies)} rows occur twice"] if len(replies) < len(rows) else []
    for keys, what in (
        (prompts.keys() - replies.keys(), "no reply"),
        (replies.keys() - prompts.keys(), "no such question"),
        (
            {k for k in prompts.keys() & replies.keys() if replies[k].prompt_sha256 != sha256_text(prompts[k])},
            "a reply to another question (other answers or data)",
        ),
    ):
        problems += [f"item {item}, annotator {annotator}, number {n}: {what}" for item, annotator, n in sorted(keys)]
    if problems:
        raise DataError(all_problems(f"{task.name}: the judge's replies do not fit the answers", problems, most=10))
    named: dict[Key, str | None] = {}
    for question in questionnaire.questions:
        letter = read_letter(replies[question.key].text, question.letters, task)
        named[question.key] = None if letter is None else question.candidates[LETTERS.index(letter)]
    return Judged(task, questionnaire, named, unreadable_is_wrong)


def accuracies(
    judged: Judged,
    metric: Metric,
    split: str,
    *,
    limit: int | None = None,
    seed: int = 0,
    replicates: int = REPLICATES,
    samples: int = 1,
) -> list[Score]:
    """The accuracy over all annotators, then of each, with intervals over items; the floor is chance.

    Args:
        metric: the metric `attribution`, bound to the judge's conditions.
        limit: as `seed`, `replicates` and `samples` part of the signature.
        samples: sample indexes of the system.
    """
    version = f"{judged.task.name}@{judged.task.version}"
    missing = judged.unreadable if judged.unreadable_is_wrong else len(judged.questionnaire.missing)
    signature = str(Signature(metric, version, missing, __version__, seed, replicates, split, limit, samples))
    draws = item_draws(judged.verdicts.items, version, split, seed, replicates)
    rows, _ = score_rows(metric, [judged.verdicts], draws, signature)
    return [score.model_copy(update={"floor": judged.chance}) for score in rows]


def judge_report(
    sets: Mapping[str, Judged], metric: Metric, split: str, head: Mapping[str, Any], **conditions: Any
) -> dict[str, Any]:
    """The content of `<judge>.json`.

    A judge that is not above chance on human texts fails the validity check (`valid` is false): its values for the
    system are null, and the note says why; the letters stay, since they describe the judge.

    Args:
        sets: the judged answers of "system", "human" and "blind".
        head: fields that come first: task, split, system, judge.
        conditions: of `accuracies`.
    """
    system, human, blind = sets["system"], sets["human"], sets["blind"]
    own, ceilings, floors = (accuracies(judged, metric, split, **conditions) for judged in (system, human, blind))
    ceiling = ceilings[0]
    valid = ceiling.low is not None and human.chance is not None and ceiling.low > human.chance
    note = ""
    if not valid:
        result = "no readable reply"
        if ceiling.n:
            why = f" and {ceiling.note}" if ceiling.note else f", not above chance ({human.chance})"
            result = f"{ceiling}{why}"
        note = f"withheld: the judge validity check fails: on human texts this judge has {result}"
    elif system.unreadable:
        worst = accuracies(replace(system, unreadable_is_wrong=True), metric, split, **conditions)[0]
        note = f"{system.unreadable} unreadable replies are left out; {worst.value} if all of them were wrong"
    if not valid:
        own = [score.model_copy(update={"value": None, "low": None, "high": None}) for score in own]
    overall, *each = own
    return {
        **head,
        "signature": overall.signature,
        "chance": human.chance,
        "accuracy": overall.value,
        "low": overall.low,
        "high": overall.high,
        "n": overall.n,
        "ceiling": ceiling.value,
        "floor": floors[0].value,
        "valid": valid,
        "note": note,
        "missing": len(system.questionnaire.missing),
        "unreadable": system.unreadable,
        "left_out": len(system.questionnaire.left_out),
        "cut": system.questionnaire.cut,
        "annotators": [
            {"annotator": s.annotator, **_numbers(s), "ceiling": top.value, "floor": bottom.value}
            for s, top, bottom in zip(each, ceilings[1:], floors[1:], strict=True)
        ],
        "confusion": system.confusion() if valid else None,
        "letters": system.letters(),
        "human": {
            **_numbers(ceiling),
            "unreadable": human.unreadable,
            "letters": human.letters(),
            "confusion": human.confusion(),
        },
        "blind": {**_numbers(floors[0]), "unreadable": blind.unreadable, "letters": blind.letters()},
    }


def _numbers(score: Score) -> dict[str, Any]:
    return score.model_dump(include={"value", "low", "high", "n"})


def judge_alpha(judges: Sequence[Judged]) -> float | None:
    """Krippendorff's alpha (nominal) of several judges over the annotators named in the balanced order.

    An unreadable reply is a missing code. None where alpha is undefined.
    """
    names = judges[0].task.scored_annotators
    codes = [
        {
            (q.item.id, q.annotator, q.sample): names.index(name)
            for q in judged.questionnaire.questions
            if q.order == 0 and (name := judged.named[q.key]) is not None
        }
        for judged in judges
    ]
    units = sorted({unit for own in codes for unit in own})
    table = np.array([[own.get(unit, -1) for own in codes] for unit in units], dtype=int).reshape(-1, len(codes))
    return rounded(float(krippendorff_alpha(table)[0]))
