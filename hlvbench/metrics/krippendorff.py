"""How far raters agree about the same units: raw agreement and Krippendorff's alpha, on weighted lists of units.

Cohen's kappa of two raters is `metrics.kappa.kappa`.
"""

from __future__ import annotations

import numpy as np

LEVELS = ("nominal", "ordinal", "interval")


def krippendorff_alpha(codes: np.ndarray, level: str = "nominal", weights: np.ndarray | None = None) -> np.ndarray:
    """Krippendorff's alpha, 1 - observed / expected disagreement, on R weighted lists of U units.

    1 is full agreement, 0 chance, below 0 systematic disagreement. Krippendorff 2011, "Computing Krippendorff's
    alpha-reliability".

    Args:
        codes: (U, raters) int, positions on the scale 0 … L-1 in its order, -1 where a rater gave none. Units with
            fewer than two values are left out.
        level: What a difference c - k weighs: "nominal" 1; "interval" (c - k)²; "ordinal"
            (n_c / 2 + n_{c+1} + … + n_{k-1} + n_k / 2)², n the values of the list in use.
        weights: (R, U), how often each unit stands in each list; None is one list that holds each once.

    Returns:
        (R,); NaN where a list has no value or one value only.

    Raises:
        ValueError: For an unknown level.
    """
    if level not in LEVELS:
        raise ValueError(f"level {level!r} is not one of {', '.join(LEVELS)}")
    weights = np.ones((1, len(codes))) if weights is None else weights
    size = int(codes.max(initial=0)) + 1
    counts = np.stack([(codes == c).sum(axis=1) for c in range(size)], axis=1).astype(float)
    given = counts.sum(axis=1)
    # the values of a unit paired with each other, every value with all but itself
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(size)
    share = np.divide(1.0, given - 1, out=np.zeros(len(given)), where=given > 1)
    coincidence = np.einsum("ru,ucd->rcd", weights, pairs * share[:, None, None])
    values = coincidence.sum(axis=2)
    apart = _differences(values, level)
    observed = (coincidence * apart).sum(axis=(1, 2)) * (values.sum(axis=1) - 1)
    expected = (values[:, :, None] * values[:, None, :] * apart).sum(axis=(1, 2))
    ratio = np.divide(observed, expected, out=np.full(len(expected), np.nan), where=expected > 0)
    return 1.0 - ratio


def _differences(values: np.ndarray, level: str) -> np.ndarray:
    """(R, L) values per code -> (R, L, L) what a difference between two codes weighs."""
    lists, size = values.shape
    if level == "nominal":
        return np.broadcast_to(1.0 - np.eye(size), (lists, size, size))
    if level == "interval":
        place = np.arange(size, dtype=float)
        return np.broadcast_to((place[:, None] - place) ** 2, (lists, size, size))
    middle = values.cumsum(axis=1) - values / 2
    return np.asarray((middle[:, :, None] - middle[:, None, :]) ** 2)


def raw_agreement(codes: np.ndarray, weights: np.ndarray | None = None, within: int = 0) -> np.ndarray:
    """Share of pairs of raters whose values of a unit are at most `within` apart, on R weighted lists: (R,).

    codes and weights as in `krippendorff_alpha`. Every pair of values of a unit counts once; NaN without a pair.
    """
    weights = np.ones((1, len(codes))) if weights is None else weights
    counts = np.stack([(codes == c).sum(axis=1) for c in range(int(codes.max(initial=0)) + 1)], axis=1).astype(float)
    given = counts.sum(axis=1)
    pairs, agreeing = given * (given - 1) / 2, (counts * (counts - 1) / 2).sum(axis=1)
    for apart in range(1, min(within, counts.shape[1] - 1) + 1):
        agreeing += (counts[:, apart:] * counts[:, :-apart]).sum(axis=1)
    total = weights @ pairs
    return np.divide(weights @ agreeing, total, out=np.full(len(total), np.nan), where=total > 0)
