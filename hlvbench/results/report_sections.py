"""The sections of a report on one task, each a function of its scores, items and judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..bootstrap import FEWEST_CLUSTERS
from ..text import VIEWS, number, with_interval
from .answer_items import ItemScore, extremes
from .markup import Html, tag
from .report_model import (
    MOST_COLUMNS,
    Beside,
    Block,
    Bullets,
    Cell,
    Code,
    Facts,
    Fold,
    Note,
    Section,
    Shaded,
    Table,
    heat_table,
)
from .score_report import INDEX, Details, FeatureHistogram, ScoreReport
from .svg import histogram, interval_bar, key, line_chart
from .swap_section import swap_section

MOST_LISTED, ENDS = 40, 10
"""Annotators beyond which a report lists the spread of a metric, its lowest and its highest alone; how many of each."""
SPREAD_HEAD = ("metric", "least", "25 %", "median", "75 %", "largest", f"{ENDS} lowest", f"{ENDS} highest")
JUDGE_HEAD = ("judge", "names the annotator [95 % interval]", "humans", "blind", "chance", "unreadable", "n", "note")
_ARROWS = {"higher": "↑ more is better", "lower": "↓ less is better", "ideal": "nearest the human value is best"}


@dataclass(frozen=True)
class TaskResult:
    """All that a report says of one task. items: worst first."""

    report: ScoreReport
    items: Sequence[ItemScore] = ()
    judges: Sequence[Mapping[str, Any]] = ()


def sections(result: TaskResult) -> list[Section]:
    """The sections that have something to say, in the order of a report."""
    report = result.report
    found = [
        Section("", [Facts(facts(report))]),
        _index(report),
        Section("Scores", [_LEGEND, headline_table(report)]),
        _withheld(report),
        _groups(report),
        swap_section(report),
        _confusion(report.details),
        _features(report),
        _judges(result.judges),
        _items(result.items),
        _all_scores(report),
    ]
    return [section for section in found if section.blocks]


def facts(report: ScoreReport) -> list[tuple[str, str]]:
    """What a reader must know before any number: (what, how much)."""
    asked = report.questions * report.samples
    share = f" ({report.missing / asked:.1%})" if asked and report.missing else ""
    samples = f", {report.samples} samples each: scores are means, figures show the first" if report.samples > 1 else ""
    few = report.clusters is not None and report.clusters < FEWEST_CLUSTERS
    rows = {
        "System": report.system or "unnamed",
        "Task and split": f"{report.task}, {report.split}",
        "Questions": f"{report.questions}{samples}",
        "Without a human explanation": f"{report.label_only}, in label metrics alone" if report.label_only else "",
        "Clusters of items": f"{'–' if report.clusters is None else report.clusters}"
        + (f" (an interval and a p need {FEWEST_CLUSTERS})" if few else ""),
        "Missing answers": f"{report.missing}{share}",
        "Why missing": tally(report.missing_reasons),
        "Majority line (label accuracy)": number(report.majority.get("mean")),
        "Without an explanation": str(report.without_explanation),
        "Data": report.licence or "",
        "With thoughts dropped": str(report.thought or ""),
        "Never asked, whole task": tally(report.skipped),
        "Too few annotations to be scored": ", ".join(report.unscored_annotators),
    }
    return [(what, how) for what, how in rows.items() if how]


def tally(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{why} {n}" for why, n in counts.items())


def _index(report: ScoreReport) -> Section:
    index, found, left = report.index(), report.factors(), report.left_out()
    if index is None or not found:
        return Section("", [])
    note = "The harmonic mean of the skills, each cut to 0–1, and 0 if one of them is 0. Humans have 1."
    if left and index.value is not None:
        note += f" Here {index.note}."
    rows: list[Sequence[Cell]] = [
        [name + (" (left out)" if name in left else ""), Code(s.compact), s, interval_bar(s, (0.0, 1.0))]
        for name, s in {INDEX: index, **found}.items()
    ]
    head = ["factor", "metric", "value [95 % interval]", "0 to 1"]
    return Section(
        f"{INDEX} and its factors", [Note([note]), Table("The index and its factors", head, rows, "headline")]
    )


_LEGEND = Note(
    [
        Html("Right is better in every bar: "), tag("span", "●", class_="c-system"),
        Html(" value with its 95 % interval, "),
        tag("span", "▽", class_="c-floor"), Html(" baseline, "), tag("span", "□", class_="c-human"), Html(" humans. "),
        "The baseline is chance, or the annotator-blind reference: one annotator's record of the item for everybody.",
    ]
)  # fmt: skip


def headline_table(report: ScoreReport) -> Table:
    """The scores that a reader meets first, with baseline and human value."""
    rows: list[Sequence[Cell]] = [
        [
            Code(s.compact, s.meaning, f"{s.signature} ({_ARROWS[s.better]})"),
            s,
            interval_bar(s),
            s.floor,
            s.ceiling,
            s.n,
        ]
        for s in report.headline()
    ]
    head = ["metric", "value [95 % interval]", "bar", "baseline", "human", "n"]
    return Table("Scores over all annotators", head, rows, "headline", ("baseline", "human", "n"))


def _withheld(report: ScoreReport) -> Section:
    """Note -> the metrics over all annotators that have no value for that reason."""
    found: dict[str, list[str]] = {}
    for score in report.overall:
        if score.value is None:
            found.setdefault(score.note or "no reason given", []).append(score.compact)
    return Section("Values that cannot be given", [Bullets(list(found.items()))] if found else [])


def _groups(report: ScoreReport) -> Section:
    figures, tables = dict[str, list[Block]](), list[Block]()
    for view in VIEWS:
        confidence, imitation = (report.curve(name, view) for name in ("group_confidence", "imitation_score"))
        for title, curve in (("Confidence", confidence), ("Imitation score", imitation)):
            given = {m: score for m, score in curve.items() if score.value is not None}
            if given:
                figures[f"{title}, {view} view"] = [line_chart(f"{title}, {view} view", given)]
        if confidence:
            rows = [[str(m), s, s.ceiling, s.floor, imitation.get(m, "–")] for m, s in confidence.items()]
            head = ["m", "group_confidence", "humans", "chance", "imitation_score"]
            title = f"Groups of m answers, {view} view"
            tables.append(Fold(title, [Table(title, head, rows)]))
    if not tables:
        return Section("", [])
    how = ("How surely a probe, fitted on the humans' dev records, names the annotator from a group of m answers. The "
           "imitation score puts chance at 0 and humans at 1; above 1 is a caricature.")  # fmt: skip
    legend = [
        key("system"),
        Html(" system, 95 % interval "),
        key("human"),
        Html(" humans "),
        key("chance"),
        Html(" chance"),
    ]
    drawn: list[Block] = [Note(legend), Beside(figures, "charts")] if figures else []
    return Section("Imitation by group size", [Note([how]), *drawn, *tables])


def _confusion(details: Details | None) -> Section:
    if details is None:
        return Section("", [])
    labels, counts = details.confusion.labels, details.confusion.counts
    if not counts:
        return Section("Labels", [Note(["No counts of labels are at hand."])])
    how = ("Row: the annotator's label (the priority one of several). Column: the predicted label. Numbers are "
           "answers, shades are shares of the row.")  # fmt: skip
    everyone = _confusion_heat("All annotators", labels, pooled(list(counts.values())))
    each = {name: [_confusion_heat(name, labels, own)] for name, own in counts.items()}
    return Section("Labels", [Note([how]), everyone, Fold("of each annotator", [Beside(each)], in_markdown=False)])


def _confusion_heat(name: str, labels: Sequence[str], counts: Sequence[Sequence[int]]) -> Table:
    columns = [*labels, "missing"]
    if not any(row[-1] for row in counts):
        columns, counts = list(labels), [row[:-1] for row in counts]
    cells = [[Shaded(str(n), n / max(1, sum(row))) for n in row] for row in counts]
    rows = dict(zip(labels, cells, strict=True))
    return heat_table(f"Labels of {name}", "↓ annotator, predicted →", columns, rows)


def pooled(tables: Sequence[Sequence[Sequence[int]]]) -> list[list[int]]:
    """The sum of count tables of one shape."""
    return [[sum(cells) for cells in zip(*rows, strict=True)] for rows in zip(*tables, strict=True)]


def _features(report: ScoreReport) -> Section:
    if report.details is None or not report.details.features:
        return Section("", [])
    how = [
        Html("Share of explanations per bin: "), key("area"), Html(" humans, "), key("step"), Html(" system. "),
        "Bins are the tenths of the humans' train records, few values make fewer bins. These resemble surface habits, "
        "partly content, and never rank.",
    ]  # fmt: skip
    annotators = report.annotators
    blocks: list[Block] = [Note(how), _feature_table(report, annotators if len(annotators) <= MOST_COLUMNS else [])]
    if MOST_COLUMNS < len(annotators) <= MOST_LISTED:
        table = _feature_table(report, annotators)
        blocks.append(Fold(f"of each of {len(annotators)} annotators", [table], in_markdown=False))
    return Section("How the explanations look", blocks)


def _feature_table(report: ScoreReport, annotators: Sequence[str]) -> Table:
    rows = []
    for feature in report.details.features if report.details else ():
        pairs: dict[str, tuple[Sequence[int], Sequence[int]]] = {"All annotators": (
            [sum(bins) for bins in zip(*feature.human.values(), strict=True)],
            [sum(bins) for bins in zip(*feature.system.values(), strict=True)],
        )}  # fmt: skip
        pairs |= {a: (feature.human[a], feature.system[a]) for a in annotators}
        highest = max(n / max(1, sum(counts)) for pair in pairs.values() for counts in pair for n in counts)
        drawn = [histogram(f"{feature.name}, {who}", *pair, highest) for who, pair in pairs.items()]
        distance: Cell = report.first("feature_kl", view="raw", feature=feature.name) or "–"
        rows.append([feature.name.replace("_", " "), *drawn, distance, _bins(feature)])
    head = ["feature", "all", *annotators, "KL (humans ‖ system)", "bins"]
    return Table("Distributions of the explanations' features", head, rows, "features", ("bins",))


def _bins(feature: FeatureHistogram) -> str:
    if not feature.cuts:
        return "one value"
    return f"{len(feature.cuts) + 1} bins, cut at " + " ".join(f"{cut:.3g}" for cut in feature.cuts)


def _judges(judges: Sequence[Mapping[str, Any]]) -> Section:
    if not judges:
        return Section("", [])
    how = ("Each judge reads an answer beside texts of up to four annotators and names its writer. A judge that is not "
           "above chance on the humans' own texts is not used.")  # fmt: skip
    rows = [[str(j["judge"]), with_interval(j, "accuracy"), *(j[k] for k in ("ceiling", "floor", "chance")),
             j["unreadable"], j["n"], str(j["note"])] for j in judges]  # fmt: skip
    return Section("Who wrote it? Judges on these answers", [Note([how]), Table("Judges", JUDGE_HEAD, rows)])


def _items(items: Sequence[ItemScore]) -> Section:
    if not items:
        return Section("", [])
    how = ("Items by the share of right labels, then by how close the explanations are to the annotators' own. Ids "
           "only: the texts are in the task's data.")  # fmt: skip
    head = ["item", "labels right", "closeness", "own input found", "answered"]
    figures = {}
    for title, own in extremes(items).items():
        rows = [[s.item, s.right, s.closeness, s.grounding, f"{s.answers - s.missing} of {s.answers}"] for s in own]
        figures[title] = [Table(title, head, rows, "sortable", digits=2)]
    return Section("Worst and best items", [Note([how]), Beside(figures)])


def _all_scores(report: ScoreReport) -> Section:
    whole: list[Sequence[Cell]] = [
        [Code(s.name), s.value, s.low, s.high, s.floor, s.ceiling, s.n, s.note] for s in report.overall
    ]
    head = ["metric", "value", "low", "high", "baseline", "human", "n", "note"]
    if len(report.annotators) > MOST_LISTED:
        each = Table("Spread of the annotators' scores", SPREAD_HEAD, spreads(report), "sortable scores")
    else:
        own, annotators = report.by_annotator, report.annotators
        rows = [[Code(s.name), *(own[s.signature, a].value if (s.signature, a) in own else "" for a in annotators)]
                for s in report.overall if any((s.signature, a) in own for a in annotators)]  # fmt: skip
        each = Table("Scores of each annotator", ["metric", *annotators], rows, "sortable scores")
    ends: list[str | Code] = [part for c in report.conditions for part in (Code(f"|{c}"), " ")]
    return Section(
        "All scores",
        [
            Note(["A number's signature is its metric followed by ", *ends[:-1], "."]),
            Fold(f"over all annotators ({len(whole)})", [Table("All scores", head, whole, "sortable scores")]),
            Fold(f"of each annotator ({len(each.rows)})", [each]),
        ],
    )


def spreads(report: ScoreReport) -> list[Sequence[Cell]]:
    """One row of `SPREAD_HEAD` per metric that has values of single annotators."""
    by: dict[str, list[tuple[float, str]]] = {}
    for score in report.by_annotator.values():
        if score.value is not None:
            by.setdefault(score.name, []).append((score.value, str(score.annotator)))
    rows: list[Sequence[Cell]] = []
    for name, found in by.items():
        found.sort()
        quartiles = np.quantile([value for value, _ in found], [0, 0.25, 0.5, 0.75, 1]).tolist()
        ends = (", ".join(f"{who} {number(v)}" for v, who in end) for end in (found[:ENDS], found[::-1][:ENDS]))
        rows.append([Code(name), *quartiles, *ends])
    return rows
