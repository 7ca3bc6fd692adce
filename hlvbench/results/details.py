"""What a report draws and scores alone cannot say: counts and small tables of one panel, never a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..bootstrap import every_item_once
from ..metrics import Answers, bind_for
from ..metrics.features import answer_features, feature_names, train_cuts
from ..metrics.group import CANDIDATES, SIZES, swap_matrix

VIEWS = ("raw", "norm")
LARGEST_SWAP = 10
"""The largest group of a swap matrix: beyond it people's own matrix is nearly the identity."""
DECIMALS = 4


def details(panel: Answers) -> dict[str, Any]:
    """The tables of a report on one system's answers, ready for JSON; None where a number cannot be given.

    {"annotators": K names, "swap": see `swap_tables`, "confusion": see `confusion`, "features": see `histograms`}.
    """
    return {
        "annotators": list(panel.annotators),
        "swap": swap_tables(panel.explained),
        "confusion": confusion(panel),
        "features": histograms(panel.explained),
    }


def swap_tables(panel: Answers) -> list[dict[str, Any]]:
    """Swap matrices of the system and of the people, per view: for single answers and for the largest group
    of at most ten that can be given.

    [{"view", "m", "system": K × K, "people": K × K, "note"}]: row i, column j is the mean probability that groups of
    answers given as annotator i are annotator j's. A view without any has one entry with a note and no matrix.
    """
    out = []
    if len(panel.annotators) > CANDIDATES:
        note = f"no matrix of more than {CANDIDATES} annotators, who are told from {CANDIDATES - 1} others each"
        return [{"view": view, "m": 1, "system": None, "people": None, "note": note} for view in VIEWS]
    for view in VIEWS:
        notes = {m: _why_not(panel, view, m) for m in SIZES if m <= LARGEST_SWAP}
        sizes = [m for m, note in notes.items() if not note]
        for m in sorted({1, sizes[-1]} & set(sizes)) if sizes else ():
            system, people = (_rounded(swap_matrix(a, view, m)) for a in (panel, panel.human))
            out.append({"view": view, "m": m, "system": system, "people": people, "note": ""})
        if not sizes:
            out.append({"view": view, "m": 1, "system": None, "people": None, "note": notes[1]})
    return out


def _why_not(panel: Answers, view: str, m: int) -> str:
    """Why groups of m have no confidence; empty where they have one."""
    confidence = bind_for(panel.task, "group_confidence", view=view, embed=panel.embedder.name, m=m)
    found = confidence(panel, every_item_once(len(panel.items)))
    return (found.note or "not defined on these answers") if np.isnan(found.overall).any() else ""


def confusion(panel: Answers) -> dict[str, Any]:
    """{"labels": L names, "counts": {annotator: L × (L + 1)}}: row = the priority label, column = the answered one,
    the last column the missing answers."""
    size = len(panel.task.labels)
    column = panel.cells[1]
    answered = np.where(panel.predicted < 0, size, panel.predicted)
    counts = {}
    for k, annotator in enumerate(panel.annotators):
        own = column == k
        table = np.bincount(panel.gold[own] * (size + 1) + answered[own], minlength=size * (size + 1))
        counts[annotator] = table.reshape(size, size + 1).tolist()
    return {"labels": [str(label) for label in panel.task.labels], "counts": counts}


def histograms(panel: Answers) -> list[dict[str, Any]]:
    """One entry per feature of the raw view, on the bins of `feature_kl` (quantiles of people's train records).

    [{"name", "cuts": B - 1 lower ends of all bins but the first, "people": {annotator: B counts}, "system": ...}];
    empty where there are no train records. A missing answer counts as the empty text, as in the metric.
    """
    cuts = train_cuts(panel.task, "raw")
    if not cuts or not panel.questions:
        return []
    names = feature_names(len(panel.task.fields), "raw")
    sides = {"people": answer_features(panel.human, "raw"), "system": answer_features(panel, "raw")}
    return [
        {
            "name": name,
            "cuts": [round(float(cut), DECIMALS) for cut in cuts[f]],
            **{side: _binned(panel, values[:, f], cuts[f]) for side, values in sides.items()},
        }
        for f, name in enumerate(names)
    ]


def _binned(panel: Answers, values: np.ndarray, cuts: np.ndarray) -> dict[str, list[int]]:
    bins, column = np.searchsorted(cuts, values, side="right"), panel.cells[1]
    return {
        annotator: np.bincount(bins[column == k], minlength=len(cuts) + 1).tolist()
        for k, annotator in enumerate(panel.annotators)
    }


def _rounded(table: np.ndarray) -> list[list[float | None]]:
    rows: Sequence[Sequence[float]] = table.tolist()
    return [[None if np.isnan(v) else round(v, DECIMALS) + 0.0 for v in row] for row in rows]
