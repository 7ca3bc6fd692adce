"""The index and its four factors (docs/metrics.md section 9)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlvbench.bootstrap import Draws, every_item_once, item_draws, seeded
from hlvbench.data.task import load_task
from hlvbench.data.task_config import INDEX_FACTORS
from hlvbench.embeddings import load_embedder
from hlvbench.errors import MetricError
from hlvbench.metrics import bind, parse_metric, scorecard
from hlvbench.metrics.index import FACTORS, factor_metrics, harmonic_index, hlv_index, index_metric
from hlvbench.metrics.predictions import Answers, Embedder
from hlvbench.text import in_view
from hlvbench.types import Annotation, Pair, Task

from ..toy import ToyEmbedder, toy_task

TOY = ToyEmbedder()


def people(task: Task, limit: int | None = None) -> Answers:
    return Answers(task, "test", {}, TOY, limit).human


def index_factors(answers: Answers, draws: Draws) -> dict[str, np.ndarray]:
    return {factor: bound(answers, draws).overall for factor, bound in factor_metrics("toy").items()}


def index_of(answers: Answers) -> float:
    return float(hlv_index(answers, every_item_once(len(answers.items)), embed="toy").overall[0])


def harmonic(*values: float) -> float:
    return float(harmonic_index({str(k): np.array([v]) for k, v in enumerate(values)})[0])


def test_the_harmonic_mean_by_hand() -> None:
    # 4 / (1/.5 + 1/.25 + 1/1 + 1/.2) = 4 / 12
    assert harmonic(0.5, 0.25, 1.0, 0.2) == pytest.approx(1 / 3)


def test_factors_are_clipped_and_a_missing_skill_makes_the_index_zero() -> None:
    assert harmonic(0.5, 0.5, 1.7, 1.0) == pytest.approx(4 / 6)
    assert harmonic(0.9, 0.9, 0.9, 0.0) == 0.0
    assert harmonic(0.9, 0.9, 0.9, -0.2) == 0.0
    assert np.isnan(harmonic(0.9, 0.9, 0.0, float("nan")))


@given(st.lists(st.floats(0.01, 1.0), min_size=4, max_size=4), st.integers(0, 3), st.floats(0.0, 1.0))
def test_worsening_one_factor_never_raises_the_index(values: list[float], which: int, share: float) -> None:
    worse = [v * share if k == which else v for k, v in enumerate(values)]
    assert harmonic(*worse) <= harmonic(*values) + 1e-12
    assert harmonic(*values) <= 4 * min(values)


def test_people_have_an_index_of_one_on_every_list() -> None:
    answers = people(toy_task(absent=0.1, doubles=0.1))
    draws = item_draws(answers.items, "toy@1", "test", replicates=10)
    for factor, values in index_factors(answers, draws).items():
        np.testing.assert_allclose(values, 1.0, err_msg=factor)
    np.testing.assert_allclose(hlv_index(answers, draws, embed="toy").overall, 1.0)
    assert index_of(answers) == pytest.approx(1.0)


def test_the_index_is_the_harmonic_mean_of_its_metrics_on_every_list() -> None:
    task = toy_task(items=(20, 20, 30))
    answers = Answers(task, "test", mixture(task, 0.5), TOY)
    draws = item_draws(answers.items, "toy@1", "test", replicates=10)
    found = hlv_index(answers, draws, embed="toy").overall
    parts = [m(answers, draws).overall for m in factor_metrics("toy").values()]
    for r in range(10):
        factors = [min(max(float(part[r]), 0.0), 1.0) for part in parts]
        assert found[r] == pytest.approx(0.0 if min(factors) <= 0 else 4 / sum(1 / f for f in factors))


def mixture(task: Task, share: float) -> Mapping[Pair, Annotation]:
    """People's answers, a share of them replaced by the same person's record of another item."""
    questions = task.questions("test")
    given = {p: task.by_pair[p][0] for p in questions}
    order = seeded("mixture").permutation(len(questions))
    for q in order[: round(share * len(order))]:
        pool = [p for p in questions if p[1] == questions[q][1] and p != questions[q]]
        record = task.by_pair[pool[int(seeded("pick", q).integers(len(pool)))]][0]
        given[questions[q]] = dataclasses.replace(record, item=questions[q][0])
    return given


def test_replacing_right_answers_by_random_ones_of_the_same_person_never_helps() -> None:
    task = toy_task(items=(20, 20, 60))
    scores = [index_of(Answers(task, "test", mixture(task, share), TOY)) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert scores[0] == pytest.approx(1.0)
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < 0.1


def test_blind_and_constant_systems_have_an_index_of_zero() -> None:
    task = toy_task()
    constant = {p: Annotation(*p, "neutral", "One sentence for all.") for p in task.questions("test")}
    for answers in (people(task).blind, Answers(task, "test", constant, TOY)):
        assert index_of(answers) == 0.0


def test_a_factor_that_cannot_be_given_leaves_no_index_and_the_note_names_it() -> None:
    answers = people(toy_task(), limit=5)
    found = hlv_index(answers, every_item_once(5), embed="toy")
    assert np.isnan(found.overall).all()
    assert found.note == "no imitation: needs 10 answers, 5 given"


def test_a_system_that_answers_for_one_annotator_has_no_index() -> None:
    task = toy_task()
    given = {p: task.by_pair[p][0] for p in task.questions("test") if p[1] == "Ann1"}
    answers = Answers(task, "test", given, TOY)
    found = hlv_index(answers, every_item_once(len(answers.items)), embed="toy")
    assert np.isnan(found.overall).all()
    assert "answers for Ann1 only" in found.note


def test_an_ordinal_task_has_an_index_too() -> None:
    answers = people(toy_task("ordinal"))
    assert index_of(answers) == pytest.approx(1.0)


def test_index_1_takes_own_gain_over_all_other_questions() -> None:
    task = toy_task(items=(20, 20, 30))
    answers = Answers(task, "test", mixture(task, 0.5), TOY)
    lists = every_item_once(len(answers.items))
    found = [float(m(answers, lists).overall[0]) for m in factor_metrics("toy", within="all").values()]
    assert found[3] != pytest.approx(float(bind("own_gain", embed="toy")(answers, lists).overall[0]))
    assert hlv_index(answers, lists, within="all", embed="toy").overall == pytest.approx(
        harmonic(*np.clip(found, 0, 1))
    )


def test_the_signature_parses_back() -> None:
    assert str(bind("hlv_index")) == "hlv_index(within=label,embed=minilm-l6@1110a24)"
    assert parse_metric("hlv_index(embed=minilm-l6@1110a24)") == bind("hlv_index")


def test_what_a_task_leaves_out_is_no_part_of_its_index_and_stands_in_the_signature() -> None:
    assert tuple(FACTORS) == INDEX_FACTORS
    task = dataclasses.replace(toy_task(items=(20, 20, 30)), index_without=("grounding", "distinctness"))
    metric = index_metric(task, "toy")
    assert str(metric) == "hlv_index(within=label,embed=toy,without=grounding+distinctness)"
    assert parse_metric(str(metric)) == metric
    assert metric in scorecard(task, "toy")
    answers = Answers(task, "test", mixture(task, 0.5), TOY)
    once = every_item_once(len(answers.items))
    kappa, nis = (float(index_factors(answers, once)[f][0]) for f in ("decision", "imitation"))
    found = metric(answers, once)
    assert found.overall[0] == pytest.approx(2 / (1 / min(kappa, 1) + 1 / min(nis, 1)))
    assert found.note.startswith("without grounding, in which people hardly exceed chance on this task; without dis")


@pytest.mark.parametrize("without", ["style", "grounding+style", "decision+grounding+imitation+distinctness"])
def test_an_index_without_everything_or_without_what_it_has_not_is_an_error(without: str) -> None:
    answers = people(toy_task())
    with pytest.raises(MetricError, match="must name some of decision, grounding"):
        hlv_index(answers, every_item_once(len(answers.items)), embed="toy", without=without)


def human_margins(task: Task, embedder: Embedder) -> dict[str, float]:
    """By how much people exceed the baseline of each factor on dev; for own_gain that is G of docs/metrics.md §6b."""
    humans = Answers(task, "dev", {}, embedder).human
    once = every_item_once(len(humans.items))
    found = {"decision": bind("label_kappa")(humans, once).overall[0]}
    for factor, metric in (
        ("grounding", bind("grounding")),
        ("imitation", bind("group_confidence", view="norm", m=10)),
    ):
        estimate = metric(humans, once)
        assert estimate.floor is not None
        found[factor] = estimate.overall[0] - estimate.floor[0]
    records = {p: embedder.encode([in_view(r.explanation, "norm") for r in task.by_pair[p]]) for p in humans.questions}
    gains = []
    for item, who in humans.questions:
        others = [a for a in task.annotators if a != who and (item, a) in records]
        mine = [p for p in humans.questions if p[1] == who]
        if not others or len(mine) < 2:
            continue
        texts = np.stack([records[p][0] for p in mine])  # people's own answers, the one to this item among them
        close = [(records[item, a] @ texts.T).max(axis=0) for a in (who, *others)]
        apart = close[0] - np.mean(close[1:], axis=0)
        here = mine.index((item, who))
        gains.append(apart[here] - np.delete(apart, here).mean())
    return {**found, "distinctness": float(np.mean(gains))}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["varierr", "r2", "convarg"])
def test_a_task_leaves_out_the_factors_in_which_people_hardly_exceed_the_baseline(name: str, data_dir: Path) -> None:
    task = load_task(name, data_dir)
    margins = human_margins(task, load_embedder())
    assert task.index_without == tuple(factor for factor in FACTORS if margins[factor] < 0.05)
