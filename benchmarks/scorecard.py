"""The whole scorecard of a run: seconds, memory, vectorised resampling against a plain loop, growth with the answers.

    python benchmarks/scorecard.py [--samples 10]

Needs HLVBENCH_DATA. Embeddings and BERTScore are cached first, as they are whenever a run is scored again. The plain
loop computes the same replicates one after the other, from lists of resampled answers, and must give the same values.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from hlvbench.baselines.baseline_registry import open_baseline
from hlvbench.bootstrap import Draws, item_draws
from hlvbench.data.task import load_task
from hlvbench.embeddings import load_embedder
from hlvbench.metrics import Answers, bind
from hlvbench.models import Query
from hlvbench.prompting.parse import parse, to_annotation
from hlvbench.results.scorecard import score_task
from hlvbench.types import Generation, Task

TASKS = ("varierr", "r2")
MOST_SECONDS, MOST_BYTES, LEAST_SPEEDUP = 10.0, 2 << 30, 50.0


def answered(task: Task, samples: int = 1) -> list[Generation]:
    """What reference:nearest says, `samples` times."""
    model = open_baseline("reference:nearest", task, "test", load_embedder())
    rows = []
    for sample in range(samples):
        queries = [Query(item, annotator, sample, "") for item, annotator in task.questions("test")]
        pairs = zip(queries, model.answer(queries), strict=True)
        rows += [Generation(q.item, q.annotator, q.sample, c.text, c.finish, c.new_tokens, "") for q, c in pairs]
    return rows


def scorecard_seconds(samples: int) -> float:
    """Every metric of both tasks from raw text to scores, on freshly loaded tasks."""
    seconds = 0.0
    for name in TASKS:
        task, embedder = load_task(name), load_embedder()
        rows = answered(task, samples)
        started = time.perf_counter()
        score_task(task, rows, embedder)
        seconds += time.perf_counter() - started
    return seconds


def plain_accuracy(answers: Answers, lists: Sequence[np.ndarray]) -> list[float]:
    """Mean over annotators of the share of right labels, list by list."""
    by_item: dict[int, list[tuple[int, bool]]] = {}
    rows, columns = answers.cells
    for q, pair in enumerate(answers.questions):
        own = {record.label for record in answers.task.by_pair[pair]}
        right = pair in answers.predictions and answers.predictions[pair].label in own
        by_item.setdefault(int(rows[q]), []).append((int(columns[q]), right))
    out = []
    for chosen in lists:
        hits, counts = [0] * len(answers.annotators), [0] * len(answers.annotators)
        for item in chosen.tolist():
            for column, right in by_item[item]:
                hits[column] += right
                counts[column] += 1
        out.append(sum(h / c for h, c in zip(hits, counts, strict=True)) / len(hits))
    return out


def plain_kappa(answers: Answers, lists: Sequence[np.ndarray]) -> list[float]:
    """Mean over annotators of scikit-learn's kappa, list by list."""
    from sklearn.metrics import cohen_kappa_score

    size = len(answers.annotators)
    said = [dict[int, object]() for _ in range(size)]
    gold = [dict[int, object]() for _ in range(size)]
    for q, pair in enumerate(answers.questions):
        row, column = (int(axis[q]) for axis in answers.cells)
        said[column][row], gold[column][row] = answers.predictions[pair].label, answers.task.by_pair[pair][0].label
    weights = "quadratic" if answers.task.kind == "ordinal" else None
    labels = list(answers.task.labels)
    out = []
    for chosen in lists:
        values = []
        for column in range(size):
            items = [i for i in chosen.tolist() if i in said[column]]
            first, second = ([table[column][i] for i in items] for table in (said, gold))
            values.append(cohen_kappa_score(first, second, labels=labels, weights=weights))
        out.append(float(np.mean(values)))
    return out


def plain_cosine(answers: Answers, lists: Sequence[np.ndarray]) -> list[float]:
    """Mean over annotators of the mean similarity, list by list."""
    from hlvbench.metrics.similarity import embedding_cosine_values

    values = embedding_cosine_values(answers, "raw").tolist()
    by_item: dict[int, list[tuple[int, float]]] = {}
    for q, value in enumerate(values):
        by_item.setdefault(int(answers.cells[0][q]), []).append((int(answers.cells[1][q]), value))
    out = []
    for chosen in lists:
        sums, counts = [0.0] * len(answers.annotators), [0] * len(answers.annotators)
        for item in chosen.tolist():
            for column, value in by_item[item]:
                sums[column] += value
                counts[column] += 1
        out.append(sum(s / c for s, c in zip(sums, counts, strict=True)) / len(sums))
    return out


PLAIN: dict[str, Callable[[Answers, Sequence[np.ndarray]], list[float]]] = {
    "label_accuracy": plain_accuracy, "label_kappa": plain_kappa, "embedding_cosine": plain_cosine,
}  # fmt: skip


def speedup(task: Task) -> float:
    """Plain seconds by vectorised seconds over the metrics of PLAIN and 1,000 replicates; equal values or an error."""
    given = {}
    for row in answered(task):
        annotation = to_annotation(row.item, row.annotator, parse(row.text, task))
        assert annotation is not None
        given[row.item, row.annotator] = annotation
    answers = Answers(task, "test", given, load_embedder())
    draws = item_draws(answers.items, f"{task.name}@{task.version}", "test")
    seconds = {"plain": 0.0, "vectorised": 0.0}
    for name, plain in PLAIN.items():
        metric = bind(name)
        metric(answers, Draws(draws.groups, draws.picks[:1]))  # what is computed once, for both sides
        # the weights are part of what is measured, so the draws are new
        fresh = Draws(draws.groups, draws.picks)
        started = time.perf_counter()
        ours = metric(answers, fresh).overall
        seconds["vectorised"] += time.perf_counter() - started
        started = time.perf_counter()
        theirs = plain(answers, tuple(fresh.lists))
        seconds["plain"] += time.perf_counter() - started
        worst = float(np.abs(ours - np.array(theirs)).max())
        if worst > 1e-9:
            sys.exit(f"{task.name}: {name} differs by {worst}")
    return seconds["plain"] / seconds["vectorised"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=10, help="times the answers, for the growth")
    samples = parser.parse_args().samples
    scorecard_seconds(1)
    seconds = scorecard_seconds(1)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"scorecard of 771 answers: {seconds:.1f} s, {memory / 2**30:.2f} GiB; target {MOST_SECONDS} s, 2 GiB")
    many = scorecard_seconds(samples)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        f"{samples} times the answers: {many:.1f} s ({many / seconds / samples:.2f} of linear), {grown / 2**30:.2f} GiB"
    )
    ratios = {name: speedup(load_task(name)) for name in TASKS}
    for name, ratio in ratios.items():
        print(f"{name}: vectorised resampling {ratio:.0f} times a plain loop, equal values; target {LEAST_SPEEDUP:.0f}")
    met = seconds <= MOST_SECONDS and memory <= MOST_BYTES and min(ratios.values()) >= LEAST_SPEEDUP
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
