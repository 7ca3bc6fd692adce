"""Errors that a user can act on: each says what is wrong, where, what was found and the remedy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class HlvbenchError(Exception):
    """Wrong input or a missing precondition; the command line prints it and exits with 2."""


class UsageError(HlvbenchError):
    """A command or an option that does not make sense."""


class DataError(HlvbenchError):
    """A data file that is missing, changed, truncated or malformed."""


class TaskError(HlvbenchError):
    """A task folder that cannot be loaded."""


class ModelError(HlvbenchError):
    """A model that cannot be loaded or cannot answer."""


class AdapterError(ModelError):
    """An adapter that does not fit its base, its task or its annotator."""


class RunError(HlvbenchError):
    """A run folder that does not belong to the settings asked for, or is incomplete."""


class MetricError(HlvbenchError):
    """An unknown metric, or a parameter it does not take."""


def all_problems(heading: str, problems: Iterable[str], most: int = 50) -> str:
    """One message for all problems at once.

    Args:
        heading: First line.
        problems: One line each.
        most: Problems beyond this number are counted, not listed.
    """
    found = list(problems)
    lines = [heading, *(f"  {problem}" for problem in found[:most])]
    if len(found) > most:
        lines.append(f"  ... and {len(found) - most} more")
    return "\n".join(lines)


def validation_problems(error: ValidationError, *, option: bool = False) -> list[str]:
    """Every problem that pydantic found in a document: "place: value: what is wrong".

    Args:
        option: the fields are command-line options: "--place value: what is wrong".
    """
    problems = []
    for found in error.errors(include_url=False, include_context=False):
        place, value = ".".join(map(str, found["loc"])), found["input"]
        message = found["msg"].removeprefix("Value error, ")
        if option:
            shown = ",".join(map(str, value)) if isinstance(value, list | tuple) else value
            problems.append(f"--{place.replace('_', '-')} {shown}: {message}")
        else:
            problems.append(
                f"{place}: {message}" if found["type"] == "missing" else f"{place}: {value!r:.60}: {message}"
            )
    return problems
