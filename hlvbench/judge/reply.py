"""A judge's raw reply -> one letter, or none. A letter is read, never guessed."""

from __future__ import annotations

import re
from dataclasses import replace

from ..parse import parse
from ..types import Task

_PROSE = re.compile(
    r"\b(?:answer|writer|author|person|letter|choice)\b[^.\n]{0,30}?\b(?:is|was)\b[\s:]*[\"'“*_(]*([A-D])(?![\w'’])"
)
_THOUGHTS = re.compile(r"^.*</think>|<think>.*", re.S | re.I)


def read_letter(text: str, letters: str, task: Task) -> str | None:
    """The letter that a reply names; None if it names none, several, or one that was not on offer.

    The letters are labels, read as the labels of answers are (`parse`): "B", "**B**", "(b)", "Answer: B",
    {"answer": "B"}; besides, "The writer is B." What stands in a think block does not count.
    """
    found = parse(text, replace(task, kind="nominal", labels=tuple(letters))).label
    if found is not None:
        return str(found)
    named = set(_PROSE.findall(_THOUGHTS.sub("", text)))
    (only,) = named if len(named) == 1 else (None,)
    return only if only is not None and only in letters else None
