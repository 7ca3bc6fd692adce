"""The files of one list of answers: a journal that survives a kill, a plan, and the finished answers."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired

from typing_extensions import TypedDict

from ..errors import RunError, all_problems
from ..io import dump_line, naming, read_document, sha256_text, strict_json, write_atomic

STEM = "generations"


class Finished(TypedDict):
    """What is read again of the facts of finished answers."""

    generations_sha256: str


class Plan(TypedDict):
    """What is read again of a plan: what the answers were begun with."""

    batch_size: int
    settings: dict[str, Any]
    model: dict[str, Any]
    answers: NotRequired[str]
    finished: NotRequired[Finished]


@dataclass(frozen=True)
class AnswerFiles:
    """The files of one list of answers: `out`/`stem`.jsonl, and beside it what is needed to continue it."""

    out: Path
    stem: str = STEM

    @property
    def finished(self) -> Path:
        return self.out / f"{self.stem}.jsonl"

    @property
    def plan(self) -> Path:
        return self.out / f"{self.stem}.plan.json"

    def read_plan(self) -> dict[str, Any]:
        """The plan; a DataError where it is missing or none."""
        return dict(read_document(self.plan, Plan))

    def journal(self, rank: int) -> Journal:
        return Journal(self.out / f"{self.stem}.partial.{rank}.jsonl")

    def journals(self) -> list[Journal]:
        """Those of all processes that ever worked here."""
        return [Journal(path) for path in sorted(self.out.glob(f"{glob.escape(self.stem)}.partial.*.jsonl"))]

    def torn(self) -> Iterator[Path]:
        """What killed processes left of atomic writes."""
        for kind in ("jsonl", "plan.json", "partial"):
            yield from self.out.glob(f".{glob.escape(self.stem)}.{kind}.*")

    def lock(self, name: int | str) -> Path:
        return self.out / (f".lock.{name}" if self.stem == STEM else f".lock.{self.stem}.{name}")


class Journal:
    """Objects, one per line, each with the sha256 of its own text; only whole lines are ever believed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> list[dict[str, Any]]:
        """The objects of whole lines, in file order; torn or altered lines are left out."""
        return [value for value in map(_entry, self._raw()) if value is not None]

    def repair(self) -> None:
        """Drop broken lines from the file, so that the next append starts a line of its own."""
        lines = self._raw()
        whole = [line for line in lines if _entry(line) is not None]
        if whole != lines:
            write_atomic(self.path, b"".join(whole))

    def append(self, value: Mapping[str, Any]) -> None:
        """Add one object in one write, synced to disk when this returns."""
        data = dump_line({**value, "sha256": sha256_text(dump_line(value))}).encode()
        with naming(self.path), open(self.path, "ab") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())

    def _raw(self) -> list[bytes]:
        if not self.path.exists():
            return []
        with open(self.path, "rb") as stream:
            return list(stream)


def _entry(line: bytes) -> dict[str, Any] | None:
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


def refuse_other_settings(before: Mapping[str, Any], now: Mapping[str, Any], heading: str) -> None:
    """A RunError that names every difference between what a folder was begun with and what is asked for now."""
    there, here = _flat(before), _flat(now)
    differing = sorted(k for k in {*there, *here} if there.get(k) != here.get(k))
    if differing:
        lines = [f"{k}: there {there.get(k)!r}, now {here.get(k)!r}" for k in differing]
        raise RunError(all_problems(heading, lines))


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {name: value}
    return {k: v for key in value for k, v in _flat(value[key], f"{name}.{key}" if name else key).items()}
