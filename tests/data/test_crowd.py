"""Raw crowd data: annotators of few records, fields that repeat, gold that is constant, records without a text."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from hlvbench.analysis.annotators import analysis_text, analyze
from hlvbench.baselines.baseline_registry import REFERENCES
from hlvbench.cli import main
from hlvbench.data.task import load_task
from hlvbench.errors import AdapterError, RunError, TaskError, UsageError
from hlvbench.generation.run import dry_run, generate, run, score
from hlvbench.io import read_generations
from hlvbench.metrics import bind
from hlvbench.results.compare import compare, compare_text
from hlvbench.results.scorecard import score_task
from hlvbench.settings import Settings
from hlvbench.training.train_adapters import dry_run as plan_training
from hlvbench.types import Generation, Task
from tests.tiny import tiny_adapter, tiny_model
from tests.toy import ToyEmbedder, save_table, toy_task

SCORED = ("Ann1", "Ann2", "Ann3")


def crowd() -> Task:
    """Four annotators of whom Ann4 left three records, none of them in train, and Ann3 22, none in train."""
    task = toy_task(items=(12, 10, 12))
    few = {"test0", "test1", "dev0"}
    kept = [r for r in task.records if r.annotator != "Ann4" or r.item in few]
    kept = [r for r in kept if r.annotator != "Ann3" or not r.item.startswith("train")]
    return dataclasses.replace(task, records=tuple(kept), min_records=10)


@pytest.fixture(scope="module")
def tasks_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_table(crowd(), tmp_path_factory.mktemp("crowd") / "tasks")


def asked(folder: Path) -> set[str]:
    return {row.annotator for row in read_generations(folder / "toy" / "generations.jsonl")}


def scores(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "toy" / "scores.json").read_text()))


@pytest.mark.parametrize(
    ("model", "prompt"),
    [
        *((f"reference:{name}", "base") for name in REFERENCES),
        *((f"attack:{name}", "base") for name in ("constant", "restyled-other", "expected")),
        *(("reference:blind", prompt) for prompt in ("icl", "vp", "vp-icl")),
    ],
)
def test_an_annotator_of_three_records_is_not_asked_and_blocks_nothing(
    model: str, prompt: str, tasks_dir: Path, tmp_path: Path
) -> None:
    settings = Settings(model, ("toy",), prompt=prompt)
    assert asked(generate(settings, out=tmp_path / "run", tasks_dir=tasks_dir, quiet=True)) == set(SCORED)


def test_the_whole_job_scores_the_others_and_tasks_says_how_many(
    tasks_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(Settings("reference:nearest", ("toy",)), out=tmp_path / "run", tasks_dir=tasks_dir, quiet=True)
    found = scores(out)
    assert found["unscored_annotators"] == ["Ann4"]
    assert (found["questions"], found["missing"]) == (36, 0)
    capsys.readouterr()
    assert main(["tasks", "--tasks-dir", str(tasks_dir)]) == 0
    assert (
        "4 annotators (Ann1, Ann2, Ann3, Ann4), 3 of them scored (records of 10 test items)" in capsys.readouterr().out
    )


@pytest.mark.slow
def test_the_audit_scores_the_others(tasks_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["audit", "--task", "toy", "--tasks-dir", str(tasks_dir), "--out", str(tmp_path / "audit"), "-q", "--json"]
    assert main(words) in (0, 1)
    assert {row["missing"] for row in json.loads(capsys.readouterr().out)["tasks"]["toy"]["systems"]} == {0}


def test_adapters_and_trainings_are_wanted_of_scored_annotators_alone(tasks_dir: Path, tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "base")
    for seed, name in enumerate(SCORED):
        tiny_adapter(tmp_path / "sft" / "toy" / name, base, seed=seed)
    settings = Settings(str(base), ("toy",), str(tmp_path / "sft"), max_new_tokens=4)
    assert dry_run(settings, tasks_dir=tasks_dir)["toy"]["questions"] == 36
    # one of them on request, and the adapter of a person who is not asked is no mistake
    alone = dataclasses.replace(settings, annotator=("Ann2",))
    assert asked(generate(alone, out=tmp_path / "one", tasks_dir=tasks_dir, quiet=True)) == {"Ann2"}
    tiny_adapter(tmp_path / "sft" / "toy" / "Ann4", base)
    assert dry_run(settings, tasks_dir=tasks_dir)["toy"]["questions"] == 36
    tiny_adapter(tmp_path / "sft" / "toy" / "Ann9", base)
    with pytest.raises(AdapterError, match="an adapter for Ann9, who is no annotator of toy"):
        dry_run(settings, tasks_dir=tasks_dir)
    planned = plan_training(_config(base), tasks_dir=tasks_dir, skip_missing=True)
    assert set(planned) == {"toy/Ann1", "toy/Ann2"}


def _config(base: Path, **options: Any) -> Any:
    from hlvbench.training.training_config import Config

    return Config("sft", str(base), ("toy",), **options)


def test_a_run_on_request_asks_and_scores_these_annotators_alone(
    tasks_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--model", "reference:human", "--task", "toy", "--tasks-dir", str(tasks_dir), "-q", "--json"]
    out = tmp_path / "run"
    assert main([*words, "--annotator", "Ann2", "--annotator", "Ann4", "--out", str(out)]) == 0
    assert asked(out) == {"Ann2", "Ann4"}
    (document,) = json.loads(capsys.readouterr().out)
    # twelve test items, and the two of the person who left three records and was asked for
    assert (document["questions"], document["missing"]) == (14, 0)
    counts = {s["annotator"]: s["n"] for s in document["scores"] if s["metric"] == "label_accuracy"}
    assert (counts["Ann2"], counts["Ann4"], counts["Ann1"]) == (12, 2, 0)
    assert all("|only:14-" in s["signature"] for s in document["scores"])
    score(out, tasks_dir=tasks_dir, quiet=True)
    assert scores(out) == document
    from hlvbench.judging.judge_run import judged_tasks

    with pytest.raises(RunError, match="answers for Ann2, Ann4 only"):
        judged_tasks(out, tasks_dir=tasks_dir)


@pytest.mark.parametrize("names", [("nobody",), ("Ann1", "nobody")])
def test_an_annotator_that_no_task_has_is_named(names: tuple[str, ...], tasks_dir: Path, tmp_path: Path) -> None:
    settings = Settings("reference:human", ("toy",), annotator=names)
    with pytest.raises(UsageError, match=r"--annotator nobody: .* there are Ann1, Ann2, Ann3, Ann4"):
        generate(settings, out=tmp_path / "run", tasks_dir=tasks_dir, quiet=True)


def test_settings_of_before_annotators_could_be_chosen_go_on(tasks_dir: Path, tmp_path: Path) -> None:
    settings = Settings("reference:human", ("toy",))
    out = generate(settings, out=tmp_path / "run", tasks_dir=tasks_dir, quiet=True)
    recorded = json.loads((out / "settings.json").read_text())
    for new in ("annotator", "base_matches"):
        assert recorded.pop(new) is None
    (out / "settings.json").write_text(json.dumps(recorded))
    assert generate(settings, out=out, tasks_dir=tasks_dir, quiet=True) == out


def debates(folder: Path, groups: int = 12, **toml: str) -> Path:
    """A table of 60 items in `groups` groups of a "topic" field that all items but for case share, too."""
    task = toy_task(items=(20, 20, 20), annotators=2)
    (folder / "debates").mkdir(parents=True)
    rows = [
        {"id": i.id, "text": {**i.text, "genre": "Fiction" if n % 2 else "fiction ", "topic": f"topic {n % groups}"}}
        for n, i in enumerate(task.items.values())
    ]  # fmt: skip
    if "group" in toml.get("clusters", ""):
        rows = [{**row, "group": f"g{n % groups}"} for n, row in enumerate(rows)]
    keys = {"allow_shared_text": "true", "splits": '"splits.json"', **toml}
    (folder / "debates" / "task.toml").write_text(
        'name = "debates"\nversion = "1"\nsource = "table"\nkind = "nominal"\n'
        'labels = ["neutral", "entailment", "contradiction"]\ninstruction = "Decide."\nmin_records = 5\n'
        + "".join(f"{key} = {value}\n" for key, value in keys.items() if value)
        + '[fields]\npremise = "P"\nhypothesis = "H"\ngenre = "G"\ntopic = "T"\n'
    )
    records = map(dataclasses.asdict, task.records)
    for name, found in (("items", rows), ("annotations", records)):
        (folder / "debates" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
    (folder / "debates" / "splits.json").write_text(json.dumps({k: list(v) for k, v in task.splits.items()}))
    return folder


@pytest.mark.parametrize(
    ("named", "groups", "count"),
    [
        # all 20 test items share their genre
        ("", 12, 1),
        ('"genre"', 12, 1),
        # test items are numbers 40 to 59: their remainders by 12 are all twelve, by 7 all seven
        ('"topic"', 12, 12),
        ('"topic"', 7, 7),
        ('"group"', 12, 12),
        ('"id"', 12, 20),
    ],
)
def test_what_clusters_is_named_by_the_task_and_ten_make_an_interval(
    named: str, groups: int, count: int, tmp_path: Path
) -> None:
    task = load_task("debates", tasks_dir=debates(tmp_path / "tasks", groups, clusters=named))
    # the last one brings an interval of its own; on one cluster it has no value
    wanted = [bind("label_kappa"), bind("label_accuracy"), bind("c2st", view="norm")][: 3 if count == 7 else 2]
    rows = [Generation(*pair, 0, f"Label: {'neutral' if n % 3 else 'entailment'}\nExplanation: so {n}", "stop", 1, "")
            for n, pair in enumerate(task.questions("test"))]  # fmt: skip
    found = score_task(task, rows, ToyEmbedder(), metrics=wanted, replicates=60).report.to_dict()
    assert found["clusters"] == count
    for row in found["scores"]:
        if count < 10:
            assert (row["low"], row["high"]) == (None, None)
            assert row["note"] == f"no interval: needs 10 clusters of items, {count} given"
        else:
            assert row["high"] - row["low"] > 0.05
            assert row["note"] == ""


@pytest.mark.slow
def test_runs_on_too_few_clusters_are_compared_without_p(tmp_path: Path) -> None:
    tasks = debates(tmp_path / "tasks")
    out = [
        run(Settings(f"reference:{name}", ("debates",)), out=tmp_path / name, tasks_dir=tasks, quiet=True)
        for name in ("blind", "random-own")
    ]
    assert "Clusters of items: 1 (an interval and a p need 10)\n" in (out[0] / "report.md").read_text()
    compared = compare(out)
    pairs = [pair for table in compared["tasks"]["debates"]["metrics"].values() for pair in table["pairs"]]
    assert {(p["low"], p["p"], p["p_holm"]) for p in pairs} == {(None, None, None)}
    assert "debates: 1 clusters of items; an interval and a p need 10" in compare_text(compared)


def test_analyses_and_judges_of_few_clusters_have_no_interval_either(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = debates(tmp_path / "tasks", 7, clusters='"topic"')
    result = analyze(load_task("debates", tasks_dir=tasks), ToyEmbedder(), replicates=20)
    assert result["clusters"] == 7
    (pair,) = result["agreement"]["pairs"]
    assert (pair["n"], pair["low"], pair["high"]) == (60, None, None)
    assert set(re.findall('"low": ([^,}]*)', json.dumps([result["style"], result["detectability"]]))) == {"null"}
    assert "7 clusters of items" in analysis_text(result)
    settings = Settings("reference:nearest", ("debates",))
    out = generate(settings, out=tmp_path / "run", tasks_dir=tasks, quiet=True)
    assert main(["judge", str(out), "--tasks-dir", str(tasks), "-q"]) == 0
    found = json.loads((out / "debates" / "judge" / "stylometric.json").read_text())
    assert (found["low"], found["high"]) == (None, None)
    # a judge passes by the lower bound on human texts, which there is none of
    assert found["valid"] is False
    assert "needs 10 clusters of items, 7 given" in found["note"]
    assert "needs 10 clusters of items, 7 given" in capsys.readouterr().out


def drawn(folder: Path) -> Path:
    """The table with splits by fractions, kept together by topic."""
    tasks = debates(folder, clusters='"topic"', allow_shared_text="", splits="")
    path = tasks / "debates" / "task.toml"
    path.write_text(path.read_text() + "[splits]\ntrain = 0.6\ndev = 0.2\ntest = 0.2\n")
    (tasks / "debates" / "splits.json").unlink()
    return tasks


def test_splits_drawn_by_other_clusters_are_no_longer_those(tmp_path: Path) -> None:
    tasks = drawn(tmp_path)
    first = load_task("debates", tasks_dir=tasks)
    assert load_task("debates", tasks_dir=tasks).splits == first.splits
    path = tasks / "debates" / "task.toml"
    path.write_text(path.read_text().replace('"topic"', '"id"'))
    with pytest.raises(TaskError, match=r"frozen from other input \(clusters changed\): restore that, or delete"):
        load_task("debates", tasks_dir=tasks)


def test_clusters_that_the_task_names_wrongly_are_told(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"clusters: a field, group or id is needed, got 'debate'"):
        load_task("debates", tasks_dir=debates(tmp_path / "a", clusters='"debate"'))
    tasks = debates(tmp_path / "b", clusters='"group"')
    path = tasks / "debates" / "items.jsonl"
    path.write_text(path.read_text().replace('"group": "g1"', '"group": 1', 1))
    with pytest.raises(TaskError, match=r"items\.jsonl:2: group: Input should be a valid string, got 1"):
        load_task("debates", tasks_dir=tasks)
    # what belongs together lies in one split
    with pytest.raises(TaskError, match=r"share an input text are in several splits"):
        load_task("debates", tasks_dir=debates(tmp_path / "c", clusters='"topic"', allow_shared_text=""))


def test_splits_are_made_by_what_clusters(tmp_path: Path) -> None:
    tasks = drawn(tmp_path)
    task = load_task("debates", tasks_dir=tasks)
    topics = {split: {task.items[i].text["topic"] for i in ids} for split, ids in task.splits.items()}
    assert {split: len(ids) for split, ids in task.splits.items()} == {"train": 40, "dev": 10, "test": 10}
    assert not topics["train"] & topics["test"]
    assert not topics["dev"] & (topics["train"] | topics["test"])


def test_a_task_as_systems_see_it_keeps_what_others_said(tasks_dir: Path) -> None:
    task = load_task("toy", tasks_dir=tasks_dir)
    seen = task.asking()
    assert (seen.annotators, seen.scored_annotators) == (SCORED, SCORED)
    assert seen.records == task.records
    assert task.asking(("Ann4",)).annotators == (*SCORED, "Ann4")
    assert {a for _, a in task.questions("test", annotators=("Ann4",))} == {"Ann4"}
    assert toy_task().asking() is not None
    whole = toy_task()
    assert whole.asking() is whole
