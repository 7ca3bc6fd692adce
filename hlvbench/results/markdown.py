"""A run as Markdown, and as the plain table that the terminal shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..text import aligned, legible, number
from .rows import (
    JUDGE_COLUMNS,
    MOST_COLUMNS,
    MOST_LISTED,
    SPREAD_COLUMNS,
    VIEWS,
    Document,
    ItemScore,
    annotators,
    asked_for,
    conditions,
    curve,
    extremes,
    factors,
    facts,
    find,
    headline,
    judge_rows,
    metric_text,
    overall,
    plain_values,
    pooled,
    short,
    shown,
    spreads,
    swap_present,
    swaps,
    tally,
    unused,
    withheld,
)


def summary(documents: Iterable[Any]) -> str:
    """A plain-text table per task for the terminal."""
    parts = []
    for document in map(plain_values, documents):
        rows = [("metric", "value [95 % interval]", "floor", "human")]
        rows += [(short(s), shown(s), number(s["floor"]), number(s["ceiling"])) for s in headline(document)]
        parts.append(f"{_facts_line(document)}\n{aligned(rows)}")
    return "\n\n".join(parts)


def _facts_line(document: Document) -> str:
    asked = document["questions"] * document["samples"]
    missing = f"{document['missing']} missing"
    if document["missing_reasons"]:
        missing += f" ({tally(document['missing_reasons'])})"
    what = f"{document['task']} {document['split']}: {document['system']}"
    return f"{what}; {asked} questions, {missing}; majority label accuracy {number(document['majority']['mean'])}"


def markdown(
    documents: Sequence[Any], items: Sequence[Sequence[ItemScore]] = (), settings: Mapping[str, Any] | None = None
) -> str:
    """The report as GitHub-flavoured Markdown. items: per document, worst first."""
    lines = ["# hlvbench report", ""]
    if settings:
        lines += [f"Settings: {', '.join(f'{plain(what)} {plain(how)}' for what, how in asked_for(settings))}.", ""]
    for position, document in enumerate(map(plain_values, documents)):
        own = items[position] if position < len(items) else ()
        lines += [f"## {plain(document['task'])}", ""]
        lines += [f"- {what}: {plain(how)}" for what, how in facts(document)] + [""]
        lines += [*_headline(document), *_index(document), *_withheld(document), *_curves(document)]
        lines += [*_swap(document), *_confusion(document), *_judges(document), *_items(own)]
        lines += [*_all_scores(document)]
    return "\n".join(lines).rstrip("\n") + "\n"


def plain(text: object) -> str:
    """Text that Markdown shows as it is, on one line and in one table cell."""
    line = re.sub(r"[\s\x00-\x1f]+", " ", legible(text))
    return re.sub(r"([\\`*_\[\]<>|~&])", r"\\\1", line)


def _code(text: str) -> str:
    """A code span; a table cell takes no bar, and a metric has none."""
    return "`" + re.sub(r"[\s`]+", " ", legible(text)) + "`"


def _table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def _headline(document: Document) -> list[str]:
    rows = [
        [_code(short(s)), plain(shown(s)), number(s["floor"]), number(s["ceiling"]), str(s["n"])]
        for s in headline(document)
    ]
    return _table(["metric", "value [95 % interval]", "floor", "human", "n"], rows)


def _index(document: Document) -> list[str]:
    index, found = find(document, "hlv_index"), factors(document)
    if not index or not found:
        return []
    left = unused(document)
    rows = [[f + (" (left out)" if f in left else ""), _code(short(s)), plain(shown(s))] for f, s in found.items()]
    head = "Harmonic mean of the skills, each cut to 0–1; 0 if one is 0."
    if left and index[0]["value"] is not None:
        head += f" Here {plain(index[0]['note'])}."
    return ["### hlv_index and its factors", "", f"{plain(shown(index[0]))}. {head}", "",
            *_table(["factor", "metric", "value [95 % interval]"], rows)]  # fmt: skip


def _withheld(document: Document) -> list[str]:
    found = withheld(document)
    if not found:
        return []
    lines = [f"- {plain(note)}: {', '.join(_code(m) for m in metrics)}" for note, metrics in found.items()]
    return ["### Values that cannot be given", "", *lines, ""]


def _curves(document: Document) -> list[str]:
    lines = []
    for view in VIEWS:
        confidence, imitation = (curve(document, name, view) for name in ("group_confidence", "imitation_score"))
        if confidence:
            rows = [
                [str(m), plain(shown(s)), number(s["ceiling"]), number(s["floor"]),
                 plain(shown(imitation[m])) if m in imitation else "–"]
                for m, s in confidence.items()
            ]  # fmt: skip
            lines += [f"### Groups of m answers, {view} view", ""]
            lines += _table(["m", "group_confidence", "people", "chance", "imitation_score"], rows)
    return lines


def _swap(document: Document) -> list[str]:
    """The matrix of the index's view and size, the others in words."""
    tables = swaps(document)
    if not tables:
        return []
    lines, drawn = ["### Swap matrix", "", f"Agreement error: {_agreement(document)}.", ""], list[str]()
    for table in tables:
        about, said = f"{table['view']} view, groups of {table['m']}", table["note"]
        if table["system"] is not None:
            people, present, said = swap_present(document, table)
            names = [plain(a) for a in people]
            if table is tables[0] and len(names) <= MOST_COLUMNS:
                rows = [[f"as {a}", *(number(v, 2) for v in r)] for a, r in zip(names, present["system"], strict=True)]
                drawn = [f"{about}:", "", *_table(["answers given", *(f"judged {a}" for a in names)], rows)]
        lines.append(f"- {about}: {plain(said)}")
    return [*lines, "", *drawn]


