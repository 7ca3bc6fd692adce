"""Style features, their bins, and the word lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlvbench.errors import MetricError
from hlvbench.metrics.features import (
    CAUSALS,
    FIRST_PERSON,
    MODALS,
    NEGATIONS,
    answer_features,
    columns,
    cut_points,
    feature_names,
    features,
    train_cuts,
)
from hlvbench.metrics.predictions import Answers
from hlvbench.text import in_view, norm
from hlvbench.types import Item

from ..toy import ToyEmbedder, toy_task

ITEM = Item("i", {"premise": "The dog runs home.", "hypothesis": "A cat sleeps"})


def of(text: str, view: str = "raw") -> dict[str, float]:
    row = features([in_view(text, view)], [ITEM], view)[0]
    return dict(zip(feature_names(2, view), row.tolist(), strict=True))


def test_features_of_one_text_by_hand() -> None:
    # 10 words: because the dog runs i think it can t sleep = 7+3+3+4+1+5+2+3+1+5 = 34 letters, all different
    found = of('Because the dog "runs", I think it can\'t sleep.')
    assert found["words"] == 10
    assert found["characters"] == 47
    assert found["mean_word_length"] == pytest.approx(3.4)
    assert found["type_token_ratio"] == 1.0
    assert found["modal_rate"] == pytest.approx(0.1)  # can
    assert found["negation_rate"] == pytest.approx(0.1)  # can't
    assert found["causal_rate"] == pytest.approx(0.1)  # because
    assert found["first_person_rate"] == pytest.approx(0.1)  # I
    assert found["reused_1"] == pytest.approx(0.3)  # the dog runs
    assert found["reused_2"] == 0.0
    assert found["sentences"] == 1.0
    assert found["quote_rate"] == pytest.approx(2 / 47)
    assert found["punctuation_rate"] == pytest.approx(5 / 47)  # " " , ' .
    assert (found["final_period"], found["initial_capital"]) == (1.0, 1.0)


def test_repeated_words_lower_the_type_token_ratio_and_count_as_reused_each_time() -> None:
    found = of("dog dog cat bird", "norm")
    assert found["type_token_ratio"] == 0.75
    assert found["reused_1"] == 0.5
    assert found["reused_2"] == 0.25


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("no mark", 1), ("A. B", 2), ("A. B.", 2), ("Really?! Yes...", 2), ('He said "no."', 1), ("3.5 m", 1)],
)
def test_sentences_are_closed_by_marks_or_by_the_end(text: str, count: int) -> None:
    assert of(text)["sentences"] == count


@pytest.mark.parametrize("text", ["don't", "don’t", "Can't!", "dont", "not", "Never", "neither"])
def test_negations_are_seen_however_they_are_spelt(text: str) -> None:
    assert of(text)["negation_rate"] > 0
    assert of(text, "norm")["negation_rate"] > 0


def test_the_empty_text_is_zero_in_every_feature() -> None:
    assert not any(of("").values())
    assert not any(of("", "norm").values())


@given(st.text(), st.sampled_from(["raw", "norm"]))
def test_rates_are_shares_and_counts_are_finite(text: str, view: str) -> None:
    found = of(text, view)
    assert all(np.isfinite(list(found.values())))
    assert all(0 <= found[name] <= 1 for name in found if "rate" in name or "ratio" in name or "reused" in name)


@given(st.text())
def test_norm_features_do_not_see_case_and_punctuation(text: str) -> None:
    changed = f" {norm(text)} ." if text.isascii() else text
    assert of(text.upper() if text.isascii() else text, "norm") == of(changed, "norm")


def test_norm_drops_the_orthographic_features() -> None:
    dropped = set(feature_names(2, "raw")) - set(feature_names(2, "norm"))
    assert dropped == {"sentences", "quote_rate", "punctuation_rate", "final_period", "initial_capital"}


def test_word_lists_are_words_of_the_norm_view() -> None:
    for words in (MODALS, NEGATIONS, CAUSALS, FIRST_PERSON):
        assert all(norm(word) == word and " " not in word for word in words)


def test_there_is_one_reuse_feature_per_input_text() -> None:
    assert [n for n in feature_names(3, "norm") if n.startswith("reused")] == ["reused_1", "reused_2", "reused_3"]
    assert len(columns("mean", 3, "norm")) == len(feature_names(3, "norm"))


@pytest.mark.parametrize("name", ["word", "reused_0", "reused_3", "reused_x", "", "final_period"])
def test_an_unknown_feature_is_an_error_that_lists_the_known_ones(name: str) -> None:
    with pytest.raises(MetricError, match=r"mean, words.*reused_2"):
        columns(name, 2, "norm")


def test_ten_bins_of_a_hundred_different_values_hold_ten_each() -> None:
    values = np.arange(100.0)
    bins = np.searchsorted(cut_points(values), values, side="right")
    assert np.bincount(bins).tolist() == [10] * 10


def test_a_frequent_value_has_a_bin_of_its_own_at_either_end() -> None:
    # mid-ranks .49 and .99; .01 and .51: two deciles each
    for values in (np.array([0.0] * 98 + [1.0] * 2), np.array([0.0] * 2 + [1.0] * 98)):
        cuts = cut_points(values)
        assert cuts.tolist() == [1.0]
        assert np.searchsorted(cuts, [0.0, 0.5, 1.0, 7.0], side="right").tolist() == [0, 0, 1, 1]


def test_constant_and_absent_values_make_one_bin() -> None:
    assert len(cut_points(np.zeros(5))) == 0
    assert len(cut_points(np.zeros(0))) == 0


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=60))
def test_bins_are_ordered_and_all_used_by_the_values_that_made_them(values: list[float]) -> None:
    cuts = cut_points(np.array(values))
    assert (np.diff(cuts) > 0).all()
    assert len(cuts) <= 9
    assert set(np.searchsorted(cuts, values, side="right")) == set(range(len(cuts) + 1))


def test_features_of_answers_follow_the_questions_and_bins_come_from_train() -> None:
    task = toy_task(absent=0.2, doubles=0.2)
    answers = Answers(task, "test", {}, ToyEmbedder()).human
    item, annotator = answers.questions[5]
    record = task.by_pair[item, annotator][0]
    alone = features([in_view(record.explanation, "raw")], [task.items[item]], "raw")[0]
    assert np.array_equal(answer_features(answers, "raw")[5], alone)
    train = [in_view(r.explanation, "norm") for r in task.records_of("train")]
    lengths = features(train, [task.items[r.item] for r in task.records_of("train")], "norm")[:, 1]
    assert np.array_equal(train_cuts(task, "norm")[1], cut_points(lengths))
