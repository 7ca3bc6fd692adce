"""Decision metrics: does the model decide as the annotator does? (docs/metrics.md section 3)

A missing answer stays in every denominator: its label is wrong; for a score it makes the largest error
possible for that gold; in κ it is a class of its own, in quadratic-weighted κ the extreme farthest from
the gold.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from ..bootstrap import Draws
from ..types import Task
from .kappa import kappa
from .predictions import Answers
from .registry import Estimate, Value, metric, over_annotators

Multi = Literal["any", "priority"]
LEAST_SHARED = 20
"""Items that two annotators share at least, where their agreement is compared."""


def correct(answers: Answers, multi: Multi = "any") -> np.ndarray:
    """(Q,) 1.0 where the answered label is one of the annotator's ("any") or the priority one, else 0.0."""
    found = answers.predicted >= 0
    if multi == "priority":
        return (found & (answers.predicted == answers.gold)).astype(float)
    hit = answers.gold_sets[np.arange(len(found)), np.maximum(answers.predicted, 0)]
    return (found & hit).astype(float)


def errors(answers: Answers) -> np.ndarray:
    """(Q,) |answered score - the annotator's|, the nearer of several; missing: the largest error possible."""
    values = np.array(answers.task.labels, dtype=float)
    # (Q, L): the error that answering each label would make
    cost = np.where(answers.gold_sets[:, None, :], np.abs(values[:, None] - values), np.inf).min(axis=2)
    chosen = cost[np.arange(len(cost)), np.maximum(answers.predicted, 0)]
    return np.where(answers.predicted >= 0, chosen, cost.max(axis=1))


def _multi_variants(task: Task) -> tuple[dict[str, Value], ...]:
    return ({}, {"multi": "priority"}) if task.kind == "nominal" else ({},)


@metric(better="higher", variants=_multi_variants, texts=False, headline=True)
def label_accuracy(answers: Answers, draws: Draws, *, multi: Multi = "any") -> Estimate:
    """Share of questions answered with a label that the annotator gave; for scores the exact one.

    Args:
        multi: "any" accepts each of the annotator's labels, "priority" the one that the task's order puts first.
    """
    return over_annotators(answers.means(correct(answers, multi), draws), answers.counts)


@metric(better="lower", bounds=(0.0, np.inf), kinds=("ordinal",), texts=False, headline=True)
def label_error(answers: Answers, draws: Draws) -> Estimate:
    """Mean absolute error of the score, in units of the scale; 0 is exact."""
    return over_annotators(answers.means(errors(answers), draws), answers.counts)


@metric(better="higher", kinds=("ordinal",), texts=False, headline=True)
def within_one(answers: Answers, draws: Draws) -> Estimate:
    """Share of answers at most one point from the annotator's score; a missing answer is outside."""
    near = (errors(answers) <= 1) & (answers.predicted >= 0)
    return over_annotators(answers.means(near.astype(float), draws), answers.counts)


@metric(better="higher", bounds=(-1.0, 1.0), texts=False, headline=True)
def label_kappa(answers: Answers, draws: Draws) -> Estimate:
    """Agreement with the priority label beyond chance: Cohen's κ, for scores quadratic-weighted (Cohen 1960, 1968).

    1 is identity, 0 what the two label distributions give by chance. NaN for an annotator who gives all questions of
    the list one label, whatever is predicted: there is nothing to tell apart. The mean is over the others.
    """
    values = scale_of(answers.task)
    predicted, gold = kappa_codes(answers), answers.gold
    out = np.full((len(draws), len(answers.annotators)), np.nan)
    for k, own in enumerate(answers.own):
        weights = draws.of(answers.cells[0][own])
        varied = ((weights @ (gold[own, None] == np.unique(gold[own]))) > 0).sum(axis=1) > 1
        out[:, k] = np.where(varied, kappa(predicted[own], gold[own], weights, values), np.nan)
    lone = [k for k, own in enumerate(answers.own) if len(own) and len(set(gold[own])) == 1]
    notes = tuple("one gold label in all questions" if k in lone else "" for k in range(out.shape[1]))
    named = ", ".join(answers.annotators[k] for k in lone)
    note = f"left out, one gold label in all questions: {named}" if lone else ""
    return replace(over_annotators(out, answers.counts, note), notes=notes)


