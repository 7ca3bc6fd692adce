"""Several things at a time, each kept as soon as it is done."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
Made = TypeVar("Made")


def as_they_come(make: Callable[[T], Made], todo: Sequence[T], at_a_time: int = 1) -> Iterator[Made]:
    """`make(x)` of every x: one after the other, or `at_a_time` of them in threads, in the order they are finished.

    After an error nothing is begun; what is on its way is given first, then the first error is raised.
    """
    if at_a_time == 1:
        yield from map(make, todo)
        return
    waiting: queue.SimpleQueue[T] = queue.SimpleQueue()
    made: queue.SimpleQueue[tuple[Made] | None] = queue.SimpleQueue()
    errors: list[BaseException] = []
    for one in todo:
        waiting.put(one)

    def work() -> None:
        try:
            while not errors:
                made.put((make(waiting.get_nowait()),))
        except queue.Empty:
            pass
        except BaseException as error:
            errors.append(error)
        finally:
            made.put(None)

    # daemons: an interrupted program does not wait for a server
    for _ in range(at_a_time):
        threading.Thread(target=work, daemon=True).start()
    for _ in range(at_a_time):
        while (found := made.get()) is not None:
            yield found[0]
    if errors:
        raise errors[0]
