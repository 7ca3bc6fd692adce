"""The synthetic source: deterministic, split without shared texts, annotators apart by the amounts asked for."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlvbench.bootstrap import clusters, seeded
from hlvbench.data.synthetic import (
    FACTS,
    FIELDS,
    LABELS,
    LEVELS,
    SCORES,
    Scene,
    Spec,
    annotator_profiles,
    decide,
    draw_scene,
    draw_scenes,
    explain,
    load,
    synthetic_task,
)
from hlvbench.data.task_config import read_spec
from hlvbench.errors import TaskError
from hlvbench.text import norm
from hlvbench.types import Annotation, Task

SMALL = (42, 14, 14)


def scene() -> Scene:
    """Number agrees (2), agent is open (1), place conflicts (0): level 3, support 1/2."""
    context = {"number": "three", "agent": "nurses", "place": "in the garden"}
    statement = {"number": "three", "agent": "people", "place": "at the market"}
    return Scene("Monday", "painted", "boat", context, statement)


def by_item(task: Task) -> dict[str, dict[str, Annotation]]:
    found: dict[str, dict[str, Annotation]] = {}
    for record in task.records:
        found.setdefault(record.item, {})[record.annotator] = record
    return found


def opening_shares(task: Task, annotator: str) -> Counter[str]:
    """How often each opening of the first four annotators begins this annotator's explanations."""
    texts = [r.explanation.lower() for r in task.records if r.annotator == annotator]
    openings = [p.opening.lower() for p in annotator_profiles(len(task.annotators))]
    return Counter({o: sum(t.startswith(o) for t in texts) / len(texts) for o in openings})


def test_equal_arguments_make_equal_tasks_and_another_seed_another_task():
    assert synthetic_task(sizes=SMALL) == synthetic_task(sizes=SMALL)
    assert synthetic_task(sizes=SMALL).items != synthetic_task(sizes=SMALL, seed=1).items


def test_a_known_seed_makes_known_texts_on_every_machine():
    first = synthetic_task().items["1"]
    assert dict(first.text) == {
        "context": "On Sunday six nurses covered the cupboard at the museum.",
        "statement": "Near the castle six nurses covered the cupboard.",
    }


def test_the_splits_have_the_sizes_asked_and_share_no_text():
    task = synthetic_task(sizes=(300, 60, 100))
    assert [len(ids) for ids in task.splits.values()] == [300, 60, 100]
    # clusters joins items that share any input text: none does
    assert all(len(group) == 1 for group in clusters(list(task.items.values())))


def test_every_annotator_answers_every_question_with_an_allowed_label():
    task = synthetic_task(5, SMALL)
    assert len(task.records) == 5 * sum(SMALL)
    assert {r.label for r in task.records} == set(LABELS)
    assert task.scored_annotators == ("Ann1", "Ann2", "Ann3", "Ann4", "Ann5")


def test_a_scene_says_its_facts_and_counts_their_agreement():
    assert scene().text == {
        "context": "On Monday three nurses painted the boat in the garden.",
        "statement": "At the market three people painted the boat.",
    }
    assert scene().level == 3  # 2 + 1 + 0


@given(level=st.integers(0, LEVELS - 1), seed=st.integers(0, 10**6))
def test_a_drawn_scene_has_the_level_asked_for(level, seed):
    assert draw_scene(level, seeded(seed)).level == level


def test_thresholds_decide_at_the_support_by_hand():
    lenient = replace(annotator_profiles(1)[0], low=0.25, high=0.5)
    strict = replace(lenient, low=0.6, high=0.9)
    # level 3 is a support of .5: at least .5, but below .6
    assert (decide(3, lenient), decide(3, strict)) == ("entailment", "contradiction")
    # scores: middle .375, gap .25, 4 * (.5 - .375) / .25 = 2; middle .75, gap .3, 4 * (.5 - .75) / .3 = -3.33
    assert (decide(3, lenient, "ordinal"), decide(3, strict, "ordinal")) == (2, -3)