def scale_of(task: Task) -> np.ndarray | None:
    """(L,) the numeric labels of an ordinal task, else None."""
    return np.array(task.labels, dtype=float) if task.kind == "ordinal" else None


def kappa_codes(answers: Answers) -> np.ndarray:
    """(Q,) label codes with missing answers filled: a class of its own (code L), or the extreme farthest from gold.

    A gold label at equal distance from both extremes takes the lower one.
    """
    predicted, values = answers.predicted, scale_of(answers.task)
    if values is None:
        return np.where(predicted < 0, len(answers.task.labels), predicted)
    low, high = int(values.argmin()), int(values.argmax())
    gold = values[answers.gold]
    return np.where(predicted >= 0, predicted, np.where(values[high] - gold > gold - values[low], high, low))


@metric(better="higher", kinds=("nominal",), texts=False, headline=True)
def macro_f1(answers: Answers, draws: Draws) -> Estimate:
    """F1 per label against the priority label, averaged over the labels that occur in gold or answers.

    Which labels occur is decided anew in every replicate. A missing answer is a miss of its gold label and no
    class of its own.
    """
    out = np.full((len(draws), len(answers.annotators)), np.nan)
    codes = np.arange(len(answers.task.labels))
    for k, own in enumerate(answers.own):
        weights = draws.of(answers.cells[0][own])
        gold, said = (v[own, None] == codes for v in (answers.gold, answers.predicted))
        both = weights @ (gold & said)
        total = weights @ (gold.astype(float) + said)
        f1 = np.divide(2 * both, total, out=np.full(total.shape, np.nan), where=total > 0)
        occurs = ~np.isnan(f1)
        count = occurs.sum(axis=1)
        out[:, k] = np.divide(
            np.where(occurs, f1, 0.0).sum(axis=1), count, out=np.full(len(draws), np.nan), where=count > 0
        )
    return over_annotators(out, answers.counts)


@metric(better="lower", bounds=(0.0, np.inf), texts=False, headline=True, all_annotators=True)
def agreement_error(answers: Answers, draws: Draws) -> Estimate:
    """How far the κ of two predicted annotators is from that of the same two humans: root mean square over pairs.

    0 to 2; 0 means that the predicted annotators agree with each other as the humans do. A system that answers alike
    for all has κ = 1 in every pair. κ is computed on the items that both annotators are asked about
    (quadratic-weighted for scores), with the humans' priority labels. Pairs with fewer than `LEAST_SHARED` shared
    items are left out, and in a replicate those whose humans never differ.
    """
    from scipy.sparse import csr_array

    rows, column = answers.cells
    size, values = len(answers.annotators), scale_of(answers.task)
    grids = []
    for codes in (kappa_codes(answers), answers.gold):
        grid = np.zeros((len(answers.items), size), dtype=int)
        grid[rows, column] = codes
        grids.append(grid)
    total, pairs = np.zeros(len(draws)), np.zeros(len(draws), dtype=int)
    asked = csr_array((np.ones(len(rows), dtype=int), (rows, column)), shape=(len(answers.items), size))
    shared = (asked.T @ asked).toarray()
    for a, b in np.argwhere(np.triu(shared >= LEAST_SHARED, 1)):
        common = np.flatnonzero(answers.asked[:, a] & answers.asked[:, b])
        weights = draws.of(common)
        predicted, humans = (kappa(g[common, a], g[common, b], weights, values) for g in grids)
        known = ~np.isnan(humans)
        # two predicted annotators of one label agree in all they say
        total += np.where(known, np.nan_to_num(predicted, nan=1.0) - humans, 0.0) ** 2
        pairs += known
    distance = np.sqrt(np.divide(total, pairs, out=np.full(len(draws), np.nan), where=pairs > 0))
    lack = f"no two annotators share {LEAST_SHARED} items and differ there"
    return Estimate(distance, len(answers.questions), note="" if pairs.any() else lack)
