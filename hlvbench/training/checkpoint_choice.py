"""Which checkpoint to keep: its dev answers, scored by the benchmark's own metrics."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..bootstrap import every_item_once
from ..errors import MetricError, UsageError
from ..generation.generate import generate
from ..io import read_generations
from ..metrics import REGISTRY, Answers, bind, parse_metric
from ..metrics.index import factor_metrics
from ..metrics.predictions import Embedder
from ..metrics.registry import Metric
from ..processes import ProcessRank
from ..prompting.parse import parse, to_annotation
from ..prompting.prompt import Prompter
from ..types import Annotation, Pair, Task
from .trainable_model import AdaptedModel
from .training_config import LAST, PRODUCT

MARGIN = 0.02
"""How much dev label accuracy a checkpoint may lose against its SFT start."""
Predictions = Mapping[Pair, Annotation]


def only(task: Task, annotators: Iterable[str]) -> Task:
    """The task with the questions of these annotators alone."""
    kept = set(annotators)
    return dataclasses.replace(task, records=tuple(r for r in task.records if r.annotator in kept))


def dev_predictions(
    task: Task, model: AdaptedModel, folder: Path, annotators: Sequence[str], quiet: bool
) -> dict[Pair, Annotation]:
    """Parsed greedy answers to the dev questions of these annotators.

    The raw text is kept in `folder`, and what is there is not generated again. Several processes share the questions.
    """
    from accelerate import PartialState

    state, asked = PartialState(), only(task, annotators)
    generate(
        asked,
        model,
        folder,
        Prompter(asked).content,
        split="dev",
        quiet=quiet,
        settings={"max_new_tokens": model.trainable.config.max_new_tokens},
        process=ProcessRank(state.process_index, state.num_processes),
    )
    state.wait_for_everyone()
    rows = read_generations(folder / "generations.jsonl")
    found = (to_annotation(r.item, r.annotator, parse(r.text, task)) for r in rows)
    return {(a.item, a.annotator): a for a in found if a is not None}


@dataclass(frozen=True)
class Selector:
    """Scores checkpoints of a task's annotators on dev.

    Attributes:
        start: The SFT adapters' dev answers of all annotators. A checkpoint is scored beside the others' answers as
            they start: whose answers these are is told from the differences between annotators (docs/metrics.md
            section 6, `self`).
        select: `imitation*distinctness`, or a metric.
    """

    task: Task
    embedder: Embedder
    start: Predictions
    select: str

    def score(self, predictions: Predictions, annotators: Sequence[str]) -> dict[str, float | None]:
        """Dev metrics of these annotators, means over them, once `predictions` replace their start answers.

        None where a metric cannot be computed; `product` is that of imitation and distinctness, each cut to [0, 1].
        """
        others = {pair: a for pair, a in self.start.items() if pair[1] not in annotators}
        answers = Answers(self.task, "dev", {**others, **predictions}, self.embedder)
        found = {name: _mean_of(metric, answers, annotators) for name, metric in self._metrics().items()}
        found["product"] = math.prod(float(np.clip(found[f], 0.0, 1.0)) for f in ("imitation", "distinctness"))
        found["missing"] = sum(p[1] in annotators and p not in answers.predictions for p in answers.questions)
        return {name: None if math.isnan(value) else round(value, 6) for name, value in found.items()}

    def _metrics(self) -> dict[str, Metric]:
        metrics = {**factor_metrics(self.embedder.name, task=self.task), "label_accuracy": bind("label_accuracy")}
        if self.select != PRODUCT:
            metrics[self.select] = selecting_metric(self.select, self.embedder.name)
        return metrics

    def best(self, points: Sequence[Mapping[str, Any]]) -> int:
        """The position of the checkpoint to keep; the first point is the SFT start.

        Among those whose label accuracy is within MARGIN of the start's, the one with the best selection value; ties
        go to the earlier, and a value that cannot be computed is the worst.
        """
        key = "product" if self.select == PRODUCT else self.select
        least = (points[0]["label_accuracy"] or 0.0) - MARGIN - 1e-9
        values = [
            -math.inf if p[key] is None or (p["label_accuracy"] or 0.0) < least else float(p[key]) for p in points
        ]
        return int(np.argmax(values))


def check_selecting(task: Task, embedder: Embedder, select: str) -> None:
    """UsageError where dev cannot give what checkpoints are chosen by, told from the humans' own dev annotations."""
    if not task.splits.get("dev"):
        raise UsageError(f"{task.name} has no dev items to choose a checkpoint by; use --select {LAST}")
    own = {pair: task.human(pair) for pair in task.questions("dev")}
    annotators = tuple(dict.fromkeys(annotator for _, annotator in own))
    try:
        found = Selector(task, embedder, own, select).score(own, annotators)
    except MetricError as error:
        raise UsageError(f"--select {select}: {error}") from None
    if found["product" if select == PRODUCT else select] is None:
        raise UsageError(
            f"--select {select} cannot be computed on the dev split of {task.name} ({len(own)} questions): choose by "
            f"another metric, or --select {LAST}"
        )


def selecting_metric(words: str, embed: str) -> Metric:
    """The metric that `--select` names, with the encoder at hand; higher must be better."""
    try:
        metric = parse_metric(words)
    except MetricError as error:
        raise UsageError(f"--select {words}: {error}, or {PRODUCT}, or {LAST}") from None
    if REGISTRY[metric.name].better != "higher":
        raise UsageError(f"--select {words}: of {metric.name} more is not better")
    arguments = dict(metric.arguments)
    return bind(metric.name, **{**arguments, **({"embed": embed} if "embed" in arguments else {})})


def _mean_of(metric: Metric, answers: Answers, annotators: Sequence[str]) -> float:
    found = metric(answers, every_item_once(len(answers.items)))
    if found.by_annotator is None:
        raise UsageError(f"--select {metric}: has no value of one annotator")
    columns = [answers.annotators.index(a) for a in annotators if a in answers.annotators]
    return float(np.mean(found.by_annotator[0, columns])) if columns else math.nan
