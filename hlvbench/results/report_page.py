"""report.html: one file without outside resources, readable without script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..text import number
from .markup import Html, Part, code, fold, join, name_of, table, tag, titled
from .report_model import Beside, Block, Bullets, Cell, Code, Drawing, Facts, Fold, Heat, Note, Section, Table
from .report_sections import TaskResult, sections
from .score_report import Score
from .svg import value_of
from .swap_section import MOST_COLUMNS

_HERE = Path(__file__).parent
LEVELS = 10
"""Steps of shade in a heat table; the style sheet has a class for each."""


def page(results: Sequence[TaskResult], settings: Mapping[str, Any] | None = None) -> str:
    """The report as an HTML page."""
    system = (results[0].report.system if results else "") or "unnamed system"
    style, script = (_HERE.joinpath(name).read_text("utf-8") for name in ("report.css", "report.js"))
    rows = [
        [
            tag("a", name_of(r.report.task), href=f"#task-{k}"),
            tag("td", number(index.value) if (index := r.report.index()) else "–", class_="num"),
            tag("td", r.report.questions, class_="num"),
            tag("td", r.report.missing, class_="num"),
        ]
        for k, r in enumerate(results, start=1)
    ]
    overview = table(["task", "hlv_index", "questions", "missing"], rows, caption="Tasks of this run")
    asked = [tag("li", f"{what} ", tag("b", name_of(how))) for what, how in asked_for(settings or {})]
    body = tag(
        "body",
        tag("a", "Skip to the scores", href="#task-1", class_="skip"),
        tag(
            "header",
            tag("p", "hlvbench report", class_="kind"),
            tag("h1", name_of(system)),
            tag("ul", asked, class_="settings") if asked else None,
        ),
        tag("nav", overview, aria_label="Tasks"),
        tag("main", [_task(result, k) for k, result in enumerate(results, start=1)]),
        tag("script", Html(script)),
    )
    head = page_head(f"{system} – hlvbench report", style, script)
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


def asked_for(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The settings of a run in words: what is off or empty is left out, and the model, which stands in the title."""
    kept = {k: v for k, v in settings.items() if v not in (None, {}, False) and k != "model"}
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
    parts = [_section(section) for section in sections(result)]
    return tag("article", tag("h2", name_of(result.report.task)), parts, id=f"task-{position}")


def _section(section: Section) -> Html:
    content = [_block(block) for block in section.blocks]
    return titled(section.title, *content) if section.title else join(content)


def _block(block: Block) -> Html:
    match block:
        case Facts(rows):
            pairs = [tag("div", tag("dt", what), tag("dd", name_of(how))) for what, how in rows]
            return tag("dl", pairs, class_="facts")
        case Note(parts, style):
            return tag("p", [_inline(part) for part in parts], class_=style)
        case Bullets(rows):
            return tag("ul", [tag("li", what, ": ", _metrics(metrics)) for what, metrics in rows])
        case Fold(title, blocks):
            return fold(title, *map(_block, blocks))
        case Beside(figures, style):
            drawn = [tag("figure", tag("figcaption", name_of(f.title)), *map(_block, f.blocks)) for f in figures]
            return tag("div", drawn, class_=style)
        case Drawing(html):
            return html
        case Heat():
            return _heat(block)
        case Table():
            return _table(block)


def _inline(part: str | Score | Code | Html) -> Part:
    match part:
        case Score():
            return value_of(part)
        case Code(text):
            return code(text)
    return part


def _metrics(metrics: Sequence[str]) -> Part:
    codes = join([[code(metric), " "] for metric in metrics])
    return codes if len(metrics) <= 4 else fold(f"{len(metrics)} metrics", codes)


def _table(block: Table) -> Html:
    wide = [head in block.wide for head in block.head]
    head = [tag("span", h, class_="wide") if w else name_of(h) for h, w in zip(block.head, wide, strict=True)]
    rows = [
        [_first(row[0]), *(_cell(c, w, block.digits) for c, w in zip(row[1:], wide[1:], strict=True))]
        for row in block.rows
    ]
    return table(head, rows, caption=block.caption, class_=block.style or None)


def _first(cell: Cell) -> Part:
    if isinstance(cell, Code):
        meaning = tag("small", cell.meaning, class_="wide") if cell.meaning else None
        return tag("span", code(cell.text), meaning, title=cell.title or None)
    return name_of(cell)


def _cell(cell: Cell, wide: bool, digits: int) -> Html:
    more = " wide" if wide else ""
    if isinstance(cell, Score):
        return tag("td", value_of(cell), class_="value" + more)
    if isinstance(cell, Code | str):
        inner = code(cell.text) if isinstance(cell, Code) else cell if isinstance(cell, Html) else name_of(cell)
        return tag("td", inner, class_=more.strip() or None)
    return tag("td", cell if isinstance(cell, int) else number(cell, digits), class_="num" + more)


def _heat(block: Heat) -> Html:
    rows: list[list[Part]] = []
    for name, texts, shares in zip(block.rows, block.texts, block.shares, strict=True):
        row: list[Part] = [name_of(name)]
        for text, share in zip(texts, shares, strict=True):
            level = "" if share is None else f" h{max(0, min(LEVELS, round(LEVELS * share)))}"
            row.append(tag("td", text, class_=f"heat{level}"))
        rows.append(row)
    head = [tag("span", block.corner, class_="corner"), *map(name_of, block.columns)]
    dense = " dense" if len(block.columns) > MOST_COLUMNS else ""
    return table(head, rows, caption=block.caption, class_=f"heatmap{dense}")
