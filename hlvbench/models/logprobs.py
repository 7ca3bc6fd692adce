"""Log-probabilities of given answers: what training learns from, and what constrained answers are chosen by.

The beginning that the prompts of a batch share (the instruction, often the examples) goes through the model once. That
is exact: attention to cached keys and values is attention to the same tokens. Gradients flow through the cache.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

LEAST = 16
"""Shared tokens below which a pass of their own costs more than it saves."""


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


def padded(rows: Sequence[Sequence[int]], pad: int, common: int = 0) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids and attention mask of a batch, padded on the left, or after the first `common` tokens that all have."""
    width = max(map(len, rows))
    ids = [[*row[:common], *[pad] * (width - len(row)), *row[common:]] for row in rows]
    mask = [[1] * common + [0] * (width - len(row)) + [1] * (len(row) - common) for row in rows]
    return ids, mask


def forward(model: Any, rows: Sequence[Example], pad: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the rows' answer tokens and their mask, (B, T) each, T the longest answer.

    Rows are padded on the left, as in inference, so that answers end together and only the positions that predict
    them go through the output layer. The beginning that all prompts share goes through the model once.
    """
    import torch

    common = shared_prefix([r.prompt for r in rows]) if shares_prefixes(model) else 0
    keep = max(len(r.answer) for r in rows)
    ids, attention = padded([[*r.prompt, *r.answer] for r in rows], pad, common)
    mask, inputs = torch.tensor(attention, device=model.device), torch.tensor(ids, device=model.device)[:, common:]
    answered = torch.tensor([[0] * (keep - len(r.answer)) + [1] * len(r.answer) for r in rows], device=model.device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)[:, common:]
    options = {"position_ids": positions, "logits_to_keep": keep + 1, "use_cache": bool(common)}
    arguments: dict[str, Any] = {name: value for name, value in options.items() if name in taken_by(model)}
    if common:
        arguments["past_key_values"] = prefill(model, rows[0].prompt[:common], len(rows))
    # the answers stand last, and their first token is predicted one position earlier
    logits = model(input_ids=inputs, attention_mask=mask, **arguments).logits[:, -keep - 1 : -1]
    logps = token_logps(logits, inputs[:, -keep:])
    # padding has no finite value to multiply away where a model writes infinities there
    return logps.masked_fill(answered == 0, 0.0), answered


def shared_prefix(rows: Sequence[list[int] | tuple[int, ...]]) -> int:
    """How many first tokens all rows share, one token of every row left over; 0 where sharing does not pay."""
    if len(rows) < 2:
        return 0
    # what the first and the last in lexical order share, all rows share
    first, *_, last = sorted(map(tuple, rows))
    common = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    common = min(common, min(map(len, rows)) - 1)
    return common if common >= LEAST else 0


def shares_prefixes(model: Any) -> bool:
    """Whether keys and values of a prefix can be computed once and repeated for the rows of a batch.

    That is so where every layer keeps all of them (no sliding window, no recurrent state) and positions can be given;
    prompt-learning adapters use the cache themselves, and gradient checkpointing switches it off.
    """
    from transformers.cache_utils import DynamicCache, DynamicLayer

    # a data-parallel wrapper waits for one pass per step
    if hasattr(model, "module"):
        return False
    if hasattr(model, "active_peft_config") and model.active_peft_config.is_prompt_learning:
        return False
    base = _base(model)
    if not {"past_key_values", "position_ids"} <= taken_by(model) or base.is_activation_checkpointing:
        return False
    try:
        layers = DynamicCache(config=base.config).layers
    except (AttributeError, KeyError, ValueError, NotImplementedError):
        return False
    return bool(base._supports_default_dynamic_cache()) and all(type(layer) is DynamicLayer for layer in layers)


def taken_by(model: Any) -> set[str]:
    """The names of what a model's forward pass takes."""
    return set(inspect.signature(_base(model).forward).parameters)


def empty_cache(model: Any) -> Any:
    """A cache of the model's own kind."""
    from transformers.cache_utils import DynamicCache

    return DynamicCache(config=_base(model).config)


def prefill(model: Any, tokens: Sequence[int], copies: int) -> Any:
    """The cache of `tokens` (see `shares_prefixes`), repeated for `copies` rows."""
    import torch

    ids = torch.tensor([list(tokens)], device=model.device)
    arguments: dict[str, Any] = {"position_ids": torch.arange(len(tokens), device=ids.device)[None]}
    if "logits_to_keep" in taken_by(model):
        arguments["logits_to_keep"] = 1
    cache = empty_cache(model)
    model(input_ids=ids, attention_mask=torch.ones_like(ids), past_key_values=cache, use_cache=True, **arguments)
    cache.batch_repeat_interleave(copies)
    return cache


def _base(model: Any) -> Any:
    """The transformers model under a data-parallel wrapper and peft's model, where there are such."""
    model = model.module if hasattr(model, "module") else model
    return model.get_base_model() if hasattr(model, "get_base_model") else model
