"""Imitation of one answer with the content held fixed (docs/metrics.md section 6b)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlvbench.bootstrap import Draws, every_item_once, item_draws, seeded
from hlvbench.errors import MetricError
from hlvbench.metrics import bind, parse_metric
from hlvbench.metrics.own_gain import own_gain
from hlvbench.metrics.own_match import own_match, own_match_skill
from hlvbench.metrics.predictions import Answers
from hlvbench.types import Annotation, Item, Pair, Task

from ..toy import NLI, ToyEmbedder, toy_task

TOY = ToyEmbedder()
COMPASS = {"east": (1.0, 0.0), "north": (0.0, 1.0), "northeast": (0.8, 0.6), "": (0.0, 0.0)}
# item 1: A says east, B north; item 2: A says north, B east
COMPASS_RECORDS = (("1", "A", "east"), ("1", "B", "north"), ("2", "A", "north"), ("2", "B", "east"))
COMPASS_ANSWERS = {("1", "A"): "northeast", ("1", "B"): "northeast", ("2", "A"): "north", ("2", "B"): "northeast"}


class TableEmbedder:
    name = "table"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([COMPASS[text] for text in texts], dtype=np.float32).reshape(-1, 2)

    def bertscore(self, candidates: Sequence[str], references: Sequence[str], model: str, layer: int) -> np.ndarray:
        raise NotImplementedError


def compass_task(records: Sequence[tuple[str, str, str]] = COMPASS_RECORDS) -> Task:
    items = {i: Item(i, {"text": f"input {i}"}) for i in sorted({r[0] for r in records})}
    return Task(
        name="compass", version="1", kind="nominal", labels=("x",), priority=("x",), instruction="",
        fields={"text": "T"},
        annotators=tuple(sorted({r[1] for r in records})), items=items,
        records=tuple(Annotation(i, a, "x", text) for i, a, text in records),
        splits={"train": (), "dev": (), "test": tuple(items)}, min_records=1,
    )  # fmt: skip


def compass(
    answers: Mapping[Pair, str] = COMPASS_ANSWERS, records: Sequence[tuple[str, str, str]] = COMPASS_RECORDS
) -> Answers:
    given = {pair: Annotation(*pair, "x", text) for pair, text in answers.items()}
    return Answers(compass_task(records), "test", given, TableEmbedder())


def once(answers: Answers) -> Draws:
    return every_item_once(len(answers.items))


def human(task: Task) -> Answers:
    return Answers(task, "test", {}, TOY).human


def system(task: Task, texts: Mapping[Pair, str]) -> Answers:
    """Answers with these texts and the labels that the annotators gave."""
    given = {p: Annotation(*p, task.by_pair[p][0].label, text) for p, text in texts.items()}
    return Answers(task, "test", given, TOY)


def scrambled(task: Task, share: float = 1.0) -> dict[Pair, str]:
    """Own texts, a share of them replaced by the same annotator's text of another item."""
    questions = task.questions("test")
    own = {p: task.by_pair[p][0].explanation for p in questions}
    order = seeded("scramble").permutation(len(questions))
    for q in order[: round(share * len(order))]:
        pool = [p for p in questions if p[1] == questions[q][1] and p != questions[q]]
        own[questions[q]] = task.by_pair[pool[int(seeded("pick", q).integers(len(pool)))]][0].explanation
    return own


def test_own_match_of_two_items_and_two_annotators_by_hand() -> None:
    # similarities (own, other): 1A .8 .6 hit; 1B .6 .8 miss; 2A 1 0 hit; 2B .8 .6 hit
    answers = compass()
    hits = own_match(answers, once(answers), embed="table")
    assert hits.overall == pytest.approx(3 / 4)
    np.testing.assert_allclose(hits.by_annotator, [[1.0, 0.5]])
    # (3 - 4/2) / (4 - 4/2)
    assert own_match_skill(answers, once(answers), embed="table").overall == pytest.approx(0.5)


def test_the_shuffle_floor_by_hand() -> None:
    # moved: A's north at item 1: own 0, other 1: miss; A's northeast at item 2: own .6, other .8: miss;
    # B's northeast (of 2) at item 1: own .6, other .8: miss; B's northeast (of 1) at item 2: own .8, other .6: hit
    answers = compass()
    hits = own_match(answers, once(answers), embed="table")
    assert hits.floor == pytest.approx(1 / 4)
    np.testing.assert_allclose(hits.floor_by_annotator, [[0.0, 0.5]])
    assert own_match_skill(answers, once(answers), embed="table").floor == pytest.approx((1 - 2) / (4 - 2))


