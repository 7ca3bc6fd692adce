"""Which questions a study asks, and in which order each rater meets them. Decided by the seed alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..bootstrap import seeded
from ..errors import UsageError
from .wording import PARTS

Cell = tuple[str, str]
"""(task, annotator)."""


@dataclass(frozen=True)
class Sample:
    """A question that all systems answered. block: number of the items that share an input text with it."""

    task: str
    item: str
    annotator: str
    block: int

    @property
    def cell(self) -> Cell:
        return self.task, self.annotator


@dataclass(frozen=True)
class Unit:
    """One screen: which part, which sample, whose answers in the order shown (two for a preference).

    repeats: position in the sheet of the screen that this one asks again, None for a first asking.
    """

    part: str
    sample: int
    systems: tuple[str, ...]
    repeats: int | None = None


def choose(eligible: Mapping[Cell, Sequence[Sample]], count: int, seed: int) -> tuple[Sample, ...]:
    """`count` samples: of every task and annotator as many as of any other, as far as there are enough.

    Within a cell by seed, questions about items that no other sample speaks of first. UsageError if there are too few.
    """
    there = sum(map(len, eligible.values()))
    if count > there:
        raise UsageError(f"--samples {count}: only {there} questions were answered by all runs; ask for fewer")
    cells = sorted(eligible)
    turn = [cells[i] for i in seeded("study cells", seed).permutation(len(cells))]
    queues = {
        cell: [eligible[cell][i] for i in seeded("study samples", seed, *cell).permutation(len(eligible[cell]))]
        for cell in cells
    }
    chosen: list[Sample] = []
    used: set[int] = set()
    while len(chosen) < count:
        for cell in turn:
            if queues[cell] and len(chosen) < count:
                fresh = next((s for s in queues[cell] if s.block not in used), queues[cell][0])
                queues[cell].remove(fresh)
                used.add(fresh.block)
                chosen.append(fresh)
    return tuple(sorted(chosen, key=lambda s: (s.cell, s.block, s.item)))


def sheet_units(
    samples: Sequence[Sample],
    systems: Sequence[str],
    alike: Collection[tuple[int, str, str]],
    rater: int,
    repeats: int,
    seed: int,
) -> tuple[Unit, ...]:
    """The screens of rater 0, 1, …: all of part 1, then of part 2, then of part 3; every rater an own order.

    In parts 1 and 2 the systems take turns: each is the first, second, … to be met with a question equally often,
    on a sheet and, shifted by one from rater to rater, over raters. Part 3 shows each system of a pair first
    in half of its screens. alike: (sample, system, system) of equal answers, which need no preference. `repeats`
    screens of each part's first half are asked again at its end, a pair with its sides changed.
    """
    out: list[Unit] = []
    for number, part in enumerate(PARTS):
        rng = seeded("study order", seed, rater, part.key)
        if part.key == "preference":
            units = _pairs(len(samples), systems, alike, rater, rng)
        else:
            units = [Unit(part.key, q, (s,)) for q, s in _turns(len(samples), systems, rater + number, rng)]
        out += [*units, *_again(units, len(out), repeats, rng)]
    return tuple(out)


def _turns(count: int, systems: Sequence[str], shift: int, rng: np.random.Generator) -> list[tuple[int, str]]:
    """Every sample with every system. Samples are sorted by annotator, so that systems alternate within each."""
    out: list[tuple[int, str]] = []
    for block in range(len(systems)):
        order = [int(q) for q in rng.permutation(count)]
        if out and count > 1 and order[0] == out[-1][0]:
            order = [*order[1:], order[0]]
        out += [(q, systems[(q + block + shift) % len(systems)]) for q in order]
    return out


def _pairs(
    count: int,
    systems: Sequence[str],
    alike: Collection[tuple[int, str, str]],
    rater: int,
    rng: np.random.Generator,
) -> list[Unit]:
    units = []
    for number, pair in enumerate(combinations(systems, 2)):
        shown = [q for q in range(count) if (q, *pair) not in alike]
        for place, q in enumerate(shown):
            swapped = (place + number + rater) % 2
            units.append(Unit("preference", q, pair[::-1] if swapped else pair))
    return [units[i] for i in rng.permutation(len(units))]


def _again(units: Sequence[Unit], before: int, repeats: int, rng: np.random.Generator) -> list[Unit]:
    """The screens asked a second time; `before` is the number of screens of the parts before this one."""
    half = (len(units) + 1) // 2
    chosen = rng.permutation(half)[:repeats]
    # sides change, so that always taking the left one is not consistent
    return [Unit(units[i].part, units[i].sample, units[i].systems[::-1], before + int(i)) for i in chosen]