def test_annotators_disagree_exactly_as_often_as_their_thresholds_declare():
    # every split holds the 7 levels in equal numbers, so the rates are exact, not estimates
    task = synthetic_task(6, (140, 70, 70))
    levels = [[decide(level, profile) for level in range(LEVELS)] for profile in annotator_profiles(6)]
    labels = dict(zip(task.annotators, levels, strict=True))
    for split, size in (("train", 140), ("test", 70)):
        for a, b in combinations(task.annotators, 2):
            pairs = zip(task.records_of(split, a), task.records_of(split, b), strict=True)
            differing = sum(x != y for x, y in zip(labels[a], labels[b], strict=True))
            assert sum(x.label != y.label for x, y in pairs) == size // LEVELS * differing


def test_the_first_64_annotators_all_write_in_their_own_way():
    styles = {replace(p, low=0.0, high=1.0, facts=()) for p in annotator_profiles(64)}
    assert len(styles) == 64
    assert annotator_profiles(64)[:4] == annotator_profiles(4)  # the same people however many there are


def test_at_distance_0_no_text_tells_its_writer():
    # the record is drawn from the same mixture for everybody: shares of openings differ by sampling alone
    # (301 texts: standard error of a share of 1/4 is .025, five of them .125)
    task = synthetic_task(4, (301, 0, 0), style_distance=0.0)
    for annotator in task.annotators:
        assert all(abs(share - 0.25) < 0.125 for share in opening_shares(task, annotator).values())


@pytest.mark.parametrize("distance", [0.25, 0.5, 1.0])
def test_the_share_of_an_annotators_own_style_is_the_distance_plus_his_share_of_the_mixture(distance):
    # own opening: d + (1 - d) / 4, the others (1 - d) / 4; five standard errors of 301 texts are at most .145
    task = synthetic_task(4, (301, 0, 0), style_distance=distance)
    for annotator, profile in zip(task.annotators, annotator_profiles(4), strict=True):
        shares = opening_shares(task, annotator)
        for opening, share in shares.items():
            own = distance if opening == profile.opening.lower() else 0.0
            assert share == pytest.approx(own + (1 - distance) / 4, abs=0.145 if distance < 1 else 1e-9)


@pytest.mark.parametrize("distance", [0.0, 1.0])
def test_the_distance_decides_which_facts_are_spoken_of(distance):
    # Ann1 speaks of the number first, Ann2 of the agent, Ann3 of the place
    task = synthetic_task(3, (105, 0, 0), style_distance=distance)
    facts = {a: profile.facts[0] for a, profile in zip(task.annotators, annotator_profiles(3), strict=True)}
    assert set(facts.values()) == set(FACTS)
    own = Counter[str]()
    for record in task.records:
        words = norm(task.items[record.item].text["context"])
        said = norm(record.explanation)
        own[facts[record.annotator]] += any(w in said and norm(w) in words for w in FACTS[facts[record.annotator]])
    if distance == 1:
        assert own == Counter(dict.fromkeys(FACTS, 105))
    else:
        # a third of the texts have the own fact first, others name it in passing; five standard errors are .23
        assert all(1 / 3 - 0.23 < own[fact] / 105 < 0.9 for fact in FACTS)


def test_every_explanation_holds_a_word_of_its_item():
    task = synthetic_task(8, SMALL)
    words = {norm(w) for values in FACTS.values() for w in values}
    for record in task.records:
        item = norm(task.items[record.item].joined)
        assert any(w in norm(record.explanation) and w in item for w in words), record.explanation


def test_an_explanation_follows_its_style():
    plain, quoting = annotator_profiles(2)
    assert explain(scene(), "neutral", plain, ("number",), seeded(0)).startswith("I see that")
    quoted = explain(scene(), "neutral", replace(quoting, lower=True, period=True), ("place",), seeded(0))
    assert quoted.startswith('clearly, for the boat "in the garden"')
    assert '"at the market"' in quoted
    assert quoted.endswith(".")


