"""A batch put to a model: in pieces that fit into memory, a refused question on its own, and whether it can be read."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import RunError
from ..prompting.parse import parse
from ..types import Task
from . import Completion, Model, OutOfMemory, Query, Refused


def willing(model: Model, batch: Sequence[Query], at_most: int) -> tuple[list[Completion], int, Refused | None]:
    """`within_memory`, where a refused question gets an empty text and "error"; and why, if all were refused."""
    try:
        return *within_memory(model, batch, at_most), None
    except Refused as error:
        if len(batch) == 1:
            return [Completion("", "error", 0)], at_most, error
    each = [willing(model, [query], at_most) for query in batch]
    refusals = [refusal for _, _, refusal in each if refusal]
    completions = [completion for one, _, _ in each for completion in one]
    return completions, at_most, refusals[-1] if len(refusals) == len(batch) else None


def within_memory(model: Model, batch: Sequence[Query], at_most: int) -> tuple[list[Completion], int]:
    """The batch's completions, in pieces of `at_most` that are halved as long as memory does not suffice."""
    completions: list[Completion] = []
    while len(completions) < len(batch):
        piece = batch[len(completions) :][:at_most]
        try:
            completions += model.answer(piece)
        except OutOfMemory as error:
            if len(piece) == 1:
                raise RunError(
                    f"{model.name}: out of memory on a single question (item {piece[0].item}, {piece[0].annotator}); "
                    f"use fewer --shots, a smaller --dtype or a larger device ({error})"
                ) from None
            at_most = len(piece) // 2
    return completions, at_most


class Readable:
    """Looks at the first answers as they come, and says once if most of them cannot be read."""

    ENOUGH = 16

    def __init__(self, task: Task) -> None:
        self.task, self.seen, self.unreadable = task, 0, 0

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        if self.seen >= self.ENOUGH:
            return
        self.seen += len(rows)
        self.unreadable += sum(parse(row["text"], self.task).label is None for row in rows)
        if self.seen >= self.ENOUGH and 2 * self.unreadable > self.seen:
            print(
                f"{self.task.name}: {self.unreadable} of the first {self.seen} answers cannot be read and will count "
                "as missing; --answers constrained makes every answer readable",
                file=sys.stderr, flush=True,
            )  # fmt: skip
