"""Results of judges for the terminal, and as `judge --json` prints them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..text import aligned, number, with_interval

JSON_KEYS = ("task", "judge", "accuracy", "low", "high", "ceiling", "floor", "unreadable", "n")


def json_rows(reports: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of docs/cli.md."""
    return [{key: report[key] for key in JSON_KEYS} for report in reports]


def judged_text(reports: Sequence[Mapping[str, Any]], agreements: Sequence[Mapping[str, Any]] = ()) -> str:
    """A table of all judges, then notes and letters of each, then their agreement."""
    rows = [("task", "judge", "accuracy [95 % interval]", "human", "blind", "chance", "unreadable", "missing", "n")]
    rows += [
        (r["task"], r["judge"], _interval(r, "accuracy"), _interval(r["human"], "value"), number(r["floor"]),
         number(r["chance"]), *(str(r[key]) for key in ("unreadable", "missing", "n")))
        for r in reports
    ]  # fmt: skip
    parts = [aligned(rows)]
    parts += [f"{r['task']}, {r['judge']}: {r['note']}" for r in reports if r["note"]]
    parts += [f"{r['task']}, {r['judge']}: {_letters(r)}" for r in reports]
    for agreement in agreements:
        judges, alpha = ", ".join(agreement["judges"]), agreement["alpha"]
        parts.append(
            f"{agreement['task']}: Krippendorff's alpha of {judges}: {number(alpha['system'])} on the system's "
            f"answers, {number(alpha['human'])} on human ones"
        )
    return "\n".join(parts)


def ranked_text(documents: Sequence[Mapping[str, Any]]) -> str:
    """A judge's accuracy on human texts, of all annotators and of each."""
    rows = [("task", "judge", "annotator", "accuracy [95 % interval]", "chance", "n")]
    for d in documents:
        for s in d["scores"]:
            name = s["annotator"] or "all"
            rows.append((d["task"], d["system"], name, _interval(s, "value"), number(s["floor"]), str(s["n"])))
    notes = [f"{d['task']}: {d['missing']} unreadable replies, counted as wrong; {_letters(d)}" for d in documents]
    return "\n".join([aligned(rows), *notes])


def _letters(report: Mapping[str, Any]) -> str:
    named, right = (report["letters"][key] for key in ("named", "right"))
    return "letters named (right): " + ", ".join(f"{x} {named[x]} ({right[x]})" for x in named)


def _interval(row: Mapping[str, Any], key: str) -> str:
    return "withheld" if key == "accuracy" and row[key] is None else with_interval(row, key)
