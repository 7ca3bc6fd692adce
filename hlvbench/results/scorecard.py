"""Raw text -> annotations -> scores: every number of the benchmark leaves through here."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import numpy as np

from .. import __version__
from ..bootstrap import KEPT, REPLICATES, Draws, encode, every_item_once, interval, item_draws
from ..errors import DataError, UsageError, all_problems
from ..io import sha256_text
from ..metrics import Answers, Estimate, Metric, Signature, group, index, scorecard
from ..metrics.predictions import Embedder, once_per_task
from ..metrics.projections import EMBED
from ..prompting.parse import Parsed, parse, to_annotation
from ..types import Annotation, Generation, Pair, Task
from .answer_rows import answer_rows, rounded
from .details import details
from .score_report import KeptReplicates, Replicates, Score, ScoreReport


@dataclass(frozen=True)
class Scored:
    """What scoring one task gives: the rows of answers.jsonl and the report scores.json."""

    answers: list[dict[str, Any]]
    report: ScoreReport


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

    Every sample index is a full set of answers; scores are means over the indexes. A question without a row counts as
    missing. Rows of items beyond `limit` and of questions not in `only` are left aside.

    Args:
        task: The task that was answered.
        generations: Raw text, one row per question and sample index.
        embedder: Sentence encoder of the metrics that need one.
        system: Name of the system.
        split: The split that was asked about.
        limit: Only its first items.
        only: Score these questions alone, for the humans as well; signatures say so (unless they are all).
        seed: Of the item resampling.
        replicates: How many times items are resampled.
        metrics: What to compute; None: the scorecard of the task, and the tables of a report.
        per_answer: False leaves out the rows of answers.jsonl and their cost.
        asked: How the system was asked (`settings.asked_by`), for the signatures.

    Raises:
        DataError: Rows answer no question of the task, or one twice; all of them at once.
        UsageError: Scoring needs more memory than there is.
    """
    chosen = _chosen(task, split, limit, only)
    parsed = _parse_all(task, generations, split, limit, chosen)
    indexes = sorted({sample for _, sample in parsed} or {0})
    with _limited(task, memory_needed(task, split, limit, replicates, len(indexes))):
        samples = [Answers(task, split, _given(parsed, k), embedder, limit, chosen) for k in indexes]
        first, missing = samples[0], sum(answers.missing for answers in samples)
        version = f"{task.name}@{task.version}"
        signature = Signature(
            index.index_metric(task, embedder.name),
            version,
            missing,
            __version__,
            seed,
            replicates,
            split,
            limit,
            len(samples),
            None if chosen is None else f"{len(chosen)}-{sha256_text(repr(sorted(chosen)))[:8]}",
            encoder=None if embedder.name == EMBED else quote(embedder.name, safe="-._/@+"),
            **asked or {},
        )
        # one object for all systems of a task: what the human side of a metric gives on the draws is computed once
        draws = once_per_task(
            task,
            ("draws", split, limit, chosen, seed, replicates),
            lambda: item_draws(first.items, version, split, seed, replicates),
        )
        compared = {*index.factor_metrics(embedder.name, task=task).values(), signature.metric}
        bound = metrics if metrics is not None else scorecard(task, embedder.name)
        once = every_item_once(len(first.items))
        group.precompute_group_stats([(metric, answers) for answers in samples for metric in bound], once, draws)
        scores, kept = [], {}
        for metric in bound:
            signed = str(replace(signature, metric=metric))
            rows, replicated = score_rows(metric, samples, draws, signed)
            scores += rows
            if metric in compared and replicated is not None and rows[0].value is not None:
                kept[metric.short] = KeptReplicates(signature=signed, **encode(rows[0].value, replicated))
        report = ScoreReport(
            task=version,
            split=split,
            system=system,
            questions=len(first.questions),
            clusters=len(draws.groups),
            samples=len(samples),
            missing=missing,
            missing_reasons=_reasons(dict(zip(indexes, samples, strict=True)), parsed),
            without_explanation=sum(not text for answers in samples for text in answers.texts("raw")) - missing,
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
        written = zip(indexes, samples, strict=True) if per_answer else ()
        return Scored([row for k, answers in written for row in answer_rows(answers, parsed, k)], report)


@contextmanager
def _limited(task: Task, needed: int) -> Iterator[None]:
    """One thread for linear algebra; a UsageError where the memory does not suffice, before or while it is taken."""
    import psutil
    import scipy.linalg  # noqa: F401  (its BLAS must be loaded to be limited)
    from threadpoolctl import threadpool_limits

    said = f"{task.name}: scoring takes about {needed / 2**30:.1f} GiB of memory, more than can be had"
    remedy = "score fewer items (--limit N) or use a larger machine"
    free = psutil.virtual_memory().available
    if needed > free:
        raise UsageError(f"{said} ({free / 2**30:.1f} GiB are free); {remedy}")
    try:
        # thousands of small products: a second thread costs more than it gives, and sums would depend on it
        with threadpool_limits(limits=1, user_api="blas"):
            yield
    except MemoryError:
        raise UsageError(f"{said}; {remedy}") from None


def memory_needed(task: Task, split: str, limit: int | None, replicates: int, samples: int = 1) -> int:
    """The bytes that scoring takes, about: what grows with items, answers and replicates."""
    asked = task.questions(split, limit)
    largest = max(Counter(annotator for _, annotator in asked).values(), default=0)
    items = len({item for item, _ in asked})
    return replicates * (17 * items + 2 * len(asked) + 32 * largest) + 6_000 * len(asked) * (5 + samples)


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
    parsed = _parse_all(task, generations, split, limit, _chosen(task, split, limit, None))
    return [_given(parsed, sample) for sample in sorted({sample for _, sample in parsed})] or [{}]


def _given(parsed: Mapping[tuple[Pair, int], Parsed], sample: int) -> dict[Pair, Annotation]:
    """The readable answers of one sample index."""
    found = {pair: to_annotation(*pair, one) for (pair, drawn), one in parsed.items() if drawn == sample}
    return {pair: annotation for pair, annotation in found.items() if annotation is not None}


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


def _columns(overall: np.ndarray, by_annotator: np.ndarray | None) -> np.ndarray:
    """Column 0: all annotators; then one column per annotator where there are any."""
    return np.hstack([overall[:, None]] + ([] if by_annotator is None else [by_annotator]))


def score_rows(
    metric: Metric, panels: Sequence[Any], draws: Draws, signature: str
) -> tuple[list[Score], np.ndarray | None]:
    """The score of all annotators, then of each; and the replicates of the first, if it has any.

    panels: per sample index what the metric is computed on: `Answers`, or a judge's `Verdicts`.
    """
    spec, once = metric.spec, every_item_once(len(panels[0].items))
    value = _mean([metric(p, once) for p in panels])
    values: list[float] = _columns(value.overall, value.by_annotator)[0].tolist()
    intervals, overall = value.intervals, None
    if spec.resamples:
        spread = _mean([metric(p, draws) for p in panels])
        overall = spread.overall
        columns = _columns(spread.overall, spread.by_annotator).T
        found = [interval(v, column, spec.bounds) for v, column in zip(values, columns, strict=True)]
        intervals = np.array([span or (np.nan, np.nan) for span in found])
    if draws.lack or intervals is None:
        intervals = np.full((len(values), 2), np.nan)
    floor, ceiling = (_reference(kind, value, panels[0], metric) for kind in (spec.floor, spec.ceiling))
    names = [None, *panels[0].annotators] if value.by_annotator is not None else [None]
    counts = [value.n, *(value.n_by_annotator or ())]
    notes = [value.note, *(value.notes or [""] * len(panels[0].annotators))]
    rows = [
        Score(
            metric=metric.short,
            signature=signature,
            annotator=annotator,
            value=rounded(values[c]),
            low=rounded(intervals[c][0]),
            high=rounded(intervals[c][1]),
            floor=rounded(floor[c]) if floor else None,
            ceiling=rounded(ceiling[c]) if ceiling else None,
            n=counts[c],
            note=notes[c] or ("not defined on these answers" if math.isnan(values[c]) else draws.lack),
        )
        for c, annotator in enumerate(names)
    ]
    return rows, overall


def _reference(kind: str | None, value: Estimate, answers: Answers, metric: Metric) -> list[float]:
    """The baseline or human ceiling of a metric, as its registry entry names it; [] where it has none."""
    if kind is None:
        return []
    overall, by_annotator = value.floor, value.floor_by_annotator
    if kind != "chance":
        found = metric({"human": answers.human, "blind": answers.blind}[kind], every_item_once(len(answers.items)))
        overall, by_annotator = found.overall, found.by_annotator
    return [] if overall is None else list(_columns(overall, by_annotator)[0].tolist())


def _reasons(samples: Mapping[int, Answers], parsed: Mapping[tuple[Pair, int], Parsed]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for sample, answers in samples.items():
        for pair in answers.questions:
            if pair not in answers.predictions:
                found = parsed.get((pair, sample))
                counts[found.reason if found else "no answer"] += 1
    return dict(sorted(counts.items()))


def _majority(answers: Answers) -> dict[str, float | None]:
    """Accuracy of always answering the annotator's train mode: the line every decision score is read against.

    None for an annotator without train labels, who is left out of the mean.
    """
    hits: dict[str, list[bool]] = {}
    modes: dict[str, Any] = {}
    for annotator in answers.annotators:
        counts = Counter(r.label for r in answers.task.records_of("train", annotator, label_only=True))
        modes[annotator] = min(counts, key=lambda y: (-counts[y], y)) if counts else None
    for pair in answers.questions:
        own = {r.label for r in answers.task.by_pair[pair]}
        hits.setdefault(pair[1], []).append(modes[pair[1]] in own)
    rates = {a: None if modes[a] is None else float(np.mean(h)) for a, h in hits.items()}
    known = [rate for rate in rates.values() if rate is not None]
    found = {**rates, "mean": float(np.mean(known)) if known else None}
    return {name: None if rate is None else rounded(rate) for name, rate in found.items()}
