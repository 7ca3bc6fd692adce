"""Reading a folder that anybody may have made: which files, how large, what they may hold.

Sizes are looked at before a file is read, rows are counted before they are parsed, and parsed values are looked
through before anything uses them. Nothing is followed, unpacked or run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ..data.task_config import is_name
from ..errors import DataError
from ..io import HALF, read_json, read_jsonl, read_text, read_toml
from ..text import hidden, local_path

CARD, README, SETTINGS, MANIFEST = "submission.toml", "README.md", "settings.json", "manifest.json"
GENERATIONS, SCORES, PROFILES = "generations.jsonl", "scores.json", "profiles.json"
_WORD = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}"
_ALLOWED = re.compile(
    rf"{CARD}|{README}|{SETTINGS}|{MANIFEST}|train/({_WORD}/)?{_WORD}\.(toml|json)"
    rf"|(?P<task>[^/]+)/({GENERATIONS}|{SCORES}|{PROFILES}|judge/{_WORD}\.jsonl?)"
)
"""The path of a file in a submission."""
MOST_ENTRIES, MOST_BYTES, MOST_ROWS = 20_000, 100 << 20, 500_000
"""Files and folders of a submission, bytes of a file and rows of a JSONL file: enough for 5,000 annotators."""
MOST_LEVELS, LONGEST_TEXT = 24, 1_000_000
_LARGEST = 2.0**53
_SURROGATE = re.compile("[\ud800-\udfff]")
_PLACE = re.compile(r"""(?<![^\s,=:"'(])(?:(?:~[\w-]*|\.{1,2})?/(?!/)|[A-Za-z]:[\\/]|\\\\)[^\s,"')]+""")


def files_of(folder: Path) -> tuple[dict[str, Path], list[tuple[str, str]]]:
    """The files of a submission by their path in it, and (path, problem) of every entry that is refused."""
    if folder.is_symlink() or not folder.is_dir():
        return {}, [(".", "a submission is a folder")]
    try:
        # links are listed, not followed
        entries = sorted(islice(folder.rglob("*"), MOST_ENTRIES + 1))
    except RecursionError:
        return {}, [(".", "folders are nested too deeply")]
    if len(entries) > MOST_ENTRIES:
        return {}, [(".", f"more than {MOST_ENTRIES:,} files and folders")]
    found, problems = dict[str, Path](), list[tuple[str, str]]()
    for path in entries:
        name = path.relative_to(folder).as_posix()
        if path.is_dir() and not path.is_symlink():
            continue
        if why := _refused(name, path):
            problems.append((ascii(name)[1:-1][:200], why))
        else:
            found[name] = path
    return found, problems


def _refused(name: str, path: Path) -> str:
    if path.is_symlink():
        return "a symbolic link; put the file itself here"
    if not path.is_file():
        return "not a regular file"
    match = _ALLOWED.fullmatch(name)
    if not match or not is_name(match["task"] or "task"):
        return "not a file of a submission; remove it (CONTRIBUTING.md lists what a submission holds)"
    size = path.stat().st_size
    return "" if size <= MOST_BYTES else f"{size:,} bytes; at most {MOST_BYTES:,} are read"


def read_untrusted(path: Path) -> Any:
    """The parsed content of a JSON, JSONL or TOML file, or the text of any other.

    Raises:
        DataError: It is not valid, nested deeply, or holds huge texts or numbers or lone surrogates.
    """
    try:
        if path.suffix == ".jsonl":
            if path.read_bytes().count(b"\n") > MOST_ROWS:
                raise DataError(f"more than {MOST_ROWS:,} rows")
            rows = dict(read_jsonl(path))
            problems = [f"line {number}: {problem}" for number, row in rows.items() if (problem := _harm(row))]
            value: Any = list(rows.values())
        else:
            value = {".json": read_json, ".toml": read_toml}.get(path.suffix, read_text)(path)
            problems = [problem] if (problem := _harm(value)) else []
    except DataError as error:
        problems = str(error).removeprefix(f"{path}: ").split("\n")
    if problems:
        raise DataError("; ".join(map(str.strip, problems[:6])))
    return value


def _harm(value: Any) -> str:
    """What no honest file holds, found anywhere in a parsed value; else empty."""
    waiting = [(value, 0)]
    while waiting:
        part, depth = waiting.pop()
        if depth > MOST_LEVELS:
            return f"nested deeper than {MOST_LEVELS} levels"
        if isinstance(part, str) and len(part) > LONGEST_TEXT:
            return f"a text of {len(part):,} characters; at most {LONGEST_TEXT:,}"
        if isinstance(part, str) and _SURROGATE.search(part):
            return HALF
        if isinstance(part, float) and not math.isfinite(part):
            return "a number that is infinite or not a number"
        if isinstance(part, int) and abs(part) > _LARGEST:
            return "a whole number beyond 2^53"
        if isinstance(part, dict):
            waiting += [(inner, depth + 1) for pair in part.items() for inner in pair]
        elif isinstance(part, list):
            waiting += [(inner, depth + 1) for inner in part]
    return ""


def strings(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """(place, string) of every string in a parsed value, keys included."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield f"{name} (a key)".strip(), str(key)
            yield from strings(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from strings(inner, f"{name}[{position}]")


def unsafe(text: str) -> str:
    """Why a text may not be published; else empty."""
    if char := hidden(text):
        return f"holds {char}, which a reader cannot see"
    if path := local_path(text):
        return f"holds the local path {path!r:.80}; name models and adapters by hub id or folder name"
    return ""


def without_paths(value: Any) -> Any:
    """A copy in which every local path, also one within an option, is cut to its last part."""
    if isinstance(value, dict):
        return {k: without_paths(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(v) for v in value]
    return _PLACE.sub(_last_part, value) if isinstance(value, str) else value


def _last_part(match: re.Match[str]) -> str:
    return match[0].replace("\\", "/").rstrip("/").rpartition("/")[2].lstrip("~.") or "folder"
