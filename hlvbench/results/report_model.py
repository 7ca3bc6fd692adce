"""What a report consists of: sections of blocks, which `report_page` renders as HTML and `markdown` as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .markup import Html
from .score_report import Score


@dataclass(frozen=True)
class Code:
    """The name of a metric. meaning: one line about it; title: shown when pointed at; both in HTML alone."""

    text: str
    meaning: str = ""
    title: str = ""


@dataclass(frozen=True)
class Shaded:
    """The text of a cell that HTML shades by a share (0 to 1, None: not at all)."""

    text: str
    share: float | None


Cell = str | float | None | Score | Code | Shaded | Html
"""Text, a number, a score (with its interval), a metric, a shaded text, or a drawing, which only HTML shows."""


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first cell names its row. wide: heads that narrow screens leave out; digits: of numbers."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    style: str = ""
    wide: tuple[str, ...] = ()
    digits: int = 3


@dataclass(frozen=True)
class Note:
    """A paragraph; of its parts only HTML shows the drawn ones."""

    parts: Sequence[str | Score | Code | Html]
    style: str | None = "note"


@dataclass(frozen=True)
class Bullets:
    """A list; each entry is a text and the metrics that it is about."""

    rows: Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True)
class Facts:
    """(what, how much) pairs."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Beside:
    """Figures side by side: title -> blocks. style: of the box, "pair" or "charts"."""

    figures: Mapping[str, Sequence[Block]]
    style: str = "pair"


@dataclass(frozen=True)
class Fold:
    """Blocks that HTML closes until asked for; in_markdown: whether Markdown has them at all."""

    title: str
    blocks: Sequence[Block]
    in_markdown: bool = True


Block = Table | Note | Bullets | Facts | Beside | Fold | Html
"""Html is a chart, which only HTML shows."""


@dataclass(frozen=True)
class Section:
    """Blocks under a heading; without a title they stand at the head of the task."""

    title: str
    blocks: Sequence[Block]


MOST_COLUMNS = 8
"""Annotators that still fit beside each other; more are folded away."""


def heat_table(caption: str, corner: str, columns: Sequence[str], rows: Mapping[str, Sequence[Shaded]]) -> Table:
    """A table of shaded cells. corner: what rows and columns are; rows: name -> one cell per column."""
    dense = " dense" if len(columns) > MOST_COLUMNS else ""
    return Table(caption, [corner, *columns], [[name, *cells] for name, cells in rows.items()], f"heatmap{dense}")
