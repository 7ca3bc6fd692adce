"""`hlvbench human-study score`: what the ratings say, and how far the raters agree.

Every item counts with all its ratings, and intervals resample items that share an input text together, as those of
the metrics do; the raters are taken as they are. Screens asked a second time serve self-consistency alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from .raters_file import judge_rows
from .ratings import Given, read_key, read_ratings
from .wording import QUESTIONS, RATED

RESULT, REPORT = "result.json", "result.md"
SCALE = 5


@dataclass(frozen=True)
class Rating:
    """One answered question of one screen. value: a scale's number, a person's name, or the system preferred."""

    rater: int
    screen: str
    sample: int
    systems: tuple[str, ...]
    question: str
    value: str
    right: str
    choices: int
    repeats: str | None


@dataclass(frozen=True)
class Study:
    """The ratings of a study with what they are about. blocks: (samples,) which list position each sample has."""

    key: Mapping[str, Any]
    given: tuple[Given, ...]
    ratings: tuple[Rating, ...]
    blocks: np.ndarray
    draws: Draws

    @property
    def systems(self) -> tuple[str, ...]:
        return tuple(system["name"] for system in self.key["systems"])

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(sample["task"] for sample in self.key["samples"]))

    def of(self, question: str, system: str | None = None, task: str | None = None) -> list[Rating]:
        """First askings of a question, about a system's answers, of a task."""
        tasks = [sample["task"] for sample in self.key["samples"]]
        return [
            r for r in self.ratings
            if r.question == question and r.repeats is None and system in (None, *r.systems)
            and task in (None, tasks[r.sample])
        ]  # fmt: skip


def score_study(folder: Path, *, replicates: int = REPLICATES) -> dict[str, Any]:
    """Score the ratings in an exported study and write result.json and result.md into it; the result is returned.

    {"study", "conditions", "raters", "means", "attribution", "preference", "agreement", "consistency"}; see README.
    """
    from .study_result import study_markdown

    key = read_key(folder)
    study = _study(key, read_ratings(folder, key), replicates)
    result = {
        "study": key["study"],
        "conditions": f"human_study|{key['study']}|raters:{len(study.given)}|samples:{len(key['samples'])}"
        f"|seed:{key['settings']['seed']}|boot:{replicates}|hlvbench:{__version__}",
        "raters": [_rater(study, given) for given in study.given],
        "means": [row for q in RATED for row in _means(study, q)],
        "attribution": [*_attribution(study), *judge_rows(key)],
        "preference": _preferences(study),
        "agreement": [row for q in QUESTIONS if (row := _agreement(study, q)) is not None],
        "consistency": [row for q in QUESTIONS if (row := _consistency(study, q)) is not None],
    }
    write_atomic(folder / RESULT, dump_json(result))
    write_atomic(folder / REPORT, study_markdown(result))
    return result


def _study(key: Mapping[str, Any], given: tuple[Given, ...], replicates: int) -> Study:
    ratings = []
    for rater, answers in enumerate(given):
        screens = key["sheets"][answers.sheet]["screens"]
        for screen, values in answers.values.items():
            known = screens[screen]
            for question, value in values.items():
                ratings.append(
                    Rating(
                        rater, screen, known["sample"], tuple(known["systems"]), question,
                        _meant(known, question, value),
                        _meant(known, "who", known["right"]) if question == "who" else "",
                        len(known.get("candidates", ())), known["repeats"],
                    )
                )  # fmt: skip
    _, blocks = np.unique([sample["block"] for sample in key["samples"]], return_inverse=True)
    count = int(blocks.max()) + 1
    rows = [seeded("human study", key["study"], r).integers(0, count, count) for r in range(replicates)]
    draws = Draws(tuple((i,) for i in range(count)), np.array(rows).reshape(replicates, count))
    return Study(key, given, tuple(ratings), blocks, draws)


def _meant(known: Mapping[str, Any], question: str, value: str) -> str:
    """The value freed from letters and sides: a person's name, the preferred system or "tie"."""
    if question == "who":
        return str(known["candidates"]["ABCD".index(value)])
    if question == "preference":
        return "tie" if value == "0" else str(known["systems"][int(value) - 1])
    return value


