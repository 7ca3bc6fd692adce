"""How far a run is, on stderr: one line that is redrawn on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time

EVERY = 10.0
WIDTH = 24


class Progress:
    """Units done of `total`, tokens per second and the time left, from the work of this process alone."""

    def __init__(self, total: int, done: int = 0, quiet: bool = False, unit: str = "answers") -> None:
        self.total, self.done, self.quiet, self.unit, self.note = total, done, quiet, unit, ""
        self.at_start, self.tokens = done, 0
        self.started = self.shown = time.monotonic()
        self.terminal = sys.stderr.isatty()
        if done and not quiet:
            self._write(f"resumed: {done} of {total} {unit} are there\n")

    def advance(self, units: int, tokens: int, note: str = "") -> None:
        """Count a finished batch; the note stands at the end of the line."""
        self.done += units
        self.note = note
        self.tokens += tokens
        now = time.monotonic()
        if not self.quiet and (self.terminal or now - self.shown >= EVERY or self.done == self.total):
            self.shown = now
            self._write(f"\r{self.bar()} {self.line()}\x1b[K" if self.terminal else self.line() + "\n")

    def line(self) -> str:
        """ "120/371 answers, 850 tokens/s, 0:42 left"."""
        seconds = max(time.monotonic() - self.started, 1e-9)
        made = self.done - self.at_start
        left = int(seconds / made * (self.total - self.done)) if made else 0
        shown = f"{self.done}/{self.total} {self.unit}, {self.tokens / seconds:.0f} tokens/s, {_clock(left)} left"
        return f"{shown}, {self.note}" if self.note else shown

    def bar(self) -> str:
        full = WIDTH * self.done // max(self.total, 1)
        return "[" + "#" * full + "." * (WIDTH - full) + "]"

    def close(self) -> None:
        if self.terminal and not self.quiet and self.done > self.at_start:
            self._write("\n")

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def _clock(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
