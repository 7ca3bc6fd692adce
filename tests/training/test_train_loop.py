from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hlvbench.models.logprobs import Example, forward
from hlvbench.training.losses import sft_loss
from hlvbench.training.training_config import Config
from hlvbench.training.training_loop import STATE, Loop, Objective, State, TrainError, rows_of_step, steps_of
from tests.tiny import tiny_model

ROWS = [Example((7, 8, *range(9, 9 + n % 5)), (11, *range(12, 13 + n % 4), 2)) for n in range(11)]
CONFIG = Config("sft", "tiny", rate=1e-2, epochs=3, batch=4, dropout=0.2)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("loop") / "base")


def adapted(base: Path, dropout: float = 0.2) -> Any:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = LoraConfig(r=4, lora_dropout=dropout, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(model, config).train()


def weights(model: Any) -> dict[str, Any]:
    return {n: p for n, p in model.named_parameters() if p.requires_grad}


def loop_of(
    model: Any, folder: Path, micro: int = 2, config: Config = CONFIG, loss: Callable[..., Any] | None = None
) -> Loop:
    def own(positions: Sequence[int]) -> tuple[Any, dict[str, Any]]:
        logps, mask = forward(model, [ROWS[i] for i in positions], 0)
        return sft_loss(logps, mask), {}

    objective = Objective(ROWS, loss or own, lambda row: len(row.answer))
    folder.mkdir(parents=True, exist_ok=True)
    return Loop(weights(model), objective, config, folder, ("toy", "Ann1"), micro)


def trained(base: Path, folder: Path, **options: Any) -> tuple[dict[str, Any], State]:
    model = adapted(base)
    state = loop_of(model, folder, **options).run(lambda state: None, [], quiet=True)
    return {n: p.detach().clone() for n, p in weights(model).items()}, state


class Killed(Exception):
    pass


def test_training_lowers_the_loss_and_logs_every_step(base: Path, tmp_path: Path) -> None:
    _, state = trained(base, tmp_path)
    # 11 rows in batches of 4: 3 steps an epoch, 3 epochs
    assert [row["step"] for row in state.log] == list(range(1, 10))
    assert state.log[-1]["loss"] < state.log[0]["loss"] - 0.5
    assert state.tokens == 3 * sum(r.tokens for r in ROWS)


@pytest.mark.parametrize("stop", [1, 4, 8])
def test_a_training_that_was_stopped_ends_with_the_bits_of_one_that_was_not(
    base: Path, tmp_path: Path, stop: int
) -> None:
    whole, state = trained(base, tmp_path / "whole")

    def kill(at: State) -> None:
        if at.step == stop + 1:
            raise Killed

    model = adapted(base)
    with pytest.raises(Killed):
        # saved after step `stop`, killed after the next one
        loop_of(model, tmp_path / "two").run(kill, [stop, stop + 1], quiet=True)
    assert (tmp_path / "two" / STATE).exists()
    again = adapted(base)
    resumed = loop_of(again, tmp_path / "two").run(lambda state: None, [], quiet=True)
    assert [row["loss"] for row in resumed.log] == [row["loss"] for row in state.log]
    assert [row["rate"] for row in resumed.log] == [row["rate"] for row in state.log]
    for name, weight in weights(again).items():
        assert torch.equal(weight, whole[name]), name


def test_the_rate_warms_up_and_falls_to_nearly_nothing(base: Path, tmp_path: Path) -> None:
    _, state = trained(base, tmp_path)
    rates = [row["rate"] for row in state.log]
    # a tenth of 9 steps is 1, which has rate 0; then half a cosine over 9 steps, of which the last is not taken:
    # (1 + cos(7π/9)) / 2 = (1 - .7660) / 2 = .1170
    assert rates[:2] == pytest.approx([0.0, 1e-2])
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[-1] == pytest.approx(0.1170e-2, abs=1e-6)


@pytest.mark.parametrize("micro", [1, 3, 100])
def test_a_step_does_not_depend_on_its_micro_batches(base: Path, tmp_path: Path, micro: int) -> None:
    losses = []
    for size in (2, micro):
        model = adapted(base, dropout=0.0)
        losses.append(
            [row["loss"] for row in loop_of(model, tmp_path / str(size), size).run(lambda s: None, [], True).log]
        )
    assert losses[0] == pytest.approx(losses[1], abs=2e-4)


def test_memory_that_does_not_suffice_halves_the_micro_batch_and_changes_nothing_else(
    base: Path, tmp_path: Path
) -> None:
    model, sizes = adapted(base, dropout=0.0), []

    def scarce(positions: Sequence[int]) -> tuple[Any, dict[str, Any]]:
        sizes.append(len(positions))
        if len(positions) > 1:
            raise torch.OutOfMemoryError("out of memory")
        logps, mask = forward(model, [ROWS[i] for i in positions], 0)
        return sft_loss(logps, mask), {}

    loop = loop_of(model, tmp_path / "scarce", 4, loss=scarce)
    state = loop.run(lambda s: None, [], quiet=True)
    plenty = loop_of(adapted(base, dropout=0.0), tmp_path / "plenty", 1).run(lambda s: None, [], quiet=True)
    assert (loop.micro, max(sizes), sizes[:3]) == (1, 4, [4, 2, 1])
    assert [row["loss"] for row in state.log] == [row["loss"] for row in plenty.log]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_it_reaches_the_weights(base: Path, tmp_path: Path, bad: float) -> None:
    model = adapted(base)
    before: dict[str, Any] = {}

    def breaks(positions: Sequence[int]) -> tuple[Any, dict[str, Any]]:
        logps, mask = forward(model, [ROWS[i] for i in positions], 0)
        loop_state = loop.state.step
        if loop_state == 5 and not before:
            before.update({n: p.detach().clone() for n, p in weights(model).items()})
        return sft_loss(logps, mask) * (bad if loop_state == 5 else 1.0), {}

    loop = loop_of(model, tmp_path, loss=breaks)
    with pytest.raises(TrainError, match=r"toy/Ann1: the loss .* not finite at step 6 of 9; .*--lr"):
        loop.run(lambda s: None, [], quiet=True)
    assert len(loop.state.log) == 5
    for name, weight in weights(model).items():
        assert torch.equal(weight, before[name])


def test_activation_checkpointing_gives_the_same_gradients(base: Path) -> None:
    found = []
    for on in (False, True):
        model = adapted(base, dropout=0.0)
        if on:
            model.get_base_model().activation_checkpointing_enable({"use_reentrant": False})
        logps, mask = forward(model, ROWS[:4], 0)
        sft_loss(logps, mask).backward()
        found.append({n: p.grad for n, p in weights(model).items()})
    for name, gradient in found[0].items():
        assert torch.allclose(gradient, found[1][name], atol=1e-6), name
    assert max(float(g.abs().max()) for g in found[0].values()) > 1e-3


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 3))
def test_an_epoch_holds_every_row_once_in_an_order_of_its_own(rows: int, batch: int, seed: int) -> None:
    config = Config("sft", "m", batch=batch, epochs=2, seed=seed)
    steps = steps_of(rows, config)
    assert steps == 2 * -(-rows // batch)
    drawn = [rows_of_step(step, rows, config, ("toy", "Ann1")) for step in range(steps)]
    first, second = ([i for step in half for i in step] for half in (drawn[: steps // 2], drawn[steps // 2 :]))
    assert sorted(first) == sorted(second) == list(range(rows))
    if rows > 12:
        assert first != second
        assert first != [i for s in range(steps // 2) for i in rows_of_step(s, rows, config, ("toy", "Ann2"))]


def test_half_an_epoch_is_half_the_steps_and_never_none() -> None:
    assert steps_of(64, Config("sft", "m", batch=16, epochs=0.5)) == 2
    assert steps_of(3, Config("sft", "m", batch=16, epochs=0.1)) == 1
