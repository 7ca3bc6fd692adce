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

from hlvbench.compare import Run, Value, compare_values, mean_values, read_run
from hlvbench.files import read_json, write_atomic

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
    given: argparse.Namespace, method: str, seed: int, name: str | None = None, *more: str, tasks: str = ",".join(TASKS)
) -> Command:
    place = adapters(given.out, name or method, seed)
    words = ["train", method, "--config", f"hlv-tiny-{method}", "--model", given.model, "--task", tasks]
    words += ["--seed", str(seed), "--out", str(place), *more]
    words += ["--from", str(adapters(given.out, "sft", seed))] if method == "capo" else []
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


def read(given: argparse.Namespace, system: str, seed: int) -> Run:
    problems: list[str] = []
    found = read_run(folder(given.out, system, seed), problems)
    if found is None:
        sys.exit("\n".join(problems))
    return found


def systems(given: argparse.Namespace, task: str) -> dict[str, dict[str, Value]]:
    """System -> its kept values: for trained ones the mean over seeds, replicate by replicate."""
    found = {p: dict(read(given, p, 0).parts[task].values) for p in PROMPTS}
    for method in METHODS:
        found[method] = mean_values([read(given, method, seed).parts[task].values for seed in range(given.seeds)])
    return found


def of_seeds(given: argparse.Namespace, method: str, task: str, metric: str) -> list[float]:
    return [read(given, method, seed).parts[task].values[metric].estimate for seed in range(given.seeds)]


def single_answers(given: argparse.Namespace, system: str, task: str) -> str:
    """NIS@1 as the runs print it, the mean over seeds."""
    values = []
    for seed in range(given.seeds if system in METHODS else 1):
        document = read_json(folder(given.out, system, seed) / task / "scores.json")
        values += [
            row["value"] for row in document["scores"]
            if row["metric"] == "imitation_score@1" and row["annotator"] is None and row["signature"].startswith(SHARP)
        ]  # fmt: skip
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def table(given: argparse.Namespace, task: str, found: Mapping[str, Mapping[str, Value]]) -> str:
    lines = [f"| {task} | " + " | ".join(COLUMNS) + " | NIS@1 |", "|---|" + "---:|" * (len(COLUMNS) + 1)]
    for system, values in found.items():
        cells = []
        for metric in COLUMNS.values():
            value = values[metric]
            low, high = value.interval or (value.estimate, value.estimate)
            spread = ""
            if system in METHODS and given.seeds > 1:
                spread = f" ± {statistics.stdev(of_seeds(given, system, task, metric)):.3f}"
            cells.append(f"{value.estimate:.3f}{spread} [{low:.3f}, {high:.3f}]")
        lines.append(f"| {system} | " + " | ".join([*cells, single_answers(given, system, task)]) + " |")
    return "\n".join(lines)


def differences(found: Mapping[str, Mapping[str, Value]], items: int) -> str:
    """SFT against every prompting baseline in imitation, CAPO against SFT in everything: paired, Holm per metric."""
    compared = compare_values(found, items)["metrics"]
    wanted = [("sft", prompt, "imitation_score@10") for prompt in PROMPTS]
    wanted += [("capo", "sft", metric) for metric in COLUMNS.values()]
    lines = ["| difference | metric | value [95 % interval] | p | Holm p |", "|---|---|---:|---:|---:|"]
    for first, second, metric in wanted:
        (pair,) = (p for p in compared[metric]["pairs"] if {p["a"], p["b"]} == {first, second})
        sign = 1.0 if pair["a"] == first else -1.0
        low, high = sorted((sign * pair["low"], sign * pair["high"]))
        lines.append(
            f"| {first} − {second} | {metric} | {sign * pair['difference']:.3f} [{low:.3f}, {high:.3f}] | "
            f"{_small(pair['p'])} | {_small(pair['p_holm'])} |"
        )
    return "\n".join(lines)


def _small(p: float) -> str:
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
    parts = []
    for task in TASKS:
        found = systems(given, task)
        parts += [table(given, task, found), differences(found, read(given, "base", 0).parts[task].items)]
    return "\n\n".join([*parts, kept(given)]) + "\n"


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
