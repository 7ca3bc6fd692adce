"""What leaves for other programs and comes from them: import, card."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .options import add_verb, out_option


def add(verbs: Any) -> None:
    text = "logs of lm-eval or inspect -> generations.jsonl"
    imported = add_verb(verbs, "import", _import, text, task=False)
    imported.add_argument("kind", choices=("lm-eval", "inspect"), help="whose logs")
    imported.add_argument("files", nargs="+", type=Path, metavar="FILE", help="samples_*.jsonl, *.eval, or folders")
    out_option(imported)
    carded = add_verb(verbs, "card", _card, "model-card metadata (model-index) of a scored run", task=False)
    carded.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    carded.add_argument("--annotator", metavar="A", help="the numbers of this annotator, for an adapter of one")
    carded.add_argument("--into", type=Path, metavar="README.md", help="put it at the head of this model card")


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
