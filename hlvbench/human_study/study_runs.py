"""The answers of the runs that a study compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.task import load_tasks
from ..errors import HlvbenchError, RunError, UsageError, all_problems
from ..generation.run import SETTINGS
from ..io import read_generations, read_json
from ..prompting.parse import parse, to_annotation
from ..results.compare import Run, distinct_names
from ..types import Annotation, Pair, Task


@dataclass(frozen=True)
class Answered:
    """A system's first sample of answers: task name -> (item, annotator) -> answer."""

    name: str
    folder: Path
    answers: Mapping[str, Mapping[Pair, Annotation]]


def read_runs(
    folders: Sequence[Path],
    names: Sequence[str] | None = None,
    data_dir: Path | None = None,
    tasks_dir: Path | None = None,
) -> tuple[tuple[Answered, ...], tuple[Task, ...], str, list[str]]:
    """(runs, tasks, split, notes): the answers of every run to the tasks that all of them have, or to `names`.

    notes: tasks that only some runs have. Everything that is wrong with any run is told in one RunError.
    """
    places = [folder.resolve() for folder in folders]
    if twice := sorted({str(f) for f, p in zip(folders, places, strict=True) if places.count(p) > 1}):
        raise UsageError(f"the same run is named more than once: {', '.join(twice)}")
    settings = _all_settings(folders)
    chosen, notes = _shared(settings, names)
    tasks = load_tasks(chosen, data_dir, tasks_dir)
    split = str(next(iter(settings.values()))["split"])
    titles = distinct_names([Run(folder, _title(found)) for folder, found in settings.items()])
    problems: list[str] = []
    runs = []
    for folder, title in zip(folders, titles, strict=True):
        runs.append(Answered(title, folder, {t.name: _answers(folder, t, split, problems) for t in tasks}))
    if problems:
        raise RunError(all_problems("these runs cannot be studied:", problems))
    return tuple(runs), tasks, split, notes


def _shared(settings: Mapping[Path, Mapping[str, Any]], names: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """The tasks to ask about, and a note on those that only some runs have."""
    have = {folder: list(found["task"]) for folder, found in settings.items()}
    every = list(dict.fromkeys(task for tasks in have.values() for task in tasks))
    shared = [task for task in every if all(task in tasks for tasks in have.values())]
    chosen = list(names) if names else shared
    problems = [f"{folder}: has no task {t}" for folder, tasks in have.items() for t in chosen if t not in tasks]
    if not chosen:
        problems.append("they have no task in common")
    if len({found["split"] for found in settings.values()}) > 1:
        problems += [f"{folder}: answers the split {found['split']}" for folder, found in settings.items()]
    if problems:
        raise RunError(all_problems("these runs cannot be studied together:", problems))
    left = [task for task in every if task not in shared]
    return chosen, [f"left out, as not every run has it: {', '.join(left)}"] if left and not names else []


def _all_settings(folders: Sequence[Path]) -> dict[Path, Mapping[str, Any]]:
    problems: list[str] = []
    found = {folder: _settings(folder, problems) for folder in folders}
    if problems:
        raise RunError(all_problems("these runs cannot be studied:", problems))
    return found


def _settings(folder: Path, problems: list[str]) -> Mapping[str, Any]:
    if not (folder / SETTINGS).exists():
        problems.append(f"{folder}: no run folder (no {SETTINGS})")
        return {}
    try:
        found = read_json(folder / SETTINGS)
        known = isinstance(found, dict) and {"task", "split", "model", "prompt"} <= found.keys()
        if not known or not isinstance(found["task"], list):
            raise RunError(f"{folder / SETTINGS}: not the settings of a run")
    except HlvbenchError as error:
        problems.append(str(error))
        return {}
    return found


def _title(settings: Mapping[str, Any]) -> str:
    """What tells a system in tables: the model's short name, its prompt and adapters."""
    model = str(settings["model"])
    parts = [model if ":" in model else Path(model).name]
    parts += [str(settings["prompt"])] if settings["prompt"] != "base" else []
    parts += [Path(str(settings["adapter_dir"])).name] if settings.get("adapter_dir") else []
    return " ".join(parts)


def _answers(folder: Path, task: Task, split: str, problems: list[str]) -> Mapping[Pair, Annotation]:
    path = folder / task.name / "generations.jsonl"
    try:
        _same_data(folder, task)
        rows = read_generations(path)
    except HlvbenchError as error:
        problems.append(str(error))
        return {}
    questions = set(task.questions(split))
    strange = [f"item {r.item!r}, annotator {r.annotator!r}" for r in rows if (r.item, r.annotator) not in questions]
    if strange:
        problems.append(f"{path}: {len(strange)} rows are no questions of {task.name}/{split}, the first: {strange[0]}")
    found = {
        (r.item, r.annotator): to_annotation(r.item, r.annotator, parse(r.text, task)) for r in rows if not r.sample
    }
    return {pair: answer for pair, answer in found.items() if answer is not None and pair in questions}


def _same_data(folder: Path, task: Task) -> None:
    """A run on other data would be shown beside texts that it never saw."""
    path = folder / "manifest.json"
    facts = read_json(path).get("tasks", {}).get(task.name, {}) if path.exists() else {}
    there = facts.get("data_sha256", {})
    differing = sorted(k for k, digest in there.items() if task.data_sha256.get(k, digest) != digest)
    if differing:
        raise RunError(f"{folder}: {task.name} was answered on other data ({', '.join(differing)} differ)")
