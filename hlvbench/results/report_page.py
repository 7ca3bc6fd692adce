"""report.html: one file without outside resources, readable without script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..text import in_brackets, number
from .markup import Html, Part, code, isolated, join, tag
from .report_model import Beside, Block, Bullets, Cell, Code, Facts, Fold, Note, Shaded, Table
from .report_sections import TaskResult, sections
from .score_report import Score

_HERE = Path(__file__).parent
LEVELS = 10
"""The darkest shade of a heat table; the style sheet has the classes h0 to h10."""


def page(results: Sequence[TaskResult], settings: Mapping[str, Any] | None = None) -> str:
    """The report as an HTML page."""
    system = (results[0].report.system if results else "") or "unnamed system"
    style, script = (_HERE.joinpath(name).read_text("utf-8") for name in ("report.css", "report.js"))
    rows = []
    for k, result in enumerate(results, start=1):
        report, index = result.report, result.report.index()
        link = tag("a", isolated(report.task), href=f"#task-{k}")
        rows.append([link, index.value if index else None, report.questions, report.missing])
    overview = _table(Table("Tasks of this run", ["task", "hlv_index", "questions", "missing"], rows))
    asked = [tag("li", f"{what} ", tag("b", isolated(how))) for what, how in shown_settings(settings or {})]
    body = tag(
        "body",
        tag("a", "Skip to the scores", href="#task-1", class_="skip"),
        tag(
            "header",
            tag("p", "hlvbench report", class_="kind"),
            tag("h1", isolated(system)),
            tag("ul", asked, class_="settings") if asked else None,
        ),
        tag("nav", overview, aria_label="Tasks"),
        tag("main", [_task(result, k) for k, result in enumerate(results, start=1)]),
        tag("script", Html(script)),
    )
    head = page_head(f"{system} – hlvbench report", style, script)
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


def shown_settings(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The settings of a run in words: what is off or empty is left out, and the model, which stands in the title."""
    kept = {k: v for k, v in settings.items() if v is not False and v not in (None, "", [], {}) and k != "model"}
    return [(k.replace("_", " "), ", ".join(map(str, v if isinstance(v, list) else [v]))) for k, v in kept.items()]


def page_head(title: str, style: str, script: str, *more: Html) -> Html:
    """The head of a page that is one file and asks for nothing outside; more: tags of its own."""
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy(style, script)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        *more,
        tag("title", title),
        # an empty icon: browsers would ask the server for one
        tag("link", rel="icon", href="data:,"),
        tag("style", Html(style)),
    )


def policy(style: str, script: str) -> str:
    """Only this file's own style and script; nothing is fetched, sent or framed. Blocks of data are never run."""

    def digest(source: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode() + "'"

    return (
        f"default-src 'none'; style-src {digest(style)}; script-src {digest(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _task(result: TaskResult, position: int) -> Html:
    parts = []
    for section in sections(result):
        content = join(map(_block, section.blocks))
        parts.append(tag("section", tag("h3", section.title), content) if section.title else content)
    return tag("article", tag("h2", isolated(result.report.task)), parts, id=f"task-{position}")


def _block(block: Block) -> Html:
    match block:
        case Facts(rows):
            pairs = [tag("div", tag("dt", what), tag("dd", isolated(how))) for what, how in rows]
            return tag("dl", pairs, class_="facts")
        case Note(parts, style):
            return tag("p", [_inline(part) for part in parts], class_=style)
        case Bullets(rows):
            return tag("ul", [tag("li", what, ": ", _metrics(metrics)) for what, metrics in rows])
        case Fold(title, blocks):
            return _fold(title, map(_block, blocks))
        case Beside(figures, style):
            drawn = [
                tag("figure", tag("figcaption", isolated(title)), map(_block, blocks))
                for title, blocks in figures.items()
            ]
            return tag("div", drawn, class_=style)
        case Table():
            return _table(block)
    return block


def _fold(title: str, content: Part) -> Html:
    """Content that is closed until asked for."""
    return tag("details", tag("summary", title), content)


def _inline(part: str | Score | Code | Html) -> Part:
    match part:
        case Score():
            return _value(part)
        case Code(text):
            return code(text)
    return part


def _value(score: Score) -> Part:
    """The value and its interval, or why there is none."""
    if score.value is None:
        return tag("span", f"– {score.note}".strip(), class_="why")
    span = in_brackets(score.low, score.high)
    return [tag("b", number(score.value)), tag("span", span) if span else None]


def _metrics(metrics: Sequence[str]) -> Part:
    codes = join([[code(metric), " "] for metric in metrics])
    return codes if len(metrics) <= 4 else _fold(f"{len(metrics)} metrics", codes)


def _table(block: Table) -> Html:
    wide = [head in block.wide for head in block.head]
    head = [tag("span", h, class_="wide") if w else isolated(h) for h, w in zip(block.head, wide, strict=True)]
    rows = [
        tag(
            "tr",
            tag("th", _first(row[0]), scope="row"),
            [_cell(c, block.digits, w) for c, w in zip(row[1:], wide[1:], strict=True)],
        )
        for row in block.rows
    ]
    columns = tag("tr", [tag("th", cell, scope="col") for cell in head])
    inner = tag(
        "table", tag("caption", block.caption), tag("thead", columns), tag("tbody", rows), class_=block.style or None
    )
    # the box scrolls sideways, and is reachable by keyboard
    return tag("div", inner, class_="scroll", role="group", aria_label=block.caption, tabindex="0")


def _first(cell: Cell) -> Part:
    match cell:
        case Code(text, meaning, title):
            more = tag("small", meaning, class_="wide") if meaning else None
            return tag("span", code(text), more, title=title or None)
        case Html():
            return cell
    return isolated(cell)


def _cell(cell: Cell, digits: int, wide: bool) -> Html:
    style = ""
    match cell:
        case Html():
            inner = cell
        case str():
            inner = isolated(cell)
        case Score():
            style, inner = "value", join(_value(cell))
        case Shaded(text, share):
            level = "" if share is None else f" h{max(0, min(LEVELS, round(LEVELS * share)))}"
            style, inner = f"heat{level}", join(text)
        case Code(text):
            inner = code(text)
        case int() | float() | None:
            style, inner = "num", join(cell if isinstance(cell, int) else number(cell, digits))
    return tag("td", inner, class_=f"{style} wide".strip() if wide else style or None)
