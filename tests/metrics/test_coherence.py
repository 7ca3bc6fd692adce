"""Label support, copies and repeats."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hlvbench.bootstrap import Draws, every_item_once, item_draws
from hlvbench.metrics.coherence import band, copy_rate, distinct, label_support, supported
from hlvbench.metrics.predictions import Answers
from hlvbench.text import norm
from hlvbench.types import Annotation, Pair, Task

from ..toy import ToyEmbedder, toy_task

Function = Callable[..., Any]
METRICS: tuple[Function, ...] = (label_support, copy_rate, distinct)


def system(task: Task, given: Mapping[Pair, Annotation], split: str = "test") -> Answers:
    return Answers(task, split, given, ToyEmbedder())


def said(task: Task, text: str) -> Answers:
    return system(task, {p: Annotation(*p, task.by_pair[p][0].label, text) for p in task.questions("test")})


def value(function: Function, answers: Answers) -> float:
    return float(function(answers, every_item_once(len(answers.items))).overall[0])


def test_labels_that_the_texts_name_are_recovered_and_wrong_ones_are_not() -> None:
    # every toy explanation ends in "for <label>"
    task = toy_task(items=(5, 60, 30))
    human = system(task, {}).human
    turned = {
        p: dataclasses.replace(r, label=task.labels[task.labels.index(r.label) - 1])
        for p, r in human.predictions.items()
    }
    assert value(label_support, human) == 1.0
    assert value(label_support, system(task, turned)) == 0.0


def test_support_is_the_share_of_answers_a_plain_pipeline_reads_correctly() -> None:
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    task = toy_task("ordinal", items=(5, 60, 30), absent=0.2)
    dev = task.records_of("dev")
    words = CountVectorizer(ngram_range=(1, 2), binary=True, token_pattern=r"\S+")
    model = make_pipeline(words, LogisticRegression(max_iter=2000))
    model.fit([norm(r.explanation) for r in dev], [band(task, r.label) for r in dev])
    human = system(task, {}).human
    truth = [band(task, human.predictions[p].label) for p in human.questions]
    assert np.array_equal(supported(human), model.predict(human.texts("norm")) == truth)


def test_three_bands_of_eleven_scores_are_symmetric() -> None:
    task = toy_task("ordinal")
    assert [band(task, score) for score in range(-5, 6)] == [0] * 4 + [1] * 3 + [2] * 4
    assert [band(toy_task(), label) for label in toy_task().labels] == [0, 1, 2]


def test_a_missing_answer_is_not_supported() -> None:
    task = toy_task(items=(5, 60, 20))
    human = dict(system(task, {}).human.predictions)
    for pair in task.questions("test")[:8]:  # two items, each of 4 annotators
        del human[pair]
    assert value(label_support, system(task, human)) == pytest.approx(0.9)


@pytest.mark.parametrize("split", ["dev", "test"])
def test_where_there_is_no_other_dev_each_half_is_read_by_the_other(split: str) -> None:
    task = toy_task(items=(5, 0, 40) if split == "test" else (5, 40, 5))
    assert value(label_support, system(task, {}, split).human) > 0.9
    # a text that stands once in the split, its label named nowhere else, is read without itself
    first = task.questions(split)[0]
    odd = tuple(
        dataclasses.replace(r, explanation="xyzzy plugh") if (r.item, r.annotator) == first else r for r in task.records
    )
    flipped = tuple(dataclasses.replace(r, label=task.labels[0]) if (r.item, r.annotator) == first else r for r in odd)
    asked = [system(dataclasses.replace(task, records=records), {}, split).human for records in (odd, flipped)]
    same = {**asked[0].predictions, first: asked[1].predictions[first]}
    one, two = (supported(system(a.task, same, split))[0] for a in asked)
    assert one == two


def test_a_copy_is_a_train_text_of_the_same_annotator_in_the_norm_view() -> None:
    task = toy_task(items=(10, 5, 4))
    given, train = {}, task.records_of("train", "Ann1")
    for n, (item, annotator) in enumerate(task.questions("test")):
        text = train[n % len(train)].explanation.upper() + "!!" if n < 8 else "a text of its own"
        given[item, annotator] = Annotation(item, annotator, task.labels[0], text)
    found = copy_rate(system(task, given), every_item_once(4)).by_annotator
    # Ann1's texts in the first two of four items are copies; the other annotators never wrote them
    assert found is not None
    assert found[0].tolist() == [0.5, 0.0, 0.0, 0.0]


def test_an_empty_answer_is_no_copy_even_of_an_empty_record() -> None:
    task = toy_task()
    silent = dataclasses.replace(task, records=tuple(dataclasses.replace(r, explanation="") for r in task.records))
    assert value(copy_rate, system(silent, {})) == 0.0
    assert value(copy_rate, system(silent, {}).human) == 0.0


def test_distinct_counts_texts_per_annotator() -> None:
    task = toy_task(items=(5, 5, 4))
    texts = {"Ann1": "abcd", "Ann2": "aabb", "Ann3": "aaaa", "Ann4": "aAa."}
    given = {
        (i, a): Annotation(i, a, task.labels[0], texts[a][n // 4]) for n, (i, a) in enumerate(task.questions("test"))
    }
    found = distinct(system(task, given), every_item_once(4)).by_annotator
    # norm: "A" is "a" and "." is the empty text
    assert found is not None
    assert found[0].tolist() == [1.0, 0.5, 0.25, 0.5]


def test_an_item_drawn_twice_repeats_no_text() -> None:
    task = toy_task(items=(5, 5, 3))
    texts = ["one", "one", "two"]
    given = {p: Annotation(*p, task.labels[0], texts[n // 4]) for n, p in enumerate(task.questions("test"))}
    draws = Draws(((0,), (1,), (2,)), np.array([[0, 1, 2], [2, 2, 2], [0, 2, 2], [0, 1, 1]]))
    # {one, one, two}; {two}; {one, two}; {one, one}
    assert distinct(system(task, given), draws).overall == pytest.approx([2 / 3, 1.0, 1.0, 0.5])


@pytest.mark.parametrize("function", METRICS)
def test_replicates_equal_the_estimate_on_the_resampled_list(function: Function) -> None:
    task = toy_task(items=(20, 20, 12), absent=0.2)
    given = {}
    for n, p in enumerate(task.questions("test")):
        given[p] = (
            task.by_pair[p][0] if n % 3 else Annotation(*p, task.labels[0], task.records[p[0] < "test5"].explanation)
        )
    answers = system(task, given)
    draws = item_draws(answers.items, "toy", "test", 0, 30)
    found = function(answers, draws).by_annotator
    train = {a: {norm(r.explanation) for r in task.records_of("train", a)} for a in task.annotators}
    read, texts = supported(answers), answers.texts("norm")
    for r, listed in enumerate(draws.lists):
        for k, name in enumerate(task.annotators):
            places = [(i, q) for i in listed for q, c in enumerate(zip(*answers.cells, strict=True)) if c == (i, k)]
            drawn = [texts[q] for _, q in places]
            expected = {
                "label_support": np.mean([read[q] for _, q in places]),
                "copy_rate": np.mean([text in train[name] for text in drawn]),
                "distinct": len(set(drawn)) / len({i for i, _ in places}),
            }[function.__name__]
            assert found is not None
            assert found[r, k] == pytest.approx(expected)


@pytest.mark.parametrize("function", METRICS)
def test_degenerate_answers_give_numbers(function: Function) -> None:
    task = toy_task()
    for answers in (system(task, {}), said(task, ""), said(task, "same"), said(task, "🙂 ...")):
        assert 0 <= value(function, answers) <= 1
    one = Answers(task, "test", said(task, "same").predictions, ToyEmbedder(), limit=1)
    assert 0 <= value(function, one) <= 1
    assert value(copy_rate, said(toy_task(items=(0, 5, 5)), "same")) == 0.0
    assert np.isnan(value(function, system(toy_task(min_records=10_000), {})))


def test_records_of_a_single_label_give_no_support_value_but_a_note() -> None:
    task = toy_task()
    for change in ({"label": task.labels[0]}, {"explanation": "..."}):
        flat = dataclasses.replace(task, records=tuple(dataclasses.replace(r, **change) for r in task.records))
        found = label_support(system(flat, {}).human, every_item_once(20))
        assert np.isnan(found.overall[0])
        assert found.note


def test_people_support_their_labels_and_repeat_themselves_as_documented(data_dir: Path) -> None:
    # docs: label_support about .7 and .8, copy_rate .05 and .35
    from hlvbench.data.task import load_task

    for name, support, copies in (("varierr", 0.73, 0.05), ("r2", 0.82, 0.35)):
        human = system(load_task(name, data_dir=data_dir), {}).human
        assert value(label_support, human) == pytest.approx(support, abs=0.03)
        assert value(copy_rate, human) == pytest.approx(copies, abs=0.03)
