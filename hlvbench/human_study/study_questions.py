"""What raters are asked (worded in `study_questions.toml`), and the values that answer it."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from ..judging.questions import LETTERS


class RatingQuestion(BaseModel):
    """One question: its name in every file, its words, and (value, meaning) of every option in order."""

    model_config = ConfigDict(frozen=True)

    name: str
    text: str
    options: tuple[tuple[str, str], ...]
    scale: bool = False


class Part(BaseModel):
    """One kind of screen. seconds: what a screen takes a practised rater."""

    model_config = ConfigDict(frozen=True)

    key: str
    title: str
    intro: str
    seconds: int
    questions: tuple[RatingQuestion, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its questions."""
        return tuple(question.name for question in self.questions)


_WORDING = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
PARTS = {part["key"]: Part.model_validate(part) for part in _WORDING["part"]}
NOT_PUBLIC: str = _WORDING["not_public"]
RATED = PARTS["rating"].names
QUESTIONS = tuple(name for part in PARTS.values() for name in part.names)
_OPTIONS = {q.name: tuple(value for value, _ in q.options) for part in PARTS.values() for q in part.questions}


def allowed(name: str, candidates: int) -> tuple[str, ...]:
    """The values that answer a question; of "who" the letters of that many candidates."""
    return tuple(LETTERS[:candidates]) if name == "who" else _OPTIONS[name]


def instructions() -> str:
    """The instruction sheet of the CSV table."""
    parts = []
    for number, part in enumerate(PARTS.values(), start=1):
        lines = [f"Part {number} ({part.key}): {part.title}", part.intro]
        for question in part.questions:
            meanings = ", ".join(f"{value} = {meaning}" if meaning else value for value, meaning in question.options)
            lines.append(f"  column {question.name}: {question.text} {meanings}")
        parts.append("\n".join(lines))
    return str(_WORDING["instructions"]).format(not_public=NOT_PUBLIC, parts="\n\n".join(parts))


def readme(study: str, sheet: str, count: int) -> str:
    """The README of a study's folder. sheet: the first of `count` sheets."""
    return str(_WORDING["readme"]).format(not_public=NOT_PUBLIC, study=study, sheet=sheet, count=count)
