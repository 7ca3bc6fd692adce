"""Trainings that are killed, and trainings shared by several processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hlvbench.io import read_json
from hlvbench.training.train_adapters import train
from hlvbench.training.training_config import Config
from tests.tiny import tiny_model
from tests.toy import save_table, toy_task

TASK = toy_task(annotators=3, items=(10, 24, 4))
FILES = ("adapter_config.json", "adapter_model.safetensors", "hlvbench.json", "train.toml", "log.jsonl")
HERE = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("processes") / "base")


@pytest.fixture(scope="module")
def tasks_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_table(TASK, tmp_path_factory.mktemp("processes") / "tasks")


@pytest.fixture(scope="module")
def sft(base: Path, tasks_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = Config("sft", str(base), ("toy",), rank=4, rate=1e-2, epochs=1, batch=5, max_new_tokens=6)
    return train(settings, tmp_path_factory.mktemp("processes") / "sft", tasks_dir=tasks_dir, quiet=True)


def options(method: str, sft: Path) -> list[str]:
    """Of one method; capo with dev answers, a reference cache and checkpoints to choose from."""
    if method == "sft":
        return ["--rank", "4"]
    return ["--from", str(sft), "--pairs", "all", "--select", "own_gain", "--checkpoints", "2"]


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def command(method: str, base: Path, tasks_dir: Path, out: Path, *more: str) -> list[str]:
    return [
        "train", method, "--model", str(base), "--task", "toy", "--tasks-dir", str(tasks_dir), "--out", str(out),
        "--lr", "1e-2", "--max-new-tokens", "6", "-q", *more,
    ]  # fmt: skip


def run_command(words: list[str], *prefix: str, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *prefix, "-m", "hlvbench", *words], cwd=HERE,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **environment},
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sft", "capo"])
def test_a_killed_training_goes_on_where_it_was_and_ends_with_the_same_bytes(
    base: Path, tasks_dir: Path, sft: Path, tmp_path: Path, method: str
) -> None:
    # saved after every step, so that the kill falls between two of them
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import hlvbench.training.training_loop as l; l.SAVE_EVERY = 0.0\n"
    )
    path = os.pathsep.join([str(tmp_path / "site"), str(HERE)])
    more = [*options(method, sft), "--batch", "2", "--epochs", "20" if method == "sft" else "4"]
    assert run_command(command(method, base, tasks_dir, tmp_path / "whole", *more), PYTHONPATH=path).wait() == 0
    words = command(method, base, tasks_dir, tmp_path / "killed", *more)
    state = tmp_path / "killed" / "toy" / ".Ann2.unfinished" / "state.safetensors"
    process = run_command(words, PYTHONPATH=path)
    deadline = time.monotonic() + 120
    while not state.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    assert process.wait() != 0
    assert state.exists()
    assert run_command(words, PYTHONPATH=path).wait() == 0
    for annotator in TASK.annotators:
        mine, theirs = (content(tmp_path / f / "toy" / annotator) for f in ("killed", "whole"))
        assert mine == theirs
    left = {p.name for p in (tmp_path / "killed" / "toy").iterdir()} - {".start"}
    assert left == {"Ann1", "Ann2", "Ann3"}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sft", "capo"])
def test_two_processes_share_the_adapters_and_give_the_same_bytes(
    base: Path, tasks_dir: Path, sft: Path, tmp_path: Path, method: str
) -> None:
    more = [*options(method, sft), "--epochs", "1", "--batch", "5", "--device", "cpu"]
    one = tmp_path / "one"
    assert run_command(command(method, base, tasks_dir, one, *more)).wait() == 0
    words = command(method, base, tasks_dir, tmp_path / "two", *more)
    # without a GPU the launcher starts several processes under --multi_gpu alone
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    process = subprocess.run(
        [sys.executable, *launch, "-m", "hlvbench", *words], cwd=HERE, timeout=300, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert process.returncode == 0, process.stderr[-3000:]
    for annotator in TASK.annotators:
        assert content(tmp_path / "two" / "toy" / annotator) == content(one / "toy" / annotator)
    trained_by = [read_json(tmp_path / "two" / "toy" / a / "manifest.json")["process"] for a in TASK.annotators]
    assert trained_by == [[0, 2], [1, 2], [0, 2]]
