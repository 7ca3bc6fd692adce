"""`run --task NAME/attribution`: the questions about human test answers, as a task that ranks judges.

The labels are the annotators, the judge is the model. The conditions are those of docs/metrics.md section 8 and fixed:
five references, nothing else shown, one balanced order. An unreadable reply counts as wrong.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from ..bootstrap import REPLICATES
from ..data.task import load_tasks
from ..errors import RunError, UsageError, all_problems
from ..generation.generate import answer_queries
from ..generation.journal import AnswerFiles
from ..generation.run import begun, claim, write_manifest
from ..io import dump_json, dump_line, read_document, read_generations, write_atomic
from ..results.score_report import Score
from ..settings import SETTINGS, Service, Settings, read_settings, slug
from ..types import Task
from .judge_models import Judge
from .judge_prompt import queries
from .judge_run import human_answers, metric_of
from .judge_settings import OF_A_RUN, STYLOMETRIC, JudgeSettings, judge_settings, refuse_options_of_models
from .questions import Questionnaire, attribution_questions
from .verdict import Judged, accuracies, read_replies

SUFFIX = "/attribution"
_NAMES = {f.name for f in fields(Settings)}


class Letters(TypedDict):
    """How often each letter was named, and was the right one."""

    named: dict[str, int]
    right: dict[str, int]


class Ranking(TypedDict):
    """What is read again of the scores.json of a task that ranks judges."""

    task: str
    system: str
    missing: int
    scores: list[Score]
    letters: Letters


def ranks_judges(names: Sequence[str]) -> bool:
    """Whether these are tasks that rank judges; a UsageError where they are mixed with others."""
    ranking = [name.endswith(SUFFIX) for name in names]
    if any(ranking) and not all(ranking):
        raise UsageError(
            f"--task {','.join(names)}: tasks that rank judges (NAME{SUFFIX}) and tasks that do not take one run each"
        )
    return any(ranking)


def is_ranking(folder: Path) -> bool:
    """Whether a folder holds a run that ranks a judge."""
    return (folder / SETTINGS).is_file() and ranks_judges(read_settings(folder)["task"])


def rank_judge(
    settings: Settings,
    *,
    out: Path | None = None,
    data_dir: Path | None = None,
    tasks_dir: Path | None = None,
    service: Service | None = None,
    batch_size: int | str = "auto",
    resume: bool = True,
    quiet: bool = False,
    command: Sequence[str] = (),
    replicates: int = REPLICATES,
) -> Path:
    """Ask the judge and score its replies.

    Returns:
        The run folder; RUN/<task>/attribution/ holds each task's files.
    """
    settings.check()
    judge = _judge_settings(settings)
    refuse_options_of_models(judge)
    folder = out or Path("runs") / f"{slug(judge.shown_name)}-attribution-{settings.folder().rsplit('-', 1)[1]}"
    started = time.time()
    tasks = _tasks(settings.task, data_dir, tasks_dir)
    claim(folder, settings)
    model = Judge(judge, tasks, service)
    facts = {}
    how: dict[str, Any] = {"batch_size": batch_size, "settings": judge.recorded(), "resume": resume, "quiet": quiet}
    with begun(folder, settings, resume):
        for task in tasks:
            questions, name = _questions(task, settings, judge).questions, task.name + SUFFIX
            about = {"task": name, "version": task.version, "split": settings.split, "limit": settings.limit}
            own = model.model(task, settings.split, questions)
            result = answer_queries(own, queries(task, questions), _place(folder, task).out, about, **how)
            facts[name] = {"data_sha256": dict(task.data_sha256), "model": own.describe(), **result}
    write_manifest(folder, settings, facts, command, time.time() - started)
    return score_ranking(folder, data_dir=data_dir, tasks_dir=tasks_dir, replicates=replicates)


def score_ranking(
    folder: Path, *, data_dir: Path | None = None, tasks_dir: Path | None = None, replicates: int = REPLICATES
) -> Path:
    """(Re-)score the replies of a run that ranks a judge; no model is needed."""
    settings = Settings(**{k: v for k, v in read_settings(folder).items() if k in _NAMES})
    judge = _judge_settings(settings)
    for task in _tasks(settings.task, data_dir, tasks_dir):
        place = _place(folder, task)
        if not place.finished.exists():
            raise RunError(f"{folder}: {task.name}{SUFFIX} is unfinished; the command that began it continues it")
        questions = _questions(task, settings, judge)
        judged = read_replies(task, questions, read_generations(place.finished), unreadable_is_wrong=True)
        rows = [
            {
                "item": q.item.id,
                "annotator": q.annotator,
                "candidates": list(q.candidates),
                "named": judged.named[q.key],
                "correct": float(judged.named[q.key] == q.annotator),
            }
            for q in questions.questions
        ]
        write_atomic(place.out / "answers.jsonl", "".join(map(dump_line, rows)))
        described = place.read_plan()["model"]
        write_atomic(place.out / "scores.json", dump_json(_scores(judged, settings, judge, described, replicates)))
    return folder


def read_rankings(folder: Path) -> list[Ranking]:
    """The scores.json documents of a run that ranks a judge, in the order of its tasks."""
    return [read_document(folder / name / "scores.json", Ranking) for name in read_settings(folder)["task"]]


def _place(folder: Path, task: Task) -> AnswerFiles:
    return AnswerFiles(folder / (task.name + SUFFIX))


def _tasks(names: Sequence[str], data_dir: Path | None, tasks_dir: Path | None) -> tuple[Task, ...]:
    return load_tasks([name.removesuffix(SUFFIX) for name in names], data_dir, tasks_dir)


def _questions(task: Task, settings: Settings, judge: JudgeSettings) -> Questionnaire:
    answers = human_answers(task, settings.split, settings.limit)
    return attribution_questions(task, settings.split, answers, limit=settings.limit, **judge.conditions)


def _judge_settings(settings: Settings) -> JudgeSettings:
    """The judge that a run's settings name; a UsageError lists the options that do not apply to a judge."""
    default, taken = Settings(""), {"model", "task", "split", "limit", *OF_A_RUN}
    unused = [
        f"--{name.replace('_', '-')}: a judge is asked as docs/metrics.md §8 says, whatever the prompts of answers"
        for name in sorted(_NAMES - taken)
        if getattr(settings, name) != getattr(default, name)
    ]
    if unused:
        raise UsageError(all_problems(f"--task NAME{SUFFIX} does not take these options:", unused))
    if settings.model.startswith("reference:"):
        raise UsageError(
            f"--model {settings.model}: a reference system answers as an annotator and attributes nothing; to rank a "
            f"judge take {STYLOMETRIC}, a path or hub id, or endpoint:MODEL"
        )
    return judge_settings(judge=settings.model, **{name: getattr(settings, name) for name in OF_A_RUN})


def _scores(
    judged: Judged, settings: Settings, judge: JudgeSettings, described: dict[str, Any], replicates: int
) -> dict[str, Any]:
    task, split = judged.task, settings.split
    metric = metric_of(task, split, judge, described)
    scores = accuracies(judged, metric, split, limit=settings.limit, seed=judge.seed, replicates=replicates)
    return {
        "task": f"{task.name}{SUFFIX}@{task.version}",
        "split": split,
        "system": judge.shown_name,
        "questions": len(judged.questionnaire.questions),
        "missing": judged.unreadable,
        "left_out": len(judged.questionnaire.left_out),
        "scores": [score.model_dump() for score in scores],
        "confusion": {"annotators": list(task.scored_annotators), "counts": judged.confusion()},
        "letters": judged.letters(),
    }