def test_own_gain_by_hand() -> None:
    # D in place: 1A .2, 1B -.2, 2A 1, 2B .2; moved to the place: 1A -1, 1B -.2, 2A -.2, 2B .2
    # G = ((.2+1) + (-.2+.2) + (1+.2) + (.2-.2)) / 4 = .6; people: 1 in place, -1 moved: G = 2
    answers = compass()
    found = own_gain(answers, once(answers), embed="table")
    assert found.overall == pytest.approx(0.6 / 2)
    np.testing.assert_allclose(found.by_annotator, [[1.2 / 2, 0.0]], atol=1e-7)


def test_own_gain_with_two_labels_by_hand() -> None:
    """Items 1, 2, 3: A says east, north, east and B the opposite, both with the labels x, x, y.

    The system answers for A northeast x, north x, east y and for B nothing. D of an answer at items 1 and 3 is east
    less north, at item 2 north less east. In place .2, 1, 1. Moved, same label: north at 1 is -1, northeast at 2
    -.2; the only y is compared with all others, northeast and north at 3: (.2 - 1) / 2 = -.4. Gains 1.2, 1.2, 1.4,
    for B 0: G = 3.8 / 6. People, per annotator: 1 + 1, 1 + 1, 1 - (1 - 1) / 2: G = 2 · 5 / 6.
    within=all: .2 - (-1 + 1) / 2, 1 + (.2 + 1) / 2, 1 + .4: 3.2; people 1, 2, 1 each: 8.
    """
    said = {"1": "east", "2": "north", "3": "east"}
    opposite = {"east": "north", "north": "east"}
    label = {"1": "x", "2": "x", "3": "y"}
    records = [Annotation(i, "A", label[i], t) for i, t in said.items()]
    records += [Annotation(i, "B", label[i], opposite[t]) for i, t in said.items()]
    task = dataclasses.replace(
        compass_task([(r.item, r.annotator, r.explanation) for r in records]),
        records=tuple(records), labels=("x", "y"), priority=("x", "y"),
    )  # fmt: skip
    texts = {"1": "northeast", "2": "north", "3": "east"}
    answers = Answers(
        task, "test", {(i, "A"): Annotation(i, "A", label[i], t) for i, t in texts.items()}, TableEmbedder()
    )
    found = own_gain(answers, once(answers), embed="table")
    assert found.overall == pytest.approx(3.8 / 10)
    np.testing.assert_allclose(found.by_annotator, [[3.8 / 5, 0.0]], atol=1e-7)
    assert own_gain(answers, once(answers), within="all", embed="table").overall == pytest.approx(3.2 / 8)


def test_ties_share_the_hit() -> None:
    records = (("1", "A", "east"), ("1", "B", "east"), ("1", "C", "north"))
    answers = compass({("1", a): "east" for a in "ABC"}, records)
    # A and B share one hit each, C has none: 1/2 + 1/2 + 0 of 3
    assert own_match(answers, once(answers), embed="table").overall == pytest.approx(1 / 3)


def test_of_two_records_of_a_person_the_nearer_counts_on_both_sides() -> None:
    records = (("1", "A", "north"), ("1", "A", "east"), ("1", "B", "northeast"))
    answers = compass({("1", "A"): "east", ("1", "B"): "east"}, records)
    # A: own east 1 beats .8; B: own .8 loses to A's east
    np.testing.assert_allclose(own_match(answers, once(answers), embed="table").by_annotator, [[1.0, 0.0]])


def test_a_missing_answer_has_no_hit_and_an_empty_one_shares_it_by_tie() -> None:
    given = {("1", "A"): "", ("2", "A"): ""}
    answers = compass(given)
    np.testing.assert_allclose(own_match(answers, once(answers), embed="table").by_annotator, [[0.5, 0.0]])
    assert own_gain(answers, once(answers), embed="table").overall == pytest.approx(0.0)


