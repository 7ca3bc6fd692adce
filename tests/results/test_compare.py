"""Comparisons of hand-built runs whose replicates are known."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from hlvbench.bootstrap import encode
from hlvbench.errors import RunError, UsageError
from hlvbench.metrics import Signature, bind
from hlvbench.metrics.index import factor_metrics
from hlvbench.results.compare import compare, compare_text, part_of
from hlvbench.results.score_report import ScoreReport
from hlvbench.results.scorecard import score_task
from hlvbench.types import Generation

from ..toy import ToyEmbedder, toy_task

KEYS = {"hlv_index": "hlv_index", "label_kappa": "label_kappa", "own_gain": "own_gain"}
SPREAD = np.linspace(-0.3, 0.3, 200)


def part(values: dict[str, tuple[float, np.ndarray]], task="varierr@1", questions=400, missing=0, **conditions):
    """A scores.json with these values (metric -> estimate, replicates) and nothing else."""
    system = conditions.pop("system", "model")
    embed = conditions.pop("embed", "minilm-l6@1110a24")
    conditions = {"version": "0.1.0", "seed": 0, "boot": 1000, "split": "test", **conditions}
    rows, kept = [], {}
    for name, (estimate, replicates) in values.items():
        arguments = {"embed": embed} if name == "hlv_index" else {}
        signature = str(Signature(bind(KEYS[name], **arguments), task, missing, **conditions))
        value = None if math.isnan(estimate) else estimate
        row = {"metric": name, "signature": signature, "annotator": None, "value": value, "low": None, "high": None}
        rows.append({**row, "note": "" if value is not None else "needs 10 answers, 3 given"})
        kept[name] = {**encode(estimate, replicates), "signature": signature}
    rows += [{**rows[0], "annotator": f"Ann{k}"} for k in range(1, 5)]
    return {
        "task": task, "split": conditions["split"], "system": system, "questions": questions, "samples": 1,
        "missing": missing, "scores": rows, "replicates": {"count": 200, "values": kept},
    }  # fmt: skip


def write(folder: Path, *parts: dict, data: str | None = "aa") -> Path:
    """A run folder; `data` is the hash that its manifest has of every task's data."""
    names = [document["task"].partition("@")[0] for document in parts]
    for name, document in zip(names, parts, strict=True):
        (folder / name).mkdir(parents=True)
        (folder / name / "scores.json").write_text(json.dumps(document))
    (folder / "settings.json").write_text(json.dumps({"model": "m", "task": names}))
    if data is not None:
        facts = {name: {"data_sha256": {"items": data}} for name in names}
        manifest = {"command": [], "settings": {}, "wall_seconds": 1.0, "tasks": facts}
        (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def simple(folder: Path, estimate: float, replicates: np.ndarray | None = None, **options) -> Path:
    options.setdefault("system", folder.name)
    replicates = estimate + SPREAD / 10 if replicates is None else replicates
    return write(folder, part({"hlv_index": (estimate, replicates)}, **options))


def index_of(result: dict, task: str = "varierr") -> dict:
    return result["tasks"][task]["metrics"]["hlv_index"]


# --- the numbers


def test_difference_interval_and_p_are_those_of_the_shared_replicates(tmp_path):
    # both systems share a large part of their noise, which a paired comparison does not see
    shared = np.tile([-0.1, 0.1], 100)
    a = simple(tmp_path / "a", 0.5, 0.5 + shared + SPREAD)
    b = simple(tmp_path / "b", 0.3, 0.3 + shared)
    (pair,) = index_of(compare([a, b]))["pairs"]
    assert (pair["a"], pair["b"]) == ("a", "b")
    assert pair["difference"] == pytest.approx(0.2)
    # differences are 0.2 + SPREAD, of mean 0.2: the interval is 0.2 and the spread's quantiles, ±0.3 · 0.95
    assert pair["low"] == pytest.approx(0.2 - 0.285, abs=1e-4)
    assert pair["high"] == pytest.approx(0.2 + 0.285, abs=1e-4)
    # 0.2 + SPREAD ≤ 0 for steps 0 … 33 of 0.6 / 199: 34 of them; p = 2 · (34 + 1) / (200 + 1)
    assert pair["p"] == pytest.approx(70 / 201)
    assert pair["p_holm"] == pair["p"]
    assert not pair["beyond_resolution"]


def test_replicates_are_recentred_on_the_estimate(tmp_path):
    # the replicates are biased by +0.25: without recentring, none would be below 0
    a = simple(tmp_path / "a", 0.05, 0.3 + SPREAD)
    b = simple(tmp_path / "b", 0.0, np.zeros(200))
    (pair,) = index_of(compare([a, b]))["pairs"]
    # 0.05 + SPREAD ≤ 0: -0.3 + 0.6 k / 199 ≤ -0.05, k ≤ 82.9: 83 replicates
    assert pair["p"] == pytest.approx(2 * 84 / 201)
    assert pair["low"] == pytest.approx(0.05 - 0.285, abs=1e-4)


def test_where_both_are_mostly_clipped_at_nought_the_interval_holds_nought(tmp_path):
    # 60 % of the replicates are (0, 0): p = 2 (120 + 1) / 201, cut to 1. The others differ by .02 to .06, mean of all
    # .016; recentred on .05, the interval would begin at 0 + (.05 - .016) = .034
    some = np.where(np.arange(200) % 5 < 3, 0.0, 0.04 + 0.02 * np.sin(np.arange(200)))
    a, b = simple(tmp_path / "a", 0.05, some), simple(tmp_path / "b", 0.0, np.zeros(200))
    (pair,) = index_of(compare([a, b]))["pairs"]
    assert pair["p"] == 1.0
    assert pair["low"] == 0.0
    assert pair["high"] > 0.05


def test_holm_is_over_all_pairs_of_a_metric(tmp_path):
    folders = [simple(tmp_path / n, v, v + SPREAD * s) for n, v, s in (("a", 0.5, 1), ("b", 0.3, 0), ("c", 0.28, 2))]
    pairs = index_of(compare(folders))["pairs"]
    # a-b 0.2 + SPREAD: 34 ≤ 0. a-c 0.22 - SPREAD: k ≤ 26.5: 27. b-c 0.02 - 2 SPREAD: SPREAD ≥ 0.01: k ≥ 102.8: 97
    assert [p["p"] for p in pairs] == pytest.approx([2 * 35 / 201, 2 * 28 / 201, 2 * 98 / 201])
    # the smallest times 3 is 168 / 201; the next times 2 is less, and takes that of the one before; the last times 1
    assert [p["p_holm"] for p in pairs] == pytest.approx([168 / 201, 168 / 201, 196 / 201])


def test_a_rank_counts_the_systems_that_are_surely_better(tmp_path):
    # a is far ahead; b and c cannot be told apart
    folders = [simple(tmp_path / n, v, v + r) for n, v, r in (
        ("c", 0.30, SPREAD), ("a", 0.9, 0 * SPREAD), ("b", 0.31, SPREAD[::-1]),
    )]  # fmt: skip
    rows = index_of(compare(folders))["systems"]
    assert {row["system"]: row["rank"] for row in rows} == {"a": 1, "b": 2, "c": 2}


def test_many_systems_far_apart_are_told_apart_in_spite_of_200_replicates(tmp_path):
    # by counting alone p is never below 2 / 201, and Holm over 10 pairs makes that .0995
    rng = np.random.default_rng(0)
    folders = [simple(tmp_path / f"s{k}", k / 10, k / 10 + rng.normal(0, 0.01, 200)) for k in range(1, 6)]
    result = compare(folders)
    assert [row["rank"] for row in index_of(result)["systems"]] == [5, 4, 3, 2, 1]
    assert all(pair["beyond_resolution"] for pair in index_of(result)["pairs"])
    assert result["tasks"]["varierr"]["resolution"] == pytest.approx(2 / 201)
    assert "finest 0.010 by counting" in compare_text(result)


def test_equal_systems_do_not_differ(tmp_path):
    replicates = 0.4 + SPREAD
    (pair,) = index_of(compare([simple(tmp_path / n, 0.4, replicates) for n in "ab"]))["pairs"]
    assert (pair["difference"], pair["low"], pair["high"], pair["p"]) == (0.0, 0.0, 0.0, 1.0)


def test_the_order_of_the_runs_only_turns_the_signs(tmp_path):
    a, b = simple(tmp_path / "a", 0.5, 0.5 + SPREAD), simple(tmp_path / "b", 0.3, 0.3 - SPREAD / 3)
    (one,), (other,) = index_of(compare([a, b]))["pairs"], index_of(compare([b, a]))["pairs"]
    assert (other["difference"], other["low"], other["high"]) == pytest.approx(
        (-one["difference"], -one["high"], -one["low"]), abs=1e-9
    )
    assert other["p"] == one["p"]


def test_factors_are_compared_too_and_have_no_rank(tmp_path):
    values = {"label_kappa": (0.2, 0.2 + SPREAD), "hlv_index": (0.1, 0.1 + SPREAD), "own_gain": (0.0, SPREAD)}
    result = compare([write(tmp_path / n, part(values, system=n)) for n in "ab"])
    metrics = result["tasks"]["varierr"]["metrics"]
    assert next(iter(metrics)) == "hlv_index"
    assert set(metrics) == set(values)
    assert all("rank" not in row for row in metrics["own_gain"]["systems"])
    assert len(metrics["own_gain"]["pairs"]) == 1


# --- overall


def test_overall_is_the_mean_over_both_tasks_of_the_systems_that_have_both(tmp_path):
    def both(name: str, first: float, second: float) -> Path:
        parts = [
            part({"hlv_index": (v, v + s)}, task=t, system=name)
            for t, v, s in (("varierr@1", first, SPREAD), ("r2@1", second, -SPREAD))
        ]
        return write(tmp_path / name, *parts)

    result = compare([both("a", 0.2, 0.4), both("b", 0.1, 0.2), simple(tmp_path / "c", 0.9)])
    overall = result["overall"]["metrics"]["hlv_index"]
    # (0.2 + 0.4) / 2 and (0.1 + 0.2) / 2; the two tasks' noise cancels in every replicate
    assert [(row["system"], row["value"]) for row in overall["systems"]] == [
        ("a", pytest.approx(0.3)),
        ("b", pytest.approx(0.15)),
    ]
    assert overall["systems"][0]["low"] == pytest.approx(0.3, abs=1e-4)
    assert overall["pairs"][0]["difference"] == pytest.approx(0.15)
    assert set(result["tasks"]) == {"varierr", "r2"}
    assert [row["system"] for row in index_of(result, "r2")["systems"]] == ["a", "b"]
    (note,) = [note for note in result["notes"] if "overall" in note]
    assert note.endswith(": c")


def test_one_task_alone_has_no_overall_value(tmp_path):
    result = compare([simple(tmp_path / n, 0.5) for n in "ab"])
    assert result["overall"] is None
    assert any("no overall value" in note for note in result["notes"])


# --- refusals


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"task": "varierr@2"}, "version: a has varierr@1, b has varierr@2"),
        ({"split": "dev"}, "split: a has test, b has dev"),
        ({"limit": 10}, "limit: a has none, b has 10"),
        ({"seed": 1}, "seed: a has 0, b has 1"),
        ({"boot": 500}, "replicates (boot): a has 1000, b has 500"),
        ({"version": "0.2.0"}, "metric version (hlvbench): a has 0.1.0, b has 0.2.0"),
        ({"embed": "other"}, "hlv_index is another metric"),
        ({"questions": 12}, "questions: a has 400, b has 12"),
    ],
)
def test_runs_under_other_conditions_are_refused(tmp_path, change, said):
    with pytest.raises(RunError) as caught:
        compare([simple(tmp_path / "a", 0.5), simple(tmp_path / "b", 0.4, **change)])
    assert said in str(caught.value)


