"""A small task and SFT adapters on a random-weight model, for the tests of the trainers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hlvbench.training.train_adapters import train
from hlvbench.training.training_config import Config
from tests.tiny import tiny_model
from tests.toy import save_table, toy_task

TASK = toy_task(annotators=3, items=(10, 24, 4))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("train") / "base")


@pytest.fixture(scope="module")
def tasks_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_table(TASK, tmp_path_factory.mktemp("train") / "tasks")


def config(base: Path, method: str = "sft", **options: Any) -> Config:
    fast: dict[str, Any] = {"task": ("toy",), "epochs": 1, "batch": 5, "rate": 1e-2, "max_new_tokens": 6}
    fast |= {"rank": 4} if method == "sft" else {}
    return Config(method, str(base), **{**fast, **options})


@pytest.fixture(scope="module")
def sft(base: Path, tasks_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("train") / "sft"
    return train(config(base), out, tasks_dir=tasks_dir, quiet=True, command=["hlvbench", "train", "sft"])
