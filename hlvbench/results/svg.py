"""Charts as inline SVG: told apart by shape and dash, coloured by the page's style sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..text import number
from .markup import Html, Part, tag
from .score_report import Score

_BAR = (170, 24, 8)
"""Width, height and margin of an interval bar."""


def _f(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _chart(width: float, height: float, label: str, *parts: Part, class_: str) -> Html:
    return tag("svg", *parts, viewBox=f"0 0 {_f(width)} {_f(height)}", class_=class_, role="img", aria_label=label,
               preserveAspectRatio="xMidYMid meet")  # fmt: skip


def interval_bar(score: Score, domain: tuple[float, float] | None = None) -> Html:
    """Value and interval between baseline and human value; right is better unless the metric has an ideal.

    Disc: value; line: interval; triangle: baseline; square: humans. domain: the ends of the axis, else what is shown
    and 0.
    """
    value, low, high, floor, human = score.value, score.low, score.high, score.floor, score.ceiling
    marks = [v for v in (value, low, high, floor, human) if v is not None]
    if value is None:
        return Html("")
    left, right = domain or (min(0.0, *marks), max(0.0, *marks))
    if score.better == "lower":
        left, right = right, left
    width, height, margin = _BAR
    middle = height / 2

    def x(at: float) -> float:
        share = 0.5 if right == left else (at - left) / (right - left)
        return margin + min(1.0, max(0.0, share)) * (width - 2 * margin)

    parts: list[Html] = [tag("line", class_="axis", x1=_f(margin), x2=_f(width - margin), y1=middle, y2=middle)]
    if floor is not None:
        at = x(floor)
        parts.append(tag("path", class_="floor", d=f"M{_f(at - 5)} 3H{_f(at + 5)}L{_f(at)} {_f(middle)}Z"))
    if human is not None:
        parts.append(tag("rect", class_="human", x=_f(x(human) - 5), y=_f(middle - 5), width=10, height=10))
    if low is not None and high is not None:
        a, b = sorted((x(low), x(high)))
        parts.append(tag("path", class_="interval", d=f"M{_f(a)} {_f(middle)}H{_f(b)}"))
        parts.append(
            tag("path", class_="cap", d="".join(f"M{_f(e)} {_f(middle - 5)}V{_f(middle + 5)}" for e in (a, b)))
        )
    parts.append(tag("circle", class_="value", cx=_f(x(value)), cy=middle, r=4.5))
    said = {"value": value, "low": low, "high": high, "baseline": floor, "human": human}
    label = ", ".join(f"{what} {number(one)}" for what, one in said.items())
    return _chart(width, height, label, parts, class_="bar")


def line_chart(title: str, scores: Mapping[int, Score]) -> Html:
    """Scores by group size with those of chance and humans, the vertical axis from 0 (or lower) to 1 (or higher)."""
    lines: dict[str, list[tuple[float | None, float | None, float | None]]] = {
        "chance": [(score.floor, None, None) for score in scores.values()],
        "human": [(score.ceiling, None, None) for score in scores.values()],
        "system": [(score.value, score.low, score.high) for score in scores.values()],
    }
    ticks = [f"@{m}" for m in scores]
    values = [v for points in lines.values() for point in points for v in point if v is not None]
    low, high = min([0.0, *values]), max([1.0, *values])
    step = 0.25 if high - low <= 1.6 else 0.5 if high - low <= 4 else 1.0 if high - low <= 8 else (high - low) / 6
    width, height, left, right, top, bottom = 400.0, 250.0, 42.0, 14.0, 14.0, 42.0

    def x(position: int) -> float:
        return left + 12 + (width - left - right - 24) * position / max(1, len(ticks) - 1)

    def y(value: float) -> float:
        return top + (height - top - bottom) * (high - value) / (high - low)

    parts: list[Html] = []
    level = step * -(-low // step)
    while level <= high + 1e-9:
        at = _f(y(level))
        parts.append(tag("line", class_="grid", x1=left, x2=width - right, y1=at, y2=at))
        parts.append(tag("text", number(level, 2), class_="tick", x=left - 6, y=_f(y(level) + 4), text_anchor="end"))
        level += step
    for position, tick in enumerate(ticks):
        parts.append(tag("text", tick, class_="tick", x=_f(x(position)), y=height - bottom + 17, text_anchor="middle"))
    centre, below = _f((left + width - right) / 2), "answers per group (m)"
    parts.append(tag("text", below, class_="tick", x=centre, y=height - 6, text_anchor="middle"))
    said = []
    for style, points in lines.items():
        path = " ".join(f"{_f(x(p))},{_f(y(v))}" for p, (v, _, _) in enumerate(points) if v is not None)
        parts.append(tag("polyline", class_=f"line {style}", points=path))
        for position, (value, least, most) in enumerate(points):
            if value is not None and least is not None and most is not None:
                middle, side, foot, head = _f(x(position)), _f(x(position) - 4), _f(y(least)), _f(y(most))
                d = f"M{middle} {foot}V{head}M{side} {foot}h8M{side} {head}h8"
                parts.append(tag("path", class_=f"whisker {style}", d=d))
            if value is not None and style != "chance":
                parts.append(marker(style, x(position), y(value)))
        named = ", ".join(f"{tick} {number(v)}" for tick, (v, _, _) in zip(ticks, points, strict=True))
        said.append(f"{'humans' if style == 'human' else style}: {named}")
    return _chart(width, height, f"{title}. {'; '.join(said)}", parts, class_="chart")


def marker(style: str, x: float, y: float) -> Html:
    """A disc for the system, a hollow square for humans."""
    if style == "human":
        return tag("rect", class_="mark human", x=_f(x - 4.5), y=_f(y - 4.5), width=9, height=9)
    return tag("circle", class_="mark system", cx=_f(x), cy=_f(y), r=4.5)


def key(style: str) -> Html:
    """The piece of a chart that stands in a legend: system, human, chance; area and step of a histogram."""
    if style in ("area", "step"):
        class_, d = ("human-area", "M4 16V4H26V16Z") if style == "area" else ("system-step", "M1 12H10V4H20V9H29")
        return tag("svg", tag("path", class_=class_, d=d), viewBox="0 0 30 16", class_="key", aria_hidden="true")
    drawn = [tag("line", class_=f"line {style}", x1=0, x2=30, y1=8, y2=8)]
    if style != "chance":
        drawn.append(marker(style, 15, 8))
    return tag("svg", drawn, viewBox="0 0 30 16", class_="key", aria_hidden="true")


def histogram(label: str, human: Sequence[int], system: Sequence[int], highest: float) -> Html:
    """Shares per bin: humans as a filled area, the system as a stepped line over it. highest: the share at the top."""
    width, height, base = 120.0, 44.0, 42.0
    step = width / max(1, len(human))

    def outline(counts: Sequence[int], closed: bool) -> str:
        total = max(1, sum(counts))
        tops = [base - (base - 4) * count / total / (highest or 1.0) for count in counts]
        steps = "".join(
            f"{'L' if b or closed else 'M'}{_f(b * step)} {_f(t)}H{_f((b + 1) * step)}" for b, t in enumerate(tops)
        )
        return f"M0 {_f(base)}{steps}V{_f(base)}Z" if closed else steps

    said = f"{label}. Humans {_shares(human)}. System {_shares(system)}."
    return _chart(
        width, height, said,
        tag("path", class_="human-area", d=outline(human, True)),
        tag("line", class_="axis", x1=0, x2=width, y1=base, y2=base),
        tag("path", class_="system-step", d=outline(system, False)),
        class_="histogram",
    )  # fmt: skip


def _shares(counts: Sequence[int]) -> str:
    return ", ".join(f"{count / max(1, sum(counts)):.0%}" for count in counts)