def test_items_with_one_annotator_are_left_out_and_counted() -> None:
    records = (*COMPASS_RECORDS, ("3", "A", "east"))
    answers = compass({**COMPASS_ANSWERS, ("3", "A"): "east"}, records)
    for name in (own_match, own_match_skill, own_gain):
        found = name(answers, once(answers), embed="table")
        assert found.note == "1 items with one annotator left out"
        assert found.n_by_annotator == (2, 2)
    assert own_gain(answers, once(answers), embed="table").overall == pytest.approx(0.3)


def test_one_annotator_alone_gives_no_value_and_a_note() -> None:
    answers = compass({("1", "A"): "east"}, (("1", "A", "east"), ("2", "A", "north")))
    for name in (own_match, own_match_skill, own_gain):
        found = name(answers, once(answers), embed="table")
        assert np.isnan(found.overall).all()
        assert found.note.startswith("needs items with two annotators, none given")


def test_one_item_has_a_match_but_no_gain_and_no_floor() -> None:
    records = COMPASS_RECORDS[:2]
    answers = compass({("1", "A"): "east", ("1", "B"): "north"}, records)
    found = own_match(answers, once(answers), embed="table")
    assert found.overall == pytest.approx(1.0)
    assert np.isnan(found.floor).all()
    gain = own_gain(answers, once(answers), embed="table")
    assert np.isnan(gain.overall).all()
    assert gain.note == "needs two items with two annotators"


def test_people_who_write_alike_leave_nothing_to_gain_and_the_note_says_so() -> None:
    records = tuple((i, a, "east") for i, a, _ in COMPASS_RECORDS)
    found = own_gain(compass(records=records), every_item_once(2), embed="table")
    assert np.isnan(found.overall).all()
    assert found.note.startswith("not enough")
    assert all(note.startswith("not enough") for note in found.notes or ())


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 50), count=st.integers(2, 6), sim=st.sampled_from(["embed", "chargram"]))
def test_blind_constant_and_echo_gain_nothing_and_people_everything(seed: int, count: int, sim: str) -> None:
    task = toy_task(seed=seed, annotators=count, doubles=0.1, items=(12, 0, 12))
    questions = task.questions("test")
    constant = system(task, {p: task.records_of("train", p[1])[0].explanation for p in questions})
    echo = system(task, {p: task.items[p[0]].joined for p in questions})
    for answers in (human(task).blind, constant, echo):
        draws = item_draws(answers.items, "toy@1", "test", replicates=3)
        for lists in (once(answers), draws):
            found = own_gain(answers, lists, sim=sim, within="all", embed="toy")
            np.testing.assert_allclose(found.overall, 0.0, atol=1e-9)
    echo = Answers(task, "test", {p: dataclasses.replace(a, label=NLI[0]) for p, a in echo.predictions.items()}, TOY)
    for answers in (constant, echo):
        found = own_gain(answers, once(answers), sim=sim, embed="toy")
        np.testing.assert_allclose(found.overall, 0.0, atol=1e-9)
    blind = human(task).blind
    np.testing.assert_allclose(own_match_skill(blind, once(blind), sim=sim, embed="toy").overall, 0.0, atol=1e-9)
    own = human(task)
    np.testing.assert_allclose(own_gain(own, once(own), sim=sim, embed="toy").overall, 1.0)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), sim=st.sampled_from(["embed", "chargram"]))
