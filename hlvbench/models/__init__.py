"""Models: what turns questions into raw text. One protocol, many backends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import ModelError


@dataclass(frozen=True)
class Query:
    """One question put to a model; `content` is the user message, which references ignore."""

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
    """What `generate` needs of a model of one task."""

    name: str
    """As the user named it, short: part of the run folder's name."""
    context: int | None
    """Positions of prompt and answer together; None is unbounded."""
    batch_size: int
    """The size that "auto" starts with."""

    def describe(self) -> dict[str, Any]:
        """For the manifest: kind, hashes of configuration, weights and adapters, device, dtype."""

    def group(self, annotator: str) -> str:
        """Answers of one group may share a batch."""

    def prompt_text(self, content: str) -> str:
        """What the model really sees, chat template included; hashed as `prompt_sha256`."""

    def count_tokens(self, content: str) -> int:
        """Length of the rendered prompt in tokens."""

    def answer(self, batch: Sequence[Query]) -> list[Completion]:
        """One completion per query, in order; raises OutOfMemory where the batch does not fit."""
