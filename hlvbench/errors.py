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


def first_lines(error: BaseException, count: int = 1) -> str:
    """The first lines of an error's message that are not blank, as one line; its type where it has no message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:count])[:400] or type(error).__name__


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


def validation_problems(error: ValidationError) -> list[str]:
    """One line per problem that pydantic found: the place in the document, what is wrong, what was got."""
    lines = []
    for problem in error.errors(include_url=False):
        place = "".join(f"[{key}]" if isinstance(key, int) else f".{key:.60}" for key in problem["loc"]).lstrip(".")
        said = problem["msg"].removeprefix("Value error, ")
        known = {"extra_forbidden": "is not a key here", "missing": "is missing"}.get(problem["type"])
        got = "" if known or problem["type"] == "value_error" else f", got {problem['input']!r:.60}"
        lines.append(f"{place}: {known or said}{got}" if place else f"{said}{got}")
    return lines


def option_problems(error: ValidationError) -> list[str]:
    """The same for settings whose fields are command-line options: "--option value: what is wrong"."""
    lines = []
    for problem in error.errors(include_url=False):
        option, value = str(problem["loc"][0]).replace("_", "-"), problem["input"]
        shown = ",".join(map(str, value)) if isinstance(value, list | tuple) else value
        lines.append(f"--{option} {shown}: {problem['msg'].removeprefix('Value error, ')}")
    return lines
