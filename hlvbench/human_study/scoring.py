"""`hlvbench human-study score`: means, preference, attribution and the agreement of the raters.

Every item counts with all its ratings, and intervals resample items that share an input text together, as those of
the metrics do; raters are not resampled. Repeated screens serve self-consistency alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..bootstrap import REPLICATES, Draws, holm, interval, seeded
from ..io import dump_json, write_atomic
from ..metrics.kappa import kappa
from ..metrics.krippendorff import krippendorff_alpha, raw_agreement
from ..results.answer_items import judge_results
from .ratings import Rating, read_ratings
from .study_key import StudyKey, read_key
from .study_questions import PARTS, QUESTIONS, RATED
from .study_result import study_markdown

RESULT, REPORT = "result.json", "result.md"
SCALE = 5


@dataclass(frozen=True)
class Ratings:
    """The ratings of a study. clusters: (samples,) the cluster of items of each sample, a position in `draws`."""

    key: StudyKey
    sheets: tuple[str, ...]
    all: Sequence[Rating]
    clusters: np.ndarray
    draws: Draws

    @property
    def systems(self) -> list[str]:
        return [system.name for system in self.key.systems]

    @property
    def scopes(self) -> list[str | None]:
        """All tasks together, then each where there are several."""
        tasks = list(dict.fromkeys(sample.task for sample in self.key.samples))
        return [None, *(tasks if len(tasks) > 1 else ())]

    def of(self, question: str, system: str | None = None, task: str | None = None) -> list[Rating]:
        """First answers to a question, about a system, of a task."""
        return [
            r
            for r in self.all
            if r.question == question
            and r.key.repeats is None
            and system in (None, *r.key.systems)
            and task in (None, self.key.samples[r.key.sample].task)
        ]


def score_study(folder: Path, *, replicates: int = REPLICATES) -> dict[str, Any]:
    """Score the ratings in an exported study and write result.json and result.md into it.

    Returns:
        {"study", "conditions", "raters", "means", "attribution", "preference", "agreement", "consistency"}, each but
        the first two a list of rows.

    Raises:
        UsageError: there is no study or no rating.
        DataError: with every problem of key or ratings.
    """
    key = read_key(folder)
    files, answers = read_ratings(folder, key)
    _, clusters = np.unique([sample.block for sample in key.samples], return_inverse=True)
    count = int(clusters.max()) + 1
    picks = [seeded("human study", key.study, r).integers(0, count, count) for r in range(replicates)]
    draws = Draws(tuple((i,) for i in range(count)), np.array(picks).reshape(replicates, count))
    ratings = Ratings(key, tuple(files), answers, clusters, draws)
    answered = Counter(rating.rater for rating in answers)
    result = {
        "study": key.study,
        "conditions": f"human_study|{key.study}|raters:{len(files)}|samples:{len(key.samples)}"
        f"|seed:{key.settings['seed']}|boot:{replicates}|hlvbench:{__version__}",
        "raters": [
            {
                "sheet": sheet,
                "file": file,
                "asked": sum(len(PARTS[screen.part].questions) for screen in key.sheets[sheet].screens.values()),
                "answered": answered[n],
            }
            for n, (sheet, file) in enumerate(files.items())
        ],
        "means": [
            {
                "question": question,
                "task": task,
                "system": system,
                **_mean(ratings, ratings.of(question, system, task), lambda r: float(r.value), (1, SCALE)),
            }
            for question in RATED
            for task in ratings.scopes
            for system in ratings.systems
        ],
        "attribution": [*_attribution(ratings), *_judges(key)],
        "preference": _preferences(ratings),
        "agreement": [row for question in QUESTIONS if (row := _agreement(ratings, question))],
        "consistency": [row for question in QUESTIONS if (row := _consistency(ratings, question))],
    }
    write_atomic(folder / RESULT, dump_json(result))
    write_atomic(folder / REPORT, study_markdown(result))
    return result


def _mean(
    ratings: Ratings, chosen: Sequence[Rating], value: Callable[[Rating], float], bounds: tuple[float, float]
) -> dict[str, Any]:
    """Mean over ratings, its interval over items, and the counts behind it."""
    size = len(ratings.draws.groups)
    clusters = ratings.clusters[[r.key.sample for r in chosen]] if chosen else np.zeros(0, dtype=int)
    sums = np.bincount(clusters, [value(r) for r in chosen], minlength=size)
    counts = np.bincount(clusters, minlength=size).astype(float)
    row: dict[str, Any] = {"value": None, "low": None, "high": None, "n": len(chosen)}
    if chosen:
        row["value"] = float(sums.sum() / counts.sum())
        summed, total = ratings.draws.sums(np.stack([sums, counts], axis=1)).T
        resampled = np.divide(summed, total, out=np.full(len(total), np.nan), where=total > 0)
        if span := interval(row["value"], resampled):
            row["low"], row["high"] = (float(np.clip(end, *bounds)) for end in span)
    return {**row, "items": int((counts > 0).sum()), "raters": len({r.rater for r in chosen})}


def _attribution(ratings: Ratings) -> list[dict[str, Any]]:
    """Share of right letters per system, and chance on the same screens."""
    rows = []
    for task in ratings.scopes:
        for system in ratings.systems:
            chosen = ratings.of("who", system, task)
            chance = float(np.mean([1 / len(r.key.candidates) for r in chosen])) if chosen else None
            row = {"task": task, "system": system, "judge": "human", "chance": chance, "note": ""}
            rows.append(row | _mean(ratings, chosen, lambda r: float(r.right), (0, 1)))
    return rows


def _judges(key: StudyKey) -> list[dict[str, Any]]:
    """The results of `hlvbench judge` on the same runs, over all questions that the judge was asked."""
    return [
        {
            "task": task,
            "system": system.name,
            "judge": result["judge"],
            "value": result["accuracy"],
            **{name: result[name] for name in ("low", "high", "n", "chance", "note")},
            "items": None,
            "raters": None,
        }
        for system in key.systems
        for task in key.tasks
        for result in judge_results(Path(system.run) / task / "judge")
    ]


def _preferences(ratings: Ratings) -> list[dict[str, Any]]:
    """Per pair of systems: ratings for each side, items by the sum of their ratings, and a sign test on the items.

    A sign test assumes independent votes, and two raters of one item are not: an item counts for the side that more of
    its ratings prefer, an undecided one for none (Dixon & Mood 1946: ties are left out, and reported). Identical
    answers are undecided items. p: exact binomial, two-sided; Holm over the pairs; the share's interval is Clopper and
    Pearson's.
    """
    from scipy.stats import binomtest

    rows = []
    for a, b in combinations(ratings.systems, 2):
        chosen = [r for r in ratings.of("preference") if set(r.key.systems) == {a, b}]
        values, votes = Counter(r.value for r in chosen), Counter[int]()
        for r in chosen:
            votes[int(ratings.clusters[r.key.sample])] += (r.value == a) - (r.value == b)
        same = {int(ratings.clusters[n]) for n, x, y in ratings.key.alike if {x, y} == {a, b}}
        for_a, for_b = (sum(v * sign > 0 for v in votes.values()) for sign in (1, -1))
        decided = for_a + for_b
        test = binomtest(for_a, decided) if decided else None
        span = test.proportion_ci() if test else None
        rows.append(
            {
                "a": a,
                "b": b,
                "ratings_a": values[a],
                "ratings_b": values[b],
                "ratings_tie": values["tie"],
                "items_a": for_a,
                "items_b": for_b,
                "items_undecided": len(votes) - decided,
                "items_same": len(same - votes.keys()),
                "share_a": for_a / decided if decided else None,
                "share_a_low": float(span.low) if span else None,
                "share_a_high": float(span.high) if span else None,
                "p": float(test.pvalue) if test else None,
            }
        )
    known: dict[str, Any] = {str(n): row["p"] for n, row in enumerate(rows) if row["p"] is not None}
    adjusted = holm(known)
    return [{**row, "p_holm": adjusted.get(str(n))} for n, row in enumerate(rows)]


def _agreement(ratings: Ratings, question: str) -> dict[str, Any] | None:
    """Raw agreement, Krippendorff's alpha and the mean kappa over pairs; None where no two raters share a unit."""
    chosen, scale = ratings.of(question), question in RATED
    names = [str(v) for v in range(1, SCALE + 1)] if scale else sorted({r.value for r in chosen})
    units = sorted({(r.key.sample, tuple(sorted(r.key.systems))) for r in chosen})
    codes = np.full((len(units), len(ratings.sheets)), -1)
    for r in chosen:
        codes[units.index((r.key.sample, tuple(sorted(r.key.systems)))), r.rater] = names.index(r.value)
    if not units or np.isnan(raw_agreement(codes)[0]):
        return None
    weights = ratings.draws.of(ratings.clusters[[sample for sample, _ in units]])
    row: dict[str, Any] = {"question": question, "units": int(((codes >= 0).sum(axis=1) > 1).sum())}
    row |= _with_interval("raw", lambda w: raw_agreement(codes, w), weights, (0.0, 1.0))
    if scale:
        row |= _with_interval("within_one", lambda w: raw_agreement(codes, w, 1), weights, (0.0, 1.0))
    level = "ordinal" if scale else "nominal"
    row |= _with_interval("alpha", lambda w: krippendorff_alpha(codes, level, w), weights, (-1.0, 1.0))
    numbers = np.arange(len(names), dtype=float) if scale else None
    pairs, known = [], list[float]()
    for a, b in combinations(range(codes.shape[1]), 2):
        both = (codes[:, a] >= 0) & (codes[:, b] >= 0)
        if n := int(both.sum()):
            value = float(kappa(codes[both, a], codes[both, b], np.ones((1, n)), numbers)[0])
            sheets = {"a": ratings.sheets[a], "b": ratings.sheets[b]}
            pairs.append({**sheets, "n": n, "kappa": None if np.isnan(value) else value})
            known += [] if np.isnan(value) else [value]
    mean = float(np.mean(known)) if known else None
    return {**row, "kappa": mean, "weights": "quadratic" if scale else "none", "pairs": pairs}


