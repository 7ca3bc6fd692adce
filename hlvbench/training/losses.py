"""The losses of SFT and CAPO: pure functions of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def answer_logps(logps: Tensor, mask: Tensor) -> Tensor:
    """log π(y|x): the sum over an answer's tokens. logps: (B, T); mask: (B, T), 1 on the answer. Returns (B,)."""
    return (logps * mask).sum(dim=1)


def sft_loss(logps: Tensor, mask: Tensor) -> Tensor:
    """Negative log-likelihood of the answers, summed over all their tokens: a scalar.

    The mean per token of a step is this over `mask.sum()`, added up over the step's micro-batches.
    """
    return -(logps * mask).sum()


def dpo_loss(chosen: Tensor, rejected: Tensor, chosen_ref: Tensor, rejected_ref: Tensor, beta: float) -> Tensor:
    """Direct preference optimisation (Rafailov et al., 2023, equation 7), one loss per pair.

    Arguments are log π(y|x) of B pairs, (B,) each: of the policy for chosen and rejected answers, and of the
    frozen reference. Returns (B,): log 2 where the policy prefers as the reference does, towards 0 as it comes to
    prefer the chosen answer. beta > 0: how costly it is to leave the reference.
    """
    import torch

    # r(x, y) = β log π(y|x)/π_ref(y|x); the loss is −log σ(r(x, y_w) − r(x, y_l))
    margin = beta * ((chosen - chosen_ref) - (rejected - rejected_ref))
    return -torch.nn.functional.logsigmoid(margin)


def capo_loss(
    logps: Tensor, mask: Tensor, chosen_ref: Tensor, rejected_ref: Tensor, beta: float, sft_weight: float = 0.0
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """The loss of B cross-annotator pairs and what to watch of them.

    logps, mask: (2B, T), the B chosen answers first. chosen_ref, rejected_ref: (B,).
    Returns the sum over pairs of dpo_loss + sft_weight × mean −log-probability per token of the chosen answer
    (a scalar), and sums over pairs: `dpo`, `correct` (pairs whose implicit reward is larger for the chosen answer),
    `margin` (β-scaled reward difference).
    """
    sums = answer_logps(logps, mask)
    chosen, rejected = sums.chunk(2)
    losses = dpo_loss(chosen, rejected, chosen_ref, rejected_ref, beta)
    total = losses.sum()
    if sft_weight:
        count = mask.chunk(2)[0].sum(dim=1).clamp(min=1)
        total = total + sft_weight * (-chosen / count).sum()
    margin = beta * ((chosen - chosen_ref) - (rejected - rejected_ref)).detach()
    return total, {"dpo": losses.detach().sum(), "correct": (margin > 0).sum(), "margin": margin.sum()}
