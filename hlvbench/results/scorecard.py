"""Raw text -> annotations -> scores: every number of the benchmark leaves through here."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from .. import __version__
from ..bootstrap import KEPT, REPLICATES, Draws, encode, every_item_once, interval, item_draws
from ..errors import DataError, UsageError, all_problems
from ..io import sha256_text
from ..metrics import Answers, Estimate, Metric, Signature, index, scorecard, similarity
from ..metrics import decisions as label
from ..metrics.grounding import reciprocal_ranks
from ..metrics.predictions import Embedder, once_per_task
from ..prompting.parse import Parsed, parse, to_annotation
from ..text import VIEWS
from ..types import Annotation, Generation, Pair, Task
from .details import details
from .score_report import KeptReplicates, Replicates, Score, ScoreReport

_IN_VIEWS: Mapping[str, tuple[Callable[[Answers, str], np.ndarray], tuple[str, ...]]] = {
    "rouge_l": (similarity.rouge_l_values, ("raw",)),
    "bertscore": (similarity.bertscore_values, ("raw",)),
    "embedding_cosine": (similarity.embedding_cosine_values, VIEWS),
    "reciprocal_rank": (reciprocal_ranks, VIEWS),
}
"""In the views that a scorecard prints."""


def _in_view(values: Callable[[Answers, str], np.ndarray], view: str) -> Callable[[Answers], np.ndarray]:
    """Of questions whose annotator wrote no explanation NaN."""

    def of(answers: Answers) -> np.ndarray:
        out = np.full(len(answers.questions), np.nan)
        out[[pair in answers.task.explained for pair in answers.questions]] = values(answers.explained, view)
        return out

    return of


PER_ANSWER: Mapping[str, Callable[[Answers], np.ndarray]] = {
    "correct": partial(label.correct, multi="any"),
    "correct_priority": partial(label.correct, multi="priority"),
    **{f"{name}_{view}": _in_view(of, view) for name, (of, views) in _IN_VIEWS.items() for view in views},
}
"""Per-answer scores kept in answers.jsonl: name -> one value per question."""

DECIMALS = 6


@dataclass(frozen=True)
class Scored:
    """What scoring one task gives: the rows of answers.jsonl and the report scores.json."""

    answers: list[dict[str, Any]]
    report: ScoreReport


@dataclass(frozen=True)
class _Conditions:
    """What every signature of one scoring shares, and what floors and ceilings are computed on."""

    task: Task
    split: str
    limit: int | None
    seed: int
    replicates: int
    missing: int
    samples: int
    only: frozenset[Pair] | None
    asked: Mapping[str, Any]

    def signature(self, metric: Metric) -> str:
        return str(
            Signature(
                metric, f"{self.task.name}@{self.task.version}", self.missing, __version__,
                self.seed, self.replicates, self.split, self.limit, self.samples, _name_of(self.only), **self.asked,
            )
        )  # fmt: skip


def score_task(
    task: Task,
    generations: Sequence[Generation],
    embedder: Embedder,
    *,
    system: str = "",
    split: str = "test",
    limit: int | None = None,
    only: Collection[Pair] | None = None,
    seed: int = 0,
    replicates: int = REPLICATES,
    metrics: Sequence[Metric] | None = None,
    per_answer: bool = True,
    asked: Mapping[str, Any] | None = None,
) -> Scored:
    """Score all answers of one system to one task.

    Every sample index is a full set of answers; scores are means over the indexes. A question without
    a row counts as missing. Rows of other questions, or doubled ones, are a DataError; those of items beyond
    `limit` and of questions not in `only` are left aside.
    only: score these questions alone, for people's side as well; the signature says so (unless they are all).
    per_answer: False leaves out the rows of answers.jsonl and their cost.
    asked: how the system was asked (`settings.asked_by`), for the signatures.
    """
    import scipy.linalg  # noqa: F401  (its BLAS must be loaded to be limited)
    from threadpoolctl import threadpool_limits

    chosen = _chosen(task, split, limit, only)
    parsed = _parse_all(task, generations, split, limit, chosen)
    about = memory_needed(task, split, limit, replicates, len({sample for _, sample in parsed}))
    _require_memory(task, about, _free_memory())
    try:
        # thousands of small products: a second thread costs more than it gives, and sums would depend on it
        with threadpool_limits(limits=1, user_api="blas"):
            return _score(
                task, parsed, embedder, system, split, limit, chosen, seed, replicates, metrics, per_answer, asked or {}
            )
    except MemoryError:
        _require_memory(task, about, 0)
        raise


def memory_needed(task: Task, split: str, limit: int | None, replicates: int, samples: int = 1) -> int:
    """The bytes that scoring takes, about: what grows with items, answers and replicates."""
    asked = task.questions(split, limit)
    largest = max(Counter(annotator for _, annotator in asked).values(), default=0)
    items = len({item for item, _ in asked})
    return replicates * (17 * items + 2 * len(asked) + 32 * largest) + 6_000 * len(asked) * (5 + samples)


def _free_memory() -> int:
    """Bytes that a program may still take; a plenty where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return 1 << 62


