"""The Python side in one place: load a task, score texts, run a method, move data in and out of `datasets`.

    from hlvbench.api import load_task, score_texts
    task = load_task("varierr")
    scores = score_texts(task, texts)

`texts` holds one raw text per question, in the order of `task.questions("test")`, or maps (item, annotator) to it.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .bootstrap import REPLICATES
from .data.task import load_task
from .embeddings import load_embedder
from .errors import DataError, UsageError, all_problems
from .generation.open_model import register_method, register_model
from .generation.run import read_scores, run, score
from .io import dump_json, dump_line, write_atomic
from .metrics import bind, metric
from .models import Completion, Model, Query
from .prompting.prompt import Prompter, render_answer
from .results.score_report import Score, ScoreReport
from .results.scorecard import score_task
from .settings import Settings
from .types import Annotation, Generation, Item, Label, Pair, Task

__all__ = [
    "Annotation", "Completion", "Generation", "Item", "Model", "Pair", "Prompter", "Query", "Score", "ScoreReport",
    "Settings", "Task", "bind", "from_dataset", "load_task", "metric", "read_scores", "register_method",
    "register_model", "render_answer", "run", "score", "score_texts", "to_dataset",
]  # fmt: skip


def score_texts(
    task: Task,
    texts: Sequence[str] | Mapping[Pair, str],
    *,
    split: str = "test",
    limit: int | None = None,
    system: str = "",
    seed: int = 0,
    replicates: int = REPLICATES,
) -> ScoreReport:
    """Parse and score raw texts: one per question in question order, or a mapping from (item, annotator).

    A question that a mapping lacks counts as missing. A list of another length is a UsageError.
    """
    asked = task.questions(split, limit)
    if not isinstance(texts, Mapping):
        if isinstance(texts, str) or len(texts) != len(asked):
            got = "one text" if isinstance(texts, str) else f"{len(texts)} texts"
            raise UsageError(
                f"{task.name}/{split} has {len(asked)} questions (limit {limit}) and {got} were given; give one per "
                f"question in the order of task.questions({split!r}), or a mapping from (item, annotator)"
            )
        texts = dict(zip(asked, texts, strict=True))
    rows = [Generation(item, who, 0, text, "stop", 0, "") for (item, who), text in texts.items()]
    scored = score_task(
        task, rows, load_embedder(), system=system, split=split, limit=limit, seed=seed, replicates=replicates
    )
    return scored.report


def to_dataset(task: Task, split: str | None = None) -> Any:
    """The records of a task (of one split) as a `datasets.Dataset`.

    Columns: item, split, annotator, label, explanation, and the input texts under their field names. What comes out
    holds the dataset's texts: mind its licence before you share it.
    """
    from datasets import Dataset

    taken = {"item", "split", "annotator", "label", "explanation"} & set(task.fields)
    if taken:
        raise UsageError(f"task {task.name}: the fields {', '.join(sorted(taken))} have the name of another column")
    chosen = task.splits if split is None else {split: task.splits[split]}
    return Dataset.from_list([
        {"item": r.item, "split": name, "annotator": r.annotator, "label": r.label, "explanation": r.explanation,
         **task.items[r.item].text}
        for name in chosen for r in task.records_of(name, label_only=True)
    ])  # fmt: skip


def from_dataset(
    rows: Any,
    folder: Path,
    *,
    kind: str,
    labels: Sequence[Label],
    fields: Mapping[str, str],
    instruction: str,
    optional: Sequence[str] = (),
    min_records: int = 10,
    version: str = "1",
) -> Task:
    """Write a `datasets.Dataset` (or any rows) as a task folder, which every command takes, and load it.

    rows: columns as `to_dataset` gives them, one row per record (an explanation may be None); a column of ClassLabel
    gives its names; without a column "split" the table source draws the splits (.6, .2, .2). kind: "nominal" or
    "ordinal" (labels: all integers from the lowest to the highest). fields: column -> shown name; optional: those that
    an item may lack (None). The folder's name is
    the task's. What is wrong with the rows is a DataError or TaskError, by row or line, and leaves no folder behind.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is there already; choose another folder for the task")
    table = _plain_rows(rows, kind)
    known = {"item", "annotator", "label", "explanation", *fields}
    lacking = sorted({key for row in table for key in known - row.keys()})
    problems = [f"no column {key!r}" for key in lacking] or _cell_problems(table, [*sorted(known), "split"], fields)
    if problems or not table:
        raise DataError(all_problems("these rows make no task:", problems or ["there are none"]))
    items = {str(row["item"]): {name: row[name] for name in fields} for row in table}
    splits: dict[str, list[str]] = {"train": [], "dev": [], "test": []}
    for row in table:
        if "split" in row and str(row["item"]) not in splits.setdefault(str(row["split"]), []):
            splits[str(row["split"])].append(str(row["item"]))
    given = any("split" in row for row in table)
    spread = f"range = [{min(labels)}, {max(labels)}]" if kind == "ordinal" else f"labels = {_toml(list(labels))}"
    files = {
        "items.jsonl": "".join(dump_line({"id": i, "text": t}) for i, t in items.items()),
        "annotations.jsonl": "".join(
            dump_line({"item": str(row["item"]), "annotator": str(row["annotator"]),
                       "label": row["label"], "explanation": row["explanation"]}) for row in table
        ),
        **({"splits.json": dump_json(splits)} if given else {}),
        "task.toml": "\n".join([
            f"name = {_toml(folder.name)}", f"version = {_toml(version)}", 'source = "table"', f"kind = {_toml(kind)}",
            spread, f"instruction = {_toml(instruction)}", f"min_records = {min_records}",
            *([f"optional = {_toml(list(optional))}"] if optional else []),
            *(['splits = "splits.json"'] if given else []),
            "[fields]", *(f"{_toml(name)} = {_toml(shown)}" for name, shown in fields.items()),
            *([] if given else ["[splits]", "train = 0.6", "dev = 0.2", "test = 0.2", "seed = 0"]), "",
        ]),
    }  # fmt: skip
    try:
        for name, text in files.items():
            write_atomic(folder / name, text)
        return load_task(folder.name, tasks_dir=folder.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _plain_rows(rows: Any, kind: str) -> list[dict[str, Any]]:
    """The rows as dictionaries of plain values: names in the place of ClassLabel's numbers, no scalars of numpy."""
    if isinstance(rows, Mapping):
        raise UsageError(
            f"rows: one Dataset is needed, with a column split; got a mapping of {', '.join(map(str, rows))}"
        )
    features = getattr(rows, "features", None) or {}
    named = {column: list(of.names) for column, of in features.items() if getattr(of, "names", None)}
    if kind == "ordinal" and "label" in named:
        # scores that were stored as names; other names stand for their places
        scores = [int(name) for name in named.pop("label") if re.fullmatch(r"[+-]?\d+", name)]
        if len(scores) == len(features["label"].names):
            named["label"] = scores
    table = rows.to_dict("records") if hasattr(rows, "iterrows") else rows
    return [{key: _plain_value(value, named.get(key)) for key, value in dict(row).items()} for row in table]


def _plain_value(value: Any, names: Sequence[Any] | None) -> Any:
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float) and plain.is_integer():
        # a column of integers with a gap
        plain = int(plain)
    return names[plain] if names and type(plain) is int and 0 <= plain < len(names) else plain


def _cell_problems(table: Sequence[Mapping[str, Any]], columns: Sequence[str], fields: Mapping[str, str]) -> list[str]:
    """Values that no file can keep, and items with several texts, by row."""
    problems, first = [], dict[str, int]()
    for number, row in enumerate(table, start=1):
        for column in columns:
            value = row.get(column)
            if isinstance(value, float) and not math.isfinite(value):
                hint = "; a record without an explanation has None" if column == "explanation" else ""
                problems.append(f"row {number}: {column}: {value} is no value{hint}")
            elif not isinstance(value, str | int | float | None):
                problems.append(f"row {number}: {column}: a text or a number is needed, got {type(value).__name__}")
            elif isinstance(value, str) and any(0xD800 <= ord(c) <= 0xDFFF for c in value):
                problems.append(f"row {number}: {column}: half of a surrogate pair")
        before = first.setdefault(str(row["item"]), number)
        problems += [
            f"item {row['item']!r}: rows {before} and {number} give it two different texts in {name}"
            for name in fields if row[name] != table[before - 1][name]
        ]  # fmt: skip
    return problems


def _toml(value: Any) -> str:
    """Strings and lists of strings read alike in JSON and TOML."""
    return json.dumps(value, ensure_ascii=False)
