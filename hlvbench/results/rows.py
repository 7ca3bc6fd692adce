"""What the reports read in a run's files, and how they say it: rows, names, facts, items."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..bootstrap import FEWEST_CLUSTERS
from ..errors import MetricError
from ..io import read_json, read_jsonl
from ..metrics import REGISTRY, Metric, parse_metric
from ..metrics.index import FACTORS, left_out
from ..text import number

Document = Mapping[str, Any]
Score = Mapping[str, Any]


def plain_values(report: Any) -> Document:
    """The report as plain values."""
    found: Document = report if isinstance(report, dict) else report.to_dict()
    return found


MOST_COLUMNS = 8
"""Annotators that still fit beside each other; more are folded away."""
MOST_LISTED, ENDS = 40, 10
"""Annotators beyond which a report lists the spread of a metric, its lowest and its highest alone; how many of each."""
VIEWS = ("raw", "norm")
_PER_ITEM = ("correct", "embedding_cosine_raw", "reciprocal_rank_raw")


def shown(score: Score) -> str:
    """Value and interval as people read them, or why there is none."""
    if score["value"] is None:
        return f"– ({score['note']})" if score["note"] else "–"
    if score["low"] is None:
        return number(score["value"])
    return f"{number(score['value'])} [{number(score['low'])}, {number(score['high'])}]"


def metric_text(score: Score) -> str:
    """The bound metric: the signature's first part."""
    return str(score["signature"]).partition("|")[0]


def conditions(document: Document) -> list[str]:
    """The second parts of the signatures: what all numbers were computed under (one, as a rule)."""
    return list(dict.fromkeys(str(s["signature"]).partition("|")[2] for s in document["scores"]))


def metric_of(score: Score) -> Metric | None:
    """The bound metric; None where this version does not know it."""
    try:
        return parse_metric(metric_text(score))
    except MetricError:
        return None


def short(score: Score) -> str:
    """The bound metric without the parameters that are defaults, the view excepted; parses back to the same."""
    metric = metric_of(score)
    if metric is None:
        return metric_text(score)
    known = metric.spec.parameters()
    kept = tuple((k, v) for k, v in metric.arguments if k in ("view", "m") or v != known[k].default)
    return str(Metric(metric.name, kept))


def meaning(score: Score) -> str:
    """The first sentence of the metric's documentation."""
    metric = metric_of(score)
    found = (inspect.getdoc(metric.spec.function) or "") if metric else ""
    return found.partition("\n")[0]


def better(score: Score) -> str:
    """ "higher", "lower" or "ideal"; "higher" where the metric is unknown."""
    name = metric_text(score).partition("(")[0].partition("@")[0]
    return REGISTRY[name].better if name in REGISTRY else "higher"


def overall(document: Document) -> list[Score]:
    """The rows over all annotators."""
    return [s for s in document["scores"] if s["annotator"] is None]


def annotators(document: Document) -> list[str]:
    """The scored annotators, in the task's order."""
    kept = (document.get("details") or {}).get("annotators")
    return list(kept or dict.fromkeys(s["annotator"] for s in document["scores"] if s["annotator"] is not None))


SPREAD_COLUMNS = ("metric", "least", "25 %", "median", "75 %", "largest", f"{ENDS} lowest", f"{ENDS} highest")


def spreads(document: Document) -> list[tuple[str, ...]]:
    """One row of `SPREAD_COLUMNS` per metric that has values of single annotators."""
    by: dict[str, list[tuple[float, str]]] = {}
    for score in document["scores"]:
        if score["annotator"] is not None and score["value"] is not None:
            by.setdefault(metric_text(score), []).append((score["value"], str(score["annotator"])))
    rows = []
    for name, found in by.items():
        found.sort()
        quartiles = np.quantile([value for value, _ in found], [0, 0.25, 0.5, 0.75, 1]).tolist()
        ends = (", ".join(f"{who} {number(v)}" for v, who in end) for end in (found[:ENDS], found[::-1][:ENDS]))
        rows.append((name, *map(number, quartiles), *ends))
    return rows


def find(document: Document, name: str, **parameters: Any) -> list[Score]:
    """The rows over all annotators of a metric, with at least these parameters."""
    found = []
    for score in overall(document):
        if str(score["metric"]).partition("@")[0] == name and (metric := metric_of(score)) is not None:
            bound = dict(metric.arguments)
            if all(bound.get(key) == value for key, value in parameters.items()):
                found.append(score)
    return found


