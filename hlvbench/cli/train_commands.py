"""`hlvbench train`: the reference trainers."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..processes import process_rank
from ..training.training_config import METHODS, Config, check_method, named_config
from .options import add_common, add_settings, print_result, settings_from_options, task_folders


def train_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("method", choices=METHODS)
    add_settings(parser, Config, "model", model={"help": "the base: a path or hub id"})
    add = parser.add_argument
    add("--out", type=Path, metavar="DIR", help="adapters go to DIR/<task>/<annotator>/; not needed for a dry run")
    add("--skip-missing", action="store_true", help="leave out annotators without annotations or pairs")
    add("--dry-run", action="store_true", help="counts and ten examples of the training data; no training")
    add("--device", default="auto", metavar="DEVICE", help="such as cpu, cuda or mps (default: auto)")
    text = "examples per pass through the model, at most (default: by device)"
    add("--micro-batch", type=int, metavar="N", help=text)
    add("--report-to", default="none", metavar="TRACKER", help="wandb, tensorboard, ... (default: none)")
    for method in (None, *METHODS):
        names = [f.name for f in fields(Config) if "help" in f.metadata and f.metadata["method"] == method]
        if method == "capo":
            names.append("base_matches")
        add_settings(parser, Config, " ".join(names), f"{method} only" if method else "")
    add_common(parser, "task data-dir tasks-dir seed json quiet")


def train_command(arguments: argparse.Namespace) -> None:
    from ..training.train_adapters import dry_run, train

    if arguments.config is not None:
        check_method(named_config(arguments.config), arguments.method)
    config: Config = settings_from_options(Config, arguments)
    if arguments.dry_run:
        found = dry_run(config, **task_folders(arguments), skip_missing=arguments.skip_missing)
        print_result(arguments, found, _plain(found))
        return
    if arguments.out is None:
        raise UsageError("--out DIR: where do the adapters go?")
    out = train(
        config, arguments.out, **task_folders(arguments), device=arguments.device, micro=arguments.micro_batch,
        report_to=arguments.report_to, skip_missing=arguments.skip_missing, quiet=arguments.quiet,
        command=arguments.command,
    )  # fmt: skip
    if process_rank().rank == 0:
        print_result(arguments, {"adapters": str(out)}, out)


def _plain(found: Mapping[str, Any]) -> str:
    lines = []
    for name, facts in found.items():
        lines.append(f"{name}: " + ", ".join(f"{k} {v}" for k, v in facts.items() if k != "shown"))
        for row in facts["shown"]:
            head = f"item {row['item']}" + (f", rejected by {row['rejected_by']}" if "rejected_by" in row else "")
            other = row.get("rejected_item", row["item"])
            lines.append(f"  {head}" + (f" (item {other})" if other != row["item"] else ""))
            lines += [f"    {k}: {row[k]!r}" for k in ("answer", "chosen", "rejected") if k in row]
    return "\n".join(lines)
