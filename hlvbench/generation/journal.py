"""Files that survive a kill: checked lines, appended; and the names of the files of one list of answers."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..io import dump_line, naming, sha256_text, strict_json, write_atomic

STEM = "generations"


@dataclass(frozen=True)
class Place:
    """The files of one list of answers: `out`/`stem`.jsonl, and beside it what is needed to continue it."""

    out: Path
    stem: str = STEM

    @property
    def finished(self) -> Path:
        return self.out / f"{self.stem}.jsonl"

    @property
    def plan(self) -> Path:
        return self.out / f"{self.stem}.plan.json"

    def partial(self, rank: int) -> Path:
        return self.out / f"{self.stem}.partial.{rank}.jsonl"

    def partials(self) -> list[Path]:
        return sorted(self.out.glob(f"{glob.escape(self.stem)}.partial.*.jsonl"))

    def torn(self) -> Iterator[Path]:
        """What killed processes left of atomic writes."""
        for kind in ("jsonl", "plan.json", "partial"):
            yield from self.out.glob(f".{glob.escape(self.stem)}.{kind}.*")

    def lock(self, name: int | str) -> Path:
        return self.out / (f".lock.{name}" if self.stem == STEM else f".lock.{self.stem}.{name}")


class Partial:
    """Objects, one per line, each with the sha256 of its own text; only whole lines are ever believed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[dict[str, Any]]:
        """The objects whose lines are whole, in file order; torn or altered lines are left out."""
        return [value for value in map(_checked, self._raw()) if value is not None]

    def repair(self) -> None:
        """Drop broken lines from the file, so that the next append starts a line of its own."""
        raw = self._raw()
        whole = [line for line in raw if _checked(line) is not None]
        if whole != raw:
            write_atomic(self.path, b"".join(whole))

    def append(self, value: Mapping[str, Any]) -> None:
        """Add one object in one write, on disk when this returns."""
        data = dump_line({**value, "sha256": sha256_text(dump_line(value))}).encode()
        new = not self.path.exists()
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            view = memoryview(data)
            with naming(self.path):
                while view:
                    view = view[os.write(handle, view) :]
                os.fsync(handle)
        finally:
            os.close(handle)
        if new:
            _sync_folder(self.path.parent)

    def _raw(self) -> list[bytes]:
        if not self.path.exists():
            return []
        with open(self.path, "rb") as stream:
            return list(stream)


def _checked(line: bytes) -> dict[str, Any] | None:
    """The object of a whole line, None of any other."""
    if not line.endswith(b"\n"):
        return None
    try:
        value = strict_json(line.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    digest = value.pop("sha256", None)
    return value if digest == sha256_text(dump_line(value)) else None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
