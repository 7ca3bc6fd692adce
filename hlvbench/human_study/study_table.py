"""The CSV alternative: a sheet as a table that any spreadsheet program fills in."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from .sheet import Sheet, asked_of, columns, fingerprint
from .wording import QUESTIONS

GIVEN = ("study", "sheet", "sheet_sha256", "screen", "part", "sha256")
TEXTS = ("asked", "texts", "answer", "second_answer", "people_or_examples")
HEAD = (*GIVEN, *TEXTS, *QUESTIONS)
NOT_ASKED = "-"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_QUOTE = "'"
_MARK = "\ufeff"


def sheet_csv(sheet: Sheet) -> str:
    """The table, with a byte order mark: without it spreadsheets take UTF-8 for another encoding."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(HEAD)
    for screen in sheet.screens:
        asked = asked_of(screen["part"])
        given = (sheet.study, sheet.id, sheet.sha256, screen["id"], screen["part"], screen["sha256"])
        blanks = ["" if name in asked else NOT_ASKED for name in QUESTIONS]
        writer.writerow([*given, *map(_inert, columns(screen)), *blanks])
    return _MARK + out.getvalue()


def _inert(text: str) -> str:
    """A spreadsheet runs a cell that begins like a formula; a quote before it makes it text."""
    return _QUOTE + text if text.startswith((*_FORMULA, _QUOTE)) else text


def _bare(cell: str) -> str:
    """The text without the quote; spreadsheets may have dropped it."""
    return cell[1:] if cell.startswith(tuple(_QUOTE + c for c in (*_FORMULA, _QUOTE))) else cell


def table_answers(text: str) -> Iterator[dict[str, Any]]:
    """Of every row of a filled-in table what a page's export has of a screen, and study, sheet and sheet_sha256.

    "sha256" is that of the texts as they stand in the row. ValueError if this is not such a table.
    """
    body = text.removeprefix(_MARK)
    first = body.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = csv.reader(io.StringIO(body), delimiter=delimiter, strict=True)
    try:
        head = tuple(cell.strip() for cell in next(rows, []))
        if head != HEAD:
            raise ValueError(
                "its first line is not that of a rating table; import and save it with all columns as text"
            )
        for number, cells in enumerate(rows, start=2):
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(HEAD):
                raise ValueError(f"row {number} has {len(cells)} cells where {len(HEAD)} were expected")
            row = dict(zip(HEAD, cells, strict=True))
            values = {name: row[name].strip() for name in QUESTIONS}
            yield {
                **{name: row[name].strip() for name in GIVEN},
                "sha256": fingerprint([_bare(row[name]) for name in TEXTS]),
                "values": {name: value or None for name, value in values.items() if value != NOT_ASKED},
            }
    except csv.Error as error:
        raise ValueError(f"not a CSV file: {error}") from None
