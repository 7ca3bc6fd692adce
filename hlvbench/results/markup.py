"""HTML by construction: whatever is not markup already is text and gets escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from ..text import legible


class Html(str):
    """Markup. Every other string is text: names and ids come from outside."""


Part = str | float | None | Iterable["Part"]

_VOID = {"meta", "link", "wbr", "input", "line", "rect", "circle", "path", "polyline"}


def text(value: object) -> Html:
    """Escaped for element content and quoted attributes; control and direction characters become U+FFFD."""
    return Html(html.escape(legible(value), quote=True))


def join(parts: Part) -> Html:
    """The parts one after another: markup as it is, text escaped, None as nothing."""
    if parts is None:
        return Html("")
    if isinstance(parts, Html):
        return parts
    if isinstance(parts, str | float | int):
        return text(parts)
    return Html("".join(map(join, parts)))


def tag(element: str, /, *children: Part, **attributes: object) -> Html:
    """An element. Attributes: a trailing "_" is dropped, "_" is "-"; None and False leave one out, True is bare."""
    inner = []
    for key, value in attributes.items():
        if value is not None and value is not False:
            named = key.rstrip("_").replace("_", "-")
            inner.append(f" {named}" if value is True else f' {named}="{text(value)}"')
    start = f"<{element}{''.join(inner)}"
    if element in _VOID and not children:
        return Html(start + "/>")
    return Html(f"{start}>{join(children)}</{element}>")


def isolated(value: object) -> Html:
    """A name from outside, kept from turning the direction of the text around it."""
    return tag("bdi", str(value))


def code(name: str) -> Html:
    """A signature or metric, which may break after its punctuation and nowhere else."""
    pieces = re.split(r"(?<=[_(,=|])", name)
    return tag("code", [[tag("wbr") if position else None, piece] for position, piece in enumerate(pieces)])
