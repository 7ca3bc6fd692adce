"""The learning curve of a method: its scores against how many train items of an annotator it was shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import RunError
from ..generation.run import read_scores
from ..io import dump_json, read_toml, write_files
from ..metrics.index import FACTORS
from ..provenance import trained_by
from ..results.compare import comparable
from ..results.score_report import INDEX
from ..settings import read_settings
from ..text import with_interval
from .plots import curve_png

Curve = dict[str, Any]


def curve(runs: Sequence[Path]) -> Curve:
    """The index and its factors of runs that differ in `--history`.

    Args:
        runs: Run folders, of any methods; those of one method (model, prompt, trainer, answers) make a line.

    Returns:
        {"tasks": {task@version: {method: [point]}}}; a point: history (None: all records), the run, and
        {index and factors: {value, low, high, note}}. Points of a method are ordered by history, all records last.

    Raises:
        UsageError: A run is named twice.
        RunError: A folder holds no scores, two runs of a method have the same history, or their numbers were not
            computed alike.
    """
    comparable(runs, partial=True)
    tasks: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for folder in runs:
        settings = read_settings(folder)
        method = _method(settings)
        for report in read_scores(folder):
            found = {INDEX: report.index(), **report.factors()}
            kept = {"value", "low", "high", "note"}
            scores = {name: score.model_dump(include=kept) for name, score in found.items() if score is not None}
            point = {"history": settings.get("history"), "run": str(folder), "scores": scores}
            points = tasks.setdefault(report.task, {}).setdefault(method, [])
            if twin := next((p for p in points if p["history"] == point["history"]), None):
                raise RunError(f"{twin['run']} and {folder} are both {method} with a history of {_shown(point)}")
            points.append(point)
    for methods in tasks.values():
        for points in methods.values():
            points.sort(key=lambda p: float("inf") if p["history"] is None else p["history"])
    return {"tasks": tasks}


def curve_markdown(result: Curve) -> str:
    """A table per task: a row per method and history."""
    lines = []
    for task, methods in result["tasks"].items():
        lines += [f"## {task}", "", f"| method | history | {' | '.join((INDEX, *FACTORS))} |",
                  "|---|---:|" + "---:|" * (1 + len(FACTORS))]  # fmt: skip
        for method, points in methods.items():
            for point in points:
                cells = [method, _shown(point), *(_cell(point["scores"].get(name)) for name in (INDEX, *FACTORS))]
                lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def write_curve(result: Curve, out: Path) -> list[Path]:
    """Write curve.json, curve.md and a curve-<task>.png per task below `out`; returns the paths."""
    files: dict[str, str | bytes] = {"curve.json": dump_json(result), "curve.md": curve_markdown(result)}
    for task, methods in result["tasks"].items():
        files[f"curve-{task.partition('@')[0].replace('/', '-')}.png"] = curve_png(task, methods, (INDEX, *FACTORS))
    return write_files(out, files)


def _method(settings: Mapping[str, Any]) -> str:
    adapted = ""
    if folder := settings.get("adapter_dir"):
        trainers = {trained_by(read_toml(path)) for path in Path(folder).rglob("train.toml")}
        adapted = f"{trainers.pop()} adapters".lstrip() if len(trainers) == 1 else "adapters"
    constrained = "constrained" if settings.get("answers") == "constrained" else ""
    return ", ".join(filter(None, [str(settings["model"]), str(settings["prompt"]), adapted, constrained]))


def _cell(score: Mapping[str, Any] | None) -> str:
    return "–" if score is None else with_interval(score)


def _shown(point: Mapping[str, Any]) -> str:
    return "all" if point["history"] is None else str(point["history"])
