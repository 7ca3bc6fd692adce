"""Subcommands for other programs: import, card."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from .options import add_common


def import_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=("lm-eval", "inspect"), help="whose logs")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="samples_*.jsonl, *.eval, or folders")
    add_common(parser, "out json", out="(default: imported)")
    parser.set_defaults(function=_import)


def card_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    parser.add_argument("--annotator", metavar="ANN", help="the numbers of this annotator, for an adapter of one")
    parser.add_argument("--into", type=Path, metavar="README.md", help="write it at the head of this model card")
    add_common(parser, "")
    parser.set_defaults(function=_card)


def _import(arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    from ..integrations.log_import import import_logs

    found = import_logs(arguments.kind, arguments.files, arguments.out or Path("imported"))
    if arguments.json:
        print(json.dumps({task: str(path) for task, path in found.items()}))
        return
    for task, path in found.items():
        print(f"{task}: {path}\n  score it: hlvbench score {path} --task {task}")


def _card(arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    from ..integrations.model_card import card

    print(card(arguments.run, annotator=arguments.annotator, into=arguments.into))
