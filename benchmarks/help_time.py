"""How long `--help` takes, beside lm-eval's: medians of alternating starts with a warm file cache."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

TARGET = 0.5


def seconds(program: str) -> float:
    """Wall time of one `program --help`."""
    started = time.perf_counter()
    subprocess.run([Path(sys.executable).parent / program, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    programs = ("hlvbench", "lm-eval")
    for program in programs:
        seconds(program)
    # alternating, so that a busy machine is busy for both
    times = [[seconds(program) for program in programs] for _ in range(rounds)]
    ours, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"hlvbench --help {ours:.3f} s, lm-eval --help {theirs:.3f} s (medians of {rounds})")
    print(f"ratio {ours / theirs:.2f}, target at most {TARGET}")
    return int(ours / theirs > TARGET)


if __name__ == "__main__":
    sys.exit(main())
