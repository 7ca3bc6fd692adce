"""The two views of every text (docs/metrics.md section 2), and text from outside made fit to show."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

VIEWS = ("raw", "norm")
UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "HALFWIDTH", "THAI", "LAO", "KHMER", "MYANMAR")
"""How the names of characters begin whose script puts no space between words."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet takes for a formula."""
_NOT_WORD = re.compile(r"\W+")
_JOINERS = "\u200c\u200d"


def raw(text: str) -> str:
    """Unicode NFC, outer whitespace stripped."""
    return unicodedata.normalize("NFC", text).strip()


def norm(text: str) -> str:
    """The text without orthography: lower case, with every run of non-word characters replaced by one space.

    Combining marks (vowel signs, viramas, accents) belong to the letter before them; joiners within a word are dropped.
    """
    lowered = unicodedata.normalize("NFC", text).lower()
    if lowered.isascii():
        return _NOT_WORD.sub(" ", lowered).strip()
    latin, found = mostly_latin(lowered), [" "]
    for c in lowered:
        within = found[-1] != " "
        if c.isalnum() or c == "_" or (within and _is_mark(c, latin)):
            found.append(c)
        elif not (within and c in _JOINERS):
            found.append(" ")
    return " ".join("".join(found).split())


def mostly_latin(text: str) -> bool:
    """Whether at least half of the letters are Latin ones."""
    foreign = sum(not c.isascii() and c.isalpha() and "LATIN" not in unicodedata.name(c, "") for c in text)
    return 2 * foreign <= sum(map(str.isalpha, text))


def _is_mark(character: str, latin: bool) -> bool:
    """Whether a character combines with the letter before it; latin: whether it stands in a mostly Latin text.

    Not a variation selector, which belongs to a symbol. A word quoted from a script without spaces is no word of a
    Latin text (R2 has one).
    """
    if unicodedata.category(character) not in ("Mn", "Mc"):
        return False
    name = unicodedata.name(character, "")
    return not name.startswith("VARIATION SELECTOR") and not (latin and name.startswith(UNSPACED))


def in_view(text: str, view: str) -> str:
    """The text in a view.

    Args:
        text: Any text.
        view: "raw" (`raw`) or "norm" (`norm`).

    Raises:
        KeyError: For another view.
    """
    return {"raw": raw, "norm": norm}[view](text)


_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_ABSOLUTE = re.compile(
    r"""(?<![\w:/.~-])/(?:[^\s/"'<>]+/)+[^\s/"'<>]*"""  # two parts or more: "and /or" is no path
    r"""|(?<![\w:/.~-])/(?:tmp|home|root|work|data|mnt|srv|opt|var|Users)\b"""
    r"""|(?<![\w/])~[\w-]*/|(?<!\w)[A-Za-z]:[\\/]|\\\\\w|\bfile:/|(?<![\w.])\.\.(?:/|\\|$)"""
)


def legible(value: object) -> str:
    """Text as UTF-8 can hold it: control characters and those that turn its direction become U+FFFD."""
    return _CONTROL.sub("\ufffd", str(value).encode("utf-8", "replace").decode())


def hidden(text: str) -> str:
    """The name of the first character that a reader would not see, or that turns the text around; else empty."""
    for char in text:
        # the joiners that Persian and Indic words need are no secret
        if char not in "\n" + _JOINERS and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
            return f"U+{ord(char):04X} {unicodedata.name(char, '').lower()}".strip()
    return ""


def local_path(text: str) -> str:
    """The first piece of `text` that is a path of some machine, or leaves its folder; else empty."""
    match = _ABSOLUTE.search(text)
    return match[0] if match else ""


def number(value: float | None, digits: int = 3) -> str:
    """A number for people, "–" for None; never -0."""
    return "–" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def in_brackets(low: float | None, high: float | None) -> str:
    """An interval as it follows its value; empty where there is none."""
    return "" if low is None else f" [{number(low)}, {number(high)}]"


def with_interval(row: Mapping[str, Any], key: str = "value") -> str:
    """The number that a row has under `key`, and its interval."""
    return number(row[key]) + in_brackets(row["low"], row["high"])


def as_cell(text: str) -> str:
    """The text for a CSV file: a spreadsheet runs what begins like a formula; a quote before it makes it text."""
    return f"'{text}" if text.startswith(FORMULA) else text


def aligned(rows: Sequence[Sequence[str]], indent: str = "") -> str:
    """Rows of cells as lines of columns."""
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join((indent + line).rstrip() for line in lines)