def _with_interval(
    name: str, measure: Callable[[np.ndarray | None], np.ndarray], weights: np.ndarray, bounds: tuple[float, float]
) -> dict[str, Any]:
    value = float(measure(None)[0])
    span = interval(value, measure(weights), bounds)
    low, high = span or (None, None)
    return {name: None if np.isnan(value) else value, f"{name}_low": low, f"{name}_high": high}


def _consistency(ratings: Ratings, question: str) -> dict[str, Any] | None:
    """How often a rater answers a repeated screen as the first time; None where no screen was repeated."""
    first = {(r.rater, r.screen): r.value for r in ratings.all if r.question == question}
    pairs = [
        (r.rater, r.value, first[r.rater, r.key.repeats])
        for r in ratings.all
        if r.question == question and r.key.repeats is not None and (r.rater, r.key.repeats) in first
    ]
    if not pairs:
        return None
    row: dict[str, Any] = {"question": question, "n": len(pairs), "same": float(np.mean([x == y for _, x, y in pairs]))}
    if question in RATED:
        row["within_one"] = float(np.mean([abs(int(x) - int(y)) <= 1 for _, x, y in pairs]))
    by = {sheet: [x == y for n, x, y in pairs if n == k] for k, sheet in enumerate(ratings.sheets)}
    return {**row, "raters": {sheet: [sum(same), len(same)] for sheet, same in by.items() if same}}