def test_missing_answers_and_samples_may_differ(tmp_path):
    compare([simple(tmp_path / "a", 0.5), simple(tmp_path / "b", 0.4, missing=7, samples=3)])


def test_runs_on_other_data_are_refused(tmp_path):
    a = simple(tmp_path / "a", 0.5)
    b = write(tmp_path / "b", part({"hlv_index": (0.5, 0.5 + SPREAD)}, system="b"), data="bb")
    with pytest.raises(RunError, match="sha256 of the data file items: a has aa, b has bb"):
        compare([a, b])


def test_a_run_without_a_manifest_is_compared_and_said_to_be_unchecked(tmp_path):
    a = simple(tmp_path / "a", 0.5)
    b = write(tmp_path / "b", part({"hlv_index": (0.5, 0.5 + SPREAD)}, system="b"), data=None)
    (b / "settings.json").unlink()
    result = compare([a, b])
    assert any(note.startswith("varierr: no data hash in the manifest of b") for note in result["notes"])


def test_all_differences_are_told_at_once(tmp_path):
    runs = [simple(tmp_path / "a", 0.5), simple(tmp_path / "b", 0.4, seed=1), simple(tmp_path / "c", 0.4, limit=3)]
    with pytest.raises(RunError) as caught:
        compare(runs)
    assert "seed: a has 0, b has 1" in str(caught.value)
    assert "limit: a has none, c has 3" in str(caught.value)


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d.pop("replicates"),
        lambda d: d.pop("system"),
        lambda d: d.update(scores=[]),
        lambda d: d.update(scores=None),
        lambda d: d["scores"][0].update(signature="label_kappa"),
        lambda d: d["replicates"].update(count=100),
        lambda d: d["replicates"]["values"]["hlv_index"].pop("signature"),
        lambda d: d["replicates"]["values"]["hlv_index"].update(data="%"),
    ],
)
def test_a_malformed_score_file_is_named(tmp_path, damage):
    document = part({"hlv_index": (0.5, 0.5 + SPREAD)})
    damage(document)
    bad = write(tmp_path / "bad", document)
    with pytest.raises(RunError) as caught:
        compare([simple(tmp_path / "a", 0.5), bad])
    assert str(bad / "varierr" / "scores.json") in str(caught.value)


