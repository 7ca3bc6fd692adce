"""Running many `hlvbench` commands, two at a time; each resumes by itself, so the whole does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Command:
    """One `hlvbench` command; processes > 1: the adapters of a training shared by so many processes."""

    words: tuple[str, ...]
    log: Path
    processes: int = 1
    environment: dict[str, str] = field(default_factory=dict)


def run_all(commands: Sequence[Command], at_once: int = 2) -> None:
    """Run the commands, `at_once` processes at a time; SystemExit with the log's tail where one fails."""
    started = time.monotonic()
    width = max(command.processes for command in commands)
    with ThreadPoolExecutor(max(1, at_once // width)) as pool:
        for command, code in zip(commands, pool.map(_run, commands), strict=True):
            if code:
                tail = command.log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
                sys.exit("\n".join([f"failed ({code}): hlvbench {' '.join(command.words)}", *tail]))
    print(f"  [{time.monotonic() - started:5.0f} s] {len(commands)} commands", file=sys.stderr, flush=True)


def _run(command: Command) -> int:
    """The largest exit code of the command's processes; their output goes to its log."""
    print(f"  hlvbench {' '.join(command.words)}", file=sys.stderr, flush=True)
    command.log.parent.mkdir(parents=True, exist_ok=True)
    with open(command.log, "a", encoding="utf-8") as log:
        running = []
        for rank in range(command.processes):
            # one thread each: what a launcher would set
            places = {"RANK": str(rank), "WORLD_SIZE": str(command.processes)} if command.processes > 1 else {}
            environment = {**os.environ, "OMP_NUM_THREADS": "1", **places, **command.environment}
            words = [sys.executable, "-m", "hlvbench", *command.words]
            running.append(subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, env=environment))
        return max(process.wait() for process in running)
