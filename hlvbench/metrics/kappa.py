"""Cohen's kappa, plain and quadratic-weighted, on weighted lists."""

from __future__ import annotations

import numpy as np


def kappa(first: np.ndarray, second: np.ndarray, weights: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
    """κ = 1 - observed / expected disagreement of two raters on R weighted lists of n items.

    Args:
        first: (n,) label codes.
        second: (n,) label codes.
        weights: (R, n), how often each item stands in each list.
        values: (L,) the codes' numbers for quadratic weights (Cohen 1968); None weighs all differences alike
            (Cohen 1960).

    Returns:
        (R,); NaN on an empty list, and where both raters give one label only.
    """
    total = weights.sum(axis=1)
    if values is None:
        observed, expected = _unequal(first, second, weights, total)
    else:
        observed, expected = _squared(values[first], values[second], weights, total)
    return 1.0 - np.divide(observed, expected, out=np.full(len(total), np.nan), where=expected > 0)


def _unequal(
    first: np.ndarray, second: np.ndarray, weights: np.ndarray, total: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """n · observed and n² · expected disagreement as whole numbers, brought to one scale."""
    codes = np.union1d(first, second)
    a, b = (weights @ (rater[:, None] == codes) for rater in (first, second))
    return (weights @ (first != second)) * total, total**2 - (a * b).sum(axis=1)


def _squared(x: np.ndarray, y: np.ndarray, weights: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same with squared differences: Σ_ij n_i m_j (v_i - v_j)² = n Σx² + n Σy² - 2 Σx Σy."""
    sums = weights @ np.stack([x, y, x**2, y**2, (x - y) ** 2], axis=1)
    sx, sy, sxx, syy, difference = sums.T
    return difference * total, total * (sxx + syy) - 2 * sx * sy
