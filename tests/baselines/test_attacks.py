"""Attacks read train and the questions' inputs, and answer everything in a form that parses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hlvbench.baselines.attacks import frame, splice
from hlvbench.baselines.baseline_registry import BASELINES, generations
from hlvbench.baselines.knowledge import Knowledge
from hlvbench.prompting.parse import parse
from hlvbench.text import norm
from hlvbench.types import Annotation, Item

from ..toy import ToyEmbedder, toy_task

READS_TEST = {"human", "other", "blind", "orthography"} | {s.name for s in BASELINES.values() if s.kind == "gold"}
COMMON = frozenset("the a is so because not in".split())


def task_of(kind="nominal", **settings):
    return toy_task(kind, items=(24, 6, 8), absent=0.15, doubles=0.2, **settings)


def answers(task, name, seed=0):
    return [g.text for g in generations(BASELINES[name], Knowledge(task, "test", ToyEmbedder(), seed))]


def with_garbage(task):
    """The same questions, with other labels and texts in every test record."""
    test = set(task.splits["test"])
    return replace(
        task,
        records=tuple(
            Annotation(r.item, r.annotator, task.labels[n % len(task.labels)], f"garbage {n}") if r.item in test else r
            for n, r in enumerate(task.records)
        ),
    )


def test_the_page_of_attacks_describes_every_baseline():
    page = (Path(__file__).resolve().parents[2] / "docs" / "attacks.md").read_text("utf-8")
    rows = [f"| {b.name} | {b.labels} | {b.description} |" for b in BASELINES.values()]
    assert [row for row in rows if row not in page] == []


@pytest.mark.parametrize("kind", ["nominal", "ordinal"])
@pytest.mark.parametrize("name", sorted(BASELINES))
def test_every_system_answers_every_question_in_a_form_that_parses(name, kind):
    task = task_of(kind)
    known = Knowledge(task, "test", ToyEmbedder())
    rows = generations(BASELINES[name], known)
    assert [(g.item, g.annotator) for g in rows] == list(task.questions("test"))
    for row in rows:
        found = parse(row.text, task)
        label, text = BASELINES[name].answer(known, (row.item, row.annotator))
        assert found.label == label
        assert norm(found.explanation) == norm(text)


@pytest.mark.parametrize("kind", ["nominal", "ordinal"])
@pytest.mark.parametrize("name", sorted(set(BASELINES) - READS_TEST))
def test_an_attack_reads_no_test_record(name, kind):
    task = task_of(kind)
    assert answers(task, name) == answers(with_garbage(task), name)


@pytest.mark.parametrize("name", ["human", "other", "blind", "nearest+gold"])
def test_the_garbage_is_seen_by_those_that_do_read_test_records(name):
    task = task_of()
    assert answers(task, name) != answers(with_garbage(task), name)


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_a_system_is_deterministic(name):
    assert answers(task_of(), name) == answers(task_of(), name)


@pytest.mark.parametrize("name", sorted(BASELINES))
@pytest.mark.parametrize("annotators", [1, 2, 7])
def test_any_number_of_annotators_is_answered_for(name, annotators):
    task = task_of(annotators=annotators)
    assert len(answers(task, name)) == len(task.questions("test"))


def test_the_gold_systems_give_the_priority_label():
    task = task_of()
    known = Knowledge(task, "test", ToyEmbedder())
    for system in (s for s in BASELINES.values() if s.kind == "gold"):
        assert all(system.answer(known, p)[0] == task.by_pair[p][0].label for p in task.questions("test"))


def test_the_constant_attack_says_one_own_train_sentence_per_annotator():
    task = task_of()
    known = Knowledge(task, "test", ToyEmbedder())
    said = {(p[1], BASELINES["constant"].answer(known, p)[1]) for p in task.questions("test")}
    assert len(said) == 4
    assert all(text in {r.explanation for r in task.records_of("train", a)} for a, text in said)


def test_the_most_typical_sentence_carries_the_habit_that_only_this_person_has():
    # each toy annotator has an opening of his own
    task = task_of()
    constants = Knowledge(task, "test", ToyEmbedder()).most_typical_explanations
    assert all(
        constants[f"Ann{k + 1}"].startswith(o) for k, o in enumerate(("Because", "I think", "Clearly,", "Given"))
    )


SOURCE = Item("1", {"premise": "the old dog sleeps in a house", "hypothesis": "a dog dreams"})
TARGET = Item("2", {"premise": "seven green boats", "hypothesis": "boats sink"})


def test_splice_puts_the_targets_word_of_the_same_field_and_place():
    # premise: old dog sleeps house -> places 0..3 of 4 -> seven green boats at 0*3//4, 1*3//4, 2*3//4, 3*3//4 =
    # seven, seven, green, boats; hypothesis: dog dreams -> boats sink, where dog is already taken
    assert splice("Because the dog sleeps.", SOURCE, TARGET, COMMON) == "Because the seven green."
    assert splice("So: House, dreams!", SOURCE, TARGET, COMMON) == "So: boats, sink!"


def test_splice_leaves_words_that_the_source_does_not_have_and_function_words():
    assert splice("It is not in the picture", SOURCE, TARGET, COMMON) == "It is not in the picture"


def test_splice_into_an_item_without_content_words_uses_what_there_is():
    bare = Item("3", {"premise": "the", "hypothesis": ""})
    assert splice("the dog", SOURCE, bare, COMMON) == "the the"


def test_a_frame_has_one_slot_for_every_run_of_the_items_words():
    assert frame("Because the old dog is so.", SOURCE, COMMON) == ("Because", "the", "", "is", "so.")


def test_a_collage_is_made_of_own_train_sentences():
    task = task_of()
    known = Knowledge(task, "test", ToyEmbedder())
    for pair in task.questions("test")[:10]:
        left = BASELINES["collage"].answer(known, pair)[1]
        for text in sorted({r.explanation for r in task.records_of("train", pair[1])}, key=len, reverse=True):
            left = left.replace(text, "")
        assert not left.strip()


def test_a_sentence_beyond_the_label_is_an_own_train_sentence():
    task = task_of()
    known = Knowledge(task, "test", ToyEmbedder())
    for pair in task.questions("test")[:10]:
        own = {r.explanation for r in task.records_of("train", pair[1])}
        assert {BASELINES[name].answer(known, pair)[1] for name in ("beyond-label", "clustered")} <= own


def test_what_is_expected_beyond_the_label_is_centred_within_it():
    # less its mean over the person's questions with the same guessed label, so that within a label the differences,
    # before they are given length 1, sum to zero
    task = task_of()
    known = Knowledge(task, "test", ToyEmbedder())
    groups: dict = {}
    for pair in known.expected_difference:
        groups.setdefault((pair[1], known.predicted_labels[pair]), []).append(pair)
    for pairs in groups.values():
        if len(pairs) > 1:
            ahead = np.array([known.expected_difference[p] for p in pairs])
            ahead -= ahead.mean(axis=0)
            ahead /= np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-9)
            assert np.allclose([known.expected_difference_given_label[p] for p in pairs], ahead)
