"""Runs side by side: paired differences on shared replicates, rank groups (docs/metrics.md section 10).

Works from the runs' own files: neither data nor model is needed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from ..bootstrap import FEWEST_CLUSTERS, difference_p, holm, interval
from ..errors import HlvbenchError, RunError, UsageError, all_problems
from ..metrics import REGISTRY
from ..provenance import read_manifest
from ..settings import DEFAULT_TASKS, SETTINGS, answered_tasks
from ..text import aligned, with_interval
from .score_report import INDEX, ScoreReport

OVERALL = DEFAULT_TASKS
LEVEL = 0.05
_CONDITIONS = ("split", "limit", "only", "seed", "boot", "hlvbench")


@dataclass(frozen=True)
class Value:
    """A metric of one system on one task. metric: its bound form. interval: None where there is none."""

    metric: str
    estimate: float
    replicates: np.ndarray
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Part:
    """One task of one run: what it was computed under, and the values that comparisons need.

    items: the clusters of items, or where they are not known the fewest items that the questions allow. notes: metric
    -> why it has no value.
    """

    task: str
    conditions: Mapping[str, str]
    questions: int
    items: int
    samples: int
    data: Mapping[str, str] | None
    values: Mapping[str, Value]
    notes: Mapping[str, str]


@dataclass(frozen=True)
class Run:
    folder: Path
    system: str
    parts: Mapping[str, Part] = field(default_factory=dict)


def compare(runs: Sequence[Path]) -> dict[str, Any]:
    """Compare two or more scored run folders, pair by pair, per task and overall.

    {"systems": [{"name", "run", "system"}], "tasks": {task: comparison}, "overall": comparison or None, "notes"};
    a comparison is that of `compare_values`, a task's with its conditions. Overall is the mean over varierr and r2
    of the systems that have both. Errors are those of `comparable`.
    """
    systems = comparable(runs)
    names, read = list(systems), list(systems.values())
    tasks = {t: {n: r.parts[t] for n, r in systems.items() if t in r.parts} for r in read for t in r.parts}
    shared = {task: parts for task, parts in tasks.items() if len(parts) > 1}
    notes = [f"{task}: only {next(iter(parts))} has it" for task, parts in tasks.items() if len(parts) == 1]
    if not shared:
        raise RunError(all_problems("these runs have no task in common:", notes))
    notes += [note for task, parts in shared.items() for note in _notes(task, parts)]
    return {
        "systems": [{"name": n, "run": str(r.folder), "system": r.system} for n, r in systems.items()],
        "tasks": {task: _of_task(parts) for task, parts in shared.items()},
        "overall": _overall(tasks, names, notes),
        "notes": notes,
    }


def comparable(runs: Sequence[Path], partial: bool = False) -> dict[str, Run]:
    """Name -> run of scored run folders.

    Args:
        runs: Two or more run folders; with `partial` one is enough.
        partial: Leave out the tasks of a run that have no scores.

    Raises:
        UsageError: Fewer than two runs, or one of them twice.
        RunError: They cannot be read, or their numbers were not computed alike: all differences at once.
    """
    _check_choice(runs, 1 if partial else 2)
    problems: list[str] = []
    read = [run for run in (read_run(folder, problems, partial) for folder in runs) if run is not None]
    systems = dict(zip(distinct_names(read), read, strict=True))
    problems += differences(systems)
    if problems:
        raise RunError(all_problems("these runs cannot be compared:", problems))
    return systems


def _check_choice(runs: Sequence[Path], least: int) -> None:
    if len(runs) < least:
        raise UsageError(f"a comparison needs two runs or more, got {len(runs)}: hlvbench compare RUN RUN [RUN ...]")
    places = [folder.resolve() for folder in runs]
    twice = sorted({str(folder) for folder, place in zip(runs, places, strict=True) if places.count(place) > 1})
    if twice:
        raise UsageError(f"the same run is named more than once: {', '.join(twice)}")


def read_run(folder: Path, problems: list[str], partial: bool = False) -> Run | None:
    """A scored run; what is wrong with its files is added to `problems`, and it is None then.

    partial: a task without scores is left out instead.
    """
    before = len(problems)
    files = sorted(folder.glob("*/scores.json"))
    try:
        if (folder / SETTINGS).exists():
            files = [folder / name / "scores.json" for name in answered_tasks(folder)]
            files = [path for path in files if path.exists()] if partial else files
        manifest = read_manifest(folder)
        facts = {name: task.get("data_sha256") for name, task in manifest["tasks"].items()} if manifest else {}
    except HlvbenchError as error:
        problems.append(str(error))
        return None
    if not files:
        problems.append(f"{folder}: no scored run here (no settings.json, no */scores.json)")
    parts, system = dict[str, Part](), ""
    for path in files:
        if not path.exists():
            problems.append(f"{path}: no such file; score the run first: hlvbench score {folder}")
            continue
        try:
            report = ScoreReport.read(path)
        except HlvbenchError as error:
            problems.append(str(error))
            continue
        parts[report.task_name], system = part_of(report, facts.get(report.task_name)), _short(report.system)
    return Run(folder, system, parts) if len(problems) == before else None


def _short(system: str) -> str:
    """A model's name; of a local path the last part."""
    return Path(system).name if system.startswith(("/", ".", "~")) else system


