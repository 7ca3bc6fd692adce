"""The Python side in one place: load a task, score texts, run a method, move data in and out of `datasets`.

    from hlvbench.api import load_task, score_texts
    task = load_task("varierr")
    scores = score_texts(task, texts)

`texts` holds one raw text per question, in the order of `task.questions("test")`, or maps (item, annotator) to it.
"""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

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
    """Parse and score raw texts.

    Args:
        task: What the texts answer.
        texts: One per question of `task.questions(split, limit)`, in that order, or a mapping from (item, annotator);
            a question that a mapping lacks counts as missing.
        split: The split whose questions are answered.
        limit: Only its first items.
        system: A name for the report.
        seed: Of the item resampling.
        replicates: How many times items are resampled.

    Returns:
        The scores: `report["label_kappa"].value`, `report.of("rouge_l", "Ann2")`.

    Raises:
        UsageError: A list has another length than the questions.
    """
    asked = task.questions(split, limit)
    if not isinstance(texts, Mapping):
        if isinstance(texts, str) or len(texts) != len(asked):
            got = "one text" if isinstance(texts, str) else f"{len(texts)} texts"
            raise UsageError(
                f"{task.name}/{split} has {len(asked)} questions (limit {limit}), got {got}; pass one per question in "
                f"the order of task.questions({split!r}), or a mapping from (item, annotator)"
            )
        texts = dict(zip(asked, texts, strict=True))
    rows = [Generation(item, who, 0, text, "stop", 0, "") for (item, who), text in texts.items()]
    return score_task(
        task, rows, load_embedder(), system=system, split=split, limit=limit, seed=seed, replicates=replicates
    ).report


def to_dataset(task: Task, split: str | None = None) -> Any:
    """The annotations of a task (of one split) as a `datasets.Dataset`.

    Its columns are item, split, annotator, label, explanation, and the input texts under their field names. It holds
    the dataset's texts: mind its licence before you share it.
    """
    from datasets import Dataset

    taken = {"item", "split", "annotator", "label", "explanation"} & set(task.fields)
    if taken:
        raise UsageError(f"task {task.name}: the fields {', '.join(sorted(taken))} have the name of another column")
    chosen = task.splits if split is None else {split: task.splits[split]}
    return Dataset.from_list(
        [
            {
                "item": r.item,
                "split": name,
                "annotator": r.annotator,
                "label": r.label,
                "explanation": r.explanation,
                **task.items[r.item].text,
            }
            for name in chosen
            for r in task.records_of(name, label_only=True)
        ]
    )


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

    Args:
        rows: One per annotation, with columns as those of `to_dataset`; an explanation may be None, and a column of
            ClassLabel gives its names. Without a column "split" the splits are drawn (.6, .2, .2).
        folder: A new or empty folder; its name is the task's.
        kind: "nominal" or "ordinal".
        labels: All labels; of an ordinal task all integers from the lowest to the highest.
        fields: Column of an input text -> its shown name.
        instruction: What the annotators were asked.
        optional: Input texts that an item may lack (None).
        min_records: Annotators with fewer test items are not scored.
        version: Of the task.

    Raises:
        DataError, TaskError: What is wrong with the rows, by row or line; no folder is left behind.
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
    splits: dict[str, dict[str, None]] = {"train": {}, "dev": {}, "test": {}}
    for row in table:
        if "split" in row:
            splits.setdefault(str(row["split"]), {})[str(row["item"])] = None
    drawn = not any("split" in row for row in table)
    config = {
        "name": folder.name,
        "version": version,
        "source": "table",
        "kind": kind,
        **({"range": [min(labels), max(labels)]} if kind == "ordinal" else {"labels": list(labels)}),
        "instruction": instruction,
        "min_records": min_records,
        "optional": list(optional),
        "splits": {"train": 0.6, "dev": 0.2, "test": 0.2, "seed": 0} if drawn else "splits.json",
        "fields": dict(fields),
    }
    annotations = [
        {"item": str(r["item"]), "annotator": str(r["annotator"]), "label": r["label"], "explanation": r["explanation"]}
        for r in table
    ]
    files = {
        "items.jsonl": "".join(dump_line({"id": i, "text": t}) for i, t in items.items()),
        "annotations.jsonl": "".join(map(dump_line, annotations)),
        "splits.json": "" if drawn else dump_json({name: list(kept) for name, kept in splits.items()}),
        "task.toml": tomli_w.dumps(config),
    }
    try:
        for name, text in files.items():
            if text:
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
