"""Results of judges as the terminal shows them, and as `judge --json` prints them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..text import aligned, number

JSON_KEYS = ("task", "judge", "accuracy", "low", "high", "ceiling", "floor", "unreadable", "n")


def json_rows(documents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of docs/cli.md."""
    return [{key: document[key] for key in JSON_KEYS} for document in documents]


def judged_text(documents: Sequence[Mapping[str, Any]], agreements: Sequence[Mapping[str, Any]] = ()) -> str:
    """A table of all judges, then what has to be said of each, then how far they agree."""
    rows = [("task", "judge", "accuracy [95 % interval]", "people", "blind", "chance", "unreadable", "missing", "n")]
    for d in documents:
        rows.append((
            d["task"], d["judge"], _spanned(d), _spanned(d["people"], "value"), number(d["floor"]), number(d["chance"]),
            str(d["unreadable"]), str(d["missing"]), str(d["n"]),
        ))  # fmt: skip
    parts = [aligned(rows)]
    parts += [f"{d['task']}, {d['judge']}: {d['note']}" for d in documents if d["note"]]
    parts += [_letters(d) for d in documents]
    for found in agreements:
        alpha = found["alpha"]
        parts.append(
            f"{found['task']}: Krippendorff's alpha of {', '.join(found['judges'])}: {number(alpha['system'])} on the "
            f"system's answers, {number(alpha['people'])} on people's"
        )
    return "\n".join(parts)


def _letters(document: Mapping[str, Any]) -> str:
    said, right = (document["letters"][key] for key in ("said", "right"))
    shown = ", ".join(f"{letter} {said[letter]} ({right[letter]})" for letter in said)
    return f"{document['task']}, {document['judge']}: letters said (right): {shown}"


def ranked_text(documents: Sequence[Mapping[str, Any]]) -> str:
    """A judge's accuracy on people's own texts, of all annotators and of each."""
    rows = [("task", "judge", "annotator", "accuracy [95 % interval]", "chance", "n")]
    for d in documents:
        for s in d["scores"]:
            rows.append((
                d["task"], d["system"], s["annotator"] or "all", _spanned(s, "value"), number(s["floor"]), str(s["n"])
            ))  # fmt: skip
    parts = [aligned(rows)]
    for d in documents:
        shown = ", ".join(f"{x} {n} ({d['letters']['right'][x]})" for x, n in d["letters"]["said"].items())
        parts.append(f"{d['task']}: {d['missing']} unreadable replies, counted as wrong; letters said (right): {shown}")
    return "\n".join(parts)


def _spanned(row: Mapping[str, Any], key: str = "accuracy") -> str:
    if row[key] is None:
        return "withheld" if key == "accuracy" else "–"
    return f"{number(row[key])} [{number(row['low'])}, {number(row['high'])}]"
