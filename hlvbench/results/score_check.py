"""A scores.json from outside: whether it is one, and whether its numbers agree with each other. Needs no data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from pydantic import ValidationError

from ..bootstrap import KEPT, REPLICATES
from ..data.table import MOST_ID
from ..errors import MetricError, validation_problems
from ..metrics import REGISTRY, parse_signature
from ..metrics.index import FACTORS, harmonic_index
from ..metrics.projections import EMBED
from ..text import hidden, local_path
from .score_report import INDEX, Score, ScoreReport

EQUAL = 0.002
"""Two scores that differ by no more are the same score (another machine's last digits)."""
LONGEST_NOTE = 500_000
"""Characters; a note may name every annotator of a large task."""
_ROUNDING = 2e-6
_OPTIONAL = {"clusters", "licence", "label_only", "details"}


def check_submitted(document: Any, task: str) -> list[str]:
    """All that is wrong with the submitted scores.json of a task, each problem with its place.

    Args:
        document: What the file holds, parsed; nothing is believed of it.
        task: The name of the task's folder.
    """
    try:
        report = ScoreReport.model_validate(document)
    except ValidationError as error:
        return validation_problems(error)
    problems = [
        f"{key} is missing" for key in ScoreReport.model_fields if key not in report.model_fields_set | _OPTIONAL
    ]
    name, _, version = report.task.rpartition("@")
    if name != task or not 0 < len(version) <= 20:
        problems.append(f"task: {task}@VERSION expected, got {report.task!r:.60}")
    if report.split != "test":
        problems.append(f"split: test expected, got {report.split!r:.60}")
    if len(report.system) > 200 or hidden(report.system) or local_path(report.system):
        problems.append(f"system: not a plain short name: {report.system!r:.60}")
    if hidden(report.licence or ""):
        problems.append(f"licence: not a plain text: {report.licence!r:.60}")
    problems += [f"scores[{k}]: {why}" for k, s in enumerate(report.scores) if (why := _score_problem(s))]
    if problems:
        return problems
    return [*_conditions(report), *_doubled(report), *_replicates(report), *_index(report), *_details(report)]


def _score_problem(score: Score) -> str:
    """What is wrong with one score by itself."""
    if lacking := Score.model_fields.keys() - score.model_fields_set:
        return f"{', '.join(sorted(lacking))} is missing"
    who = score.annotator
    texts = (score.metric, score.signature, score.note, who or "")
    if any(map(hidden, texts)) or len(score.note) > LONGEST_NOTE or (who is not None and not 0 < len(who) <= MOST_ID):
        return "metric, signature, note or annotator is not a plain short text"
    try:
        metric = parse_signature(score.signature).metric
    except MetricError as error:
        return f"{error}; score the run with this version"
    if metric.short != score.metric:
        return f"{score.metric:.60} is not the metric of its signature {score.signature:.120}"
    if score.value is None:
        return "" if score.note else f"{score.signature:.120}: no value and no note that says why"
    (least, most), ends = metric.spec.bounds, [v for v in (score.value, score.low, score.high) if v is not None]
    if not all(least - _ROUNDING <= v <= most + _ROUNDING for v in ends):
        return f"{score.signature:.120}: {ends} leaves the metric's range {metric.spec.bounds}"
    return ""


def _conditions(report: ScoreReport) -> list[str]:
    """The numbers of a leaderboard are all computed alike: the whole test split, seed 0, 1,000 replicates."""
    wanted = {
        "task": report.task, "split": "test", "limit": None, "seed": 0, "boot": REPLICATES,
        "samples": report.samples, "missing": report.missing,
    }  # fmt: skip
    signatures = [parse_signature(score.signature) for score in report.scores]
    problems = dict.fromkeys(
        f"signatures say {name} {getattr(signature, name)}, {value} was expected"
        for signature in signatures
        for name, value in wanted.items()
        if getattr(signature, name) != value
    )
    versions = sorted({signature.version for signature in signatures})
    return [*problems, *([f"signatures of several versions: {', '.join(versions)}"] if len(versions) > 1 else [])]


def _doubled(report: ScoreReport) -> Iterator[str]:
    seen: set[tuple[str, str | None]] = set()
    for score in report.scores:
        if (score.signature, score.annotator) in seen:
            yield f"{score.signature:.120}, {score.annotator}: given twice"
        seen.add((score.signature, score.annotator))


def _replicates(report: ScoreReport) -> Iterator[str]:
    """The estimates of the kept replicates are the scores, and the index has replicates."""
    values = {score.signature: score.value for score in report.overall}
    if report.replicates.values and report.replicates.count != KEPT:
        yield f"replicates: {report.replicates.count} kept, {KEPT} were expected"
    for name, kept in report.replicates.values.items():
        value = values.get(kept.signature)
        fits = value is not None and kept.estimate is not None and abs(value - kept.estimate) <= _ROUNDING
        if name.partition("@")[0] not in REGISTRY or not fits:
            yield f"replicates of {name!r:.60}: their estimate {kept.estimate} is not the score {value}"
    index = report.index()
    if index is not None and index.value is not None and INDEX not in report.replicates.values:
        yield f"no replicates of {INDEX}: the row could not be compared"


def _index(report: ScoreReport) -> list[str]:
    """The index, by the default encoder, is the harmonic mean of its factors; of several samples it is a mean of such
    means, which only scoring again can check."""
    index, found = report.index(), report.factors()
    if index is None or not _by_default_encoder(index):
        return [f"no {INDEX} by this version's encoder: nothing that the row could be ranked by"]
    if index.value is None:
        return []
    try:
        used = [factor for factor in FACTORS if factor not in report.left_out()]
    except MetricError as error:
        return [str(error)]
    values = {f: found[f].value if f in found and _by_default_encoder(found[f]) else None for f in used}
    if lacking := [factor for factor, value in values.items() if value is None]:
        return [f"{INDEX} has a value but its factor {', '.join(lacking)} has none"]
    expected = float(harmonic_index({factor: np.array([value]) for factor, value in values.items()})[0])
    if report.samples == 1 and abs(expected - index.value) > EQUAL:
        return [f"{INDEX} is {index.value}, but its factors make {expected:.6f}"]
    return []


def _by_default_encoder(score: Score) -> bool:
    if score.bound is None or parse_signature(score.signature).encoder is not None:
        return False
    return dict(score.bound.arguments).get("embed", EMBED) == EMBED


def _details(report: ScoreReport) -> list[str]:
    if report.details is None:
        return []
    problems = []
    if sorted(report.details.annotators) != sorted({annotator for _, annotator in report.by_annotator}):
        problems.append("details.annotators: not those of the scores")
    if any(len(table.note) > LONGEST_NOTE or hidden(table.note) for table in report.details.swap):
        problems.append("details.swap: a note is not a plain short text")
    return problems
