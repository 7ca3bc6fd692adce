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


_SOURCE = Path(__file__).with_suffix(".toml").read_text("utf-8")
PARTS = {part["key"]: Part.model_validate(part) for part in tomllib.loads(_SOURCE)["part"]}
RATED = PARTS["rating"].names
QUESTIONS = tuple(name for part in PARTS.values() for name in part.names)
_OPTIONS = {q.name: tuple(value for value, _ in q.options) for part in PARTS.values() for q in part.questions}

NOT_PUBLIC = (
    "This sheet holds texts of data sets that must not be published. "
    "Do not put it on the web and do not pass it on; delete it when you have sent your answers."
)

INSTRUCTIONS = """\
How to fill in the table
========================

{warning}

1. Open the CSV file in a spreadsheet program. Import every column as text, encoding UTF-8.
2. Work from top to bottom, in this order, without going back to a part that you have finished.
   Fill in only the empty cells of the last five columns; leave every other cell, and every "-", as it is.
3. Save it as CSV (UTF-8) under the same name and send it back. What you left empty counts as not answered.

{parts}
"""


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
    return INSTRUCTIONS.format(warning=NOT_PUBLIC, parts="\n\n".join(parts))
