"""How far the annotators of a task differ, and from how much text each can be told; no model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..bootstrap import REPLICATES, Draws, every_item_once, interval, item_draws
from ..errors import MetricError, UsageError
from ..io import dump_json, write_atomic
from ..metrics import Answers, Metric, Signature, bind_for
from ..metrics.decisions import LEAST_SHARED, scale_of
from ..metrics.features import ORTHOGRAPHIC, feature_names, features
from ..metrics.group import SIZES, precompute_group_stats
from ..metrics.kappa import kappa
from ..metrics.predictions import Embedder
from ..metrics.projections import human_annotations
from ..text import VIEWS, in_view, with_interval
from ..types import Annotation, Item, Label, Task
from .plots import agreement_png, detectability_png, style_png

REDUCTIONS = ("none", "item", "input")
GRAMS = 1000
"""How many character n-grams the n-gram space has."""
LENGTH = ("words", "characters")
MOST_PAIRED = 20
"""Annotators up to which every pair has a κ; of more, the pairs that share `LEAST_SHARED` items."""
KINDS = ("accuracy", "confidence")


def analyze(
    task: Task, embedder: Embedder, seed: int = 0, replicates: int = REPLICATES, split: str = "test"
) -> dict[str, Any]:
    """Agreement, label habits, style and detectability of a task's annotators, as plain JSON.

    agreement: κ of every pair on priority labels over all items (quadratic-weighted for scores); labels: each
    annotator's share of every label; style: mean features of the explanations (raw view); these three over all
    splits. detectability: group_accuracy and group_confidence of the humans' own annotations of `split` under a probe
    fitted on dev, for m = 1 … 50. All intervals: 95 %, by item resampling. Annotators with too few records are
    named in "unscored_annotators" and left out. UsageError for a task with fewer than two others.
    """
    if len(task.scored_annotators) < 2:
        raise UsageError(
            f"task {task.name}: an analysis compares annotators, and {len(task.scored_annotators)} of "
            f"{len(task.annotators)} have records of {task.min_records} test items (min_records in task.toml)"
        )
    if not task.splits.get(split):
        raise UsageError(f"task {task.name} has no items in split {split!r}; there are {', '.join(task.splits)}")
    items = list(task.items.values())
    draws = item_draws(items, f"{task.name}@{task.version}", "all", seed, replicates)
    counts = Counter(record.annotator for record in task.records)
    return {
        "task": f"{task.name}@{task.version}",
        "split": split,
        "seed": seed,
        "replicates": replicates,
        "hlvbench": __version__,
        "clusters": len(draws.groups),
        "annotators": list(task.scored_annotators),
        "unscored_annotators": [a for a in task.annotators if a not in task.scored_annotators],
        "records": {a: counts[a] for a in task.annotators},
        "agreement": agreement(task, items, draws),
        "labels": label_shares(task),
        "style": style(task, items, draws),
        "detectability": detectability(task, embedder, seed, replicates, split),
    }


def agreement(task: Task, items: Sequence[Item], draws: Draws) -> dict[str, Any]:
    """κ of the pairs of scored annotators on the items both labelled, in draws over `items`.

    Of more than `MOST_PAIRED` annotators only the pairs with at least `LEAST_SHARED` items, in time linear in these.
    """
    code = {label: number for number, label in enumerate(task.labels)}
    scored = {a: n for n, a in enumerate(task.scored_annotators)}
    shared: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
    if len(scored) <= MOST_PAIRED:
        shared = {pair: [] for pair in combinations(scored, 2)}
    for row, item in enumerate(items):
        given = {a: code[task.by_pair[item.id, a][0].label] for a in task.by_item.get(item.id, ()) if a in scored}
        for a, b in combinations(given, 2):
            shared.setdefault((a, b), []).append((row, given[a], given[b]))
    pairs = []
    for a, b in sorted(shared, key=lambda pair: (scored[pair[0]], scored[pair[1]])):
        rows, first, second = np.array(shared[a, b], dtype=int).reshape(-1, 3).T
        if len(scored) > MOST_PAIRED and len(rows) < LEAST_SHARED:
            continue
        weights = np.concatenate([np.ones((1, len(rows))), draws.of(rows)])
        found = kappa(first, second, weights, scale_of(task))
        span = None if draws.lack else interval(float(found[0]), found[1:], (-1.0, 1.0))
        named = {"a": a, "b": b, "n": len(rows)}
        pairs.append({**named, **_numbers(("kappa", "low", "high"), float(found[0]), span)})
    weighted = "quadratic-weighted " if task.kind == "ordinal" else ""
    return {"measure": f"{weighted}Cohen κ, priority labels, all items", "pairs": pairs}


def _numbers(names: tuple[str, str, str], value: float, span: tuple[float, float] | None) -> dict[str, float | None]:
    """A value and its interval under three names, six decimals, None where there is none."""
    low, high = span or (np.nan, np.nan)
    found = zip(names, (value, low, high), strict=True)
    return {name: None if np.isnan(number) else round(float(number), 6) for name, number in found}


def label_shares(task: Task) -> dict[str, Any]:
    """Each scored annotator's share of every label over all records; for scores also mean and spread."""
    given: dict[str, list[Label]] = {a: [] for a in task.scored_annotators}
    for record in task.records:
        if record.annotator in given:
            given[record.annotator].append(record.label)
    counts = {a: Counter(found) for a, found in given.items()}
    shares = {a: [round(counts[a][label] / len(found), 6) for label in task.labels] for a, found in given.items()}
    out: dict[str, Any] = {"labels": list(task.labels), "shares": shares}
    if task.kind == "ordinal":
        numbers = {a: np.array(found, dtype=float) for a, found in given.items()}
        out["mean"] = {a: round(float(v.mean()), 6) for a, v in numbers.items()}
        out["deviation"] = {a: round(float(v.std()), 6) for a, v in numbers.items()}
    return out


