"""The beginning that prompts of a batch share goes through the model once: the instruction, often the examples.

Exact: attention to cached keys and values is attention to the same tokens. Gradients flow through the cache.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

LEAST = 16
"""Shared tokens below which a pass of their own costs more than it saves."""


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
    wrapped = hasattr(model, "module")
    if wrapped or getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
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
    few = {"logits_to_keep": 1} if "logits_to_keep" in taken_by(model) else {}
    cache = empty_cache(model)
    model(
        input_ids=ids, attention_mask=torch.ones_like(ids), past_key_values=cache, use_cache=True,
        position_ids=torch.arange(len(tokens), device=ids.device)[None], **few,
    )  # fmt: skip
    cache.batch_repeat_interleave(copies)
    return cache


def _base(model: Any) -> Any:
    """The transformers model under a data-parallel wrapper and peft's model, where there are such."""
    model = getattr(model, "module", model)
    return model.get_base_model() if hasattr(model, "get_base_model") else model
