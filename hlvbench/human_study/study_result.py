"""The result of a study as tables: Markdown, and plain text for a terminal. They say the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..results.markdown import plain
from ..text import legible, number

Result = Mapping[str, Any]
Rows = list[tuple[str, ...]]
Table = tuple[str, str, Rows]
"""A title, a note below it, and rows of cells, the first being the head."""


def study_markdown(result: Result) -> str:
    """The result as GitHub-flavoured Markdown."""
    lines = [f"# Human study {plain(result['study'])}", ""]
    for title, note, rows in _tables(result):
        lines += [f"## {title}", "", note, ""]
        for n, row in enumerate(rows):
            lines.append("| " + " | ".join(map(plain, row)) + " |")
            lines += ["|" + "---|" * len(row)] if n == 0 else []
        lines.append("")
    lines += [f"Conditions: `{result['conditions']}`.", ""]
    return "\n".join(lines)


def study_text(result: Result) -> str:
    """The result for a terminal."""
    parts = [f"human study {result['study']}"]
    for title, note, rows in _tables(result):
        widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
        table = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        parts.append("\n".join([f"{title}: {note}", *(f"  {line}" for line in table)]))
    return "\n\n".join([*parts, result["conditions"]])


def _tables(result: Result) -> Iterator[Table]:
    yield "Raters", "what is left open counts nowhere", _raters(result["raters"])
    yield "Means", "scale 1 to 5; 95 % interval over items", _means(result["means"])
    note = "share of right answers to the judge's question; judges: all questions of the run"
    yield "Attribution", note, _attribution(result["attribution"])
    if result["preference"]:
        note = "ratings, then items by the sum of their ratings; exact sign test over decided items, Holm over pairs"
        yield "Preference", note, _preference(result["preference"])
    if result["agreement"]:
        note = (
            "raw: pairs of ratings that are equal; kappa: Cohen's, quadratic weights on scales, mean over pairs of "
            "raters; alpha: Krippendorff's, ordinal on scales"
        )
        yield "Agreement", note, _agreement(result["agreement"])
    if result["consistency"]:
        note = "screens asked a second time that got the same answer"
        yield "Self-consistency", note, _consistency(result["consistency"])


def _raters(rows: Sequence[Mapping[str, Any]]) -> Rows:
    answered = [(r["sheet"], legible(r["file"]), f"{r['answered']}/{r['asked']}") for r in rows]
    return [("sheet", "file", "answered"), *answered]


def _span(row: Mapping[str, Any], name: str = "value") -> str:
    low, high = (row["low"], row["high"]) if name == "value" else (row[f"{name}_low"], row[f"{name}_high"])
    if row[name] is None:
        return "–"
    return number(row[name]) + ("" if low is None else f" [{number(low)}, {number(high)}]")


def _means(rows: Sequence[Mapping[str, Any]]) -> Rows:
    out: Rows = [("question", "task", "system", "mean", "ratings", "items", "raters")]
    for r in rows:
        counts = (str(r["n"]), str(r["items"]), str(r["raters"]))
        out.append((r["question"], r["task"] or "all", legible(r["system"]), _span(r), *counts))
    return out


def _attribution(rows: Sequence[Mapping[str, Any]]) -> Rows:
    out: Rows = [("task", "system", "judge", "accuracy", "chance", "answers", "note")]
    for r in rows:
        names = (r["task"] or "all", legible(r["system"]), legible(r["judge"]))
        out.append((*names, _span(r), number(r["chance"]), str(r["n"]), legible(r["note"])))
    return out


def _preference(rows: Sequence[Mapping[str, Any]]) -> Rows:
    out: Rows = [("a", "b", "ratings a/b/none", "items a/b/undecided/same text", "a preferred", "p", "Holm p")]
    for r in rows:
        ratings = f"{r['ratings_a']}/{r['ratings_b']}/{r['ratings_tie']}"
        items = f"{r['items_a']}/{r['items_b']}/{r['items_undecided']}/{r['items_same']}"
        out.append(
            (legible(r["a"]), legible(r["b"]), ratings, items, _span(r, "share_a"), _small(r["p"]), _small(r["p_holm"]))
        )
    return out


def _small(p: float | None) -> str:
    return "–" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def _agreement(rows: Sequence[Mapping[str, Any]]) -> Rows:
    out: Rows = [("question", "units", "raw", "within 1", "kappa", "alpha")]
    for r in rows:
        within = _span(r, "within_one") if "within_one" in r else "–"
        out.append((r["question"], str(r["units"]), _span(r, "raw"), within, number(r["kappa"]), _span(r, "alpha")))
    return out


def _consistency(rows: Sequence[Mapping[str, Any]]) -> Rows:
    out: Rows = [("question", "asked twice", "same", "within 1", "by sheet")]
    for r in rows:
        by = ", ".join(f"{sheet} {same}/{n}" for sheet, (same, n) in r["raters"].items())
        out.append((r["question"], str(r["n"]), number(r["same"]), number(r.get("within_one")), by))
    return out
