"""Imitation of one answer, the content held fixed (docs/metrics.md section 6b). "Ours."

An answer is compared with the records of all annotators of the *same item*, so what everybody says about it
decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..bootstrap import Draws, every_item_once, ranges
from ..types import Task
from .predictions import Answers, once_per_task
from .projections import EMBED, View, check_embedder, encoded, human_annotations, usable
from .registry import Estimate, Value, metric

Sim = Literal["embed", "chargram"]
MOST_MOVED = 100
"""The shuffle floor moves at most so many answers of an annotator (evenly spaced) to each of the other items."""
_TIE = 1e-7
CELLS = 1 << 20
"""Numbers in one temporary table."""
MOST_IN_GRAMS = 10_000
"""Answers to a split beyond which a scorecard leaves out sim=chargram, whose vectors have as many numbers as a text
has n-grams."""


def variants(task: Task) -> tuple[Mapping[str, Value], ...]:
    """Both views with each similarity that a task of this size can have."""
    few = max(len(task.questions(s)) for s in ("dev", "test") if s in task.splits) <= MOST_IN_GRAMS
    return tuple({"view": view, "sim": sim} for sim in ("embed", "chargram")[: 1 + few] for view in ("raw", "norm"))


@dataclass(frozen=True)
class Layout:
    """The Q questions on items with two annotators or more and the P records of these items, in question order.

    rows, columns, labels: (Q) item, annotator and code of the answered label (-1: missing). scored: (Q) bool, False
    where the question's records are compared with, but its answer is not scored. first, size: (Q) the first
    question of the same item, and how many the item has. record, count: (Q) where the question's records begin, and
    how many it has. answers: (Q, d) and records: (P, d), rows whose products are similarities.
    """

    rows: np.ndarray
    columns: np.ndarray
    labels: np.ndarray
    scored: np.ndarray
    first: np.ndarray
    size: np.ndarray
    record: np.ndarray
    count: np.ndarray
    answers: Any
    records: Any


def layout_of(answers: Answers, view: str, sim: str) -> Layout:
    """The layout of a system's answers in a view, laid out once."""

    def make() -> Layout:
        every = answers.unrestricted
        rows, columns = every.cells
        kept = np.flatnonzero(usable(every, "item"))
        references = every.references(view)
        count = np.array([len(references[q]) for q in kept], dtype=int)
        flat = [text for q in kept for text in references[q]]
        vectors, records = _vectors(every, view, sim, flat)
        _, first, size = np.unique(rows[kept], return_index=True, return_counts=True)
        return Layout(
            rows[kept], columns[kept], every.predicted[kept], answers.scored[kept], np.repeat(first, size),
            np.repeat(size, size), np.cumsum(count) - count, count,
            vectors if len(kept) == len(rows) else vectors[kept], records,
        )  # fmt: skip

    return answers.once(("own layout", view, sim), make)


def _vectors(answers: Answers, view: str, sim: str, flat: Sequence[str]) -> tuple[Any, Any]:
    """One row per question's answer, and one per text of `flat`, the records (a void one where there is none)."""
    flat = flat or [""]
    if sim == "embed":
        name = ("record embeddings", answers.split, answers.limit, answers.only, view, answers.embedder.name)
        human = answers.human
        records = (
            encoded(human, view)
            if flat == human.texts(view)  # one record for each question: no second table of them
            else once_per_task(answers.task, name, lambda: answers.embedder.encode(flat))
        )
        return encoded(answers, view), records
    grams = _chargrams(answers, view)
    key = ("record chargrams", answers.split, answers.limit, answers.only, view)
    records, place = once_per_task(
        answers.task, key, lambda: (grams.transform(flat), {text: row for row, text in enumerate(flat)})
    )
    texts = answers.texts(view)
    if all(text in place for text in texts):  # humans, and whoever answers in their words
        return records[[place[text] for text in texts]], records
    return grams.transform(texts), records


