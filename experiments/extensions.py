"""Three questions that the source paper leaves open, measured: `make extensions` (after `make experiment`).

(a) fewer shared items: SFT and CAPO learned from 25, 50, 100 and all 300 train items;
(b) no repeated annotation: CAPO with rejected texts of the nearest other items instead of the same item;
(c) more annotators: 4, 16 and 64 synthetic ones, an adapter each against one shared adapter with the annotator in
    the prompt, each annotator with 100 train records, every item read by four of them.
(a) and (b) on VariErr and on the synthetic task `demo`, where the truth is known; (c) on synthetic tasks. One seed;
what is finished is not done again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from commands import Command, run_all
from imitation import COLUMNS, adapters, arguments, train_command

from hlvbench.compare import read_run
from hlvbench.files import write_atomic

REAL = "varierr"
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
content_distance = 0.9
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
    for size in SIZES:
        cut, sft, capo = ("--train-items", str(size)), f"sft-{size}", f"capo-{size}"
        run_all([train_command(given, "sft", 0, sft, *cut, tasks=REAL)])
        run_all([_from(train_command(given, "capo", 0, capo, *cut, tasks=REAL), adapters(given.out, sft, 0))])
        run_all([real_run(places, name) for name in (sft, capo)])


def demo_run(places: Places, name: str) -> Command:
    return run_of(places, name, places.model, "demo", places.out / "adapters" / name, "--max-new-tokens", "64")


def real_run(places: Places, name: str) -> Command:
    given = places.given
    return run_of(places, name, given.model, REAL, adapters(given.out, name, 0), "--max-new-tokens", "96")


def _from(command: Command, start: Path) -> Command:
    words = list(command.words)
    words[words.index("--from") + 1] = str(start)
    return Command(tuple(words), command.log, command.processes)


def nearest_synthetic(places: Places) -> None:
    run_all([demo_train(places, "sft", "demo-sft-300", "demo")])
    run_all([demo_train(places, "capo", "demo-capo-300", "demo", start="demo-sft-300")])
    run_all([demo_train(places, "capo", "demo-capo-nearest", "demo", *NEAREST, start="demo-sft-300")])
    run_all([demo_run(places, name) for name in ("demo-sft-300", "demo-capo-300", "demo-capo-nearest")])


def nearest_real(places: Places) -> None:
    run_all([train_command(places.given, "capo", 0, "capo-nearest", *NEAREST, tasks=REAL)])
    run_all([real_run(places, "capo-nearest")])


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


def rows(places: Places, names: Sequence[tuple[str, str]], task: str) -> list[str]:
    """(what, run) -> table rows of the run's values on the task, with intervals; a run that is not there says so."""
    lines = []
    for what, name in names:
        problems: list[str] = []
        scored = (places.run(name) / task / "scores.json").exists()
        found = read_run(places.run(name), problems) if scored else None
        if problems:
            sys.exit("\n".join(problems))
        cells = []
        for metric in COLUMNS.values():
            value = found.parts[task].values.get(metric) if found else None
            span = f" [{value.interval[0]:.3f}, {value.interval[1]:.3f}]" if value and value.interval else ""
            cells.append(f"{value.estimate:.3f}{span}" if value else "–" if found else "not run")
        lines.append(f"| {task} | {what} | " + " | ".join(cells) + " |")
    return lines


def report(places: Places) -> str:
    head = ["| task | system | " + " | ".join(COLUMNS) + " |", "|---|---|" + "---:|" * len(COLUMNS)]
    few, near, many = list(head), list(head), list(head)
    for task in (REAL, "demo"):
        prefix = "demo-" if task == "demo" else ""
        whole = {m: f"demo-{m}-300" if prefix else f"{m}-seed0" for m in ("sft", "capo")}
        for method in ("sft", "capo"):
            names = [(f"{method}, {size} items", f"{prefix}{method}-{size}") for size in SIZES]
            few += rows(places, [*names, (f"{method}, 300 items", whole[method])], task)
        near += rows(places, [
            ("sft", whole["sft"]), ("capo, same item", whole["capo"]), ("capo, nearest item", f"{prefix}capo-nearest"),
        ], task)  # fmt: skip
    for count in CROWDS:
        names = [(f"{count} annotators, {kind}", f"crowd{count}-{kind}") for kind in ("each", "shared")]
        many += rows(places, names, f"crowd{count}")
    parts = {"Fewer shared items": few, "Rejected texts of the nearest items": near, "More annotators": many}
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
