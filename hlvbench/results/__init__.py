"""A run for people: report.md, report.html and the table of the terminal. Made from the run's own files alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from ..io import read_json, write_atomic
from .markdown import markdown, summary
from .report_page import page
from .rows import MOST_LISTED, Document, ItemScore, annotators, item_scores, judge_results, metric_text, plain_values
from .score_report import ScoreReport
from .side_by_side import side_by_side

__all__ = ["markdown", "page", "refresh_report", "side_by_side", "summary", "write_report"]


def write_report(folder: Path, reports: Sequence[ScoreReport]) -> None:
    """Write report.md and report.html of a scored run: one score report per task.

    Of a task with more than `MOST_LISTED` annotators they list the ends and the spread; the scores of all are written
    to `folder/<task>/annotators.csv`.

    The items' scores are read from `folder/<task>/answers.jsonl`, judges' results from `folder/<task>/judge/` and the
    settings from `folder/settings.json`, where these exist.
    """
    documents: list[Document] = [plain_values(report) for report in reports]
    items: list[list[ItemScore]] = [item_scores(folder / _name(d) / "answers.jsonl") for d in documents]
    place = folder / "settings.json"
    settings = read_json(place) if place.exists() else {}
    documents = [{**d, "judges": judge_results(folder / _name(d) / "judge")} for d in documents]
    for document in documents:
        if len(annotators(document)) > MOST_LISTED:
            write_atomic(folder / _name(document) / "annotators.csv", _table(document))
    write_atomic(folder / "report.md", markdown(documents, items, settings))
    write_atomic(folder / "report.html", page(documents, items, settings))


def _table(document: Document) -> str:
    """The scores of every annotator as CSV."""
    out = io.StringIO()
    rows = csv.DictWriter(out, ["annotator", "metric", "value", "low", "high", "floor", "ceiling", "n", "note"])
    rows.writeheader()
    for score in document["scores"]:
        if score["annotator"] is not None:
            rows.writerow({**{key: score[key] for key in rows.fieldnames}, "metric": metric_text(score)})
    return out.getvalue()


def refresh_report(folder: Path) -> None:
    """Write the report of a scored run anew, for what came to it after its scores; nothing where it has none."""
    names = [_name({"task": name}) for name in read_json(folder / "settings.json")["task"]]
    places = [folder / name / "scores.json" for name in names]
    if all(place.exists() for place in places):
        write_report(folder, [ScoreReport.read(place) for place in places])


def _name(document: Document) -> str:
    return str(document["task"]).rsplit("@", 1)[0]
