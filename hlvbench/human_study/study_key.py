"""The key of a study: what every screen showed and which system wrote it. It stays with whoever runs the study."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from ..errors import DataError, UsageError, all_problems, validation_problems
from ..io import read_json
from .study_design import Sample

KEY = "key.json"
KEY_FORMAT: Literal["hlvbench human study 1"] = "hlvbench human study 1"
FOR_RATERS, RATINGS = "for-raters", "ratings"


class ScreenKey(BaseModel):
    """One screen. right: the letter of the annotator in question; candidates: annotators in the order of the letters.

    repeats: the screen that this one repeats. sha256: of the texts shown.
    """

    part: str
    sample: int
    systems: tuple[str, ...]
    repeats: str | None
    sha256: str
    right: str
    candidates: tuple[str, ...]


class SheetKey(BaseModel):
    """One rater's sheet: its sha256 and its screens by id."""

    sha256: str
    screens: dict[str, ScreenKey]


class SystemKey(BaseModel):
    """A system by the name used in the results, and its run folder."""

    name: str
    run: str


class StudyKey(BaseModel):
    """All that scoring needs. alike: (sample, system, system) of identical answers, which were not compared."""

    format: Literal["hlvbench human study 1"] = KEY_FORMAT
    hlvbench: str
    study: str
    settings: dict[str, Any]
    tasks: dict[str, str]
    systems: list[SystemKey]
    samples: list[Sample]
    alike: list[tuple[int, str, str]]
    sheets: dict[str, SheetKey]


def read_key(folder: Path) -> StudyKey:
    """The key of an exported study.

    Raises:
        UsageError: there is none.
        DataError: it is not a key; every problem is listed.
    """
    if not (folder / KEY).exists():
        raise UsageError(
            f"{folder}: no exported study here (no {KEY}); score the folder that `human-study export` wrote"
        )
    try:
        return StudyKey.model_validate(read_json(folder / KEY))
    except ValidationError as error:
        heading = f"{folder / KEY}: not the key of a study; export the study again:"
        raise DataError(all_problems(heading, validation_problems(error))) from None
