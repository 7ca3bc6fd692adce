"""What a report consists of: sections of blocks, which `report_page` renders as HTML and `markdown` as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .markup import Html
from .score_report import Score


@dataclass(frozen=True)
class Code:
    """The name of a metric. meaning: one line about it; title: shown when pointed at; both in HTML alone."""

    text: str
    meaning: str = ""
    title: str = ""


Cell = str | float | None | Score | Code | Html
"""Text, a number, a score (with its interval), a metric, or a drawing, which only HTML shows."""


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
class Heat:
    """A table whose cells are shaded by `shares` (0 to 1, None: not at all) and carry `texts`."""

    caption: str
    corner: str
    rows: Sequence[str]
    columns: Sequence[str]
    texts: Sequence[Sequence[str]]
    shares: Sequence[Sequence[float | None]]


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
class Figure:
    """Blocks under a title, beside other figures."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Beside:
    """Figures side by side. style: of the box, "pair" or "charts"."""

    figures: Sequence[Figure]
    style: str = "pair"


@dataclass(frozen=True)
class Fold:
    """Blocks that HTML closes until asked for; in_markdown: whether Markdown has them at all."""

    title: str
    blocks: Sequence[Block]
    in_markdown: bool = True


@dataclass(frozen=True)
class Drawing:
    """A chart, which only HTML shows."""

    html: Html


Block = Table | Heat | Note | Bullets | Facts | Beside | Fold | Drawing


@dataclass(frozen=True)
class Section:
    """Blocks under a heading; without a title they stand at the head of the task."""

    title: str
    blocks: Sequence[Block]
