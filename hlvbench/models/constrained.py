"""Constrained answers: the likeliest allowed label, then free text to the end of the line.

A label's likelihood is the sum over its tokens, the line break after it included, so that `1` and `10` compare fairly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from ..prompting.prompt import answer_heads
from ..types import Task
from .gumbel import gumbel
from .logprobs import Example, empty_cache, forward, padded, prefill, shared_prefix, shares_prefixes, taken_by

if TYPE_CHECKING:
    from torch import Tensor

LABEL_STEP = 2**32
"""The step of a sampled label's noise: no token of the text has it."""


@dataclass(frozen=True)
class Heads:
    """The beginnings that answers may have, `Label: neutral` / `Explanation:`, as text and tokens.

    opening: how many first tokens all heads share. ends: per head, the tokens up to and including its line break.
    """

    texts: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]
    opening: int
    ends: tuple[int, ...]

    @property
    def longest(self) -> int:
        return max(map(len, self.tokens))


def heads_of(task: Task, tokenizer: Any) -> Heads:
    """The heads of a task's answers, encoded as training encodes answers.

    Raises:
        ModelError: The tokenizer writes two labels alike.
    """
    texts = tuple(answer_heads(task))
    tokens = tuple(tuple(tokenizer(text, add_special_tokens=False, verbose=False).input_ids) for text in texts)
    first, *_, last = sorted(tokens)
    opening = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    if len(set(tokens)) < len(tokens) or opening >= min(map(len, tokens)):
        raise ModelError("the model's tokenizer cannot tell the task's labels apart; use --answers free")
    # some tokenizers write no line breaks at all: then the whole head counts
    ends = [next((n for n in range(1, len(t)) if "\n" in tokenizer.decode(list(t[:n]))), len(t)) for t in tokens]
    return Heads(texts, tokens, opening, tuple(ends))


class Choice:
    """One batch of prompts on its way from prompts to labels: scores every head, and keeps what was computed.

    model: in evaluation mode, under `torch.inference_mode`. prompts: token ids, one list per row.
    """

    def __init__(self, model: Any, prompts: Sequence[list[int]], heads: Heads, pad: int) -> None:
        self.model, self.prompts, self.heads, self.pad = model, prompts, heads, pad
        self.cache: Any = None
        self.ids: list[list[int]] = []
        self.mask: list[list[int]] = []

    def scores(self) -> Tensor:
        """Log-likelihoods of the labels, (rows, heads)."""
        import torch

        if shares_prefixes(self.model):
            return self._cached()
        # a pass per label, for models whose cache cannot be cut back
        columns = []
        for tokens, end in zip(self.heads.tokens, self.heads.ends, strict=True):
            rows = [Example(tuple(p), tokens[:end]) for p in self.prompts]
            columns.append(forward(self.model, rows, self.pad)[0].float().sum(1))
        return torch.stack(columns, dim=1)

    def _cached(self) -> Tensor:
        """The prompts and the opening once, then the few tokens of every label on the same cache."""
        import torch

        device = self.model.device
        rows = [[*p, *self.heads.tokens[0][: self.heads.opening]] for p in self.prompts]
        common = shared_prefix(rows)
        self.ids, self.mask = padded(rows, self.pad, common)
        self.cache = prefill(self.model, rows[0][:common], len(rows)) if common else empty_cache(self.model)
        first = self._extend([row[common:] for row in self.ids], self.mask)[:, -1]
        columns = []
        for tokens, end in zip(self.heads.tokens, self.heads.ends, strict=True):
            label = list(tokens[self.heads.opening : end])
            score = first[:, label[0]]
            if len(label) > 1:
                before = [label[:-1]] * len(rows)
                later = self._extend(before, [m + [1] * (len(label) - 1) for m in self.mask])
                score = score + later.gather(
                    2, torch.tensor(label[1:], device=device).expand(len(rows), -1)[..., None]
                ).sum((1, 2))
                self.cache.crop(1 - len(label))
            columns.append(score)
        return torch.stack(columns, dim=1)

    def _extend(self, ids: Sequence[Sequence[int]], mask: Sequence[Sequence[int]]) -> Tensor:
        """Log-probabilities after the new tokens, (rows, tokens, vocabulary); of a whole prompt, after its last."""
        import torch

        attention = torch.tensor(mask, device=self.model.device)
        new = torch.tensor(ids, device=self.model.device)
        arguments: dict[str, Any] = {"position_ids": (attention.cumsum(1) - 1).clamp(min=0)[:, -new.shape[1] :]}
        if new.shape[1] > self.heads.longest and "logits_to_keep" in taken_by(self.model):
            # the prompts are long, and only what follows their last token is asked for
            arguments["logits_to_keep"] = 1
        output = self.model(
            input_ids=new, attention_mask=attention, past_key_values=self.cache, use_cache=True, **arguments
        )
        found: Tensor = output.logits.float().log_softmax(dim=-1)
        return found

    def continued(self, chosen: Sequence[int]) -> dict[str, Any]:
        """What `generate` goes on from: the prompts with their chosen heads, and the cache where there is one."""
        import torch

        heads = [self.heads.tokens[k] for k in chosen]
        if self.cache is None:
            ids, mask = padded([[*p, *h] for p, h in zip(self.prompts, heads, strict=True)], self.pad)
        else:
            rest, new = padded([h[self.heads.opening :] for h in heads], self.pad)
            ids = [[*i, *r] for i, r in zip(self.ids, rest, strict=True)]
            mask = [[*m, *n] for m, n in zip(self.mask, new, strict=True)]
        arrays = (("input_ids", ids), ("attention_mask", mask))
        inputs = {name: torch.tensor(array, device=self.model.device) for name, array in arrays}
        return inputs if self.cache is None else {**inputs, "past_key_values": self.cache}


def choose(scores: Tensor, temperature: float, seeds: Sequence[int]) -> list[int]:
    """The likeliest head of every row; sampled from softmax(scores / temperature) where that is above 0."""
    if temperature > 0:
        scores = scores / temperature + gumbel(seeds, LABEL_STEP, scores)
    chosen: list[int] = scores.argmax(dim=1).tolist()
    return chosen


def line_ends(tokenizer: Any, size: int) -> list[int]:
    """The tokens, of the first `size`, whose text holds a line break."""
    texts = tokenizer.batch_decode([[i] for i in range(size)], clean_up_tokenization_spaces=False)
    return [i for i, text in enumerate(texts) if "\n" in text]