def part_of(report: ScoreReport, data: Mapping[str, str] | None = None) -> Part:
    """What comparisons need of a score report. data: the hashes of what it was scored on, None where unknown."""
    intervals = {s.signature: (s.low, s.high) for s in report.overall if s.low is not None and s.high is not None}
    values = {}
    for name, kept in report.replicates.values.items():
        estimate = math.nan if kept.estimate is None else kept.estimate
        values[name] = Value(kept.signature.partition("|")[0], estimate, kept.values, intervals.get(kept.signature))
    annotators = {annotator for _, annotator in report.by_annotator}
    fewest = math.ceil(report.questions / max(1, len(annotators)))
    return Part(
        report.task,
        _conditions(report.conditions[0]),
        report.questions,
        fewest if report.clusters is None else min(report.clusters, report.questions),
        report.samples,
        data,
        values,
        {score.metric: score.note for score in report.overall if score.value is None},
    )


def _conditions(text: str) -> dict[str, str]:
    """What numbers were computed under; unlike `parse_signature`, of any version."""
    given = dict(part.split(":", 1) for part in text.split("|")[1:] if ":" in part)
    return {key: given.get(key, "test" if key == "split" else "none") for key in _CONDITIONS}


def distinct_names(runs: Sequence[Run]) -> list[str]:
    """The systems' names; where several runs share one, with as much of the folder's path as tells them apart."""
    names = []
    for run in runs:
        alike = [other for other in runs if other.system == run.system and other is not run]
        parts = run.folder.resolve().parts
        size = 1
        while any(other.folder.resolve().parts[-size:] == parts[-size:] for other in alike) and size < len(parts):
            size += 1
        names.append(f"{run.system} ({'/'.join(parts[-size:])})" if alike else run.system)
    return names


def differences(systems: Mapping[str, Run]) -> list[str]:
    """Why runs cannot be compared: whatever differs from the first run that has the task."""
    problems, first = [], dict[str, tuple[str, Part]]()
    for name, run in systems.items():
        for task, part in run.parts.items():
            against, reference = first.setdefault(task, (name, part))
            for what, there, here in _facts(reference, part):
                if there != here:
                    problems.append(f"{task}: {what}: {against} has {there}, {name} has {here}")
    return problems


def _facts(a: Part, b: Part) -> Iterator[tuple[str, object, object]]:
    """What must be equal: (what, in a, in b)."""
    yield "version", a.task, b.task
    for key in _CONDITIONS:
        name = {"boot": "replicates (boot)", "hlvbench": "metric version (hlvbench)"}.get(key, key)
        yield name, a.conditions[key], b.conditions[key]
    yield "questions", a.questions, b.questions
    if a.data is not None and b.data is not None:
        for key in sorted({*a.data, *b.data}):
            yield f"sha256 of the data file {key}", a.data.get(key, "none"), b.data.get(key, "none")
    for name in a.values.keys() & b.values.keys():
        yield f"{name} is another metric", a.values[name].metric, b.values[name].metric
        yield f"kept replicates of {name}", len(a.values[name].replicates), len(b.values[name].replicates)


