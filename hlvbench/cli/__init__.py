"""The command line: one verb per arrow of the data path (results on stdout, progress on stderr)."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import HlvbenchError, UsageError, all_problems
from . import analysis_commands as science
from . import integration_commands as doors
from . import judge_commands as judging
from . import run_commands as main_job
from . import study_commands as study
from . import submission_commands as sharing
from . import train_commands as train
from .options import from_toml

VERBS = (main_job, science, judging, study, train, sharing, doors)
"""Modules that add their verbs, in the order of `--help`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. 0 done, 1 a check failed, 2 wrong input."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    try:
        parser = _with_config(parser, argv)
        arguments = parser.parse_args(argv)
        # no text ever leaves for a tracker, and what is on disk is not asked for again
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        result: int | None = arguments.verb(arguments, argv)
        return result or 0
    except HlvbenchError as error:
        if "--debug" in argv:
            traceback.print_exc()
        print(f"hlvbench: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.filename is None or "--debug" in argv:
            raise
        print(f"hlvbench: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hlvbench: interrupted; the same command continues", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hlvbench",
        description="Can a model learn how one particular annotator decides and explains?",
        epilog="hlvbench VERB --help tells the options of a verb.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"hlvbench {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for module in VERBS:
        module.add(verbs)
    return parser


def _with_config(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.ArgumentParser:
    """Options of a --config file become the verb's defaults: the command line wins over the file."""
    if not any(a == "--config" or a.startswith("--config=") for a in argv):
        return parser
    early = argparse.ArgumentParser(add_help=False)
    early.add_argument("--config", type=Path)
    path = early.parse_known_args(argv)[0].config
    if path is None:
        return parser
    verb = next((a for a in argv if a in _choices(parser)), None)
    if verb is None:
        return parser
    given = _read_toml(train.named_config(path) if verb == "train" else path)
    actions = {o.lstrip("-").replace("-", "_"): a for a in _choices(parser)[verb]._actions for o in a.option_strings}
    unknown = sorted(set(given) - set(actions))
    if unknown:
        raise UsageError(all_problems(f"{path}: options that `hlvbench {verb}` does not have:", unknown))
    problems = []
    for key, value in given.items():
        try:
            actions[key].default, actions[key].required = from_toml(actions[key], value), False
        except (ValueError, TypeError, argparse.ArgumentTypeError) as error:
            problems.append(f"{key.replace('_', '-')} = {value!r:.60}: {error}")
    if problems:
        raise UsageError(all_problems(f"{path}: values that do not fit their options:", problems))
    return parser


def _choices(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    found = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    choices: Mapping[str, argparse.ArgumentParser] = found.choices
    return choices


def _read_toml(path: Path) -> dict[str, Any]:
    import tomllib

    from ..io import read_text

    try:
        found = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from None
    return {
        key.replace("-", "_"): ",".join(v) if key == "task" and isinstance(v, list) else v for key, v in found.items()
    }
