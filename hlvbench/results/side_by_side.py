"""Several runs as one Markdown table per task: a row per run, the headline metrics as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .markdown import plain
from .rows import Document, Score, find, number

COLUMNS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "label accuracy": ("label_accuracy", {"multi": "any"}),
    "label κ": ("label_kappa", {}),
    "ROUGE-L": ("rouge_l", {"view": "raw"}),
    "grounding": ("grounding_skill", {"view": "raw"}),
    "NIS@10": ("imitation_score", {"view": "norm", "reduce": "self", "fit": "dev", "floor": "chance", "m": 10}),
    "own gain": ("own_gain", {"view": "norm", "sim": "embed"}),
    "hlv_index": ("hlv_index", {}),
}
"""Column -> metric and parameters; the last one is shown with its interval."""


def side_by_side(runs: Mapping[str, Sequence[Document]]) -> str:
    """Name of a run -> its scores.json documents; a table per task, in the order of the runs."""
    tasks = dict.fromkeys(str(d["task"]) for documents in runs.values() for d in documents)
    return "\n\n".join(f"{plain(task)}\n\n{_table(runs, task)}" for task in tasks)


def _table(runs: Mapping[str, Sequence[Document]], task: str) -> str:
    lines = ["| system | " + " | ".join(COLUMNS) + " | missing |", "|---|" + "---:|" * (len(COLUMNS) + 1)]
    for name, documents in runs.items():
        for document in documents:
            if document["task"] == task:
                cells = [_cell(document, column) for column in COLUMNS]
                lines.append(f"| {plain(name)} | {' | '.join(cells)} | {document['missing']} |")
    return "\n".join(lines)


def _cell(document: Document, column: str) -> str:
    name, parameters = COLUMNS[column]
    found: list[Score] = find(document, name, **parameters)
    if not found or found[0]["value"] is None:
        return "–"
    score = found[0]
    if column != list(COLUMNS)[-1] or score["low"] is None:
        return number(score["value"])
    return f"{number(score['value'])} [{number(score['low'])}, {number(score['high'])}]"
