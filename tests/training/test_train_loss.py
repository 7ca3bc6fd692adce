from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hlvbench.errors import UsageError
from hlvbench.models.logprobs import Example, forward, token_logps
from hlvbench.training.adapter_trainer import capo_loss_of_pairs, longest_first, rows_per_pass
from hlvbench.training.losses import answer_logps, capo_loss, dpo_loss, sft_loss
from hlvbench.training.training_config import Config
from hlvbench.training.training_data import EncodedPair
from tests.tiny import tiny_adapter, tiny_model

PAD = 0


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("loss") / "base")


def load(base: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()


ROWS = [
    Example((7, 8, 9, 10), (11, 12, 2)),
    Example((13, 14), (15, 16, 17, 18, 2)),
    Example((9, 9, 21, 22, 23, 24), (25, 2)),
]
PAIRS = [
    EncodedPair(Example((7, 8, 9), (11, 12, 2)), Example((7, 8, 9), (13, 2))),
    EncodedPair(Example((20, 21), (22, 23, 24, 25, 2)), Example((20, 21), (26, 27, 28, 2))),
    EncodedPair(Example((9, 10, 11, 12), (13, 2)), Example((9, 10, 11, 12), (14, 15, 16, 2))),
]


def test_dpo_loss_by_hand() -> None:
    # margin = .1 · ((−10 − −12) − (−9 − −8)) = .1 · (2 + 1) = .3; −log σ(.3) = log(1 + e^−.3) = .554355
    # equal to the reference: −log σ(0) = log 2
    found = dpo_loss(torch.tensor([-10.0, -5.0]), torch.tensor([-9.0, -7.0]), torch.tensor([-12.0, -5.0]),
                     torch.tensor([-8.0, -7.0]), 0.1)  # fmt: skip
    assert found.tolist() == pytest.approx([0.554355, math.log(2)], abs=1e-6)


def test_the_sft_term_is_the_mean_per_token_of_the_chosen_answers_alone() -> None:
    # chosen: (−1 − 3) / 2 tokens and −6 / 3; rejected tokens do not count; references equal: DPO is log 2 each
    logps = torch.tensor([[0.0, -1.0, -3.0], [-1.0, -2.0, -3.0], [-9.0, -9.0, -9.0], [0.0, -8.0, -8.0]])
    mask = torch.tensor([[0, 1, 1], [1, 1, 1], [1, 1, 1], [0, 1, 1]])
    sums = answer_logps(logps, mask)
    assert sums.tolist() == [-4.0, -6.0, -27.0, -16.0]
    chosen_ref, rejected_ref = sums[:2], sums[2:]
    plain, stats = capo_loss(logps, mask, chosen_ref, rejected_ref, 0.1)
    mixed, _ = capo_loss(logps, mask, chosen_ref, rejected_ref, 0.1, sft_weight=0.5)
    assert float(plain) == pytest.approx(2 * math.log(2))
    assert float(mixed - plain) == pytest.approx(0.5 * (2.0 + 2.0))
    assert (int(stats["correct"]), float(stats["margin"])) == (0, 0.0)


@given(
    st.lists(st.tuples(*[st.floats(-50, 0)] * 4), min_size=1, max_size=5), st.floats(0.01, 2), st.floats(-20, 20)
)  # fmt: skip
def test_dpo_depends_on_the_differences_to_the_reference_alone(
    rows: list[tuple[float, ...]], beta: float, shift: float
) -> None:
    chosen, rejected, chosen_ref, rejected_ref = torch.tensor(rows, dtype=torch.float64).T
    loss = dpo_loss(chosen, rejected, chosen_ref, rejected_ref, beta)
    moved = dpo_loss(chosen + shift, rejected, chosen_ref + shift, rejected_ref, beta)
    assert torch.allclose(loss, moved, atol=1e-9)
    # swapping the two answers changes the margin's sign, and −log σ(m) + log σ(−m) = −m
    swapped = dpo_loss(rejected, chosen, rejected_ref, chosen_ref, beta)
    assert torch.allclose(loss - swapped, -beta * ((chosen - chosen_ref) - (rejected - rejected_ref)), atol=1e-9)
    assert bool((loss > 0).all())


def test_token_logps_are_those_of_a_softmax() -> None:
    # softmax of (log 1, log 2, log 5) is (1, 2, 5) / 8
    logits = torch.tensor([[[1.0, 2.0, 5.0], [5.0, 1.0, 2.0]]]).log()
    assert token_logps(logits, torch.tensor([[2, 1]])).exp().tolist() == [pytest.approx([5 / 8, 1 / 8])]


def plain_logps(model: Any, row: Example) -> list[float]:
    """One row alone, without padding, through all positions."""
    ids = torch.tensor([[*row.prompt, *row.answer]])
    every = model(input_ids=ids).logits[0].log_softmax(-1)
    start = len(row.prompt)
    return [float(every[start + k - 1, token]) for k, token in enumerate(row.answer)]


def test_a_padded_batch_gives_every_row_what_it_has_alone(base: Path) -> None:
    model = load(base)
    logps, mask = forward(model, ROWS, PAD)
    assert mask.sum(dim=1).tolist() == [3, 5, 2]
    for row, own, asked in zip(ROWS, logps, mask, strict=True):
        assert own[asked == 1].tolist() == pytest.approx(plain_logps(model, row), abs=1e-5)
        assert not own[asked == 0].any()


def test_the_sft_loss_is_the_one_of_transformers(base: Path) -> None:
    model = load(base)
    width = max(r.tokens for r in ROWS)
    # right-padded, prompts masked by −100: the library's own loss is the mean over the answers' tokens
    ids = torch.tensor([[*r.prompt, *r.answer] + [PAD] * (width - r.tokens) for r in ROWS])
    labels = torch.tensor([[-100] * len(r.prompt) + [*r.answer] + [-100] * (width - r.tokens) for r in ROWS])
    mask = torch.tensor([[1] * r.tokens + [0] * (width - r.tokens) for r in ROWS])
    theirs = model(input_ids=ids, attention_mask=mask, labels=labels).loss
    logps, answered = forward(model, ROWS, PAD)
    assert float(sft_loss(logps, answered) / answered.sum()) == pytest.approx(float(theirs), abs=1e-5)


def ours(model: Any, pairs: list[EncodedPair], sft_weight: float) -> torch.Tensor:
    both = [p.chosen for p in pairs] + [p.rejected for p in pairs]
    with torch.no_grad():
        model.set_adapter("ref")
        chosen, rejected = answer_logps(*forward(model, both, PAD)).chunk(2)
    model.set_adapter("default")
    known = [replace(p, chosen_logp=float(chosen[n]), rejected_logp=float(rejected[n])) for n, p in enumerate(pairs)]
    total, _ = capo_loss_of_pairs(model, known, PAD, Config("capo", "m", beta=0.1, sft_weight=sft_weight))
    return total / len(pairs)


@pytest.mark.slow
@pytest.mark.parametrize("mixed", [False, True])
def test_loss_and_gradients_are_those_of_trl(tmp_path: Path, base: Path, mixed: bool) -> None:
    from datasets import Dataset
    from peft import PeftModel
    from transformers import AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    adapter = tiny_adapter(tmp_path / "sft", base, scale=0.3)
    model = PeftModel.from_pretrained(load(base), adapter, is_trainable=True)
    rows = [{"prompt": "dog runs", "chosen": "red", "rejected": "blue"}] * 2
    # trl's "sft" term is a mean over all chosen tokens, ours over pairs of the mean of each: with one pair they agree
    pairs = PAIRS[:1] if mixed else PAIRS
    settings: dict[str, Any] = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]} if mixed else {}
    trainer = DPOTrainer(
        model, args=DPOConfig(str(tmp_path / "out"), beta=0.1, use_cpu=True, report_to=[], **settings),
        train_dataset=Dataset.from_list(rows), processing_class=AutoTokenizer.from_pretrained(base),
    )  # fmt: skip
    # the policy leaves its frozen start, so that no term is trivial
    torch.manual_seed(5)
    for name, weight in model.named_parameters():
        if ".default." in name:
            weight.data.add_(torch.randn_like(weight) * 0.1)
    model.eval()
    both = [p.chosen for p in pairs] + [p.rejected for p in pairs]
    width = max(r.tokens for r in both)
    inputs = {
        "input_ids": torch.tensor([[*r.prompt, *r.answer] + [PAD] * (width - r.tokens) for r in both]),
        "attention_mask": torch.tensor([[1] * r.tokens + [0] * (width - r.tokens) for r in both]),
        "completion_mask": torch.tensor(
            [[0] * len(r.prompt) + [1] * len(r.answer) + [0] * (width - r.tokens) for r in both]
        ),
    }
    theirs = trainer.compute_loss(model, inputs)
    theirs.backward()
    expected = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    mine = ours(model, pairs, 0.5 if mixed else 0.0)
    mine.backward()
    assert float(mine) == pytest.approx(float(theirs), abs=1e-5)
    assert float(theirs) != pytest.approx(math.log(2), abs=1e-3)
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert found.keys() == expected.keys()
    assert len(found) > 3
    assert max(float(g.abs().max()) for g in expected.values()) > 1e-3
    for name, gradient in found.items():
        assert torch.allclose(gradient, expected[name], atol=1e-5), name


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30))
def test_rows_are_sorted_longest_first_and_ties_stay(lengths: list[int]) -> None:
    rows = [Example((1,), (2,) * n) for n in lengths]
    found = longest_first(range(len(rows)), rows)
    assert found == sorted(range(len(rows)), key=lambda i: (-lengths[i], i))


def test_passes_divide_what_a_process_takes_of_a_batch() -> None:
    assert [rows_per_pass(16, 1, most) for most in (1, 7, 8, 100)] == [1, 4, 8, 16]
    assert (rows_per_pass(16, 2, 8), rows_per_pass(16, 4, 8), rows_per_pass(5, 1, 4)) == (8, 4, 1)
    with pytest.raises(UsageError, match="--batch 16: a multiple of the 3 processes"):
        rows_per_pass(16, 3, 8)
