"""index.html: one file, no server, no outside resource; readable without script."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..metrics import parse_metric
from ..results.markup import Html, Part, tag
from ..results.report_page import page_head
from .board_sections import about_section, history_section, reported_section
from .board_tables import board_table

_HERE = Path(__file__).parent
SCRIPTS = ("stats.js", "draw.js", "detail.js", "compare.js", "table.js")
_ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def page(board: Mapping[str, Any]) -> str:
    """The leaderboard as an HTML page."""
    sheets = (_HERE.parent / "results" / "report.css", _HERE / "leaderboard.css")
    style = "".join(sheet.read_text("utf-8") for sheet in sheets)
    script = script_of()
    current = [t for t in board["tables"] if t["current"]]
    older = [t for t in board["tables"] if not t["current"]]
    tables = [*([board["overall"]] if board["overall"] else []), *current, *older]
    described = "hlvbench: can a model learn how one annotator decides and explains?"
    head = page_head("hlvbench leaderboard", style, script, tag("meta", name="description", content=described))
    body = tag(
        "body",
        tag("a", "Skip to the tables", href="#tables", class_="skip"),
        _header(board),
        tag("nav", [tag("a", _tab(t), href=f"#{t['id']}", data_tab=t["id"]) for t in tables], class_="tabs",
            aria_label="Tables"),
        _tools(board),
        tag("main", [_section(t, board, current) for t in tables], id="tables"),
        history_section(board), reported_section(board["reported"]), about_section(),
        tag("dialog", id="panel", aria_label="Details"),
        tag("p", id="said", class_="unseen", role="status"),
        tag("script", _data(board), type="application/json", id="board"),
        tag("script", Html(script)),
    )  # fmt: skip
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


def script_of() -> str:
    """All of the page's script, as one closed scope."""
    parts = [(_HERE / name).read_text("utf-8") for name in SCRIPTS]
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"


def _data(board: Mapping[str, Any]) -> Html:
    """What the script shows on request, as JSON that no HTML parser sees as anything but text."""
    kept = {k: board[k] for k in ("systems", "overall")} | {"tables": [_packed(t) for t in board["tables"]]}
    text = json.dumps(kept, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for char, escaped in _ESCAPED.items():
        text = text.replace(char, escaped)
    return Html(text)


SCORE = ("metric", "value", "low", "high", "floor", "ceiling", "n", "note", "by")


def _packed(table: Mapping[str, Any]) -> dict[str, Any]:
    """A table without what the page does not show, a score as the list of its values, a metric as its number in
    `names`: a third less, which counts with hundreds of rows. `better`: which way each metric is better. detail.js
    takes it apart again."""
    names = list(dict.fromkeys(s["metric"] for row in table["rows"] for s in row["scores"]))
    directions = [parse_metric(name).spec.better for name in names]
    number = {name: at for at, name in enumerate(names)}
    rows = [
        {
            **row,
            "scores": [[number[s["metric"]], *(s[k] for k in SCORE[1:])] for s in row["scores"]],
            "curves": {k: v for k, v in row["curves"].items() if k.endswith("norm")},
            "replicates": {
                name: {k: v for k, v in stored.items() if k != "signature"}
                for name, stored in row["replicates"].items()
            },
        }
        for row in table["rows"]
    ]
    return {**table, "names": names, "better": directions, "score": SCORE, "rows": rows}


def _header(board: Mapping[str, Any]) -> Html:
    roles = [s["role"] for s in board["systems"].values()]
    systems, references = roles.count("system"), len(roles) - roles.count("system")
    versions = sorted({t["hlvbench"] for t in board["tables"]})
    facts = [
        f"{systems} system{'s' * (systems != 1)}", f"{references} references",
        f"{len([t for t in board['tables'] if t['current']])} tasks", f"scored by hlvbench {', '.join(versions)}",
    ]  # fmt: skip
    return tag(
        "header",
        tag("p", "hlvbench", class_="kind"),
        tag("h1", "Can a model learn how one particular annotator decides and explains?"),
        tag("p", "Systems are asked for a label and an explanation in the name of one annotator, and are held against "
            "what that person wrote. Of the index and its four factors, higher is better and people "
            "have 1; an imitation above 1 is a caricature.", class_="lede"),
        tag("ul", [tag("li", fact) for fact in facts], class_="settings"),
    )  # fmt: skip


def _tab(table: Mapping[str, Any]) -> str:
    if table["id"] == "overall":
        return "Overall"
    return table["title"] if table["current"] else f"{table['task']}, hlvbench {table['hlvbench']}"


def _tools(board: Mapping[str, Any]) -> Html:
    """Filters and buttons; shown by the script that makes them work."""
    ranked = [s for s in board["systems"].values() if s["role"] == "system"]

    def choice(name: str, label: str, values: set[str]) -> Html:
        plural = label if "kinds" in label else f"{label}s"
        options = [tag("option", f"all {plural}", value=""), *(tag("option", v, value=v) for v in sorted(values))]
        return tag("label", tag("span", label, class_="unseen"), tag("select", options, id=name))

    def box(name: str, label: str, checked: bool) -> Html:
        return tag("label", tag("input", type="checkbox", id=name, checked=checked), " ", label)

    return tag(
        "form",
        tag("label", tag("span", "search", class_="unseen"),
            tag("input", type="search", id="find", placeholder="search", autocomplete="off")),
        choice("method", "method", {s["method"] for s in ranked}),
        choice("base", "base model", {s["base"] for s in ranked if s["base"]}),
        choice("answers", "kinds of answer", {s["answers"] for s in ranked}),
        box("verified", "verified only", False), box("floors", "people and floors", True),
        box("attacks", "attacks", False),
        tag("span", class_="grow"),
        tag("button", "Compare two", type="button", id="compare"),
        tag("button", "CSV", type="button", id="csv"),
        class_="tools", aria_label="Filters", hidden=True,
    )  # fmt: skip


def _section(table: Mapping[str, Any], board: Mapping[str, Any], current: list[Mapping[str, Any]]) -> Html:
    is_overall = table["id"] == "overall"
    others = [t for t in current if t["task"].partition("@")[0] in ("varierr", "r2")] if is_overall else []
    about: list[Part] = []
    if is_overall:
        about = ["The mean of both tasks; a system that has only one of them has none."]
    else:
        asked = next((r["questions"] for r in table["rows"]), 0)
        about = [tag("code", table["task"]), f", test split, {asked} questions."]
        if (index := table["metrics"]["hlv_index"]) != "hlv_index":
            about.append([" Ranked by ", tag("code", index), "."])
        if not table["current"]:
            about.append(f" An older table, scored by hlvbench {table['hlvbench']}; see Versions below.")
    title = tag("h2", table["title"])
    slide = tag("p", "More columns: scroll the table sideways →", class_="note slide")
    nothing = tag("p", class_="note none", hidden=True)
    inner = [title, tag("p", about, class_="note"), nothing, slide, board_table(table, board["systems"], others)]
    return tag("section", inner, id=table["id"], class_="tab")
