"""From a judge's settings to a model that takes attribution questions: the corridor of all other answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..generation.open_model import open_models
from ..io import sha256_text
from ..models import Completion, Model, Query
from ..settings import Service
from ..types import Task
from .judge_prompt import render_question
from .judge_settings import STYLOMETRIC, JudgeSettings
from .questions import Question
from .stylometric import Stylometric


class Reader(Model):
    """A model as a judge. Its prompts are hashed as written here, before any chat template, so that whoever has the
    task's data can tell which question a kept reply belongs to; the template is hashed in the description."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.name, self.context, self.batch_size = model.name, model.context, model.batch_size
        self.parallel = model.parallel

    def describe(self) -> dict[str, Any]:
        return {**self.model.describe(), "template_sha256": sha256_text(self.model.prompt_text("Who wrote it?"))}

    def group(self, annotator: str) -> str:
        # who is asked for must not decide how
        return ""

    def prompt_text(self, content: str) -> str:
        return content

    def count_tokens(self, content: str) -> int:
        return self.model.count_tokens(content)

    def answer(self, batch: Sequence[Query]) -> list[Completion]:
        return self.model.answer(batch)


class LetterReader(Reader):
    """A local model judges by the likelihood of each letter as the first token of its reply: exact, one forward pass.

    The completion's first line is the likeliest letter, its second the probabilities among the letters on offer.
    """

    def __init__(self, model: Model, questions: Mapping[Any, Question]) -> None:
        super().__init__(model)
        self.local, self.questions = model, questions

    def answer(self, batch: Sequence[Query]) -> list[Completion]:
        offered = [self.questions[q.item, q.annotator, q.sample].letters for q in batch]
        longest = max(offered, key=len)
        found = self.local.next_words(batch, list(longest))
        return [self._completion(row[: len(own)], own) for row, own in zip(found, offered, strict=True)]

    @staticmethod
    def _completion(values: Sequence[float], letters: str) -> Completion:
        share = np.exp(np.array(values) - max(values))
        share /= share.sum()
        said = " ".join(f"{letter} {p:.4f}" for letter, p in zip(letters, share, strict=True))
        return Completion(f"{letters[int(np.argmax(values))]}\n{said}", "stop", 1)


class Panel:
    """A judge, opened once for all tasks; each set of questions gets its own model over it."""

    def __init__(self, settings: JudgeSettings, tasks: Sequence[Task], service: Service | None = None) -> None:
        self.settings = settings
        self._models: Mapping[str, Model] = (
            {} if settings.judge == STYLOMETRIC else open_models(
                settings.model(tuple(t.name for t in tasks)), tasks, service
            )
        )  # fmt: skip

    def judge(self, task: Task, split: str, questions: Sequence[Question]) -> Model:
        """A model that answers `queries(task, questions)`."""
        by_key = {q.key: q for q in questions}
        if self.settings.judge == STYLOMETRIC:
            return Stylometric(task, split, self.settings.view, self.settings.seed, by_key)
        model = self._models[task.name]
        if self.settings.by == "letters":
            return LetterReader(model, by_key)
        return Reader(model)


def queries(task: Task, questions: Sequence[Question]) -> list[Query]:
    """The questions as a model is asked them."""
    return [Query(*q.key, render_question(task, q)) for q in questions]
