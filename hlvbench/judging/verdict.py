"""A judge's replies -> accuracy, confusion, letters: one set of answers, then a system beside people and the floor."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from .. import __version__
from ..bootstrap import Draws, every_item_once, interval
from ..errors import DataError, all_problems
from ..io import sha256_text
from ..metrics import Estimate, Metric, Signature
from ..metrics.attribution import Verdicts
from ..types import Generation, Pair, Task
from .judges import queries
from .questions import LETTERS, Question, Questionnaire
from .reply import read_letter

Key = tuple[str, str, int]
DECIMALS = 6


@dataclass(frozen=True, eq=False)
class Judged:
    """One set of answers with the annotator that the judge named in every question, None where it is unreadable."""

    task: Task
    asked: Questionnaire
    named: Mapping[Key, str | None]
    blame: bool = False
    """Whether an unreadable reply is wrong: where judges are ranked it is theirs; a system is not blamed for it."""

    @cached_property
    def verdicts(self) -> Verdicts:
        """Items and annotators in the task's order, whatever was answered."""
        hits: dict[Pair, list[float]] = {}
        for question in self.asked.asked:
            name = self.named[question.key]
            hits.setdefault(question.pair, [])
            if name is not None or self.blame:
                hits[question.pair].append(float(name == question.annotator))
        for item, annotator, _sample in self.asked.missing:
            hits.setdefault((item, annotator), []).append(0.0)
        names = self.task.scored_annotators
        present = {item for item, _ in hits}
        items = tuple(item for id_, item in self.task.items.items() if id_ in present)
        place = {item.id: n for n, item in enumerate(items)}
        right = np.full((len(items), len(names)), np.nan)
        for (item, annotator), found in hits.items():
            if found:
                right[place[item], names.index(annotator)] = np.mean(found)
        return Verdicts(items, names, right)

    @cached_property
    def unreadable(self) -> int:
        return sum(name is None for name in self.named.values())

    @cached_property
    def chance(self) -> float | None:
        """The mean over the questions of 1 / the number of candidates."""
        return _number(float(np.mean([1 / len(q.candidates) for q in self.asked.asked]))) if self.asked.asked else None

    def confusion(self) -> list[list[int]]:
        """(K, K + 1): whose answer it is asked as in rows, who is named in columns, the last for unreadable replies."""
        names = list(self.task.scored_annotators)
        table = [[0] * (len(names) + 1) for _ in names]
        for question in self.asked.asked:
            name = self.named[question.key]
            table[names.index(question.annotator)][len(names) if name is None else names.index(name)] += 1
        return table

    def letters(self) -> dict[str, dict[str, int]]:
        """How often each letter was said and how often it was right: a judge with a favourite shows here."""
        said = Counter(_letter(q, name) for q in self.asked.asked if (name := self.named[q.key]) is not None)
        right = Counter(q.right for q in self.asked.asked)
        offered = LETTERS[: max((len(q.candidates) for q in self.asked.asked), default=0)]
        return {"said": {x: said[x] for x in offered}, "right": {x: right[x] for x in offered}}


def _letter(question: Question, name: str) -> str:
    return LETTERS[question.candidates.index(name)]


def judged(task: Task, asked: Questionnaire, rows: Sequence[Generation], *, blame: bool = False) -> Judged:
    """The replies read; rows that do not belong to exactly these questions are a DataError."""
    replies = {(r.item, r.annotator, r.sample): r for r in rows}
    problems = [f"{len(rows) - len(replies)} rows stand twice"] if len(replies) < len(rows) else []
    prompts = {(q.item, q.annotator, q.sample): q.content for q in queries(task, asked.asked)}
    problems += [
        f"item {i}, annotator {a}, number {n}: no reply" for i, a, n in sorted(prompts.keys() - replies.keys())
    ]
    problems += [
        f"item {i}, annotator {a}, number {n}: not asked" for i, a, n in sorted(replies.keys() - prompts.keys())
    ]
    problems += [
        f"item {key[0]}, annotator {key[1]}, number {key[2]}: a reply to another question (other answers or data)"
        for key, row in replies.items() if key in prompts and row.prompt_sha256 != sha256_text(prompts[key])
    ]  # fmt: skip
    if problems:
        raise DataError(all_problems(f"{task.name}: the judge's replies do not fit the answers", problems, most=10))
    named: dict[Key, str | None] = {}
    for question in asked.asked:
        letter = read_letter(replies[question.key].text, question.letters, task)
        named[question.key] = None if letter is None else question.candidates[LETTERS.index(letter)]
    return Judged(task, asked, named, blame)


