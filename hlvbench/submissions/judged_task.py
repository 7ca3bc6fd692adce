"""What judges found, held against their replies: `<judge>.json` is made again from them and compared."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import HlvbenchError
from ..io import write_atomic
from ..judging.judge_run import FOLDER, JudgedTask, judges_of, recomputed
from ..judging.judge_settings import STYLOMETRIC
from ..results.score_check import EQUAL
from ..results.scorecard import answers_of
from ..types import Generation, Task
from . import safe_reading as intake
from .findings import Findings
from .folder import Submission, is_summary

_ENDS = ("accuracy", "low", "high", "ceiling", "floor")
_COUNTS = ("n", "unreadable")


def check_judges(
    submission: Submission, task: str, loaded: Task | str, rows: Sequence[Generation], findings: Findings
) -> None:
    """Compare every summary of a task's judges with one made from the replies beside it."""
    names = [name for name in submission.card["files"] if is_summary(name, task)]
    if names and not isinstance(loaded, Task):
        findings.warn(f"{task}/{FOLDER}", f"not made again from the replies: {loaded}")
    if not names or not isinstance(loaded, Task):
        return
    with tempfile.TemporaryDirectory() as scratch:
        # a copy: judges write beside their replies
        for name in (n for n in submission.card["files"] if n.startswith(f"{task}/{FOLDER}/")):
            write_atomic(Path(scratch) / name, intake.read_bytes(submission.folder / name, submission.scale))
        system = str(submission.settings["model"])
        subject = JudgedTask(loaded, Path(scratch), system, "test", None, answers_of(loaded, rows, "test", None))
        made = _made_again(subject, findings)
        for path in subject.folder.glob(f"{STYLOMETRIC}*.jsonl"):
            name = f"{task}/{FOLDER}/{path.name}"
            given = submission.folder / name
            if name in submission.card["files"] and path.read_bytes() != intake.read_bytes(given, submission.scale):
                findings.error(name, "is not what the stylometric judge replies")
    for name in names:
        given, fresh = intake.read_json(submission.folder / name), made.get(Path(name).name)
        if fresh is None:
            findings.error(name, "its replies are not here, or do not fit: NAME.jsonl and NAME.plan.json, the same for "
                           "NAME.people and NAME.blind, as hlvbench judge leaves them")  # fmt: skip
        elif problems := _differences(given, fresh):
            findings.error(name, "; ".join(problems))
        else:
            findings.ok(name, "follows from its replies")


def _made_again(subject: JudgedTask, findings: Findings) -> dict[str, Mapping[str, Any]]:
    """File name -> summary, of every judge whose replies to all three sets of answers are there."""
    made: dict[str, Mapping[str, Any]] = {}
    try:
        for settings in list(judges_of(subject.folder)):
            made[f"{settings.stem()}.json"] = recomputed(subject, settings)
    except HlvbenchError as error:
        findings.error(f"{subject.task.name}/{FOLDER}", str(error))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        findings.error(f"{subject.task.name}/{FOLDER}", f"a plan that no judge wrote: {type(error).__name__}")
    return made


def _differences(given: Mapping[str, Any], fresh: Mapping[str, Any]) -> list[str]:
    problems = [f"{k} is {given.get(k)}, from the replies {fresh[k]}" for k in _COUNTS if given.get(k) != fresh[k]]
    for key in _ENDS:
        mine, other = given.get(key), fresh[key]
        if (mine is None) != (other is None) or (mine is not None and abs(mine - other) > EQUAL):
            problems.append(f"{key} is {mine}, from the replies {other}")
    return problems + [f"judge is {given['judge']!r:.60}, not {fresh['judge']!r}"] * (given["judge"] != fresh["judge"])
