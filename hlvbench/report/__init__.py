"""A run for people: report.md, report.html and the table of the terminal. Made from the run's own files alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..files import read_json, write_atomic
from .markdown import markdown, summary
from .page import page
from .rows import Document, ItemScore, item_scores
from .side_by_side import side_by_side

__all__ = ["markdown", "page", "side_by_side", "summary", "write_report"]


def write_report(folder: Path, documents: Sequence[Document]) -> None:
    """Write report.md and report.html of a scored run: one document (scores.json) per task.

    The items' scores are read from `folder/<task>/answers.jsonl` and the settings from `folder/settings.json`,
    where these exist.
    """
    items: list[list[ItemScore]] = [
        item_scores(folder / str(d["task"]).rsplit("@", 1)[0] / "answers.jsonl") for d in documents
    ]
    place = folder / "settings.json"
    settings = read_json(place) if place.exists() else {}
    write_atomic(folder / "report.md", markdown(documents, items, settings))
    write_atomic(folder / "report.html", page(documents, items, settings))
