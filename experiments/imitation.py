"""Prompting, SFT and CAPO on one model and both datasets: `make experiment`.

Trains an adapter per annotator by both methods, runs every system on test, and prints the table of
experiments/README.md: means over the training seeds, with intervals over items, and paired differences. What is
finished is not done again.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from commands import Command, run_all

from hlvbench.io import read_json, write_atomic
from hlvbench.results.compare import Run, Value, compare_values, mean_values, read_run

TASKS = ("varierr", "r2")
PROMPTS = ("base", "icl", "vp", "vp-icl")
METHODS = ("sft", "capo")
SHARP = "imitation_score(view=norm,reduce=self"
"""NIS of single answers, which does not saturate; runs keep no replicates of it, so it has no paired difference."""
COLUMNS = {
    "label κ": "label_kappa",
    "grounding": "grounding_skill",
    "NIS@10": "imitation_score@10",
    "own gain": "own_gain",
    "hlv_index": "hlv_index",
}


def common(given: argparse.Namespace) -> list[str]:
    return ["--model", given.model, "--task", ",".join(TASKS), *(["--limit", str(given.limit)] if given.limit else [])]


def adapters(out: Path, method: str, seed: int) -> Path:
    return out / f"seed{seed}" / method


def folder(out: Path, system: str, seed: int) -> Path:
    return out / "runs" / (system if system in PROMPTS else f"{system}-seed{seed}")


def run_command(given: argparse.Namespace, system: str, seed: int) -> Command:
    place = folder(given.out, system, seed)
    words = ["run", *common(given), "--max-new-tokens", "96", "--out", str(place), "-q"]
    words += ["--prompt", system] if system in PROMPTS else ["--adapter-dir", str(adapters(given.out, system, seed))]
    return Command(tuple(words), given.out / "logs" / f"{place.name}.log")


def train_command(
    given: argparse.Namespace, method: str, seed: int, name: str | None = None, *more: str, start: str = "sft"
) -> Command:
    """Both tasks' adapters by the method; CAPO goes on from those that are named `start`."""
    place = adapters(given.out, name or method, seed)
    words = ["train", method, "--config", f"hlv-tiny-{method}", "--model", given.model, "--task", ",".join(TASKS)]
    words += ["--seed", str(seed), "--out", str(place), *more]
    words += ["--from", str(adapters(given.out, start, seed))] if method == "capo" else []
    return Command(tuple(words), given.out / "logs" / f"train-{name or method}-seed{seed}.log", processes=2)


def do_everything(given: argparse.Namespace) -> None:
    """Prompting once, then per seed: train sft, train capo, run both."""
    print("prompting", file=sys.stderr)
    run_all([run_command(given, prompt, 0) for prompt in PROMPTS])
    for seed in range(given.seeds):
        print(f"seed {seed}", file=sys.stderr)
        for method in METHODS:
            run_all([train_command(given, method, seed)])
        run_all([run_command(given, method, seed) for method in METHODS])


def read(place: Path) -> Run:
    problems: list[str] = []
    found = read_run(place, problems)
    if found is None:
        sys.exit("\n".join(problems))
    return found


def parts_of(places: Sequence[Path], task: str) -> list[Mapping[str, Value]]:
    """The kept values on the task of every run: one run per training seed."""
    return [read(place).parts[task].values for place in places]


def places_of(given: argparse.Namespace, system: str) -> list[Path]:
    return [folder(given.out, system, seed) for seed in range(1 if system in PROMPTS else given.seeds)]


def over_seeds(parts: Sequence[Mapping[str, Value]]) -> Mapping[str, Value]:
    """The mean over seeds, replicate by replicate; a single run keeps its own interval, of all its replicates."""
    return parts[0] if len(parts) == 1 else mean_values(parts)


def cell(parts: Sequence[Mapping[str, Value]], metric: str) -> str:
    """Mean over the seeds ± their standard deviation [interval over items]."""
    value = over_seeds(parts).get(metric)
    if value is None:
        return "–"
    spread = f" ± {statistics.stdev(p[metric].estimate for p in parts):.3f}" if len(parts) > 1 else ""
    ends = f" [{value.interval[0]:.3f}, {value.interval[1]:.3f}]" if value.interval else ""
    return f"{value.estimate:.3f}{spread}{ends}"


