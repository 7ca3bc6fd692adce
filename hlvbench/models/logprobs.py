"""Log-probabilities of given answers: what training learns from, and what constrained answers are chosen by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .prefix_cache import prefill, shared_prefix, shares_prefixes, taken_by

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Example:
    """Token ids of a rendered prompt and of an answer to it."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    @property
    def tokens(self) -> int:
        return len(self.prompt) + len(self.answer)


def token_logps(logits: Tensor, tokens: Tensor) -> Tensor:
    """Log-probability of every token, float32.

    logits: (B, T, V), those that predict `tokens` (B, T): already shifted. Returns (B, T).
    """
    import torch

    flat = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), tokens.flatten(), reduction="none")
    return -flat.view(tokens.shape)


def forward(model: Any, rows: Sequence[Example], pad: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the rows' answer tokens and their mask, (B, T) each, T the longest answer.

    Rows are padded on the left, as in inference, so that answers end together and only the positions that predict
    them go through the output layer. The beginning that all prompts share goes through the model once.
    """
    import torch

    common = shared_prefix([r.prompt for r in rows]) if shares_prefixes(model) else 0
    width, keep = max(r.tokens for r in rows) - common, max(len(r.answer) for r in rows)
    gaps = [width + common - r.tokens for r in rows]
    ids = [[pad] * gap + [*r.prompt[common:], *r.answer] for gap, r in zip(gaps, rows, strict=True)]
    mask = torch.tensor([[1] * common + [0] * gap + [1] * (width - gap) for gap in gaps], device=model.device)
    answered = torch.tensor([[0] * (keep - len(r.answer)) + [1] * len(r.answer) for r in rows], device=model.device)
    inputs = torch.tensor(ids, device=model.device)
    given = {
        "position_ids": (mask.cumsum(1) - 1).clamp(min=0)[:, common:], "logits_to_keep": keep + 1,
        "use_cache": bool(common),
    }  # fmt: skip
    arguments: dict[str, Any] = {name: value for name, value in given.items() if name in taken_by(model)}
    if common:
        arguments["past_key_values"] = prefill(model, rows[0].prompt[:common], len(rows))
    # the answers stand last, and their first token is predicted one position earlier
    logits = model(input_ids=inputs, attention_mask=mask, **arguments).logits[:, -keep - 1 : -1]
    logps = token_logps(logits, inputs[:, -keep:])
    # padding has no finite value to multiply away where a model writes infinities there
    return logps.masked_fill(answered == 0, 0.0), answered
