"""Numbers made again from raw text: a recipe's answers, a scores.json, the results of judges."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..baselines.baseline_registry import find_baseline, generations
from ..baselines.knowledge import Knowledge
from ..errors import HlvbenchError
from ..io import sha256_text, write_atomic
from ..judging.judge_run import FOLDER, JudgedTask, judges_of, recomputed
from ..judging.judge_settings import STYLOMETRIC
from ..metrics.predictions import Embedder
from ..prompting.prompt import Prompter
from ..results.score_check import EQUAL
from ..results.score_report import ScoreReport
from ..results.scorecard import answers_of
from ..types import Generation, Task
from .folder import Findings, Submission, is_judge_result
from .safe_reading import read_untrusted

_COMPARED = set("task questions samples missing missing_reasons without_explanation thought skipped".split())
_COMPARED |= {"unscored_annotators", "majority", "details"}
"""Keys of a scores.json that scoring again must give, beside scores and replicates."""
_SCORE = ("value", "low", "high", "floor", "ceiling", "n", "note")
_JUDGED = ("judge", "n", "unreadable", "accuracy", "low", "high", "ceiling", "floor")


@dataclass(frozen=True)
class Comparison:
    """The largest absolute difference of two numbers, the name of that number, and everything that is not equal."""

    largest: float
    whose: str
    problems: tuple[str, ...]


def regenerate(recipe: str, task: Task, embedder: Embedder, seed: int = 0) -> list[Generation]:
    """The answers of `reference:NAME` or `attack:NAME` to the test split, as `hlvbench run` writes them."""
    task = task.asking()
    prompter, known = Prompter(task), Knowledge(task, "test", embedder, seed)
    return [
        replace(row, prompt_sha256=sha256_text(prompter.content(row.item, row.annotator)))
        for row in generations(find_baseline(recipe), known)
    ]


def compare_reports(submitted: ScoreReport, rescored: ScoreReport) -> Comparison:
    """A submitted scores.json against one made from its raw answers; numbers within EQUAL are equal."""
    return _compared(dict(_leaves(submitted)), dict(_leaves(rescored)), "re-scored")


def _compared(here: Mapping[str, Any], there: Mapping[str, Any], how: str) -> Comparison:
    problems, largest, whose = list[str](), 0.0, ""
    for name in dict.fromkeys([*here, *there]):
        mine, other = here.get(name, "absent"), there.get(name, "absent")
        if isinstance(mine, int | float) and isinstance(other, int | float):
            gap = abs(mine - other)
            if gap > largest:
                largest, whose = gap, name
            if gap <= EQUAL:
                continue
        elif mine == other:
            continue
        problems.append(f"{name} is {mine!r:.80}, {how} {other!r:.80}")
    return Comparison(largest, whose, tuple(problems))


def _leaves(report: ScoreReport) -> Iterator[tuple[str, Any]]:
    """(name, value) of everything in a scores.json that scoring again must give."""
    for score in report.scores:
        whose = score.name if score.annotator is None else f"{score.name}, {score.annotator}"
        yield from ((f"{whose}: {key}", getattr(score, key)) for key in _SCORE)
    for key, value in report.model_dump(include=_COMPARED).items():
        yield from _flat(key, value)
    for name, kept in report.replicates.values.items():
        values = enumerate(kept.values.tolist())
        yield from ((f"replicates of {name}[{number}]", None if math.isnan(v) else v) for number, v in values)


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every plain value within nested lists and objects; empty ones count as values."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    elif isinstance(value, list) and value:
        for position, inner in enumerate(value):
            yield from _flat(f"{name}[{position}]", inner)
    else:
        yield name, value


def check_judges(submission: Submission, task: Task, rows: Sequence[Generation], findings: Findings) -> None:
    """Compare the result of every judge of a task with one made from the replies beside it."""
    names = [name for name in submission.card.files if is_judge_result(name, task.name)]
    if not names:
        return
    with tempfile.TemporaryDirectory() as scratch:
        # a copy: judges write beside their replies
        for name in (n for n in submission.card.files if n.startswith(f"{task.name}/{FOLDER}/")):
            write_atomic(Path(scratch) / name, (submission.folder / name).read_bytes())
        system = str(submission.settings["model"])
        judged = JudgedTask(task, Path(scratch), system, "test", None, answers_of(task, rows, "test", None))
        results = _judged_again(judged, findings)
        for path in judged.folder.glob(f"{STYLOMETRIC}*.jsonl"):
            name = f"{task.name}/{FOLDER}/{path.name}"
            if name in submission.card.files and path.read_bytes() != (submission.folder / name).read_bytes():
                findings.error(name, "is not what the stylometric judge replies")
    for name in names:
        submitted, again = read_untrusted(submission.folder / name), results.get(Path(name).name)
        if again is None:
            replies = "NAME.jsonl and NAME.plan.json, the same for NAME.human and NAME.blind"
            findings.error(name, f"its replies are not here, or do not fit: {replies}")
            continue
        here, there = ({key: result[key] for key in _JUDGED} for result in (submitted, again))
        if problems := _compared(here, there, "from the replies").problems:
            findings.error(name, "; ".join(problems))
        else:
            findings.ok(name, "follows from its replies")


def _judged_again(judged: JudgedTask, findings: Findings) -> dict[str, Mapping[str, Any]]:
    """File name -> result, of every judge whose replies to all three sets of answers are there."""
    results: dict[str, Mapping[str, Any]] = {}
    try:
        for settings in list(judges_of(judged.folder)):
            results[f"{settings.stem()}.json"] = recomputed(judged, settings)
    except HlvbenchError as error:
        # the names of its files, not of their copies
        findings.error(f"{judged.task.name}/{FOLDER}", str(error).replace(f"{judged.folder}/", ""))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        findings.error(f"{judged.task.name}/{FOLDER}", f"a plan that no judge wrote: {type(error).__name__}")
    return results
