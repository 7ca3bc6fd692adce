"""The two views of every text (METRICS.md section 2)."""

from __future__ import annotations

import re
import unicodedata

VIEWS = ("raw", "norm")
_NOT_WORD = re.compile(r"\W+")


def raw(text: str) -> str:
    """Unicode NFC, outer whitespace stripped."""
    return unicodedata.normalize("NFC", text).strip()


def norm(text: str) -> str:
    """Lower case, every run of non-word characters one space: what is left without orthography."""
    return _NOT_WORD.sub(" ", unicodedata.normalize("NFC", text).lower()).strip()


def in_view(text: str, view: str) -> str:
    """`text` in the view "raw" or "norm"."""
    return {"raw": raw, "norm": norm}[view](text)
