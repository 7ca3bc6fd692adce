"""The sections of report.html that draw, each a function of one document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..text import number
from .markup import Html, Part, code, fold, join, name_of, note, table, tag, titled
from .rows import (
    MOST_COLUMNS,
    MOST_LISTED,
    VIEWS,
    Document,
    Score,
    annotators,
    curve,
    find,
    pooled,
    shown,
    swap_present,
    swaps,
)
from .svg import Line, histogram, key, line_chart, value_of

LEVELS = 10
"""Steps of shade in a heat table; the style sheet has a class for each."""
_OLD = "This scores.json holds no details: `hlvbench score` on the run's folder adds them."


def curve_section(document: Document) -> Html:
    figures: list[Html] = []
    lacking: dict[int, str] = {}
    for name, title in (("group_confidence", "Confidence"), ("imitation_score", "Imitation score")):
        for view in VIEWS:
            rows = curve(document, name, view)
            lacking |= {m: str(s["note"]) for m, s in rows.items() if s["value"] is None}
            given = {m: s for m, s in rows.items() if s["value"] is not None}
            if given:
                figures.append(_curve(f"{title}, {view} view", given))
    if not figures and not lacking:
        return Html("")
    legend = note(key("system"), " system, 95 % interval ", key("human"), " people ", key("chance"), " chance")
    how = note("How surely a probe, fitted on people's dev records, names the annotator from a group of m answers. "
               "The imitation score puts chance at 0 and people at 1; above 1 is a caricature.")  # fmt: skip
    reasons = {why: [m for m in sorted(lacking) if lacking[m] == why] for why in lacking.values()}
    absent = [tag("li", f"m = {', '.join(map(str, sizes))}: {why}") for why, sizes in reasons.items()]
    return titled(
        "Imitation by group size", how, legend if figures else None, tag("div", figures, class_="charts"),
        tag("ul", absent) if absent else None,
    )  # fmt: skip


def _curve(title: str, rows: Mapping[int, Score]) -> Html:
    positions = dict(enumerate(rows.values()))
    system = {p: (s["value"], s["low"], s["high"]) for p, s in positions.items()}
    people = {p: (s["ceiling"], None, None) for p, s in positions.items()}
    chance = {p: (s["floor"], None, None) for p, s in positions.items()}
    lines = [Line("chance", "chance", chance), Line("people", "human", people), Line("system", "system", system)]
    ticks = [f"@{m}" for m in rows]
    numbers = table(
        ["m", "system", "people", "chance"],
        [[f"@{m}", shown(s), number(s["ceiling"]), number(s["floor"])] for m, s in rows.items()], caption=title,
    )  # fmt: skip
    drawn = line_chart(title, ticks, lines, "answers per group (m)")
    return tag("figure", tag("figcaption", title), drawn, fold("numbers", numbers))


def swap_section(document: Document) -> Html:
    tables = swaps(document)
    if not tables:
        return titled("Swap matrix", note(_OLD))
    how = note("Row: the annotator that the answers were given as. Column: the annotator that a probe takes their "
               "writer for, as a mean probability. A system that imitates has a dark diagonal; one that writes the "
               "same under every name has equal rows.")  # fmt: skip
    given = [t for t in tables if t["system"] is not None]
    notes = [note(f"{t['view']} view: {t['note']}") for t in tables if t["system"] is None]
    folded = [fold(f"{t['view']} view, groups of {t['m']}", _swap(document, t)) for t in given[1:]]
    return titled("Swap matrix", how, _agreement(document), [_swap(document, t) for t in given[:1]], folded, notes)


def _agreement(document: Document) -> Part:
    found = find(document, "agreement_error")
    if not found:
        return None
    score = found[0]
    return tag(
        "p", code("agreement_error"), " ", value_of(score), ": how far the annotators' agreement with each other "
        f"is from the people's, in their labels. People 0, one answer for all of them {number(score['floor'])}.",
    )  # fmt: skip


def _swap(document: Document, found: Mapping[str, Any]) -> Html:
    names, found, said = swap_present(document, found)
    top = max([v for side in ("system", "people") for row in found[side] for v in row if v is not None], default=1.0)
    title = f"{found['view']} view, groups of {found['m']}"
    matrices = {
        who: heat(names, names, found[side], top, f"{who}, {title}", "↓ given, judged →")
        for side, who in (("system", "System"), ("people", "People"))
    }
    pair = [tag("figure", tag("figcaption", f"{who}: {title}"), matrix) for who, matrix in matrices.items()]
    return join([tag("p", said), tag("div", pair, class_="pair")])


def heat(
    rows: Sequence[str], columns: Sequence[str], cells: Sequence[Sequence[float | None]], top: float, caption: str,
    corner: str, texts: Sequence[Sequence[str]] | None = None,
) -> Html:  # fmt: skip
    """A table whose cells are shaded from 0 to `top` and carry their numbers."""
    body: list[list[Part]] = []
    for r, row in enumerate(cells):
        line: list[Part] = [name_of(rows[r])]
        for c, value in enumerate(row):
            level = None if value is None or top <= 0 else max(0, min(LEVELS, round(LEVELS * value / top)))
            said = texts[r][c] if texts else _two(value)
            line.append(tag("td", said, class_="heat" if level is None else f"heat h{level}"))
        body.append(line)
    dense = " dense" if len(columns) > MOST_COLUMNS else ""
    return table([tag("span", corner, class_="corner"), *map(name_of, columns)],
                 body, caption=caption, class_="heatmap" + dense)  # fmt: skip


def _two(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".replace("0.", ".", 1) if 0 <= value < 1 else f"{value:.2f}"


def confusion_section(document: Document) -> Html:
    found = (document.get("details") or {}).get("confusion")
    if not found or not found["counts"]:
        return titled("Labels", note("No counts of labels are at hand.")) if found else Html("")
    counts: Mapping[str, Sequence[Sequence[int]]] = found["counts"]
    everyone = _confusion("All annotators", found["labels"], pooled(list(counts.values())))
    each = [_confusion(name, found["labels"], own) for name, own in counts.items()]
    how = note("Row: the annotator's label (the priority one of several). Column: the label answered. Numbers are "
               "answers, shades are shares of the row.")  # fmt: skip
    return titled("Labels", how, everyone, fold("of each annotator", tag("div", each, class_="pair")))


def _confusion(name: str, labels: Sequence[str], counts: Sequence[Sequence[int]]) -> Html:
    columns = [*labels, "missing"]
    if not any(row[-1] for row in counts):
        columns, counts = list(labels), [row[:-1] for row in counts]
    shares: list[list[float | None]] = [[n / max(1, sum(row)) for n in row] for row in counts]
    texts = [[str(n) for n in row] for row in counts]
    drawn = heat(labels, columns, shares, 1.0, f"Labels of {name}", "↓ annotator, answered →", texts)
    return tag("figure", tag("figcaption", name_of(name)), drawn)


def feature_section(document: Document) -> Html:
    found = (document.get("details") or {}).get("features")
    if not found:
        return Html("")
    people = annotators(document)
    how = note(
        "Share of explanations per bin: ", key("area"), " people, ", key("step"), " system. Bins are the tenths of "
        "people's train records, few values make fewer bins. These resemble surface habits, partly content, and never "
        "rank.",
    )  # fmt: skip
    few = _features(document, found, people if len(people) <= MOST_COLUMNS else [])
    folded = (
        fold(f"of each of {len(people)} annotators", _features(document, found, people))
        if MOST_COLUMNS < len(people) <= MOST_LISTED
        else None
    )
    return titled("How the explanations look", how, few, folded)


def _features(document: Document, found: Sequence[Mapping[str, Any]], people: Sequence[str]) -> Html:
    rows: list[list[Part]] = []
    for feature in found:
        distance = find(document, "feature_kl", view="raw", feature=feature["name"])
        pairs: dict[str, tuple[Sequence[int], Sequence[int]]] = {
            "All annotators": (_summed(feature["people"]), _summed(feature["system"])),
            **{a: (feature["people"][a], feature["system"][a]) for a in people},
        }
        highest = max(n / max(1, sum(counts)) for pair in pairs.values() for counts in pair for n in counts)
        cells = [histogram(f"{feature['name']}, {who}", p, s, highest) for who, (p, s) in pairs.items()]
        head = [feature["name"].replace("_", " "), tag("small", _bins(feature["cuts"]), class_="wide")]
        rows.append([head, *cells, tag("td", value_of(distance[0]) if distance else "–", class_="value")])
    return table(["feature", "all", *map(name_of, people), "KL (people ‖ system)"], rows,
                 caption="Distributions of the explanations' features", class_="features")  # fmt: skip


def _summed(side: Mapping[str, Sequence[int]]) -> list[int]:
    return [sum(bins) for bins in zip(*side.values(), strict=True)]


def _bins(cuts: Sequence[float]) -> str:
    if not cuts:
        return "one value"
    return f"{len(cuts) + 1} bins, cut at " + " ".join(f"{cut:.3g}" for cut in cuts)
