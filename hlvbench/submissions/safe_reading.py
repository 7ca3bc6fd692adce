"""Reading a folder that anybody may have made: what kind of files, how large, what they may hold.

Nothing is followed, unpacked or run. Sizes are looked at before a file is opened, rows are counted before they are
parsed, and what was parsed is looked through before anybody uses it.
"""

from __future__ import annotations

import math
import os
import re
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..data.task_config import is_name
from ..errors import DataError
from ..io import strict_json
from .findings import Findings

KIB, MIB = 1 << 10, 1 << 20
CARD, README, SETTINGS, MANIFEST = "submission.toml", "README.md", "settings.json", "manifest.json"
GENERATIONS, SCORES, PROFILES = "generations.jsonl", "scores.json", "profiles.json"
_TASK = r"(?P<task>[^/]+)"
_WORD = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}"
MAY_HOLD: tuple[tuple[re.Pattern[str], int], ...] = tuple(
    (re.compile(form), most)
    for form, most in (
        (re.escape(CARD), 64 * KIB),
        (re.escape(README), 64 * KIB),
        (re.escape(SETTINGS), 64 * KIB),
        (re.escape(MANIFEST), MIB),
        (rf"{_TASK}/generations\.jsonl", 32 * MIB),
        (rf"{_TASK}/scores\.json", 8 * MIB),
        (rf"{_TASK}/profiles\.json", 256 * KIB),
        (rf"{_TASK}/judge/{_WORD}\.json", MIB),
        (rf"{_TASK}/judge/{_WORD}\.jsonl", 32 * MIB),
        (rf"train/{_WORD}\.(?:toml|json)", 64 * KIB),
        (rf"train/{_WORD}/{_WORD}\.(?:toml|json)", 64 * KIB),
    )
)
"""The files that a submission may hold, by their path in it, and how large they may be for AMPLE annotators."""
AMPLE = 100
"""Annotators up to which the limits are those written here; with more they grow (`room`)."""
MOST_FILES, MOST_ROWS, DEEPEST, MOST_LEVELS = 400, 100_000, 3, 24
LONGEST_TEXT = 20_000
"""Characters of one string."""
_LARGEST = 2.0**53


def room(annotators: int) -> float:
    """How much larger than written here limits are for a task with so many annotators."""
    return max(1.0, annotators / AMPLE)


def files_of(folder: Path, findings: Findings, scale: float = 1.0) -> dict[str, Path]:
    """Path in the submission -> file, of the regular files that may be there; everything else is an error.

    scale: see `room`.
    """
    found: dict[str, Path] = {}
    if folder.is_symlink() or not folder.is_dir():
        findings.error(".", "a submission is a folder")
        return found
    for count, (name, entry) in enumerate(_walk(folder, findings), start=1):
        if count > MOST_FILES * scale:
            findings.error(".", f"more than {int(MOST_FILES * scale)} entries")
            break
        what = _trouble(name, entry, scale)
        if what:
            findings.error(ascii(name)[1:-1][:200], what)
        else:
            found[name] = Path(entry.path)
    return found


