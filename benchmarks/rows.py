"""The first rows of the leaderboard: references, attacks and hlv-tiny under every prompt.

Runs what is missing, has it judged (stylometric), submits what is not yet there, verifies it and builds the page; the
same command continues.
Needs HLVBENCH_DATA; HLVBENCH_TEST_MODEL for the rows of hlv-tiny, and its adapters for sft and capo.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from hlvbench.cli import main as hlvbench

PRETRAINING = (
    "Pretrained on e-SNLI's dev and test pairs. Its tokenizer and its language modelling also read the input sentences "
    "(no annotations) of the train items of both tasks; never an annotation of either, nor dev or test inputs."
)
AUTHORS = "The hlvbench authors"


@dataclass(frozen=True)
class Row:
    """One submission: its name, how it is shown, the options of its run and of its submission.

    adapters: a folder below --adapters, without which the row is left out.
    """

    name: str
    system: str
    run: tuple[str, ...]
    submit: tuple[str, ...] = ()
    adapters: str | None = None


def reference(model: str, system: str, description: str) -> Row:
    name = model.replace(":", "-").replace("+", "-")
    return Row(name, system, ("--model", model), ("--description", description))


def tiny(method: str, *options: str, adapters: str | None = None) -> Row:
    about = [
        "--authors",
        AUTHORS,
        "--not-distributed",
        "--training-note",
        PRETRAINING,
        "--description",
        "A test model of 6.8 million weights, not distributed: it shows that the path works, not what is possible.",
    ]
    about += ["--trained-on", "train", "--method", method] if adapters else []
    return Row(f"hlv-tiny-{method}", f"hlv-tiny, {method}", options, tuple(about), adapters)  # fmt: skip


ROWS = (
    reference("reference:human", "People", "The annotator's own test record: the ceiling."),
    reference("reference:majority", "Majority label", "The annotator's most frequent label and one fixed sentence."),
    reference("reference:blind", "One person for all", "One annotator's record of the item, given in every name."),
    reference("reference:other", "Another annotator", "Another annotator's record of the item."),
    reference("reference:random-own", "Random own record", "A random train record of the same annotator."),
    reference("reference:echo", "Echo of the input", "The most frequent label and the input itself."),
    reference("reference:orthography", "Blind, own orthography", "The blind answer in the annotator's punctuation."),
    reference("reference:nearest", "Nearest own record", "The annotator's train record of the nearest input."),
    reference("reference:label-guess", "Guessed label, nearest record",
              "A classifier's label and the annotator's nearest train explanation of that label."),
    reference("attack:constant", "One typical sentence", "The annotator's most typical train explanation, always."),
    reference("attack:constant+echo", "Typical sentence and echo", "That sentence, followed by the input."),
    reference("attack:markov", "Trigram text", "Random text from the annotator's own word trigrams."),
    reference("attack:splice", "Splice", "The nearest own explanation with the input's words put in."),
    reference("attack:splice+guess", "Splice, guessed label", "The same with a classifier's label."),
    reference("attack:chosen-splice", "Chosen splice", "Of several splices the one most like the annotator."),
    reference("attack:expected", "Expected difference", "The own explanation nearest to the expected one."),
    reference("attack:collage", "Collage", "Own sentences picked for style, item and expected difference."),
    reference("attack:nearest+gold", "Nearest, gold label", "The nearest own explanation of the true label."),
    reference("attack:splice+gold", "Splice, gold label", "The splice of an own explanation of the true label."),
    tiny("base"),
    tiny("icl", "--prompt", "icl"),
    tiny("vp", "--prompt", "vp"),
    tiny("vp-icl", "--prompt", "vp-icl"),
    tiny("sft", "--max-new-tokens", "96", adapters="sft"),
    tiny("capo", "--max-new-tokens", "96", adapters="capo"),
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=os.environ.get("HLVBENCH_TEST_MODEL"), help="hlv-tiny's folder")
    parser.add_argument("--adapters", type=Path, metavar="DIR", help="DIR/sft and DIR/capo, each TASK/ANNOTATOR/")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/rows"), help="where runs are kept (default: %(default)s)"
    )
    parser.add_argument("--only", metavar="WORD", default="", help="rows whose name holds this")
    arguments = parser.parse_args()
    place = Path("submissions")
    there = {p.name.split("_", 1)[1]: p for p in place.glob("[0-9]*_*")}
    for row in ROWS:
        if arguments.only not in row.name or not _can_run(row, arguments):
            continue
        if row.name not in there:
            run = arguments.runs / row.name
            if not (run / "report.html").exists():
                _do("run", *_options(row, arguments), "--out", str(run), "--quiet")
            if row.name.startswith("hlv-tiny"):
                _do("judge", str(run), "--quiet")
            _do("submit", str(run), "--name", row.name, "--system", row.system, *row.submit)
            there = {p.name.split("_", 1)[1]: p for p in place.glob("[0-9]*_*")}
        if "[verified]" not in (there[row.name] / "submission.toml").read_text("utf-8"):
            _do("check", "--write", str(there[row.name]))
    _do("leaderboard")
    return 0


def _can_run(row: Row, arguments: argparse.Namespace) -> bool:
    if row.run and row.run[0] == "--model":
        return True
    lacking = not arguments.model or (
        row.adapters and not (arguments.adapters and (arguments.adapters / row.adapters).is_dir())
    )
    if lacking:
        print(f"left out: {row.name} (no {'adapters' if arguments.model else 'model'} named)", file=sys.stderr)
    return not lacking


def _options(row: Row, arguments: argparse.Namespace) -> list[str]:
    if row.run and row.run[0] == "--model":
        return list(row.run)
    adapters = ["--adapter-dir", str(arguments.adapters / row.adapters)] if row.adapters else []
    return ["--model", arguments.model, "--device", "cpu", *row.run, *adapters]


def _do(*words: str) -> None:
    print("hlvbench", *words, file=sys.stderr, flush=True)
    if status := hlvbench(words):
        sys.exit(status)


if __name__ == "__main__":
    sys.exit(main())