def _chargrams(answers: Answers, view: str) -> Any:
    """tf-idf of character 2- to 4-grams, fitted on the humans' train records of the task."""

    def fit() -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer

        train = human_annotations(answers.task, "train", answers.embedder)
        texts = [text for records in train.references(view) for text in records] or ["no text"]
        return TfidfVectorizer(analyzer="char", ngram_range=(2, 4), lowercase=False).fit(texts)

    return once_per_task(answers.task, ("chargrams", view), fit)


def _against(layout: Layout, at: np.ndarray, among: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Hits and gains, (n, m) each, of the answers `among` at the items of the questions `at`.

    hit: is the answer closest to the target's own record of the item (ties share)? gain: its D there.
    among: None compares every question's own answer, m = 1.
    """
    size = layout.size[at]
    peers, begin = ranges(layout.first[at], size), np.cumsum(size) - size
    best = similarity_to(layout, peers, np.repeat(at, size) if among is None else among, paired=among is None)
    tied = best >= np.repeat(np.maximum.reduceat(best, begin), size, axis=0) - _TIE
    own = begin + at - layout.first[at]
    hits = tied[own] / np.add.reduceat(tied, begin, dtype=float)
    return hits, best[own] - (np.add.reduceat(best, begin) - best[own]) / (size - 1)[:, None]


def similarity_to(layout: Layout, to: np.ndarray, of: np.ndarray, paired: bool = False) -> np.ndarray:
    """(n, m): similarity of the answers `of` to the own records of the questions `to`, the larger where there are two.

    paired: of each answer to its counterpart in `to` alone, (n, 1).
    """
    count = layout.count[to]
    records = layout.records[ranges(layout.record[to], count)]
    answers = layout.answers[np.repeat(of, count) if paired else of]
    dense = isinstance(records, np.ndarray)
    records, answers = records.astype(float), answers.astype(float)
    if paired:
        products = np.einsum("nd,nd->n", records, answers) if dense else records.multiply(answers).sum(axis=1)
        similar = np.asarray(products).reshape(-1, 1)
    else:
        similar = records @ answers.T if dense else (records @ answers.T).toarray()
    return np.asarray(np.maximum.reduceat(similar, np.cumsum(count) - count))


def _blocks(layout: Layout, at: np.ndarray, width: int) -> Iterator[np.ndarray]:
    """`at` in parts: the records of a part's items, times `width`, are about CELLS numbers."""
    if len(at):
        cells = width * float((layout.size[at] * layout.count[at]).sum())
        yield from np.array_split(at, min(len(at), int(cells / CELLS) + 1))


def in_place(answers: Answers, view: str, sim: str) -> tuple[np.ndarray, np.ndarray]:
    """(Q) hits and gains of the answers where they belong; a missing answer has no hit."""

    def make() -> tuple[np.ndarray, np.ndarray]:
        layout = layout_of(answers, view, sim)
        hits, gains = np.zeros(len(layout.rows)), np.zeros(len(layout.rows))
        for block in _blocks(layout, np.arange(len(hits)), layout.records.shape[1]):
            found = _against(layout, block)
            hits[block], gains[block] = found[0][:, 0], found[1][:, 0]
        return np.where(layout.labels < 0, 0.0, hits), gains

    return answers.once(("own in place", view, sim), make)


def _moved_hits(answers: Answers, view: str, sim: str) -> np.ndarray:
    """(Q): the mean hit of the annotator's other answers, moved to the question's item; NaN where there is none."""

    def make() -> np.ndarray:
        layout = layout_of(answers, view, sim)
        out = np.full(len(layout.rows), np.nan)
        for own in by_annotator(layout):
            among = own[np.linspace(0, len(own) - 1, min(len(own), MOST_MOVED)).astype(int)]
            given = layout.labels[among] >= 0
            for block in _blocks(layout, own, len(among)):
                others = among[None] != block[:, None]
                hits = _against(layout, block, among)[0] * (others & given)
                out[block] = divide(hits.sum(axis=1), others.sum(axis=1))
        return out

    return answers.once(("own moved hits", view, sim), make)


def by_annotator(layout: Layout) -> list[np.ndarray]:
    """The scored questions of each annotator that has any."""
    scored = np.flatnonzero(layout.scored)
    order = scored[np.argsort(layout.columns[scored], kind="stable")]
    return np.split(order, np.flatnonzero(np.diff(layout.columns[order])) + 1) if len(order) else []


def _per_annotator(layout: Layout, values: np.ndarray, draws: Draws, count: int) -> np.ndarray:
    """(Q) values -> (R, K) their sums over each annotator's scored questions on each list."""
    from scipy.sparse import csr_array

    shape, at = (len(draws.counts), count), layout.scored
    return draws.sums(csr_array((values[at], (layout.rows[at], layout.columns[at])), shape=shape))


def divide(top: np.ndarray, bottom: np.ndarray, least: float = 0.0) -> np.ndarray:
    """NaN where the divisor is `least` or less."""
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom > least)


