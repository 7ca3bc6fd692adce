"""The way back from other harnesses: import."""

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


def _import(arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    from ..integrations.logs import import_logs

    found = import_logs(arguments.kind, arguments.files, arguments.out or Path("imported"))
    if arguments.json:
        print(json.dumps({task: str(path) for task, path in found.items()}))
        return
    for task, path in found.items():
        print(f"{task}: {path}\n  score it: hlvbench score {path} --task {task}")
