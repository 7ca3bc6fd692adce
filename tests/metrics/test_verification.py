"""Verification: PAN's measures by hand, groups that share no item, and systems whose value is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import brier_score_loss, roc_auc_score

from hlvbench.bootstrap import clusters, every_item_once, item_draws
from hlvbench.errors import MetricError
from hlvbench.metrics import Answers, bind
from hlvbench.metrics.verification import _cosines, _halves, auc, brier, c_at_1, f05u
from hlvbench.types import Annotation, Item

from ..toy import ToyEmbedder, toy_task

EMBED = ToyEmbedder()
MEASURES = ("verification_auc", "verification_c1", "verification_f05u", "verification_brier")


def row(*values: float) -> np.ndarray:
    return np.array([values])


def system(task, change=lambda record: record, split="test") -> Answers:
    given = {pair: change(task.by_pair[pair][0]) for pair in task.questions(split)}
    return Answers(task, split, {p: r for p, r in given.items() if r is not None}, EMBED)


def value(answers: Answers, measure="verification_auc", m=5, **parameters) -> float:
    return float(bind(measure, m=m, **parameters)(answers, every_item_once(len(answers.items))).overall[0])


def test_c_at_1_by_hand():
    # right .9 and .2, wrong .8, open .52: (2 + 1 · 2/4) / 4
    assert c_at_1(row(0.9, 0.52), row(0.2, 0.8))[0] == pytest.approx(0.625)
    # nothing open: accuracy; everything open: 0
    assert c_at_1(row(0.9, 0.1), row(0.2, 0.3))[0] == pytest.approx(0.75)
    assert c_at_1(row(0.5), row(0.5))[0] == 0


def test_f05u_by_hand():
    # 2 true yes, 1 missed and 1 open of the same, 1 false yes: 1.25 · 2 / (1.25 · 2 + .25 · 2 + 1)
    assert f05u(row(0.9, 0.8, 0.1, 0.5), row(0.7, 0.2))[0] == pytest.approx(2.5 / 4)
    # always yes: 1.25 n / (1.25 n + n)
    assert f05u(row(0.9, 0.9), row(0.9, 0.9))[0] == pytest.approx(5 / 9)
    # an open reply about other people is one too many, as an open one about the same
    assert f05u(row(0.9), row(0.5))[0] == pytest.approx(1.25 / 1.5)
    assert f05u(row(0.1), row(0.1))[0] == 0


@given(arrays(float, (2, 5), elements=st.sampled_from([0.0, 0.2, 0.5, 0.54, 0.9, 1.0])),
       arrays(float, (2, 7), elements=st.sampled_from([0.0, 0.2, 0.5, 0.54, 0.9, 1.0])))  # fmt: skip
def test_auc_and_brier_are_those_of_scikit_learn_and_all_stay_in_range(same, other):
    truth = [1] * 5 + [0] * 7
    for r in range(2):
        scores = [*same[r], *other[r]]
        assert auc(same, other)[r] == pytest.approx(roc_auc_score(truth, scores))
        assert brier(same, other)[r] == pytest.approx(brier_score_loss(truth, scores))
    for measure in (c_at_1, f05u):
        assert ((measure(same, other) >= 0) & (measure(same, other) <= 1)).all()


def test_a_list_without_a_probability_has_no_value():
    for measure in (auc, c_at_1, f05u, brier):
        found = measure(np.array([[0.9], [np.nan]]), np.array([[0.1], [0.1]]))
        assert not np.isnan(found[0])
        assert np.isnan(found[1])


def test_the_two_groups_of_a_pair_never_share_an_item_nor_an_input_text():
    task = toy_task(items=(10, 30, 24), annotators=3, absent=0.1)
    # every second test item has the first text of the one before
    items = dict(task.items)
    for a, b in zip(task.splits["test"][::2], task.splits["test"][1::2], strict=True):
        items[b] = Item(b, {**items[b].text, "premise": items[a].text["premise"]})
    task = dataclasses.replace(task, items=items)
    answers = system(task)
    groups = clusters(answers.items)
    assert len(groups) < len(answers.items)
    for half in _halves(answers):
        assert all(len(set(half[list(group)])) == 1 for group in groups)
        assert abs(int(half.sum()) * 2 - len(half)) <= 2
    # texts that say nothing but which group of items they belong to: a shared one would give a cosine above 0
    which = np.zeros((len(answers.items), 3, len(groups)))
    for number, members in enumerate(groups):
        which[list(members), :, number] = 1.0
    for side in (answers, answers.human):
        side.memo["verification grid", "norm", "none"] = which
    for draws in (every_item_once(len(answers.items)), item_draws(answers.items, "toy@1", "test", replicates=20)):
        found = _cosines(answers, answers.human, draws, "norm", "none", 3, (0, 1, 2))
        assert found.shape == (len(draws), 3, 200, 2)
        assert (found[~np.isnan(found)] == 0).all()
        assert not np.isnan(found[0]).any()


@pytest.mark.parametrize("reduce", ["self", "none"])
def test_people_are_known_and_who_writes_as_another_is_taken_for_the_other(reduce):
    task = toy_task(items=(10, 40, 40))
    people = system(task)
    assert value(people, reduce=reduce) > 0.95
    assert value(people, "verification_brier", reduce=reduce) < 0.1
    names = task.annotators
    turned = {a: names[(k + 1) % len(names)] for k, a in enumerate(names)}

    def as_another(record: Annotation) -> Annotation:
        return task.by_pair[record.item, turned[record.annotator]][0]

    assert value(system(task, as_another), reduce=reduce) < 0.4


def test_a_system_that_does_not_know_whom_it_writes_for_is_at_one_half():
    task = toy_task(items=(10, 40, 40))
    blind = system(task).blind
    for view in ("raw", "norm"):
        assert value(blind, view=view) == 0.5
    # a text that says the same for everybody and everything has no direction either
    constant = system(task, lambda r: dataclasses.replace(r, explanation="Always this."))
    assert value(constant) == 0.5


def test_larger_groups_of_people_are_easier():
    task = toy_task(items=(10, 60, 60))
    # the opening that betrays the writer in one explanation of four
    records = tuple(
        r if n % 4 == 0 else dataclasses.replace(r, explanation=r.explanation.split(" the ", 1)[1])
        for n, r in enumerate(task.records[::-1])
    )
    people = system(dataclasses.replace(task, records=records[::-1]))
    found = [value(people, m=m) for m in (1, 5, 20)]
    assert found == sorted(found)
    assert found[2] > found[0] + 0.1


def test_missing_answers_are_the_empty_text_and_stay():
    task = toy_task(items=(10, 40, 40))
    nothing = system(task, lambda record: None)
    assert value(nothing) == 0.5
    half = system(task, lambda r: r if int(r.item[4:]) % 2 else None)
    estimate = bind("verification_auc", m=5)(half, every_item_once(40))
    assert estimate.n == 160
    assert 0.5 < estimate.overall[0] <= value(system(task))


def test_what_cannot_be_given_says_why():
    task = toy_task(items=(10, 40, 40))
    once = every_item_once(40)
    # 40 items in two halves of 20
    estimate = bind("verification_auc", m=21)(system(task), once)
    assert np.isnan(estimate.overall[0])
    assert estimate.note == "needs 21 answers in each half, 20 given"
    small = bind("verification_auc", m=11)(system(toy_task(items=(10, 20, 40))), once)
    assert small.note == "needs 11 dev records in each half, 10 given"
    dev = bind("verification_auc", m=2)(system(task, split="dev"), once)
    assert "must not be the scored ones" in dev.note
    lone = system(task, lambda r: r if r.annotator == "Ann2" else None)
    assert "Ann2 only" in bind("verification_auc", m=2)(lone, once).note
    assert value(lone, m=2, reduce="none") > 0.5
    with pytest.raises(MetricError, match="m=0"):
        value(system(task), m=0)


def test_it_is_decided_by_the_data_alone_and_replicates_lie_around_the_value():
    task = toy_task(items=(10, 40, 40), absent=0.1)
    draws = item_draws(system(task).items, "toy@1", "test", replicates=50)
    for measure in MEASURES:
        metric = bind(measure, m=3)
        first, second = metric(system(task), draws), metric(system(toy_task(items=(10, 40, 40), absent=0.1)), draws)
        assert np.array_equal(first.overall, second.overall)
        assert first.overall.shape == (50,)
        assert first.by_annotator.shape == (50, 4)
        assert not np.isnan(first.overall).any()


def test_two_and_many_annotators_work():
    for count in (2, 12):
        assert value(system(toy_task(items=(10, 30, 30), annotators=count))) > 0.9
