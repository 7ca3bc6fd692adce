"""`load_task(name)`: reads tasks/<name>, calls its source, applies the split."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..bootstrap import seeded
from ..errors import DataError, HlvbenchError, TaskError, UsageError, all_problems
from ..io import cache_dir, say
from ..types import Annotation, Item, Pair, Task
from . import SPLITS, Source, source_module
from . import table as table_source
from .download import PinnedSpec, Say, Upstream, fetch_file, find, verified
from .splits import Splits, freeze, given_splits, split_problems
from .task_config import TaskSpec, is_name, read_spec


def builtin_tasks_dir() -> Path:
    """The tasks of this project: `tasks/` of a checkout, `hlvbench/_tasks/` of an installed wheel."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_tasks"
    return installed if installed.is_dir() else package.parent / "tasks"


def task_folders(tasks_dir: Path | None = None) -> dict[str, Path]:
    """Name -> folder of the built-in tasks and those of `tasks_dir`: every folder with a task.toml.

    A name that both have is a UsageError, and so is a `tasks_dir` that is no folder.
    """
    found = _folders(builtin_tasks_dir())
    if tasks_dir is None or tasks_dir.resolve() == builtin_tasks_dir():
        return found
    if not tasks_dir.is_dir():
        raise UsageError(f"--tasks-dir {tasks_dir}: no such folder")
    own = _folders(tasks_dir)
    if doubled := sorted(found.keys() & own.keys()):
        remedy = "rename the folder and the name in its task.toml"
        raise UsageError(f"--tasks-dir {tasks_dir}: {', '.join(doubled)}: a built-in task has this name; {remedy}")
    return found | own


def _folders(folder: Path) -> dict[str, Path]:
    return {path.parent.name: path.parent for path in sorted(folder.glob("*/task.toml"))}


def task_names(tasks_dir: Path | None = None) -> tuple[str, ...]:
    """The names of all tasks at hand, built-in ones first."""
    return tuple(task_folders(tasks_dir))


