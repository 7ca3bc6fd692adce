"""Models: what turns questions into raw text. One protocol, many backends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import ModelError


@dataclass(frozen=True)
class Query:
    """One question put to a model; `content` is the user message, which baselines ignore."""

    item: str
    annotator: str
    sample: int
    content: str


@dataclass(frozen=True)
class Completion:
    """A model's text, untouched. `finish`: "stop", "length" where the token limit cut it, or "error".

    `new_tokens` counts up to and including the token that ended the text.
    """

    text: str
    finish: str
    new_tokens: int


class OutOfMemory(Exception):
    """A batch did not fit; raised by `Model.answer`, which stays usable with smaller batches."""


class Refused(ModelError):
    """One question has no answer, while others may have; raised by `Model.answer`."""


class Model(Protocol):
    """The model of one task. A backend inherits from this class and defines `name`, `describe` and `answer`.

    Attributes:
        name: As the user named it, short: part of the run folder's name.
        context: Positions of prompt and answer together; None is unbounded.
        batch_size: The size that `--batch-size auto` starts with.
        parallel: How many batches may be under way at a time, in threads.
    """

    name: str
    context: int | None = None
    batch_size: int = 1_000_000
    parallel: int = 1

    def describe(self) -> dict[str, Any]:
        """For the manifest: kind, hashes of configuration, weights and adapters, device, dtype."""
        ...

    def group(self, annotator: str) -> str:
        """Answers of one group may share a batch."""
        return ""

    def prompt_text(self, content: str) -> str:
        """What the model really sees, chat template included; hashed as `prompt_sha256`."""
        return content

    def count_tokens(self, content: str) -> int:
        """Length of the rendered prompt in tokens; of a model without a tokenizer, in words."""
        return len(content.split())

    def answer(self, batch: Sequence[Query]) -> list[Completion]:
        """Answer the questions of one batch.

        Returns:
            One completion per query, in order.

        Raises:
            OutOfMemory: The batch does not fit.
            Refused: A question of the batch is refused; others may be answered.
        """
        ...

    def next_words(self, batch: Sequence[Query], words: Sequence[str]) -> list[list[float]]:
        """Per query the log-probability that its prompt continues with each of `words`, one token each.

        Raises:
            ModelError: The backend has no probabilities, or a word is not one token.
        """
        raise ModelError(f"{self.name}: this backend gives texts, no probabilities of words")
