"""Explanations as vectors with the content taken out (docs/metrics.md section 6). "Ours."

Humans and systems pass through the same functions: `human` is one more system.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from ..embeddings import MiniLM
from ..errors import MetricError
from ..types import Task
from .predictions import Answers, Embedder, once_per_task

View = Literal["raw", "norm"]
_ROWS = 4096
"""Items whose embeddings stand in one temporary table."""
Reduce = Literal["none", "self", "item", "input"]
EMBED = MiniLM.name
"""The default `embed` parameter: signatures name the encoder that made the vectors."""

Residuals = Callable[[np.ndarray], np.ndarray]
_ALPHAS = np.logspace(-3, 3, 13)


def check_embedder(answers: Answers, embed: str) -> None:
    """A number must carry the name of the encoder that made it."""
    if embed != answers.embedder.name:
        raise MetricError(
            f"embed={embed} was asked for, but the encoder at hand is {answers.embedder.name}; "
            f"load that encoder or bind the metric with embed={answers.embedder.name}"
        )


def human_annotations(task: Task, split: str, embedder: Embedder) -> Answers:
    """The priority annotations of a split as predictions, laid out once per task."""
    return Answers(task, split, {}, embedder).explained.human


def embeddings(answers: Answers, view: str) -> np.ndarray:
    """(Q, d) float64: e(x) of every answer; a zero row where the answer is missing or empty."""
    return encoded(answers, view).astype(float)


def encoded(answers: Answers, view: str) -> np.ndarray:
    """`embeddings` as the encoder gave them, which takes half the memory: kept."""
    return answers.once(("embeddings", view), lambda: answers.embedder.encode(answers.texts(view)))


def usable(answers: Answers, reduce: str) -> np.ndarray:
    """(Q,) bool: False for questions that a reduction leaves out.

    `self` and `item` leave out items with one annotator: a lone text is its item's mean. `self` leaves out items some
    of whose questions are not scored (`Answers.only`): the mean over a part would be another one.
    """
    rows, _ = answers.cells
    if reduce not in ("self", "item"):
        return np.ones(len(rows), dtype=bool)
    asked, every = (np.bincount(own.cells[0], minlength=len(answers.items)) for own in (answers, answers.unrestricted))
    kept = (every >= 2) & (asked == every) if reduce == "self" else every >= 2
    return kept[rows]


def residuals(answers: Answers, view: str, reduce: str) -> Residuals:
    """Embeddings less the content: a function from (n) questions to (n, d) float64, NaN rows where `usable` is False.

    A table of all questions would be much of the memory that scoring takes. none: e(x). self: less the mean over the
    same system's answers to the item. item: less the mean over all human records of the item. input: less a ridge
    prediction from the input's embedding, fitted on the humans' train records (alpha by leave-one-out).
    """
    vectors, rows, kept = encoded(answers, view), answers.cells[0], usable(answers, reduce)
    means = None
    if reduce != "none":
        means = {"self": _own_means, "item": _human_means, "input": _predicted}[reduce](answers, view)

    def of(questions: np.ndarray) -> np.ndarray:
        out = vectors[questions].astype(float)
        if means is not None:
            out -= means[rows[questions]]
        out[~kept[questions]] = np.nan
        return out

    return of


def _mean_per_item(vectors: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """(n, d) vectors of items `rows`, in order, -> (count, d) float64 means, 0 for an item without any."""
    from scipy.sparse import csr_array

    size = np.bincount(rows, minlength=count)
    first = np.cumsum(size) - size
    out = np.zeros((count, vectors.shape[1]))
    for start in range(0, count, _ROWS):  # all vectors as float64 would take twice their memory once more
        own, total = size[start : start + _ROWS], size[start : start + _ROWS].sum()
        ones = csr_array((np.ones(total), np.arange(total), np.append(0, own.cumsum())), shape=(len(own), total))
        out[start : start + _ROWS] = ones @ vectors[first[start] : first[start] + total].astype(float)
    return out / np.maximum(1, size)[:, None]


def _own_means(answers: Answers, view: str) -> np.ndarray:
    return _mean_per_item(encoded(answers, view), answers.cells[0], len(answers.items))


def _human_means(answers: Answers, view: str) -> np.ndarray:
    def make() -> np.ndarray:
        every = answers.unrestricted
        references = every.references(view)
        vectors = answers.embedder.encode([text for texts in references for text in texts])
        owners = np.repeat(every.cells[0], [len(texts) for texts in references])
        return _mean_per_item(vectors, owners, len(answers.items))

    return answers.human.once(("item means", view), make)


def _predicted(answers: Answers, view: str) -> np.ndarray:
    def make() -> np.ndarray:
        task, embedder = answers.task, answers.embedder
        slope, intercept = once_per_task(task, ("ridge", view, embedder.name), lambda: _ridge(task, embedder, view))
        inputs = embedder.encode([item.joined for item in answers.items]).astype(float)
        predicted: np.ndarray = inputs @ slope + intercept
        return predicted

    return answers.latest("predicted", view, make)


def _ridge(task: Task, embedder: Embedder, view: str) -> tuple[np.ndarray, np.ndarray]:
    """Slope (d, d) and intercept (d,) of the humans' train embeddings on their inputs' embeddings."""
    from sklearn.linear_model import RidgeCV

    train = human_annotations(task, "train", embedder)
    if not train.questions:
        raise MetricError(f"task {task.name}: reduce=input is fitted on train records, and there are none")
    rows, _ = train.cells
    inputs = embedder.encode([item.joined for item in train.items]).astype(float)[rows]
    model = RidgeCV(alphas=_ALPHAS).fit(inputs, embeddings(train, view))
    return model.coef_.T, model.intercept_
