"""`Answers.only`: which questions are scored does not change what their answers are compared with."""

import numpy as np
import pytest

from hlvbench.bootstrap import every_item_once, item_draws
from hlvbench.metrics import bind
from hlvbench.metrics.predictions import Answers

from ..toy import ToyEmbedder, toy_task

TASK = toy_task(items=(30, 20, 24), absent=0.2)
TOY = ToyEmbedder()
METRICS = (
    bind("own_match", embed="toy"),
    bind("own_match", embed="toy", sim="chargram"),
    bind("own_match_skill", embed="toy"),
    bind("own_gain", embed="toy"),
    bind("group_confidence", embed="toy", reduce="item", m=5),
    bind("imitation_score", embed="toy", reduce="item", m=5),
    bind("imitation_score", embed="toy", reduce="none", m=5),
)


def scored(names=None):
    """Answers that are sometimes the annotator's own, and only the questions to `names`."""
    given = {p: TASK.human(p if n % 2 else (p[0], TASK.by_item[p[0]][0])) for n, p in enumerate(TASK.questions("test"))}
    only = None if names is None else frozenset(TASK.questions("test", annotators=names))
    given = {p: a for p, a in given.items() if only is None or p in only}
    return Answers(TASK, "test", given, TOY, only=only)


@pytest.mark.parametrize("names", [("Ann2",), ("Ann1", "Ann3")])
@pytest.mark.parametrize("metric", METRICS, ids=str)
def test_the_rows_of_the_asked_annotators_are_those_of_a_full_run(metric, names):
    every, part = scored(), scored(names)
    columns = [TASK.annotators.index(name) for name in names]
    whole = metric(every, every_item_once(len(every.items)))
    found = metric(part, every_item_once(len(part.items)))
    expected = whole.by_annotator[:, columns]
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(found.by_annotator[:, columns], expected, atol=1e-9)
    if whole.floor_by_annotator is not None:
        floors = [estimate.floor_by_annotator[:, columns] for estimate in (found, whole)]
        np.testing.assert_allclose(*floors, atol=1e-9)
    others = [k for k in range(len(TASK.annotators)) if k not in columns]
    assert np.isnan(found.by_annotator[:, others]).all()
    assert [found.n_by_annotator[k] for k in columns] == [whole.n_by_annotator[k] for k in columns]


def test_reduce_self_needs_the_answers_to_all_questions_of_an_item():
    metric = bind("imitation_score", embed="toy", m=5)
    part = scored(("Ann1", "Ann3"))
    found = metric(part, every_item_once(len(part.items)))
    assert np.isnan(found.overall).all()
    assert f"{len(part.items)} items with one annotator or only some questions asked left out" in found.note


def test_all_questions_named_one_by_one_are_all_questions():
    every, named = scored(), scored(TASK.annotators)
    draws = item_draws(every.items, "toy@1", "test", replicates=20)
    for metric in (*METRICS, bind("imitation_score", embed="toy", m=5)):
        np.testing.assert_array_equal(metric(every, draws).by_annotator, metric(named, draws).by_annotator)
