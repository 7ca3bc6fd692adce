from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hlvbench.models.loading import identified
from hlvbench.models.logprobs import Example, forward
from hlvbench.training import adapter_trainer
from hlvbench.training.adapter_trainer import (
    AdapterTrainer,
    RowOrder,
    TrainError,
    checkpoint_folder,
    last_checkpoint,
    step_log,
    train_adapter,
)  # fmt: skip
from hlvbench.training.losses import sft_loss
from hlvbench.training.trainable_model import TRAINED, TrainableModel
from hlvbench.training.training_config import Config, save_points, steps_of
from hlvbench.training.training_data import Job
from tests.tiny import tiny_model
from tests.toy import toy_task

ROWS = [Example((7, 8, *range(9, 9 + n % 5)), (11, *range(12, 13 + n % 4), 2)) for n in range(11)]
TASK = toy_task(annotators=3, items=(10, 4, 4))
# 11 rows in batches of 4: 3 steps an epoch, 9 steps; a checkpoint after each
SETTINGS: dict[str, Any] = {"rank": 4, "rate": 1e-2, "epochs": 3, "batch": 4, "dropout": 0.2, "checkpoints": 9}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("trainer") / "base")


@pytest.fixture(scope="module")
def model(base: Path) -> TrainableModel:
    """One base for all tests, as for all adapters of a training."""
    return TrainableModel(Config("sft", str(base), ("toy",), **SETTINGS), identified(str(base), base), "cpu")


def weights(model: TrainableModel) -> dict[str, Any]:
    return {n: p.detach().clone() for n, p in model.model.named_parameters() if f".{TRAINED}." in n}


def trained(
    model: TrainableModel, folder: Path, micro: int = 2, **settings: Any
) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    """The adapter's weights, its log and the facts of a training in `folder`."""
    model.config = Config("sft", model.config.model, ("toy",), **{**SETTINGS, **settings})
    job = Job(TASK, "Ann1", folder / "Ann1")
    facts = train_adapter(model, job, ROWS, micro=micro, quiet=True)
    found = weights(model)
    model.drop()
    return found, step_log(checkpoint_folder(job, facts["steps"])), facts


