"""Distances between the style features of people and of a system."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlvbench.bootstrap import Draws, every_item_once, item_draws, seeded
from hlvbench.metrics.features import answer_features, feature_names, train_cuts
from hlvbench.metrics.predictions import Answers
from hlvbench.metrics.registry import bind, scorecard
from hlvbench.metrics.style import (
    divergence_terms,
    feature_kl,
    feature_kl_excess,
    feature_wasserstein,
    swapped_terms,
    wasserstein,
)
from hlvbench.types import Annotation, Pair, Task

from ..toy import ToyEmbedder, toy_task

Function = Callable[..., Any]
METRICS: tuple[Function, ...] = (feature_kl, feature_kl_excess, feature_wasserstein)


def system(task: Task, given: Mapping[Pair, Annotation], split: str = "test") -> Answers:
    return Answers(task, split, given, ToyEmbedder())


def people(task: Task) -> Answers:
    return system(task, {}).human


def constant(task: Task, text: str) -> Answers:
    return system(task, {p: Annotation(*p, task.labels[0], text) for p in task.questions("test")})


def random_own(task: Task, seed: int = 0) -> Answers:
    rng, given = seeded("own", seed), {}
    for pair in task.questions("test"):
        own = task.records_of("train", pair[1])
        chosen = own[int(rng.integers(len(own)))]
        given[pair] = Annotation(*pair, chosen.label, chosen.explanation)
    return system(task, given)


def once(answers: Answers) -> Draws:
    return every_item_once(len(answers.items))


def replicates(answers: Answers, count: int = 20) -> Draws:
    return item_draws(answers.items, "toy", "test", 0, count)


def histograms(answers: Answers, feature: int, annotator: int, listed: np.ndarray) -> tuple[list[int], list[int]]:
    """Bin numbers of people and of the system on a list of item positions, by a plain loop."""
    cuts = train_cuts(answers.task, "raw")[feature]
    found: tuple[list[int], list[int]] = ([], [])
    for position in listed:
        for q, (row, column) in enumerate(zip(*answers.cells, strict=True)):
            if row == position and column == annotator:
                for side, one in zip(found, (answers.human, answers), strict=True):
                    value = answer_features(one, "raw")[q, feature]
                    side.append(sum(value >= cut for cut in cuts))
    return found


def smoothed(bins: list[int], size: int) -> np.ndarray:
    counts = np.array([bins.count(b) + 0.5 for b in range(size)])
    return counts / counts.sum()


def test_kl_of_two_bins_by_hand() -> None:
    # p = (3, 1), q = (1, 3), add-half: 3.5/5 ln(3.5/1.5) + 1.5/5 ln(1.5/3.5) = .4 ln(7/3) = .338919
    terms = divergence_terms(np.array([3.0, 1.0]), np.array([1.0, 3.0]))
    assert terms.sum() / (4 + 1) == pytest.approx(0.4 * np.log(7 / 3))


def test_kl_equals_scipy_on_the_resampled_lists() -> None:
    from scipy.stats import entropy

    answers = random_own(toy_task(absent=0.2))
    draws = replicates(answers, 3)
    name = "mean"
    found = feature_kl(answers, draws, view="raw", feature=name)
    for r, listed in enumerate(draws.lists):
        for k in range(4):
            values = []
            for f, cuts in enumerate(train_cuts(answers.task, "raw")):
                p, q = histograms(answers, f, k, listed)
                values.append(entropy(smoothed(p, len(cuts) + 1), smoothed(q, len(cuts) + 1)))
            assert found.by_annotator is not None
            assert found.by_annotator[r, k] == pytest.approx(np.mean(values))


def test_the_swap_expectation_equals_the_mean_over_every_relabelling() -> None:
    human, other = [0, 0, 1, 2, 1, 0], [0, 1, 1, 0, 2, 2]
    values = []
    for swaps in product((False, True), repeat=6):
        p = [o if s else h for h, o, s in zip(human, other, swaps, strict=True)]
        q = [h if s else o for h, o, s in zip(human, other, swaps, strict=True)]
        values.append(divergence_terms(np.bincount(p, minlength=3), np.bincount(q, minlength=3)).sum())
    shared = np.array([1, 1, 0])  # positions 0; 2; none hold one bin twice
    free = np.bincount(human, minlength=3) + np.bincount(other, minlength=3) - 2 * shared
    assert swapped_terms(shared, free).sum() == pytest.approx(np.mean(values))


def test_excess_equals_kl_minus_drawn_relabellings_on_a_resampled_list() -> None:
    answers = random_own(toy_task())
    draws = replicates(answers, 2)
    f = feature_names(2, "raw").index("characters")
    size = len(train_cuts(answers.task, "raw")[f]) + 1
    found = feature_kl_excess(answers, draws, view="raw", feature="characters")
    plain = feature_kl(answers, draws, view="raw", feature="characters")
    rng = np.random.default_rng(0)
    assert found.by_annotator is not None
    assert plain.by_annotator is not None
    for r, listed in enumerate(draws.lists):
        p, q = map(np.array, histograms(answers, f, 1, listed))
        null = []
        for _ in range(3000):
            swap = rng.random(len(p)) < 0.5
            a = smoothed(np.where(swap, q, p).tolist(), size)
            b = smoothed(np.where(swap, p, q).tolist(), size)
            null.append((a * np.log(a / b)).sum())
        error = np.std(null) / np.sqrt(len(null))
        assert plain.by_annotator[r, 1] - found.by_annotator[r, 1] == pytest.approx(np.mean(null), abs=5 * error)


@given(st.integers(0, 60), st.integers(0, 200))
def test_the_swap_expectation_of_a_bin_is_finite_and_zero_without_free_positions(shared: int, free: int) -> None:
    value = swapped_terms(np.array([shared]), np.array([free]))[0]
    assert np.isfinite(value)
    assert free > 0 or value == 0


@given(
    st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.integers(0, 3)), min_size=1, max_size=30).filter(
        lambda rows: any(w for *_, w in rows)
    )
)
def test_wasserstein_equals_scipy(rows: list[tuple[float, float, int]]) -> None:
    from scipy.stats import wasserstein_distance

    a, b, w = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    expected = wasserstein_distance(np.repeat(a, w.astype(int)), np.repeat(b, w.astype(int)))
    assert wasserstein(w[None], a, b)[0] / w.sum() == pytest.approx(expected, abs=1e-9)


def test_wasserstein_is_the_shift_when_every_answer_is_one_word_longer() -> None:
    task = toy_task()
    longer = {
        p: dataclasses.replace(task.by_pair[p][0], explanation=task.by_pair[p][0].explanation + " indeed")
        for p in task.questions("test")
    }
    answers = system(task, longer)
    assert feature_wasserstein(answers, once(answers), view="raw", feature="words").overall[0] == pytest.approx(1.0)
    # " indeed" is 7 characters
    assert feature_wasserstein(answers, once(answers), feature="characters").overall[0] == pytest.approx(7.0)


@pytest.mark.parametrize("function", METRICS)
@pytest.mark.parametrize("feature", ["mean", "words"])
def test_replicates_equal_the_estimate_on_the_resampled_list(function: Function, feature: str) -> None:
    task = toy_task(items=(20, 8, 8), absent=0.1)
    answers = random_own(task)
    draws = replicates(answers, 5)
    whole = function(answers, draws, view="raw", feature=feature)
    for r, listed in enumerate(draws.lists):
        # a list is one draw whose picks are the items themselves
        alone = Draws(tuple((i,) for i in range(len(answers.items))), listed[None])
        again = function(answers, alone, view="raw", feature=feature)
        assert np.allclose(whole.overall[r], again.overall[0])
        assert np.allclose(whole.by_annotator[r], again.by_annotator[0], equal_nan=True)


@pytest.mark.parametrize("function", METRICS)
@pytest.mark.parametrize("view", ["raw", "norm"])
def test_people_are_at_no_distance_from_themselves_in_any_replicate(function: Function, view: str) -> None:
    answers = people(toy_task(doubles=0.3, absent=0.1))
    assert not function(answers, replicates(answers), view=view, feature="mean").overall.any()


def test_kl_falls_and_excess_stays_near_zero_when_answers_are_many() -> None:
    # length alone: what the text reuses of its item does differ
    few, many = random_own(toy_task(items=(600, 5, 10))), random_own(toy_task(items=(600, 5, 150)))
    short, long = (feature_kl(a, once(a), feature="characters").overall[0] for a in (few, many))
    assert short > 2 * long
    assert abs(feature_kl_excess(many, once(many), feature="characters").overall[0]) < 0.03


@pytest.mark.parametrize("function", METRICS)
def test_replacing_more_answers_by_one_sentence_is_farther(function: Function) -> None:
    task = toy_task()
    human, flat = (
        people(task).predictions,
        constant(task, "Yes it is so indeed and that is all there is to say now.").predictions,
    )
    questions = task.questions("test")
    values = []
    for share in (0.0, 0.3, 0.6, 1.0):
        mixed = {p: flat[p] if n < share * len(questions) else human[p] for n, p in enumerate(questions)}
        answers = system(task, mixed)
        values.append(function(answers, once(answers), view="raw", feature="mean").overall[0])
    assert values == sorted(values)
    assert values[-1] > values[0] + 0.1


def test_the_raw_view_sees_a_missing_period_and_the_norm_view_does_not() -> None:
    task = toy_task()
    bare = {
        p: dataclasses.replace(task.by_pair[p][0], explanation=task.by_pair[p][0].explanation.rstrip("."))
        for p in task.questions("test")
    }
    answers = system(task, bare)
    assert feature_wasserstein(answers, once(answers), view="raw", feature="final_period").overall[0] == 1.0
    assert feature_kl(answers, once(answers), view="norm").overall[0] == 0.0


def test_the_order_of_annotators_changes_nothing() -> None:
    task = toy_task()
    turned = dataclasses.replace(task, annotators=task.annotators[::-1])
    one, two = random_own(task), system(turned, random_own(task).predictions)
    for function in METRICS:
        assert function(one, once(one), feature="mean").overall == pytest.approx(
            function(two, once(two), feature="mean").overall
        )


@pytest.mark.parametrize("function", METRICS)
@pytest.mark.parametrize("view", ["raw", "norm"])
def test_degenerate_answers_give_numbers(function: Function, view: str) -> None:
    task = toy_task()
    for answers in (system(task, {}), constant(task, ""), constant(task, "same"), constant(task, "🙂 ´ß")):
        assert np.isfinite(function(answers, replicates(answers, 3), view=view, feature="mean").overall).all()
    one = Answers(task, "test", random_own(task).predictions, ToyEmbedder(), limit=1)
    assert np.isfinite(function(one, once(one), view=view, feature="mean").overall).all()


def test_what_cannot_be_given_is_nan_with_a_note() -> None:
    untrained = toy_task(items=(0, 5, 5))
    answers = people(untrained)
    kl = feature_kl(answers, once(answers))
    assert np.isnan(kl.overall).all()
    assert "train" in kl.note
    assert feature_wasserstein(answers, once(answers)).overall[0] == 0.0
    nobody = system(toy_task(min_records=10_000), {})
    for function in METRICS:
        assert np.isnan(function(nobody, once(nobody)).overall).all()


def test_an_annotator_absent_from_a_list_has_no_value_there() -> None:
    task = toy_task(items=(20, 5, 2))
    kept = [r for r in task.records if not (r.item == "test0" and r.annotator == "Ann1")]
    answers = people(dataclasses.replace(task, records=tuple(kept)))
    draws = Draws(((0,), (1,)), np.array([[0, 0], [0, 1]]))
    for function in METRICS:
        found = function(answers, draws).by_annotator
        assert found is not None
        assert np.isnan(found).tolist() == [[True, False, False, False], [False] * 4]


def test_the_feature_is_part_of_the_printed_metric() -> None:
    assert str(bind("feature_kl", feature="reused_2", view="raw")) == "feature_kl(view=raw,feature=reused_2)"


def test_the_scorecard_shows_both_views_and_every_feature_of_the_task() -> None:
    task = toy_task()
    printed = [str(m) for m in scorecard(task) if m.name in {"feature_kl", "feature_wasserstein"}]
    assert printed[:2] == ["feature_kl(view=raw,feature=mean)", "feature_kl(view=norm,feature=mean)"]
    assert len(printed) == 2 + 2 * len(feature_names(2, "raw"))
    three = dataclasses.replace(task, fields={"a": "A", "b": "B", "c": "C"})
    assert "feature_wasserstein(view=raw,feature=reused_3)" in map(str, scorecard(three))


def test_blind_and_random_own_are_as_far_on_varierr_as_the_docs_say(data_dir: Path) -> None:
    # docs: blind .067, random own .289 (norm view; ± the draw of the random texts)
    from hlvbench.data.task import load_task

    task = load_task("varierr", data_dir=data_dir)
    blind, own = people(task).blind, random_own(task)
    assert feature_kl(blind, once(blind), view="norm").overall[0] == pytest.approx(0.067, abs=0.02)
    assert feature_kl(own, once(own), view="norm").overall[0] == pytest.approx(0.289, abs=0.05)
