"""What scoring costs as a corpus grows: every metric, 1,000 replicates, one core, embeddings cached.

    python benchmarks/annotators.py [ANNOTATORSxITEMS[xPER_ITEM] ...]

Each corpus is synthetic: texts of random words from a small vocabulary, of which every annotator prefers some, and 384
numbers per text that are made of its words. That is fine for time and memory; the scores mean nothing. BERTScore is
left at 0, as an encoder is not timed. Seconds are those of the processor, each corpus in a process of its own. The last
line is the growth: the exponent of seconds over answers, and the cost per answer of the largest corpus over that
of the smallest. Exits with 1 where a corpus of the targets misses its target.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from hlvbench.analysis.annotators import analyze
from hlvbench.baselines.baseline_registry import BASELINES, generations
from hlvbench.baselines.knowledge import Knowledge
from hlvbench.bootstrap import seeded
from hlvbench.judging.judge_run import JudgedTask, recomputed
from hlvbench.judging.judge_settings import JudgeSettings
from hlvbench.metrics import registry
from hlvbench.prompting.prompt import render_answer
from hlvbench.results.report_page import page
from hlvbench.results.report_sections import TaskResult
from hlvbench.results.scorecard import Scored, answers_of, score_task
from hlvbench.types import Annotation, Generation, Item, Task

LABELS = ("neutral", "entailment", "contradiction")
TARGETS = {"4x8000": (60.0, 1.5), "40x8000x5": (120.0, 2.0), "400x20000x5": (600.0, 4.0)}
"""Corpus -> seconds of one core, GiB."""
VOCABULARY, WORDS, FAVOURITES, DIMENSION = 400, 12, 12, 384
RECORDS = 100
"""Records of each annotator in train and in dev, about."""


class Hashed:
    """Unit vectors made of a text's words, kept for every text that was asked for."""

    name = "hashed"

    def __init__(self) -> None:
        self._words: dict[str, np.ndarray] = {}
        self._texts: dict[str, np.ndarray] = {}

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([self._vector(text) for text in texts], dtype=np.float32).reshape(len(texts), DIMENSION)

    def _vector(self, text: str) -> np.ndarray:
        if text not in self._texts:
            total = np.sum([self._word(word) for word in text.lower().split()] or [np.zeros(DIMENSION)], axis=0)
            self._texts[text] = (total / (np.linalg.norm(total) or 1.0)).astype(np.float32)
        return self._texts[text]

    def _word(self, word: str) -> np.ndarray:
        if word not in self._words:
            self._words[word] = seeded("word", word).normal(size=DIMENSION)
        return self._words[word]

    def bertscore(self, candidates: Sequence[str], references: Sequence[str], model: str, layer: int) -> np.ndarray:
        return np.zeros(len(candidates))


