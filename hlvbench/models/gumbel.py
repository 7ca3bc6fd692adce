"""Gumbel sampling: what is drawn depends on the question and the step alone, not on the batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from . import Query

_MASK = 2**64 - 1


def seed_of(seed: int, query: Query) -> int:
    """64 bits from (seed, item, annotator, sample)."""
    text = repr((seed, query.item, query.annotator, query.sample))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def seed_at(base: int, step: int) -> int:
    """The 64 bits of one step: splitmix64's output for the counter `base` + `step` (Steele et al., 2014)."""
    z = (base + (step + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def gumbel(seeds: Sequence[int], step: int, like: Any) -> Any:
    """Independent Gumbel noise in the shape of `like` (rows, values), a function of each row's seed and the step."""
    import torch

    generator = torch.Generator(device=like.device)
    noise = torch.empty(like.shape, dtype=torch.float32, device=like.device)
    for row, base in enumerate(seeds):
        generator.manual_seed(seed_at(base, step))
        noise[row].exponential_(generator=generator)
    # -log of an exponential variable is a Gumbel one; the draw has 24 bits and may be 0, whose log is none
    return -noise.clamp_(min=2.0**-25).log()


class GumbelSampler:
    """A logits processor that makes greedy decoding a draw from softmax(logits / temperature).

    The maximum of logits plus independent Gumbel noise is such a draw (Gumbel, 1954). The noise of a row at
    a step is a function of its question and of the step.
    """

    def __init__(self, seeds: Sequence[int], temperature: float, prompt_length: int) -> None:
        self.seeds, self.temperature, self.prompt_length = seeds, temperature, prompt_length

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        step = input_ids.shape[1] - self.prompt_length
        return scores.float() / self.temperature + gumbel(self.seeds, step, scores)
