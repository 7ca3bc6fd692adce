"""Which questions a study asks, and in which order each rater sees them. Determined by the seed alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..bootstrap import seeded
from ..errors import UsageError
from .study_questions import PARTS

Cell = tuple[str, str]
"""(task, annotator)."""


@dataclass(frozen=True)
class Sample:
    """A question that all systems answered. block: number of the cluster of items that share an input text."""

    task: str
    item: str
    annotator: str
    block: int

    @property
    def cell(self) -> Cell:
        return self.task, self.annotator


@dataclass(frozen=True)
class Unit:
    """One screen: the part, the sample, and whose answers in the order shown (two for a preference).

    repeats: position in the sheet of the screen that this one repeats, None for a first presentation.
    """

    part: str
    sample: int
    systems: tuple[str, ...]
    repeats: int | None = None


def choose(eligible: Mapping[Cell, Sequence[Sample]], count: int, seed: int) -> tuple[Sample, ...]:
    """Draw samples, equally many of every task and annotator as far as there are enough.

    Within a cell the order is random, but items that share no text with a drawn sample come first.

    Raises:
        UsageError: fewer than `count` questions are eligible.
    """
    available = sum(map(len, eligible.values()))
    if count > available:
        found = f"only {available} questions; ask for fewer" if available else "no question; name other runs"
        raise UsageError(f"--samples {count}: all runs answered, with an explanation, {found}")
    cells = sorted(eligible)
    order = [cells[i] for i in seeded("study cells", seed).permutation(len(cells))]
    queues = {
        cell: [eligible[cell][i] for i in seeded("study samples", seed, *cell).permutation(len(eligible[cell]))]
        for cell in cells
    }
    chosen: list[Sample] = []
    used: set[int] = set()
    while len(chosen) < count:
        for cell in order:
            if queues[cell] and len(chosen) < count:
                sample = next((s for s in queues[cell] if s.block not in used), queues[cell][0])
                queues[cell].remove(sample)
                used.add(sample.block)
                chosen.append(sample)
    return tuple(sorted(chosen, key=lambda s: (s.cell, s.block, s.item)))


def sheet_units(
    count: int, systems: Sequence[str], alike: Collection[tuple[int, str, str]], rater: int, repeats: int, seed: int
) -> tuple[Unit, ...]:
    """The screens of one rater: all of part 1, then of part 2, then of part 3, in a random order of the rater's own.

    In parts 1 and 2 each system comes first, second, … with a question equally often, on a sheet and, shifted by one
    from rater to rater, over raters. Part 3 shows each system of a pair first in half of its screens.

    Args:
        count: number of samples.
        alike: (sample, system, system) of identical answers, which are not compared.
        rater: 0, 1, …
        repeats: screens of each part's first half that are shown again at its end, a pair with its sides swapped.
    """
    units: list[Unit] = []
    for number, part in enumerate(PARTS):
        rng = seeded("study order", seed, rater, part)
        if part == "preference":
            own = _pairs(count, systems, alike, rater, rng)
        else:
            own = _rotated(part, count, systems, rater + number, rng)
        chosen = rng.permutation((len(own) + 1) // 2)[:repeats]
        # sides are swapped, so that always taking the left one is not consistent
        again = [Unit(part, own[i].sample, own[i].systems[::-1], len(units) + int(i)) for i in chosen]
        units += [*own, *again]
    return tuple(units)


def _rotated(part: str, count: int, systems: Sequence[str], shift: int, rng: np.random.Generator) -> list[Unit]:
    """Every sample with every system. Samples are sorted by annotator, so that systems alternate within each."""
    units: list[Unit] = []
    for block in range(len(systems)):
        order = [int(q) for q in rng.permutation(count)]
        if units and count > 1 and order[0] == units[-1].sample:
            order = [*order[1:], order[0]]
        units += [Unit(part, q, (systems[(q + block + shift) % len(systems)],)) for q in order]
    return units


def _pairs(
    count: int, systems: Sequence[str], alike: Collection[tuple[int, str, str]], rater: int, rng: np.random.Generator
) -> list[Unit]:
    units = []
    for number, pair in enumerate(combinations(systems, 2)):
        shown = [q for q in range(count) if (q, *pair) not in alike]
        for position, q in enumerate(shown):
            swapped = (position + number + rater) % 2
            units.append(Unit("preference", q, pair[::-1] if swapped else pair))
    return [units[i] for i in rng.permutation(len(units))]