def test_unreadable_runs_are_told_together(tmp_path):
    good, unscored, broken, foreign = (simple(tmp_path / n, 0.5) for n in ("good", "unscored", "broken", "foreign"))
    (unscored / "varierr" / "scores.json").unlink()
    (broken / "varierr" / "scores.json").write_text("{")
    (foreign / "settings.json").write_text("[]")
    with pytest.raises(RunError) as caught:
        compare([good, unscored, broken, foreign, tmp_path / "nowhere"])
    for folder in (unscored, broken, foreign, tmp_path / "nowhere"):
        assert str(folder) in str(caught.value)
    assert f"hlvbench score {unscored}" in str(caught.value)


def test_runs_without_a_common_task_are_refused(tmp_path):
    with pytest.raises(RunError, match="no task in common"):
        compare([simple(tmp_path / "a", 0.5), simple(tmp_path / "b", 0.5, task="r2@1")])


def test_one_run_is_no_comparison(tmp_path):
    with pytest.raises(UsageError, match="two runs or more"):
        compare([simple(tmp_path / "a", 0.5)])
    with pytest.raises(UsageError, match="more than once"):
        compare([tmp_path / "a", tmp_path / "b" / ".." / "a"])


# --- names, absent values, text


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path):
    runs = [simple(tmp_path / place / "run", 0.5, system="/models/m") for place in ("x", "y")]
    runs += [simple(tmp_path / "other", 0.5, system="/models/m"), simple(tmp_path / "n", 0.5, system="n")]
    names = [system["name"] for system in compare(runs)["systems"]]
    assert names == ["m (x/run)", "m (y/run)", "m (other)", "n"]


