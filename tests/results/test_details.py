"""The tables of a report: counted right, shaped right, without a text."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from hlvbench.metrics import Answers, blind_answers
from hlvbench.results import TaskResult, markdown, page
from hlvbench.results.details import confusion, details, histograms, swap_tables
from hlvbench.results.score_report import ScoreReport
from hlvbench.types import Annotation
from tests.results.test_report import document
from tests.toy import ToyEmbedder, toy_task


def people(task, limit=None):
    return Answers(task, "test", {p: task.by_pair[p][0] for p in task.questions("test")}, ToyEmbedder(), limit)


def panel(task, given):
    return Answers(task, "test", given, ToyEmbedder())


def strings(value):
    if isinstance(value, str):
        return {value}
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return set().union(*map(strings, inner), value.keys() if isinstance(value, dict) else ())


def test_confusion_counts_answers_by_the_persons_label_and_the_missing_ones_last():
    task = toy_task(annotators=2, items=(10, 10, 3))
    questions = task.questions("test")
    # Ann1 always answers the first label, Ann2 nothing
    given = {p: Annotation(*p, task.labels[0], "x") for p in questions if p[1] == "Ann1"}
    found = confusion(panel(task, given))
    assert found.labels == list(task.labels)
    golds = {a: [task.by_pair[p][0].label for p in questions if p[1] == a] for a in ("Ann1", "Ann2")}
    for annotator, column in (("Ann1", 0), ("Ann2", 3)):
        table = np.array(found.counts[annotator])
        assert table.shape == (3, 4)
        assert table[:, column].tolist() == [golds[annotator].count(label) for label in task.labels]
        assert table.sum() == 3


def test_histograms_hold_every_question_once_and_people_equal_themselves():
    task = toy_task(items=(30, 20, 12))
    for feature in histograms(people(task)):
        assert feature.human == feature.system
        for counts in feature.human.values():
            assert len(counts) == len(feature.cuts) + 1
            assert sum(counts) == 12


def test_a_missing_answer_falls_in_the_bin_of_the_empty_text():
    task = toy_task(items=(30, 20, 12))
    (words,) = [f for f in histograms(panel(task, {})) if f.name == "words"]
    assert all(counts[0] == 12 and sum(counts) == 12 for counts in words.system.values())


def test_swap_rows_sum_to_one_for_single_answers_and_groups_of_ten():
    found = swap_tables(people(toy_task(items=(40, 30, 15))))
    assert [(t.view, t.m) for t in found] == [("raw", 1), ("raw", 10), ("norm", 1), ("norm", 10)]
    for table in found:
        assert table.system == table.human
        assert np.array(table.system).sum(axis=1) == pytest.approx([1] * 4, abs=3e-4)


def test_one_writer_under_all_names_has_equal_rows_and_chance_on_the_diagonal():
    task = toy_task(items=(40, 30, 15))
    for table in swap_tables(panel(task, blind_answers(task, "test"))):
        rows = np.array(table.system)
        assert (rows == rows[0]).all()
        assert np.diag(rows).mean() == pytest.approx(1 / 4, abs=1e-4)


def test_few_items_give_the_largest_group_there_is():
    assert {t.m for t in swap_tables(people(toy_task(items=(40, 30, 15)), limit=7))} == {1, 5}


def test_an_annotator_of_few_answers_leaves_the_matrix_of_the_others():
    task = toy_task(items=(40, 30, 15))
    kept = [r for r in task.records if r.annotator != "Ann2" or r.item.endswith(("3", "4"))]
    tables = swap_tables(people(dataclasses.replace(task, records=tuple(kept))))
    # Ann2 has the test items 3, 4, 13 and 14
    assert [(t.view, t.m) for t in tables] == [("raw", 1), ("raw", 10), ("norm", 1), ("norm", 10)]
    full, of_ten = (np.array(t.system, dtype=float) for t in tables[2:])
    assert not np.isnan(full).any()
    assert np.isnan(of_ten).tolist() == [[1 in (i, j) for j in range(4)] for i in range(4)]
    told = document(task.annotators)
    told["details"]["swap"] = [table.model_dump() for table in tables]
    result = TaskResult(ScoreReport.model_validate(told))
    shown = markdown([result])
    assert "norm view, groups of 10: Mean on the diagonal" in shown
    assert "Left out, with too few answers or dev annotations: Ann2." in shown
    assert "| ↓ given, judged → | Ann1 | Ann3 | Ann4 |" in shown
    assert "| ↓ given, judged → | Ann1 | Ann2 | Ann3 | Ann4 |" in shown  # of single answers
    assert "Left out, with too few answers or dev annotations: Ann2." in page([result])


@pytest.mark.parametrize(
    ("task", "annotator", "said"),
    [
        (toy_task(annotators=1), None, "0 given"),
        (toy_task(), "Ann2", "answers for Ann2 only"),
        (toy_task(items=(20, 0, 0)), None, ""),
    ],
    ids=["one annotator in the task", "answers for one annotator", "no items"],
)
def test_what_cannot_be_compared_has_a_note_and_no_matrix(task, annotator, said):
    given = {p: task.by_pair[p][0] for p in task.questions("test") if annotator in (None, p[1])}
    for table in swap_tables(panel(task, given)):
        assert table.system is None
        assert table.human is None
        assert table.note
        assert said in table.note


def test_details_are_json_of_names_and_numbers_without_a_text():
    task = toy_task("ordinal", annotators=3, items=(30, 20, 12))
    found = details(people(task)).model_dump()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    known = {"annotators", "swap", "confusion", "features", "view", "m", "system", "human", "note", "labels", "counts"}
    known |= {"name", "cuts", "raw", "norm", "", *task.annotators, *map(str, task.labels)}
    assert strings(found) - known == {feature["name"] for feature in found["features"]}
