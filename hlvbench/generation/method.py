"""A method of one's own as a model: a function from a question to the text of the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import UsageError
from ..models import Completion, Query
from ..settings import Settings
from ..types import Task
from .open_model import register_model

Method = Callable[[Query], str]
"""The raw text of an answer, best in the format that the prompt asks for (`prompt.render_answer`)."""


class MethodModel:
    """The model of one task that a method makes (see `Model`). It sees the same prompts as every other model."""

    context: int | None = None
    batch_size = 1_000_000

    def __init__(self, name: str, method: Method) -> None:
        self.name, self.method = name, method

    def describe(self) -> dict[str, Any]:
        return {"kind": "method", "name": self.name}

    def group(self, annotator: str) -> str:
        return ""

    def prompt_text(self, content: str) -> str:
        return content

    def count_tokens(self, content: str) -> int:
        return len(content.split())

    def answer(self, batch: Sequence[Query]) -> list[Completion]:
        texts = [self.method(query) for query in batch]
        return [Completion(text, "stop", len(text.split())) for text in texts]


def register_method(name: str, make: Callable[[Task], Method]) -> None:
    """Make `--model NAME:` (and `Settings("NAME:")`) answer by `make(task)`, called once per task."""

    def load(rest: str, settings: Settings, tasks: Sequence[Task]) -> Mapping[str, MethodModel]:
        if settings.answers == "constrained":
            raise UsageError("--answers constrained: a method writes its own answers; leave the option out")
        return {task.name: MethodModel(settings.model, make(task)) for task in tasks}

    register_model(name, load)
