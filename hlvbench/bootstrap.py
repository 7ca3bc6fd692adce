"""Item resampling, intervals and paired tests (docs/metrics.md section 10).

Every metric is computed on lists of items. The estimate is the statistic of the list that holds each
item once; a replicate is the same statistic, by the same code, on a list drawn with replacement.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from .types import Item

REPLICATES = 1000
KEPT = 200
"""Replicates of the index and its factors that a run keeps."""
_NAN = -32768
LEAST_P = 1e-6
FEWEST_CLUSTERS = 10
"""With fewer clusters of items there is neither an interval nor a p value."""
TAIL = 0.025
_EQUAL = 1e-9
_ROWS = 1024
"""Items whose counts are floats at a time."""


def seeded(*parts: object) -> np.random.Generator:
    """A random generator that depends on the printed `parts` alone, on every machine."""
    digest = hashlib.sha256(":".join(map(str, parts)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def plain_text(text: str) -> str:
    """What two texts that count as the same have in common: case, spacing and composition of characters aside."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", text).lower()).strip()


def clusters(items: Sequence[Item]) -> tuple[tuple[int, ...], ...]:
    """Positions of the items of one group, or that share an input text (case and spacing aside), transitively."""
    parent = list(range(len(items)))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[str, int] = {}
    for position, item in enumerate(items):
        texts = map(plain_text, filter(None, item.text.values()))
        for key in texts if item.group is None else [f"group\n{item.group}"]:
            owner = first.setdefault(key, position)
            low, high = sorted((find(owner), find(position)))
            parent[high] = low
    members: dict[int, list[int]] = {}
    for position in range(len(items)):
        members.setdefault(find(position), []).append(position)
    return tuple(tuple(group) for group in members.values())


def halves(items: Sequence[Item]) -> dict[str, int]:
    """Item id -> 0 or 1: two halves of about one size; items that share an input text stay together."""
    sizes, half = [0, 0], dict[str, int]()
    for group in clusters(items):
        smaller = int(sizes[1] < sizes[0])
        sizes[smaller] += len(group)
        half |= {items[i].id: smaller for i in group}
    return half


@dataclass(frozen=True)
class Draws:
    """R resamples of the items, as lists of positions.

    Attributes:
        groups: The item positions of each cluster.
        picks: (R, number of clusters) int, the clusters drawn into each resample.
    """

    groups: tuple[tuple[int, ...], ...]
    picks: np.ndarray

    def __len__(self) -> int:
        return len(self.picks)

    @property
    def lack(self) -> str:
        """Why these lists give no interval, or ""."""
        few = len(self.groups) < FEWEST_CLUSTERS
        return f"no interval: needs {FEWEST_CLUSTERS} clusters of items, {len(self.groups)} given" if few else ""

    @cached_property
    def _members(self) -> tuple[np.ndarray, np.ndarray]:
        """The items of all clusters, end to end, and the clusters' sizes."""
        return np.fromiter(itertools.chain(*self.groups), dtype=int), np.fromiter(map(len, self.groups), dtype=int)

    @cached_property
    def counts(self) -> np.ndarray:
        """How often each item is in each resample: (N, R) small whole numbers."""
        count = len(self.groups)
        offsets = np.arange(len(self.picks))[:, None] * count
        times = np.bincount((self.picks + offsets).ravel(), minlength=len(self.picks) * count)
        small = np.uint8 if times.max(initial=0) < 256 else np.uint32
        members, sizes = self._members
        out = np.zeros((len(members), len(self.picks)), dtype=small)
        out[members] = np.repeat(times.reshape(len(self.picks), count).T.astype(small), sizes, axis=0)
        return out

    def of(self, items: np.ndarray) -> np.ndarray:
        """How often each of these items is in each resample: (R, n), float64."""
        return self.counts[items].T.astype(float)

    def sums(self, values: Any) -> np.ndarray:
        """Values of the items, (N, K) dense or sparse -> (R, K): their sums over each list."""
        out = np.zeros((len(self), values.shape[1]))
        for start in range(0, len(self.counts), _ROWS):  # all of the counts as floats would take eight times the memory
            out += self.counts[start : start + _ROWS].T.astype(float) @ values[start : start + _ROWS]
        return out

    @property
    def lists(self) -> Iterator[np.ndarray]:
        """The item positions of each list, in drawn order; lengths differ where clusters do."""
        members, sizes = self._members
        first = np.cumsum(sizes) - sizes
        return (members[ranges(first[row], sizes[row])] for row in self.picks)


