"""Grounding by hand, against scipy's ranks, and on the real data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hlvbench.bootstrap import every_item_once, item_draws, seeded
from hlvbench.metrics import Answers, bind
from hlvbench.metrics.grounding import chance_rank, mid_rank, reciprocal_ranks
from hlvbench.types import Annotation, Item, Pair, Task
from tests.toy import ToyEmbedder, toy_task


def _people(task: Task, limit: int | None = None) -> Answers:
    return Answers(task, "test", {p: task.by_pair[p][0] for p in task.questions("test")}, ToyEmbedder(), limit)


def _saying(answers: Answers, text: str) -> Answers:
    given = {p: replace(a, explanation=text) for p, a in answers.predictions.items()}
    return replace(answers, predictions=given)


def test_mid_ranks_equal_scipy() -> None:
    from scipy.stats import rankdata

    rng = np.random.default_rng(0)
    similarities = rng.integers(0, 6, (30, 12)).astype(float)
    own = rng.integers(0, 12, 30)
    expected = rankdata(-similarities, axis=1)[np.arange(30), own]
    assert (mid_rank(similarities, own) == expected).all()


def test_chance_by_hand() -> None:
    assert chance_rank(3) == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    # the mean over all places that the own input can take in a random order
    assert chance_rank(100) == pytest.approx(np.mean([1 / r for r in range(1, 101)]))


def test_an_empty_text_ranks_in_the_middle_and_a_missing_answer_scores_zero() -> None:
    people = _people(toy_task())
    assert reciprocal_ranks(_saying(people, "")) == pytest.approx(np.full(80, 1 / 10.5))
    nobody = replace(people, predictions={})
    assert (reciprocal_ranks(nobody) == 0).all()
    assert bind("grounding_skill")(nobody, every_item_once(20)).overall[0] == 0.0


def test_an_echo_of_the_input_ranks_first() -> None:
    people = _people(toy_task())
    given = {p: replace(a, explanation=people.task.items[p[0]].joined) for p, a in people.predictions.items()}
    echo = replace(people, predictions=given)
    assert (reciprocal_ranks(echo) == 1).all()
    assert bind("grounding_skill")(echo, every_item_once(20)).overall[0] == 1.0


def test_items_with_one_and_the_same_input_tie() -> None:
    task = toy_task(items=(5, 5, 6))
    first, second = task.splits["test"][:2]
    items = {**task.items, second: Item(second, task.items[first].text)}
    twins = replace(task, items=items)
    people = _people(twins)
    given = {p: replace(a, explanation=twins.items[p[0]].joined) for p, a in people.predictions.items()}
    ranks = reciprocal_ranks(replace(people, predictions=given))
    # the twins share ranks 1 and 2
    assert ranks == pytest.approx([1 / 1.5] * 8 + [1.0] * 16)


def test_candidates_are_the_inputs_of_the_whole_split_whatever_the_limit() -> None:
    task = toy_task()
    whole, few = _people(task), _people(task, limit=3)
    assert len(few.questions) == 12
    assert (reciprocal_ranks(few) == reciprocal_ranks(whole)[:12]).all()
    found = bind("grounding")(few, every_item_once(3))
    assert found.floor is not None
    assert found.floor[0] == pytest.approx(chance_rank(20))


def test_skill_is_a_ratio_of_means_recomputed_on_every_list() -> None:
    task = toy_task(absent=0.2)
    people = _people(task)
    mixed = {
        p: replace(a, explanation="" if n % 2 else a.explanation) for n, (p, a) in enumerate(people.predictions.items())
    }
    system = replace(people, predictions=mixed)
    draws = item_draws(system.items, "toy@1", "test", replicates=12)
    found = bind("grounding_skill")(system, draws).overall
    rows, columns = system.cells
    chance = chance_rank(20)
    for r, positions in enumerate(draws.lists):
        means = []
        for answers in (system, people):
            ranks = reciprocal_ranks(answers)
            cells = [
                [ranks[q] for i in positions for q in np.flatnonzero((rows == i) & (columns == k))] for k in range(4)
            ]
            means.append(np.mean([np.mean(c) for c in cells]) - chance)
        assert found[r] == pytest.approx(min(1.0, max(0.0, means[0] / means[1])))
        assert 0.0 < found[r] < 1.0


def test_people_have_skill_one_and_mute_people_give_no_skill_but_a_note() -> None:
    people = _people(toy_task())
    once = every_item_once(20)
    found = bind("grounding_skill")(people, once)
    assert found.overall[0] == 1.0
    assert found.by_annotator is not None
    assert (found.by_annotator == 1.0).all()
    mute = replace(people.task, records=tuple(replace(r, explanation="") for r in people.task.records))
    silent = Answers(mute, "test", {p: mute.by_pair[p][0] for p in mute.questions("test")}, ToyEmbedder())
    none = bind("grounding_skill")(silent, once)
    assert np.isnan(none.overall[0])
    assert none.note == "no annotator explains these questions"
    # texts without a word: 20 equal candidates, and 1 / 10.5 = .095 is below chance, .180
    wordless = replace(people.task, records=tuple(replace(r, explanation="…") for r in people.task.records))
    said = Answers(wordless, "test", {p: wordless.by_pair[p][0] for p in wordless.questions("test")}, ToyEmbedder())
    none = bind("grounding_skill", view="norm")(said, once)
    assert np.isnan(none.overall[0])
    assert "chance" in none.note


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "human", "other", "nearest", "random_own"),
    [("varierr", 0.861, 0.875, 0.400, 0.043), ("r2", 0.450, 0.450, 0.237, 0.054)],
)
def test_the_figures_of_the_definitions_on_the_real_data(
    data_dir: Path, name: str, human: float, other: float, nearest: float, random_own: float
) -> None:
    """docs/metrics.md section 5, raw view, within .02."""
    from hlvbench.data.task import load_task
    from hlvbench.embeddings import load_embedder

    task, embedder = load_task(name, data_dir=data_dir), load_embedder()
    asked = task.questions("test")
    train = {a: task.records_of("train", a) for a in task.annotators}
    inputs = {a: embedder.encode([task.items[r.item].joined for r in train[a]]) for a in task.annotators}

    def of_other(pair: Pair) -> Annotation | None:
        at = task.annotators.index(pair[1])
        following = [task.annotators[(at + d) % 4] for d in (1, 2, 3)]
        return next((task.by_pair[pair[0], a][0] for a in following if (pair[0], a) in task.by_pair), None)

    def of_nearest(pair: Pair) -> Annotation:
        similarities = inputs[pair[1]] @ embedder.encode([task.items[pair[0]].joined])[0]
        return train[pair[1]][int(similarities.argmax())]

    def of_random(pair: Pair) -> Annotation:
        return train[pair[1]][int(seeded("random own", *pair).integers(len(train[pair[1]])))]

    systems = {
        human: lambda pair: task.by_pair[pair][0], other: of_other, nearest: of_nearest, random_own: of_random
    }  # fmt: skip
    for expected, system in systems.items():
        given = {p: found for p in asked if (found := system(p))}
        answers = Answers(task, "test", given, embedder)
        assert bind("grounding")(answers, every_item_once(100)).overall[0] == pytest.approx(expected, abs=0.02)
