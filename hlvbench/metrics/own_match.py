"""Imitation of one answer, the content held fixed (docs/metrics.md section 6b). "Ours."

An answer is compared with the records of all annotators of the *same item*, so what everybody says about it
decides nothing. Moving an annotator's answers to the annotator's other items gives the part that style
and the records' popularity earn without reading the item.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..stats import Draws
from .answers import Answers, once_per_task
from .reduce import EMBED, View, ceiling, check_embedder, embeddings, people, usable
from .registry import Estimate, metric

Sim = Literal["embed", "chargram"]
LEAST_GAIN = 0.01
"""The least G(human) that an own_gain is divided by."""
_TIE = 1e-7
_EACH = tuple({"view": view, "sim": sim} for sim in ("embed", "chargram") for view in ("raw", "norm"))


@dataclass(frozen=True)
class _Tables:
    """Every answer of an annotator at every item of the annotator: (K, N, N), [a, i, j] = the answer to j moved to i.

    hit: is the answer closest to a's own record of i (ties share, a missing answer 0). gain: D_ia of the
    answer to j. Both 0 where i or j is not asked of a; asked: (N, K). chance: (N,) 1 / annotators of i.
    """

    hit: np.ndarray
    gain: np.ndarray
    asked: np.ndarray
    chance: np.ndarray


def _tables(answers: Answers, view: str, sim: str) -> _Tables:
    return answers.once(("own tables", view, sim), lambda: _compare(answers, view, sim))


def _compare(answers: Answers, view: str, sim: str) -> _Tables:
    (rows, columns), kept = answers.cells, usable(answers, "item")
    count, size = len(answers.items), len(answers.annotators)
    missing = np.array([pair not in answers.given for pair in answers.questions], dtype=bool)
    asked = np.zeros((count, size), dtype=bool)
    asked[rows[kept], columns[kept]] = True
    present = asked.sum(axis=1)
    hit, gain = np.zeros((size, count, count)), np.zeros((size, count, count))
    mine, records, first = _vectors(answers, view, sim)
    for a in range(size):
        own = np.flatnonzero(kept & (columns == a))
        if not len(own):
            continue
        similar = records @ mine[own].T
        similar = similar.toarray() if sim == "chargram" else similar
        best = np.maximum.reduceat(similar, first, axis=0)  # two records of a person: the larger
        table = np.full((count, size, len(own)), -np.inf)
        table[rows[kept], columns[kept]] = best[kept]
        here = rows[own]
        target = table[here, a]
        tied = table[here] >= table[here].max(axis=1, keepdims=True) - _TIE
        hits = np.where(missing[own], 0.0, tied[:, a] / tied.sum(axis=1))
        others = np.where(asked[here][:, :, None], table[here], 0.0).sum(axis=1) - target
        hit[a][np.ix_(here, here)] = hits
        gain[a][np.ix_(here, here)] = target - others / (present[here] - 1)[:, None]
    return _Tables(hit, gain, asked, np.divide(1.0, present, out=np.zeros(count), where=present > 0))


def _vectors(answers: Answers, view: str, sim: str) -> tuple[Any, Any, np.ndarray]:
    """Rows whose products are similarities: (Q) answers, all records, each question's first record."""
    references = answers.references(view)
    first = np.concatenate([[0], np.cumsum([len(texts) for texts in references])[:-1]]).astype(int)
    flat = [text for texts in references for text in texts]
    if sim == "embed":
        return embeddings(answers, view), answers.embedder.encode(flat).astype(float), first
    grams = _chargrams(answers, view)
    key = ("record chargrams", answers.split, answers.limit, answers.only, view)
    records, place = once_per_task(
        answers.task, key, lambda: (grams.transform(flat), {text: row for row, text in enumerate(flat)})
    )
    texts = answers.texts(view)
    if all(text in place for text in texts):  # people, and whoever answers in their words
        return records[[place[text] for text in texts]], records, first
    return grams.transform(texts), records, first


def _chargrams(answers: Answers, view: str) -> Any:
    """tf-idf of character 2- to 4-grams, fitted on people's train records of the task."""

    def fit() -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer

        train = people(answers.task, "train", answers.embedder)
        texts = [text for records in train.references(view) for text in records]
        return TfidfVectorizer(analyzer="char", ngram_range=(2, 4), lowercase=False).fit(texts)

    return once_per_task(answers.task, ("chargrams", view), fit)


def _moved(table: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(N, N) table of one annotator, (R, N) weights of its items -> (R, N): at item i the mean over the answers
    to the annotator's other items of the list. Copies of i itself are left out; 0 where there is no other."""
    others = weights.sum(axis=1, keepdims=True) - weights
    total = weights @ (table - np.diag(np.diag(table))).T
    return np.divide(total, others, out=np.zeros_like(total), where=others > 0)


@dataclass(frozen=True)
class _Sums:
    """Sums over the questions of each annotator on R lists, all (R, K).

    questions and chance: all questions. hits: of the answers where they belong. Only questions whose
    annotator has another item on the list: comparable (their number), their chance, moved hits, gains.
    """

    questions: np.ndarray
    chance: np.ndarray
    hits: np.ndarray
    comparable: np.ndarray
    comparable_chance: np.ndarray
    moved_hits: np.ndarray
    gains: np.ndarray


def _sums(answers: Answers, draws: Draws, view: str, sim: str) -> _Sums:
    if len(draws) == 1:
        return _sum_up(_tables(answers, view, sim), draws)
    # the draws are kept beside the result: their id must not be given to others
    key = ("own sums", view, sim, id(draws))
    return answers.once(key, lambda: (draws, _sum_up(_tables(answers, view, sim), draws)))[1]


def _sum_up(tables: _Tables, draws: Draws) -> _Sums:
    columns: list[list[np.ndarray]] = []
    for a in range(len(tables.hit)):
        weights = draws.weights * tables.asked[:, a]
        alone = weights.sum(axis=1, keepdims=True) - weights <= 0
        paired = np.where(alone, 0.0, weights)
        moved = _moved(tables.gain[a], weights)
        columns.append([
            weights.sum(axis=1),
            weights @ tables.chance,
            weights @ np.diag(tables.hit[a]),
            paired.sum(axis=1),
            paired @ tables.chance,
            (paired * _moved(tables.hit[a], weights)).sum(axis=1),
            paired @ np.diag(tables.gain[a]) - (paired * moved).sum(axis=1),
        ])  # fmt: skip
    return _Sums(*(np.stack(parts, axis=1) for parts in zip(*columns, strict=True)))


def _divide(top: np.ndarray, bottom: np.ndarray, least: float = 0.0) -> np.ndarray:
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom > least)


