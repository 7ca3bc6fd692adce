"""Answers read from a file: another program's raw text through this project's parser and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ModelError, all_problems
from ..io import read_generations, sha256_file
from ..types import Generation, Task
from . import Completion, Model, Query


class Replay(Model):
    """A model of one task that answers every question with the text of a file."""

    def __init__(self, name: str, path: Path, rows: Sequence[Generation]) -> None:
        self.name, self.path = name, path
        self._rows = {(row.item, row.annotator, row.sample): row for row in rows}
        if len(self._rows) < len(rows):
            raise ModelError(f"{path}: {len(rows) - len(self._rows)} questions are answered twice")

    def describe(self) -> dict[str, Any]:
        return {"kind": "replay", "sha256": sha256_file(self.path)}

    def answer(self, batch: Sequence[Query]) -> list[Completion]:
        keys = [(query.item, query.annotator, query.sample) for query in batch]
        missing = [f"item {i}, annotator {a}, sample {s}" for i, a, s in keys if (i, a, s) not in self._rows]
        if missing:
            heading = (
                f"{self.path} has no answer to {len(missing)} of the questions; take the split and --limit it was "
                f"made for:"
            )
            raise ModelError(all_problems(heading, missing, most=10))
        found = [self._rows[key] for key in keys]
        return [Completion(row.text, row.finish, row.new_tokens) for row in found]


def load_replay(place: str, tasks: Sequence[Task]) -> Mapping[str, Model]:
    """One model per task from `place`: a generations.jsonl for one task, or a folder with TASK/generations.jsonl."""
    root = Path(place)
    if root.is_dir():
        paths = {t.name: root / t.name / "generations.jsonl" for t in tasks}
    elif len(tasks) == 1:
        paths = {tasks[0].name: root}
    else:
        raise ModelError(
            f"--model replay:{place}: a file holds the answers of one task and {len(tasks)} are asked; name one by "
            f"--task, or give a run folder with TASK/generations.jsonl"
        )
    absent = [str(path) for path in paths.values() if not path.is_file()]
    if absent:
        raise ModelError(all_problems(f"--model replay:{place}: no such file:", absent))
    return {name: Replay(f"replay:{place}", path, read_generations(path)) for name, path in paths.items()}
