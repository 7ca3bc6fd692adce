"""Pinned public files: found in a local folder, or downloaded into the cache by pooch; always verified.

A task names its files in task.toml: `[upstream] repo, revision` and `[[upstream.files]] path, bytes, sha256`, with
`also` for other paths under which a local copy may lie. pooch downloads to a temporary file, compares the sha256 and
renames, so a file in the cache is whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt

from ..errors import DataError
from ..io import cache_dir, locked, say, sha256_bytes
from .task_config import TaskSpec

HOST = "https://raw.githubusercontent.com"
ATTEMPTS = 4
TIMEOUT = 30.0
"""Seconds without a byte until a server is given up."""
PAUSE = 0.5
"""Seconds before the second try; twice as long before each further one."""
RETRIED = (408, 425, 429)
"""Status codes below 500 that may pass."""
Say = Callable[[str], None]


def _below(path: str) -> str:
    if ".." in path:
        raise ValueError("must not hold '..'")
    return path


SafePath = Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)*$"), AfterValidator(_below)]


class Remote(BaseModel):
    """One pinned file: its path in its repository, its size and hash, and other local places."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    path: SafePath
    bytes: PositiveInt
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    also: list[SafePath] = []

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name


def _distinct(files: list[Remote]) -> list[Remote]:
    if len({file.name for file in files}) < len(files):
        raise ValueError("two files have the same name")
    return files


class Upstream(BaseModel):
    """A GitHub repository at a commit, and the files of it that a task reads."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str = Field(pattern="^[0-9a-f]{40}$")
    files: Annotated[list[Remote], Field(min_length=1), AfterValidator(_distinct)]

    def url(self, file: Remote, base_url: str | None = None) -> str:
        """Where the file can be downloaded; `base_url` replaces the host (a mirror)."""
        return f"{(base_url or HOST).rstrip('/')}/{self.repo}/{self.revision}/{file.path}"


class PinnedSpec(TaskSpec):
    """A task whose data are pinned public files; `annotators`: those that the data have, None if only they say."""

    upstream: Upstream
    annotators: list[str] | None = None


def cached_path(upstream: Upstream, file: Remote, cache: Path | None = None) -> Path:
    """Where the cache keeps a file: repository and revision are part of it, so revisions never mix."""
    return (cache or cache_dir()) / "data" / upstream.repo.replace("/", "--") / upstream.revision / file.path


def find(upstream: Upstream, file: Remote, data_dir: Path | None) -> Path | None:
    """The file in a local folder (shared layout, upstream layout, a clone below it, or bare), or in the cache."""
    if data_dir is None:
        places = [cached_path(upstream, file)]
    else:
        clone = upstream.repo.split("/")[1]
        places = [data_dir / name for name in (file.path, f"{clone}/{file.path}", *file.also, file.name)]
    return next((place for place in places if place.is_file()), None)


def verified(path: Path, file: Remote, remedy: str) -> bytes:
    """The content of a local file.

    Raises:
        DataError: The file cannot be read, or is not the pinned one.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    if len(data) < file.bytes:
        raise DataError(f"{path}: not the pinned file: truncated: {len(data):,} of {file.bytes:,} bytes; {remedy}")
    if (digest := sha256_bytes(data)) != file.sha256:
        raise DataError(
            f"{path}: not the pinned file: changed: {len(data):,} bytes, sha256 {digest}; expected {file.bytes:,} "
            f"bytes, {file.sha256}; {remedy}"
        )
    return data


def data_files(spec: PinnedSpec, data_dir: Path | None) -> dict[str, bytes]:
    """The verified content of a task's upstream files, by file name.

    Args:
        spec: A task with upstream files.
        data_dir: The folder of local copies; None for the cache, which is filled on first use.

    Raises:
        DataError: Files are missing, cannot be downloaded or are not the pinned ones. It names all of them, where
            they can be had and where to put them.
    """
    upstream = spec.upstream
    problems, missing, reason = list[str](), list[Remote](), ""
    contents: dict[str, bytes] = {}
    for file in upstream.files:
        path = find(upstream, file, data_dir)
        try:
            if path is None and data_dir is None and not reason:
                path = fetch_file(upstream, file)
        except DataError as error:
            reason = str(error)
        if path is None:
            missing.append(file)
            continue
        remedy = f"run `hlvbench fetch {spec.name}`" if data_dir is None else f"get {upstream.url(file)}"
        try:
            contents[file.name] = verified(path, file, remedy)
        except DataError as error:
            problems.append(str(error))
    if missing:
        problems.insert(0, _missing_message(spec.name, upstream, missing, data_dir, reason))
    if problems:
        raise DataError("\n".join(problems))
    return contents


def _missing_message(name: str, upstream: Upstream, missing: list[Remote], data_dir: Path | None, reason: str) -> str:
    """What is missing, where it was looked for, and both ways to get it."""
    where = str(data_dir) if data_dir is not None else f"the cache ({cache_dir()})"
    lines = [f"{name}: {', '.join(file.name for file in missing)} not found in {where}"]
    if reason:
        lines.append(f"  and the download failed: {reason}")
    lines.append(f"  Either run `hlvbench fetch {name}` online (without --data-dir and HLVBENCH_DATA),")
    lines.append("  or copy these files into a folder DIR and use --data-dir DIR or set HLVBENCH_DATA=DIR:")
    lines += [f"    {upstream.url(file)}" for file in missing]
    return "\n".join(lines)


def fetch_file(
    upstream: Upstream, file: Remote, cache: Path | None = None, base_url: str | None = None, tell: Say = say
) -> Path:
    """The path of a file in the cache, downloaded where it is missing or not the pinned one.

    One process at a time downloads a file; the others wait for it.

    Raises:
        DataError: The file cannot be downloaded, is not the pinned one, or cannot be written.
    """
    target, url = cached_path(upstream, file, cache), upstream.url(file, base_url)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target.with_name(f".{target.name}.lock"), wait=True):
            if not (target.is_file() and sha256_bytes(target.read_bytes()) == file.sha256):
                _download(url, target, file, tell)
                tell(f"{file.name}: {file.bytes:,} bytes, verified")
    except OSError as error:
        raise DataError(f"{target}: {error.strerror or error}; choose another cache with HLVBENCH_CACHE") from None
    return target


def _download(url: str, target: Path, file: Remote, tell: Say) -> None:
    """Download and verify a file, with `ATTEMPTS` tries where the failure may pass."""
    import pooch
    import requests

    pooch.get_logger().setLevel("ERROR")
    downloader = pooch.HTTPDownloader(timeout=TIMEOUT)
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            pause = PAUSE * 2 ** (attempt - 1)
            tell(f"{file.name}: {reason}; again in {pause:g} s")
            time.sleep(pause)
        try:
            pooch.retrieve(url, f"sha256:{file.sha256}", target.name, target.parent, downloader=downloader)
            return
        except requests.HTTPError as error:
            code = error.response.status_code
            reason = f"the server answered {code} {error.response.reason}"
            if code < 500 and code not in RETRIED:
                raise DataError(f"{url}: {reason}; was the pinned file moved or deleted upstream?") from None
        except requests.RequestException as error:
            cause = error.args[0] if error.args else error
            reason = str(getattr(cause, "reason", cause))
        except ValueError as error:
            raise DataError(f"{url}: not the pinned file: {error}") from None
    raise DataError(f"{url}: {reason} ({ATTEMPTS} tries)")
