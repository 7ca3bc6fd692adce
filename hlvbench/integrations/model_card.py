"""A run's numbers as model-card metadata (`model-index`), which the hub shows beside a model or an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import DataError, UsageError, first_lines
from ..generation.run import read_scores
from ..io import write_atomic
from ..results.score_report import ScoreReport
from ..settings import read_settings

TASK_TYPE = "text-generation"


def card(folder: Path, *, annotator: str | None = None, into: Path | None = None) -> str:
    """The run's metadata as YAML; every result carries its signature.

    Args:
        folder: A scored run folder.
        annotator: The scores of this annotator, for an adapter of one; None for those over all annotators.
        into: A model card, README.md say, which takes up the results in place of its earlier ones of the same tasks.
            Its text and its other metadata stay as they are.

    Raises:
        RunError: Nothing is scored there.
        UsageError: The run does not ask this annotator.
        DataError: The model card is not UTF-8, or its metadata cannot be read.
    """
    from huggingface_hub import ModelCardData

    reports, settings = read_scores(folder), read_settings(folder)
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
        write_atomic(into, _taken_up(data, into))
    return data.to_yaml()


def _taken_up(data: Any, path: Path) -> str:
    """The text of the model card at `path`, with the metadata that it lacks and these results."""
    from huggingface_hub import ModelCard
    from huggingface_hub.repocard import metadata_load
    from huggingface_hub.utils import logging
    from yaml import YAMLError

    # a card without metadata is no reason to warn
    logging.set_verbosity_error()
    try:
        old = ModelCard(path.read_bytes().decode("utf-8-sig") if path.exists() else "")
        entries = ((metadata_load(path) if path.exists() else None) or {}).get("model-index") or ()
    except (ValueError, YAMLError) as error:
        raise DataError(f"{path}: no model card that can be read ({first_lines(error)}); mend its metadata") from None
    if len(entries) > 1:  # ModelCard would give the results of all to one
        raise DataError(f"{path}: its model-index holds {len(entries)} models; keep the one of this card")
    its: Any = old.data
    kept = [r for r in its.eval_results or () if r.dataset_type not in {n.dataset_type for n in data.eval_results}]
    for key, value in vars(data).items():
        if value is not None and its.get(key) is None:
            its[key] = value
    its.eval_results = [*kept, *data.eval_results]
    its.tags = list(dict.fromkeys([*(its.tags or ()), *data.tags]))
    return str(old)


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