def ranges(first: np.ndarray, size: np.ndarray) -> np.ndarray:
    """first[0], first[0] + 1, … (size[0] of them), first[1], …"""
    ends = np.cumsum(size)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - size - first, size)


@lru_cache(maxsize=8)
def every_item_once(count: int) -> Draws:
    """The list that gives the estimate: items 0 … count-1, each once."""
    return Draws(tuple((i,) for i in range(count)), np.arange(count)[None])


def item_draws(items: Sequence[Item], task: str, split: str, seed: int = 0, replicates: int = REPLICATES) -> Draws:
    """The bootstrap lists of a split.

    Replicate r depends on (task, split, seed, r) alone, so all systems share it.

    Args:
        items: The items of the split.
        task: Name and version, such as "varierr@1".
        split: Name of the split.
        seed: Seed of the resampling.
        replicates: Number of lists, R.
    """
    groups = clusters(items)
    rows = [seeded("bootstrap", task, split, seed, r).integers(0, len(groups), len(groups)) for r in range(replicates)]
    return Draws(groups, np.array(rows).reshape(replicates, len(groups)))


def weighted_means(values: np.ndarray, draws: Draws) -> np.ndarray:
    """Mean of each column over each list.

    Args:
        values: (N, K), one row per item; NaN cells are left out of the mean.
        draws: R lists of items.

    Returns:
        (R, K); NaN where a column has no cell in a list.
    """
    given = ~np.isnan(values)
    total, count = draws.sums(np.where(given, values, 0.0)), draws.sums(given.astype(float))
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def mean_over_annotators(values: np.ndarray) -> np.ndarray:
    """(R, K) -> (R,): the mean over the columns that have a value; NaN where none has."""
    given = ~np.isnan(values)
    count = given.sum(axis=1)
    total = np.where(given, values, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def interval(
    estimate: float, replicates: np.ndarray, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> tuple[float, float] | None:
    """95 % percentile interval recentred on the estimate: [q_lo - b, q_hi - b] with b = mean of replicates - estimate.

    Where a tail's share of the replicates or more lies on an end of the range, the interval reaches that end:
    recentring must not move an index off the 0 that many replicates have, which `difference_p` counts as ties.

    Args:
        estimate: The statistic of the items as they are.
        replicates: (R,), NaN where there is none.
        bounds: The metric's range; the interval is cut to it.

    Returns:
        Low and high; None where the estimate or all replicates are NaN.
    """
    found = replicates[~np.isnan(replicates)]
    if np.isnan(estimate) or not len(found):
        return None
    bias = float(found.mean() - estimate)
    low, high = (float(np.clip(q - bias, *bounds)) for q in np.quantile(found, [TAIL, 1 - TAIL]))
    low = bounds[0] if np.mean(found <= bounds[0] + _EQUAL) >= TAIL else low
    high = bounds[1] if np.mean(found >= bounds[1] - _EQUAL) >= TAIL else high
    return low, high


def paired_p(difference: float, replicates: np.ndarray) -> float:
    """Two-sided bootstrap p value of a paired difference.

    p = 2 · min(share of recentred replicates ≤ 0, share ≥ 0), each with one added to numerator and
    denominator (Davison & Hinkley 1997, eq. 4.11), at most 1.

    Args:
        difference: The difference of the two systems' estimates.
        replicates: (R,) its replicates, which are recentred on `difference`.

    Returns:
        NaN where the difference or all replicates are NaN.
    """
    found = replicates[~np.isnan(replicates)]
    if np.isnan(difference) or not len(found):
        return float("nan")
    centred = found - (found.mean() - difference)
    below, above = (centred <= 0).sum(), (centred >= 0).sum()
    return float(min(1.0, 2 * (min(below, above) + 1) / (len(found) + 1)))


def difference_p(difference: float, replicates: np.ndarray, items: int) -> tuple[float, bool]:
    """Two-sided p value of a paired difference, below the resolution of the replicates where they allow it.

    R replicates cannot bring `paired_p` below 2 / (R + 1): with 200, a Holm adjustment over six pairs would never
    find anything. Where no replicate lies on the other side of 0, p is therefore the normal tail
    2 Φ(-|difference| / standard deviation of the replicates), if that is smaller. A replicate in which the systems
    are equal counts for both sides: an index clipped at 0 has many of them, and recentring would move all of them to
    one side.

    Args:
        difference: The difference of the two systems' estimates.
        replicates: (R,) its replicates.
        items: Number of items. p is at least 2^(1 - items), the least p of a sign test, and at least 10⁻⁶.

    Returns:
        p, and whether it is the normal tail.
    """
    p = paired_p(difference, replicates)
    known = replicates[~np.isnan(replicates)]
    ties = int((np.abs(known) < _EQUAL).sum())
    p = max(p, min(1.0, 2 * (ties + 1) / (len(known) + 1)))
    least = max(LEAST_P, 2.0 ** (1 - items))
    if math.isnan(p):
        return 1.0, False
    finest = 2 / (len(known) + 1)
    if difference == 0 or p > finest * (1 + 1e-9):
        return max(p, least), False
    spread = float(known.std(ddof=1)) if len(known) > 1 else math.inf
    tail = math.erfc(abs(difference) / spread / math.sqrt(2)) if spread > 0 else 0.0
    return max(min(p, tail), least), tail < p


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Step-down adjusted p values (Holm 1979).

    Args:
        p_values: Name of a test to its p value. NaN stays NaN and is not counted as a test.
    """
    known = sorted((p, key) for key, p in p_values.items() if not np.isnan(p))
    adjusted, running = {key: float("nan") for key in p_values}, 0.0
    for rank, (p, key) in enumerate(known):
        running = max(running, min(1.0, (len(known) - rank) * p))
        adjusted[key] = running
    return adjusted


def encode(estimate: float, replicates: np.ndarray) -> dict[str, Any]:
    """A statistic and its first 200 replicates as JSON, for comparisons that need neither data nor model.

    {"estimate", "scale", "offset", "data"}: replicate = offset + scale · code; codes are little-endian int16 in
    base64, -32768 is NaN. Estimate and replicates are rounded to six decimals first; the codes then add an
    error of at most half a step, a 131,068th of the replicates' range. NaN as the estimate is None.
    """
    kept = np.round(np.asarray(replicates[:KEPT], dtype=float), 6)
    known = kept[~np.isnan(kept)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    offset, scale = (low + high) / 2, (high - low) / 65534
    steps = (kept - offset) / scale if scale > 0 else kept - kept
    codes = np.where(np.isnan(steps), _NAN, np.rint(np.nan_to_num(steps))).astype("<i2")
    return {
        "estimate": None if np.isnan(estimate) else round(float(estimate), 6),
        "scale": scale,
        "offset": offset,
        "data": base64.b64encode(codes.tobytes()).decode("ascii"),
    }


def decode(offset: float, scale: float, data: str) -> np.ndarray:
    """The replicates (R,) that `encode` stored, NaN where there is none; a ValueError for data of another kind."""
    codes = np.frombuffer(base64.b64decode(data, validate=True), dtype="<i2")
    return np.where(codes == _NAN, np.nan, offset + scale * codes.astype(float))
