"""A run as Markdown, as the plain table that the terminal shows, and several runs side by side."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..text import aligned, legible, number
from .markup import Html
from .report_model import MOST_COLUMNS, Beside, Block, Bullets, Cell, Code, Facts, Fold, Note, Shaded, Table
from .report_page import shown_settings
from .report_sections import TaskResult, headline_table, sections, tally
from .score_report import Score, ScoreReport

COLUMNS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "label accuracy": ("label_accuracy", {"multi": "any"}),
    "label κ": ("label_kappa", {}),
    "ROUGE-L": ("rouge_l", {"view": "raw"}),
    "grounding": ("grounding_skill", {"view": "raw"}),
    "NIS@10": ("imitation_score", {"view": "norm", "reduce": "self", "fit": "dev", "floor": "chance", "m": 10}),
    "own gain": ("own_gain", {"view": "norm", "sim": "embed"}),
    "hlv_index": ("hlv_index", {}),
}
"""Columns of a side-by-side table -> metric and parameters; the last one is shown with its interval."""
LONGEST_CELL = 60
"""Characters of a reason that stands in the terminal's table; a longer one stands below."""


def summary(reports: Iterable[ScoreReport]) -> str:
    """A plain-text table of the headline scores per task."""
    return "\n\n".join(f"{_facts_line(report)}\n{_text_table(headline_table(report))}" for report in reports)


def _facts_line(report: ScoreReport) -> str:
    missing = f"{report.missing} missing"
    if report.missing_reasons:
        missing += f" ({tally(report.missing_reasons)})"
    majority = number(report.majority.get("mean"))
    return (
        f"{report.task} {report.split}: {report.system}; {report.questions * report.samples} questions, {missing}; "
        f"majority label accuracy {majority}"
    )


def _text_table(table: Table) -> str:
    kept, reasons = _columns(table), list[str]()

    def cell(value: Cell) -> str:
        text = _text(value, table.digits)
        if len(text) <= LONGEST_CELL:
            return text
        reason = text.removeprefix("– (").removesuffix(")")
        if reason not in reasons:
            reasons.append(reason)
        return f"– [{reasons.index(reason) + 1}]"

    rows = [[table.head[c] for c in kept], *([cell(row[c]) for c in kept] for row in table.rows)]
    return "\n".join([aligned(rows), *(f"[{place}] {reason}" for place, reason in enumerate(reasons, 1))])


def side_by_side(runs: Mapping[str, Sequence[ScoreReport]]) -> str:
    """Several runs as one Markdown table per task.

    Args:
        runs: Name of a run -> its scores; a row per run, in this order.
    """
    tasks = dict.fromkeys(report.task for reports in runs.values() for report in reports)
    parts = []
    for task in tasks:
        lines = ["| system | " + " | ".join(COLUMNS) + " | missing |", "|---|" + "---:|" * (len(COLUMNS) + 1)]
        for name, reports in runs.items():
            for report in (report for report in reports if report.task == task):
                cells = [*side_by_side_cells(report), str(report.missing)]
                lines.append(f"| {plain(name)} | {' | '.join(cells)} |")
        parts.append(f"{plain(task)}\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def side_by_side_cells(report: ScoreReport) -> list[str]:
    """The values of `COLUMNS`, the index with its interval."""
    found = [report.first(name, **parameters) for name, parameters in COLUMNS.values()]
    cells = ["–" if score is None else number(score.value) for score in found]
    index = found[-1]
    return [*cells[:-1], "–" if index is None or index.value is None else str(index)]


def markdown(results: Sequence[TaskResult], settings: Mapping[str, Any] | None = None) -> str:
    """The report as GitHub-flavoured Markdown."""
    lines = ["# hlvbench report", ""]
    if shown := [f"{plain(what)} {plain(how)}" for what, how in shown_settings(settings or {})]:
        lines += [f"Settings: {', '.join(shown)}.", ""]
    for result in results:
        lines += [f"## {plain(result.report.task)}", ""]
        for section in sections(result):
            lines += [f"### {section.title}", ""] if section.title else []
            lines += [line for block in section.blocks for line in _block(block)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _block(block: Block) -> list[str]:
    match block:
        case Facts(rows):
            return [*(f"- {what}: {plain(how)}" for what, how in rows), ""]
        case Bullets(rows):
            return [*(f"- {plain(what)}: {', '.join(map(_code, metrics))}" for what, metrics in rows), ""]
        case Note(parts):
            text = "".join(_cell(part) for part in parts if not isinstance(part, Html))
            return [text, ""] if text else []
        case Fold(title, blocks, in_markdown):
            lines = [line for inner in blocks for line in _block(inner)] if in_markdown else []
            return [f"{plain(title)}:", "", *lines] if lines else []
        case Beside(figures):
            return [line for title, blocks in figures.items() for line in _block(Fold(title, blocks))]
        case Table():
            kept = _columns(block)
            if len(kept) > MOST_COLUMNS + 2 or not block.rows:
                return []
            cells = [[plain(block.head[c]) for c in kept], ["---"] * len(kept)]
            cells += [[_cell(row[c], block.digits) for c in kept] for row in block.rows]
            return [*("| " + " | ".join(line) + " |" for line in cells), ""]
    return []


def _columns(table: Table) -> list[int]:
    """The columns of a table that are not drawn."""
    return [c for c in range(len(table.head)) if not any(isinstance(row[c], Html) for row in table.rows)]


def _cell(cell: Cell, digits: int = 3) -> str:
    return _code(cell.text) if isinstance(cell, Code) else plain(_text(cell, digits))


def _text(cell: Cell, digits: int) -> str:
    match cell:
        case Code(text) | Shaded(text):
            return text
        case Score() | str() | int():
            return str(cell)
    return number(cell, digits)


def plain(text: object) -> str:
    """Text that Markdown shows as it is, on one line and in one table cell."""
    line = re.sub(r"[\s\x00-\x1f]+", " ", legible(text))
    return re.sub(r"([\\`*_\[\]<>|~&])", r"\\\1", line)


def _code(text: str) -> str:
    """A code span; a table cell takes no bar, and a metric has none."""
    return "`" + re.sub(r"[\s`]+", " ", legible(text)) + "`"
