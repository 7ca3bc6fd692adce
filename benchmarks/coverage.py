"""How often do the 95 % intervals hold the truth? Simulated annotators, where the truth is known.

    python benchmarks/coverage.py [--simulations 400] [--replicates 300] [--items 100]

A population of items and answers is made once. Each simulation draws a list of items from it, as a benchmark draws
its test split, and computes estimate and interval on that list by the code that scores a run. The truth is the
metric's value on the whole population; for group metrics, whose groups are drawn anew with every list, it is the
mean of all estimates.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from hlvbench.bootstrap import Draws, interval, seeded
from hlvbench.metrics import Answers, Metric, bind
from hlvbench.types import Annotation, Item, Task

LABELS = ("neutral", "entailment", "contradiction")
POPULATION = 1000
DIMENSION = 24
CALIBRATED = ("label_accuracy", "label_kappa", "own_gain", "group_confidence@10", "imitation_score@10")
"""The metrics whose coverage docs/metrics.md section 10 bounds."""


@cache
def _direction(kind: str, name: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(f"{kind}:{name}".encode()).digest()[:8], "little")
    return np.random.default_rng(seed).normal(size=DIMENSION)


class SimulatedEmbedder:
    """Reads "item annotator noise" as content + style + noise; an input text is content alone."""

    name = "simulated"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        out = np.zeros((len(texts), DIMENSION), dtype=np.float32)
        for row, text in enumerate(texts):
            words = text.lower().split()
            if not words:
                continue
            vector = _direction("content", words[0])
            if len(words) > 1:
                vector = vector + 0.15 * _direction("style", words[1]) + 0.6 * _direction("noise", " ".join(words))
            out[row] = vector / np.linalg.norm(vector)
        return out

    def bertscore(self, candidates: Sequence[str], references: Sequence[str], model: str, layer: int) -> np.ndarray:
        return np.sum(self.encode(candidates) * self.encode(references), axis=1)


def population(size: int = POPULATION, seed: int = 0) -> Answers:
    """Four annotators; the system gives the annotator's label to 60 %, his very words to 30 %, else words in his style
    or (20 %) in another's."""
    rng = seeded("coverage", seed)
    people = ("Ann1", "Ann2", "Ann3", "Ann4")
    items, records, splits = {}, [], {}
    given: dict[tuple[str, str], Annotation] = {}
    for split, count in (("train", 60), ("dev", 100), ("test", size)):
        ids = tuple(f"{split}{n}" for n in range(count))
        splits[split] = ids
        for item in ids:
            items[item] = Item(item, {"text": item})
            base = int(rng.integers(3))
            for k, person in enumerate(people):
                label = LABELS[base if rng.random() < 0.6 else int(rng.integers(3))]
                records.append(Annotation(item, person, label, f"{item} {person} own"))
                said = label if rng.random() < 0.6 else LABELS[int(rng.integers(3))]
                draw, writer = rng.random(), people[(k + 1) % 4] if rng.random() < 0.2 else person
                text = f"{item} {person} own" if draw < 0.3 else f"{item} {writer} new{person}"
                given[item, person] = Annotation(item, person, said, text)
    task = Task(
        name="coverage", version="1", kind="nominal", labels=LABELS, priority=LABELS, instruction="Decide.",
        fields={"text": "Text"}, annotators=people, items=items, records=tuple(records), splits=splits,
    )  # fmt: skip
    test = {pair: answer for pair, answer in given.items() if pair[0] in set(splits["test"])}
    return Answers(task, "test", test, SimulatedEmbedder())


def metrics() -> list[Metric]:
    """Those of the contract, and others whose coverage is only reported."""
    embed = {"embed": SimulatedEmbedder.name}
    return [
        bind("label_accuracy"), bind("label_kappa"), bind("own_gain", view="norm", **embed),
        bind("group_confidence", view="norm", m=10, **embed), bind("imitation_score", view="norm", m=10, **embed),
        bind("macro_f1"), bind("agreement_error"), bind("lewidi_error"), bind("lewidi_soft_error"),
        bind("embedding_cosine"),
        bind("own_match", view="norm", **embed), bind("own_match_skill", view="norm", **embed),
        bind("group_confidence", view="norm", m=1, **embed), bind("imitation_score", view="norm", m=1, **embed),
        bind("hlv_index", **embed),
    ]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Coverage:
    """Share of simulations whose interval holds the truth, and the mean width of the intervals."""

    share: float
    width: float
    truth: float


def study(
    chosen: Sequence[Metric], simulations: int = 400, replicates: int = 300, items: int = 100, seed: int = 0
) -> Mapping[str, Coverage]:
    """Metric name -> its coverage."""
    answers = population(seed=seed)
    size = len(answers.items)
    singles = tuple((i,) for i in range(size))
    found: dict[str, list[tuple[float, float, float]]] = {m.short: [] for m in chosen}
    for simulation in range(simulations):
        rng = seeded("coverage", seed, "simulation", simulation)
        sample = rng.integers(0, size, items)
        once, many = Draws(singles, sample[None]), Draws(singles, sample[rng.integers(0, items, (replicates, items))])
        for metric in chosen:
            estimate = float(metric(answers, once).overall[0])
            bounds = interval(estimate, metric(answers, many).overall, metric.spec.bounds)
            assert bounds is not None
            found[metric.short].append((estimate, *bounds))
    every = Draws(singles, np.arange(size)[None])
    out = {}
    for metric in chosen:
        rows = np.array(found[metric.short])
        grouped = "m" in dict(metric.arguments) or metric.name == "hlv_index"
        truth = float(rows[:, 0].mean()) if grouped else float(metric(answers, every).overall[0])
        held = (rows[:, 1] <= truth) & (truth <= rows[:, 2])
        out[metric.short] = Coverage(float(held.mean()), float((rows[:, 2] - rows[:, 1]).mean()), truth)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description="Coverage of the nominal 95 % intervals.")
    parser.add_argument("--simulations", type=int, default=400)
    parser.add_argument("--replicates", type=int, default=300)
    parser.add_argument("--items", type=int, default=100)
    given = parser.parse_args()
    print("| metric | truth | mean width | coverage |\n|---|---|---|---|")
    for name, coverage in study(metrics(), given.simulations, given.replicates, given.items).items():
        print(f"| `{name}` | {coverage.truth:.3f} | {coverage.width:.3f} | {coverage.share:.1%} |")


if __name__ == "__main__":
    main()
