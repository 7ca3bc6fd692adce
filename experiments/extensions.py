"""Three questions that the source paper leaves open, measured: `make extensions` (after `make experiment`).

(a) fewer shared items: SFT and CAPO learned from 25, 50, 100 and all 300 train items;
(b) no repeated annotation: CAPO with rejected texts of the nearest other items instead of the same item;
(c) more annotators: 4, 16 and 64 synthetic ones, an adapter each against one shared adapter with the annotator in
    the prompt, each annotator with 100 train records, every item read by four of them.
(a) and (b) on both datasets, with --seeds training seeds, and on the synthetic task `demo`, where the truth is known;
(c) on synthetic tasks. What is finished is not done again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from commands import Command, run_all
from imitation import (
    COLUMNS,
    METHODS,
    TASKS,
    arguments,
    cell,
    line_of,
    over_seeds,
    parts_of,
    places_of,
    read,
    run_command,
    small,
    train_command,
)  # fmt: skip

from hlvbench.io import write_atomic
from hlvbench.results.compare import compare_values

SIZES = (25, 50, 100)
CROWDS = (4, 16, 64)
RECORDS, READERS = (100, 40, 40), 4
"""Train, dev and test records of every synthetic annotator; how many of them read an item."""
NEAREST = ("--rejected", "nearest")
DEMO_SFT = ("--rank", "16", "--lr", "5e-3", "--batch", "32", "--epochs", "10", "--max-new-tokens", "64")
DEMO_CAPO = ("--lr", "1e-3", "--batch", "32", "--epochs", "1", "--checkpoints", "2", "--max-new-tokens", "64")

CROWD_TOML = """name = "crowd{count}"
version = "1"
source = "synthetic"
kind = "nominal"
labels = ["neutral", "entailment", "contradiction"]
instruction = "Decide the label (entailment, neutral, contradiction) and explain your decision."
annotators = {count}
per_item = {readers}
sizes = {sizes}
style_distance = 0.9
seed = 0

[fields]
context = "Context"
statement = "Statement"
"""


class Places:
    """Where everything lies below --out."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.out = given, given.out
        self.demo, self.tasks = given.out / "demo", given.out / "tasks"
        self.model = str(self.demo / "model")

    def run(self, name: str) -> Path:
        return Path(self.out / "runs" / name)

    def log(self, name: str) -> Path:
        return Path(self.out / "logs" / f"{name}.log")


def run_of(places: Places, name: str, model: str, task: str, adapter_dir: Path, *more: str) -> Command:
    words = ["run", "--model", model, "--task", task, "--adapter-dir", str(adapter_dir), "-q", *more]
    return Command((*words, "--out", str(places.run(name))), places.log(name))


def demo_train(
    places: Places, method: str, name: str, task: str, *more: str, start: str = "", processes: int = 2
) -> Command:
    options = DEMO_SFT if method == "sft" else DEMO_CAPO
    words = ["train", method, "--model", places.model, "--task", task, *options, *more]
    words += ["--from", str(places.out / "adapters" / start)] if start else []
    words += ["--out", str(places.out / "adapters" / name)]
    return Command(tuple(words), places.log(f"train-{name}"), processes)


def few_synthetic(places: Places) -> None:
    for size in SIZES:
        cut, sft, capo = ("--train-items", str(size)), f"demo-sft-{size}", f"demo-capo-{size}"
        run_all([demo_train(places, "sft", sft, "demo", *cut)])
        run_all([demo_train(places, "capo", capo, "demo", *cut, start=sft)])
        run_all([demo_run(places, name) for name in (sft, capo)])


def few_real(places: Places) -> None:
    given = places.given
    for seed in range(given.seeds):
        for size in SIZES:
            cut, sft, capo = ("--train-items", str(size)), f"sft-{size}", f"capo-{size}"
            run_all([train_command(given, "sft", seed, sft, *cut)])
            run_all([train_command(given, "capo", seed, capo, *cut, start=sft)])
            run_all([run_command(given, name, seed) for name in (sft, capo)])


def demo_run(places: Places, name: str) -> Command:
    return run_of(places, name, places.model, "demo", places.out / "adapters" / name, "--max-new-tokens", "64")


def nearest_synthetic(places: Places) -> None:
    run_all([demo_train(places, "sft", "demo-sft-300", "demo")])
    run_all([demo_train(places, "capo", "demo-capo-300", "demo", start="demo-sft-300")])
    run_all([demo_train(places, "capo", "demo-capo-nearest", "demo", *NEAREST, start="demo-sft-300")])
    run_all([demo_run(places, name) for name in ("demo-sft-300", "demo-capo-300", "demo-capo-nearest")])


def nearest_real(places: Places) -> None:
    for seed in range(places.given.seeds):
        run_all([train_command(places.given, "capo", seed, "capo-nearest", *NEAREST)])
        run_all([run_command(places.given, "capo-nearest", seed)])


