"""Raw crowd data: annotators of few records, fields that repeat, gold that is constant, records without a text."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from hlvbench.cli import main
from hlvbench.errors import AdapterError, RunError, UsageError
from hlvbench.files import read_generations
from hlvbench.models.reference import SYSTEMS
from hlvbench.run import dry_run, generate, run, score
from hlvbench.settings import Settings
from hlvbench.task import load_task
from hlvbench.train.driver import dry_run as plan_training
from hlvbench.types import Task
from tests.tiny import tiny_adapter, tiny_model
from tests.toy import save_table, toy_task

SCORED = ("Ann1", "Ann2", "Ann3")


def crowd() -> Task:
    """Four annotators of whom Ann4 left three records, none of them in train, and Ann3 twelve, none in train."""
    task = toy_task(items=(12, 6, 12))
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
        *((f"reference:{name}", "base") for name in SYSTEMS),
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
    assert "4 annotators (Ann1, Ann2, Ann3, Ann4), 3 of them scored" in capsys.readouterr().out


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
    from hlvbench.train.config import Config

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
    from hlvbench.judge.job import subjects

    with pytest.raises(RunError, match="answers for Ann2, Ann4 only"):
        subjects(out, tasks_dir=tasks_dir)


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
