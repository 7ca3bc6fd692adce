"""report.html: one file without outside resources, readable without script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..text import number
from . import charts as pictures
from . import report_sections as sections
from .markup import Html, join, name_of, table, tag
from .rows import Document, ItemScore, asked_for, find, plain_values

_HERE = Path(__file__).parent


def page(
    documents: Sequence[Any], items: Sequence[Sequence[ItemScore]] = (), settings: Mapping[str, Any] | None = None
) -> str:
    """The report as an HTML page. items: per document, worst first."""
    documents = [plain_values(document) for document in documents]
    system = str(documents[0]["system"]) if documents else ""
    style, script = (_HERE.joinpath(name).read_text("utf-8") for name in ("report.css", "report.js"))
    parts = [_task(d, k, items[k] if k < len(items) else ()) for k, d in enumerate(documents)]
    head = page_head(f"{system or 'unnamed system'} – hlvbench report", style, script)
    body = tag(
        "body",
        tag("a", "Skip to the scores", href="#task-1", class_="skip"),
        tag("header", tag("p", "hlvbench report", class_="kind"), tag("h1", name_of(system or "unnamed system")),
            _settings(settings or {})),
        _overview(documents),
        tag("main", parts),
        tag("script", Html(script)),
    )  # fmt: skip
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


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


def _settings(settings: Mapping[str, Any]) -> Html:
    inner = [tag("li", f"{what} ", tag("b", name_of(how))) for what, how in asked_for(settings)]
    return tag("ul", inner, class_="settings") if inner else Html("")


def _overview(documents: Sequence[Document]) -> Html:
    """One line per task with a link to its section."""
    rows = []
    for k, document in enumerate(documents, start=1):
        index = find(document, "hlv_index")
        rows.append([
            tag("a", name_of(document["task"]), href=f"#task-{k}"),
            tag("td", number(index[0]["value"]) if index else "–", class_="num"),
            tag("td", document["questions"], class_="num"), tag("td", document["missing"], class_="num"),
        ])  # fmt: skip
    head = ["task", "hlv_index", "questions", "missing"]
    return tag("nav", table(head, rows, caption="Tasks of this run"), aria_label="Tasks")


def _task(document: Document, position: int, items: Sequence[ItemScore]) -> Html:
    parts = [
        sections.fact_list(document),
        sections.index_section(document),
        sections.headline_section(document),
        sections.withheld_section(document),
        pictures.curve_section(document),
        pictures.swap_section(document),
        pictures.confusion_section(document),
        pictures.feature_section(document),
        sections.judge_section(document),
        sections.item_section(items, document),
        sections.score_section(document),
    ]
    return tag("article", tag("h2", name_of(document["task"])), join(parts), id=f"task-{position + 1}")
