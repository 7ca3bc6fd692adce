"""Ratings that came back: read from the page's JSON or the table's CSV and checked against the key, all at once."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError, model_validator

from ..errors import DataError, HlvbenchError, UsageError, all_problems, validation_problems
from ..io import read_text, strict_json
from ..judging.questions import LETTERS
from .rating_sheet import BYTE_ORDER_MARK, HEAD, NOT_ASKED, TEXTS, fingerprint, unquoted
from .study_key import RATINGS, ScreenKey, SheetKey, StudyKey
from .study_questions import PARTS, QUESTIONS, allowed


class ScreenRatings(BaseModel):
    """What was answered on one screen: question -> value, None where it was left open. sha256: of the texts shown."""

    screen: str
    part: str
    sha256: str
    values: dict[str, str | None]


class SheetRatings(BaseModel):
    """What the page exports, and what a table is read into. page_sha256: of the sheet as the browser measured it."""

    format: Literal["hlvbench ratings 1"]
    study: str
    sheet: str
    sheet_sha256: str
    page_sha256: str | None = None
    answers: list[ScreenRatings]

    @model_validator(mode="after")
    def _unchanged(self) -> SheetRatings:
        if self.page_sha256 not in (None, self.sheet_sha256):
            raise ValueError("the page's texts were changed before they were rated (page_sha256 differs)")
        return self


@dataclass(frozen=True)
class Rating:
    """One answered question. value: a number on a scale, the annotator named, the preferred system or "tie"."""

    rater: int
    screen: str
    key: ScreenKey
    question: str
    value: str

    @property
    def right(self) -> bool:
        """Of attribution: whether the right annotator is named."""
        return self.value == self.key.candidates[LETTERS.index(self.key.right)]


def read_ratings(folder: Path, key: StudyKey) -> tuple[dict[str, str], list[Rating]]:
    """The ratings in `folder`/ratings.

    Returns:
        Sheet -> file name of the raters in the order of the sheets, and all answered questions.

    Raises:
        UsageError: there are none.
        DataError: with every problem of every file.
    """
    place = folder / RATINGS
    paths = sorted(p for p in place.glob("*") if p.suffix.lower() in (".json", ".csv")) if place.is_dir() else []
    if not paths:
        raise UsageError(f"{place}: no ratings (.json, .csv) yet; put there what the raters sent back")
    problems: list[str] = []
    by_sheet: dict[str, SheetRatings] = {}
    files: dict[str, str] = {}
    for path in paths:
        try:
            read = _from_csv if path.suffix.lower() == ".csv" else _from_json
            ratings = read(read_text(path))
        except ValidationError as error:
            problems += [f"{path.name}: {problem}" for problem in validation_problems(error)]
            continue
        except (HlvbenchError, ValueError, RecursionError) as error:
            problems.append(f"{path.name}: {str(error).removeprefix(f'{path}: ')}")
            continue
        wrong = list(_problems(ratings, key))
        if ratings.sheet in files:
            wrong = [f"a second file of sheet {ratings.sheet}; {files[ratings.sheet]} is one"]
        problems += [f"{path.name}: {problem}" for problem in wrong]
        files.setdefault(ratings.sheet, path.name)
        by_sheet.setdefault(ratings.sheet, ratings)
    if problems:
        raise DataError(all_problems(f"{place}: {len(problems)} problems; nothing was scored:", problems))
    sheets = [sheet for sheet in key.sheets if sheet in files]
    answered = [
        Rating(rater, answer.screen, screen, question, _meaning(screen, question, value))
        for rater, sheet in enumerate(sheets)
        for answer in by_sheet[sheet].answers
        for screen in [key.sheets[sheet].screens[answer.screen]]
        for question, value in answer.values.items()
        if value is not None
    ]
    return {sheet: files[sheet] for sheet in sheets}, answered


def _meaning(screen: ScreenKey, question: str, value: str) -> str:
    """The value without letters and sides."""
    if question == "who":
        return screen.candidates[LETTERS.index(value)]
    if question == "preference":
        return "tie" if value == "0" else screen.systems[int(value) - 1]
    return value


def _from_json(text: str) -> SheetRatings:
    return SheetRatings.model_validate(strict_json(text))


def _from_csv(text: str) -> SheetRatings:
    """A filled-in table; each row's sha256 is computed from the texts as they are in the row."""
    body = text.removeprefix(BYTE_ORDER_MARK)
    if not body.strip():
        raise ValueError("it is empty")
    delimiter = max(",;\t", key=body.partition("\n")[0].count)
    try:
        head, *rows = csv.reader(io.StringIO(body), delimiter=delimiter, strict=True)
    except (csv.Error, ValueError) as error:
        raise ValueError(f"not a CSV file: {error}") from None
    if tuple(cell.strip() for cell in head) != HEAD:
        raise ValueError("its first line is not that of a rating table; import and save it with all columns as text")
    answers, sheets = [], set()
    for number, cells in enumerate(rows, start=2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(HEAD):
            raise ValueError(f"row {number} has {len(cells)} cells where {len(HEAD)} were expected")
        row = dict(zip(HEAD, cells, strict=True))
        sheets.add((row["study"].strip(), row["sheet"].strip(), row["sheet_sha256"].strip()))
        # spreadsheets turn the letter or number that was typed into what they take it for
        values = {name: row[name].strip().upper().removesuffix(".0") for name in QUESTIONS}
        answers.append(
            ScreenRatings(
                screen=row["screen"].strip(),
                part=row["part"].strip(),
                sha256=fingerprint([unquoted(row[name]) for name in TEXTS]),
                values={name: value or None for name, value in values.items() if value != NOT_ASKED},
            )
        )
    if len(sheets) != 1:
        raise ValueError(f"rows of {len(sheets)} sheets are mixed" if answers else "it holds no row")
    study, sheet, digest = sheets.pop()
    return SheetRatings(format="hlvbench ratings 1", study=study, sheet=sheet, sheet_sha256=digest, answers=answers)


def _problems(ratings: SheetRatings, key: StudyKey) -> Iterator[str]:
    """Everything that is wrong with the ratings of one file."""
    if ratings.study != key.study:
        yield f"belongs to study {ratings.study!r}; this folder holds {key.study}"
    elif ratings.sheet not in key.sheets:
        yield f"sheet {ratings.sheet!r} is not of this study; there are {', '.join(key.sheets)}"
    else:
        sheet = key.sheets[ratings.sheet]
        if ratings.sheet_sha256 != sheet.sha256:
            yield f"the sheet's sha256 is {ratings.sheet_sha256!r}, not {sheet.sha256}: another version of it"
        yield from _screen_problems(ratings, sheet)


def _screen_problems(ratings: SheetRatings, sheet: SheetKey) -> Iterator[str]:
    counts = Counter(answer.screen for answer in ratings.answers)
    yield from (f"screen {screen} occurs twice" for screen, n in counts.items() if n > 1)
    for answer in ratings.answers:
        known = sheet.screens.get(answer.screen)
        if known is None:
            yield f"screen {answer.screen!r} is not on the sheet"
            continue
        if (answer.part, answer.sha256) != (known.part, known.sha256):
            yield f"screen {answer.screen}: its texts are not those that were exported"
        for question, value in answer.values.items():
            if question not in PARTS[known.part].names:
                yield f"screen {answer.screen}: {question!r} was not asked there"
            elif value is not None and value not in (options := allowed(question, len(known.candidates))):
                yield f"screen {answer.screen}: {question} {value!r} is not one of {', '.join(options)}"
    if absent := [screen for screen in sheet.screens if screen not in counts]:
        shown = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
        yield f"screens missing: {shown}"
