"""Several runs as one Markdown table per task: a row per run, the headline metrics as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..text import number
from .markdown import plain
from .score_report import ScoreReport

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


def side_by_side(runs: Mapping[str, Sequence[ScoreReport]]) -> str:
    """Name of a run -> its scores; a table per task, in the order of the runs."""
    tasks = dict.fromkeys(report.task for reports in runs.values() for report in reports)
    return "\n\n".join(f"{plain(task)}\n\n{_table(runs, task)}" for task in tasks)


def _table(runs: Mapping[str, Sequence[ScoreReport]], task: str) -> str:
    lines = ["| system | " + " | ".join(COLUMNS) + " | missing |", "|---|" + "---:|" * (len(COLUMNS) + 1)]
    for name, reports in runs.items():
        for report in reports:
            if report.task == task:
                cells = [_cell(report, column) for column in COLUMNS]
                lines.append(f"| {plain(name)} | {' | '.join(cells)} | {report.missing} |")
    return "\n".join(lines)


def _cell(report: ScoreReport, column: str) -> str:
    name, parameters = COLUMNS[column]
    score = report.first(name, **parameters)
    if score is None or score.value is None:
        return "–"
    return str(score) if column == list(COLUMNS)[-1] else number(score.value)