def many_annotators(places: Places) -> None:
    for count in CROWDS:
        folder = places.tasks / f"crowd{count}"
        folder.mkdir(parents=True, exist_ok=True)
        sizes = [records * count // READERS for records in RECORDS]
        write_atomic(folder / "task.toml", CROWD_TOML.format(count=count, readers=READERS, sizes=sizes))
        task, where = f"crowd{count}", ("--tasks-dir", str(places.tasks))
        run_all([demo_train(places, "sft", f"{task}-each", task, *where)])
        run_all([demo_train(places, "sft", f"{task}-shared", task, *where, "--shared", processes=1)])
        run_all([
            run_of(places, f"{task}-{kind}", places.model, task, _adapters(places, task, kind), *where,
                   "--max-new-tokens", "64")
            for kind in ("each", "shared")
        ])  # fmt: skip


def _adapters(places: Places, task: str, kind: str) -> Path:
    return Path(places.out / "adapters" / f"{task}-{kind}")


def runs_of(places: Places, system: str, task: str) -> list[Path]:
    """The runs behind a row: of real data one per training seed, of synthetic ones one."""
    return places_of(places.given, system) if task in TASKS else [places.run(system)]


def is_there(runs: Sequence[Path], task: str) -> bool:
    return all((run / task / "scores.json").exists() for run in runs)


def rows(places: Places, systems: Sequence[tuple[str, str]], task: str) -> list[str]:
    """(what, system) -> table rows of its values on the task; a run that is not there says so."""
    lines = []
    for what, system in systems:
        runs, cells = runs_of(places, system, task), ["not run"] * len(COLUMNS)
        if is_there(runs, task):
            parts = parts_of(runs, task)
            cells = [cell(parts, metric) for metric in COLUMNS.values()]
        lines.append(f"| {task} | {what} | " + " | ".join(cells) + " |")
    return lines


def gain(places: Places, what: str, systems: tuple[str, str], task: str) -> str:
    """A table row: the first system less the second, paired on shared replicates, p not adjusted."""
    runs = [runs_of(places, system, task) for system in systems]
    if not all(is_there(r, task) for r in runs):
        return f"| {task} | {what} | " + " | ".join(["not run"] * len(COLUMNS)) + " |"
    both = dict(zip(("first", "second"), (over_seeds(parts_of(r, task)) for r in runs), strict=True))
    compared = compare_values(both, read(runs[0][0]).parts[task].items)["metrics"]
    cells = []
    for metric in COLUMNS.values():
        (pair,) = compared[metric]["pairs"]
        _, difference, low, high = line_of(pair, "first", "second")
        cells.append(f"{difference:.3f} [{low:.3f}, {high:.3f}], p {small(pair['p'])}")
    return f"| {task} | {what} | " + " | ".join(cells) + " |"


def report(places: Places) -> str:
    head = ["| task | system | " + " | ".join(COLUMNS) + " |", "|---|---|" + "---:|" * len(COLUMNS)]
    few, gains, near, beside, many = (list(head) for _ in range(5))
    for task in (*TASKS, "demo"):
        prefix, whole = ("", "") if task in TASKS else ("demo-", "-300")
        of = {m: {**{n: f"{prefix}{m}-{n}" for n in SIZES}, 300: f"{prefix}{m}{whole}"} for m in METHODS}
        for method in METHODS:
            few += rows(places, [(f"{method}, {n} items", name) for n, name in of[method].items()], task)
        gains += [gain(places, f"{n} items", (of["capo"][n], of["sft"][n]), task) for n in (*SIZES, 300)]
        near += rows(places, [
            ("sft", of["sft"][300]), ("capo, same item", of["capo"][300]),
            ("capo, nearest item", f"{prefix}capo-nearest"),
        ], task)  # fmt: skip
        nearest = f"{prefix}capo-nearest"
        beside += [gain(places, f"nearest less {what}", (nearest, other), task)
                   for what, other in (("same item", of["capo"][300]), ("sft", of["sft"][300]))]  # fmt: skip
    for count in CROWDS:
        systems = [(f"{count} annotators, {kind}", f"crowd{count}-{kind}") for kind in ("each", "shared")]
        many += rows(places, systems, f"crowd{count}")
    parts = {
        "Fewer shared items": few, "Fewer shared items: capo less sft, paired": gains,
        "Rejected texts of the nearest items": near, "Rejected texts of the nearest items: paired": beside,
        "More annotators": many,
    }  # fmt: skip
    return "\n\n".join(f"**{title}**\n\n" + "\n".join(lines) for title, lines in parts.items()) + "\n"


PARTS: Mapping[str, Sequence[Callable[[Places], None]]] = {
    "synthetic": (nearest_synthetic, few_synthetic, many_annotators),
    "real": (nearest_real, few_real),
    "all": (nearest_synthetic, few_synthetic, many_annotators, nearest_real, few_real),
}


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--parts", choices=tuple(PARTS), default="all", help="the table is made of all")
    given = parser.parse_args()
    if not given.model:
        parser.error("name a model by --model or HLVBENCH_TEST_MODEL")
    places = Places(given)
    # the demo trains the small base of the synthetic tasks
    run_all([Command(("demo", "--out", str(places.demo), "-q"), places.log("demo"))])
    for part in PARTS[given.parts]:
        print(part.__name__.replace("_", " "), file=sys.stderr)
        part(places)
    if given.parts != "all":
        return 0
    text = report(places)
    write_atomic(given.out / "extensions.md", text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