@pytest.fixture(scope="module")
def whole(model: TrainableModel, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An undisturbed training."""
    return trained(model, tmp_path_factory.mktemp("whole"))


class Killed(Exception):
    pass


def test_training_lowers_the_loss_and_logs_every_step(whole: Any) -> None:
    _, log, facts = whole
    assert [row["step"] for row in log] == list(range(1, 10))
    assert log[-1]["loss"] < log[0]["loss"] - 0.5
    assert sum(row["tokens"] for row in log) == 3 * sum(r.tokens for r in ROWS)
    assert (facts["steps"], facts["micro_batch"]) == (9, 2)


@pytest.mark.parametrize("stop", [1, 4, 6])
def test_a_training_that_was_stopped_ends_as_one_that_was_not(
    model: TrainableModel, whole: Any, tmp_path: Path, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AdapterTrainer.log

    def kill(self: AdapterTrainer, logs: dict[str, float], start_time: float | None = None) -> None:
        log(self, logs, start_time)
        if self.state.global_step == stop + 1:
            raise Killed

    with monkeypatch.context() as patch:
        # a checkpoint of step `stop` is there, the next one is not yet
        patch.setattr(AdapterTrainer, "log", kill)
        with pytest.raises(Killed):
            trained(model, tmp_path)
    job = Job(TASK, "Ann1", tmp_path / "Ann1")
    assert last_checkpoint(job) == stop
    # a checkpoint that was being written is not taken
    checkpoint_folder(job, stop + 1).mkdir()
    found, rows, _ = trained(model, tmp_path)
    assert rows == whole[1]
    for name, weight in found.items():
        assert torch.equal(weight, whole[0][name]), name


def test_a_checkpoint_holds_the_adapter_and_the_state_of_the_optimiser_alone(
    model: TrainableModel, tmp_path: Path
) -> None:
    trained(model, tmp_path, checkpoints=1)
    names = {p.name for p in (tmp_path / ".Ann1.unfinished" / "checkpoint-9").rglob("*")}
    adapter = {"adapter_config.json", "adapter_model.safetensors", "hlvbench.json"}
    assert names == adapter | {"optimizer.pt", "rng_state.pth", "scheduler.pt", "trainer_state.json"}


def test_the_rate_warms_up_and_falls_to_nearly_nothing(whole: Any) -> None:
    rates = [row["rate"] for row in whole[1]]
    # a tenth of 9 steps is 1, which has rate 0; then half a cosine over 9 steps, of which the last is not taken:
    # (1 + cos(8π/9)) / 2 at the last, (1 + cos(7π/9)) / 2 = (1 - .7660) / 2 = .1170 before it
    assert rates[:2] == pytest.approx([0.0, 1e-2])
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[-1] == pytest.approx(0.1170e-2, abs=1e-6)


@pytest.mark.parametrize("micro", [1, 100])
def test_a_step_does_not_depend_on_its_passes(model: TrainableModel, tmp_path: Path, micro: int) -> None:
    logs = [trained(model, tmp_path / str(size), size, dropout=0.0)[1] for size in (2, micro)]
    assert [r["loss"] for r in logs[0]] == pytest.approx([r["loss"] for r in logs[1]], abs=2e-4)


def test_memory_that_does_not_suffice_halves_a_pass_and_changes_nothing_else(
    model: TrainableModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def scarce(logps: Any, mask: Any) -> Any:
        sizes.append(len(logps))
        if len(logps) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return sft_loss(logps, mask)

    with monkeypatch.context() as patch:
        patch.setattr(adapter_trainer, "sft_loss", scarce)
        found, log, facts = trained(model, tmp_path / "scarce", 4)
    plenty, expected, _ = trained(model, tmp_path / "plenty", 1)
    assert (facts["micro_batch"], sizes[:3]) == (1, [4, 2, 1])
    assert log == expected
    assert all(torch.equal(found[name], plenty[name]) for name in plenty)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_it_reaches_the_weights(
    model: TrainableModel, tmp_path: Path, bad: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file

    calls = []

    def breaks(logps: Any, mask: Any) -> Any:
        calls.append(1)
        # one pass a step
        return sft_loss(logps, mask) * (bad if len(calls) == 6 else 1.0)

    monkeypatch.setattr(adapter_trainer, "sft_loss", breaks)
    with pytest.raises(TrainError, match=r"toy/Ann1: the loss .* not finite at step 6 of 9; .*--lr"):
        trained(model, tmp_path, 4)
    work = tmp_path / ".Ann1.unfinished"
    good, before = (load_file(work / name / "adapter_model.safetensors") for name in ("last-good", "checkpoint-5"))
    assert all(torch.equal(good[name], before[name]) for name in before)


def test_activation_checkpointing_gives_the_same_losses(model: TrainableModel, whole: Any, tmp_path: Path) -> None:
    _, log, _ = trained(model, tmp_path, gradient_checkpointing=True)
    assert model.model.base_model.model.is_activation_checkpointing
    model.model.base_model.model.activation_checkpointing_disable()
    assert [r["loss"] for r in log] == pytest.approx([r["loss"] for r in whole[1]], abs=1e-4)


def test_arguments_reach_the_trainer(model: TrainableModel, tmp_path: Path) -> None:
    model.config = Config("sft", model.config.model, ("toy",), trainer_arg={"optim": "sgd", "adam_beta1": "0.5"})
    model.add(0)
    found = AdapterTrainer(model, Job(TASK, "Ann1", tmp_path / "a"), ROWS, 8, "none", True).args
    model.drop()
    assert (found.optim, found.adam_beta1, found.per_device_train_batch_size, found.n_gpu) == ("sgd", 0.5, 8, 0)


def test_padding_gives_every_row_what_it_has_alone_in_training_mode(model: TrainableModel) -> None:
    model.add(0)
    model.model.eval()
    together, _ = forward(model.model, ROWS[:3], 0)
    alone = [float(forward(model.model, [row], 0)[0].sum().detach()) for row in ROWS[:3]]
    model.drop()
    assert together.sum(dim=1).tolist() == pytest.approx(alone, abs=1e-4)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 3))
def test_an_epoch_holds_every_row_once_in_an_order_of_its_own(count: int, batch: int, seed: int) -> None:
    config = Config("sft", "m", batch=batch, epochs=2, seed=seed)
    assert steps_of(count, config) == 2 * -(-count // batch)
    rows = [Example((1,), (2,) * (1 + n % 3)) for n in range(count)]
    first, second = (RowOrder(rows, config, ("toy", "Ann1")).of_epoch(epoch) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(count))
    for start in range(0, count, batch):
        lengths = [rows[i].tokens for i in first[start : start + batch]]
        assert lengths == sorted(lengths, reverse=True)
    if count > 12:
        assert first != second
        assert first != RowOrder(rows, config, ("toy", "Ann2")).of_epoch(0)


def test_half_an_epoch_is_half_the_steps_and_never_none() -> None:
    assert steps_of(64, Config("sft", "m", batch=16, epochs=0.5)) == 2
    assert steps_of(3, Config("sft", "m", batch=16, epochs=0.1)) == 1


def test_checkpoints_are_spread_evenly_and_the_last_step_is_one() -> None:
    assert save_points(55, Config("sft", "m")) == [14, 28, 42, 55]
    assert save_points(2, Config("sft", "m")) == [1, 2]


def test_the_log_is_json_that_reads_back(whole: Any) -> None:
    assert json.loads(json.dumps(whole[1])) == whole[1]