def style(task: Task, items: Sequence[Item], draws: Draws) -> dict[str, Any]:
    """Mean of every feature per scored annotator, one explanation per item (the priority record's), raw view."""
    place = {item.id: row for row, item in enumerate(items)}
    names, rows = feature_names(len(task.fields), "raw"), []
    own: dict[str, list[Annotation]] = {a: [] for a in task.scored_annotators}
    for pair in task.by_pair:
        if pair[1] in own and pair in task.explained:
            own[pair[1]].append(task.human(pair))
    for annotator, records in own.items():
        texts = [in_view(r.explanation, "raw") for r in records]
        table = features(texts, [task.items[r.item] for r in records], "raw") if records else np.zeros((0, len(names)))
        weights = draws.of(np.array([place[r.item] for r in records], dtype=int))
        total = weights.sum(axis=1, keepdims=True)
        values = table.mean(axis=0) if records else np.full(len(names), np.nan)
        spread = np.divide(weights @ table, total, out=np.full((len(draws), len(names)), np.nan), where=total > 0)
        for column, name in enumerate(names):
            span = None if draws.lack else interval(float(values[column]), spread[:, column])
            numbers = _numbers(("value", "low", "high"), values[column], span)
            rows.append({"annotator": annotator, "feature": name, **numbers})
    return {"features": list(names), "fields": list(task.fields.values()), "rows": rows}


class _CharGrams:
    """Character 1-4-grams, tf-idf, as a space to measure in: what an embedder is to meaning, this is to spelling.

    The n-grams are the 1,000 most frequent of the humans' train explanations in a view, which give the weights too.
    """

    def __init__(self, task: Task, view: str) -> None:
        from scipy.sparse import csr_matrix
        from sklearn.feature_extraction.text import TfidfVectorizer

        kept = set(task.scored_annotators)
        texts = [in_view(r.explanation, view) for r in task.records_of("train") if r.annotator in kept]
        if not any(texts):
            raise MetricError("the character n-grams are fitted on train records, and there are none")
        self.name = f"chargram1-4-top{GRAMS}-{view}"
        self._grams = TfidfVectorizer(
            analyzer="char", ngram_range=(1, 4), lowercase=False, sublinear_tf=True, max_features=GRAMS,
            dtype=np.float32,
        ).fit(texts)  # fmt: skip
        self._place: dict[str, int] = {}
        self._table = csr_matrix((0, len(self._grams.vocabulary_)), dtype=np.float32)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        from scipy.sparse import vstack

        # the reductions ask for the same texts again, and counting n-grams is slow
        new = [text for text in dict.fromkeys(texts) if text not in self._place]
        if new:
            self._place |= {text: len(self._place) + n for n, text in enumerate(new)}
            self._table = vstack([self._table, self._grams.transform(new)], format="csr")
        found: np.ndarray = self._table[[self._place[text] for text in texts]].toarray()
        return found

    def bertscore(self, candidates: Sequence[str], references: Sequence[str], model: str, layer: int) -> np.ndarray:
        raise NotImplementedError


class _Features:
    """Some style features as a space: what a probe can tell from spelling habits or length alone."""

    def __init__(self, name: str, chosen: Sequence[str]) -> None:
        self.name = name
        self._columns = [feature_names(0, "raw").index(feature) for feature in chosen]

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        nothing = Item("", {})
        if not texts:
            return np.zeros((0, len(self._columns)))
        found: np.ndarray = features(texts, [nothing] * len(texts), "raw")[:, self._columns]
        return found

    def bertscore(self, candidates: Sequence[str], references: Sequence[str], model: str, layer: int) -> np.ndarray:
        raise NotImplementedError


def _spaces(task: Task, embedder: Embedder) -> Iterator[tuple[str, str, tuple[str, ...], Callable[[], Embedder]]]:
    """(name, view, reductions, how to make it) of every space."""
    for view in VIEWS:
        yield "embedding", view, tuple(REDUCTIONS), lambda: embedder
        yield "chargram", view, tuple(REDUCTIONS), partial(_CharGrams, task, view)
    yield "orthography", "raw", ("none",), lambda: _Features("orthography", ORTHOGRAPHIC)
    yield "length", "raw", ("none",), lambda: _Features("length", LENGTH)


