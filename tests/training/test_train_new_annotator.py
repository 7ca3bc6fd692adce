"""Annotators whom a shared adapter never saw: told by profile and examples in the prompt."""

from __future__ import annotations

from pathlib import Path

import pytest

from hlvbench.cli import main
from hlvbench.errors import UsageError
from hlvbench.io import read_generations, read_json, read_toml
from hlvbench.prompting.prompt import Prompter
from hlvbench.training.train_adapters import train
from tests.trainers import TASK, config

pytestmark = pytest.mark.slow


def test_a_train_item_is_no_example_of_itself() -> None:
    prompter = Prompter(TASK, "icl", shots=100)
    for record in TASK.records_of("train", "Ann1"):
        shown = prompter._examples(record.item, "Ann1")
        assert record.item not in {r.item for r in shown}
        assert len(shown) == len(TASK.records_of("train", "Ann1")) - 1


def test_a_shared_adapter_answers_for_somebody_it_did_not_learn_from(
    base: Path,
    tasks_dir: Path,
    tmp_path: Path,
) -> None:
    asked = ["--prompt", "vp-icl", "--shots", "2", "--task", "toy", "--tasks-dir", str(tasks_dir), "-q"]
    words = ["train", "sft", "--model", str(base), "--shared", "--leave-out", "Ann3", "--epochs", "1", "--batch", "5"]
    assert main([*words, *asked, "--out", str(tmp_path / "shared")]) == 0
    # two annotators with ten train records each
    assert read_json(tmp_path / "shared" / "manifest.json")["examples"] == 20
    assert read_toml(tmp_path / "shared" / "train.toml")["leave-out"] == ["Ann3"]
    run = ["run", "--model", str(base), "--adapter-dir", str(tmp_path / "shared"), "--annotator", "Ann3"]
    assert main([*run, *asked, "--max-new-tokens", "6", "--out", str(tmp_path / "run")]) == 0
    rows = read_generations(tmp_path / "run" / "toy" / "generations.jsonl")
    assert {row.annotator for row in rows} == {"Ann3"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"leave_out": ("Ann3",)}, "--leave-out needs --shared"),
        (
            {"leave_out": ("Ann9",), "shared": True},
            r"--leave-out Ann9: no such annotator; there are toy: Ann1, Ann2, Ann3",
        ),
        ({"prompt": "cot"}, "--prompt cot: Input should be 'base', 'icl', 'vp' or 'vp-icl'"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message, base: Path, tasks_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        train(config(base, **options), tmp_path / "out", tasks_dir=tasks_dir, quiet=True)
