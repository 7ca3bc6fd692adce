"""The probe, its groups, and who can be scored in groups of m (docs/metrics.md section 6)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hlvbench.bootstrap import Draws, every_item_once
from hlvbench.errors import MetricError
from hlvbench.metrics.group import group_accuracy, group_confidence, imitation_score, swap_matrix
from hlvbench.metrics.predictions import Answers, Embedder
from hlvbench.metrics.probe import groups_of, probe_scores
from hlvbench.types import Task

from ..toy import STYLE, ToyEmbedder, style_task, toy_task

TOY = ToyEmbedder()


def human(task: Task, split: str = "test", limit: int | None = None, embedder: Embedder = TOY) -> Answers:
    return Answers(task, split, {}, embedder, limit).human


def once(answers: Answers) -> Draws:
    return every_item_once(len(answers.items))


def test_groups_hold_distinct_positions_and_depend_on_the_length_alone() -> None:
    groups = groups_of(60, 10, 2)
    assert groups.shape == (200, 10)
    assert all(len(set(row)) == 10 for row in groups.tolist())
    assert groups.min() >= 0
    assert groups.max() == 59
    assert np.array_equal(groups, groups_of(60, 10, 2))
    assert not np.array_equal(groups, groups_of(60, 10, 1))


def test_groups_of_one_are_the_positions_themselves_and_a_short_list_is_one_group() -> None:
    assert groups_of(3, 1, 0).tolist() == [[0], [1], [2]]
    assert groups_of(3, 5, 0).tolist() == [[0, 1, 2]]


def test_a_longer_list_changes_a_group_only_where_its_new_positions_come_first() -> None:
    shorter, longer = groups_of(70, 10, 0), groups_of(71, 10, 0)
    for a, b in zip(shorter.tolist(), longer.tolist(), strict=True):
        assert set(a) - set(b) == set() or (70 in b and len(set(a) - set(b)) == 1)


def test_fewer_answers_than_m_give_no_value_and_a_note() -> None:
    answers = human(toy_task(items=(5, 60, 60)), limit=12)
    for found in (
        group_confidence(answers, once(answers), embed="toy", m=50),
        group_accuracy(answers, once(answers), embed="toy", m=50),
        imitation_score(answers, once(answers), embed="toy", m=50),
    ):
        assert np.isnan(found.overall).all()
        assert np.isnan(found.by_annotator).all()
        assert found.note == "needs 50 answers, 12 given"
        assert found.notes == ("needs 50 answers, 12 given",) * 4
    assert np.isnan(swap_matrix(answers, "norm", 50)).all()
    assert not np.isnan(group_confidence(answers, once(answers), embed="toy", m=10).overall).any()


def test_an_annotator_short_of_answers_is_named_and_left_out_and_chance_is_that_of_the_others() -> None:
    task = toy_task(items=(5, 30, 30))
    rare = {i for i, _ in task.questions("test")[:100]}
    records = tuple(r for r in task.records if not (r.annotator == "Ann2" and r.item in rare))
    answers = human(dataclasses.replace(task, records=records)).blind
    found = group_confidence(answers, once(answers), embed="toy", m=10)
    assert found.note == "left out: Ann2 (needs 10 answers, 5 given)"
    assert found.notes == ("", "needs 10 answers, 5 given", "", "")
    np.testing.assert_allclose(found.overall, 1 / 3, atol=1e-9)
    np.testing.assert_allclose(found.floor, 1 / 3)
    assert np.isnan(found.by_annotator[0]).tolist() == [False, True, False, False]


def test_reference_records_short_of_m_are_named_too() -> None:
    answers = human(toy_task(items=(5, 8, 30)))
    found = group_confidence(answers, once(answers), embed="toy", m=10)
    assert found.note == "needs 10 reference records, 8 given"


def test_one_annotator_cannot_be_told_apart_and_the_note_says_so() -> None:
    answers = human(toy_task(annotators=1))
    for reduce, why in (("self", "needs 1 answers, 0 given"), ("none", "needs a second annotator to tell apart")):
        found = imitation_score(answers, once(answers), reduce=reduce, embed="toy", m=1)
        assert np.isnan(found.overall).all()
        assert why in found.note


def test_items_with_one_question_are_left_out_and_counted() -> None:
    task = toy_task(items=(5, 30, 30))
    first = task.splits["test"][0]
    task = dataclasses.replace(task, records=tuple(r for r in task.records if r.item != first or r.annotator == "Ann1"))
    answers = human(task)
    found = group_confidence(answers, once(answers), embed="toy", m=5)
    assert found.note == "1 items with one question left out"
    assert found.n_by_annotator == (29, 29, 29, 29)


def test_one_item_has_a_confidence_at_one_and_a_note_beyond() -> None:
    answers = human(toy_task(), limit=1)
    assert not np.isnan(group_confidence(answers, once(answers), embed="toy", m=1).overall).any()
    assert group_confidence(answers, once(answers), embed="toy", m=5).note == "needs 5 answers, 1 given"


def test_dev_is_scored_in_halves_each_by_the_probe_of_the_other() -> None:
    task = style_task(items=(5, 60, 10))
    answers = human(task, "dev", embedder=STYLE)
    scored = probe_scores(answers, "norm", "self", 5, "dev")
    assert sorted(np.bincount(scored.folds)) == [30, 30]
    found = group_confidence(answers, once(answers), embed="style", m=10)
    assert 0.5 < found.overall[0] < 1.0
    too_large = group_confidence(answers, once(answers), embed="style", m=20)
    assert too_large.note == "dev scores itself in groups of at most 10"


def test_people_whose_texts_carry_no_style_are_at_chance_on_dev_so_no_record_is_scored_by_a_probe_that_saw_it() -> None:
    task = style_task(items=(5, 80, 10))
    records = tuple(dataclasses.replace(r, explanation=f"{r.item} nobody 0 {r.annotator}") for r in task.records)
    answers = human(dataclasses.replace(task, records=records), "dev", embedder=STYLE)
    found = group_accuracy(answers, once(answers), embed="style", m=1)
    assert found.overall[0] == pytest.approx(0.25, abs=0.09)  # 320 answers: standard error .024


def test_a_task_without_dev_is_scored_by_folds_of_its_reference_records() -> None:
    task = style_task(items=(5, 10, 60))
    task = dataclasses.replace(task, splits={s: i for s, i in task.splits.items() if s != "dev"})
    answers = human(task, embedder=STYLE)
    scored = probe_scores(answers, "norm", "self", 20, "dev")
    assert sorted(np.bincount(scored.folds)) == [30, 30]
    assert imitation_score(answers, once(answers), embed="style", m=20).overall == pytest.approx(1.0)
    found = group_confidence(answers, once(answers), embed="style", m=50)
    assert found.notes == ("needs 50 answers in each half, 30 given",) * 4


def test_a_group_size_below_one_is_refused() -> None:
    answers = human(toy_task())
    with pytest.raises(MetricError, match="m=0"):
        group_confidence(answers, once(answers), embed="toy", m=0)
