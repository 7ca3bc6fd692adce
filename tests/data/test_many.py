"""Many annotators and many items: what is limited, what stays equal, and that cost follows the answers."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import resource
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlvbench.analysis.annotators import agreement
from hlvbench.bootstrap import Draws, every_item_once, item_draws, seeded
from hlvbench.errors import MetricError, UsageError
from hlvbench.metrics import Answers, bind, bind_for, parse_metric, scorecard
from hlvbench.metrics.c2st import _drawn
from hlvbench.metrics.grounding import chance_rank, reciprocal_ranks
from hlvbench.metrics.group import group_confidence, imitation_score
from hlvbench.metrics.krippendorff import raw_agreement
from hlvbench.metrics.probe import GROUPS, groups_of, own_lists, probe_scores
from hlvbench.metrics.style import wasserstein
from hlvbench.results import annotators_csv
from hlvbench.results.report_sections import spreads
from hlvbench.results.score_report import ScoreReport
from hlvbench.results.scorecard import memory_needed, score_task
from hlvbench.types import Annotation, Task

from ..toy import ToyEmbedder, toy_task

TOY = ToyEmbedder()


def people(task: Task) -> Answers:
    return Answers(task, "test", {}, TOY).human


def once(answers: Answers) -> Draws:
    return every_item_once(len(answers.items))


@pytest.mark.parametrize(
    ("annotators", "chance", "limit"), [(2, 1 / 2, ""), (12, 1 / 12, ""), (60, 1 / 20, "candidates=20,")]
)
def test_a_target_is_told_from_at_most_nineteen_others(annotators: int, chance: float, limit: str) -> None:
    # equal texts have equal probabilities under one probe, which sum to 1 over its classes: their mean is 1/K
    task = toy_task(annotators=annotators, items=(2, 12, 10))
    answers = people(task).blind
    metric = bind_for(task, "group_confidence", embed="toy", m=5)
    assert str(metric) == f"group_confidence(view=norm,reduce=self,fit=dev,{limit}embed=toy)@5"
    assert parse_metric(str(metric)) == metric
    assert metric in scorecard(task, "toy")
    found = metric(answers, once(answers))
    assert found.floor is not None
    assert found.floor_by_annotator is not None
    np.testing.assert_allclose(found.floor_by_annotator, chance)
    np.testing.assert_allclose(found.overall, chance, atol=1e-9)


def test_candidates_are_those_who_share_an_item_and_every_circle_is_full_where_it_can_be() -> None:
    task = toy_task(annotators=45, items=(2, 20, 40), absent=0.6)
    scored = probe_scores(people(task), "norm", "self", 1, "dev", 20)
    by_item = [{a for i, a in task.questions("test") if i == item} for item in task.splits["test"]]
    for k, classes in zip(scored.members, scored.classes, strict=True):
        assert k in classes
        assert len(classes) == 20
        for other in classes:
            assert any({task.annotators[k], task.annotators[other]} <= together for together in by_item)
    # 16 pairs of 40 items share none on average of 1000: nearly everybody, so three circles serve 45 people
    assert 3 <= len(set(scored.classes)) <= 6
    assert scored.groups == 44  # 2,000 / 45


def test_a_target_among_candidates_has_the_value_of_a_task_of_these_alone() -> None:
    task = toy_task(annotators=4, items=(2, 30, 20))
    answers = people(task)
    found = group_confidence(answers, once(answers), reduce="none", candidates=3, embed="toy", m=1)
    assert found.by_annotator is not None
    scored = probe_scores(answers, "norm", "none", 1, "dev", 3)
    for k, classes in zip(scored.members, scored.classes, strict=True):
        names = tuple(task.annotators[c] for c in classes)
        records = tuple(r for r in task.records if r.annotator in names)
        alone = people(dataclasses.replace(task, annotators=names, records=records))
        dense = group_confidence(alone, once(alone), reduce="none", embed="toy", m=1)
        assert dense.by_annotator is not None
        assert found.by_annotator[0, k] == pytest.approx(dense.by_annotator[0, classes.index(k)], abs=1e-9)


@pytest.mark.parametrize("annotators", [2, 12])
def test_candidates_change_nothing_where_there_are_no_more_annotators(annotators: int) -> None:
    task = toy_task(annotators=annotators, items=(2, 15, 15), absent=0.2)
    answers = Answers(task, "test", people(task).blind.predictions, TOY)
    draws = item_draws(answers.items, "toy@1", "test", replicates=4)
    for floor in ("chance", "cross"):
        few, every = (
            imitation_score(answers, draws, floor=floor, candidates=c, embed="toy", m=5)
            for c in (20, 0)  # type: ignore[arg-type]
        )
        np.testing.assert_array_equal(few.by_annotator, every.by_annotator)


def test_one_candidate_is_refused() -> None:
    answers = people(toy_task())
    with pytest.raises(MetricError, match="candidates=1"):
        group_confidence(answers, once(answers), candidates=1, embed="toy", m=1)


def test_lists_cut_to_an_annotator_are_those_of_a_plain_loop() -> None:
    task = toy_task(annotators=12, items=(2, 5, 30), absent=0.5)
    answers = people(task)
    draws = item_draws(answers.items, "toy@1", "test", replicates=5)
    draws = Draws(((0, 1), *draws.groups[2:]), draws.picks % (len(draws.groups) - 1))  # lists of unequal length
    for own, found in zip(answers.own, own_lists(answers, draws), strict=True):
        rows = answers.cells[0][own].tolist()
        plain = [[rows.index(i) for i in positions.tolist() if i in rows] for positions in draws.lists]
        assert found.positions.tolist() == [p for of_list in plain for p in of_list]
        assert found.lengths.tolist() == list(map(len, plain))


@pytest.mark.parametrize(("count", "m"), [(6, 5), (33, 10), (1000, 50)])
def test_groups_are_the_first_of_a_random_order_of_all_positions(count: int, m: int) -> None:
    keys = seeded("groups", 0, m, 3).random((1 << (count - 1).bit_length(), GROUPS))[:count]
    plain = np.argsort(keys, axis=0)[:m].T
    assert np.sort(groups_of(count, m, 3)).tolist() == np.sort(plain).tolist()
    assert groups_of(count, m, 3, 20).tolist() == groups_of(count, m, 3)[:20].tolist()


def test_an_answer_is_ranked_among_its_own_input_and_others_drawn_by_seed() -> None:
    task = toy_task(items=(2, 5, 20))
    answers = people(task)
    found = reciprocal_ranks(answers, "raw", inputs=5)
    ids = task.splits["test"]
    drawn = [ids[n] for n in seeded("grounding", task.name, "test").permutation(20)[:5]]
    vectors = {i: TOY.encode([task.items[i].joined])[0].astype(float) for i in ids}
    for q, (item, _) in enumerate(answers.questions):
        among = drawn if item in drawn else [*drawn[:-1], item]
        text = TOY.encode([answers.texts("raw")[q]])[0].astype(float)
        mine, others = vectors[item] @ text, [vectors[i] @ text for i in among]
        above, equal = sum(o > mine + 1e-9 for o in others), sum(abs(o - mine) <= 1e-9 for o in others)
        assert found[q] == pytest.approx(1 / (above + (equal + 1) / 2), abs=1e-6)
    assert bind("grounding", inputs=5)(answers, once(answers)).floor == pytest.approx(chance_rank(5))


def test_c2st_reads_the_answers_drawn_and_no_others() -> None:
    task = toy_task(items=(2, 5, 20))
    human = people(task)
    read = {int(q) for k in range(4) for q in _drawn(human, k, 12)}
    assert len(read) == 48
    answered = {
        p: a if q in read else dataclasses.replace(a, explanation="zzz")
        for q, (p, a) in enumerate(human.predictions.items())
    }
    answers = Answers(task, "test", answered, TOY)
    assert bind("c2st", most=12)(answers, once(answers)).overall[0] == 0.5  # people's own texts
    assert bind("c2st")(answers, once(answers)).overall[0] > 0.5


def test_the_distance_of_many_values_is_that_of_scipy() -> None:
    from scipy.stats import wasserstein_distance

    rng = np.random.default_rng(0)
    human, system, weights = rng.normal(size=300), rng.normal(size=300) + 1, rng.integers(0, 3, (4, 300)).astype(float)
    found = wasserstein(weights, human, system)
    for r, w in enumerate(weights):
        assert found[r] == pytest.approx(wasserstein_distance(human, system, w, w) * w.sum())


def test_a_large_task_has_its_limits_in_its_signatures_and_a_small_one_has_none() -> None:
    large = toy_task(annotators=21, items=(2, 2, 1001))
    found = {m.name: str(m) for m in scorecard(large, "toy")}
    assert "candidates=20" in found["imitation_score"]
    assert found["grounding_skill"] == "grounding_skill(view=norm,inputs=1000)"
    assert found["c2st"] == "c2st(view=norm,most=500)"
    assert "sim=chargram" not in " ".join(map(str, scorecard(large, "toy")))
    small = " ".join(map(str, scorecard(toy_task(), "toy")))
    assert "sim=chargram" in small
    assert not any(limit in small for limit in ("candidates", "inputs", "most"))


def test_an_index_takes_its_factors_as_the_scorecard_prints_them() -> None:
    task = toy_task(annotators=22, items=(2, 12, 12))
    answered = {p: Annotation(*p, "neutral", f"{p[0]} {p[1]}") for p in task.questions("test")}
    answers = Answers(task, "test", answered, TOY)
    index = bind("hlv_index", embed="toy", without="decision+grounding+distinctness")(answers, once(answers))
    alone = bind_for(task, "imitation_score", embed="toy", m=10)(answers, once(answers))
    assert index.overall == pytest.approx(np.clip(alone.overall, 0, 1))


@pytest.mark.slow
def test_forty_annotators_are_scored_in_two_gigabytes_of_address_space() -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "annotators.py"

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))

    done = subprocess.run(
        [sys.executable, script, "40x2000x5", "--alone"],
        preexec_fn=limited, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("10000 ")


def test_a_report_of_more_than_forty_annotators_lists_ends_and_spread_and_a_table_has_all() -> None:
    scores = [
        {"metric": "label_accuracy", "signature": "label_accuracy(multi=any)|toy@1|seed:0",
         "annotator": f"{'=' * (n == 40)}Ann{n}", "value": n / 100,
         "low": None, "high": None, "floor": None, "ceiling": None, "n": 5, "note": ""}
        for n in range(41)
    ]  # fmt: skip
    report = ScoreReport.model_validate({
        "task": "toy@1", "split": "test", "system": "", "questions": 205, "missing": 0, "scores": scores,
        "replicates": {"count": 0, "values": {}},
    })  # fmt: skip
    ((name, *values),) = spreads(report)
    assert name.text == "label_accuracy(multi=any)"
    # quartiles of 0, .01, …, .40
    assert values[:5] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert values[5].split(", ")[0] == "Ann0 0.000"
    assert values[6].split(", ")[9] == "Ann31 0.310"
    rows = list(csv.DictReader(io.StringIO(annotators_csv(report))))
    assert len(rows) == 41
    assert rows[7]["annotator"] == "Ann7"
    assert rows[40]["annotator"] == "'=Ann40"  # no formula for a spreadsheet
    assert float(rows[7]["value"]) == 0.07


def test_a_task_too_large_for_the_memory_is_refused_with_the_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1 << 20))
    with pytest.raises(UsageError, match=r"toy: scoring takes about .* GiB .*\(0.0 GiB are free\); score fewer items"):
        score_task(toy_task(), [], TOY)


def test_the_estimate_grows_with_items_answers_and_replicates() -> None:
    task = toy_task(items=(2, 5, 20))  # 80 questions, 20 of each annotator
    assert memory_needed(task, "test", None, 1000) == 1000 * (17 * 20 + 2 * 80 + 32 * 20) + 6_000 * 80 * 6


@given(st.lists(st.lists(st.integers(-1, 3), min_size=3, max_size=3), min_size=1, max_size=8), st.integers(0, 4))
def test_raw_agreement_counts_the_pairs_of_a_plain_loop(codes: list[list[int]], within: int) -> None:
    pairs = [(a, b) for unit in codes for a, b in combinations([c for c in unit if c >= 0], 2)]
    found = raw_agreement(np.array(codes), within=within)[0]
    if not pairs:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(np.mean([abs(a - b) <= within for a, b in pairs]))


def test_pairs_of_many_annotators_need_twenty_shared_items() -> None:
    task = toy_task(annotators=21, items=(5, 5, 30), absent=0.3)
    items = list(task.items.values())
    found = agreement(task, items, item_draws(items, "toy@1", "all", 0, 2))["pairs"]
    code = {i: {a for j, a in task.by_pair if j == i} for i in task.items}
    plain = {(a, b): sum({a, b} <= own for own in code.values()) for a, b in combinations(task.annotators, 2)}
    assert {(p["a"], p["b"]): p["n"] for p in found} == {pair: n for pair, n in plain.items() if n >= 20}
    assert 0 < len(found) < len(plain)
