"""Value profiles for the prompts vp and vp-icl, from an annotator's train records alone."""

from __future__ import annotations

from collections import Counter

import numpy as np

from ..bootstrap import seeded
from ..errors import UsageError
from ..metrics.features import feature_names, features
from ..settings import SHOTS
from ..text import raw
from ..types import Annotation, Task
from .prompt import label_word, render_answer, render_item, shown_id


def counted_profile(task: Task, annotator: str) -> str:
    """The annotator's habits in numbers, in plain sentences; it quotes no explanation. Deterministic."""
    own = _own(task, annotator)
    texts = [raw(r.explanation) for r in own]
    names = feature_names(len(task.fields), "raw")
    table = dict(zip(names, features(texts, [task.items[r.item] for r in own], "raw").T, strict=True))
    words = np.quantile(table["words"], [0.25, 0.5, 0.75])
    reused = [
        f"{table[f'reused_{number}'].mean():.0%} from the {shown}"
        for number, shown in enumerate(task.fields.values(), start=1)
    ]
    lines = [
        _labels(task, own),
        f"Explanations have about {words[1]:.0f} words (half of them {words[0]:.0f} to {words[2]:.0f}), "
        f"in {table['sentences'].mean():.1f} sentences.",
        f"Of their words, {' and '.join(reused)}." if len(reused) > 1 else f"Of their words, {reused[0]}.",
        f"{table['initial_capital'].mean():.0%} start with a capital letter, "
        f"{table['final_period'].mean():.0%} end with a period, "
        f"{(table['quote_rate'] > 0).mean():.0%} quote words.",
        f"{(table['negation_rate'] > 0).mean():.0%} contain a negation, "
        f"{(table['modal_rate'] > 0).mean():.0%} a word of possibility, "
        f"{(table['causal_rate'] > 0).mean():.0%} a word of cause, "
        f"{(table['first_person_rate'] > 0).mean():.0%} the first person.",
    ]
    return "\n".join(lines)


def _labels(task: Task, own: tuple[Annotation, ...]) -> str:
    if task.kind == "ordinal":
        scores = np.array([int(r.label) for r in own])
        low, middle, high = np.quantile(scores, [0.25, 0.5, 0.75])
        return f"Scores: median {middle:g}, half of them between {low:g} and {high:g}, over {len(own)} cases."
    counts = Counter(r.label for r in own)
    shares = ", ".join(f"{y} {counts[y] / len(own):.0%}" for y in sorted(counts, key=lambda y: (-counts[y], str(y))))
    return f"{label_word(task)}s: {shares}, over {len(own)} cases."


def profile_request(task: Task, annotator: str, seed: int = 0, records: int = SHOTS) -> str:
    """The message that asks a model to write the profile from the annotator's own records (the paper's kind)."""
    own = _own(task, annotator)
    order = seeded("profile", task.name, seed, annotator).permutation(len(own))[:records]
    shown = [
        f"{render_item(task, task.items[own[i].item])}\n{render_answer(task, own[i].label, own[i].explanation)}"
        for i in order
    ]
    head = f"Below are answers of annotator {shown_id(annotator)} to this instruction: {task.instruction}"
    ask = (
        "Describe in at most 100 words how this annotator decides and how the explanations are written: "
        "values, criteria, tone, length, form. Do not quote any answer."
    )
    return "\n\n".join([head, *shown, ask])


def _own(task: Task, annotator: str) -> tuple[Annotation, ...]:
    # of an annotator without any the profile says what is usual
    own = task.records_of("train", annotator) or task.records_of("train")
    if not own:
        raise UsageError(f"task {task.name}: no train record to write a profile from; use --prompt base or icl")
    return own
