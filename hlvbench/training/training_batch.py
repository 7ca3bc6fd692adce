"""Training examples as tokens, through the prompt of inference, and batches of them through a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ModelError
from ..models.decode import Decoder
from ..models.logprobs import Example
from ..prompting.prompt import Prompter, render_answer
from ..types import Annotation, Task
from .pairs import Preference


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
    prompter: how the questions are asked; the prompt base by default.
    """

    def __init__(self, task: Task, decoder: Decoder, longest: int | None, prompter: Prompter | None = None) -> None:
        self.task, self.decoder, self.longest = task, decoder, longest
        self.prompter, self.too_long = prompter or Prompter(task), 0
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


def micro_batches(rows: Sequence[Any], size: int) -> list[list[int]]:
    """Positions of the rows, in pieces of `size`; rows of like length share a piece."""
    order = sorted(range(len(rows)), key=lambda i: (-rows[i].tokens, i))
    return [order[start : start + size] for start in range(0, len(order), size)]