def _notes(task: str, parts: Mapping[str, Part]) -> Iterator[str]:
    """What a reader of one task's comparison must know."""
    if bare := [name for name, part in parts.items() if part.data is None]:
        yield f"{task}: no data hash in the manifest of {', '.join(bare)}: only the task's version was checked"
    if not any(INDEX in part.values for part in parts.values()):
        why = next(iter(parts.values())).notes.get(INDEX) or "not kept"
        yield f"{task}: no {INDEX}, so none is ranked ({why})"
    count = min(part.items for part in parts.values())
    if count < FEWEST_CLUSTERS:
        yield f"{task}: {count} clusters of items; an interval and a p need {FEWEST_CLUSTERS}"


def _of_task(parts: Mapping[str, Part]) -> dict[str, Any]:
    first = next(iter(parts.values()))
    found = compare_values({n: p.values for n, p in parts.items()}, min(p.items for p in parts.values()))
    for name, table in found["metrics"].items():
        for row in table["systems"]:
            if row["value"] is None:
                row["note"] = parts[row["system"]].notes.get(name) or "no value kept; see the run's own report"
    return {"task": first.task, **first.conditions, "samples": {n: p.samples for n, p in parts.items()}, **found}


def _overall(tasks: Mapping[str, Mapping[str, Part]], names: Sequence[str], notes: list[str]) -> dict[str, Any] | None:
    """The mean over `OVERALL` of the systems that have all of them; the others are named in `notes`."""
    have = [name for name in names if all(name in tasks.get(task, {}) for task in OVERALL)]
    lacking = [name for name in names if name not in have]
    if lacking:
        notes.append(f"no overall value, as it takes {' and '.join(OVERALL)}: {', '.join(lacking)}")
    if len(have) < 2:
        return None
    values = {name: mean_values([tasks[task][name].values for task in OVERALL]) for name in have}
    items = sum(min(tasks[task][name].items for name in have) for task in OVERALL)
    return {"task": f"mean of {' and '.join(OVERALL)}", **compare_values(values, items)}


def mean_values(parts: Sequence[Mapping[str, Value]]) -> dict[str, Value]:
    """Per metric that all parts have: the mean of the estimates and of the replicates with the same number."""
    out = {}
    for name in parts[0]:
        if all(name in part for part in parts):
            count = min(len(part[name].replicates) for part in parts)
            estimate = float(np.mean([part[name].estimate for part in parts]))
            replicates = np.mean([part[name].replicates[:count] for part in parts], axis=0)
            span = interval(estimate, replicates, REGISTRY[name.partition("@")[0]].bounds)
            out[name] = Value(parts[0][name].metric, estimate, replicates, span)
    return out


def compare_values(systems: Mapping[str, Mapping[str, Value]], items: int) -> dict[str, Any]:
    """All pairs of systems, metric by metric; the values must rest on the same replicates.

    {"resolution": p, "metrics": {name: {"metric", "better", "systems": [{"system", "value", "low", "high", "rank"}],
    "pairs": [{"a", "b", "difference", "low", "high", "p", "p_holm", "beyond_resolution"}]}}}. Holm's adjustment is
    over all pairs of a metric. The interval holds 0 wherever the test (p, not adjusted) does not reject it. With fewer
    than ten `items` there is neither. rank = 1 + number of systems that beat it (better, p_holm < .05); only for
    hlv_index.
    """
    order = dict.fromkeys(name for values in systems.values() for name in values)
    metrics = sorted(order, key=lambda name: name != INDEX)
    kept = max((len(v.replicates) for values in systems.values() for v in values.values()), default=0)
    return {
        "replicates": kept,
        "resolution": 2 / (kept + 1),
        "metrics": {name: _table({s: v[name] for s, v in systems.items() if name in v}, name, systems, items)
                    for name in metrics},
    }  # fmt: skip


