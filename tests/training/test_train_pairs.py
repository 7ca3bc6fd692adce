from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlvbench.bootstrap import clusters
from hlvbench.text import norm
from hlvbench.training.pairs import pair_counts, preferences
from hlvbench.training.training_config import Config
from hlvbench.types import Annotation, Item, Task
from tests.toy import ToyEmbedder, toy_task


def small(kind: str, rows: list[tuple[str, str, object, str]], texts: dict[str, str] | None = None) -> Task:
    """A task whose train records are these (item, annotator, label, explanation)."""
    task = toy_task(kind, annotators=3, items=(3, 1, 1))
    items = tuple(dict.fromkeys(row[0] for row in rows))
    made = {
        i: Item(i, {"premise": (texts or {}).get(i, f"premise of {i}"), "hypothesis": f"hypothesis {i}"}) for i in items
    }
    records = tuple(Annotation(i, a, y, x) for i, a, y, x in rows)  # type: ignore[arg-type]
    return dataclasses.replace(task, items=made, records=records, splits={"train": items, "dev": (), "test": ()})


NLI = small("nominal", [
    ("i", "Ann1", "neutral", "mine"), ("i", "Ann2", "neutral", "theirs"), ("i", "Ann3", "entailment", "other label"),
    ("j", "Ann1", "neutral", "first"), ("j", "Ann1", "entailment", "second"), ("j", "Ann3", "entailment", "third"),
    ("k", "Ann2", "neutral", "alone"),
])  # fmt: skip


def policy(**options: Any) -> Config:
    return Config("capo", "m", **options)


def found(task: Task, annotator: str, **options: Any) -> list[tuple[str, str, str, str]]:
    pairs = preferences(task, annotator, policy(**options), embedder=ToyEmbedder())
    return [(p.chosen.item, p.chosen.explanation, p.rejected.annotator, p.rejected.explanation) for p in pairs]


def test_the_conservative_policy_sets_equal_labels_against_each_other() -> None:
    assert found(NLI, "Ann1") == [("i", "mine", "Ann2", "theirs"), ("j", "second", "Ann3", "third")]
    assert found(NLI, "Ann1", pairs="equal") == found(NLI, "Ann1")


def test_all_labels_make_a_pair_with_every_record_of_the_item() -> None:
    assert found(NLI, "Ann1", pairs="all") == [
        ("i", "mine", "Ann2", "theirs"), ("i", "mine", "Ann3", "other label"),
        ("j", "first", "Ann3", "third"), ("j", "second", "Ann3", "third"),
    ]  # fmt: skip
    assert found(NLI, "Ann2") == [("i", "theirs", "Ann1", "mine")]


def test_scores_may_be_tau_apart() -> None:
    task = small("ordinal", [("i", "Ann1", 3, "a"), ("i", "Ann2", 4, "b"), ("i", "Ann3", 1, "c")])
    assert [row[2] for row in found(task, "Ann1")] == ["Ann2"]
    assert [row[2] for row in found(task, "Ann1", tau=2)] == ["Ann2", "Ann3"]
    assert found(task, "Ann1", tau=0) == found(task, "Ann1", pairs="equal") == []


def test_an_equal_or_empty_text_is_no_preference() -> None:
    task = small("nominal", [
        ("i", "Ann1", "neutral", "The same."), ("i", "Ann2", "neutral", " the same"), ("i", "Ann3", "neutral", " "),
    ])  # fmt: skip
    assert found(task, "Ann1") == []


def test_a_cap_draws_by_seed_and_keeps_the_order() -> None:
    task = toy_task(annotators=6, items=(20, 1, 1))
    every, capped = found(task, "Ann1", pairs="all"), found(task, "Ann1", pairs="all", per_item=2)
    by_item = {i: [row for row in capped if row[0] == i] for i in task.splits["train"]}
    assert {len(rows) for rows in by_item.values()} == {2}
    assert [row for row in every if row in capped] == capped
    assert found(task, "Ann1", pairs="all", per_item=2, seed=1) != capped
    assert found(task, "Ann1", pairs="all", per_item=2) == capped


def test_only_the_items_asked_for_are_used() -> None:
    pairs = preferences(NLI, "Ann1", policy(pairs="all"), items=("j",))
    assert {p.chosen.item for p in pairs} == {p.rejected.item for p in pairs} == {"j"}


def test_nearest_items_by_hand() -> None:
    # the toy embedding counts shared words: "dog runs red" is nearest to "dog runs blue", then to "tree sings";
    # item `twin` shares its premise with the target's item, which makes it the same item in all but name
    task = small("nominal", [
        ("i", "Ann1", "neutral", "mine"), ("near", "Ann2", "neutral", "near text"),
        ("far", "Ann2", "neutral", "far text"),
        ("near", "Ann3", "entailment", "wrong label"), ("far", "Ann3", "neutral", "far third"),
        ("twin", "Ann2", "neutral", "twin text"),
    ], {"i": "dog runs red", "near": "dog runs blue", "far": "tree sings old", "twin": "dog runs red"})  # fmt: skip
    assert found(task, "Ann1", rejected="nearest") == [
        ("i", "mine", "Ann2", "near text"),
        ("i", "mine", "Ann3", "far third"),
    ]
    assert len(found(task, "Ann1", rejected="nearest", neighbours=2)) == 3
    # with the label free, Ann3's nearest is the one about the near item
    assert ("i", "mine", "Ann3", "wrong label") in found(task, "Ann1", rejected="nearest", pairs="all")


def test_nearest_needs_an_embedder() -> None:
    with pytest.raises(ValueError, match="embedder"):
        preferences(NLI, "Ann1", policy(rejected="nearest"))


def test_pair_counts_say_who_wrote_the_rejected_texts() -> None:
    assert pair_counts(preferences(NLI, "Ann1", policy(pairs="all"))) == {"Ann2": 1, "Ann3": 3}


@given(
    st.sampled_from(["nominal", "ordinal"]), st.integers(0, 3), st.sampled_from(["near", "equal", "all"]),
    st.integers(0, 3), st.sampled_from(["same", "nearest"]), st.sampled_from([None, 1, 2]),
)  # fmt: skip
def test_every_pair_keeps_the_promise_of_its_policy(
    kind: str, seed: int, labels: str, tau: int, source: str, per_item: int | None
) -> None:
    task = toy_task(kind, items=(8, 2, 2), seed=seed, absent=0.2, doubles=0.2)
    settings = policy(pairs=labels, tau=tau, per_item=per_item, rejected=source, seed=seed)
    train = [task.items[i] for i in task.splits["train"]]
    cluster = {train[p].id: n for n, group in enumerate(clusters(train)) for p in group}
    for annotator in task.annotators:
        pairs = preferences(task, annotator, settings, embedder=ToyEmbedder())
        for pair in pairs:
            assert pair.chosen.annotator == annotator != pair.rejected.annotator
            assert pair.chosen in task.records_of("train", annotator)
            assert pair.rejected in task.records_of("train")
            assert norm(pair.chosen.explanation) != norm(pair.rejected.explanation)
            same = cluster[pair.chosen.item] == cluster[pair.rejected.item]
            assert same == (source == "same")
            if labels == "equal" or (labels == "near" and kind == "nominal"):
                assert pair.chosen.label == pair.rejected.label
            elif labels == "near":
                assert abs(int(pair.chosen.label) - int(pair.rejected.label)) <= tau
        counts = {i: sum(p.chosen.item == i for p in pairs) for i in task.splits["train"]}
        assert per_item is None or max(counts.values()) <= per_item