def corpus(annotators: int, items: int, per_item: int) -> tuple[Task, list[Generation]]:
    """A task with `items` test items, each with records of `per_item` annotators, and a system's answers to it."""
    rng = seeded("corpus", annotators, items, per_item)
    names = tuple(f"Ann{k + 1}" for k in range(annotators))
    words = np.array(["".join(rng.choice(list("abdegiklmnoprstu"), rng.integers(2, 9))) for _ in range(VOCABULARY)])
    favourites = rng.integers(0, VOCABULARY, (annotators, FAVOURITES))
    few = min(items, RECORDS * annotators // per_item)
    splits = {s: tuple(f"{s}{n}" for n in range(size)) for s, size in (("train", few), ("dev", few), ("test", items))}
    topics = {i: rng.integers(0, VOCABULARY, WORDS) for ids in splits.values() for i in ids}

    def text(item: str, k: int) -> str:
        source = np.where(rng.random(WORDS) < 0.4, rng.choice(topics[item], WORDS), rng.integers(0, VOCABULARY, WORDS))
        own = np.where(rng.random(WORDS) < 0.3, rng.choice(favourites[k], WORDS), source)
        return " ".join(words[own[: rng.integers(4, WORDS + 1)]]).capitalize() + ("." if k % 2 else "")

    records, rows = [], []
    for item in topics:
        base = int(rng.integers(3))
        for k in sorted(rng.choice(annotators, per_item, replace=False)):
            shift = int(rng.integers(3)) if rng.random() < 0.3 else 0
            records.append(Annotation(item, names[k], LABELS[(base + shift) % 3], text(item, k)))
            if item.startswith("test"):
                rows.append((item, k, LABELS[base], text(item, k)))
    task = Task(
        name="many", version="1", kind="nominal", labels=LABELS, priority=LABELS, instruction="Decide.",
        fields={"text": "Text"}, annotators=names, records=tuple(records), splits=splits,
        items={i: Item(i, {"text": " ".join(words[topic])}) for i, topic in topics.items()},
    )  # fmt: skip
    answers = [Generation(i, names[k], 0, render_answer(task, y, x), "stop", 0, "") for i, k, y, x in rows]
    return task, answers


def measure(name: str, each: bool, profile: bool, commands: bool) -> None:
    """Print answers, seconds and MiB of one corpus; each: the seconds of every metric; profile: of functions; commands:
    of other subcommands."""
    task, rows = corpus(*_sizes(name))
    embedder = Hashed()
    embedder.encode([r.explanation for r in task.records])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    seconds: dict[str, float] = defaultdict(float)
    if each:
        _timed(seconds)
    profiler = cProfile.Profile()
    started = time.process_time()
    if profile:
        profiler.enable()
    scored = score_task(task, rows, embedder)
    profiler.disable()
    spent = time.process_time() - started
    for metric, share in sorted(seconds.items(), key=lambda s: -s[1])[:25]:
        print(f"{share:8.1f}  {metric}", file=sys.stderr)
    if profile:
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(45)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{len(rows)} {spent:.1f} {memory} {before}")
    if commands:
        _measure_commands(task, rows, embedder, scored)


def _measure_commands(task: Task, rows: list[Generation], embedder: Hashed, scored: Scored) -> None:
    """What else is done with a corpus or a run: seconds on stderr. Baselines share what they know, as in an audit."""

    def timed(name: str, do: Callable[[], object]) -> None:
        task.__dict__.pop("_memo", None)
        started = time.process_time()
        do()
        print(f"{time.process_time() - started:8.1f}  {name}", file=sys.stderr, flush=True)

    timed("analyze", lambda: analyze(task, embedder))
    with tempfile.TemporaryDirectory() as folder:
        answers = answers_of(task, rows, "test", None)
        timed("judge", lambda: recomputed(JudgedTask(task, Path(folder), "", "test", None, answers), JudgeSettings()))
    timed("report", lambda: page([TaskResult(scored.report)]))
    known = Knowledge(task, "test", embedder)
    for baseline in BASELINES.values():
        timed(f"answers of {baseline.name}", partial(generations, baseline, known))


def _timed(seconds: dict[str, float]) -> None:
    """Count the processor's seconds of each metric, those of an index among its own."""
    plain = registry.Metric.__call__

    def call(self: registry.Metric, *arguments: object) -> object:
        started = time.process_time()
        found = plain(self, *arguments)  # type: ignore[arg-type]
        seconds[str(self)] += time.process_time() - started
        return found

    registry.Metric.__call__ = call  # type: ignore[assignment,method-assign]


def _sizes(name: str) -> tuple[int, int, int]:
    annotators, items, *per_item = map(int, name.split("x"))
    return annotators, items, per_item[0] if per_item else annotators


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("corpora", nargs="*", default=["4x2000", *TARGETS], metavar="ANNOTATORSxITEMS[xPER_ITEM]")
    parser.add_argument("--each", action="store_true", help="the seconds of every metric, on stderr")
    parser.add_argument("--profile", action="store_true", help="the seconds of functions, on stderr")
    parser.add_argument("--commands", action="store_true", help="the seconds of other subcommands, on stderr")
    parser.add_argument("--alone", action="store_true", help="in this process, as numbers (what each child does)")
    options = parser.parse_args()
    if options.alone:
        measure(options.corpora[0], options.each, options.profile, options.commands)
        return 0
    print("| annotators | items | per item | answers | seconds | ms per answer | MiB | before scoring |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    missed, points = [], []
    flags = [f"--{name}" for name in ("each", "profile", "commands") if vars(options)[name]]
    for name in options.corpora:
        command = [sys.executable, __file__, name, "--alone", *flags]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        answers, seconds, memory, before = int(done[0]), float(done[1]), int(done[2]), int(done[3])
        shape = " | ".join(map(str, _sizes(name)))
        cost = 1000 * seconds / answers
        print(f"| {shape} | {answers:,} | {seconds:.0f} | {cost:.2f} | {memory:,} | {before:,} |", flush=True)
        points.append((answers, seconds))
        most, most_memory = TARGETS.get(name, (np.inf, np.inf))
        missed += [name] if seconds > most or memory > 1024 * most_memory else []
    if len({n for n, _ in points}) > 1:
        logs = np.log(np.array(points))
        exponent = np.polyfit(logs[:, 0], logs[:, 1], 1)[0]
        (few, little), (many, much) = min(points), max(points)
        print(f"\ngrowth exponent {exponent:.2f}; cost per answer {much / many / (little / few):.2f} times from "
              f"{few:,} to {many:,} answers")  # fmt: skip
    if missed:
        print(f"targets missed: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