def single_answers(given: argparse.Namespace, system: str, task: str) -> str:
    """NIS@1 as the runs print it, the mean over seeds."""
    values = []
    for place in places_of(given, system):
        document = read_json(place / task / "scores.json")
        values += [
            row["value"] for row in document["scores"]
            if row["metric"] == "imitation_score@1" and row["annotator"] is None and row["signature"].startswith(SHARP)
        ]  # fmt: skip
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def table(given: argparse.Namespace, task: str, found: Mapping[str, Sequence[Mapping[str, Value]]]) -> str:
    lines = [f"| {task} | " + " | ".join(COLUMNS) + " | NIS@1 |", "|---|" + "---:|" * (len(COLUMNS) + 1)]
    for system, parts in found.items():
        cells = [cell(parts, metric) for metric in COLUMNS.values()]
        lines.append(f"| {system} | " + " | ".join([*cells, single_answers(given, system, task)]) + " |")
    return "\n".join(lines)


def line_of(pair: Mapping[str, Any], first: str, second: str) -> tuple[str, float, float, float]:
    """(name, difference, low, high) of first less second, whichever way round the pair was compared."""
    sign = 1.0 if pair["a"] == first else -1.0
    low, high = sorted((sign * pair["low"], sign * pair["high"]))
    return f"{first} − {second}", sign * pair["difference"], low, high


def differences(found: Mapping[str, Mapping[str, Value]], items: int) -> str:
    """SFT against every prompting baseline in imitation, CAPO against SFT in everything: paired, Holm per metric."""
    compared = compare_values(found, items)["metrics"]
    wanted = [("sft", prompt, "imitation_score@10") for prompt in PROMPTS]
    wanted += [("capo", "sft", metric) for metric in COLUMNS.values()]
    lines = ["| difference | metric | value [95 % interval] | p | Holm p |", "|---|---|---:|---:|---:|"]
    for first, second, metric in wanted:
        (pair,) = (p for p in compared[metric]["pairs"] if {p["a"], p["b"]} == {first, second})
        name, difference, low, high = line_of(pair, first, second)
        lines.append(
            f"| {name} | {metric} | {difference:.3f} [{low:.3f}, {high:.3f}] | {small(pair['p'])} | "
            f"{small(pair['p_holm'])} |"
        )
    return "\n".join(lines)


def small(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def kept(given: argparse.Namespace) -> str:
    """Which checkpoint CAPO kept, per annotator and seed: the step, and dev's product before and after."""
    lines = ["| annotator | kept step of all (dev product: start → kept), per seed |", "|---|---|"]
    for task in TASKS:
        for place in sorted(p.parent for p in (adapters(given.out, "capo", 0) / task).glob("*/manifest.json")):
            cells = []
            for seed in range(given.seeds):
                facts: dict[str, Any] = read_json(
                    adapters(given.out, "capo", seed) / task / place.name / "manifest.json"
                )
                points = {p["step"]: p["product"] for p in facts["checkpoints"]}
                at = facts["kept_step"]
                cells.append(f"{at}/{facts['steps']} ({points[0] or 0:.3f} → {points[at] or 0:.3f})")
            lines.append(f"| {task}/{place.name} | " + ", ".join(cells) + " |")
    return "\n".join(lines)


def report(given: argparse.Namespace) -> str:
    blocks = []
    for task in TASKS:
        found = {system: parts_of(places_of(given, system), task) for system in (*PROMPTS, *METHODS)}
        items = read(places_of(given, "base")[0]).parts[task].items
        blocks += [table(given, task, found), differences({s: over_seeds(p) for s, p in found.items()}, items)]
    return "\n\n".join([*blocks, kept(given)]) + "\n"


def arguments(description: str | None, words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", default=os.environ.get("HLVBENCH_TEST_MODEL"))
    parser.add_argument("--out", type=Path, default=Path("runs/experiment"))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--limit", type=int, help="of test items")
    return parser


def main() -> int:
    parser = arguments(__doc__)
    given = parser.parse_args()
    if not given.model:
        parser.error("name a model by --model or HLVBENCH_TEST_MODEL")
    do_everything(given)
    text = report(given)
    write_atomic(given.out / "table.md", text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
