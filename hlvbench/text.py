"""The two views of every text (docs/metrics.md section 2)."""

from __future__ import annotations

import re
import unicodedata

VIEWS = ("raw", "norm")
UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "HALFWIDTH", "THAI", "LAO", "KHMER", "MYANMAR")
"""How the names of characters begin whose script puts no space between words."""
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
