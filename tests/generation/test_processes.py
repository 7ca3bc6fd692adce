"""A run in several processes: the parts are disjoint, the files are those of one process, one process scores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hlvbench.cli import main
from hlvbench.errors import UsageError
from hlvbench.generation.generate import generate
from hlvbench.processes import ALONE, ProcessRank, process_rank
from tests.fake_model import FakeModel
from tests.generation.test_run import tasks_dir  # noqa: F401
from tests.tiny import tiny_model
from tests.toy import toy_task

ROOT = Path(__file__).resolve().parents[2]
TASK = toy_task(annotators=3, items=(5, 5, 16))
FILES = ("generations.jsonl", "answers.jsonl", "scores.json")


def test_the_environment_of_a_launcher_names_the_process():
    assert process_rank({}) == ALONE
    assert process_rank({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}) == ProcessRank(3, 8, 1)
    # a Slurm array sets what its script exports: no local rank
    assert process_rank({"RANK": "7", "WORLD_SIZE": "8"}) == ProcessRank(7, 8, 0)


@pytest.mark.parametrize(("rank", "world"), [("2", "2"), ("-1", "2"), ("one", "2"), ("0", "0"), ("1", "1")])
def test_a_rank_that_does_not_fit_is_refused(rank, world):
    with pytest.raises(UsageError, match=f"WORLD_SIZE={world}, RANK={rank}"):
        process_rank({"RANK": rank, "WORLD_SIZE": world})


def test_what_some_processes_left_undone_is_done_by_another_number_of_them(tmp_path):
    def run(out: Path, log: str, rank: int = 0, world: int = 1) -> bool:
        model = FakeModel(tmp_path / log)
        options = {"batch_size": 4, "quiet": True, "process": ProcessRank(rank, world)}
        return bool(generate(TASK, model, out, lambda i, a: f"{a} {i}", **options)["finished"])

    assert run(tmp_path / "alone", "alone.log")
    out = tmp_path / "shared"
    assert not run(out, "log", rank=1, world=3)
    assert not run(out, "log", rank=0, world=2)
    assert not run(out, "log", rank=3, world=5)
    assert run(out, "log")
    assert (out / "generations.jsonl").read_bytes() == (tmp_path / "alone" / "generations.jsonl").read_bytes()
    asked = [q for call in FakeModel(tmp_path / "log").calls() for q in call]
    assert len(asked) == len(set(asked)) == len(TASK.questions("test"))


def test_the_last_process_to_end_scores_and_nobody_else(tasks_dir, tmp_path, monkeypatch, capsys):  # noqa: F811
    def hlvbench(out: str) -> tuple[int, str, str]:
        words = ["--task", "mine", "--tasks-dir", tasks_dir, "--model", "reference:nearest", "--batch-size", "4"]
        code = main([str(w) for w in ("run", *words, "--out", tmp_path / out)])
        return code, *capsys.readouterr()

    assert hlvbench("alone")[0] == 0
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    code, out, err = hlvbench("shared")
    assert (code, out) == (0, "")
    assert "process 1 of 2: its part is there" in err
    assert not (tmp_path / "shared" / "manifest.json").exists()
    monkeypatch.setenv("RANK", "0")
    code, out, _ = hlvbench("shared")
    assert code == 0
    assert "18 questions, 0 missing" in out
    # a straggler of the same launch finds the run complete and scored
    monkeypatch.setenv("RANK", "1")
    before = (tmp_path / "shared" / "mine" / "scores.json").stat().st_mtime_ns
    assert hlvbench("shared")[1] == ""
    assert (tmp_path / "shared" / "mine" / "scores.json").stat().st_mtime_ns == before
    for name in FILES:
        alone, shared = (tmp_path / run / "mine" / name for run in ("alone", "shared"))
        assert alone.read_bytes() == shared.read_bytes()


def test_no_resume_by_several_processes_is_refused(tasks_dir, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setenv("WORLD_SIZE", "2")
    words = ["run", "--task", "mine", "--tasks-dir", str(tasks_dir), "--model", "reference:human", "--no-resume"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 2
    assert "would delete what the others made" in capsys.readouterr().err


@pytest.mark.slow
def test_two_launched_processes_make_the_files_of_one(tasks_dir, tmp_path):  # noqa: F811
    pytest.importorskip("accelerate")
    model = tiny_model(tmp_path / "model")
    run = ("hlvbench", "run", "--task", "mine", "--tasks-dir", tasks_dir, "--model", model, "--max-new-tokens", "8")
    run = (*run, "--batch-size", "4", "--device", "cpu")
    launcher = ("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1", "-m")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    printed = {}
    for name, words in (("alone", run), ("shared", (*launcher, *run))):
        command = [sys.executable, "-m", *map(str, words), "--out", str(tmp_path / name)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-3000:]
        printed[name] = done.stdout.split("\nreport:")[0]
        shares = done.stderr.count("its part is there")
        assert shares == (name == "shared")
    assert printed["alone"].replace("alone", "shared") == printed["shared"]
    for name in FILES:
        alone, shared = (tmp_path / run / "mine" / name for run in ("alone", "shared"))
        assert alone.read_bytes() == shared.read_bytes()
