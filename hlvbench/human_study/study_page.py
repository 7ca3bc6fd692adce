"""The rating page: one HTML file that works offline, by keyboard, and keeps what was answered in the browser."""

from __future__ import annotations

from pathlib import Path

from ..results.markup import Html, tag
from ..results.report_page import page_head
from .sheet import Sheet
from .wording import NOT_PUBLIC

_HERE = Path(__file__).parent


def sheet_page(sheet: Sheet) -> str:
    """The page of a sheet. Its texts stand in a block of JSON that no browser runs and reach the page as text alone."""
    style, script = (_HERE.joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    head = page_head(
        f"Rating sheet {sheet.id}", style, script,
        tag("meta", name="robots", content="noindex, nofollow, noarchive"),
        # translated texts would be rated instead of the texts
        tag("meta", name="google", content="notranslate"),
    )  # fmt: skip
    header = tag(
        "header",
        tag("p", f"Rating sheet {sheet.id}", class_="kind"),
        tag("p", "", id="place"),
        tag("progress", max="1", value="0", id="progress", aria_label="Progress"),
        tag("p", "", id="status", role="status"),
    )
    body = tag(
        "body",
        header,
        tag("main", tag("noscript", tag("p", "This page needs JavaScript; or ask for the table.")), id="main"),
        tag("footer", tag("div", id="tools"), tag("p", NOT_PUBLIC, class_="warning")),
        tag("script", Html(sheet.source), type="application/json", id="sheet", data_sha256=sheet.sha256),
        tag("script", Html(script)),
    )
    return "<!doctype html>\n" + tag("html", head, body, lang="en", translate="no") + "\n"
