"""Ratings that came back, checked against the key: what is tampered with or mixed up is refused, all at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError, HlvbenchError, UsageError, all_problems
from ..io import read_json, read_text, strict_json
from .export import KEY, KEY_FORMAT, RATINGS
from .sheet import asked_of
from .study_table import table_answers
from .wording import allowed

FORMAT = "hlvbench ratings 1"


@dataclass(frozen=True)
class Given:
    """One rater's answers. values: screen id -> question -> value; what was left open is not in it."""

    sheet: str
    file: Path
    values: Mapping[str, Mapping[str, str]]

    @property
    def answered(self) -> int:
        return sum(map(len, self.values.values()))


def read_key(folder: Path) -> dict[str, Any]:
    """The key of an exported study; a UsageError where there is none, a DataError where it is not one."""
    if not (folder / KEY).exists():
        raise UsageError(
            f"{folder}: no exported study here (no {KEY}); score the folder that `human-study export` wrote"
        )
    key = read_json(folder / KEY)
    if not isinstance(key, dict) or key.get("format") != KEY_FORMAT:
        raise DataError(f"{folder / KEY}: not the key of a study (format {KEY_FORMAT!r})")
    needed = {"study", "settings", "systems", "samples", "sheets", "alike"} - key.keys()
    if needed:
        raise DataError(f"{folder / KEY}: {', '.join(sorted(needed))} missing; export the study again")
    return key


def read_ratings(folder: Path, key: Mapping[str, Any]) -> tuple[Given, ...]:
    """The ratings in `folder/ratings`, in the order of the sheets; one DataError for every problem of every file."""
    place = folder / RATINGS
    files = sorted(p for p in place.glob("*") if p.suffix.lower() in (".json", ".csv")) if place.is_dir() else []
    if not files:
        raise UsageError(f"{place}: no ratings (.json, .csv) yet; put there what the raters sent back")
    problems: list[str] = []
    found: dict[str, Given] = {}
    for path in files:
        given = _read(path, key, problems)
        if given is not None and given.sheet in found:
            problems.append(f"{path.name}: a second file of sheet {given.sheet}; {found[given.sheet].file.name} is one")
        elif given is not None:
            found[given.sheet] = given
    if problems:
        raise DataError(all_problems(f"{place}: {len(problems)} problems; nothing was scored:", problems))
    return tuple(found[sheet] for sheet in key["sheets"] if sheet in found)


def _read(path: Path, key: Mapping[str, Any], problems: list[str]) -> Given | None:
    """One file; what is wrong with it is added to `problems`. None where its sheet cannot be told."""
    try:
        rows = list(_table(path) if path.suffix.lower() == ".csv" else _export(path))
    except (HlvbenchError, ValueError, RecursionError) as error:
        problems.append(f"{path.name}: {str(error).removeprefix(f'{path}: ')}")
        return None
    sheets = {(row["study"], row["sheet"], row["sheet_sha256"]) for row in rows}
    if len(sheets) != 1:
        what = f"rows of {len(sheets)} sheets are mixed" if rows else "it holds no row"
        problems.append(f"{path.name}: {what}")
        return None
    study, sheet, digest = sheets.pop()
    if study != key["study"]:
        problems.append(f"{path.name}: belongs to study {study!r}; this folder holds {key['study']}")
        return None
    if sheet not in key["sheets"]:
        problems.append(f"{path.name}: sheet {sheet!r} is not of this study; there are {', '.join(key['sheets'])}")
        return None
    known = key["sheets"][sheet]
    if digest != known["sha256"]:
        problems.append(f"{path.name}: the sheet's sha256 is {digest!r}, not {known['sha256']}: another version of it")
    values = _values(path.name, rows, known["screens"], problems)
    return Given(sheet, path, values)


def _values(
    name: str, rows: list[dict[str, Any]], screens: Mapping[str, Any], problems: list[str]
) -> dict[str, dict[str, str]]:
    out: dict[str, dict[str, str]] = {}
    seen: set[str] = set()
    for row in rows:
        screen = row["screen"]
        if screen not in screens:
            problems.append(f"{name}: screen {screen!r} is not on the sheet")
            continue
        if screen in seen:
            problems.append(f"{name}: screen {screen} stands twice")
            continue
        seen.add(screen)
        known = screens[screen]
        if row["part"] != known["part"] or row["sha256"] != known["sha256"]:
            problems.append(f"{name}: screen {screen}: its texts are not those that were exported")
        letters = "ABCD"[: len(known.get("candidates", "ABCD"))]
        for question, value in row["values"].items():
            if question not in asked_of(known["part"]):
                problems.append(f"{name}: screen {screen}: {question!r} was not asked there")
            elif value is not None and value not in (fine := allowed(question, letters)):
                problems.append(f"{name}: screen {screen}: {question} {value!r} is not one of {', '.join(fine)}")
            elif value is not None:
                out.setdefault(screen, {})[question] = value
    absent = [screen for screen in screens if screen not in seen]
    if absent:
        shown = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
        problems.append(f"{name}: screens missing: {shown}")
    return out


def _table(path: Path) -> Iterator[dict[str, Any]]:
    for row in table_answers(read_text(path)):
        # spreadsheets turn the letter or number that was typed into what they think it is
        row["values"] = {k: v and v.upper().removesuffix(".0") for k, v in row["values"].items()}
        yield row


def _export(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of what the page exported; ValueError where it is not that."""
    found = strict_json(read_text(path))
    if not isinstance(found, dict) or found.get("format") != FORMAT or not isinstance(found.get("answers"), list):
        raise ValueError(f"not a page's export (format {FORMAT!r})")
    common = {name: found.get(name) for name in ("study", "sheet", "sheet_sha256")}
    measured = found.get("page_sha256")
    if not all(isinstance(value, str) for value in common.values()):
        raise ValueError("study, sheet and sheet_sha256 are not all texts")
    if measured is not None and measured != common["sheet_sha256"]:
        raise ValueError("the page's texts were changed before they were rated (page_sha256 differs)")
    for number, row in enumerate(found["answers"], start=1):
        texts = isinstance(row, dict) and all(isinstance(row.get(name), str) for name in ("screen", "part", "sha256"))
        values = row.get("values") if texts else None
        if not isinstance(values, dict) or not all(v is None or isinstance(v, str) for v in values.values()):
            raise ValueError(f"answer {number} is not one of a page's export")
        yield {**common, **{name: row[name] for name in ("screen", "part", "sha256")}, "values": values}