def _walk(folder: Path, findings: Findings, above: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything below a folder that is not a folder, with its path; links are not followed."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            name = f"{above}{entry.name}"
            if not entry.is_dir(follow_symlinks=False):
                yield name, entry
            elif name.count("/") + 1 >= DEEPEST + 1:
                findings.error(ascii(name)[1:-1][:200], f"folders deeper than {DEEPEST}")
            else:
                yield from _walk(Path(entry.path), findings, f"{name}/")


def _trouble(name: str, entry: os.DirEntry[str], scale: float) -> str:
    """Why an entry cannot be read; empty if it can."""
    if entry.is_symlink():
        return "a symbolic link; put the file itself here"
    facts = entry.stat(follow_symlinks=False)
    if not stat.S_ISREG(facts.st_mode):
        return "neither a file nor a folder"
    for form, most in MAY_HOLD:
        match = form.fullmatch(name)
        if match and ("task" not in match.groupdict() or is_name(match["task"])):
            most = _most(most, scale)
            return "" if facts.st_size <= most else f"{facts.st_size:,} bytes; at most {most:,} are read"
    return "no file of a submission; remove it (CONTRIBUTING.md lists what one holds)"


def _most(most: int, scale: float) -> int:
    """A limit in bytes; the swap matrices of a scores.json grow with the square of the annotators."""
    return int(most * scale + 64 * (AMPLE * (scale - 1)) ** 2)


def read_bytes(path: Path, scale: float = 1.0) -> bytes:
    """The bytes of a regular file, never more than its kind may have; a DataError otherwise."""
    most = _most(max(limit for _, limit in MAY_HOLD), scale)
    try:
        # without O_NONBLOCK a pipe put in the file's place would hang the reader
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise DataError(error.strerror or "cannot be opened") from None
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise DataError("not a regular file")
        data = stream.read(most + 1)
    if len(data) > most:
        raise DataError(f"more than {most:,} bytes")
    return data


def read_text(path: Path, scale: float = 1.0) -> str:
    try:
        return read_bytes(path, scale).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 (byte {error.start})") from None


def read_json(path: Path, scale: float = 1.0) -> Any:
    """JSON without doubled keys, infinities, deep nesting, lone surrogates or huge strings; else a DataError."""
    return _parsed(read_text(path, scale), scale)


def read_toml(path: Path, scale: float = 1.0) -> dict[str, Any]:
    try:
        value = tomllib.loads(read_text(path, scale))
    except (ValueError, RecursionError) as error:
        raise DataError(f"not valid TOML: {error or 'too deeply nested'}") from None
    sane(value)
    return value


def read_rows(path: Path, scale: float = 1.0) -> list[dict[str, Any]]:
    """The objects of a JSONL file; a DataError that names the first broken lines."""
    text = read_text(path, scale)
    if text.count("\n") > MOST_ROWS * scale:
        raise DataError(f"more than {int(MOST_ROWS * scale):,} rows")
    rows, problems = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = _parsed(line)
            if not isinstance(row, dict):
                raise DataError(f"an object was expected, got {type(row).__name__}")
            rows.append(row)
        except DataError as error:
            problems.append(f"line {number}: {error}")
    if problems:
        raise DataError(f"{len(problems)} broken lines; {'; '.join(problems[:5])}")
    return rows


def _parsed(text: str, scale: float = 1.0) -> Any:
    try:
        value = strict_json(text)
    except RecursionError:
        raise DataError("not valid JSON: too deeply nested") from None
    except ValueError as error:
        raise DataError(f"not valid JSON: {error}") from None
    sane(value, scale)
    return value


def sane(value: Any, scale: float = 1.0) -> None:
    """DataError for what no honest file holds: numbers beyond float's whole ones, deep nesting, huge strings."""
    waiting = [(value, 0)]
    while waiting:
        one, depth = waiting.pop()
        if depth > MOST_LEVELS:
            raise DataError(f"nested deeper than {MOST_LEVELS} levels")
        if isinstance(one, str):
            _sane_text(one, int(LONGEST_TEXT * scale))
        elif isinstance(one, float) and not math.isfinite(one):
            raise DataError("a number that is infinite or not a number")
        elif isinstance(one, int) and abs(one) > _LARGEST:
            raise DataError("a whole number beyond 2^53")
        elif isinstance(one, dict):
            waiting += [(part, depth + 1) for pair in one.items() for part in pair]
        elif isinstance(one, list):
            waiting += [(part, depth + 1) for part in one]


def _sane_text(text: str, most: int) -> None:
    if len(text) > most:
        raise DataError(f"a text of {len(text):,} characters; at most {most:,}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError("half of a character (a lone surrogate)") from None


def strings(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """(where, string) of every string in a parsed value, keys included."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield f"{name} (a key)".strip(), str(key)
            yield from strings(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from strings(inner, f"{name}[{position}]")
