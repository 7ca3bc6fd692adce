"""What the trainers refuse, and what they say of it."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from hlvbench.cli import main
from hlvbench.errors import AdapterError, RunError, TaskError, UsageError
from hlvbench.io import read_json
from hlvbench.training.train_adapters import dry_run, train
from hlvbench.training.training_config import Config
from hlvbench.types import Task
from tests.tiny import edit_json, tiny_model
from tests.toy import save_table
from tests.trainers import TASK, config


def lone(tasks: Path, drop: str) -> tuple[Task, Path]:
    """The toy task in which Ann3 has no train record ("records"), or none on an item of the others ("pairs")."""
    train_ids = TASK.splits["train"]
    kept = [r for r in TASK.records if r.item not in train_ids or r.annotator != "Ann3"]
    if drop == "pairs":
        half = set(train_ids[:5])
        kept = [r for r in TASK.records if r.item not in train_ids or (r.annotator == "Ann3") == (r.item in half)]
    task = dataclasses.replace(TASK, records=tuple(kept))
    return task, save_table(task, tasks)


def test_annotators_without_records_or_pairs_are_named_and_skipped_only_on_request(
    base: Path, sft: Path, tmp_path: Path
) -> None:
    _, without_records = lone(tmp_path / "a", "records")
    with pytest.raises(TaskError, match=r"--skip-missing.*\n  toy: annotator Ann3 has no train record"):
        train(config(base), tmp_path / "out", tasks_dir=without_records, quiet=True)
    assert not (tmp_path / "out").exists()
    out = train(config(base), tmp_path / "out", tasks_dir=without_records, skip_missing=True, quiet=True)
    assert sorted(p.name for p in (out / "toy").iterdir()) == ["Ann1", "Ann2"]
    _, without_pairs = lone(tmp_path / "b", "pairs")
    with pytest.raises(
        TaskError, match="Ann3 has no preference pair: nobody else wrote another text on the same train item"
    ):
        train(config(base, "capo", start=str(sft)), tmp_path / "x", tasks_dir=without_pairs, quiet=True)


def test_sft_adapters_of_another_base_or_task_are_refused(
    base: Path, tasks_dir: Path, sft: Path, tmp_path: Path
) -> None:
    other = tiny_model(tmp_path / "other", seed=9)
    with pytest.raises(AdapterError, match=r"3 problems(.|\n)*Ann1.*trained on.*weights_sha256"):
        train(config(other, "capo", start=str(sft)), tmp_path / "out", tasks_dir=tasks_dir, quiet=True)
    moved = tmp_path / "moved"
    shutil.copytree(sft, moved)
    edit_json(moved / "toy" / "Ann2" / "hlvbench.json", task="elsewhere")
    with pytest.raises(AdapterError, match="records task elsewhere, but it is asked to answer for toy"):
        train(config(base, "capo", start=str(moved)), tmp_path / "out", tasks_dir=tasks_dir, quiet=True)
    with pytest.raises(AdapterError, match="no such folder"):
        train(config(base, "capo", start=str(tmp_path / "absent")), tmp_path / "out", tasks_dir=tasks_dir, quiet=True)


def test_a_selection_that_cannot_be_made_is_refused_before_training(
    base: Path, sft: Path, tmp_path: Path, tasks_dir: Path
) -> None:
    task = dataclasses.replace(TASK, splits={**TASK.splits, "dev": ()})
    task = dataclasses.replace(task, records=tuple(r for r in task.records if r.item not in TASK.splits["dev"]),
                               items={i: v for i, v in task.items.items() if i not in TASK.splits["dev"]})  # fmt: skip
    with pytest.raises(UsageError, match="no dev items to choose a checkpoint by; use --select last"):
        train(
            config(base, "capo", start=str(sft)), tmp_path / "o", tasks_dir=save_table(task, tmp_path / "t"), quiet=True
        )
    bad = (("nonsense", "no metric"), ("feature_kl", "more is not better"), ("hlv_index", "has no value of one"))
    for words, why in (*bad, ("imitation_score@50", "cannot be computed on the dev split of toy")):
        with pytest.raises(UsageError, match=f"--select {words}.*{why}"):
            train(config(base, "capo", start=str(sft), select=words), tmp_path / "o", tasks_dir=tasks_dir, quiet=True)


@pytest.mark.parametrize(
    ("method", "options", "said"),
    [
        ("capo", {}, "--from SFT_DIR"),
        ("sft", {"beta": 0.3, "tau": 2}, "--beta is an option of capo"),
        ("capo", {"start": "x", "rank": 8}, "--rank is an option of sft"),
        ("sft", {"rate": 2.0}, "--lr 2.0: Input should be less than 1"),
        ("sft", {"clip": math.nan}, "--clip nan"),
        ("sft", {"weight_decay": math.inf}, "--weight-decay inf"),
        ("sft", {"targets": "q_proj,lm_head"}, "lm_head cannot be adapted"),
        ("sft", {"task": ("varierr", "r2"), "shared": True}, "one adapter of one task"),
        (
            "capo",
            {"start": "x", "pairs": "some", "beta": 0.0},
            "--pairs some: Input should be 'near', 'equal' or 'all'",
        ),
    ],
)
def test_options_that_make_no_sense_are_told_at_once(method: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as error:
        Config(method, "m", **options).check()
    assert said in str(error.value)


def test_wrong_input_ends_with_exit_code_2_and_one_message(
    base: Path, tasks_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "sft", "--model", str(base), "--task", "toy", "--tasks-dir", str(tasks_dir), "--out"]
    for more, said in (
        (["--annotator", "Ann9"], "--annotator Ann9: no such annotator; there are toy: Ann1, Ann2, Ann3"),
        (["--targets", "q_proj,nowhere"], "--targets nowhere: the model has no such layer"),
        (["--micro-batch", "-2"], "--micro-batch -2: 1 or more"),
        (["--trainer-arg", "learning_rate=1"], "--trainer-arg learning_rate: set by hlvbench"),
        (["--trainer-arg", "nonsense=1"], "unexpected keyword argument 'nonsense'"),
        (["--trainer-arg", "optim=nonsense"], "--trainer-arg {'optim': 'nonsense'}"),
        (["--report-to", "nonsense"], "nonsense is not supported"),
        (["--config", "qwen3-4b-capo"], "configures capo (beta, checkpoints, pairs, tau), not sft"),
        (["--config", "no-such"], "there are "),
    ):
        assert main([*words, str(tmp_path / "out"), "-q", *more]) == 2
        told = capsys.readouterr()
        assert said in told.err
        assert "Traceback" not in told.err
    # an abbreviated --config would be taken, and its file not read
    with pytest.raises(SystemExit):
        main([*words, str(tmp_path / "out"), "--conf", "x.toml"])
    assert "unrecognized arguments: --conf" in capsys.readouterr().err


def test_rejected_texts_of_nearest_items_need_no_repeated_annotation(base: Path, tmp_path: Path) -> None:
    train_ids = TASK.splits["train"]
    people = TASK.annotators
    once = {item: people[k % 3] for k, item in enumerate(train_ids)}
    task = dataclasses.replace(
        TASK, records=tuple(r for r in TASK.records if once.get(r.item, r.annotator) == r.annotator)
    )
    tasks = save_table(task, tmp_path / "tasks")
    sft_out = train(config(base), tmp_path / "sft", tasks_dir=tasks, quiet=True)
    capo = config(base, "capo", start=str(sft_out), select="last", pairs="all")
    with pytest.raises(TaskError, match="Ann1 has no preference pair"):
        train(capo, tmp_path / "same", tasks_dir=tasks, quiet=True)
    nearest = dataclasses.replace(capo, rejected="nearest")
    assert dry_run(nearest, tasks_dir=tasks)["toy/Ann1"]["pairs"] > 0
    train(nearest, tmp_path / "nearest", tasks_dir=tasks, quiet=True)
    assert (tmp_path / "nearest" / "toy" / "Ann1" / "adapter_model.safetensors").exists()


def test_who_was_skipped_by_sft_can_be_skipped_by_capo(base: Path, tmp_path: Path) -> None:
    _, tasks = lone(tmp_path / "tasks", "records")
    out = train(config(base), tmp_path / "sft", tasks_dir=tasks, skip_missing=True, quiet=True)
    capo = config(base, "capo", start=str(out), pairs="all", checkpoints=1, select="own_gain")
    with pytest.raises(TaskError, match="Ann3 has no train record"):
        train(capo, tmp_path / "capo", tasks_dir=tasks, quiet=True)
    train(capo, tmp_path / "capo", tasks_dir=tasks, quiet=True, skip_missing=True)
    made = sorted(p.name for p in (tmp_path / "capo" / "toy").iterdir() if not p.name.startswith("."))
    assert made == ["Ann1", "Ann2"]


def test_capo_of_one_annotator_needs_the_others_adapters_only_to_choose(
    base: Path, tasks_dir: Path, sft: Path, tmp_path: Path
) -> None:
    shutil.copytree(sft / "toy" / "Ann1", tmp_path / "one" / "toy" / "Ann1")
    capo = config(base, "capo", start=str(tmp_path / "one"), annotator=("Ann1",))
    with pytest.raises(AdapterError, match="annotator Ann2 has no adapter"):
        train(capo, tmp_path / "out", tasks_dir=tasks_dir, quiet=True)
    train(dataclasses.replace(capo, select="last"), tmp_path / "out", tasks_dir=tasks_dir, quiet=True)
    assert (tmp_path / "out" / "toy" / "Ann1" / "adapter_model.safetensors").exists()


def test_an_adapter_of_one_person_or_another_task_does_not_speak_for_everybody(
    base: Path, tasks_dir: Path, sft: Path, tmp_path: Path
) -> None:
    shared = config(base, "capo", start=str(sft / "toy" / "Ann1"), shared=True, select="last")
    with pytest.raises(AdapterError, match="records annotator Ann1, but it is asked to answer for everybody"):
        train(shared, tmp_path / "out", tasks_dir=tasks_dir, quiet=True)
    moved = tmp_path / "moved"
    shutil.copytree(sft / "toy" / "Ann1", moved)
    edit_json(moved / "hlvbench.json", task="elsewhere", annotator=None)
    with pytest.raises(AdapterError, match="records task elsewhere, but it is asked to answer for toy"):
        train(dataclasses.replace(shared, start=str(moved)), tmp_path / "out", tasks_dir=tasks_dir, quiet=True)


def test_one_folder_holds_one_shape_of_adapters(base: Path, tasks_dir: Path, sft: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds an adapter per annotator"):
        train(config(base, shared=True), sft, tasks_dir=tasks_dir, quiet=True)
    shutil.copytree(sft / "toy" / "Ann1", tmp_path / "shared")
    with pytest.raises(RunError, match="is itself a shared adapter"):
        train(config(base), tmp_path / "shared", tasks_dir=tasks_dir, quiet=True)


def test_examples_that_are_left_out_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = next(r for r in TASK.records_of("train", "Ann1"))
    longer = dataclasses.replace(first, explanation=f"{first.explanation} {first.explanation}")
    task = dataclasses.replace(TASK, records=tuple(longer if r is first else r for r in TASK.records))
    tasks = save_table(task, tmp_path / "tasks")
    longest = dry_run(config(tiny_model(tmp_path / "probe")), tasks_dir=tasks)["toy/Ann1"]["longest"]
    short = tiny_model(tmp_path / "short", context=longest - 1)
    train(config(short, annotator=("Ann1",)), tmp_path / "out", tasks_dir=tasks)
    assert f"1 of 10 examples are longer than the {longest - 1} positions" in capsys.readouterr().err
    assert read_json(tmp_path / "out" / "toy" / "Ann1" / "manifest.json")["too_long"] == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('lr = "abc"', "lr = 'abc': invalid float value: 'abc'"),
        ("rank = 4.5", "rank = 4.5: invalid int value"),
        ("batch = true", "batch = True: the option takes a value"),
        ('shared = "no"', "shared = 'no': true or false was expected"),
        ("annotator = 3", "annotator = 3: a list of texts was expected"),
        ('model-arg = "x"', "model-arg = 'x': expected KEY=VALUE"),
        ('dtype = "tiny"', "dtype = 'tiny': invalid choice: 'tiny'"),
        ("lr = { a = 1 }", "the option takes no table"),
        ("lr = true\nbatch = 'x'", "batch = 'x': invalid int value"),
    ],
)
def test_a_value_that_does_not_fit_its_option_is_named(
    line: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "train.toml"
    path.write_text(line)
    assert main(["train", "sft", "--model", "m", "--out", "o", "--config", str(path)]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told


def test_the_command_line_wins_over_the_file(
    base: Path, tasks_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "train.toml"
    path.write_text('annotator = "Ann1"\nmodel-arg = { load_in_4bit = true }\n')
    words = f"train sft --model {base} --task toy --tasks-dir {tasks_dir} --config {path}".split()
    for more, who in (([], ["toy/Ann1"]), (["--annotator", "Ann2", "--annotator", "Ann3"], ["toy/Ann2", "toy/Ann3"])):
        assert main([*words, *more, "--dry-run", "--json"]) == 0
        assert list(json.loads(capsys.readouterr().out)) == who


def test_an_out_that_cannot_be_a_folder_is_one_message(
    base: Path, tasks_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    words = ["train", "sft", "--model", str(base), "--task", "toy", "--tasks-dir", str(tasks_dir), "-q", "--out"]
    assert main([*words, str(tmp_path / "file")]) == 2
    told = capsys.readouterr().err
    assert str(tmp_path / "file") in told
    assert "Traceback" not in told