def detectability(task: Task, embedder: Embedder, seed: int, replicates: int, split: str) -> list[dict[str, Any]]:
    """How often, and how surely, groups of m of a person's own explanations are given to that person.

    One row per space × view × reduction × m. Spaces: embedding; chargram; the controls orthography (five
    punctuation features) and length (words, characters). All pass through the metrics that score systems.
    """
    items = human_annotations(task, split, embedder).items
    draws = item_draws(items, f"{task.name}@{task.version}", split, seed, replicates)
    found: list[tuple[dict[str, Any], Answers | None, str]] = []
    for name, view, reductions, make in _spaces(task, embedder):
        try:
            humans, why = human_annotations(task, split, make()), ""
        except MetricError as error:
            humans, why = None, str(error)
        rows = product(reductions, SIZES)
        found += [({"space": name, "view": view, "reduce": reduce, "m": m}, humans, why) for reduce, m in rows]
    asked = [(_metric(humans, "accuracy", row), humans) for row, humans, _ in found if humans is not None]
    precompute_group_stats(asked, every_item_once(len(items)), draws)
    return [row | _detected(humans, row, draws, seed, why) for row, humans, why in found]


def _metric(humans: Answers, kind: str, row: Mapping[str, Any]) -> Metric:
    chosen = {key: row[key] for key in ("view", "reduce", "m")}
    return bind_for(humans.task, f"group_{kind}", embed=humans.embedder.name, **chosen)


def _detected(humans: Answers | None, row: Mapping[str, Any], draws: Draws, seed: int, why: str) -> dict[str, Any]:
    """The numbers of one row; None with a note where they cannot be given."""
    out: dict[str, Any] = {"chance": None, "n": 0, "note": why}
    for kind in KINDS:
        out |= {kind: None, f"{kind}_low": None, f"{kind}_high": None, f"{kind}_signature": None}
    if humans is None:
        return out
    task = f"{humans.task.name}@{humans.task.version}"
    try:
        for kind in KINDS:
            metric = _metric(humans, kind, row)
            once, spread = metric(humans, every_item_once(len(humans.items))), metric(humans, draws)
            span = None if draws.lack else interval(float(once.overall[0]), spread.overall, metric.spec.bounds)
            out |= _numbers((kind, f"{kind}_low", f"{kind}_high"), float(once.overall[0]), span)
            signature = Signature(metric, task, 0, __version__, seed, len(draws), humans.split)
            told = 0 if once.by_annotator is None else int((~np.isnan(once.by_annotator[0])).sum())
            chance = round(1 / told, 6) if told else None
            out |= {f"{kind}_signature": str(signature), "chance": chance, "n": once.n, "note": once.note}
    except MetricError as error:
        out["note"] = str(error)
    return out


def write_analysis(result: Mapping[str, Any], out: Path) -> list[Path]:
    """Write analysis.json, agreement.png, style.png and detectability.png into `out`; the paths written.

    Without matplotlib the JSON is written and a UsageError tells how to get the figures.
    """
    paths = [out / "analysis.json"]
    write_atomic(paths[0], dump_json(result))
    for name, draw in (("agreement", agreement_png), ("style", style_png), ("detectability", detectability_png)):
        paths.append(out / f"{name}.png")
        write_atomic(paths[-1], draw(result))
    return paths


def analysis_text(result: Mapping[str, Any]) -> str:
    """The analysis as plain text for a terminal."""
    known = [pair for pair in result["agreement"]["pairs"] if pair["kappa"] is not None]
    lines = [f"{result['task']}: {', '.join(f'{a} {n} records' for a, n in result['records'].items())}"]
    if result["unscored_annotators"]:
        lines.append(f"too few records, left out: {', '.join(result['unscored_annotators'])}")
    lines.append(f"{result['clusters']} clusters of items")
    lines += ["", result["agreement"]["measure"]]
    lines += [f"  {p['a']} {p['b']}  {with_interval(p, 'kappa')}  n={p['n']}" for p in known]
    lines += ["", "share of labels: " + ", ".join(map(str, result["labels"]["labels"]))]
    for annotator, shares in result["labels"]["shares"].items():
        lines.append(f"  {annotator}  " + "  ".join(f"{share:.3f}" for share in shares))
    lines += ["", f"annotators told apart on {result['split']}: accuracy of groups of m, " + ", ".join(map(str, SIZES))]
    curves: dict[tuple[str, str, str], list[str]] = {}
    for row in result["detectability"]:
        shown = "–" if row["accuracy"] is None else f"{row['accuracy']:.3f}"
        curves.setdefault((row["space"], row["view"], row["reduce"]), []).append(shown)
    lines += [
        f"  {space:<12}{view:<6}{reduce:<7}" + "  ".join(f"{n:>5}" for n in numbers)
        for (space, view, reduce), numbers in curves.items()
    ]
    notes = dict.fromkeys(row["note"] for row in result["detectability"] if row["note"])
    return "\n".join([*lines, *(f"  note: {note}" for note in notes)])
