"""Reading a folder that anybody may have made: which files, how large, what they may hold.

Sizes are looked at before a file is read, rows are counted before they are parsed, and parsed values are looked
through before anything uses them. Nothing is followed, unpacked or run.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.task_config import is_name
from ..errors import DataError
from ..io import strict_json
from ..text import hidden, local_path

KIB, MIB = 1 << 10, 1 << 20
CARD, README, SETTINGS, MANIFEST = "submission.toml", "README.md", "settings.json", "manifest.json"
GENERATIONS, SCORES, PROFILES = "generations.jsonl", "scores.json", "profiles.json"
_WORD = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}"
_ALLOWED = {
    rf"{CARD}|{README}|{SETTINGS}": 64 * KIB,
    MANIFEST: MIB,
    rf"(?P<task>[^/]+)/{GENERATIONS}": 32 * MIB,
    rf"(?P<task>[^/]+)/{SCORES}": 8 * MIB,
    rf"(?P<task>[^/]+)/{PROFILES}": 256 * KIB,
    rf"(?P<task>[^/]+)/judge/{_WORD}\.json": MIB,
    rf"(?P<task>[^/]+)/judge/{_WORD}\.jsonl": 32 * MIB,
    rf"train/({_WORD}/)?{_WORD}\.(toml|json)": 64 * KIB,
}
"""Pattern of a path in a submission -> the largest size in bytes for a task of AMPLE annotators."""
AMPLE = 100
"""Annotators up to which the limits are those written here; with more annotators they grow."""
MOST_FILES, MOST_ROWS, MOST_LEVELS, LONGEST_TEXT = 400, 100_000, 24, 20_000
_LARGEST = 2.0**53
_SURROGATE = re.compile("[\ud800-\udfff]")
_PLACE = re.compile(r"""(?<![^\s,=:"'(])(?:(?:~[\w-]*|\.{1,2})?/(?!/)|[A-Za-z]:[\\/]|\\\\)[^\s,"')]+""")


@dataclass(frozen=True)
class SafeReader:
    """Reads the files of one submission.

    Args:
        annotators: Of the largest task that the submission answers; limits on sizes grow with this number.
    """

    annotators: int = 0

    @property
    def scale(self) -> float:
        """How much larger the limits are than for AMPLE annotators."""
        return max(1.0, self.annotators / AMPLE)

    def files(self, folder: Path) -> tuple[dict[str, Path], list[tuple[str, str]]]:
        """The files of a submission by their path in it, and (path, problem) of every entry that is refused."""
        if folder.is_symlink() or not folder.is_dir():
            return {}, [(".", "a submission is a folder")]
        found, problems, count = dict[str, Path](), list[tuple[str, str]](), 0
        for place, folders, names in os.walk(folder):
            folders.sort()
            for path in (Path(place, name) for name in sorted([*names, *folders])):
                if path.is_dir() and not path.is_symlink():
                    continue
                count += 1
                if count > MOST_FILES * self.scale:
                    return found, [*problems, (".", f"more than {int(MOST_FILES * self.scale)} files")]
                name = path.relative_to(folder).as_posix()
                if why := self._refused(name, path):
                    problems.append((ascii(name)[1:-1][:200], why))
                else:
                    found[name] = path
        return found, problems

    def _refused(self, name: str, path: Path) -> str:
        if path.is_symlink():
            return "a symbolic link; put the file itself here"
        if not path.is_file():
            return "not a regular file"
        for pattern, most in _ALLOWED.items():
            match = re.fullmatch(pattern, name)
            if match and is_name(match.groupdict().get("task") or "task"):
                # the swap matrices of a scores.json grow with the square of the number of annotators
                most, size = int(most * self.scale + 64 * (AMPLE * (self.scale - 1)) ** 2), path.stat().st_size
                return "" if size <= most else f"{size:,} bytes; at most {most:,} are read"
        return "not a file of a submission; remove it (CONTRIBUTING.md lists what a submission holds)"

    def text(self, path: Path) -> str:
        try:
            return path.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"not UTF-8 (byte {error.start})") from None

    def read(self, path: Path) -> Any:
        """The parsed content of a JSON, JSONL or TOML file, or the text of any other; DataError if it is not safe."""
        readers = {".json": self.json, ".jsonl": self.rows, ".toml": self.toml}
        return readers.get(path.suffix, self.text)(path)

    def json(self, path: Path) -> Any:
        """JSON without repeated keys, infinities, deep nesting, lone surrogates or huge strings and numbers."""
        return self._parsed(self.text(path), strict_json, "JSON")

    def toml(self, path: Path) -> dict[str, Any]:
        return dict(self._parsed(self.text(path), tomllib.loads, "TOML"))

    def rows(self, path: Path) -> list[dict[str, Any]]:
        """The objects of a JSONL file; a DataError names the first broken lines."""
        text = self.text(path)
        if text.count("\n") > MOST_ROWS * self.scale:
            raise DataError(f"more than {int(MOST_ROWS * self.scale):,} rows")
        rows, problems = [], []
        for number, line in enumerate(text.split("\n"), start=1):
            if not line.strip():
                continue
            try:
                row = self._parsed(line, strict_json, "JSON")
                if not isinstance(row, dict):
                    raise DataError(f"an object was expected, got {type(row).__name__}")
                rows.append(row)
            except DataError as error:
                problems.append(f"line {number}: {error}")
        if problems:
            raise DataError(f"{len(problems)} broken lines; {'; '.join(problems[:5])}")
        return rows

    def _parsed(self, text: str, parse: Callable[[str], Any], kind: str) -> Any:
        """The value; DataError for what is not valid, deep nesting, huge strings or numbers, and lone surrogates."""
        try:
            value = parse(text)
        except RecursionError:
            raise DataError(f"not valid {kind}: too deeply nested") from None
        except ValueError as error:
            raise DataError(f"not valid {kind}: {error}") from None
        waiting, longest = [(value, 0)], int(LONGEST_TEXT * self.scale)
        while waiting:
            part, depth = waiting.pop()
            if depth > MOST_LEVELS:
                raise DataError(f"nested deeper than {MOST_LEVELS} levels")
            if isinstance(part, str) and len(part) > longest:
                raise DataError(f"a text of {len(part):,} characters; at most {longest:,}")
            if isinstance(part, str) and _SURROGATE.search(part):
                raise DataError("half of a character (a lone surrogate)")
            if isinstance(part, float) and not math.isfinite(part):
                raise DataError("a number that is infinite or not a number")
            if isinstance(part, int) and abs(part) > _LARGEST:
                raise DataError("a whole number beyond 2^53")
            if isinstance(part, dict):
                waiting += [(inner, depth + 1) for pair in part.items() for inner in pair]
            elif isinstance(part, list):
                waiting += [(inner, depth + 1) for inner in part]
        return value


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