def _agreement(document: Document) -> str:
    found = find(document, "agreement_error")
    return f"{plain(shown(found[0]))}, people 0, blind {number(found[0]['floor'])}" if found else "–"


def _confusion(document: Document) -> list[str]:
    found = (document.get("details") or {}).get("confusion")
    if not found or not found["counts"]:
        return []
    labels = [plain(label) for label in found["labels"]]
    table = pooled(list(found["counts"].values()))
    rows = [[label, *map(str, counts)] for label, counts in zip(labels, table, strict=True)]
    return ["### Labels: the annotator's in rows, the answered one in columns", "",
            *_table(["", *labels, "missing"], rows)]  # fmt: skip


def _judges(document: Document) -> list[str]:
    rows = judge_rows(document)
    if not rows:
        return []
    return ["### Who wrote it? Judges on these answers", "", *_table(JUDGE_COLUMNS, [map(plain, row) for row in rows])]


def _items(items: Sequence[ItemScore]) -> list[str]:
    lines = []
    for title, chosen in extremes(items).items():
        rows = [
            [plain(s.item), number(s.right, 2), number(s.closeness, 2), number(s.grounding, 2), str(s.missing)]
            for s in chosen
        ]
        lines += [f"### {title}", ""]
        lines += _table(["item", "labels right", "embedding_cosine", "reciprocal rank", "missing"], rows)
    return lines


def _all_scores(document: Document) -> list[str]:
    """One line per metric; with many annotators their columns would not fit a page and stand in scores.json."""
    people = annotators(document)
    people = people if len(people) <= MOST_COLUMNS else []
    by = {(s["signature"], s["annotator"]): s for s in document["scores"]}
    rows = []
    for s in overall(document):
        own = [number(by[s["signature"], a]["value"]) if (s["signature"], a) in by else "" for a in people]
        rows.append([
            _code(metric_text(s)), plain(shown(s)), number(s["floor"]), number(s["ceiling"]), str(s["n"]), *own
        ])  # fmt: skip
    ends = " or ".join(_code(f"|{c}") for c in conditions(document))
    spread = []
    if len(annotators(document)) > MOST_LISTED:
        found = [[_code(name), *map(plain, values)] for name, *values in spreads(document)]
        spread = ["### Annotators", "", *_table(SPREAD_COLUMNS, found)]
    return [*spread, "### All scores", "", f"A number's signature is its metric followed by {ends}.", "",
            *_table(["metric", "value [95 % interval]", "floor", "human", "n", *map(plain, people)], rows)]  # fmt: skip
