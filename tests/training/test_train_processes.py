"""Trainings that are killed, and trainings by several processes."""

from __future__ import annotations

import json
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

TASK = toy_task(annotators=2, items=(10, 24, 4))
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


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def capo(base: Path, tasks_dir: Path, sft: Path, out: Path, *more: str) -> list[str]:
    """A command with dev answers, a reference and checkpoints to choose from."""
    words = f"-m hlvbench train capo --model {base} --task toy --tasks-dir {tasks_dir} --from {sft} --out {out} -q"
    words += " --lr 1e-2 --max-new-tokens 6 --pairs all --select own_gain --checkpoints 2 --device cpu"
    return [*words.split(), *more]


def start(words: list[str], *launcher: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        [sys.executable, *launcher, *words], cwd=HERE, env=environment, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_a_killed_training_resumes_and_ends_with_the_same_bytes(
    base: Path, tasks_dir: Path, sft: Path, tmp_path: Path
) -> None:
    more = ["--batch", "2", "--epochs", "4"]
    assert start(capo(base, tasks_dir, sft, tmp_path / "whole", *more)).wait() == 0
    words = capo(base, tasks_dir, sft, tmp_path / "killed", *more)
    work = tmp_path / "killed" / "toy" / ".Ann2.unfinished"
    process = start(words)
    deadline = time.monotonic() + 300
    # 10 pairs in batches of 2, 4 epochs: 20 steps, the first checkpoint after 10
    while not (work / "checkpoint-10" / "trainer_state.json").exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    assert process.wait() != 0
    assert not (tmp_path / "killed" / "toy" / "Ann2").exists()
    assert start(words).wait() == 0
    for annotator in TASK.annotators:
        assert content(tmp_path / "killed" / "toy" / annotator) == content(tmp_path / "whole" / "toy" / annotator)
    assert {p.name for p in (tmp_path / "killed" / "toy").iterdir()} - {".start"} == {"Ann1", "Ann2"}


@pytest.mark.slow
def test_two_processes_train_each_adapter_together(base: Path, tasks_dir: Path, sft: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    # 10 pairs in batches of 10: nobody has to fill up a batch
    more = ["--batch", "10", "--epochs", "4"]
    assert start(capo(base, tasks_dir, sft, tmp_path / "one", *more)).wait() == 0
    # without a GPU the launcher starts several processes under --multi_gpu alone
    launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    launcher += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    process = start(capo(base, tasks_dir, sft, tmp_path / "two", *more), *launcher)
    shown, _ = process.communicate(timeout=500)
    assert (process.returncode, shown.split()) == (0, [str(tmp_path / "two")])
    for annotator in TASK.annotators:
        one, two = (tmp_path / name / "toy" / annotator for name in ("one", "two"))
        assert [read_json(folder / "manifest.json")["processes"] for folder in (one, two)] == [1, 2]
        logs = [[json.loads(line) for line in (f / "log.jsonl").read_text().splitlines()] for f in (one, two)]
        assert len(logs[0]) == 4
        for mine, theirs in zip(*logs, strict=True):
            # at the start every margin is 0 but for rounding
            assert {**theirs, "correct": 0} == pytest.approx({**mine, "correct": 0}, rel=1e-3, abs=1e-4)
        first, second = (load_file(folder / "adapter_model.safetensors") for folder in (one, two))
        assert all(second[name].allclose(first[name], atol=1e-3) for name in first)
