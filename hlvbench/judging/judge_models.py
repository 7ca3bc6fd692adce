"""Judges as models: any backend reads the prompt; a local model may be asked for the likelihood of each letter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..generation.open_model import open_models
from ..io import sha256_text
from ..models import Completion, Model, Query
from ..settings import Service
from ..types import Task
from .judge_settings import STYLOMETRIC, JudgeSettings
from .questions import LETTERS, AttributionQuestion
from .stylometric import Stylometric


class PromptJudge(Model):
    """A model that replies to the prompt.

    Prompts are hashed before the chat template is applied, so that anybody with the task's data can tell which question
    a stored reply belongs to; the template is hashed in the description.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.name, self.context, self.batch_size = model.name, model.context, model.batch_size
        self.parallel = model.parallel

    def describe(self) -> dict[str, Any]:
        return {**self.model.describe(), "template_sha256": sha256_text(self.model.prompt_text("Who wrote it?"))}

    def count_tokens(self, content: str) -> int:
        return self.model.count_tokens(content)

    def answer(self, batch: Sequence[Query]) -> list[Completion]:
        return self.model.answer(batch)


class LetterJudge(PromptJudge):
    """A local model that judges by the likelihood of each letter as the first token of its reply: one forward pass.

    The completion's first line is the likeliest letter, its second the probabilities among the letters on offer.
    """

    def __init__(self, model: Model, questions: Mapping[Any, AttributionQuestion]) -> None:
        super().__init__(model)
        self.questions = questions

    def answer(self, batch: Sequence[Query]) -> list[Completion]:
        offered = [self.questions[q.item, q.annotator, q.sample].letters for q in batch]
        rows = self.model.next_words(batch, list(LETTERS[: max(map(len, offered))]))
        return [_letter_completion(row[: len(letters)], letters) for row, letters in zip(rows, offered, strict=True)]


def _letter_completion(logprobs: Sequence[float], letters: str) -> Completion:
    shares = np.exp(np.array(logprobs) - max(logprobs))
    shares /= shares.sum()
    listed = " ".join(f"{letter} {p:.4f}" for letter, p in zip(letters, shares, strict=True))
    return Completion(f"{letters[int(np.argmax(logprobs))]}\n{listed}", "stop", 1)


class Judge:
    """A judge, loaded once for all tasks."""

    def __init__(self, settings: JudgeSettings, tasks: Sequence[Task], service: Service | None = None) -> None:
        self.settings = settings
        self._models: Mapping[str, Model] = {}
        if settings.judge != STYLOMETRIC:
            self._models = open_models(settings.model(tuple(t.name for t in tasks)), tasks, service)

    def model(self, task: Task, split: str, questions: Sequence[AttributionQuestion]) -> Any:
        """The model that answers `queries(task, questions)`."""
        by_key = {question.key: question for question in questions}
        if self.settings.by == "style":
            return Stylometric(task, split, self.settings.view, self.settings.seed, by_key)
        if self.settings.by == "letters":
            return LetterJudge(self._models[task.name], by_key)
        return PromptJudge(self._models[task.name])