@dataclass(frozen=True)
class Line:
    """An accuracy with its interval, of all annotators or of one; None where nothing was asked."""

    value: float | None
    low: float | None
    high: float | None
    n: int

    def beats(self, chance: float | None) -> bool:
        """Whether the whole interval lies above chance."""
        return self.low is not None and chance is not None and self.low > chance


def lines(found: Judged, metric: Metric, draws: Draws) -> tuple[Line, list[Line]]:
    """The accuracy over all annotators, and of each."""
    once: Estimate = metric.spec.function(found.verdicts, every_item_once(len(found.verdicts.items)),
                                          **dict(metric.arguments))  # fmt: skip
    spread: Estimate = metric.spec.function(found.verdicts, draws, **dict(metric.arguments))
    assert once.by_annotator is not None
    assert spread.by_annotator is not None
    each = [
        _line(float(once.by_annotator[0, k]), spread.by_annotator[:, k], n, draws)
        for k, n in enumerate(found.verdicts.counts)
    ]  # fmt: skip
    return _line(float(once.overall[0]), spread.overall, once.n, draws), each


def _line(value: float, replicates: np.ndarray, n: int, draws: Draws) -> Line:
    span = None if draws.lack else interval(value, replicates, (0.0, 1.0))
    low, high = (span.low, span.high) if span else (math.nan, math.nan)
    return Line(_number(value), _number(low), _number(high), n)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, DECIMALS) + 0.0


def signature(metric: Metric, task: Task, missing: int, seed: int, boot: int, split: str, limit: int | None,
              samples: int) -> str:  # fmt: skip
    """Derived from the bound metric and its conditions, as every other number's."""
    return str(Signature(
        metric, f"{task.name}@{task.version}", missing, __version__, seed, boot, split, limit, samples
    ))  # fmt: skip


def document(
    system: Judged, people: Judged, blind: Judged, metric: Metric, draws: Draws, head: Mapping[str, Any]
) -> dict[str, Any]:
    """What `<judge>.json` holds. A judge that is not above chance on people has no verdict on systems: its values are
    null, and the note says why; the letters stay, for they tell of the judge."""
    (own, each), (ceiling, ceilings), (floor, floors) = (lines(j, metric, draws) for j in (system, people, blind))
    licensed = ceiling.beats(people.chance)
    note = ""
    if not licensed:
        had = f"{_shown(ceiling)}, not above chance ({people.chance})" if ceiling.n else "no readable reply"
        had = f"{_shown(ceiling)} and {draws.lack}" if ceiling.n and draws.lack else had
        note = f"withheld: on people's own texts this judge has {had}"
    elif system.unreadable:
        worst, _ = lines(replace(system, blame=True), metric, every_item_once(len(system.verdicts.items)))
        note = f"{system.unreadable} unreadable replies are left out; {worst.value} if all of them were wrong"
    given = own if licensed else Line(None, None, None, own.n)
    each = each if licensed else [Line(None, None, None, line.n) for line in each]
    return {
        **head,
        "chance": people.chance,
        "accuracy": given.value,
        "low": given.low,
        "high": given.high,
        "n": own.n,
        "ceiling": ceiling.value,
        "floor": floor.value,
        "licensed": licensed,
        "note": note,
        "missing": len(system.asked.missing),
        "unreadable": system.unreadable,
        "left_out": len(system.asked.left_out),
        "cut": system.asked.cut,
        "annotators": [
            {"annotator": a, **vars(line), "ceiling": top.value, "floor": bottom.value}
            for a, line, top, bottom in zip(system.task.scored_annotators, each, ceilings, floors, strict=True)
        ],
        "confusion": system.confusion() if licensed else None,
        "letters": system.letters(),
        "people": {**vars(ceiling), "unreadable": people.unreadable, "letters": people.letters(),
                   "confusion": people.confusion()},
        "blind": {**vars(floor), "unreadable": blind.unreadable, "letters": blind.letters()},
    }  # fmt: skip


def _shown(line: Line) -> str:
    span = "" if line.low is None else f" [{line.low:.3f}, {line.high:.3f}]"
    return "none" if line.value is None else f"{line.value:.3f}{span}"
