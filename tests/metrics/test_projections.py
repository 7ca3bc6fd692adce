"""Embeddings with the content taken out (docs/metrics.md section 6)."""

from __future__ import annotations

import numpy as np
import pytest

from hlvbench.bootstrap import Draws, every_item_once
from hlvbench.errors import MetricError
from hlvbench.metrics.group import group_confidence, imitation_score
from hlvbench.metrics.predictions import Answers, Embedder
from hlvbench.metrics.projections import embeddings, residuals
from hlvbench.types import Annotation, Task

from ..toy import ToyEmbedder, toy_task

TOY = ToyEmbedder()


def human(task: Task, split: str = "test", limit: int | None = None, embedder: Embedder = TOY) -> Answers:
    return Answers(task, split, {}, embedder, limit).human


def once(answers: Answers) -> Draws:
    return every_item_once(len(answers.items))


def _all(answers: Answers, view: str, reduce: str) -> np.ndarray:
    return residuals(answers, view, reduce)(np.arange(len(answers.questions)))


def test_self_reduction_takes_away_the_mean_of_the_system_s_own_answers_to_the_item() -> None:
    task = toy_task(absent=0.2)
    answers = human(task)
    vectors, reduced = embeddings(answers, "norm"), _all(answers, "norm", "self")
    item = answers.items[0].id
    rows = [q for q, (i, _) in enumerate(answers.questions) if i == item]
    for q in rows:
        np.testing.assert_allclose(reduced[q], vectors[q] - vectors[rows].mean(axis=0), atol=1e-12)


def test_item_reduction_takes_away_the_mean_of_all_human_records_second_ones_too() -> None:
    task = toy_task(doubles=0.5)
    answers = Answers(task, "test", {}, TOY)  # every answer missing: the empty text, a zero row
    item = answers.items[0].id
    records = [r.explanation for a in task.annotators for r in task.by_pair[item, a]]
    mean = TOY.encode([t.lower().replace(".", "").replace(",", "") for t in records]).astype(float).mean(axis=0)
    np.testing.assert_allclose(_all(answers, "norm", "item")[0], -mean, atol=1e-7)


def test_input_reduction_predicts_the_text_from_the_input_as_sklearn_does() -> None:
    from sklearn.linear_model import RidgeCV

    answers = human(toy_task())
    train = human(answers.task, "train")
    inputs = TOY.encode([answers.task.items[i].joined for i, _ in train.questions])
    ridge = RidgeCV(alphas=np.logspace(-3, 3, 13)).fit(inputs, TOY.encode(train.texts("raw")))
    here = TOY.encode([answers.task.items[i].joined for i, _ in answers.questions])
    expected = TOY.encode(answers.texts("raw")) - ridge.predict(here)
    np.testing.assert_allclose(_all(answers, "raw", "input"), expected, atol=1e-5)


def test_no_reduction_is_the_embedding_itself() -> None:
    answers = human(toy_task())
    assert np.array_equal(_all(answers, "raw", "none"), embeddings(answers, "raw"))


def test_missing_answers_count_as_the_empty_text() -> None:
    task = toy_task(items=(5, 30, 30))
    given = {p: task.by_pair[p][0] for p in task.questions("test")[::2]}
    empty = {p: given.get(p, Annotation(*p, "neutral", "")) for p in task.questions("test")}
    one, two = (Answers(task, "test", g, TOY) for g in (given, empty))
    np.testing.assert_array_equal(
        group_confidence(one, once(one), embed="toy", m=5).by_annotator,
        group_confidence(two, once(two), embed="toy", m=5).by_annotator,
    )


def test_a_number_cannot_be_asked_for_under_the_name_of_another_encoder() -> None:
    answers = human(toy_task())
    with pytest.raises(MetricError, match="the encoder at hand is toy"):
        imitation_score(answers, once(answers), m=1)
