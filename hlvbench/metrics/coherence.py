"""Does a text go with its label, is it copied, does it repeat? Shown beside the humans' values, never ranked.

docs/metrics.md section 8b; ours. Texts are compared in the norm view. No value is good by itself: read each against the
human one. None of these sees a senseless sentence; that is for judges and humans.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..bootstrap import Draws, clusters, seeded
from ..text import norm
from ..types import Annotation, Label, Task
from .predictions import Answers, once_per_task
from .registry import Estimate, metric, over_annotators

BANDS = 3
Classifier = Callable[[Sequence[str]], np.ndarray]


def band(task: Task, label: Label) -> int:
    """The class of a label for `label_support`: the label itself; on an ordinal task its third of the range.

    Position p of L lies in third ⌊3 (p + ½) / L⌋, so the middle band is symmetric: −5 … −2, −1 … 1, 2 … 5.
    """
    position = task.labels.index(label)
    return position if task.kind == "nominal" else int(BANDS * (position + 0.5) / len(task.labels))


def _fit(task: Task, records: Sequence[Annotation]) -> Classifier | None:
    """A band from a text; None where the records hold fewer than two bands or no word."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    texts, classes = [norm(r.explanation) for r in records], [band(task, r.label) for r in records]
    if len(set(classes)) < 2 or not any(texts):
        return None
    grams = CountVectorizer(ngram_range=(1, 2), binary=True, token_pattern=r"\S+")
    model = LogisticRegression(C=1.0, max_iter=2000).fit(grams.fit_transform(texts), classes)
    return lambda given: model.predict(grams.transform(given))


def _classifiers(task: Task, split: str) -> tuple[dict[str, int], list[Classifier | None]]:
    """The half of every item of the split, and the classifier for each half.

    Fitted on the humans' dev records. Dev itself, and a split of a task without dev, is cut into two halves of items
    (shared input texts together), each with the classifier of the other half's records.
    """
    scored = set(task.scored_annotators)
    if split != "dev" and task.splits.get("dev"):
        records = [r for r in task.records_of("dev") if r.annotator in scored]
        return dict.fromkeys(task.splits[split], 0), [_fit(task, records)]
    items = [task.items[i] for i in task.splits[split]]
    groups = clusters(items)
    order = seeded("label_support", task.name, split).permutation(len(groups))
    half = {items[i].id: place % 2 for place, g in enumerate(order) for i in groups[g]}
    records = [r for r in task.records_of(split) if r.annotator in scored]
    return half, [_fit(task, [r for r in records if half[r.item] != h]) for h in (0, 1)]


def supported(answers: Answers) -> np.ndarray:
    """(Q,) 1 where the classifier reads the answer's own band from its text, 0 where not or missing.

    NaN where there is no classifier.
    """
    task = answers.task
    half, models = once_per_task(task, f"label classifiers {answers.split}", lambda: _classifiers(task, answers.split))
    texts = answers.texts("norm")
    out = np.full(len(texts), np.nan)
    for h, model in enumerate(models):
        here = [q for q, (item, _) in enumerate(answers.questions) if half[item] == h]
        if model is None or not here:
            continue
        read = model([texts[q] for q in here])
        for q, found in zip(here, read, strict=True):
            answer = answers.predictions.get(answers.questions[q])
            out[q] = answer is not None and band(task, answer.label) == found
    return out


@metric(better="higher")
def label_support(answers: Answers, draws: Draws) -> Estimate:
    """Share of answers whose text lets a classifier name the answer's own label.

    Logistic regression (C = 1) on the words and word pairs a text has, fitted on the humans' dev records; ordinal
    labels in three bands. A missing answer is not supported. More than the humans' share is not better.
    """
    values = supported(answers)
    note = "the dev records hold fewer than two labels" if np.isnan(values).all() else ""
    return over_annotators(answers.means(values, draws), answers.counts, note)


@metric(better="ideal")
def copy_rate(answers: Answers, draws: Draws) -> Estimate:
    """Share of answers that equal, word by word, a train record of the same annotator.

    The empty text (a missing answer) is no copy; where there are no train records nothing can be copied: 0.
    """
    known: dict[str, set[str]] = once_per_task(answers.task, "train texts", lambda: _train_texts(answers.task))
    texts = answers.texts("norm")
    copied = [bool(t) and t in known[a] for t, (_, a) in zip(texts, answers.questions, strict=True)]
    return over_annotators(answers.means(np.array(copied, dtype=float), draws), answers.counts)


def _train_texts(task: Task) -> dict[str, set[str]]:
    out: dict[str, set[str]] = {a: set() for a in task.annotators}
    for record in task.records_of("train"):
        out[record.annotator].add(norm(record.explanation))
    return out


@metric(better="ideal")
def distinct(answers: Answers, draws: Draws) -> Estimate:
    """Different texts of an annotator's answers, divided by the answers.

    1: no text twice; 1/n: always the same one. Missing answers are one text, the empty one. An item that stands
    several times in a resampled list counts once, above and below: a copy made by resampling repeats nothing.
    """
    codes: dict[str, int] = {}
    kind = np.array([codes.setdefault(text, len(codes)) for text in answers.texts("norm")], dtype=int)
    out = np.full((len(draws), len(answers.annotators)), np.nan)
    for k, own in enumerate(answers.own):
        own = own[np.argsort(kind[own], kind="stable")]
        drawn = draws.counts[answers.cells[0][own]] > 0
        starts = np.flatnonzero(np.diff(kind[own], prepend=-1))
        present = np.logical_or.reduceat(drawn, starts, axis=0).sum(axis=0)
        count = drawn.sum(axis=0)
        np.divide(present, count, out=out[:, k], where=count > 0)
    return over_annotators(out, answers.counts)
