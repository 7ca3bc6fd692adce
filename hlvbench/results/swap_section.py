"""The swap matrices of a report: for whom a probe takes the answers that were given as each annotator."""

from __future__ import annotations

from collections.abc import Sequence

from ..text import number
from .answer_items import mean
from .report_model import MOST_COLUMNS, Beside, Block, Code, Fold, Note, Section, Shaded, heat_table
from .score_report import Matrix, ScoreReport, SwapTable


def swap_section(report: ScoreReport) -> Section:
    """The matrix of the index's view and largest group, then the others folded; each with its reading in words."""
    if report.details is None:
        how = "This scores.json holds no details: `hlvbench score` on the run's folder adds them."
        return Section("Swap matrix", [Note([how])])
    how = ("Row: the annotator that the answers were given as. Column: the annotator that a probe takes their writer "
           "for, as a mean probability. A system that imitates has a dark diagonal; one that writes the same under "
           "every name has equal rows.")  # fmt: skip
    blocks: list[Block] = [Note([how])]
    if error := report.first("agreement_error"):
        blocks.append(
            Note([Code("agreement_error"), " ", error, ": how far the annotators' agreement with each other is from "
                  f"that of the humans, in their labels. Humans 0, one answer for all of them {number(error.floor)}."],
                 None)
        )  # fmt: skip
    given = [table for table in report.swaps() if table.system is not None]
    for position, table in enumerate(given):
        reading, drawn = _swap(report.annotators, table)
        title = f"{table.view} view, groups of {table.m}"
        first = [Note([f"{title}: {reading}"], None), *drawn]
        blocks += first if position == 0 else [Fold(title, [Note([reading], None), *drawn])]
    blocks += [Note([f"{table.view} view: {table.note}"]) for table in report.swaps() if table.system is None]
    return Section("Swap matrix", blocks)


def _swap(annotators: Sequence[str], table: SwapTable) -> tuple[str, list[Block]]:
    """The reading of a swap matrix and the matrices of system and humans, without annotators that have no value."""
    full = table.system or []
    kept = [i for i, row in enumerate(full) if any(v is not None for v in row)]
    system, human = ([[side[i][j] for j in kept] for i in kept] for side in (full, table.human or full))
    names = [annotators[i] for i in kept]
    top = max([v for side in (system, human) for row in side for v in row if v is not None], default=1.0) or 1.0
    title = f"{table.view} view, groups of {table.m}"
    figures = {}
    for who, side in (("System", system), ("Humans", human)):
        cells = [[Shaded(_two(v), None if v is None else v / top) for v in row] for row in side]
        rows = dict(zip(names, cells, strict=True))
        figures[f"{who}: {title}"] = [heat_table(f"{who}, {title}", "↓ given, judged →", names, rows)]
    absent = [name for i, name in enumerate(annotators) if i not in kept]
    return swap_reading(system, human, absent), [Beside(figures)]


def swap_reading(table: Matrix, human: Matrix, absent: Sequence[str] = ()) -> str:
    """A swap matrix in words; `absent`: whom it lacks."""
    apart, own, theirs = rows_apart(table), _diagonal(table), rows_apart(human)
    chance = 1 / max(1, sum(any(v is not None for v in row) for row in table))
    if apart is None or own is None:
        return "Too few annotators to compare."
    reading = (
        f"Mean on the diagonal {number(own)} (humans {number(_diagonal(human))}, chance {number(chance)}); "
        f"two rows differ by at most {number(apart)} (humans {number(theirs)})."
    )
    if absent:
        named = ", ".join(absent) if len(absent) <= MOST_COLUMNS else f"{len(absent)} annotators"
        reading += f" Left out, with too few answers or dev annotations: {named}."
    return f"All rows are alike: under all names the probe sees one writer. {reading}" if apart < 0.02 else reading


def rows_apart(table: Matrix) -> float | None:
    """The largest total variation distance of two rows: 0 = all rows equal, 1 = no overlap."""
    rows = [known for row in table if len(known := [v for v in row if v is not None]) == len(row)]
    gaps = [sum(abs(a - b) for a, b in zip(x, y, strict=True)) / 2 for i, x in enumerate(rows) for y in rows[:i]]
    return max(gaps, default=None)


def _diagonal(table: Matrix) -> float | None:
    return mean([row[i] for i, row in enumerate(table)])


def _two(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".replace("0.", ".", 1) if 0 <= value < 1 else f"{value:.2f}"