def _rater(study: Study, given: Given) -> dict[str, Any]:
    screens = study.key["sheets"][given.sheet]["screens"]
    asked = sum({"attribution": 1, "rating": len(RATED), "preference": 1}[s["part"]] for s in screens.values())
    return {"sheet": given.sheet, "file": given.file.name, "asked": asked, "answered": given.answered}


def _mean(study: Study, ratings: Sequence[Rating], value: Callable[[Rating], float]) -> dict[str, Any]:
    """Mean over ratings, its interval over items, and the counts behind it."""
    size = len(study.draws.groups)
    places = study.blocks[[r.sample for r in ratings]] if ratings else np.zeros(0, dtype=int)
    sums = np.bincount(places, [value(r) for r in ratings], minlength=size)
    counts = np.bincount(places, minlength=size).astype(float)
    low = high = estimate = None
    if counts.any():
        estimate = float(sums.sum() / counts.sum())
        total = study.draws.weights @ counts
        spread = np.divide(study.draws.weights @ sums, total, out=np.full(len(total), np.nan), where=total > 0)
        low, high = _ends(estimate, spread)
    raters = len({r.rater for r in ratings})
    return {
        "value": estimate,
        "low": low,
        "high": high,
        "n": len(ratings),
        "items": int((counts > 0).sum()),
        "raters": raters,
    }


def _ends(estimate: float, spread: np.ndarray, bounds: tuple[float, float] = (-np.inf, np.inf)) -> tuple[Any, Any]:
    found = interval(estimate, spread, bounds)
    return (found.low, found.high) if found else (None, None)


def _scopes(study: Study) -> list[str | None]:
    """All tasks together, then each where there are several."""
    return [None, *(study.tasks if len(study.tasks) > 1 else ())]


def _means(study: Study, question: str) -> list[dict[str, Any]]:
    rows = []
    for task in _scopes(study):
        for system in study.systems:
            found = _mean(study, study.of(question, system, task), lambda r: float(r.value))
            rows.append({"question": question, "task": task, "system": system, **_cut(found, 1, SCALE)})
    return rows


def _cut(found: dict[str, Any], least: float, most: float) -> dict[str, Any]:
    ends = {k: None if found[k] is None else min(max(found[k], least), most) for k in ("low", "high")}
    return {**found, **ends}


def _attribution(study: Study) -> list[dict[str, Any]]:
    """Share of right letters per system, and what chance would give on the same screens."""
    rows = []
    for task in _scopes(study):
        for system in study.systems:
            ratings = study.of("who", system, task)
            found = _cut(_mean(study, ratings, lambda r: float(r.value == r.right)), 0, 1)
            chance = float(np.mean([1 / r.choices for r in ratings])) if ratings else None
            rows.append({"task": task, "system": system, "judge": "people", "chance": chance, "note": "", **found})
    return rows


def _preferences(study: Study) -> list[dict[str, Any]]:
    """Per pair of systems: ratings for each side, then items, by the sum of their ratings, and a sign test on these.

    A sign test takes independent votes, and two raters of one item are not: an item counts for the side that more of
    its ratings prefer, an undecided one for none (Dixon & Mood 1946: ties are left out, and told). Answers in the same
    words are undecided items. p: exact binomial, two-sided; Holm over the pairs; its share's
    interval is Clopper and Pearson's.
    """
    from scipy.stats import binomtest

    rows = []
    for a, b in combinations(study.systems, 2):
        ratings = [r for r in study.of("preference") if set(r.systems) == {a, b}]
        votes: dict[int, int] = {}
        for r in ratings:
            block = int(study.blocks[r.sample])
            votes[block] = votes.get(block, 0) + (r.value == a) - (r.value == b)
        same = {int(study.blocks[n]) for n, x, y in study.key["alike"] if {x, y} == {a, b}}
        for_a, for_b = (sum(v * sign > 0 for v in votes.values()) for sign in (1, -1))
        decided = for_a + for_b
        test = binomtest(for_a, decided) if decided else None
        span = test.proportion_ci() if test else None
        rows.append({
            "a": a, "b": b, "ratings_a": sum(r.value == a for r in ratings),
            "ratings_b": sum(r.value == b for r in ratings), "ratings_tie": sum(r.value == "tie" for r in ratings),
            "items_a": for_a, "items_b": for_b, "items_undecided": len(votes) - decided,
            "items_same": len(same - votes.keys()),
            "share_a": for_a / decided if decided else None, "share_a_low": float(span.low) if span else None,
            "share_a_high": float(span.high) if span else None, "p": float(test.pvalue) if test else None,
        })  # fmt: skip
    known: dict[str, Any] = {str(n): row["p"] for n, row in enumerate(rows) if row["p"] is not None}
    adjusted = holm(known)
    return [{**row, "p_holm": adjusted.get(str(n))} for n, row in enumerate(rows)]


