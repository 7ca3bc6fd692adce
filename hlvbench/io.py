"""Files: JSON and JSONL, atomic writes, hashes, locks; and the progress bar."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import DataError, RunError, all_problems, validation_problems
from .types import Generation

if TYPE_CHECKING:
    from tqdm import tqdm

HALF = "half of a character (a lone surrogate)"
_SURROGATE = re.compile("[\ud800-\udfff]")
LOG_EVERY = 10.0
"""Seconds between two lines of progress where stderr is not a terminal."""


def sha256_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_text(text: str) -> str:
    return sha256_bytes(text.encode("utf-8", "surrogatepass"))


def sha256_file(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def cache_dir() -> Path:
    """Where downloads and computed values are kept: HLVBENCH_CACHE, else the platform's user cache."""
    named = os.environ.get("HLVBENCH_CACHE")
    if named:
        return Path(named).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("hlvbench")


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write beside `path`, sync, rename: a reader sees the old file or the new one, never a part."""
    try:
        content = data.encode() if isinstance(data, str) else data
    except UnicodeEncodeError:
        raise DataError(f"{path}: cannot be written: its text has {HALF}") from None
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> list[Path]:
    """Write name -> content below `folder`; returns the paths."""
    for name, content in files.items():
        write_atomic(folder / name, content)
    return [folder / name for name in files]


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an OSError that names no file, such as that of a full disk, the name of the file that is written."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def dump_json(value: Any) -> str:
    """Indented JSON ending in a newline; NaN and infinities are refused."""
    return json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def dump_line(value: Any) -> str:
    """One JSON line; NaN and infinities are refused."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"


def strict_json(text: str) -> Any:
    """Parse JSON; NaN, infinities and doubled keys raise ValueError."""

    def no_constant(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    def no_double(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key stands twice in one object")
        return found

    return json.loads(text, parse_constant=no_constant, object_pairs_hook=no_double)


def read_text(path: Path) -> str:
    """The file as UTF-8 text, or a DataError."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 (byte {error.start})") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None


def read_json(path: Path) -> Any:
    try:
        return strict_json(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON: {error}") from None


def read_document(path: Path, kind: Any) -> Any:
    """A JSON file that hlvbench wrote, as it stands there.

    Args:
        path: The file.
        kind: Its type, a TypedDict say; keys beside those of the type may stand there.

    Raises:
        DataError: The file is missing, no JSON or of another type; all problems at once.
    """
    from pydantic import TypeAdapter, ValidationError

    found = read_json(path)
    try:
        # what stands there is returned, so "8" is no number
        TypeAdapter(kind).validate_json(read_text(path), strict=True)
    except ValidationError as error:
        heading = f"{path}: not as hlvbench wrote it; restore it, or start anew in another folder:"
        raise DataError(all_problems(heading, validation_problems(error))) from None
    return found


def read_toml(path: Path) -> dict[str, Any]:
    """The document; a DataError where it is not TOML."""
    try:
        return tomllib.loads(read_text(path))
    # a whole number of thousands of digits is a plain ValueError
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid TOML: {error}") from None


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of every non-empty line; all broken lines are reported at once."""
    problems, rows = [], []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = strict_json(line)
            if not isinstance(row, dict):
                raise ValueError(f"an object was expected, got {type(row).__name__}")
            rows.append((number, row))
        except (ValueError, RecursionError) as error:
            problems.append(f"line {number}: {error}")
    if problems:
        raise DataError(all_problems(f"{path}: {len(problems)} broken lines", problems))
    return iter(rows)


_GENERATION = {f.name: {"int": int, "str": str}[str(f.type)] for f in dataclasses.fields(Generation)}
_OPTIONAL = {"sample": 0, "finish": "stop", "new_tokens": 0, "prompt_sha256": ""}


def read_generations(path: Path) -> list[Generation]:
    """The rows of a generations.jsonl; of a bare one only item, annotator and text are needed."""
    rows, problems = [], []
    for number, row in read_jsonl(path):
        row = {**_OPTIONAL, **{k: v for k, v in row.items() if k in _GENERATION}}
        bad = [k for k, kind in _GENERATION.items() if type(row.get(k)) is not kind]
        if bad:
            problems.append(f"line {number}: {', '.join(bad)} missing or of the wrong type")
        elif _SURROGATE.search(row["item"] + row["annotator"] + row["text"]):
            problems.append(f"line {number}: {HALF}")
        else:
            rows.append(Generation(**row))
    if problems:
        raise DataError(all_problems(f"{path}: {len(problems)} rows are not generations", problems))
    return rows


def generation_lines(rows: Iterable[Generation]) -> str:
    return "".join(dump_line(dataclasses.asdict(row)) for row in rows)


@contextmanager
def locked(path: Path, taken: str = "", wait: bool = False) -> Iterator[None]:
    """Hold the lock file `path`. The operating system releases the lock of a process that dies.

    Args:
        path: The lock file, which is gone after the release.
        taken: What another process is doing, for the message of the error.
        wait: Wait for another holder instead of raising an error.

    Raises:
        RunError: Another process holds the lock, and `wait` is false.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        raise RunError(f"{path.parent}: {taken}; wait for it to end, or end it") from None
    try:
        yield
    finally:
        # under the lock; who has opened this file meanwhile sees that it has no name, and opens the new one
        path.unlink(missing_ok=True)
        lock.release()


def say(text: object, quiet: bool = False) -> None:
    """Print a line on stderr, which belongs to progress; stdout belongs to results."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)


def progress_bar(total: int, done: int = 0, quiet: bool = False) -> tqdm[Any]:
    """A progress bar of answers on stderr; where stderr is not a terminal, one short line every 10 seconds.

    Args:
        total: Number of answers of the whole work.
        done: Number of answers that an earlier, interrupted command has finished.
        quiet: Print nothing.
    """
    from tqdm import tqdm

    if done:
        say(f"resumed: {done} of {total} answers are finished", quiet)
    if sys.stderr.isatty():
        return tqdm(total=total, initial=done, unit=" answers", disable=quiet, dynamic_ncols=True)
    line = "{n}/{total} answers, {remaining} left{postfix}"
    slow = {"mininterval": LOG_EVERY, "maxinterval": LOG_EVERY, "miniters": 1}
    return tqdm(total=total, initial=done, disable=quiet, bar_format=line, file=_Lines(), **slow)


class _Lines:
    """Writes every state of a bar to stderr as a line of its own."""

    def write(self, text: str) -> None:
        if text.strip():
            sys.stderr.write(text.strip() + "\n")

    def flush(self) -> None:
        sys.stderr.flush()