def _table(values: Mapping[str, Value], name: str, systems: Iterable[str], items: int) -> dict[str, Any]:
    given = {s: v for s, v in values.items() if not math.isnan(v.estimate)}
    pairs = [_pair(a, b, given[a], given[b], items) for a, b in combinations(given, 2)]
    adjusted = holm({str(k): pair["p"] for k, pair in enumerate(pairs) if pair["p"] is not None})
    for k, pair in enumerate(pairs):
        pair["p_holm"] = adjusted.get(str(k))
    spec = REGISTRY[name.partition("@")[0]]
    beaten_by = Counter(
        _loser(pair, spec.better == "lower") for pair in pairs if pair["p_holm"] is not None and pair["p_holm"] < LEVEL
    )
    rows = []
    for system in systems:
        value = given.get(system)
        low, high = value.interval if value and value.interval else (None, None)
        row = {"system": system, "value": value.estimate if value else None, "low": low, "high": high}
        rows.append(row | ({"rank": 1 + beaten_by[system] if value else None} if name == INDEX else {}))
    metric = next(iter(values.values())).metric
    return {"metric": metric, "better": spec.better, "systems": rows, "pairs": pairs}


def _pair(a: str, b: str, first: Value, second: Value, items: int) -> dict[str, Any]:
    difference, replicates = first.estimate - second.estimate, first.replicates - second.replicates
    pair = {"a": a, "b": b, "difference": difference, "low": None, "high": None, "p": None, "beyond_resolution": False}
    if items < FEWEST_CLUSTERS or 2 * (~np.isnan(replicates)).sum() < len(replicates):
        return pair
    pair["p"], pair["beyond_resolution"] = p, _ = difference_p(difference, replicates, items)
    if found := interval(difference, replicates):
        # recentring moves replicates in which both are clipped at 0 off their place; the test counts them as ties
        ends = (*found, *([0.0] if p >= LEVEL else []))
        pair["low"], pair["high"] = min(ends), max(ends)
    return pair


def _loser(pair: Mapping[str, Any], lower_is_better: bool) -> str | None:
    """The worse system of a pair; None where they are equal."""
    difference = -pair["difference"] if lower_is_better else pair["difference"]
    return None if difference == 0 else str(pair["b"] if difference > 0 else pair["a"])


def compare_text(result: Mapping[str, Any]) -> str:
    """The comparison as plain text for a terminal."""
    parts = [_part_text(found) for found in (*result["tasks"].values(), result["overall"]) if found]
    notes = [f"note: {note}" for note in result["notes"]]
    return "\n\n".join([*parts, *(["\n".join(notes)] if notes else [])])


def _part_text(found: Mapping[str, Any]) -> str:
    where = f" {found['split']}" if "split" in found else ""
    lines = [
        f"{found['task']}{where}: paired on the same {found['replicates']} replicates; p two-sided, finest "
        f"{found['resolution']:.3f} by counting (~: beyond it, by the normal tail); Holm over the pairs of a metric"
    ]
    for name, table in found["metrics"].items():
        rows = [("rank" if name == INDEX else "", "system", "value [95 % interval]")]
        ordered = sorted(table["systems"], key=lambda row: (row["value"] is None, -(row["value"] or 0.0)))
        rows += [
            (str(row["rank"] or "–") if "rank" in row else "", row["system"], _shown(row, "value")) for row in ordered
        ]
        lines += ["", table["metric"], aligned(rows, "  ")]
        pairs = [("", "difference", "[95 % interval]", "p", "Holm p")]
        pairs += [
            ("", f"{p['a']} - {p['b']}", _shown(p, "difference"),
             f"{'~' if p['beyond_resolution'] else ''}{_small(p['p'])}", _small(p["p_holm"]))
            for p in table["pairs"]
        ]  # fmt: skip
        lines += [aligned(pairs, "  ")] if table["pairs"] else []
    return "\n".join(lines)


def _shown(row: Mapping[str, Any], key: str) -> str:
    return f"– ({row['note']})" if row[key] is None and row.get("note") else with_interval(row, key)


def _small(p: float | None) -> str:
    if p is None:
        return "–"
    return f"{p:.3f}" if p >= 0.001 else "<0.001"
