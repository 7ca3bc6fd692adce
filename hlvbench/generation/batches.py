"""One batch put to a model: in pieces that fit into memory, a refused question on its own, several at a time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from ..errors import RunError
from ..io import say
from ..models import Completion, Model, OutOfMemory, Query, Refused
from ..prompting.parse import parse
from ..types import Task

T = TypeVar("T")
Made = TypeVar("Made")


def answer_batch(model: Model, batch: Sequence[Query], at_most: int) -> tuple[list[Completion], int, Refused | None]:
    """Answer a batch, `at_most` questions at once; a refused question gets an empty text and "error".

    Returns:
        The completions, the size that fits into memory, and why the batch was refused if all of it was.
    """
    try:
        return *answer_within_memory(model, batch, at_most), None
    except Refused as error:
        if len(batch) == 1:
            return [Completion("", "error", 0)], at_most, error
    each = [answer_batch(model, [query], at_most) for query in batch]
    refusals = [refusal for _, _, refusal in each if refusal]
    completions = [completion for one, _, _ in each for completion in one]
    return completions, at_most, refusals[-1] if len(refusals) == len(batch) else None


def answer_within_memory(model: Model, batch: Sequence[Query], at_most: int) -> tuple[list[Completion], int]:
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


def as_completed(make: Callable[[T], Made], todo: Sequence[T], parallel: int = 1) -> Iterator[Made]:
    """`make(x)` of every x: one after the other, or `parallel` of them in threads, in the order they are finished.

    After an error nothing is begun; what is under way is given first, then the first error is raised.
    """
    if parallel == 1:
        yield from map(make, todo)
        return
    waiting: queue.SimpleQueue[T] = queue.SimpleQueue()
    made: queue.SimpleQueue[tuple[Made] | None] = queue.SimpleQueue()
    errors: list[BaseException] = []
    over = threading.Event()
    for one in todo:
        waiting.put(one)

    def work() -> None:
        try:
            while not over.is_set():
                made.put((make(waiting.get_nowait()),))
        except queue.Empty:
            pass
        except BaseException as error:
            errors.append(error)
            over.set()
        finally:
            made.put(None)

    # daemons (concurrent.futures has none): an interrupted program does not wait for a server
    for _ in range(parallel):
        threading.Thread(target=work, daemon=True).start()
    try:
        for _ in range(parallel):
            while (found := made.get()) is not None:
                yield found[0]
    finally:
        over.set()  # who reads the answers may have failed
    if errors:
        raise errors[0]


class ReadableCheck:
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
            say(
                f"{self.task.name}: {self.unreadable} of the first {self.seen} answers cannot be read and will count "
                "as missing; --answers constrained makes every answer readable"
            )