def _grid(study: Study, question: str) -> tuple[np.ndarray, np.ndarray, int]:
    """((U, raters) codes, -1 where not given; (U,) list positions; number of codes) of first askings."""
    ratings = study.of(question)
    names = sorted({r.value for r in ratings} | ({str(v + 1) for v in range(SCALE)} if question in RATED else set()))
    units = sorted({(r.sample, tuple(sorted(r.systems))) for r in ratings})
    codes = np.full((len(units), len(study.given)), -1)
    place = {unit: n for n, unit in enumerate(units)}
    for r in ratings:
        codes[place[r.sample, tuple(sorted(r.systems))], r.rater] = names.index(r.value)
    return codes, study.blocks[[sample for sample, _ in units]] if units else np.zeros(0, dtype=int), len(names)


def _agreement(study: Study, question: str) -> dict[str, Any] | None:
    """Raw agreement, alpha and every pair's kappa; None where fewer than two raters share a unit."""
    codes, blocks, size = _grid(study, question)
    scale = question in RATED
    level = "ordinal" if scale else "nominal"
    if not len(codes) or np.isnan(raw_agreement(codes)[0]):
        return None
    weights = study.draws.weights[:, blocks]
    out: dict[str, Any] = {"question": question, "units": int(((codes >= 0).sum(axis=1) > 1).sum())}
    measures: list[tuple[str, Callable[..., np.ndarray], tuple[float, float]]] = [
        ("raw", lambda w: raw_agreement(codes, w), (0.0, 1.0)),
        ("alpha", lambda w: krippendorff_alpha(codes, level, w), (-1.0, 1.0)),
    ]
    if scale:
        measures.insert(1, ("within_one", lambda w: raw_agreement(codes, w, 1), (0.0, 1.0)))
    for name, measure, bounds in measures:
        value = float(measure(None)[0])
        low, high = _ends(value, measure(weights), bounds)
        out |= {name: None if np.isnan(value) else value, f"{name}_low": low, f"{name}_high": high}
    numbers = np.arange(size, dtype=float) if scale else None
    pairs, known = [], list[float]()
    for a, b in combinations(range(codes.shape[1]), 2):
        both = (codes[:, a] >= 0) & (codes[:, b] >= 0)
        if both.any():
            found = kappa(codes[both, a], codes[both, b], np.ones((1, int(both.sum()))), numbers)
            sheets = {"a": study.given[a].sheet, "b": study.given[b].sheet}
            known += found[~np.isnan(found)].tolist()
            pairs.append({**sheets, "n": int(both.sum()), "kappa": None if np.isnan(found[0]) else float(found[0])})
    return {
        **out,
        "kappa": float(np.mean(known)) if known else None,
        "weights": "quadratic" if scale else "none",
        "pairs": pairs,
    }


def _consistency(study: Study, question: str) -> dict[str, Any] | None:
    """How often a rater answers a screen asked again as the first time; None where none was."""
    first = {(r.rater, r.screen): r.value for r in study.ratings if r.question == question}
    pairs = [
        (r.rater, r.value, first[r.rater, r.repeats])
        for r in study.ratings
        if r.question == question and r.repeats is not None and (r.rater, r.repeats) in first
    ]
    if not pairs:
        return None
    out: dict[str, Any] = {"question": question, "n": len(pairs), "same": float(np.mean([x == y for _, x, y in pairs]))}
    if question in RATED:
        out["within_one"] = float(np.mean([abs(int(x) - int(y)) <= 1 for _, x, y in pairs]))
    by = {study.given[k].sheet: [x == y for rater, x, y in pairs if rater == k] for k in range(len(study.given))}
    return {**out, "raters": {sheet: [sum(same), len(same)] for sheet, same in by.items() if same}}