def test_the_ordinal_variant_gives_scores_of_the_range():
    task = synthetic_task(4, SMALL, kind="ordinal")
    scores = {r.label for r in task.records}
    assert task.labels == SCORES
    assert scores <= set(SCORES)
    assert len(scores) > 5


def test_per_item_draws_that_many_annotators_and_everyone_in_the_end():
    task = synthetic_task(16, (84, 7, 7), per_item=3)
    assert {len(found) for found in by_item(task).values()} == {3}
    assert {r.annotator for r in task.records} == set(task.annotators)


@settings(max_examples=20, deadline=None)
@given(count=st.integers(2, 40), distance=st.floats(0, 1), seed=st.integers(0, 1000))
def test_any_sensible_options_make_a_sound_task(count, distance, seed):
    task = synthetic_task(count, (7, 7, 7), style_distance=distance, seed=seed)
    assert len(task.questions("test")) == 7 * count
    assert all(r.explanation == r.explanation.strip() != "" for r in task.records)


def folder_with(tmp_path: Path, options: str) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "task.toml").write_text(f"""
name = "mine"
version = "1"
source = "synthetic"
kind = "nominal"
labels = ["neutral", "entailment", "contradiction"]
instruction = "Decide."
{options}
fields = {{ context = "Context", statement = "Statement" }}
""")
    return folder


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("annotators = 1", "annotators: Input should be greater than or equal to 2, got 1"),
        ("style_distance = 1.5", "style_distance: Input should be less than or equal to 1, got 1.5"),
        ("style_distance = -0.1", "style_distance: Input should be greater than or equal to 0, got -0.1"),
        ("style_distance = nan", "style_distance: "),
        ("sizes = [1, 2]", "sizes: 2: "),
        ("sizes = [1, 2, -1]", "sizes: 2: Input should be greater than or equal to 0, got -1"),
        ("per_item = 0", "per_item: Input should be greater than 0, got 0"),
        ("per_item = 9", "per_item: at most the 4 annotators, got 9"),
        ("content_distance = 0.5", "content_distance: unknown key"),
    ],
)
def test_options_that_make_no_sense_are_named(tmp_path, options, named):
    with pytest.raises(TaskError) as caught:
        load(read_spec(folder_with(tmp_path, options)), None)
    assert named in str(caught.value)


def test_more_items_than_there_are_texts_is_an_error():
    class Everything(set):
        def isdisjoint(self, other):
            return False

    with pytest.raises(TaskError, match="fewer items"):
        draw_scenes(7, seeded(0), Everything())


def spec(**options: object) -> Spec:
    return Spec(
        folder=Path("mine"), source="synthetic", kind="nominal", labels=LABELS, name="mine", version="1",
        instruction="Decide.", fields=FIELDS, **options,
    )  # fmt: skip


def test_load_gives_the_same_items_as_the_function_and_a_hash_that_follows_the_options():
    source = load(spec(annotators=3, sizes=[14, 7, 7], seed=2), None)
    task = synthetic_task(3, (14, 7, 7), seed=2)
    assert {item.id: item for item in source.items} == task.items
    assert tuple(source.records) == task.records
    assert source.splits == task.splits
    assert source.sha256 != load(spec(annotators=3, sizes=[14, 7, 7], seed=3), None).sha256


def test_all_wrong_options_are_reported_at_once(tmp_path):
    folder = folder_with(tmp_path, 'annotators = "four"\nsizes = [1, "2"]\nstyle_distance = true\nper_item = 0')
    with pytest.raises(TaskError) as caught:
        read_spec(folder)
    for place in ("8: annotators: ", "9: sizes: 1: ", "9: sizes: 2: ", "10: style_distance: ", "11: per_item: "):
        assert f"task.toml:{place}" in str(caught.value)


def test_labels_and_fields_are_those_of_the_source():
    wrong = spec().model_copy(update={"labels": ("yes", "no"), "fields": {"text": "Text"}})
    with pytest.raises(TaskError, match=r"(?s)labels: .*neutral, entailment, contradiction.*fields: .*got text"):
        load(wrong, None)
