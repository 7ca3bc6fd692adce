"""A scores.json from outside: its shape, and what its numbers owe to each other. Needs no data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..bootstrap import KEPT, decode
from ..data.table import MOST_ID
from ..errors import DataError, MetricError
from ..metrics import REGISTRY, parse_signature
from ..metrics.index import FACTORS, harmonic_index, left_out
from ..results.rows import INDEX, by_metric
from .safe_reading import hidden, local_path

EQUAL = 0.002
"""Two scores that differ by no more are the same score (another machine's last digits)."""
MOST_SCORES = 20_000
LONGEST_NOTE = 10_000
"""Characters; a note may name every annotator of a large task."""
_ROUNDING = 2e-6
Document = Mapping[str, Any]
_FREE_COUNTS = ("clusters", "label_only")
_COUNTS = ("questions", "samples", "missing", "without_explanation", "thought")


def document_problems(document: Any, task: str, scale: float = 1.0) -> list[str]:
    """All that is wrong with the scores.json of `task`, a folder's name; nothing of it is believed before.

    scale: how much larger than written here limits are (`intake.room`).
    """
    if not isinstance(document, dict):
        return ["an object was expected"]
    found = _shape(document, task, scale)
    if found:
        return found
    rows, longest = document["scores"], int(LONGEST_NOTE * scale)
    found = [f"score {n + 1}: {why}" for n, row in enumerate(rows) if (why := _row_problem(row, longest))]
    if found:
        return found
    names = [n for n in dict.fromkeys(r["annotator"] for r in rows) if n is not None]
    found = _details(document, names, longest)
    return [*_conditions(document), *_doubled(rows), *_replicates(document), *_index(rows), *found]


def _shape(document: Document, task: str, scale: float) -> list[str]:
    kinds: dict[str, Callable[[Any], bool]] = {
        "task": lambda v: isinstance(v, str) and v.rpartition("@")[0] == task and 0 < len(v.rpartition("@")[2]) <= 20,
        "split": lambda v: v == "test",
        "system": lambda v: isinstance(v, str) and len(v) <= 200 and not hidden(v) and not local_path(v),
        **dict.fromkeys(_COUNTS, _is_count),
        "missing_reasons": _is_tally,
        "skipped": _is_tally,
        "unscored_annotators": lambda v: isinstance(v, list) and all(isinstance(a, str) for a in v),
        "majority": lambda v: isinstance(v, dict) and all(_is_number(x) or x is None for x in v.values()),
        "scores": lambda v: isinstance(v, list) and 0 < len(v) <= MOST_SCORES * scale,
        "replicates": lambda v: _has(v, {"count", "values"}) and isinstance(v["values"], dict),
    }  # fmt: skip
    if "licence" in document:
        kinds["licence"] = lambda v: isinstance(v, str) and len(v) <= 500 and not hidden(v)
    unknown = [
        f"{k!r:.60} is not a key of a scores.json" for k in document if k not in {*kinds, "details", *_FREE_COUNTS}
    ]
    unknown += [
        f"{k}: a count was expected, got {document[k]!r:.60}" for k in _FREE_COUNTS if not _is_count(document.get(k, 0))
    ]
    absent = [f"{k} is missing" for k in kinds if k not in document]
    wrong = [
        f"{k}: not as expected: {document[k]!r:.60}" for k, ok in kinds.items() if k in document and not ok(document[k])
    ]
    return unknown + absent + wrong


def _has(value: Any, keys: set[str]) -> bool:
    return isinstance(value, dict) and value.keys() == keys


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10**7


def _is_tally(value: Any) -> bool:
    return isinstance(value, dict) and len(value) <= 50 and all(_is_count(v) for v in value.values())


_ROW = {"metric", "signature", "annotator", "value", "low", "high", "floor", "ceiling", "n", "note"}


def _row_problem(row: Any, longest: int) -> str:
    """What is wrong with one score, of its own; `longest`: characters of a note."""
    if not isinstance(row, dict) or row.keys() != _ROW:
        return f"the keys {', '.join(sorted(_ROW))} were expected"
    texts = all(
        isinstance(row[k], str) and len(row[k]) <= most and not hidden(row[k])
        for k, most in (("metric", 500), ("signature", 500), ("note", longest))
    )
    who = row["annotator"]
    if not texts or not (who is None or (isinstance(who, str) and 0 < len(who) <= MOST_ID and not hidden(who))):
        return "metric, signature, note or annotator is no plain short text"
    numbers = [row[k] for k in ("value", "low", "high", "floor", "ceiling")]
    if not all(v is None or _is_number(v) for v in numbers) or not _is_count(row["n"]):
        return f"{row['signature']:.120}: a number was expected"
    try:
        metric = parse_signature(row["signature"]).metric
    except MetricError as error:
        return f"{error}; score the run with this version"
    if metric.short != row["metric"]:
        return f"{row['metric']:.60} is not the metric of its signature {row['signature']:.120}"
    return _value_problem(row, metric.spec.bounds)


def _value_problem(row: Mapping[str, Any], bounds: tuple[float, float]) -> str:
    value, low, high = row["value"], row["low"], row["high"]
    if value is None:
        return "" if row["note"] else f"{row['signature']:.120}: no value and no note that says why"
    ends = [v for v in (value, low, high) if v is not None]
    if not all(bounds[0] - _ROUNDING <= v <= bounds[1] + _ROUNDING for v in ends):
        return f"{row['signature']:.120}: {ends} leaves the metric's range {bounds}"
    if (low is None) != (high is None) or (low is not None and low > high):
        return f"{row['signature']:.120}: {low} to {high} is no interval"
    return ""


def _conditions(document: Document) -> list[str]:
    """A leaderboard's numbers are all computed alike: the whole test split, seed 0, 1,000 replicates."""
    found: dict[str, None] = {}
    for row in document["scores"]:
        s = parse_signature(row["signature"])
        there = (s.task, s.split, s.limit, s.seed, s.boot, s.samples, s.missing)
        asked = (document["task"], "test", None, 0, 1000, document["samples"], document["missing"])
        names = ("task", "split", "limit", "seed", "boot", "samples", "missing")
        for name, here, wanted in zip(names, there, asked, strict=True):
            if here != wanted:
                found[f"signatures say {name} {here}, {wanted} was expected"] = None
    versions = {parse_signature(r["signature"]).version for r in document["scores"]}
    if len(versions) > 1:
        found[f"signatures of several versions: {', '.join(sorted(versions))}"] = None
    return list(found)


def version_of(document: Document) -> str:
    """The hlvbench version that scored."""
    return parse_signature(document["scores"][0]["signature"]).version


def _doubled(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    seen: set[tuple[str, str | None]] = set()
    out = []
    for row in rows:
        key = (row["signature"], row["annotator"])
        if key in seen:
            out.append(f"{row['signature']:.120}, {row['annotator']}: stands twice")
        seen.add(key)
    return out


def _replicates(document: Document) -> list[str]:
    """The kept replicates decode, and their estimates are the scores'."""
    out, kept = [], document["replicates"]
    by = {r["signature"]: r["value"] for r in document["scores"] if r["annotator"] is None}
    for name, stored in kept["values"].items():
        try:
            if not isinstance(stored, dict) or stored.keys() != {"signature", "estimate", "scale", "offset", "data"}:
                raise DataError("signature, estimate, scale, offset and data were expected")
            estimate, values = decode(stored)
        except DataError as error:
            out.append(f"replicates of {name!r:.60}: {error}")
            continue
        value = by.get(stored["signature"]) if isinstance(stored["signature"], str) else None
        if name.partition("@")[0] not in REGISTRY or value is None or abs(value - estimate) > _ROUNDING:
            out.append(f"replicates of {name!r:.60}: their estimate {estimate} is not the score {value}")
        if len(values) != kept["count"] or len(values) != KEPT:
            out.append(f"replicates of {name!r:.60}: {len(values)} of {kept['count']}; {KEPT} were expected")
    index = by_metric(document["scores"]).get(INDEX)
    if index is not None and index["value"] is not None and INDEX not in kept["values"]:
        out.append(f"no replicates of {INDEX}: the row could not be compared")
    return out


def _index(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The index is the harmonic mean of its factors."""
    found = by_metric(rows)
    if INDEX not in found:
        return [f"no {INDEX} by this version's encoder: nothing that the row could be ranked by"]
    if found[INDEX]["value"] is None:
        return []
    left = left_out(str(dict(parse_signature(found[INDEX]["signature"]).metric.arguments)["without"]))
    used = [factor for factor in FACTORS if factor not in left]
    absent = [factor for factor in used if found.get(factor, {"value": None})["value"] is None]
    if absent:
        return [f"{INDEX} has a value but its factor {', '.join(absent)} has none"]
    made = float(harmonic_index({f: np.array([found[f]["value"]]) for f in used})[0])
    if abs(made - found[INDEX]["value"]) > EQUAL:
        return [f"{INDEX} is {found[INDEX]['value']}, but its factors make {made:.6f}"]
    return []


def _details(document: Document, names: Sequence[str], longest: int) -> list[str]:
    """The tables of a report, where there are any."""
    details = document.get("details")
    if details is None:
        return []
    if not isinstance(details, dict) or details.keys() != {"annotators", "swap", "confusion", "features"}:
        return ["details: annotators, swap, confusion and features were expected"]
    people = details["annotators"]
    if not isinstance(people, list) or not all(isinstance(a, str) for a in people) or sorted(people) != sorted(names):
        return ["details: their annotators are not those of the scores"]
    if not isinstance(details["swap"], list) or len(details["swap"]) > 20:
        return ["details: swap: a list was expected"]
    keys = {"view", "m", "system", "people", "note"}
    bad = [t for t in details["swap"] if not isinstance(t, dict) or t.keys() != keys or t["view"] not in ("raw", "norm")
           or not _is_count(t["m"]) or not isinstance(t["note"], str) or len(t["note"]) > longest
           or not all(t[s] is None or _is_matrix(t[s], len(people)) for s in ("system", "people"))]  # fmt: skip
    return ["details: a swap matrix is not K × K shares"] if bad else []


def _is_matrix(value: Any, size: int) -> bool:
    return isinstance(value, list) and len(value) == size and all(
        isinstance(row, list) and len(row) == size and all(v is None or (_is_number(v) and 0 <= v <= 1) for v in row)
        for row in value
    )  # fmt: skip