def load_spec(name: str, tasks_dir: Path | None = None) -> Any:
    """The parsed task.toml of a task; a UsageError that lists the known tasks where there is none of that name."""
    folders = task_folders(tasks_dir)
    if not is_name(name) or name not in folders:
        where = f"{builtin_tasks_dir()}{f' and {tasks_dir}' if tasks_dir else ''}"
        close = difflib.get_close_matches(name, folders, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        if name.endswith("/attribution"):
            hint = " (tasks that rank judges are for `hlvbench run` alone)"
        raise UsageError(f"no task {name!r} in {where}{hint}; known tasks: {', '.join(folders)}")
    return read_spec(folders[name])


def load_task(name: str, data_dir: Path | str | None = None, tasks_dir: Path | str | None = None) -> Task:
    """A task, ready to ask and to score.

    Its data come from `data_dir`, else from HLVBENCH_DATA, else from the cache, which is filled by a
    download on first use. Errors: UsageError (no such task), TaskError (its folder), DataError (its data).
    """
    spec = load_spec(name, Path(tasks_dir) if tasks_dir is not None else None)
    if spec.source == "table":
        source, splits = table_source.read_table(spec)
        freeze(spec, splits)
        return _task(spec, source, splits)
    source = source_module(spec.source).load(spec, local_data(data_dir) if _upstream(spec) else None)
    return _task(spec, source, _splits_of(spec, source))


def load_tasks(
    names: Sequence[str], data_dir: Path | str | None = None, tasks_dir: Path | str | None = None
) -> tuple[Task, ...]:
    """Several tasks; the problems of all of them are one error."""
    tasks, problems = [], list[HlvbenchError]()
    for name in names:
        try:
            tasks.append(load_task(name, data_dir, tasks_dir))
        except HlvbenchError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise type(problems[0])("\n".join(map(str, problems)))
    return tuple(tasks)


def cut_history(task: Task, records: int | None, seed: int = 0) -> Task:
    """The task with the train annotations of at most `records` items per annotator, drawn by seed.

    A smaller number keeps a part of what a larger one keeps. Dev and test stay. None: the task itself.
    """
    if records is None:
        return task
    kept = set[Pair]()
    for annotator in task.annotators:
        own = task.questions("train", annotators=(annotator,)) if "train" in task.splits else ()
        order = seeded("history", task.name, seed, annotator).permutation(len(own))[:records]
        kept |= {own[i] for i in order}
    train = set(task.splits.get("train", ()))
    left = tuple(r for r in task.records if r.item not in train or (r.item, r.annotator) in kept)
    return replace(task, records=left, min_records=1)


def local_data(data_dir: Path | str | None = None) -> Path | None:
    """The folder of local data: the one given, else HLVBENCH_DATA, else None (the cache)."""
    named = data_dir if data_dir is not None else os.environ.get("HLVBENCH_DATA") or None
    if named is None:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise DataError(f"{'--data-dir' if data_dir is not None else 'HLVBENCH_DATA'} {folder}: no such folder")
    return folder


def fetch(
    names: Sequence[str] | None = None,
    cache: Path | None = None,
    base_url: str | None = None,
    tasks_dir: Path | None = None,
    tell: Say = say,
) -> dict[str, tuple[Path, ...]]:
    """Task -> its verified files in the cache; what is missing or not the pinned file is downloaded.

    `names` None means every task that has files upstream. `base_url` replaces the host (a mirror).
    """
    chosen = [load_spec(name, tasks_dir) for name in names or task_names(tasks_dir)]
    paths, problems = dict[str, tuple[Path, ...]](), []
    for spec in chosen:
        upstream = _upstream(spec)
        files = upstream.files if upstream else []
        try:
            paths[spec.name] = tuple(fetch_file(spec.upstream, file, cache, base_url, tell) for file in files)
        except DataError as error:
            problems.append(f"{spec.name}: {error}")
    if problems:
        raise DataError("\n".join(problems))
    return paths


def describe_tasks(data_dir: Path | str | None = None, tasks_dir: Path | str | None = None) -> list[dict[str, Any]]:
    """Per task: name, version, kind, licence, splits (name -> items), annotators, data, problem.

    `data` says "here: FOLDER" or "not here"; where only the data would tell, `annotators` is None, `splits` empty. A
    task whose records lie in its folder also has `scored`, how many annotators have enough of them (`min_records`).
    Nothing is downloaded or written. A task that cannot be loaded has its `problem` told.
    """
    extra = Path(tasks_dir) if tasks_dir is not None else None
    return [describe_task(name, data_dir, extra) for name in task_names(extra)]


def describe_task(name: str, data_dir: Path | str | None = None, tasks_dir: Path | None = None) -> dict[str, Any]:
    """The row of one task (see `describe_tasks`)."""
    row: dict[str, Any] = {"name": name, "version": None, "kind": None, "licence": "", "splits": {}, "annotators": None}
    row |= {"data": "not here", "problem": None}
    try:
        spec = load_spec(name, tasks_dir)
        row |= {"version": spec.version, "kind": spec.kind, "licence": spec.licence or ""}
        if _upstream(spec):
            if getattr(spec, "debates", None) is None:
                row["splits"] = {split: len(ids) for split, ids in given_splits(spec).ids.items()}
            row["annotators"] = spec.annotators
            row["data"] = _where(spec, local_data(data_dir))
        else:
            source = source_module(spec.source).load(spec, None)
            task = _task(spec, source, _splits_of(spec, source))
            row["splits"] = {split: len(ids) for split, ids in task.splits.items()}
            row |= {"annotators": list(task.annotators), "scored": len(task.scored_annotators)}
            row["min_records"] = task.min_records
            row["data"] = f"here: {spec.folder}"
    except HlvbenchError as error:
        row["problem"] = str(error)
    return row


def _upstream(spec: TaskSpec) -> Upstream | None:
    return spec.upstream if isinstance(spec, PinnedSpec) else None


def _where(spec: PinnedSpec, data_dir: Path | None) -> str:
    """Where the verified files of a task are; a DataError if one of them is not the pinned file."""
    paths = [(file, find(spec.upstream, file, data_dir)) for file in spec.upstream.files]
    for file, path in paths:
        if path is not None:
            verified(path, file, f"run `hlvbench fetch {spec.name}`")
    return f"here: {data_dir or cache_dir()}" if all(path for _, path in paths) else "not here"


def _splits_of(spec: TaskSpec, source: Source) -> Splits:
    """The splits of the source itself, or of the file in the task's folder."""
    if source.splits is None:
        return given_splits(spec)
    return Splits({split: tuple(source.splits.get(split, ())) for split in SPLITS})


def _task(spec: TaskSpec, source: Source, splits: Splits) -> Task:
    """Put the parts together: items in split order, records in the order of items, then annotators."""
    items = {item.id: item for item in source.items}
    annotators = _annotators(source.records)
    _check(spec, source, splits, items, annotators)
    order = {item: position for position, item in enumerate(i for ids in splits.ids.values() for i in ids)}
    place = {annotator: position for position, annotator in enumerate(annotators)}
    return Task(
        name=spec.name,
        version=spec.version,
        kind=spec.kind,
        labels=spec.labels,
        priority=spec.priority,
        instruction=spec.instruction,
        fields=spec.fields,
        annotators=annotators,
        items={item: items[item] for item in order},
        records=tuple(sorted(source.records, key=lambda r: (order[r.item], place[r.annotator]))),
        splits=splits.ids,
        subsets={name: frozenset(ids) for name, ids in splits.subsets.items()},
        skipped=source.skipped,
        min_records=spec.min_records,
        data_sha256={**source.sha256, "splits": splits.sha256},
        majority_sentence=spec.majority_sentence,
        meanings=spec.meanings,
        licence=spec.licence or "",
        index_without=tuple(spec.index_without),
    )


def _check(
    spec: TaskSpec, source: Source, splits: Splits, items: Mapping[str, Item], annotators: tuple[str, ...]
) -> None:
    problems = split_problems(splits, items) if spec.source != "table" else []
    if len(items) < len(source.items):
        problems.append(f"{len(source.items) - len(items)} items have an id that another has, too")
    problems += sorted({f"unknown label {r.label!r}" for r in source.records if r.label not in spec.labels})
    if isinstance(spec, PinnedSpec) and spec.annotators not in (None, list(annotators)):
        problems.append(f"annotators: task.toml names {spec.annotators}, the data {list(annotators)}")
    if problems:
        raise TaskError(all_problems(f"{spec.folder}: {len(problems)} problems", problems))


def _annotators(records: Sequence[Annotation]) -> tuple[str, ...]:
    """In natural order: Ann2 before Ann10."""

    def natural(name: str) -> tuple[list[str | int], str]:
        parts = re.split(r"([0-9]+)", name)
        return [int(part) if position % 2 else part.casefold() for position, part in enumerate(parts)], name

    return tuple(sorted({record.annotator for record in records}, key=natural))