def _pooled(
    answers: Answers, top: np.ndarray, bottom: np.ndarray, counts: np.ndarray, floor: tuple[np.ndarray, np.ndarray]
) -> Estimate:
    """Sums (R, K) -> their ratios per annotator and over all questions, with the ratio of the floor's sums."""
    by, overall = _divide(top, bottom), _divide(top.sum(axis=1), bottom.sum(axis=1))
    low, low_all = _divide(*floor), _divide(floor[0].sum(axis=1), floor[1].sum(axis=1))
    lacking = tuple("no item with a second annotator" if np.isnan(column).any() else "" for column in by.T)
    n = tuple(int(c) for c in counts)
    return Estimate(overall, sum(n), by, n, _left_out(answers), lacking, floor=low_all, floor_by_annotator=low)


def _left_out(answers: Answers) -> str:
    rows, _ = answers.cells
    dropped = len(set(rows[~usable(answers, "item")]))
    if dropped == len(answers.items):
        return "needs items with two annotators, none given"
    return f"{dropped} items with one annotator left out" if dropped else ""


@metric(better="higher", floor="chance", variants=_EACH)
def own_match(
    answers: Answers, draws: Draws, *, view: View = "norm", sim: Sim = "embed", embed: str = EMBED
) -> Estimate:
    """Share of answers closest to the target's own record among the records of all annotators of the item.

    sim: cosine of embeddings, or of tf-idf of character 2- to 4-grams fitted on train. Two records of an annotator:
    the larger; ties share the hit; a missing answer has none. Floor: the same with the system's answers
    moved to the annotator's other items, all pairs.
    """
    check_embedder(answers, embed)
    sums = _sums(answers, draws, view, sim)
    counts = _tables(answers, view, sim).asked.sum(axis=0)
    return _pooled(answers, sums.hits, sums.questions, counts, (sums.moved_hits, sums.comparable))


@metric(better="higher", bounds=(-np.inf, 1.0), floor="chance", variants=_EACH)
def own_match_skill(
    answers: Answers, draws: Draws, *, view: View = "norm", sim: Sim = "embed", embed: str = EMBED
) -> Estimate:
    """`own_match` against chance: sum(hit - 1/n_i) / sum(1 - 1/n_i), n_i annotators of the item; 0 = chance, 1 = all.

    Not free of style (one typical sentence per annotator earns .22 on VariErr): read it against its floor.
    """
    check_embedder(answers, embed)
    sums = _sums(answers, draws, view, sim)
    counts = _tables(answers, view, sim).asked.sum(axis=0)
    floor = (sums.moved_hits - sums.comparable_chance, sums.comparable - sums.comparable_chance)
    return _pooled(answers, sums.hits - sums.chance, sums.questions - sums.chance, counts, floor)


@metric(better="higher", bounds=(-np.inf, np.inf), variants=_EACH)
def own_gain(
    answers: Answers, draws: Draws, *, view: View = "norm", sim: Sim = "embed", embed: str = EMBED
) -> Estimate:
    """What the answers say of this person on this item: G(system) / G(human); 0 = nothing, 1 = the person's own words.

    G = mean over questions of D_ia(x_ia) - mean over the annotator's other questions j of D_ia(x_ja), where
    D_ia(x) = s(x, own record) - mean of s(x, records of the item's other annotators). The first difference
    removes the item, the second the annotator's style. Missing answers are empty texts. Needs two items
    per annotator; NaN with a note where G(human) < .01.
    """
    check_embedder(answers, embed)
    sums, human = (_sums(who, draws, view, sim) for who in (answers, ceiling(answers)))
    mean, best = _divide(sums.gains, sums.comparable), _divide(human.gains, human.comparable)
    by = _divide(mean, best, LEAST_GAIN)
    total = _divide(sums.gains.sum(axis=1), sums.comparable.sum(axis=1))
    span = _divide(human.gains.sum(axis=1), human.comparable.sum(axis=1))
    overall = _divide(total, span, LEAST_GAIN)
    notes = tuple(_why(best[:, k]) if np.isnan(by[:, k]).any() else "" for k in range(by.shape[1]))
    note = "; ".join(filter(None, [_left_out(answers), _why(span) if np.isnan(overall).any() else ""]))
    counts = tuple(int(c) for c in _tables(answers, view, sim).asked.sum(axis=0))
    return Estimate(overall, sum(counts), by, counts, note, notes)


def _why(span: np.ndarray) -> str:
    if np.isnan(span).any():
        return "needs two items with two annotators"
    return "not enough: the annotators' own records hardly differ (G(human) < .01)"
