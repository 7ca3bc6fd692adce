"""The classifier two-sample test, against scikit-learn's own pieces."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlvbench.bootstrap import clusters, every_item_once, item_draws, seeded
from hlvbench.metrics.c2st import (
    FOLDS,
    c2st,
    chargram_counts,
    fold_of_items,
    logistic_scores,
    out_of_fold_scores,
    tfidf_gram,
)
from hlvbench.metrics.predictions import Answers
from hlvbench.metrics.registry import REGISTRY
from hlvbench.types import Annotation, Item, Pair, Task

from ..toy import ToyEmbedder, toy_task

TEXTS = ["abab c", "", "ab", "ba ba", "Ünïcode 🙂!", "a", "ccc abc", "no more of it"] * 2


def system(task: Task, given: Mapping[Pair, Annotation], limit: int | None = None) -> Answers:
    return Answers(task, "test", given, ToyEmbedder(), limit)


def constant(task: Task, text: str) -> Answers:
    return system(task, {p: Annotation(*p, task.labels[0], text) for p in task.questions("test")})


def random_own(task: Task, seed: int = 0) -> Answers:
    rng, given = seeded("own", seed), {}
    for pair in task.questions("test"):
        own = task.records_of("train", pair[1])
        given[pair] = dataclasses.replace(own[int(rng.integers(len(own)))], item=pair[0])
    return system(task, given)


def value(answers: Answers, view: str = "raw") -> Any:
    return c2st(answers, every_item_once(len(answers.items)), view=view)


def test_chargrams_are_those_of_scikit_learn() -> None:
    from sklearn.feature_extraction.text import CountVectorizer

    expected = CountVectorizer(analyzer="char", ngram_range=(1, 4), lowercase=False).fit_transform(TEXTS)
    found = chargram_counts(TEXTS)
    assert found.shape[0] == len(TEXTS)
    # equal up to the order of the columns, and columns of zeros
    columns = found.toarray().T.astype(int)
    assert sorted(map(tuple, columns[columns.any(axis=1)])) == sorted(map(tuple, expected.toarray().T))


def test_tfidf_products_are_those_of_scikit_learn_fitted_on_the_train_texts() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    train = np.arange(len(TEXTS)) % 3 > 0
    vectors = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), lowercase=False)
    vectors.fit([t for t, kept in zip(TEXTS, train, strict=True) if kept])
    rows = vectors.transform(TEXTS).toarray()
    assert np.allclose(tfidf_gram(chargram_counts(TEXTS), train), rows @ rows.T)


def test_decision_values_are_those_of_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 12)) / 4
    positive = rows[:, 0] + rng.normal(size=60) / 4 > 0.1
    train = np.arange(60) < 45
    expected = LogisticRegression(C=10.0, tol=1e-10, max_iter=10_000).fit(rows[train], positive[train])
    found = logistic_scores(rows @ rows.T, train, positive)
    assert np.allclose(found, expected.decision_function(rows), atol=1e-4)


def test_the_auc_is_scikit_learns_of_its_own_pipeline() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    answers = random_own(toy_task(items=(20, 5, 30), absent=0.1))
    fold = fold_of_items(answers)
    rows, column = answers.cells
    found = value(answers, "norm").by_annotator[0]
    for k in range(4):
        own = np.flatnonzero(column == k)
        texts = [answers.human.texts("norm")[q] for q in own] + [answers.texts("norm")[q] for q in own]
        truth, where = np.repeat([0, 1], len(own)), np.tile(fold[rows[own]], 2)
        scores = np.zeros(len(texts))
        for f in range(FOLDS):
            train = where != f
            vectors = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), lowercase=False)
            known = vectors.fit_transform([t for t, kept in zip(texts, train, strict=True) if kept])
            model = LogisticRegression(C=10.0, tol=1e-10, max_iter=10_000).fit(known, truth[train])
            rest = [t for t, kept in zip(texts, train, strict=True) if not kept]
            scores[~train] = model.decision_function(vectors.transform(rest))
        assert found[k] == pytest.approx(roc_auc_score(truth, scores.round(5)), abs=0.005)


def test_the_jackknife_is_the_one_that_leaves_out_items_from_the_scores() -> None:
    from sklearn.metrics import roc_auc_score

    answers = random_own(toy_task(items=(20, 5, 25), annotators=2))
    rows, column = answers.cells
    fold = fold_of_items(answers)
    blocks = clusters(answers.items)
    left_out = np.zeros((len(blocks), 2))
    for k in range(2):
        own = np.flatnonzero(column == k)
        human, texts = ([a.texts("raw")[q] for q in own] for a in (answers.human, answers))
        scores = out_of_fold_scores(human, texts, fold[rows[own]]).round(9)
        for g, block in enumerate(blocks):
            kept = ~np.isin(rows[own], block)
            truth = np.repeat([0, 1], kept.sum())
            left_out[g, k] = roc_auc_score(truth, scores[:, kept].ravel())
    found = value(answers)
    for row, parts, whole in (
        (0, left_out.mean(axis=1), found.overall[0]),
        (1, left_out[:, 0], found.by_annotator[0, 0]),
    ):
        error = np.sqrt((len(parts) - 1) / len(parts) * ((parts - parts.mean()) ** 2).sum())
        assert found.intervals[row] == pytest.approx(np.clip([whole - 1.96 * error, whole + 1.96 * error], 0, 1))


@pytest.mark.parametrize("view", ["raw", "norm"])
def test_peoples_own_texts_cannot_be_told_from_themselves(view: str) -> None:
    found = value(system(toy_task(absent=0.1), {}).human, view)
    assert (found.by_annotator == 0.5).all()
    assert (found.intervals == 0.5).all()


def test_fresh_texts_of_the_same_writer_are_near_a_half_and_one_sentence_is_found_out() -> None:
    task = toy_task(items=(200, 5, 60))
    assert value(random_own(task)).overall[0] < 0.75 < 0.95 < value(constant(task, "It follows.")).overall[0]


def test_more_mode_collapse_is_told_apart_more_often() -> None:
    task = toy_task(items=(60, 5, 60))
    own, flat = random_own(task).predictions, constant(task, "It follows from the text.").predictions
    values = []
    for share in (0.0, 0.5, 1.0):
        mixed = {p: flat[p] if n < share * len(own) else own[p] for n, p in enumerate(own)}
        values.append(value(system(task, mixed)).overall[0])
    assert values == sorted(values)


def test_case_and_punctuation_are_seen_in_the_raw_view_alone() -> None:
    task = toy_task()
    loud = {
        p: dataclasses.replace(r, explanation=r.explanation.upper())
        for p, r in system(task, {}).human.predictions.items()
    }
    assert value(system(task, loud), "raw").overall[0] == 1.0
    assert value(system(task, loud), "norm").overall[0] == 0.5


def test_resampled_lists_have_no_value_and_the_registry_says_so() -> None:
    answers = random_own(toy_task())
    found = c2st(answers, item_draws(answers.items, "toy", "test", 0, 5))
    assert np.isnan(found.overall).all()
    assert not REGISTRY["c2st"].resamples


def test_items_that_share_an_input_text_share_a_fold() -> None:
    task = toy_task()
    twins = dict(task.items)
    for n in range(10):
        text = dict(task.items[f"test{n}"].text)
        twins[f"test{n + 10}"] = Item(f"test{n + 10}", {**text, "hypothesis": f"another {n}"})
    answers = system(dataclasses.replace(task, items=twins), {})
    fold = fold_of_items(answers)
    assert (fold[:10] == fold[10:]).all()
    assert np.bincount(fold, minlength=FOLDS).tolist() == [4] * 5


@given(st.lists(st.text(max_size=12), min_size=1, max_size=8))
def test_any_texts_have_counts_that_sum_to_their_ngrams(texts: list[str]) -> None:
    found = np.asarray(chargram_counts(texts).sum(axis=1)).ravel()
    assert found.tolist() == [sum(max(0, len(t) - n + 1) for n in range(1, 5)) for t in texts]


@pytest.mark.parametrize("text", ["", "same", "🙂"])
def test_degenerate_systems_are_told_apart_with_certainty(text: str) -> None:
    # all system scores are equal and no person wrote such a text
    assert value(constant(toy_task(), text)).overall[0] == 1.0


def test_missing_answers_are_the_empty_text() -> None:
    task = toy_task()
    assert value(system(task, {})).overall[0] == value(constant(task, "")).overall[0]


def test_one_item_has_no_value_but_a_note() -> None:
    task = toy_task()
    for answers in (system(task, random_own(task).predictions, limit=1), system(toy_task(min_records=10_000), {})):
        found = value(answers)
        assert np.isnan(found.overall).all()
        assert np.isnan(found.intervals).all()
        assert "two folds" in found.note


def test_both_texts_empty_everywhere_is_a_half() -> None:
    task = toy_task()
    silent = dataclasses.replace(task, records=tuple(dataclasses.replace(r, explanation=" ") for r in task.records))
    assert value(system(silent, {})).overall[0] == 0.5
