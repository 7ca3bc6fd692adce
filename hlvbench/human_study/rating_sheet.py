"""A rater's sheet: its screens, as an HTML page that works offline and as a CSV table for spreadsheet programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..io import sha256_text
from ..judging.questions import LETTERS, AttributionQuestion
from ..prompting.prompt import label_word
from ..results.markup import Html, tag
from ..results.report_page import page_head
from ..text import FORMULA, legible, raw
from ..types import Annotation, Item, Task
from .study_design import Sample, Unit
from .study_key import ScreenKey, SheetKey
from .study_questions import NOT_PUBLIC, PARTS, QUESTIONS

NOTHING = "(no explanation)"
IDS = ("study", "sheet", "sheet_sha256", "screen", "part", "sha256")
TEXTS = ("asked", "texts", "answer", "second_answer", "people_or_examples")
HEAD = (*IDS, *TEXTS, *QUESTIONS)
NOT_ASKED = "-"
BYTE_ORDER_MARK = "\ufeff"
_FORMULA = (*FORMULA, "'")
_HERE = Path(__file__).parent

Screen = dict[str, Any]
"""What one screen shows: id, part, sha256, fields, and explanation and people, or answers and examples."""


@dataclass(frozen=True)
class Material:
    """What screens are made of. questions: (sample number, system) -> the judge's question about its answer."""

    tasks: Mapping[str, Task]
    samples: Sequence[Sample]
    questions: Mapping[tuple[int, str], AttributionQuestion]


@dataclass(frozen=True)
class Sheet:
    """One rater's sheet. source: the JSON text that the page embeds; its sha256 identifies the sheet."""

    id: str
    study: str
    screens: tuple[Screen, ...]
    source: str
    key: SheetKey


def make_sheet(study: str, rater: int, units: Sequence[Unit], material: Material) -> Sheet:
    """The sheet of rater 0, 1, …; nothing in it depends on a system's name."""
    screens, keys = [], {}
    for number, unit in enumerate(units, start=1):
        questions = [material.questions[unit.sample, system] for system in unit.systems]
        task = material.tasks[material.samples[unit.sample].task]
        screen = {"id": str(number), "part": unit.part, **_shown(unit.part, questions, task)}
        screen["sha256"] = fingerprint(_columns(screen))
        screens.append(screen)
        keys[screen["id"]] = ScreenKey(
            part=unit.part,
            sample=unit.sample,
            systems=unit.systems,
            repeats=None if unit.repeats is None else str(unit.repeats + 1),
            sha256=screen["sha256"],
            right=questions[0].right,
            candidates=questions[0].candidates,
        )
    name = f"{study}-{rater + 1}"
    used = {unit.part for unit in units}
    parts = [part.model_dump(exclude={"seconds"}) for key, part in PARTS.items() if key in used]
    document = {"study": study, "sheet": name, "parts": parts, "screens": screens}
    # ASCII without any character that could end a script element or begin a tag or an entity
    source = json.dumps(document, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        source = source.replace(character, f"\\u{ord(character):04x}")
    return Sheet(name, study, tuple(screens), source, SheetKey(sha256=sha256_text(source), screens=keys))


def _shown(part: str, questions: Sequence[AttributionQuestion], task: Task) -> Screen:
    """What a screen shows of the answers to one question."""
    first = questions[0]
    screen: Screen = {"about": legible(task.instruction), "fields": _fields(task, first.item)}
    if part == "attribution":
        people = [
            [letter, [record.explanation or NOTHING for record in own]]
            for letter, own in zip(first.letters, first.references, strict=True)
        ]
        return {**screen, "explanation": first.answer.explanation or NOTHING, "people": people}
    own = first.references[LETTERS.index(first.right)]
    examples = [{"fields": _fields(task, task.items[r.item]), **_answer(task, r)} for r in own]
    return {**screen, "answers": [_answer(task, question.answer) for question in questions], "examples": examples}


def _fields(task: Task, item: Item) -> list[list[str]]:
    return [[shown, legible(raw(item.text[name]))] for name, shown in task.fields.items()]


def _answer(task: Task, answer: Annotation) -> dict[str, str]:
    return {"label": f"{label_word(task)}: {answer.label}", "explanation": answer.explanation or NOTHING}


def _columns(screen: Screen) -> tuple[str, ...]:
    """The texts of a screen as the cells `TEXTS` of a table's row."""
    answers = [f"{a['label']}\n{a['explanation']}" for a in screen.get("answers", ())] or [screen["explanation"]]
    people = ["\n".join([f"{letter}:", *(f"- {text}" for text in own)]) for letter, own in screen.get("people", ())]
    examples = [f"{_lines(e['fields'])}\n{e['label']}\n{e['explanation']}" for e in screen.get("examples", ())]
    first, second = (*answers, "")[:2]
    return screen["about"], _lines(screen["fields"]), first, second, "\n\n".join(people or examples)


def _lines(fields: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"{shown}: {text}" for shown, text in fields)


def fingerprint(cells: Sequence[str]) -> str:
    """sha256 of a row's texts, however a spreadsheet has broken their lines or spaced them."""
    return sha256_text(json.dumps([" ".join(cell.split()) for cell in cells]))


def sheet_csv(sheet: Sheet) -> str:
    """The sheet as a table, with a byte order mark: without it spreadsheets take UTF-8 for another encoding."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(HEAD)
    for screen in sheet.screens:
        part = PARTS[screen["part"]]
        ids = (sheet.study, sheet.id, sheet.key.sha256, screen["id"], part.key, screen["sha256"])
        blanks = ["" if name in part.names else NOT_ASKED for name in QUESTIONS]
        # a spreadsheet runs a cell that begins like a formula; a quote before it makes it text
        texts = ["'" + text if text.startswith(_FORMULA) else text for text in _columns(screen)]
        writer.writerow([*ids, *texts, *blanks])
    return BYTE_ORDER_MARK + out.getvalue()


def unquoted(cell: str) -> str:
    """A cell's text without the quote that `sheet_csv` put before it; spreadsheets may have dropped it."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell


def sheet_page(sheet: Sheet) -> str:
    """The sheet as a page. Its texts are a block of JSON that no browser runs; the script shows them as text alone."""
    style, script = (_HERE.joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    head = page_head(
        f"Rating sheet {sheet.id}",
        style,
        script,
        tag("meta", name="robots", content="noindex, nofollow, noarchive"),
        # translated texts would be rated instead of the texts
        tag("meta", name="google", content="notranslate"),
    )
    header = tag(
        "header",
        tag("p", f"Rating sheet {sheet.id}", class_="kind"),
        tag("p", "", id="place"),
        tag("progress", max="1", value="0", id="progress", aria_label="Progress"),
        tag("p", "", id="status", role="status"),
    )
    body = tag(
        "body",
        header,
        tag("main", tag("noscript", tag("p", "This page needs JavaScript; or ask for the table.")), id="main"),
        tag("footer", tag("div", id="tools"), tag("p", NOT_PUBLIC, class_="warning")),
        tag("script", Html(sheet.source), type="application/json", id="sheet", data_sha256=sheet.key.sha256),
        tag("script", Html(script)),
    )
    return "<!doctype html>\n" + tag("html", head, body, lang="en", translate="no") + "\n"
