"""A run's numbers as model-card metadata (`model-index`), which the hub shows beside a model or an adapter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import RunError, UsageError
from ..generation.run import SETTINGS, read_scores
from ..io import read_json
from ..results.rows import conditions, headline, metric_text

TASK_TYPE = "text-generation"


def card(folder: Path, *, annotator: str | None = None, into: Path | None = None) -> str:
    """The YAML of the metadata; `into` a model card (README.md): put there, the card's text and other keys untouched.

    annotator: the rows of this annotator, for an adapter that speaks for one; None for those over all. Every result
    carries its signature. A RunError where nothing is scored, a UsageError for an annotator the run has not.
    """
    from huggingface_hub import ModelCardData
    from huggingface_hub.repocard import metadata_save

    documents, settings = read_scores(folder), _settings(folder)
    results = [result for document in documents for result in _results(document, annotator)]
    if not results:
        known = sorted({str(s["annotator"]) for d in documents for s in d["scores"] if s["annotator"] is not None})
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


def _settings(folder: Path) -> dict[str, Any]:
    if not (folder / SETTINGS).exists():
        raise RunError(f"{folder} is no run folder: it has no {SETTINGS}")
    return dict(read_json(folder / SETTINGS))


def _public(model: str) -> str | None:
    """A hub id; the path of a folder says nothing to others."""
    return model if model.count("/") == 1 and not model.startswith((".", "/", "~")) else None


def _results(document: Mapping[str, Any], annotator: str | None) -> list[Any]:
    from huggingface_hub import EvalResult

    name, _, version = str(document["task"]).partition("@")
    licence = document.get("licence")
    rows = headline(document)
    if annotator is not None:
        wanted = {metric_text(row) for row in rows}
        rows = [s for s in document["scores"] if s["annotator"] == annotator and metric_text(s) in wanted]
    return [
        EvalResult(
            task_type=TASK_TYPE, task_name="decide and explain as one annotator does",
            dataset_type=f"hlvbench/{name}", dataset_name=name, dataset_split=document["split"],
            dataset_revision=version, dataset_args={"licence": licence} if licence else None,
            metric_type=row["metric"], metric_name=metric_text(row),
            metric_value=row["value"],
            metric_args={"low": row["low"], "high": row["high"], "n": row["n"], "missing": document["missing"],
                         "conditions": conditions(document)[0]},
        )
        for row in rows if row["value"] is not None
    ]  # fmt: skip
