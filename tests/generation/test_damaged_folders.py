"""Folders that were changed by hand, half made or meant for something else: one message each, and nothing is lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from hlvbench.baselines.baseline_registry import BaselineModel
from hlvbench.cli import main
from hlvbench.errors import ModelError
from hlvbench.generation.run import run
from hlvbench.io import read_json
from hlvbench.judging.judge_run import judge
from hlvbench.judging.judge_settings import judge_settings
from hlvbench.settings import Settings
from tests.generation.test_run import tasks_dir  # noqa: F401


@pytest.fixture
def folder(tasks_dir, tmp_path):  # noqa: F811
    return run(Settings("reference:human", task=("mine",)), out=tmp_path / "run", tasks_dir=tasks_dir, quiet=True)


def damaged(value: Any) -> Iterator[Any]:
    """The document itself and each of its keys, replaced by something else or taken out."""
    yield from (None, [], {}, "x")
    for key in value:
        yield {k: v for k, v in value.items() if k != key}
        for other in (None, [], {}, "x", "8", -1):
            yield {**value, key: other}


@pytest.mark.parametrize("name", ["settings.json", "manifest.json", "mine/generations.plan.json", "mine/scores.json"])
def test_a_document_changed_by_hand_is_one_message_or_does_not_matter(name, folder, tasks_dir, capsys):  # noqa: F811
    twin = shutil.copytree(folder, folder.parent / "twin")
    again = ["run", "--model", "reference:human", "--task", "mine", "--tasks-dir", str(tasks_dir), "-q"]
    commands = [["compare", str(folder), str(twin)], ["card", str(folder)]]
    if name == "mine/generations.plan.json":
        commands = [[*again, "--out", str(folder)]]
    refused = 0
    for document in damaged(read_json(twin / name)):
        for words in commands:
            (folder / name).write_text(json.dumps(document))
            code = main(words)
            message = capsys.readouterr().err
            assert code in (0, 2), (document, words)
            assert code == 0 or message.startswith("hlvbench: "), message
            refused += code == 2
        shutil.copytree(twin, folder, dirs_exist_ok=True)
    assert refused > 5


def test_a_judges_document_and_plan_changed_by_hand_are_one_message(folder, tasks_dir, capsys):  # noqa: F811
    places = ["--tasks-dir", str(tasks_dir), "-q"]
    assert main(["judge", str(folder), "--shots", "2", *places]) == 0
    (report,) = (p for p in (folder / "mine" / "judge").glob("*.json") if "plan" not in p.name)
    report.write_text('{"judge": 3}')
    assert main(["score", str(folder), *places]) == 2
    assert f"{report}: not as hlvbench wrote it" in (message := capsys.readouterr().err)
    assert "judge: Input should be a valid string, got 3" in message
    plan = report.with_suffix(".plan.json")
    plan.write_text("[]")
    assert main(["judge", str(folder), "--rescore", *places]) == 2
    assert f"{plan}: not as hlvbench wrote it" in capsys.readouterr().err


def test_a_try_that_answered_nothing_does_not_block_the_corrected_command(
    tasks_dir,  # noqa: F811
    tmp_path,
    capsys,
    monkeypatch,
):
    words = ["run", "--task", "mine", "--tasks-dir", str(tasks_dir), "--out", str(tmp_path / "r"), "-q", "--model"]

    def down(self: BaselineModel, batch: object) -> None:
        # a run at work is not touched by a command with other settings
        assert main([*words, "reference:human"]) == 2
        assert "holds a run with other settings" in capsys.readouterr().err
        assert read_json(tmp_path / "r" / "settings.json")["model"] == "reference:echo"
        raise ModelError("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(BaselineModel, "answer", down)
        assert main([*words, "reference:echo"]) == 2
    assert "0 of 18 answers are kept, 18 remain; the same command continues" in capsys.readouterr().err
    assert main([*words, "reference:human"]) == 0
    assert read_json(tmp_path / "r" / "settings.json")["model"] == "reference:human"
    capsys.readouterr()
    assert main([*words, "reference:echo"]) == 2
    assert "holds a run with other settings" in capsys.readouterr().err


def test_a_new_start_removes_the_scores_of_the_answers_it_deletes(folder, tasks_dir, capsys, monkeypatch):  # noqa: F811
    words = ["run", "--task", "mine", "--tasks-dir", str(tasks_dir), "--out", str(folder), "-q"]
    words += ["--model", "reference:human"]

    def stop(self: BaselineModel, batch: object) -> None:
        raise KeyboardInterrupt

    assert main(["judge", str(folder), "--shots", "2", "--tasks-dir", str(tasks_dir), "-q"]) == 0
    replies = {path.name for path in folder.glob("mine/judge/*.jsonl")}
    with monkeypatch.context() as patched:
        patched.setattr(BaselineModel, "answer", stop)
        assert main([*words, "--no-resume"]) == 130
        assert "the same command, without --no-resume, continues" in capsys.readouterr().err
        assert main(["audit", "--task", "mine", "--tasks-dir", str(tasks_dir)]) == 130
        assert "hlvbench: interrupted\n" in capsys.readouterr().err
    assert not [*folder.glob("*/scores.json"), *folder.glob("*/answers.jsonl"), *folder.glob("report.*")]
    assert not [path for path in folder.glob("mine/judge/*.json") if "plan" not in path.name]
    assert {path.name for path in folder.glob("mine/judge/*.jsonl")} == replies
    assert main(words) == 0
    assert (folder / "report.html").exists()


def test_scores_of_one_file_do_not_replace_those_of_another(folder, tasks_dir, tmp_path, capsys):  # noqa: F811
    (tmp_path / "files").mkdir()
    options = ["--task", "mine", "--tasks-dir", str(tasks_dir), "-q"]
    for name in ("a", "b"):
        shutil.copy(folder / "mine" / "generations.jsonl", tmp_path / "files" / f"{name}.jsonl")
    assert main(["score", str(tmp_path / "files" / "a.jsonl"), *options]) == 0
    before = (tmp_path / "files" / "mine" / "scores.json").read_bytes()
    assert main(["score", str(tmp_path / "files" / "b.jsonl"), *options]) == 2
    assert "mine/scores.json: a, now b" in capsys.readouterr().err
    assert (tmp_path / "files" / "mine" / "scores.json").read_bytes() == before
    assert main(["score", str(tmp_path / "files" / "a.jsonl"), *options]) == 0


def test_what_older_releases_recorded_of_the_stylometric_judge_is_read(folder, tasks_dir, capsys):  # noqa: F811
    judge(folder, judge_settings(shots=2, device="cpu"), tasks_dir=tasks_dir, quiet=True)
    assert main(["judge", str(folder), "--rescore", "--tasks-dir", str(tasks_dir), "-q"]) == 0
    assert "stylometric" in capsys.readouterr().out


def test_one_run_makes_a_table(folder, capsys):
    assert main(["compare", "--table", str(folder)]) == 0
    assert "| label κ |" in capsys.readouterr().out


def test_a_data_folder_below_home_is_found(tasks_dir, tmp_path, monkeypatch, capsys):  # noqa: F811
    (tmp_path / "d").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["tasks", "--tasks-dir", str(tasks_dir), "--data-dir", "~/d"]) == 0


@pytest.mark.parametrize("command", [["compare"], ["compare", "--table"], ["curve", "--out", "curve"]])
def test_runs_scored_unlike_each_other_stand_in_no_table_or_curve(
    command,
    folder,
    tasks_dir,  # noqa: F811
    tmp_path,
    capsys,
    monkeypatch,
):
    monkeypatch.chdir(tmp_path)
    settings = Settings("reference:human", task=("mine",), limit=2)
    run(settings, out=tmp_path / "short", tasks_dir=tasks_dir, quiet=True)
    assert main([*command, str(folder), "short"]) == 2
    assert "limit" in capsys.readouterr().err
    assert main([*command, str(folder), str(folder)]) == 2
    assert "named more than once" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["audit", "--task", "demo", "--out", "thesis/README.md"], "thesis/README.md: File exists"),
        (["leaderboard", "--submissions", "empty", "--out", "thesis"], "holds files and no leaderboard"),
        (["train", "sft", "--model", "m", "--task", "demo", "--out", "run"], "is the folder of a run"),
        (["run", "--task", "demo", "--model", "reference:human", "--data-dir", "nope"], "--data-dir nope: no such"),
        (["tasks", "--tasks-dir", "nope"], "--tasks-dir nope: no such folder"),
        (["check", "run", "--data-dir", "nope"], "--data-dir nope: no such folder"),
        (["judge", "run", "--device", "cuda"], "--device: the stylometric judge"),
        (["judge", "run", "--model-arg", "a=1"], "the stylometric judge"),
        (["judge", "run", "--budget", "1"], "--budget: only an endpoint's calls cost money"),
        (["judge", "run", "--concurrency", "0"], "--concurrency 0"),
        (["run", "--task", "demo", "--model", "reference:human", "--timeout", "nan"], "--timeout nan"),
        (["human-study", "score", "run", "--samples", "3"], "--samples: of human-study export"),
        (["score", "run", "--task", "other"], "--task other: run has no such task; it has mine"),
        (["run", "--config", "a.toml", "--config", "b.toml"], "--config a.toml and b.toml: one file"),
        (
            ["train", "sft", "--model", "m", "--task", "demo", "--shots", "3", "--out", "o"],
            "--shots 3: goes with --prompt icl",
        ),
    ],
)
def test_places_that_are_something_else_stay_as_they_are(words, expected, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "README.md").write_text("my thesis")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main(words) == 2
    assert expected in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_half_a_character_in_a_file_of_answers_is_one_message(tasks_dir, tmp_path, capsys):  # noqa: F811
    (tmp_path / "a.jsonl").write_text('{"item": "1", "annotator": "w1", "text": "\\ud83d"}\n')
    assert main(["score", str(tmp_path / "a.jsonl"), "--task", "mine", "--tasks-dir", str(tasks_dir)]) == 2
    assert "line 1: half of a character" in capsys.readouterr().err


def test_an_option_written_in_two_ways_in_one_file_is_refused(tmp_path, capsys):
    (tmp_path / "c.toml").write_text("max-new-tokens = 3\nmax_new_tokens = 4\n")
    assert main(["run", "--model", "reference:human", "--config", str(tmp_path / "c.toml")]) == 2
    assert "an option stands there twice" in capsys.readouterr().err


def test_a_run_that_ranks_judges_is_told_from_one_that_answers(tmp_path, capsys):
    rank = str(tmp_path / "rank")
    assert (
        main(["run", "--task", "demo/attribution", "--model", "stylometric", "--limit", "3", "--out", rank, "-q"]) == 0
    )
    assert main(["score", rank, "--limit", "2", "--only-answered"]) == 2
    assert "--limit, --only-answered" in capsys.readouterr().err
    for words in (["card", rank], ["curve", rank], ["compare", rank, rank + "/.."], ["compare", "--table", rank, "x"]):
        assert main(words) == 2
        assert f"{rank}: its scores rank judges, not systems; hlvbench score {rank}" in capsys.readouterr().err
