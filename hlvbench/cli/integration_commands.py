"""Subcommands for other programs: import, card."""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import add_common, print_result


def import_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=("lm-eval", "inspect"), help="whose logs")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="samples_*.jsonl, *.eval, or folders")
    add_common(parser, "out json", "imported")


def card_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    parser.add_argument("--annotator", metavar="ANN", help="the numbers of this annotator, for an adapter of one")
    parser.add_argument("--into", type=Path, metavar="README.md", help="write it at the head of this model card")
    add_common(parser, "")


def import_command(arguments: argparse.Namespace) -> None:
    from ..integrations.log_import import import_logs

    found = import_logs(arguments.kind, arguments.files, arguments.out)
    lines = [f"{task}: {path}\n  score it: hlvbench score {path} --task {task}" for task, path in found.items()]
    print_result(arguments, {task: str(path) for task, path in found.items()}, "\n".join(lines))


def card_command(arguments: argparse.Namespace) -> None:
    from ..integrations.model_card import card

    print(card(arguments.run, annotator=arguments.annotator, into=arguments.into))
