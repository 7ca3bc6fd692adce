"""Scores of a run: computed, kept in scores.json, compared, and shown as report.md, report.html and in the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from ..io import write_atomic
from ..settings import SETTINGS, read_settings
from ..text import as_cell
from .answer_items import item_scores, judge_results
from .markdown import markdown, side_by_side, summary
from .report_page import page
from .report_sections import MOST_LISTED, TaskResult
from .score_report import ScoreReport

__all__ = ["TaskResult", "markdown", "page", "refresh_report", "side_by_side", "summary", "write_report"]


def write_report(folder: Path, reports: Sequence[ScoreReport]) -> None:
    """Write report.md and report.html of a scored run.

    The items' scores are read from `folder/<task>/answers.jsonl`, judges' results from `folder/<task>/judge/` and the
    settings from `folder/settings.json`, where these exist.

    Args:
        folder: The run folder.
        reports: One per task. Of a task with more than `MOST_LISTED` annotators the report lists the ends and the
            spread; the scores of all are written to `folder/<task>/annotators.csv`.
    """
    settings = read_settings(folder) if (folder / SETTINGS).exists() else {}
    results = []
    for report in reports:
        place = folder / report.task_name
        results.append(TaskResult(report, item_scores(place / "answers.jsonl"), judge_results(place / "judge")))
        if len(report.annotators) > MOST_LISTED:
            write_atomic(place / "annotators.csv", annotators_csv(report))
    write_atomic(folder / "report.md", markdown(results, settings))
    write_atomic(folder / "report.html", page(results, settings))


def annotators_csv(report: ScoreReport) -> str:
    """The scores of every annotator as CSV."""
    out = io.StringIO()
    rows = csv.DictWriter(out, ["annotator", "metric", "value", "low", "high", "floor", "ceiling", "n", "note"])
    rows.writeheader()
    for score in report.by_annotator.values():
        named = {"metric": score.name, "annotator": as_cell(str(score.annotator))}
        rows.writerow({**score.model_dump(include=set(rows.fieldnames)), **named})
    return out.getvalue()


def refresh_report(folder: Path) -> None:
    """Write the report of a scored run anew, for what came to it after its scores; nothing where it has none."""
    paths = [folder / name / "scores.json" for name in read_settings(folder)["task"]]
    if all(path.exists() for path in paths):
        write_report(folder, [ScoreReport.read(path) for path in paths])