def test_a_system_without_an_index_is_listed_with_the_reason_and_not_ranked(tmp_path):
    values = {"hlv_index": (math.nan, np.full(200, math.nan)), "label_kappa": (0.2, 0.2 + SPREAD)}
    lone = write(tmp_path / "lone", part(values, system="lone"))
    result = compare([simple(tmp_path / "a", 0.5), simple(tmp_path / "b", 0.4), lone])
    row = index_of(result)["systems"][2]
    assert (row["value"], row["rank"], row["note"]) == (None, None, "needs 10 answers, 3 given")
    assert len(index_of(result)["pairs"]) == 1
    assert "– (needs 10 answers, 3 given)" in compare_text(result)


def test_where_nobody_has_an_index_the_reason_is_told(tmp_path):
    runs = []
    for name in "ab":
        document = part({"hlv_index": (math.nan, SPREAD), "label_kappa": (0.2, 0.2 + SPREAD)}, system=name)
        document["replicates"]["values"].pop("hlv_index")
        runs.append(write(tmp_path / name, document))
    result = compare(runs)
    assert list(result["tasks"]["varierr"]["metrics"]) == ["label_kappa"]
    assert any("none is ranked (needs 10 answers, 3 given)" in note for note in result["notes"])


def test_scored_answers_can_be_compared(tmp_path):
    """From raw text to ranks: people, and people's answers given to the wrong annotators."""
    task, runs = toy_task(items=(30, 30, 30)), []
    metrics = [*factor_metrics("toy").values(), bind("hlv_index", embed="toy")]
    for name, shift in (("people", 0), ("mixed", 1)):
        rows = []
        for item, annotator in task.questions("test"):
            writer = task.annotators[(task.annotators.index(annotator) + shift) % 4]
            record = task.by_pair[item, writer][0]
            text = f"Label: {record.label}\nExplanation: {record.explanation}"
            rows.append(Generation(item, annotator, 0, text, "stop", 1, ""))
        document = score_task(task, rows, ToyEmbedder(), system=name, replicates=250, metrics=metrics).report.to_dict()
        runs.append(write(tmp_path / name, json.loads(json.dumps(document))))
    result = compare(runs)
    people, mixed = index_of(result, "toy")["systems"]
    assert (people["value"], people["rank"]) == (1.0, 1)
    assert mixed["rank"] == 2
    kappa = result["tasks"]["toy"]["metrics"]["label_kappa"]
    assert kappa["pairs"][0]["difference"] > 0
    assert kappa["pairs"][0]["p"] < 0.05
    assert kappa["systems"][1]["low"] < kappa["systems"][1]["value"] < kappa["systems"][1]["high"]