def _require_memory(task: Task, needed: int, free: int) -> None:
    if needed > free:
        raise UsageError(
            f"{task.name}: scoring takes about {needed / 2**30:.1f} GiB of memory, more than can be had"
            f"{f' ({free / 2**30:.1f} GiB are free)' if free else ''}; score fewer items (--limit N) or use a larger "
            "machine"
        )


def _score(
    task: Task, parsed: Mapping[tuple[Pair, int], Parsed], embedder: Embedder, system: str, split: str,
    limit: int | None, only: frozenset[Pair] | None, seed: int, replicates: int, metrics: Sequence[Metric] | None,
    per_answer: bool, asked: Mapping[str, Any],
) -> Scored:  # fmt: skip
    panels = [_panel(task, split, limit, only, embedder, parsed, s) for s in sorted({k[1] for k in parsed} or {0})]
    first = panels[0]
    missing = sum(p.missing for p in panels)
    conditions = _Conditions(task, split, limit, seed, replicates, missing, len(panels), only, asked)
    # one object for all systems of a task: what people's side of a metric gives on the draws is computed once
    draws = once_per_task(
        task, ("draws", split, limit, only, seed, replicates),
        lambda: item_draws(first.items, f"{task.name}@{task.version}", split, seed, replicates),
    )  # fmt: skip
    scores, kept = [], {}
    compared = {*index.factor_metrics(embedder.name, task=task).values(), index.index_metric(task, embedder.name)}
    for metric in metrics if metrics is not None else scorecard(task, embedder.name):
        rows, replicated = _rows(metric, panels, draws, conditions)
        scores += rows
        if metric in compared and replicated is not None and rows[0].value is not None:
            kept[metric.short] = KeptReplicates(signature=rows[0].signature, **encode(rows[0].value, replicated))
    report = ScoreReport(
        task=f"{task.name}@{task.version}",
        split=split,
        system=system,
        questions=len(first.questions),
        clusters=len(draws.groups),
        samples=len(panels),
        missing=missing,
        missing_reasons=_reasons(panels, parsed),
        without_explanation=sum(not text for p in panels for text in p.texts("raw")) - missing,
        thought=sum(found.thought for found in parsed.values()),
        skipped=dict(task.skipped),
        unscored_annotators=[a for a in task.annotators if a not in first.annotators],
        majority=_majority(first),
        scores=scores,
        replicates=Replicates(count=min(replicates, KEPT), values=kept),
        licence=task.licence or None,
        label_only=len(first.questions) - len(first.explained.questions),
        details=details(first) if metrics is None else None,
    )
    answers = enumerate(panels) if per_answer else ()
    return Scored([row for s, panel in answers for row in _answer_rows(panel, parsed, s)], report)


def _chosen(task: Task, split: str, limit: int | None, only: Collection[Pair] | None) -> frozenset[Pair] | None:
    """The questions of `only` that are asked; None for all of them."""
    if split not in task.splits:
        raise DataError(f"task {task.name} has no split {split!r}; there are {', '.join(task.splits)}")
    if only is None:
        return None
    asked = frozenset(task.questions(split, limit))
    if not asked & frozenset(only):
        raise DataError(f"task {task.name}: none of the {len(only)} questions to score is one of {split}")
    return None if asked <= frozenset(only) else asked & frozenset(only)


