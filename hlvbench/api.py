"""The Python side in one place: load a task, score texts, run a method, move data in and out of `datasets`.

    from hlvbench.api import load_task, score_texts
    task = load_task("varierr")
    scores = score_texts(task, texts)

`texts` holds one raw text per question, in the order of `task.questions("test")`, or maps (item, annotator) to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .embed import load_embedder
from .errors import DataError, UsageError, all_problems
from .files import dump_json, dump_line, write_atomic
from .metrics import bind, metric, parse_metric
from .models import Completion, Model, Query
from .models.method import register_method
from .models.open import register_model
from .prompt import Prompter, render_answer
from .run import read_scores, run, score
from .score import score_task
from .settings import Settings
from .stats import REPLICATES
from .task import load_task
from .types import Annotation, Generation, Item, Label, Pair, Score, Task

__all__ = [
    "Annotation", "Completion", "Generation", "Item", "Model", "Pair", "Prompter", "Query", "Score", "Scores",
    "Settings", "Task", "bind", "from_dataset", "load_task", "metric", "read_scores", "register_method",
    "register_model", "render_answer", "run", "score", "score_texts", "to_dataset",
]  # fmt: skip


@dataclass(frozen=True)
class Scores:
    """The scores of one set of answers: `scores["label_kappa"]`, `scores["imitation_score(view=norm)@10"]`.

    document: what scores.json of a run would hold.
    """

    document: Mapping[str, Any]

    def __getitem__(self, name: str) -> Score:
        """The score over all annotators of a metric, named as in a signature; what is not named has its default."""
        return self.of(name)

    def of(self, name: str, annotator: str | None = None) -> Score:
        """The score of one annotator, or over all of them; a KeyError where the scorecard has no such row."""
        wanted = str(parse_metric(name))
        for row in self.document["scores"]:
            if row["annotator"] == annotator and row["signature"].partition("|")[0] == wanted:
                return Score(**row)
        raise KeyError(f"{name} (bound: {wanted}), annotator {annotator}: not in this scorecard")


def score_texts(
    task: Task,
    texts: Sequence[str] | Mapping[Pair, str],
    *,
    split: str = "test",
    limit: int | None = None,
    system: str = "",
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Scores:
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
    return Scores(scored.document)


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
        for name in chosen for r in task.records_of(name)
    ])  # fmt: skip


def from_dataset(
    rows: Any,
    folder: Path,
    *,
    kind: str,
    labels: Sequence[Label],
    fields: Mapping[str, str],
    instruction: str,
    min_records: int = 20,
    version: str = "1",
) -> Task:
    """Write a `datasets.Dataset` (or any rows) as a task folder, which every command takes, and load it.

    rows: columns as `to_dataset` gives them, one row per record; without a column "split" the table source draws the
    splits (.6, .2, .2). kind: "nominal" or "ordinal" (labels: all integers from the lowest to the highest). fields:
    column -> shown name. The folder's name is the task's. What is wrong with the rows is a TaskError, by line.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is there already; choose another folder for the task")
    known = {"item", "annotator", "label", "explanation", *fields}
    table = [dict(row) for row in rows]
    lacking = sorted({key for row in table for key in known - row.keys()})
    if lacking or not table:
        raise DataError(all_problems("these rows make no task:", [f"no column {key!r}" for key in lacking] or ["none"]))
    items = {str(row["item"]): {name: row[name] for name in fields} for row in table}
    splits: dict[str, list[str]] = {"train": [], "dev": [], "test": []}
    for row in table:
        if "split" in row and str(row["item"]) not in splits.setdefault(str(row["split"]), []):
            splits[str(row["split"])].append(str(row["item"]))
    given = any("split" in row for row in table)
    write_atomic(folder / "items.jsonl", "".join(dump_line({"id": i, "text": t}) for i, t in items.items()))
    write_atomic(folder / "annotations.jsonl", "".join(
        dump_line({key: str(row[key]) if key == "item" else row[key]
                   for key in ("item", "annotator", "label", "explanation")}) for row in table
    ))  # fmt: skip
    if given:
        write_atomic(folder / "splits.json", dump_json(splits))
    spread = f"range = [{min(labels)}, {max(labels)}]" if kind == "ordinal" else f"labels = {_toml(list(labels))}"
    write_atomic(folder / "task.toml", "\n".join([
        f"name = {_toml(folder.name)}", f"version = {_toml(version)}", 'source = "table"', f"kind = {_toml(kind)}",
        spread, f"instruction = {_toml(instruction)}", f"min_records = {min_records}",
        *(['splits = "splits.json"'] if given else []),
        "[fields]", *(f"{_toml(name)} = {_toml(shown)}" for name, shown in fields.items()),
        *([] if given else ["[splits]", "train = 0.6", "dev = 0.2", "test = 0.2", "seed = 0"]), "",
    ]))  # fmt: skip
    return load_task(folder.name, tasks_dir=folder.parent)


def _toml(value: Any) -> str:
    """Strings and lists of strings read alike in JSON and TOML."""
    return json.dumps(value, ensure_ascii=False)
