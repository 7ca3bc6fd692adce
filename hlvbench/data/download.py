"""Pinned public files: found in a local folder, or downloaded into the cache; always verified.

A task names its files in task.toml: `[upstream] repo, revision` and `[[upstream.files]] path, bytes,
sha256`, with `also` for another path under which a local copy may lie.
"""

from __future__ import annotations

import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import DataError, HlvbenchError, TaskError, all_problems
from ..io import cache_dir, sha256_bytes
from . import TaskSpec

HOST = "https://raw.githubusercontent.com"
ATTEMPTS = 4
TIMEOUT = 30.0
PAUSE = 0.5
Say = Callable[[str], None]


@dataclass(frozen=True)
class Remote:
    """One pinned file: where it lies in its repository, its size and hash, other local places."""

    path: str
    bytes: int
    sha256: str
    also: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name


@dataclass(frozen=True)
class Upstream:
    """A GitHub repository at a commit, and the files of it that a task reads."""

    repo: str
    revision: str
    files: tuple[Remote, ...]

    def url(self, remote: Remote, base_url: str | None = None) -> str:
        return f"{(base_url or HOST).rstrip('/')}/{self.repo}/{self.revision}/{remote.path}"


def upstream_of(spec: TaskSpec) -> Upstream:
    """The upstream that a task.toml names; a TaskError with every problem of that table."""
    table = spec.options.get("upstream")
    if not isinstance(table, dict):
        raise TaskError(f"{spec.folder / 'task.toml'}: [upstream] with repo, revision and files is needed")
    problems: list[str] = []

    def text(where: Mapping[str, Any], key: str, pattern: str) -> str:
        value = where.get(key)
        if isinstance(value, str) and re.fullmatch(pattern, value) and ".." not in value:
            return value
        problems.append(f"upstream: {key}: got {value!r}, expected a match of {pattern}")
        return ""

    path = r"[\w.-]+(/[\w.-]+)*"
    repo, revision = text(table, "repo", r"[\w.-]+/[\w.-]+"), text(table, "revision", "[0-9a-f]{40}")
    rows = table.get("files")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        problems.append("upstream: at least one [[upstream.files]] is needed")
        rows = []
    files = []
    for row in rows:
        size = row.get("bytes")
        if type(size) is not int or size < 1:
            problems.append(f"upstream: bytes: a positive integer is needed, got {size!r}")
        also = tuple(text({"also": value}, "also", path) for value in row.get("also", []))
        files.append(Remote(text(row, "path", path), size, text(row, "sha256", "[0-9a-f]{64}"), also))
    if len({remote.name for remote in files}) < len(files):
        problems.append("upstream: two files have the same name")
    if problems:
        raise TaskError(all_problems(f"{spec.folder / 'task.toml'}: {len(problems)} problems", problems))
    return Upstream(repo, revision, tuple(files))


def cached_path(upstream: Upstream, remote: Remote, cache: Path | None = None) -> Path:
    """Where the cache keeps a file: repository and revision are part of it, so revisions never mix."""
    return (cache or cache_dir()) / "data" / upstream.repo.replace("/", "--") / upstream.revision / remote.path


def find(upstream: Upstream, remote: Remote, data_dir: Path | None) -> Path | None:
    """The file in a local folder (shared layout, upstream layout, a clone below it, or bare), or in the cache."""
    if data_dir is None:
        places = [cached_path(upstream, remote)]
    else:
        clone = upstream.repo.split("/")[1]
        names = (remote.path, f"{clone}/{remote.path}", *remote.also, remote.name)
        places = [data_dir / name for name in names]
    return next((place for place in places if place.is_file()), None)


