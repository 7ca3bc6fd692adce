"""Training examples as tokens, through the prompt of inference, and batches of them through a model."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from ..models.decode import Decoder
from ..models.prefix import prefill, shared_prefix, shares_prefixes
from ..prompt import Prompter, render_answer
from ..types import Annotation, Task
from .loss import token_logps
from .pairs import Preference

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Example:
    """Token ids of a rendered prompt and of the answer to learn, its end token included."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    @property
    def tokens(self) -> int:
        return len(self.prompt) + len(self.answer)


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt."""

    chosen: Example
    rejected: Example

    @property
    def tokens(self) -> int:
        return self.chosen.tokens + self.rejected.tokens


class Encoder:
    """Turns records into examples: the prompt is the one that `hlvbench run` shows, the answer ends as a model's does.

    longest: the most tokens an example may have; longer ones are left out and counted in `too_long`.
    """

    def __init__(self, task: Task, decoder: Decoder, longest: int | None) -> None:
        self.task, self.decoder, self.longest = task, decoder, longest
        self.prompter, self.too_long = Prompter(task), 0
        end = decoder.tokenizer.eos_token_id
        if end is None:
            raise ModelError(f"{decoder.settings.model}: its tokenizer has no end token, so answers could not end")
        self.end = int(end)

    def example(self, record: Annotation, question: Annotation | None = None) -> Example:
        """The record as the answer to its own question, or to that of another record."""
        asked = question or record
        text = render_answer(self.task, record.label, record.explanation)
        answer = self.decoder.tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        prompt = self.decoder.encode(self.prompter.content(asked.item, asked.annotator))
        return Example(tuple(prompt), (*answer, self.end))

    def examples(self, records: Sequence[Annotation]) -> list[Example]:
        return [e for e in map(self.example, records) if self._fits(e)]

    def pairs(self, found: Sequence[Preference]) -> list[Pair]:
        made = [Pair(self.example(p.chosen), self.example(p.rejected, p.chosen)) for p in found]
        return [pair for pair in made if self._fits(pair.chosen, pair.rejected)]

    def _fits(self, *examples: Example) -> bool:
        fits = self.longest is None or max(e.tokens for e in examples) <= self.longest
        self.too_long += not fits
        return fits


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
    arguments: dict[str, Any] = {"logits_to_keep": keep + 1} if _keeps_logits(model) else {}
    if common:
        arguments["past_key_values"] = prefill(model, rows[0].prompt[:common], len(rows))
    # the answers stand last, and their first token is predicted one position earlier
    logits = model(
        input_ids=inputs, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0)[:, common:],
        use_cache=bool(common), **arguments,
    ).logits[:, -keep - 1 : -1]  # fmt: skip
    logps = token_logps(logits, inputs[:, -keep:])
    # padding has no finite value to multiply away where a model writes infinities there
    return logps.masked_fill(answered == 0, 0.0), answered


def _keeps_logits(model: Any) -> bool:
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "logits_to_keep" in inspect.signature(base.forward).parameters


def micro_batches(rows: Sequence[Any], size: int) -> list[list[int]]:
    """Positions of the rows, in pieces of `size`; rows of like length share a piece."""
    order = sorted(range(len(rows)), key=lambda i: (-rows[i].tokens, i))
    return [order[start : start + size] for start in range(0, len(order), size)]
