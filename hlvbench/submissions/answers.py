"""The raw answers of a submission: is every question answered once, and nothing else?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from ..errors import DataError, validation_problems
from ..types import Generation, Task

MOST_SAMPLES = 50


@with_config(ConfigDict(strict=True, extra="forbid"))
class _Row(TypedDict):
    """A row of generations.jsonl; what stands beside `text` is held to what runs write: it could hide dataset text."""

    item: str
    annotator: str
    sample: int
    text: str
    finish: Annotated[str, StringConstraints(pattern=r"^\w{0,40}$")]
    new_tokens: Annotated[int, Field(ge=0)]
    prompt_sha256: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]


_ROWS = TypeAdapter(list[_Row])


def to_generations(rows: Sequence[Mapping[str, Any]]) -> list[Generation]:
    """Rows with exactly the fields of a Generation, each of its type; else a DataError."""
    try:
        return [Generation(**row) for row in _ROWS.validate_python(rows)]
    except ValidationError as error:
        problems = validation_problems(error)
        raise DataError(f"{len(problems)} problems in its rows, counted from 0: {'; '.join(problems[:5])}") from None


def answer_problems(rows: Sequence[Generation], task: Task, samples: int) -> list[str]:
    """What is answered twice, not at all, out of order, or was never asked. samples: answers per question."""
    if not 1 <= samples <= MOST_SAMPLES:
        return [f"{samples} samples; 1 to {MOST_SAMPLES} were expected"]
    questions = task.questions("test", annotators=task.asked())
    expected = [(*question, sample) for question in questions for sample in range(samples)]
    wanted, counts = set(expected), Counter((r.item, r.annotator, r.sample) for r in rows)
    found = [f"{_who(key)} stands {times} times" for key, times in counts.items() if times > 1]
    found += [f"{_who(key)}: {_why_not_asked(key, task, samples)}" for key in counts if key not in wanted]
    found += [
        f"{_who(key)} has no row; a missing answer is a row with an empty text" for key in expected if key not in counts
    ]
    for number, (key, right) in enumerate(zip(counts, expected, strict=False), start=1):
        if key != right and not found:
            found.append(f"row {number} is {_who(key)}, {_who(right)} was expected: rows stand in the questions' order")
    return found


def _why_not_asked(key: tuple[str, str, int], task: Task, samples: int) -> str:
    item, annotator, sample = key
    if not 0 <= sample < samples:
        return f"there are {samples} samples, numbered from 0"
    if annotator not in task.annotators:
        return f"no annotator of this task ({', '.join(task.annotators[:8])})"
    split = next((name for name, ids in task.splits.items() if item in ids), None)
    if split != "test":
        return f"an item of the {split} split, not of test" if split else "no item of this task"
    return "a question that is never asked (the annotator left no label there)"


def _who(key: tuple[str, str, int]) -> str:
    item, annotator, sample = key
    return f"item {item!r:.60}, {annotator!r:.60}, sample {sample}"
