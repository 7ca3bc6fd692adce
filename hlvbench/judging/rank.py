"""`run --task NAME/attribution`: the questions about people's own test answers, as a task that ranks judges.

The labels are the annotators, the judge is the model. Conditions are those of docs/metrics.md section 8 and not to be
chosen: five references, nothing else shown, one balanced order. An unreadable reply is the judge's fault and wrong.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from ..bootstrap import REPLICATES, item_draws
from ..data.task import load_tasks
from ..errors import RunError, UsageError, all_problems
from ..generation.generate import collect
from ..generation.journal import AnswerFiles
from ..generation.run import SETTINGS, claim, write_manifest
from ..io import dump_json, dump_line, read_generations, read_json, write_atomic
from ..results.score_report import Score
from ..settings import Service, Settings, slug
from ..types import Task
from .judge_run import metric_of
from .judge_settings import STYLOMETRIC, JudgeSettings
from .judges import Panel, queries
from .questions import Questionnaire, attribution_questions
from .verdict import Judged, Line, judged, lines, signature

SUFFIX = "/attribution"
_TAKEN = ("model", "task", "split", "limit", "seed", "max_new_tokens", "base_url", "revision", "dtype",
          "device", "think", "trust_remote_code", "model_arg")  # fmt: skip
"""The options of a run that say something about a judge."""


def ranks_judges(names: Sequence[str]) -> bool:
    """Whether tasks of this kind are asked for; a UsageError where they are mixed with others."""
    found = [name.endswith(SUFFIX) for name in names]
    if any(found) and not all(found):
        raise UsageError(
            f"--task {','.join(names)}: tasks that rank judges (NAME{SUFFIX}) and tasks that do not take one run each"
        )
    return any(found)


def is_ranking(folder: Path) -> bool:
    """Whether a folder holds a run that ranks a judge."""
    return (folder / SETTINGS).is_file() and ranks_judges(read_json(folder / SETTINGS).get("task") or ())


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
    """Ask the judge, score its replies; returns the run folder, RUN/<task>/attribution/ holding each task's files."""
    judge = _judge_settings(settings)
    folder = out or Path("runs") / f"{slug(judge.shown_name)}-attribution-{settings.folder().rsplit('-', 1)[1]}"
    started = time.time()
    tasks = _tasks(settings.task, data_dir, tasks_dir)
    claim(folder, settings)
    panel = Panel(judge, tasks, service)
    write_atomic(folder / SETTINGS, dump_json(asdict(settings)))
    facts = {}
    for task in tasks:
        asked = _questions(task, settings.split, settings.limit, judge)
        model = panel.judge(task, settings.split, asked.asked)
        about = {"task": task.name + SUFFIX, "version": task.version, "split": settings.split, "limit": settings.limit}
        result = collect(
            model, queries(task, asked.asked), _place(folder, task).out, about, batch_size=batch_size,
            settings=judge.recorded(), resume=resume, quiet=quiet,
        )  # fmt: skip
        facts[task.name + SUFFIX] = {"data_sha256": dict(task.data_sha256), "model": model.describe(), **result}
    write_manifest(folder, settings, facts, command, time.time() - started)
    return score_ranking(folder, data_dir=data_dir, tasks_dir=tasks_dir, replicates=replicates)


def score_ranking(
    folder: Path, *, data_dir: Path | None = None, tasks_dir: Path | None = None, replicates: int = REPLICATES
) -> Path:
    """(Re-)score the replies of a run that ranks a judge; no model needed."""
    settings = Settings(**{k: v for k, v in read_json(folder / SETTINGS).items() if k in _NAMES})
    judge = _judge_settings(settings)
    for task in _tasks(settings.task, data_dir, tasks_dir):
        place = _place(folder, task)
        if not place.finished.exists():
            raise RunError(f"{folder}: {task.name}{SUFFIX} is unfinished; the command that began it continues it")
        asked = _questions(task, settings.split, settings.limit, judge)
        found = judged(task, asked, read_generations(place.finished), blame=True)
        write_atomic(place.out / "answers.jsonl", "".join(map(dump_line, _rows(found))))
        described = read_json(place.plan)["model"]
        write_atomic(place.out / "scores.json", dump_json(_document(found, settings, judge, described, replicates)))
    return folder