def test_replicates_without_a_value_are_left_out_of_the_pair(tmp_path):
    holes = 0.5 + SPREAD
    holes[:20] = math.nan
    (pair,) = index_of(compare([simple(tmp_path / "a", 0.5, holes), simple(tmp_path / "b", 0.1, 0 * SPREAD)]))["pairs"]
    assert math.isfinite(pair["p"])
    assert pair["low"] < 0.4 < pair["high"]


def test_a_pair_that_most_replicates_do_not_tell_apart_has_no_p(tmp_path):
    holes = 0.5 + SPREAD
    holes[:101] = math.nan
    (pair,) = index_of(compare([simple(tmp_path / "a", 0.5, holes), simple(tmp_path / "b", 0.1, 0 * SPREAD)]))["pairs"]
    assert (pair["difference"], pair["p"], pair["low"]) == (pytest.approx(0.4), None, None)


def test_many_annotators_of_few_items_each_are_as_many_items_as_there_are():
    """60 annotators, 100 items with 4 of them each: 7 questions an annotator, but 100 items."""
    document = part({"hlv_index": (0.5, 0.5 + SPREAD)}, questions=400)
    document["scores"] += [{**document["scores"][0], "annotator": f"Ann{k}"} for k in range(5, 61)]
    assert part_of(ScoreReport.model_validate(document)).items == 7
    assert part_of(ScoreReport.model_validate(document | {"clusters": 100})).items == 100


def test_the_result_is_json_and_the_text_shows_every_system_and_pair(tmp_path):
    result = compare([simple(tmp_path / n, v) for n, v in (("a", 0.5), ("b", 0.45), ("c", 0.1))])
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    text = compare_text(result)
    for wanted in (
        "varierr@1 test",
        "a - b",
        "a - c",
        "b - c",
        "0.500",
        "hlv_index(within=label,embed=minilm-l6@1110a24)",
    ):
        assert wanted in text