def verified(path: Path, remote: Remote, remedy: str) -> bytes:
    """The content of a file, or a DataError that names it, if it is not the pinned one."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    if wrong := mismatch(data, remote):
        raise DataError(f"{path}: not the pinned file: {wrong}; {remedy}")
    return data


def mismatch(data: bytes, remote: Remote) -> str:
    """How `data` differs from the pinned file; "" if it does not."""
    if len(data) < remote.bytes:
        return f"truncated: {len(data):,} of {remote.bytes:,} bytes"
    digest = sha256_bytes(data)
    if digest != remote.sha256:
        return f"changed: {len(data):,} bytes, sha256 {digest}; expected {remote.bytes:,} bytes, {remote.sha256}"
    return ""


def data_files(spec: TaskSpec, data_dir: Path | None, say: Say | None = None) -> dict[str, bytes]:
    """File name -> verified content of a task's upstream files.

    They are read from `data_dir`; where that is None from the cache, filled on first use. Missing
    files are one DataError that says which, where they can be had and where to put them.
    """
    upstream = upstream_of(spec)
    problems, missing = [], []
    out: dict[str, bytes] = {}
    reason = ""
    for remote in upstream.files:
        path = find(upstream, remote, data_dir)
        try:
            if path is None and data_dir is None and not reason:
                path = fetch_file(upstream, remote, say=say)
        except DataError as error:
            reason = str(error)
        if path is None:
            missing.append(remote)
            continue
        remedy = f"run `hlvbench fetch {spec.name}`" if data_dir is None else f"get {upstream.url(remote)}"
        try:
            out[remote.name] = verified(path, remote, remedy)
        except DataError as error:
            problems.append(str(error))
    if missing:
        problems.insert(0, missing_message(spec.name, upstream, missing, data_dir, reason))
    if problems:
        raise DataError("\n".join(problems))
    return out


def missing_message(name: str, upstream: Upstream, missing: list[Remote], data_dir: Path | None, reason: str) -> str:
    """What is missing, where it was looked for, and both ways to get it."""
    where = str(data_dir) if data_dir is not None else f"the cache ({cache_dir()})"
    lines = [f"{name}: {', '.join(remote.name for remote in missing)} not found in {where}"]
    if reason:
        lines.append(f"  and the download failed: {reason}")
    lines.append(f"  Either run `hlvbench fetch {name}` online (and give no --data-dir, no HLVBENCH_DATA),")
    lines.append("  or copy these into a folder DIR and give --data-dir DIR or set HLVBENCH_DATA=DIR:")
    lines += [f"    {upstream.url(remote)}" for remote in missing]
    return "\n".join(lines)


def fetch_file(
    upstream: Upstream, remote: Remote, cache: Path | None = None, base_url: str | None = None, say: Say | None = None
) -> Path:
    """The path of a file in the cache, downloaded and verified where it was not there or was not the pinned one."""
    target = cached_path(upstream, remote, cache)
    download(upstream.url(remote, base_url), target, remote, say=say)
    return target


def download(
    url: str,
    target: Path,
    remote: Remote,
    attempts: int = ATTEMPTS,
    timeout: float = TIMEOUT,
    pause: float | None = None,
    say: Say | None = None,
) -> None:
    """Download `url` to `target`, continuing what an earlier try left in `target`.part.

    `timeout` is for each wait for bytes, in seconds; failed tries wait `pause` (default `PAUSE`),
    2·`pause`, ... between them. The content is verified before it gets its name; a changed file is a
    DataError and leaves nothing. One process at a time downloads a target; the others wait and find it done.
    """
    tell = say or (lambda line: print(line, file=sys.stderr))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target):
            if target.is_file() and not mismatch(target.read_bytes(), remote):
                return
            part = target.with_name(f"{target.name}.part")
            _fill(url, part, remote, attempts, timeout, PAUSE if pause is None else pause, tell)
            part.replace(target)
    except OSError as error:
        raise DataError(f"{target}: {error.strerror or error}; choose another cache with HLVBENCH_CACHE") from None
    tell(f"{remote.name}: {remote.bytes:,} bytes, verified")


def _fill(url: str, part: Path, remote: Remote, attempts: int, timeout: float, pause: float, tell: Say) -> None:
    """Bring `part` to the pinned content, or raise a DataError."""
    reason = ""
    for attempt in range(attempts):
        if attempt:
            wait = pause * 2 ** (attempt - 1)
            tell(f"{remote.name}: {reason}; again in {wait:g} s")
            time.sleep(wait)
        had = part.stat().st_size if part.is_file() else 0
        try:
            if had < remote.bytes:
                _receive(url, part, remote, timeout, tell)
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"the server answered {error.code} {error.reason}"
            if error.code == 416:
                part.unlink(missing_ok=True)
            elif 400 <= error.code < 500 and error.code not in (408, 425, 429):
                raise DataError(f"{url}: {reason}; was the pinned file moved or deleted upstream?") from None
            continue
        except _Unreachable as error:
            reason = str(error)
            continue
        data = part.read_bytes()
        reason = mismatch(data, remote)
        if not reason:
            return
        if len(data) >= remote.bytes:
            part.unlink()
            if not had:
                raise DataError(f"{url}: not the pinned file: {reason}; it was deleted")
    raise DataError(f"{url}: {reason} ({attempts} tries)")


class _Unreachable(HlvbenchError):
    """No answer, or none that can be used: worth another try."""


def _receive(url: str, part: Path, remote: Remote, timeout: float, tell: Say) -> None:
    """Append the rest of the file to `part`, or write all of it where the server ignores Range."""
    had = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": "hlvbench", "Accept-Encoding": "identity"}
    if had:
        headers["Range"] = f"bytes={had}-"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout) as response:
            start = _start(response, had)
            blocks = _blocks(response)
            with open(part, "r+b" if start else "wb") as stream:
                stream.seek(start)
                _write(blocks, stream, start, remote, tell)
    except urllib.error.HTTPError:
        raise
    except (urllib.error.URLError, TimeoutError, ConnectionError, ssl.SSLError, HTTPException) as error:
        raise _Unreachable(str(getattr(error, "reason", "") or error or type(error).__name__)) from None


def _start(response: HTTPResponse, had: int) -> int:
    """The offset of the body's first byte: 0 for a full answer, what was asked for in a partial one."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise _Unreachable("the server sent a compressed body that was not asked for")
    if response.status != 206:
        return 0
    given = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if not given or int(given[1]) != had:
        raise _Unreachable(f"the server sent another range ({response.headers.get('Content-Range')}) than asked for")
    return had


def _blocks(response: HTTPResponse) -> Iterator[bytes]:
    # read1 hands over what has arrived, so a slow server still fills the part file
    while block := response.read1(1 << 16):
        yield block


def _write(blocks: Iterator[bytes], stream: Any, start: int, remote: Remote, tell: Say) -> None:
    """Write and flush block by block; stop one byte past the pinned size; a line of progress every 5 s."""
    done, told = start, time.monotonic()
    for block in blocks:
        stream.write(block[: remote.bytes + 1 - done])
        stream.flush()
        done = min(done + len(block), remote.bytes + 1)
        if done > remote.bytes:
            return
        if time.monotonic() - told > 5:
            told = time.monotonic()
            tell(f"{remote.name}: {done:,} of {remote.bytes:,} bytes")


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Hold the lock of `target`; a killed process lets go of it by itself."""
    if sys.platform == "win32":  # no such locks there: two downloads at once are not guarded
        yield
        return
    import fcntl

    with open(target.with_name(f".{target.name}.lock"), "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
