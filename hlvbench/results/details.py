"""What a report draws and scores alone cannot say: counts and small tables of one set of answers, never a text."""

from __future__ import annotations

import numpy as np

from ..bootstrap import every_item_once
from ..metrics import Answers, bind_for
from ..metrics.features import answer_features, feature_names, train_cuts
from ..metrics.group import CANDIDATES, SIZES, swap_matrix
from ..text import VIEWS
from .answer_rows import rounded
from .score_report import Confusion, Details, FeatureHistogram, Matrix, SwapTable

LARGEST_SWAP = 10
"""The largest group of a swap matrix: beyond it the human matrix is nearly the identity."""
DECIMALS = 4


def details(answers: Answers) -> Details:
    """The tables of a report on one system's answers; None where a number cannot be given."""
    return Details(
        annotators=list(answers.annotators),
        swap=swap_tables(answers.explained),
        confusion=confusion(answers),
        features=histograms(answers.explained),
    )


def swap_tables(answers: Answers) -> list[SwapTable]:
    """Swap matrices of the system and of the humans, per view: for single answers and for the largest group of at
    most ten that can be given. A view without any has one entry with a note and no matrix."""
    if len(answers.annotators) > CANDIDATES:
        note = f"no matrix of more than {CANDIDATES} annotators, who are told from {CANDIDATES - 1} others each"
        return [_no_swap(view, note) for view in VIEWS]
    tables = []
    for view in VIEWS:
        notes = {m: _why_not(answers, view, m) for m in SIZES if m <= LARGEST_SWAP}
        sizes = [m for m, note in notes.items() if not note]
        for m in sorted({1, sizes[-1]} & set(sizes)) if sizes else ():
            system, human = (_rounded(swap_matrix(a, view, m)) for a in (answers, answers.human))
            tables.append(SwapTable(view=view, m=m, system=system, human=human, note=""))
        if not sizes:
            tables.append(_no_swap(view, notes[1]))
    return tables


def _no_swap(view: str, note: str) -> SwapTable:
    return SwapTable(view=view, m=1, system=None, human=None, note=note)


def _why_not(answers: Answers, view: str, m: int) -> str:
    """Why groups of m have no confidence; empty where they have one."""
    confidence = bind_for(answers.task, "group_confidence", view=view, embed=answers.embedder.name, m=m)
    found = confidence(answers, every_item_once(len(answers.items)))
    return (found.note or "not defined on these answers") if np.isnan(found.overall).any() else ""


def confusion(answers: Answers) -> Confusion:
    """Counts per annotator: row = the priority label, column = the predicted one, the last column missing answers."""
    size = len(answers.task.labels)
    column = answers.cells[1]
    predicted = np.where(answers.predicted < 0, size, answers.predicted)
    counts = {}
    for k, annotator in enumerate(answers.annotators):
        own = column == k
        table = np.bincount(answers.gold[own] * (size + 1) + predicted[own], minlength=size * (size + 1))
        counts[annotator] = table.reshape(size, size + 1).tolist()
    return Confusion(labels=[str(label) for label in answers.task.labels], counts=counts)


def histograms(answers: Answers) -> list[FeatureHistogram]:
    """One per feature of the raw view, on the bins of `feature_kl` (quantiles of the human train records); empty where
    there are no train records. A missing answer counts as the empty text, as in the metric."""
    cuts = train_cuts(answers.task, "raw")
    if not cuts or not answers.questions:
        return []
    human, system = answer_features(answers.human, "raw"), answer_features(answers, "raw")
    return [
        FeatureHistogram(
            name=name,
            cuts=[round(float(cut), DECIMALS) for cut in cuts[f]],
            human=_binned(answers, human[:, f], cuts[f]),
            system=_binned(answers, system[:, f], cuts[f]),
        )
        for f, name in enumerate(feature_names(len(answers.task.fields), "raw"))
    ]


def _binned(answers: Answers, values: np.ndarray, cuts: np.ndarray) -> dict[str, list[int]]:
    bins, column = np.searchsorted(cuts, values, side="right"), answers.cells[1]
    return {
        annotator: np.bincount(bins[column == k], minlength=len(cuts) + 1).tolist()
        for k, annotator in enumerate(answers.annotators)
    }


def _rounded(table: np.ndarray) -> Matrix:
    return [[rounded(v, DECIMALS) for v in row] for row in table.tolist()]