def test_a_text_chosen_by_annotator_and_label_alone_gains_nothing(seed: int, sim: str) -> None:
    task = toy_task(absent=0.2, doubles=0.2)
    rng = seeded("labels", seed)
    given: dict[Pair, Annotation] = {}
    for annotator in task.annotators:
        own = [p for p in task.questions("test") if p[1] == annotator]
        # every label twice or more: the second half of the answers has the labels of the first
        half = [task.labels[k] for k in rng.integers(0, 3, (len(own) + 1) // 2)]
        for pair, label in zip(own, [*half, *half], strict=False):
            given[pair] = Annotation(*pair, label, f"{annotator} dog {label} cat")
        if len(own) % 2:
            given[own[len(half) - 1]] = given[own[0]]
    answers = Answers(task, "test", given, TOY)
    np.testing.assert_allclose(own_gain(answers, once(answers), sim=sim, embed="toy").by_annotator, 0.0, atol=1e-9)


def test_a_constant_per_annotator_gains_nothing_on_ragged_data_too() -> None:
    task = toy_task(absent=0.3)
    answers = system(task, {p: task.records_of("train", p[1])[0].explanation for p in task.questions("test")})
    found = own_gain(answers, once(answers), embed="toy")
    np.testing.assert_allclose(found.by_annotator, 0.0, atol=1e-9)


def test_the_gain_is_additive_over_answers_so_it_is_linear_in_the_share_of_right_ones() -> None:
    task = toy_task(absent=0.1, items=(10, 0, 40))
    right = {p: task.by_pair[p][0].explanation for p in task.questions("test")}
    wrong = scrambled(task)
    for share in (0.2, 0.5):
        chosen = {p for q, p in enumerate(right) if seeded("half", q).random() < share}
        mixed, rest = ({p: (right if (p in chosen) == flag else wrong)[p] for p in right} for flag in (True, False))
        g = [
            own_gain(a, once(a), embed="toy").overall[0] for a in (system(task, x) for x in (mixed, rest, right, wrong))
        ]
        assert g[0] + g[1] == pytest.approx(g[2] + g[3])


def test_moving_more_answers_to_wrong_items_never_helps() -> None:
    task = toy_task(items=(10, 0, 60))
    for name in (own_gain, own_match_skill):
        scores = []
        for share in (0.0, 0.25, 0.5, 0.75, 1.0):
            answers = system(task, scrambled(task, share))
            scores.append(float(name(answers, once(answers), embed="toy").overall[0]))
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("sim", ["embed", "chargram"])
@pytest.mark.parametrize("within", ["label", "all"])
def test_vectorised_resampling_equals_a_plain_loop_over_the_same_replicates(sim: str, within: str) -> None:
    task = toy_task(absent=0.25, doubles=0.2, items=(20, 0, 12), annotators=3)
    texts = scrambled(task, 0.5)
    answers = system(task, {p: texts[p] for p in list(texts)[2:]})  # two are missing
    draws = item_draws(answers.items, "toy@1", "test", replicates=12)
    similar = _similarity(task, sim)

    def gains_and_hits(who: Answers, positions: Sequence[int]) -> tuple[float, float, float, float]:
        gains, hits, chances, floors = [], [], [], []
        ids = [who.items[p].id for p in positions]
        for a in who.annotators:
            asked = [
                i for i in ids if (i, a) in task.by_pair and sum((i, b) in task.by_pair for b in task.annotators) > 1
            ]
            for i in asked:
                near = {b: i for b in task.annotators if (i, b) in task.by_pair}

                def compare(text: str, i: str = i, a: str = a, near: Mapping[str, str] = near) -> tuple[float, float]:
                    s = {b: max(similar(text, r.explanation) for r in task.by_pair[i, b]) for b in near}
                    best = [b for b in s if s[b] > max(s.values()) - 1e-7]
                    return s[a] - np.mean([s[b] for b in s if b != a]), (a in best) / len(best)

                def answer(item: str, a: str = a) -> tuple[object, str]:
                    found = who.predictions.get((item, a))
                    return (found.label, found.explanation) if found else (None, "")

                label, text = answer(i)
                gain, hit = compare(text)
                others = [answer(j) for j in asked if j != i]
                alike = [text for other, text in others if within == "all" or other == label]
                hits.append(hit if label is not None else 0.0)
                chances.append(1 / len(near))
                if others:
                    gains.append(gain - np.mean([compare(t)[0] for t in alike or [t for _, t in others]]))
                    floors.append(np.mean([compare(t)[1] if other is not None else 0.0 for other, t in others]))
        skill = (sum(hits) - sum(chances)) / (len(hits) - sum(chances))
        return float(np.mean(gains)), float(np.mean(hits)), skill, float(np.mean(floors))

    match, skill = (f(answers, draws, view="raw", sim=sim, embed="toy") for f in (own_match, own_match_skill))
    gain = own_gain(answers, draws, view="raw", sim=sim, within=within, embed="toy")
    for r, positions in enumerate(draws.lists):
        found = gains_and_hits(answers, positions.tolist())
        people = gains_and_hits(answers.human, positions.tolist())
        assert gain.overall[r] == pytest.approx(found[0] / people[0])
        assert match.overall[r] == pytest.approx(found[1])
        assert skill.overall[r] == pytest.approx(found[2])
    floor = gains_and_hits(answers, range(len(answers.items)))[3]
    assert own_match(answers, once(answers), view="raw", sim=sim, embed="toy").floor == pytest.approx(floor)


def test_long_tables_are_cut_and_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    task = toy_task(absent=0.2, doubles=0.2, items=(20, 0, 30))
    found = []
    for cells in (1 << 22, 50):
        for module in ("own_match", "own_gain"):
            monkeypatch.setattr(f"hlvbench.metrics.{module}.CELLS", cells)
        answers = system(task, scrambled(task, 0.5))
        draws = item_draws(answers.items, "toy@1", "test", replicates=5)
        values = [f(answers, draws, sim=s, embed="toy") for f in (own_gain, own_match) for s in ("embed", "chargram")]
        found.append(np.array([(v.overall, *v.by_annotator.T) for v in values if v.by_annotator is not None]))
    np.testing.assert_allclose(*found, rtol=1e-12)


def test_the_shuffle_floor_of_many_answers_moves_some_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    task = toy_task(items=(10, 0, 60))
    full, part = (system(task, scrambled(task, 0.5)) for _ in range(2))
    floor = own_match(full, once(full), embed="toy").floor
    monkeypatch.setattr("hlvbench.metrics.own_match.MOST_MOVED", 30)
    assert own_match(part, once(part), embed="toy").floor == pytest.approx(floor, abs=0.05)


def _similarity(task: Task, sim: str) -> Callable[[str, str], float]:
    """Similarity of two texts of the task, one pair at a time."""
    texts = sorted({"", *(r.explanation for r in task.records)})
    vectors = TOY.encode(texts).astype(float)
    if sim == "chargram":
        from sklearn.feature_extraction.text import TfidfVectorizer

        grams = TfidfVectorizer(analyzer="char", ngram_range=(2, 4), lowercase=False)
        grams.fit([r.explanation for r in task.records_of("train")])
        vectors = grams.transform(texts).toarray()
    row = dict(zip(texts, vectors, strict=True))
    return cache(lambda x, y: float(row[x] @ row[y]))


def test_new_names_for_annotators_and_another_order_of_answers_change_nothing() -> None:
    task = toy_task(absent=0.2)
    texts = scrambled(task, 0.5)
    answers = system(task, texts)
    name = dict(zip(task.annotators, ("Ann3", "Ann1", "Ann4", "Ann2"), strict=True))
    renamed = dataclasses.replace(
        task, records=tuple(dataclasses.replace(r, annotator=name[r.annotator]) for r in task.records)
    )
    moved = system(renamed, {(i, name[a]): x for (i, a), x in reversed(texts.items())})
    columns = [task.annotators.index(name[a]) for a in task.annotators]
    for function in (own_match, own_match_skill, own_gain):
        before, after = (function(x, once(x), embed="toy") for x in (answers, moved))
        assert after.overall == pytest.approx(before.overall)
        np.testing.assert_allclose(after.by_annotator[:, columns], before.by_annotator)


def test_new_names_for_labels_change_nothing() -> None:
    task = toy_task(absent=0.2, doubles=0.1)
    name = dict(zip(task.labels, task.labels[1:] + task.labels[:1], strict=True))
    answers = system(task, scrambled(task, 0.5))
    renamed = dataclasses.replace(
        task, records=tuple(dataclasses.replace(r, label=name[r.label]) for r in task.records),
        priority=tuple(name[label] for label in task.priority),
    )  # fmt: skip
    given = {p: dataclasses.replace(a, label=name[a.label]) for p, a in answers.predictions.items()}
    moved = Answers(renamed, "test", given, TOY)
    before, after = (own_gain(x, once(x), embed="toy").by_annotator for x in (answers, moved))
    np.testing.assert_allclose(after, before)


def test_the_signature_names_view_similarity_and_encoder_and_parses_back() -> None:
    text = "own_gain(view=norm,sim=embed,within=label,embed=minilm-l6@1110a24)"
    assert str(bind("own_gain")) == text
    assert parse_metric(text) == bind("own_gain")
    with pytest.raises(MetricError, match="the encoder at hand is table"):
        own_gain(compass(), every_item_once(2))