def _name_of(only: frozenset[Pair] | None) -> str | None:
    """How a signature names a choice of questions: their number and the start of their hash."""
    return None if only is None else f"{len(only)}-{sha256_text(repr(sorted(only)))[:8]}"


def _parse_all(
    task: Task, generations: Sequence[Generation], split: str, limit: int | None, only: frozenset[Pair] | None
) -> dict[tuple[Pair, int], Parsed]:
    asked = set(task.questions(split, limit)) if only is None else set(only)
    beyond = set(task.questions(split)) - asked
    problems, found = [], {}
    for row in generations:
        key = ((row.item, row.annotator), row.sample)
        if key[0] in beyond:
            continue
        if key[0] not in asked:
            problems.append(f"item {row.item!r}, annotator {row.annotator!r}: not a question of {task.name}/{split}")
        elif key in found:
            problems.append(f"item {row.item!r}, annotator {row.annotator!r}, sample {row.sample}: stands twice")
        else:
            parsed = parse(row.text, task)
            found[key] = replace(parsed, reason="error") if parsed.reason and row.finish == "error" else parsed
    if problems:
        raise DataError(all_problems(f"{task.name}: {len(problems)} rows cannot be scored", problems))
    return found


def answers_of(
    task: Task, generations: Sequence[Generation], split: str = "test", limit: int | None = None
) -> list[dict[Pair, Annotation]]:
    """The parsed answers of each sample index; a question without an answer is not in its mapping.

    Rows of other questions, or doubled ones, are a DataError.
    """
    found: dict[int, dict[Pair, Annotation]] = {}
    chosen = _chosen(task, split, limit, None)
    for (pair, sample), parsed in _parse_all(task, generations, split, limit, chosen).items():
        annotation = to_annotation(*pair, parsed)
        found.setdefault(sample, {}).update({pair: annotation} if annotation else {})
    return [found[s] for s in sorted(found)] or [{}]


def _panel(
    task: Task,
    split: str,
    limit: int | None,
    only: frozenset[Pair] | None,
    embedder: Embedder,
    parsed: Mapping[tuple[Pair, int], Parsed],
    sample: int,
) -> Answers:
    given = {}
    for (pair, drawn), found in parsed.items():
        annotation = to_annotation(*pair, found) if drawn == sample else None
        if annotation is not None:
            given[pair] = annotation
    return Answers(task, split, given, embedder, limit, only)


def _mean(estimates: Sequence[Estimate]) -> Estimate:
    """The mean over sample indexes; counts and notes are those of the first."""
    first = estimates[0]
    if len(estimates) == 1:
        return first

    def mean(name: str) -> Any:
        found = [getattr(e, name) for e in estimates]
        return None if any(v is None for v in found) else np.mean(found, axis=0)

    arrays = {k: mean(k) for k in ("overall", "by_annotator", "intervals", "floor", "floor_by_annotator")}
    return replace(first, **arrays)


@dataclass(frozen=True)
class _Line:
    """One estimate as numbers: position 0 is all annotators, then one per annotator where there are any."""

    values: np.ndarray

    @classmethod
    def of(cls, overall: np.ndarray, by_annotator: np.ndarray | None) -> _Line:
        columns = [overall[:, None]] + ([] if by_annotator is None else [by_annotator])
        return cls(np.hstack(columns))

    def at(self, position: int) -> float:
        return float(self.values[0, position])


