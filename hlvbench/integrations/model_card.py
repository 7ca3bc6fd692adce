"""A run's numbers as model-card metadata (`model-index`), which the hub shows beside a model or an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..generation.run import SETTINGS, read_scores
from ..io import read_json
from ..results.score_report import ScoreReport

TASK_TYPE = "text-generation"


def card(folder: Path, *, annotator: str | None = None, into: Path | None = None) -> str:
    """The YAML of the metadata; `into` a model card (README.md): put there, the card's text and other keys untouched.

    annotator: the rows of this annotator, for an adapter of one annotator; None for those over all. Every result
    carries its signature. A RunError where nothing is scored, a UsageError for an annotator the run has not.
    """
    from huggingface_hub import ModelCardData
    from huggingface_hub.repocard import metadata_save

    reports, settings = read_scores(folder), read_json(folder / SETTINGS)
    results = [result for report in reports for result in _results(report, annotator)]
    if not results:
        known = sorted({name for report in reports for _, name in report.by_annotator})
        raise UsageError(f"{folder} has no scores of {annotator!r}; there are {', '.join(known)}")
    adapter = settings.get("adapter_dir")
    data = ModelCardData(
        model_name=Path(str(adapter or settings["model"])).name + (f" ({annotator})" if annotator else ""),
        base_model=_public(settings["model"]) if adapter else None,
        library_name="peft" if adapter else "transformers",
        tags=["hlvbench", "human-label-variation"],
        eval_results=results,
    )
    if into is not None:
        metadata_save(into, data.to_dict())
    return data.to_yaml()


def _public(model: str) -> str | None:
    """A hub id; the path of a folder says nothing to others."""
    return model if model.count("/") == 1 and not model.startswith((".", "/", "~")) else None


def _results(report: ScoreReport, annotator: str | None) -> list[Any]:
    from huggingface_hub import EvalResult

    name, _, version = report.task.partition("@")
    return [
        EvalResult(
            task_type=TASK_TYPE, task_name="decide and explain as one annotator does",
            dataset_type=f"hlvbench/{name}", dataset_name=name, dataset_split=report.split,
            dataset_revision=version, dataset_args={"licence": report.licence} if report.licence else None,
            metric_type=score.metric, metric_name=score.name, metric_value=score.value,
            metric_args={"low": score.low, "high": score.high, "n": score.n, "missing": report.missing,
                         "conditions": score.conditions},
        )
        for score in report.headline(annotator) if score.value is not None
    ]  # fmt: skip
