"""The command line: one subcommand per step of the pipeline. Results go to stdout, progress to stderr."""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from .. import __version__
from ..errors import HlvbenchError, UsageError

SUBCOMMANDS = {
    "tasks": ("run_commands", "list tasks, versions, splits, annotators, and whether their data are at hand"),
    "fetch": ("run_commands", "download the data of tasks at their pinned revision and verify them"),
    "run": ("run_commands", "generate, score and report: the main job"),
    "generate": ("run_commands", "write the raw text only"),
    "score": ("run_commands", "score raw text (again); no model needed"),
    "compare": ("analysis_commands", "compare runs: paired differences, p, rank groups"),
    "analyze": ("analysis_commands", "report agreement and detectability of the annotators, with plots"),
    "curve": ("analysis_commands", "plot scores against the number of train items shown per annotator"),
    "audit": ("analysis_commands", "score humans, baselines and attacks; exit 1 if a rule is broken"),
    "demo": ("analysis_commands", "run the main job with the embedded model on the built-in task"),
    "judge": ("judge_commands", "ask a judge who wrote the explanations of a run"),
    "human-study": ("study_commands", "export rating sheets for humans, and score their ratings"),
    "train": ("train_commands", "train adapters by sft or capo, one per annotator"),
    "submit": ("submission_commands", "write submissions/<date>_<name>/ from a run"),
    "check": ("submission_commands", "check submissions and score their raw text again"),
    "leaderboard": ("submission_commands", "build leaderboard/ from submissions/"),
    "import": ("integration_commands", "convert lm-eval or inspect logs to generations.jsonl"),
    "card": ("integration_commands", "print model-card metadata of a scored run"),
}
"""Name -> the module with NAME_options, which adds its options, and NAME_command, which runs it; and what it does."""
RESUMED = ("run", "generate", "judge", "train", "demo")
"""The subcommands that keep what is finished when they are interrupted."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit code: 0 done, 1 a check failed, 2 wrong input, 130 interrupted.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        # a terminal that is not UTF-8 has no κ; in JSON its escape is the letter
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        arguments = _parse(argv)
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        code: int | None = arguments.function(arguments)
        return code or 0
    except HlvbenchError as error:
        message = str(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.strerror is None:
            raise
        message = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    except KeyboardInterrupt:
        again = ", without --no-resume," if "--no-resume" in argv else ""
        keeps = argv[0] in RESUMED and not {"--dry-run", "--estimate"} & set(argv)
        how = f"; the same command{again} continues" if keeps else ""
        print(f"hlvbench: interrupted{how}", file=sys.stderr)
        return 130
    if "--debug" in argv:
        traceback.print_exc()
    print(f"hlvbench: {message}", file=sys.stderr)
    return 2


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    if strange := [word for word in argv if any("\ud800" <= c <= "\udfff" for c in word)]:
        raise UsageError(f"{strange[0]!r}: not valid UTF-8; rename the file or folder")
    name = next((word for word in argv if word in SUBCOMMANDS), "")
    parser = build_parser([name])
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--config", type=Path, action="append", default=[])
    paths = early.parse_known_args(argv)[0].config
    if len(paths) > 1:
        raise UsageError(f"--config {' and '.join(map(str, paths))}: one file")
    path = paths[0] if paths else None
    if name and path is not None:
        from .options import apply_config

        if name == "train":
            from ..training.training_config import named_config as find
        apply_config(subparsers(parser)[name], find(path) if name == "train" else path)
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        subparsers(parser)[name].error(f"unrecognized arguments: {' '.join(unknown)}")
    arguments.command = ["hlvbench", *argv]
    return arguments


def build_parser(complete: Sequence[str] = tuple(SUBCOMMANDS)) -> argparse.ArgumentParser:
    """The parser of the command line; only the subcommands in `complete` have their options."""
    parser = argparse.ArgumentParser(
        prog="hlvbench",
        description="Can a model learn how one particular annotator decides and explains?",
        epilog="hlvbench SUBCOMMAND --help shows the options of a subcommand.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"hlvbench {__version__}")
    group = parser.add_subparsers(title="subcommands", metavar="SUBCOMMAND", required=True)
    for name, (module, text) in SUBCOMMANDS.items():
        # options are not abbreviated: the parser would take what the early search for --config misses
        own = group.add_parser(name, help=text, description=text, allow_abbrev=False)
        if name in complete:
            commands, prefix = import_module(f".{module}", __name__), name.replace("-", "_")
            getattr(commands, f"{prefix}_options")(own)
            own.set_defaults(function=getattr(commands, f"{prefix}_command"))
    return parser


def subparsers(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """The parsers of a parser's subcommands, by name."""
    group = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    parsers: Mapping[str, argparse.ArgumentParser] = group.choices
    return parsers
