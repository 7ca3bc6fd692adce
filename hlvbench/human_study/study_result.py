"""The result of a study as tables, in Markdown and in plain text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..results.markdown import plain
from ..text import aligned, in_brackets, legible, number

TABLES = {
    "raters": ("Raters", "what is left open counts nowhere", "sheet file answered asked"),
    "means": ("Means", "scale 1 to 5; 95 % interval over items", "question task system value n items raters"),
    "attribution": (
        "Attribution",
        "share of right answers to the judge's question; judges: all questions of the run",
        "task system judge value chance n note",
    ),
    "preference": (
        "Preference",
        "ratings for a, b and neither; items by the sum of their ratings; share of a among decided items with an exact "
        "sign test, Holm over pairs",
        "a b ratings_a ratings_b ratings_tie items_a items_b items_undecided items_same share_a p p_holm",
    ),
    "agreement": (
        "Agreement",
        "raw: pairs of ratings that are equal; kappa: Cohen's, quadratic weights on scales, mean over pairs of "
        "raters; alpha: Krippendorff's, ordinal on scales",
        "question units raw within_one kappa alpha",
    ),
    "consistency": (
        "Self-consistency",
        "repeated screens that got the same answer",
        "question n same within_one raters",
    ),
}
"""Part of the result -> title, note and columns of its table."""


def study_markdown(result: Mapping[str, Any]) -> str:
    """The result as GitHub-flavoured Markdown."""
    lines = [f"# Human study {plain(result['study'])}", ""]
    for title, note, (head, *rows) in _tables(result):
        cells = [map(plain, head), ["---"] * len(head), *(map(plain, row) for row in rows)]
        lines += [f"## {title}", "", note, "", *(f"| {' | '.join(row)} |" for row in cells), ""]
    return "\n".join([*lines, f"Conditions: `{result['conditions']}`.", ""])


def study_text(result: Mapping[str, Any]) -> str:
    """The result for a terminal."""
    parts = [f"{title}: {note}\n{aligned(rows)}" for title, note, rows in _tables(result)]
    return "\n\n".join([f"human study {result['study']}", *parts, result["conditions"]])


def _tables(result: Mapping[str, Any]) -> Iterator[tuple[str, str, list[tuple[str, ...]]]]:
    """Title, note and rows of cells, the head first, of every part that has rows."""
    for part, (title, note, columns) in TABLES.items():
        names = columns.split()
        rows = [tuple(_cell(row, name) for name in names) for row in result[part]]
        if rows:
            yield title, note, [tuple(name.replace("_", " ") for name in names), *rows]


def _cell(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if name == "task":
        return value or "all"
    if isinstance(value, Mapping):
        return ", ".join(f"{sheet} {same}/{n}" for sheet, (same, n) in value.items())
    if not isinstance(value, float):
        return "–" if value is None else legible(value)
    if name in ("p", "p_holm") and value < 0.001:
        return "<0.001"
    prefix = "" if name == "value" else f"{name}_"
    return number(value) + in_brackets(row.get(f"{prefix}low"), row.get(f"{prefix}high"))
