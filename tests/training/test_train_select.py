from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from hlvbench.bootstrap import every_item_once
from hlvbench.metrics import Answers
from hlvbench.metrics.index import factor_metrics
from hlvbench.training.checkpoint_choice import Selector, only
from hlvbench.training.training_config import PRODUCT
from tests.toy import STYLE, style_task

TASK = style_task(items=(10, 40, 2))
HUMAN = {pair: TASK.by_pair[pair][0] for pair in TASK.questions("dev")}


def styled(strength: int) -> dict[Any, Any]:
    """Everybody's dev answers with so much of their own style, and labels of their own."""
    return {
        pair: dataclasses.replace(a, explanation=f"{a.item} {a.annotator} {strength} 1") for pair, a in HUMAN.items()
    }


def of(annotator: str, answers: Mapping[Any, Any]) -> dict[Any, Any]:
    return {pair: a for pair, a in answers.items() if pair[1] == annotator}


def selector(start: Mapping[Any, Any], select: str = PRODUCT) -> Selector:
    return Selector(TASK, STYLE, start, select)


def test_people_have_every_factor_in_full() -> None:
    found = selector(styled(20)).score(HUMAN, TASK.annotators)
    assert (found["imitation"], found["distinctness"], found["product"]) == (1.0, 1.0, 1.0)
    assert (found["label_accuracy"], found["missing"]) == (1.0, 0)


def test_a_candidate_is_scored_beside_the_others_as_they_start() -> None:
    start = styled(20)
    found = selector(start).score(of("Ann2", HUMAN), ("Ann2",))
    answers = Answers(TASK, "dev", {**start, **of("Ann2", HUMAN)}, STYLE)
    for factor, metric in factor_metrics("style").items():
        estimate = metric(answers, every_item_once(len(answers.items)))
        if estimate.by_annotator is not None:
            assert found[factor] == pytest.approx(float(estimate.by_annotator[0, 1]), abs=1e-6)


def test_missing_answers_are_counted_and_not_replaced_by_the_start() -> None:
    start = styled(100)
    none = selector(start).score({}, ("Ann3",))
    assert (none["missing"], none["label_accuracy"]) == (40, 0.0)
    assert none["product"] == 0.0


def point(step: int, accuracy: float | None, product: float | None, **more: float | None) -> dict[str, Any]:
    return {"step": step, "label_accuracy": accuracy, "product": product, **more}


def test_the_best_checkpoint_may_lose_two_points_of_accuracy_and_no_more() -> None:
    points = [point(0, 0.50, 0.10), point(1, 0.48, 0.20), point(2, 0.479, 0.90), point(3, 0.60, 0.15)]
    assert selector({}).best(points) == 1


def test_ties_go_to_the_earlier_and_what_cannot_be_given_is_the_worst() -> None:
    assert selector({}).best([point(0, 0.5, 0.0), point(1, 0.9, 0.0)]) == 0
    assert selector({}).best([point(0, 0.5, None), point(1, 0.5, 0.0)]) == 1
    assert selector({}).best([point(0, 0.5, None), point(1, 0.5, None)]) == 0


def test_another_metric_may_select() -> None:
    points = [point(0, 0.5, 0.9, **{"imitation_score@10": 0.7}), point(1, 0.5, 0.1, **{"imitation_score@10": 0.8})]
    assert selector({}, "imitation_score@10").best(points) == 1
    found = selector(styled(20), "imitation_score(view=norm)@10").score(HUMAN, TASK.annotators)
    assert found["imitation_score(view=norm)@10"] == found["imitation"] == 1.0


def test_a_task_can_be_narrowed_to_some_annotators() -> None:
    narrowed = only(TASK, ["Ann4"])
    assert {a for _, a in narrowed.questions("dev")} == {"Ann4"}
    assert narrowed.annotators == TASK.annotators