_NAMES = {f.name for f in fields(Settings)}


def read_rankings(folder: Path) -> list[dict[str, Any]]:
    """The scores.json documents of a run that ranks a judge, in the order of its tasks."""
    names = read_json(folder / SETTINGS)["task"]
    return [read_json(folder / name / "scores.json") for name in names]


def _place(folder: Path, task: Task) -> AnswerFiles:
    return AnswerFiles(folder / (task.name + SUFFIX))


def _tasks(names: Sequence[str], data_dir: Path | None, tasks_dir: Path | None) -> tuple[Task, ...]:
    return load_tasks([name.removesuffix(SUFFIX) for name in names], data_dir, tasks_dir)


def _judge_settings(settings: Settings) -> JudgeSettings:
    """The judge that a run's settings name; what says nothing about a judge is told, all at once."""
    default = Settings("")
    moot = [
        f"--{name.replace('_', '-')}: a judge is asked as docs/metrics.md §8 says, whatever the prompts of answers"
        for name in sorted(_NAMES - set(_TAKEN)) if getattr(settings, name) != getattr(default, name)
    ]  # fmt: skip
    if moot:
        raise UsageError(all_problems(f"--task NAME{SUFFIX} does not take these options:", moot))
    if settings.model.startswith("reference:"):
        raise UsageError(
            f"--model {settings.model}: a reference system answers as an annotator and attributes nothing; to rank a "
            f"judge take {STYLOMETRIC}, a path or hub id, or endpoint:MODEL"
        )
    shared = {f.name for f in fields(JudgeSettings)} & set(_TAKEN)
    return JudgeSettings(settings.model, **{name: getattr(settings, name) for name in shared}).resolved()


def _questions(task: Task, split: str, limit: int | None, judge: JudgeSettings) -> Questionnaire:
    people = {p: task.human(p) for p in task.questions(split, limit)}
    return attribution_questions(
        task, split, people, limit=limit, shots=judge.shots, seed=judge.seed, show=judge.show,
        view=judge.view,  # type: ignore[arg-type]
    )  # fmt: skip


def _rows(found: Judged) -> list[dict[str, Any]]:
    """One row per question; no dataset text."""
    return [
        {"item": q.item.id, "annotator": q.annotator, "candidates": list(q.candidates), "named": found.named[q.key],
         "correct": float(found.named[q.key] == q.annotator)}
        for q in found.asked.asked
    ]  # fmt: skip


def _document(
    found: Judged, settings: Settings, judge: JudgeSettings, described: dict[str, Any], replicates: int
) -> dict[str, Any]:
    task = found.task
    version = f"{task.name}@{task.version}"
    draws = item_draws(found.verdicts.items, version, settings.split, judge.seed, replicates)
    metric = metric_of(task, settings.split, judge, described)
    sign = signature(metric, task, found.unreadable, judge.seed, replicates, settings.split, settings.limit, 1)
    overall, each = lines(found, metric, draws)

    def score(annotator: str | None, line: Line) -> dict[str, Any]:
        return Score(
            metric=metric.short, signature=sign, annotator=annotator, value=line.value, low=line.low, high=line.high,
            floor=found.chance, n=line.n,
        ).model_dump()  # fmt: skip

    return {
        "task": f"{task.name}{SUFFIX}@{task.version}",
        "split": settings.split,
        "system": judge.shown_name,
        "questions": len(found.asked.asked),
        "missing": found.unreadable,
        "left_out": len(found.asked.left_out),
        "scores": [score(None, overall), *map(score, task.scored_annotators, each)],
        "confusion": {"annotators": list(task.scored_annotators), "counts": found.confusion()},
        "letters": found.letters(),
    }
