"""`hlvbench train`: the reference trainers."""

from __future__ import annotations

import argparse
import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..errors import UsageError
from ..processes import process_rank
from ..training.training_config import METHODS, Config, check_method, flag, named_config
from .options import Collect, Merge, add_verb, base_matches_option, names_of, pairs, places_of

__all__ = ["add", "named_config"]


def add(verbs: Any) -> None:
    parser = add_verb(verbs, "train", _train, "sft or capo: one adapter per annotator, as run --adapter-dir takes them")
    add = parser.add_argument
    add("method", choices=METHODS)
    add("--model", required=True, help="the base: a path or hub id")
    add("--out", type=Path, metavar="DIR", help="adapters go to DIR/<task>/<Ann>/ (needed but for a dry run)")
    base_matches_option(parser)
    add("--skip-missing", action="store_true", help="leave out annotators without records or pairs")
    add("--dry-run", action="store_true", help="counts and ten examples of what would be learned from; no training")
    add("--device", default="auto", help="auto, cpu, cuda or mps")
    add(
        "--micro-batch", type=int, metavar="N", help="examples per pass through the model, at most (default: by device)"
    )
    add("--report-to", default="none", metavar="TRACKER", help="wandb, tensorboard, ... (default: %(default)s)")
    groups: dict[Any, Any] = {None: parser, **{m: parser.add_argument_group(f"{m} only") for m in METHODS}}
    hints = get_type_hints(Config)
    for own in fields(Config):
        if "help" in own.metadata:
            _add_option(groups[own.metadata["method"]], own, hints[own.name])


def _add_option(group: Any, own: Field[Any], kind: Any) -> None:
    """The option of a field of the settings, by its type."""
    text = own.metadata["help"]
    if get_origin(kind) in (types.UnionType, Union):
        (kind,) = (k for k in get_args(kind) if k is not types.NoneType)
    default = own.default_factory() if own.default_factory is not MISSING else own.default
    if default not in (None, False, (), {}):
        text = f"{text} (default: %(default)s)"
    how: dict[str, Any]
    if kind is bool:
        how = {"action": "store_true"}
    elif get_origin(kind) is Literal:
        how = {"choices": get_args(kind)}
    elif get_origin(kind) is tuple:
        default, how = [], {"action": Collect, "metavar": "ANN"}
    elif get_origin(kind) is Mapping:
        how = {"type": pairs, "action": Merge, "metavar": "KEY=VALUE"}
    else:
        how = {"type": kind, "metavar": {int: "N", float: "X"}.get(kind, own.name.upper())}
    group.add_argument(flag(own.name), dest=own.name, default=default, help=text, **how)


def _train(arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    from ..training.train_adapters import dry_run, train

    if arguments.limit is not None:
        raise UsageError("--limit is for runs; a training with fewer items takes --train-items N")
    if arguments.config is not None:
        check_method(named_config(arguments.config), arguments.method)
    given = {f.name: getattr(arguments, f.name) for f in fields(Config)}
    given |= {"task": names_of(arguments), "annotator": tuple(arguments.annotator)}
    given |= {"leave_out": tuple(arguments.leave_out)}
    config = Config(**given)
    if arguments.dry_run:
        found = dry_run(config, **places_of(arguments), skip_missing=arguments.skip_missing)
        print(json.dumps(found, ensure_ascii=False, indent=1) if arguments.json else _plain(found))
        return
    if arguments.out is None:
        raise UsageError("--out DIR: where do the adapters go?")
    out = train(
        config, arguments.out, **places_of(arguments), device=arguments.device, micro=arguments.micro_batch,
        report_to=arguments.report_to, skip_missing=arguments.skip_missing, quiet=arguments.quiet,
        command=["hlvbench", *argv],
    )  # fmt: skip
    if process_rank().rank == 0:
        print(json.dumps({"adapters": str(out)}) if arguments.json else out)


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
