"""What a check finds: OK, WARN and ERROR lines, all of them at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from ..text import legible

Level = Literal["OK", "WARN", "ERROR"]
_LONGEST = 400


@dataclass(frozen=True)
class Finding:
    """One line of a check. where: a file, a score or a row, relative to the submission."""

    level: Level
    where: str
    text: str

    def __str__(self) -> str:
        line = " ".join(legible(f"{self.level:<5} {self.where}: {self.text}").split("\n"))
        return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


@dataclass
class Findings:
    """A growing list of findings."""

    found: list[Finding] = field(default_factory=list)

    def ok(self, where: str, text: str) -> None:
        self.found.append(Finding("OK", where, text))

    def warn(self, where: str, text: str) -> None:
        self.found.append(Finding("WARN", where, text))

    def error(self, where: str, text: str) -> None:
        self.found.append(Finding("ERROR", where, text))

    def errors(self) -> list[Finding]:
        return [f for f in self.found if f.level == "ERROR"]

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.found)
