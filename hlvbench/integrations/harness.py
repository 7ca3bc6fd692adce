"""What all integrations share: the questions of a task as rows, and the headline scores of raw texts.

Prompts, parsing and scores are hlvbench's own; the other harness generates and logs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from ..data.task import load_task
from ..embeddings import load_embedder
from ..errors import UsageError, all_problems
from ..metrics import Metric, headline_names, scorecard
from ..prompting.prompt import Prompter
from ..prompting.value_profile import counted_profile
from ..results.scorecard import score_task
from ..settings import SHOTS
from ..types import Generation, Task

Row = Mapping[str, str]
Texts = tuple[tuple[str, str, int, str], ...]
"""(item, annotator, sample, raw text) of every answer."""


@lru_cache(maxsize=8)
def task_of(place: str) -> Task:
    """A task by its name, or by the path of its folder (a task of your own); loaded once."""
    folder, slash, name = place.rstrip("/").rpartition("/")
    return load_task(name, tasks_dir=Path(folder or "/") if slash else None)


def questions(
    place: str,
    *,
    split: str = "test",
    annotator: str | None = None,
    prompt: str = "base",
    shots: int = SHOTS,
    seed: int = 0,
) -> list[Row]:
    """One row per question, in question order: task, split, item, annotator, prompt (the user message), target.

    annotator: only this one's; else those of all who are scored. prompt: base, icl, vp (with the counted profile) or
    vp-icl; as no tokenizer is at hand here, icl gives all `shots`. target: the priority label.
    """
    task = task_of(place)
    asked = task.asked(annotator and (annotator,))
    problems = [] if task.splits.get(split) else [f"no items in split {split!r}; there are {', '.join(task.splits)}"]
    if annotator is not None and annotator not in task.annotators:
        problems.append(f"no annotator {annotator!r}; there are {', '.join(task.annotators)}")
    if problems:
        raise UsageError(all_problems(f"task {task.name}:", problems))
    profiles = {a: counted_profile(task, a) for a in asked} if "vp" in prompt else None
    prompter = Prompter(task, prompt, shots=shots, seed=seed, profiles=profiles)
    return [
        {
            "task": place, "split": split, "item": item, "annotator": who, "prompt": prompter.content(item, who),
            "target": str(task.by_pair[item, who][0].label),
        }
        for item, who in task.questions(split, annotators=asked)
    ]  # fmt: skip


def names(kind: str, one: bool = False) -> list[str]:
    """The numbers of `numbers`: every headline metric and the bounds of its interval, and `missing`.

    one: of what a single annotator's answers can be scored by.
    """
    return [*(name + part for name in headline_names(kind, one) for part in ("", "_low", "_high")), "missing"]


@lru_cache(maxsize=8)
def numbers(place: str, split: str, texts: Texts, one: bool = False) -> dict[str, float | None]:
    """The headline numbers of raw texts, on the questions that have one; None where a number cannot be given.

    Every metric with its 95 % interval as NAME_low and NAME_high; `missing` counts the unreadable answers.
    """
    task, embedder = task_of(place), load_embedder()
    rows = [Generation(item, annotator, sample, text, "stop", 0, "") for item, annotator, sample, text in texts]
    metrics: dict[str, Metric | None] = dict.fromkeys(headline_names(task.kind, one))
    for metric in reversed(scorecard(task, embedder.name)):
        # of several headline variants the first
        if metric.is_headline and metric.short in metrics:
            metrics[metric.short] = metric
    report = score_task(
        task, rows, embedder, split=split, only={(r.item, r.annotator) for r in rows},
        metrics=[metric for metric in metrics.values() if metric], per_answer=False,
    ).report  # fmt: skip
    found = dict[str, float | None]()
    for name, score in zip(metrics, report.overall, strict=True):
        found |= {name: score.value, f"{name}_low": score.low, f"{name}_high": score.high}
    return {**found, "missing": float(report.missing)}


def in_question_order(task: Task, split: str, rows: Sequence[Generation]) -> list[Generation]:
    """Answers as a run of ours would list them; a UsageError names those that answer no question of the task."""
    place = {pair: position for position, pair in enumerate(task.questions(split))}
    strange = [f"item {r.item!r}, annotator {r.annotator!r}" for r in rows if (r.item, r.annotator) not in place]
    if strange:
        raise UsageError(all_problems(f"{task.name}/{split}: {len(strange)} answers to questions it lacks:", strange))
    return sorted(rows, key=lambda r: (place[r.item, r.annotator], r.sample))