def headline(document: Document) -> list[Score]:
    return [score for score in overall(document) if (metric := metric_of(score)) is not None and metric.is_headline]


def factors(document: Document) -> dict[str, Score]:
    """The rows of the index's factors that the document has: decision, grounding, imitation, distinctness."""
    found = {factor: find(document, name, **parameters) for factor, (name, parameters) in FACTORS.items()}
    return {factor: scores[0] for factor, scores in found.items() if scores}


def unused(document: Document) -> tuple[str, ...]:
    """The factors that the document's index leaves out."""
    metric = next((metric_of(score) for score in find(document, "hlv_index")), None)
    return left_out(str(dict(metric.arguments)["without"])) if metric else ()


def curve(document: Document, name: str, view: str) -> dict[int, Score]:
    """Group size -> row of a group metric, with the index's content reduction."""
    rows = find(document, name, view=view, reduce=FACTORS["imitation"][1]["reduce"])
    return dict(sorted((int(str(s["metric"]).partition("@")[2]), s) for s in rows))


def tally(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{why} {n}" for why, n in counts.items()) or "none"


def clusters_of(document: Document) -> str:
    """The number of clusters of items, and why there is no interval if there are few."""
    count = document.get("clusters")
    few = f" (an interval and a p need {FEWEST_CLUSTERS})" if count is not None and count < FEWEST_CLUSTERS else ""
    return "–" if count is None else f"{count}{few}"


def facts(document: Document) -> list[tuple[str, str]]:
    """What a reader must know before any number: (what, how much)."""
    asked = document["questions"] * document["samples"]
    share = f" ({document['missing'] / asked:.1%})" if asked and document["missing"] else ""
    out = [
        ("System", str(document["system"]) or "unnamed"),
        ("Task and split", f"{document['task']}, {document['split']}"),
        ("Questions", f"{document['questions']}" + _samples(document["samples"])),
        ("Clusters of items", clusters_of(document)),
        ("Missing answers", f"{document['missing']}{share}"),
        ("Majority line (label accuracy)", number(document["majority"]["mean"])),
        ("Without an explanation", str(document["without_explanation"])),
    ]
    if document.get("label_only"):
        out.insert(3, ("Without a human explanation", f"{document['label_only']}, in label metrics alone"))
    if document["missing_reasons"]:
        out.insert(5 + bool(document.get("label_only")), ("Why missing", tally(document["missing_reasons"])))
    if document.get("licence"):
        out.append(("Data", str(document["licence"])))
    if document["thought"]:
        out.append(("With thoughts dropped", str(document["thought"])))
    if document["skipped"]:
        out.append(("Never asked, whole task", tally(document["skipped"])))
    if document["unscored_annotators"]:
        out.append(("Too few records to be scored", ", ".join(document["unscored_annotators"])))
    return out


def _samples(count: int) -> str:
    return f", {count} samples each: scores are means, figures show the first" if count > 1 else ""


def withheld(document: Document) -> dict[str, list[str]]:
    """Note -> the metrics over all annotators that have no value for that reason."""
    out: dict[str, list[str]] = {}
    for score in overall(document):
        if score["value"] is None:
            out.setdefault(score["note"] or "no reason given", []).append(short(score))
    return out


def asked_for(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The settings of a run in words: what is off or empty is left out, and the model, which stands in the title."""
    told = {k: v for k, v in settings.items() if v not in (None, {}, False) and k != "model"}
    return [(k.replace("_", " "), ", ".join(map(str, v if isinstance(v, list) else [v]))) for k, v in told.items()]


MOST_ITEMS = 10


@dataclass(frozen=True)
class ItemScore:
    """Means over the answers to one item; None where no answer has the score."""

    item: str
    answers: int
    missing: int
    right: float | None
    closeness: float | None
    grounding: float | None


def item_scores(path: Path) -> list[ItemScore]:
    """The items of an answers.jsonl, worst first: by share of right labels, then by the explanations' closeness
    to the annotators' own (embedding cosine); [] without the file."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for _, row in read_jsonl(path) if path.exists() else ():
        rows.setdefault(str(row.get("item")), []).append(row)
    found = [
        ItemScore(
            item, len(own), sum(bool(row.get("missing")) for row in own),
            *(_mean([row.get(key) for row in own]) for key in _PER_ITEM),
        )
        for item, own in rows.items()
    ]  # fmt: skip
    return sorted(found, key=lambda s: (s.right or 0.0, s.closeness or 0.0))


def judge_results(folder: Path) -> list[Mapping[str, Any]]:
    """The results of the judges of one task, `folder`/<judge>.json, by name; [] where nobody judged."""
    paths = [path for path in sorted(folder.glob("*.json")) if not path.name.endswith(".plan.json")]
    return [read_json(path) for path in paths]


JUDGE_COLUMNS = ("judge", "names the annotator [95 % interval]", "people", "blind", "chance", "unreadable", "n", "")


def judge_rows(document: Document) -> list[tuple[str, ...]]:
    """One row of `JUDGE_COLUMNS` per judge of a task's answers."""
    return [
        (str(j["judge"]), _accuracy(j), *(number(j[k]) for k in ("ceiling", "floor", "chance")), str(j["unreadable"]),
         str(j["n"]), str(j["note"]))
        for j in document.get("judges", ())
    ]  # fmt: skip


def _accuracy(judged: Mapping[str, Any]) -> str:
    return "–" if judged["accuracy"] is None else shown({**judged, "value": judged["accuracy"]})


def extremes(items: Sequence[ItemScore]) -> dict[str, Sequence[ItemScore]]:
    """At most ten of the worst and of the best items, none in both."""
    worst, best = items[: -(-len(items) // 2)], items[::-1][: len(items) // 2]
    found = {"Worst items": worst[:MOST_ITEMS], "Best items": best[:MOST_ITEMS]}
    return {title: chosen for title, chosen in found.items() if chosen}


def _mean(values: Sequence[Any]) -> float | None:
    known = [float(v) for v in values if isinstance(v, int | float)]
    return sum(known) / len(known) if known else None


def rows_apart(table: Sequence[Sequence[float | None]]) -> float | None:
    """The largest total variation distance of two rows: 0 = all rows equal, 1 = no overlap."""
    rows = [known for row in table if len(known := [v for v in row if v is not None]) == len(row)]
    gaps = [sum(abs(a - b) for a, b in zip(x, y, strict=True)) / 2 for i, x in enumerate(rows) for y in rows[:i]]
    return max(gaps, default=None)


def diagonal(table: Sequence[Sequence[float | None]]) -> float | None:
    """The mean of what a matrix has on its diagonal."""
    return _mean([row[i] for i, row in enumerate(table)])


def pooled(tables: Sequence[Sequence[Sequence[int]]]) -> list[list[int]]:
    """The sum of count tables of one shape."""
    return [[sum(cells) for cells in zip(*rows, strict=True)] for rows in zip(*tables, strict=True)]


def swaps(document: Document) -> list[Mapping[str, Any]]:
    """The swap matrices, that of the index (its view, the largest group) first."""
    first = FACTORS["imitation"][1]["view"]
    found = (document.get("details") or {}).get("swap", [])
    return sorted(found, key=lambda t: (t["view"] != first, -t["m"]))


def swap_present(document: Document, table: Mapping[str, Any]) -> tuple[list[str], Mapping[str, Any], str]:
    """The annotators whom a swap matrix has a value of, the table without the rows and columns of the others, and its
    reading in words."""
    kept = [i for i, row in enumerate(table["system"]) if any(v is not None for v in row)]
    names = annotators(document)
    sides = {side: [[table[side][i][j] for j in kept] for i in kept] for side in ("system", "people")}
    absent = [name for i, name in enumerate(names) if i not in kept]
    return [names[i] for i in kept], {**table, **sides}, swap_reading(sides["system"], sides["people"], absent)


def swap_reading(
    table: Sequence[Sequence[float | None]], people: Sequence[Sequence[float | None]], absent: Sequence[str] = ()
) -> str:
    """A swap matrix in words; `absent`: whom it lacks."""
    apart, own, theirs = rows_apart(table), diagonal(table), rows_apart(people)
    chance = 1 / max(1, sum(any(v is not None for v in row) for row in table))
    if apart is None or own is None:
        return "Too few annotators to compare."
    said = (
        f"Mean on the diagonal {number(own)} (people {number(diagonal(people))}, chance {number(chance)}); "
        f"two rows differ by at most {number(apart)} (people {number(theirs)})."
    )
    if absent:
        named = ", ".join(absent) if len(absent) <= MOST_COLUMNS else f"{len(absent)} annotators"
        said += f" Left out, with too few answers or dev annotations: {named}."
    if apart < 0.02:
        return f"All rows are alike: under all names the probe sees one writer. {said}"
    return said
