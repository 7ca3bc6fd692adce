"""The sections of report.html that list numbers, each a function of one document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..text import number
from .markup import Html, Part, code, fold, join, name_of, note, table, tag, titled
from .rows import (
    JUDGE_COLUMNS,
    MOST_LISTED,
    SPREAD_COLUMNS,
    Document,
    ItemScore,
    Score,
    annotators,
    better,
    conditions,
    extremes,
    factors,
    facts,
    find,
    headline,
    judge_rows,
    meaning,
    metric_text,
    overall,
    short,
    shown,
    spreads,
    unused,
    withheld,
)
from .svg import interval_bar, value_of

_NUMBERS = ("value", "low", "high", "floor", "ceiling")
_ARROWS = {"higher": "↑ more is better", "lower": "↓ less is better", "ideal": "nearest the human value is best"}


def fact_list(document: Document) -> Html:
    return tag(
        "dl", [tag("div", tag("dt", what), tag("dd", name_of(how))) for what, how in facts(document)], class_="facts"
    )


def headline_section(document: Document) -> Html:
    rows = [_headline_row(score) for score in headline(document)]
    legend = note(
        "Right is better in every bar: ", tag("span", "●", class_="c-system"), " value with its 95 % interval, ",
        tag("span", "▽", class_="c-floor"), " floor (chance, or the annotator-blind "
        "reference: one person's record of the item given for everybody), ",
        tag("span", "□", class_="c-human"), " people.",
    )  # fmt: skip
    head = ["metric", "value [95 % interval]", "", *(tag("span", t, class_="wide") for t in ("floor", "human", "n"))]
    return titled("Scores", legend, table(head, rows, caption="Scores over all annotators", class_="headline"))


def _headline_row(score: Score) -> list[Part]:
    direction = better(score)
    name = [code(short(score)), tag("small", meaning(score), class_="wide")]
    said = tag("td", value_of(score), class_="value")
    ends = [tag("td", v, class_="num wide") for v in (number(score["floor"]), number(score["ceiling"]), score["n"])]
    return [
        tag("span", name, title=f"{score['signature']} ({_ARROWS[direction]})"),
        said,
        interval_bar(score, direction),
        *ends,
    ]


def index_section(document: Document) -> Html:
    index, found = find(document, "hlv_index"), factors(document)
    if not index:
        return Html("")
    rows: list[list[Part]] = []
    left, lacking = unused(document), index[0]["value"] is None
    for name, score in {"hlv_index": index[0], **found}.items():
        bound = [tag("small", code(short(score)), " left out" if name in left else "")] if name in found else None
        bar = interval_bar(score, "higher", (0.0, 1.0))
        rows.append([[name, bound], tag("td", value_of(score), class_="value"), bar])
    how = note("The harmonic mean of the skills, each cut to 0–1, and 0 if one of them is 0: no skill can be bought by "
               "another. People have 1.", f" Here {index[0]['note']}." if left and not lacking else "")  # fmt: skip
    head = ["", "value [95 % interval]", "0 to 1"]
    drawn = table(head, rows, caption="The index and its factors", class_="headline index")
    return titled("hlv_index and its factors", how, drawn)


def withheld_section(document: Document) -> Html:
    found = withheld(document)
    if not found:
        return Html("")
    rows = [tag("li", why, ": ", _listed(metrics)) for why, metrics in found.items()]
    return titled("Values that cannot be given", tag("ul", rows))


def _listed(metrics: Sequence[str]) -> Part:
    codes = join([[code(metric), " "] for metric in metrics])
    return codes if len(metrics) <= 4 else fold(f"{len(metrics)} metrics", codes)


def judge_section(document: Document) -> Html:
    rows = judge_rows(document)
    if not rows:
        return Html("")
    how = note("Each judge reads an answer beside texts of up to four people and names its writer. A judge that is not "
               "above chance on people's own texts has no say.")  # fmt: skip
    drawn = [[name_of(name), tag("td", value, class_="value"), *(tag("td", v, class_="num") for v in numbers), said]
             for name, value, *numbers, said in rows]  # fmt: skip
    return titled("Who wrote it? Judges on these answers", how, table(JUDGE_COLUMNS, drawn, caption="Judges"))


def item_section(items: Sequence[ItemScore], document: Document) -> Html:
    if not items:
        return Html("")
    how = note("Items by the share of right labels, then by how close the explanations are to the annotators' own. Ids "
               "only: the texts are in the task's data.")  # fmt: skip
    pair = [
        tag("figure", tag("figcaption", title), _items(chosen, f"{title} of {document['task']}"))
        for title, chosen in extremes(items).items()
    ]
    return titled("Worst and best items", how, tag("div", pair, class_="pair"))


def _items(items: Iterable[ItemScore], caption: str) -> Html:
    rows = [
        [name_of(s.item), *(tag("td", number(v, 2), class_="num") for v in (s.right, s.closeness, s.grounding)),
         tag("td", f"{s.answers - s.missing} of {s.answers}", class_="num")]
        for s in items
    ]  # fmt: skip
    head = ["item", "labels right", "closeness", "own input found", "answered"]
    return table(head, rows, caption=caption, class_="sortable")


def score_section(document: Document) -> Html:
    rows, people = overall(document), annotators(document)
    whole = [
        [code(metric_text(s)), *(tag("td", number(s[k]), class_="num") for k in _NUMBERS),
         tag("td", s["n"], class_="num"), s["note"]]
        for s in rows
    ]  # fmt: skip
    by = {(s["signature"], s["annotator"]): s for s in document["scores"]}
    each = [
        [code(metric_text(s)), *(_own(by.get((s["signature"], a))) for a in people)]
        for s in rows if any((s["signature"], a) in by for a in people)
    ]  # fmt: skip
    columns: Sequence[Part] = ["metric", *map(name_of, people)]
    if len(people) > MOST_LISTED:
        columns = SPREAD_COLUMNS
        each = [[code(name), *(tag("td", v, class_="num") for v in values[:5]), *map(name_of, values[5:])]
                for name, *values in spreads(document)]  # fmt: skip
    ends = join([[code(f"|{c}"), " "] for c in conditions(document)])
    head, sorts = ["metric", "value", "low", "high", "floor", "human", "n", "note"], "sortable scores"
    return titled(
        "All scores", note("The signature of a number is its metric followed by ", ends),
        fold(f"over all annotators ({len(whole)})", table(head, whole, caption="All scores", class_=sorts)),
        fold(f"of each annotator ({len(each)})",
             table(columns, each, caption="Scores of each annotator", class_=sorts)),
    )  # fmt: skip


def _own(score: Score | None) -> Html:
    if score is None:
        return tag("td", "", class_="num")
    return tag("td", number(score["value"]), class_="num", title=shown(score))
