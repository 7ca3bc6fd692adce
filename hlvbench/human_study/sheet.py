"""A rater's sheet: the texts of every screen, and the fingerprints that tell whether one was changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..io import sha256_text
from ..judging.questions import Question
from ..prompting.prompt import label_word
from ..text import legible, raw
from ..types import Annotation, Item, Task
from .design import Sample, Unit
from .wording import LETTERS, NOT_PUBLIC, PART, PARTS

FORMAT = "hlvbench rating sheet 1"
NOTHING = "(no explanation)"

Screen = dict[str, Any]
"""What one screen shows: id, part, sha256, and of fields, answer, people, examples, first, second what the part has."""


@dataclass(frozen=True)
class Material:
    """All that screens are made of. questions: (sample number, system) -> the judge's question about its answer."""

    tasks: Mapping[str, Task]
    samples: Sequence[Sample]
    questions: Mapping[tuple[int, str], Question]


@dataclass(frozen=True)
class Sheet:
    """One rater's sheet. source: the JSON text that a page embeds; its sha256 is the sheet's."""

    id: str
    study: str
    units: tuple[Unit, ...]
    screens: tuple[Screen, ...]
    source: str

    @property
    def sha256(self) -> str:
        return sha256_text(self.source)


def make_sheet(study: str, rater: int, units: Sequence[Unit], material: Material) -> Sheet:
    """The sheet of rater 0, 1, …; nothing in it depends on a system's name."""
    screens = tuple(_screen(str(n), unit, material) for n, unit in enumerate(units, start=1))
    name = f"{study}-{rater + 1}"
    shown = [part.document() for part in PARTS if any(unit.part == part.key for unit in units)]
    document = {"format": FORMAT, "study": study, "sheet": name, "warning": NOT_PUBLIC, "parts": shown}
    return Sheet(name, study, tuple(units), screens, embeddable({**document, "screens": screens}))


def embeddable(value: Any) -> str:
    """JSON in ASCII without any character that could end a script element or begin a tag or an entity."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _screen(name: str, unit: Unit, material: Material) -> Screen:
    questions = [material.questions[unit.sample, system] for system in unit.systems]
    first = questions[0]
    task = material.tasks[material.samples[unit.sample].task]
    found: Screen = {
        "id": name,
        "part": unit.part,
        "about": legible(task.instruction),
        "fields": _fields(task, first.item),
    }
    if unit.part == "attribution":
        found["explanation"] = first.answer.explanation or NOTHING
        found["people"] = [
            [letter, [r.explanation or NOTHING for r in own]]
            for letter, own in zip(first.letters, first.references, strict=True)
        ]
    else:
        found["answers"] = [_answer(task, q.answer) for q in questions]
        own = first.references[LETTERS.index(first.right)]
        found["examples"] = [{"fields": _fields(task, task.items[r.item]), **_answer(task, r)} for r in own]
    return {**found, "sha256": fingerprint(columns(found))}


def _fields(task: Task, item: Item) -> list[list[str]]:
    return [[shown, legible(raw(item.text[name]))] for name, shown in task.fields.items()]


def _answer(task: Task, answer: Annotation) -> dict[str, str]:
    return {"label": f"{label_word(task)}: {answer.label}", "explanation": answer.explanation or NOTHING}


def columns(screen: Screen) -> tuple[str, ...]:
    """The texts of a screen as the cells of a table's row: asked, texts, answer, second answer, people or examples."""
    answers = [f"{a['label']}\n{a['explanation']}" for a in screen.get("answers", ())]
    answers = answers or [screen["explanation"]]
    if "people" in screen:
        shown = "\n\n".join(
            "\n".join([f"{letter}:", *(f"- {text}" for text in own)]) for letter, own in screen["people"]
        )
    else:
        shown = "\n\n".join(f"{_lines(e['fields'])}\n{e['label']}\n{e['explanation']}" for e in screen["examples"])
    second = answers[1] if len(answers) > 1 else ""
    return screen["about"], _lines(screen["fields"]), answers[0], second, shown


def _lines(fields: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"{shown}: {text}" for shown, text in fields)


def fingerprint(cells: Sequence[str]) -> str:
    """sha256 of a row's texts, however a spreadsheet has broken their lines or spaced them."""
    return sha256_text(json.dumps([" ".join(cell.split()) for cell in cells], ensure_ascii=True))


def letters_of(unit: Unit, material: Material) -> tuple[str, tuple[str, ...]]:
    """The right letter of an attribution screen, and the annotators in the order of the letters."""
    question = material.questions[unit.sample, unit.systems[0]]
    return question.right, question.candidates


def asked_of(part: str) -> tuple[str, ...]:
    """The names of the questions of a part."""
    return tuple(asked.name for asked in PART[part].asked)