def _rows(
    metric: Metric, panels: Sequence[Answers], draws: Draws, conditions: _Conditions
) -> tuple[list[Score], np.ndarray | None]:
    """The score of all annotators, then of each; and the replicates of the first, if it has any."""
    spec, once = metric.spec, every_item_once(len(panels[0].items))
    value = _mean([metric(p, once) for p in panels])
    line = _Line.of(value.overall, value.by_annotator)
    intervals, overall = value.intervals, None
    if spec.resamples:
        spread = _mean([metric(p, draws) for p in panels])
        overall = spread.overall
        replicates = _Line.of(spread.overall, spread.by_annotator).values
        found = [interval(line.at(c), replicates[:, c], spec.bounds) for c in range(replicates.shape[1])]
        intervals = np.array([(i.low, i.high) if i else (np.nan, np.nan) for i in found])
    if draws.lack:
        intervals = None
    floor, ceiling = _bound(spec.floor, value, panels[0], metric), _bound(spec.ceiling, value, panels[0], metric)
    signature = conditions.signature(metric)
    names = [None, *panels[0].annotators] if value.by_annotator is not None else [None]
    counts = [value.n, *(value.n_by_annotator or ())]
    notes = [value.note, *(value.notes or [""] * len(panels[0].annotators))]
    rows = []
    for c, annotator in enumerate(names):
        low, high = intervals[c] if intervals is not None else (np.nan, np.nan)
        note = notes[c] or ("not defined on these answers" if math.isnan(line.at(c)) else draws.lack)
        rows.append(
            Score(
                metric=metric.short,
                signature=signature,
                annotator=annotator,
                value=_number(line.at(c)),
                low=_number(low),
                high=_number(high),
                floor=_number(floor.at(c)) if floor else None,
                ceiling=_number(ceiling.at(c)) if ceiling else None,
                n=counts[c],
                note=note,
            )
        )
    return rows, overall


def _bound(kind: str | None, value: Estimate, panel: Answers, metric: Metric) -> _Line | None:
    """The floor or ceiling of a metric, as its registry entry names it."""
    if kind == "chance":
        return None if value.floor is None else _Line.of(value.floor, value.floor_by_annotator)
    if kind is None:
        return None
    found = metric({"human": panel.human, "blind": panel.blind}[kind], every_item_once(len(panel.items)))
    return _Line.of(found.overall, found.by_annotator)


def _number(value: float) -> float | None:
    """Six decimals, so that a number does not depend on the order of a sum; None for NaN."""
    return None if math.isnan(value) else round(value, DECIMALS) + 0.0  # never -0.0


def _reasons(panels: Sequence[Answers], parsed: Mapping[tuple[Pair, int], Parsed]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for sample, panel in enumerate(panels):
        for pair in panel.questions:
            if pair not in panel.given:
                found = parsed.get((pair, sample))
                counts[found.reason if found else "no answer"] += 1
    return dict(sorted(counts.items()))


def _majority(panel: Answers) -> dict[str, float | None]:
    """Accuracy of always answering the annotator's train mode: the line every decision score is read against."""
    hits: dict[str, list[bool]] = {}
    modes: dict[str, Any] = {}
    for annotator in panel.annotators:
        counts = Counter(r.label for r in panel.task.records_of("train", annotator, label_only=True))
        modes[annotator] = min(counts, key=lambda y: (-counts[y], y)) if counts else None
    for pair in panel.questions:
        own = {r.label for r in panel.task.by_pair[pair]}
        hits.setdefault(pair[1], []).append(modes[pair[1]] in own)
    rates = {a: _number(float(np.mean(h))) for a, h in hits.items()}
    return {**rates, "mean": _number(float(np.mean([np.mean(h) for h in hits.values()]))) if hits else None}


def _answer_rows(panel: Answers, parsed: Mapping[tuple[Pair, int], Parsed], sample: int) -> list[dict[str, Any]]:
    """One row per question: the label, why it is missing, every per-answer score. No dataset text."""
    columns = {name: function(panel) for name, function in PER_ANSWER.items()}
    rows = []
    for q, pair in enumerate(panel.questions):
        found = parsed.get((pair, sample))
        rows.append({
            "item": pair[0],
            "annotator": pair[1],
            "sample": sample,
            "label": found.label if found else None,
            "missing": "" if pair in panel.given else (found.reason if found else "no answer"),
            **{name: _number(float(values[q])) for name, values in columns.items()},
        })  # fmt: skip
    return rows
