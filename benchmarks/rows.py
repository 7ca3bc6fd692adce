"""The first rows of the leaderboard: references, attacks, and SmolLM2 under every prompt and with adapters.

Runs what is missing, has it judged (stylometric), submits what is not yet there, verifies it and builds the page; the
same command continues. Needs HLVBENCH_DATA, and the adapters for sft and capo:

    hlvbench train sft --config smollm2-sft --out ADAPTERS/sft
    hlvbench train capo --config smollm2-capo --from ADAPTERS/sft --out ADAPTERS/capo
    hlvbench train sft --config smollm2-sft --task convarg --shared --dtype bfloat16 --epochs 1 --train-items 738 \\
      --out ADAPTERS/sft-shared
    python benchmarks/rows.py --adapters ADAPTERS
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

from hlvbench.cli import main as hlvbench

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


def on_convarg(row: Row) -> Row:
    """The same system on the task that is not in the default set, as a submission of its own."""
    return dataclasses.replace(row, name=f"{row.name}-convarg", run=(*row.run, "--task", "convarg"))


def smollm2(method: str, *options: str, answers: str = "constrained", adapters: str | None = None) -> Row:
    """SmolLM2-135M-Instruct, the embedded default model."""
    about = ["--authors", AUTHORS, "--description", f"SmolLM2-135M-Instruct, {answers} answers of one line or two."]
    about += ["--trained-on", "train", "--method", method] if adapters else []
    free = "-free" if answers == "free" else ""
    run = ("--model", "smollm2", "--answers", answers, "--max-new-tokens", "64", *options)
    return Row(f"smollm2-{method}{free}", f"SmolLM2-135M, {method}", run, tuple(about), adapters)


BASELINES = (
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
    reference("attack:beyond-label", "Beyond the label",
              "The own explanation nearest to what is expected beyond the guessed label."),
    reference("attack:beyond-label-splice", "Beyond the label, spliced", "The same, splices among the candidates."),
    reference("attack:clustered", "Clustered explanations", "The nearest explanation of the likeliest own cluster."),
    reference("attack:nearest+gold", "Nearest, gold label", "The nearest own explanation of the true label."),
    reference("attack:splice+gold", "Splice, gold label", "The splice of an own explanation of the true label."),
)  # fmt: skip
MODELS = (
    smollm2("base", answers="free"),
    smollm2("base"),
    smollm2("icl", "--prompt", "icl"),
    smollm2("vp", "--prompt", "vp"),
    smollm2("vp-icl", "--prompt", "vp-icl"),
    smollm2("sft", adapters="sft"),
    smollm2("capo", adapters="capo"),
)
# the prompts of convarg are three times as long: three examples, and one adapter for all annotators
CONVARG_MODELS = (
    smollm2("base"),
    smollm2("icl", "--prompt", "icl", "--shots", "3"),
    smollm2("vp", "--prompt", "vp"),
    smollm2("sft", adapters="sft-shared"),
)
ROWS = (*BASELINES, *MODELS, *map(on_convarg, (*BASELINES, *CONVARG_MODELS)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
            if row.name.startswith("smollm2"):
                _do("judge", str(run), "--quiet")
            _do("submit", str(run), "--name", row.name, "--system", row.system, *row.submit)
            there = {p.name.split("_", 1)[1]: p for p in place.glob("[0-9]*_*")}
        if "[verified]" not in (there[row.name] / "submission.toml").read_text("utf-8"):
            _do("check", "--write", str(there[row.name]))
    _do("leaderboard")
    return 0


def _can_run(row: Row, arguments: argparse.Namespace) -> bool:
    if row.adapters is None or (arguments.adapters and (arguments.adapters / row.adapters).is_dir()):
        return True
    print(f"left out: {row.name} (no adapters named)", file=sys.stderr)
    return False


def _options(row: Row, arguments: argparse.Namespace) -> list[str]:
    return [*row.run, *(["--adapter-dir", str(arguments.adapters / row.adapters)] if row.adapters else [])]


def _do(*words: str) -> None:
    print("hlvbench", *words, file=sys.stderr, flush=True)
    if status := hlvbench(words):
        sys.exit(status)


if __name__ == "__main__":
    sys.exit(main())
