"""A model without weights: its text is a function of the question, and it logs every batch it is asked."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hlvbench.models import Completion, Model, OutOfMemory, Query


class FakeModel(Model):
    """Answers by hashing; `log` gets one JSON line of questions per call, synced before the answer is made.

    fits: the largest batch that its memory holds; larger ones raise OutOfMemory. delay: seconds per call.
    """

    name = "fake"

    def __init__(
        self, log: Path, fits: int = 1_000_000, delay: float = 0.0, context: int | None = None, version: str = "1"
    ) -> None:
        self.log, self.fits, self.delay, self.context, self.version = log, fits, delay, context, version
        self.batch_size = 8

    def describe(self) -> dict[str, Any]:
        return {"kind": "fake", "version": self.version}

    def group(self, annotator: str) -> str:
        return annotator

    def prompt_text(self, content: str) -> str:
        return f"<{content}>"

    def count_tokens(self, content: str) -> int:
        return len(content)

    def answer(self, batch: Sequence[Query]) -> list[Completion]:
        line = json.dumps([[q.item, q.annotator, q.sample] for q in batch]) + "\n"
        handle = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(handle, line.encode())
        os.close(handle)
        if len(batch) > self.fits:
            raise OutOfMemory(f"{len(batch)} do not fit")
        time.sleep(self.delay)
        return [self._completion(q) for q in batch]

    def calls(self) -> list[list[tuple[str, str, int]]]:
        """The questions of every call so far."""
        if not self.log.exists():
            return []
        return [[tuple(q) for q in json.loads(line)] for line in self.log.read_text().splitlines()]

    @staticmethod
    def _completion(query: Query) -> Completion:
        digest = hashlib.sha256(repr(query).encode()).hexdigest()
        # what JSON and line readers trip over
        return Completion(
            f'Label: {digest[:6]}\nline\u2028sep \x1e {chr(0x1F600)} "q"', "stop", 1 + int(digest, 16) % 9
        )
