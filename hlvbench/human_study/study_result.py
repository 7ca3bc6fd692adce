"""The result of a study as tables, in Markdown and in plain text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..results.markdown import aligned, plain
from ..results.rows import legible, number

Rows = list[tuple[str, ...]]
Table = tuple[str, str, Rows]
"""A title, a note below it, and rows of cells, the first being the head."""


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


def _tables(result: Mapping[str, Any]) -> Iterator[Table]:
    """The tables that have rows."""
    rows: Rows = [("sheet", "file", "answered")]
    rows += [(r["sheet"], legible(r["file"]), f"{r['answered']}/{r['asked']}") for r in result["raters"]]
    yield "Raters", "what is left open counts nowhere", rows
    rows = [("question", "task", "system", "mean", "ratings", "items", "raters")]
    rows += [
        (r["question"], r["task"] or "all", legible(r["system"]), _interval(r), *_counts(r, "n", "items", "raters"))
        for r in result["means"]
    ]
    yield "Means", "scale 1 to 5; 95 % interval over items", rows
    rows = [("task", "system", "judge", "accuracy", "chance", "answers", "note")]
    rows += [
        (r["task"] or "all", legible(r["system"]), legible(r["judge"]), _interval(r), number(r["chance"]), str(r["n"]),
         legible(r["note"]))
        for r in result["attribution"]
    ]  # fmt: skip
    yield "Attribution", "share of right answers to the judge's question; judges: all questions of the run", rows
    rows = [("a", "b", "ratings a/b/none", "items a/b/undecided/same text", "a preferred", "p", "Holm p")]
    rows += [
        (legible(r["a"]), legible(r["b"]), "/".join(_counts(r, "ratings_a", "ratings_b", "ratings_tie")),
         "/".join(_counts(r, "items_a", "items_b", "items_undecided", "items_same")), _interval(r, "share_a"),
         _p(r["p"]), _p(r["p_holm"]))
        for r in result["preference"]
    ]  # fmt: skip
    note = "ratings, then items by the sum of their ratings; exact sign test over decided items, Holm over pairs"
    if result["preference"]:
        yield "Preference", note, rows
    rows = [("question", "units", "raw", "within 1", "kappa", "alpha")]
    rows += [
        (r["question"], str(r["units"]), _interval(r, "raw"), _interval(r, "within_one"), number(r["kappa"]),
         _interval(r, "alpha"))
        for r in result["agreement"]
    ]  # fmt: skip
    note = (
        "raw: pairs of ratings that are equal; kappa: Cohen's, quadratic weights on scales, mean over pairs of "
        "raters; alpha: Krippendorff's, ordinal on scales"
    )
    if result["agreement"]:
        yield "Agreement", note, rows
    rows = [("question", "shown twice", "same", "within 1", "by sheet")]
    for r in result["consistency"]:
        by = ", ".join(f"{sheet} {same}/{n}" for sheet, (same, n) in r["raters"].items())
        rows.append((r["question"], str(r["n"]), number(r["same"]), number(r.get("within_one")), by))
    if result["consistency"]:
        yield "Self-consistency", "repeated screens that got the same answer", rows


def _counts(row: Mapping[str, Any], *names: str) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in names)


def _interval(row: Mapping[str, Any], name: str = "value") -> str:
    prefix = "" if name == "value" else f"{name}_"
    value, low, high = row.get(name), row.get(f"{prefix}low"), row.get(f"{prefix}high")
    return "–" if value is None else number(value) + ("" if low is None else f" [{number(low)}, {number(high)}]")


def _p(p: float | None) -> str:
    return "–" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"