def left_out(answers: Answers) -> str:
    """What a note says of the items that are left out, or ""."""
    dropped = len(np.unique(answers.cells[0][~usable(answers, "item")]))
    if dropped == len(answers.items):
        return "needs items with two annotators, none given"
    return f"{dropped} items with one annotator left out" if dropped else ""


def counts_of(answers: Answers, layout: Layout) -> tuple[int, ...]:
    """Scored questions of each annotator, (K)."""
    return tuple(int(n) for n in np.bincount(layout.columns[layout.scored], minlength=len(answers.annotators)))


def _matches(answers: Answers, draws: Draws, view: str, sim: str, skill: bool) -> Estimate:
    """The share of hits, or what it is above chance, with the shuffle floor of the items as they are."""
    layout = layout_of(answers, view, sim)
    chance = 1 / layout.size if skill else np.zeros(len(layout.size))

    def ratios(hits: np.ndarray, lists: Draws) -> tuple[np.ndarray, np.ndarray]:
        known = ~np.isnan(hits)
        top, bottom = (
            _per_annotator(layout, np.where(known, values, 0.0), lists, len(answers.annotators))
            for values in (hits - chance, 1 - chance)
        )
        return divide(top, bottom), divide(top.sum(axis=1), bottom.sum(axis=1))

    by, overall = ratios(in_place(answers, view, sim)[0], draws)
    low, low_all = ratios(_moved_hits(answers, view, sim), every_item_once(len(answers.items)))
    lacking = tuple("no item with a second annotator" if np.isnan(column).any() else "" for column in by.T)
    counts = counts_of(answers, layout)
    return Estimate(
        overall, sum(counts), by, counts, left_out(answers), lacking,
        floor=np.broadcast_to(low_all, overall.shape), floor_by_annotator=np.broadcast_to(low, by.shape),
    )  # fmt: skip


@metric(better="higher", floor="chance", variants=variants)
def own_match(
    answers: Answers, draws: Draws, *, view: View = "norm", sim: Sim = "embed", embed: str = EMBED
) -> Estimate:
    """Share of explanations that are closest to the annotator's own among those of all annotators of the item.

    Of two annotations by one annotator the closer one counts; ties share the hit; a missing prediction has none. The
    baseline is the same share with the system's explanations moved to the annotator's other items, each to every
    other (at most 100 evenly spaced ones per annotator); it has no interval.

    Args:
        view: View of the texts.
        sim: Cosine of embeddings ("embed"), or of tf-idf of character 2- to 4-grams fitted on train ("chargram").
        embed: Name of the encoder.
    """
    check_embedder(answers, embed)
    return _matches(answers, draws, view, sim, skill=False)


@metric(better="higher", bounds=(-np.inf, 1.0), floor="chance", variants=variants)
def own_match_skill(
    answers: Answers, draws: Draws, *, view: View = "norm", sim: Sim = "embed", embed: str = EMBED
) -> Estimate:
    """`own_match` against chance: sum(hit - 1/n_i) / sum(1 - 1/n_i), n_i annotators of the item; 0 = chance, 1 = all.

    Not free of style (one typical sentence per annotator earns .22 on VariErr): read it against its floor.
    """
    check_embedder(answers, embed)
    return _matches(answers, draws, view, sim, skill=True)
