"""What raters are asked, word for word, and the values that answer it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One question: its name in every file, its words, and what may be answered: value -> meaning, in order."""

    name: str
    text: str
    options: Mapping[str, str]
    scale: bool = False


@dataclass(frozen=True)
class Part:
    """One kind of screen. seconds: what a screen takes a practised rater, for the estimate that export prints."""

    key: str
    title: str
    intro: str
    asked: tuple[Asked, ...]
    seconds: int

    def document(self) -> dict[str, Any]:
        """As a sheet carries it."""
        asked = [
            {"name": a.name, "text": a.text, "options": list(map(list, a.options.items())), "scale": a.scale}
            for a in self.asked
        ]
        return {"key": self.key, "title": self.title, "intro": self.intro, "asked": asked}


def _scale(name: str, text: str, least: str, middle: str, most: str) -> Asked:
    return Asked(name, text, {"1": least, "2": "", "3": middle, "4": "", "5": most}, scale=True)


PARTS = (
    Part(
        "attribution",
        "Who wrote it?",
        "You see texts, one explanation of a decision about them, and explanations that some people wrote about other "
        "texts. Find out whose way of writing the one explanation shows. A letter means somebody "
        "else on every screen.",
        (Asked("who", "Who wrote the explanation?", {x: f"person {x}" for x in "ABCD"}),),
        40,
    ),
    Part(
        "rating",
        "How good is it?",
        "You see texts, a decision with its explanation, and how one person decided about other texts and explained "
        "it. Rate the explanation. What you would have decided yourself does not matter.",
        (
            _scale(
                "coherence", "Does the explanation make sense, and does it support the decision?",
                "no sense, or against the decision", "partly", "clear, and for the decision",
            ),
            _scale(
                "grounding", "Does the explanation speak about these texts?",
                "could be about anything", "partly", "about these very texts",
            ),
            _scale(
                "style", "Does it read as if the person of the examples had written it?",
                "quite another way of writing", "could be", "just this person's way",
            ),
        ),
        45,
    ),
    Part(
        "preference",
        "Which of the two?",
        "You see texts, two answers to them, and how one person decided about other texts and explained it. Say which "
        "answer this person would rather have given. You may find no difference.",
        (
            Asked(
                "preference", "Which answer would the person of the examples rather have given?",
                {"1": "the first", "0": "no difference", "2": "the second"},
            ),
        ),
        35,
    ),
)  # fmt: skip
PART = {part.key: part for part in PARTS}
LETTERS = "ABCD"
RATED = ("coherence", "grounding", "style")
QUESTIONS = ("who", *RATED, "preference")

NOT_PUBLIC = (
    "This sheet holds texts of data sets that must not be published. "
    "Do not put it on the web and do not pass it on; delete it when you have sent your answers."
)


def allowed(name: str, letters: str = LETTERS) -> tuple[str, ...]:
    """The values that answer a question; of "who" the letters that its screen offers."""
    if name == "who":
        return tuple(letters)
    return next(tuple(a.options) for part in PARTS for a in part.asked if a.name == name)


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


def instructions() -> str:
    """The instruction sheet of the CSV alternative."""
    parts = []
    for number, part in enumerate(PARTS, start=1):
        lines = [f"Part {number} ({part.key}): {part.title}", part.intro]
        for asked in part.asked:
            meanings = [f"{value} = {meaning}" if meaning else value for value, meaning in asked.options.items()]
            lines.append(f"  column {asked.name}: {asked.text} {', '.join(meanings)}")
        parts.append("\n".join(lines))
    return INSTRUCTIONS.format(warning=NOT_PUBLIC, parts="\n\n".join(parts))
