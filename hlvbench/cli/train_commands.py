"""`hlvbench train`: the reference trainers."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..processes import share_of
from ..settings import PROMPTS, SHOTS
from ..training.training_config import Config, check_method, named_config
from .options import Collect, Merge, add_common, pairs, places_of, words


def train_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("method", choices=("sft", "capo"))
    add("--model", required=True, help="the base: a path or hub id")
    add("--out", type=Path, metavar="DIR", help="adapters go to DIR/<task>/<Ann>/ (needed but for a dry run)")
    add("--from", dest="start", metavar="SFT_DIR", help="capo: the SFT adapters to start from, and to stay near to")
    text = "the adapters' base is --model, whatever name or hash is recorded with them"
    add("--base-matches", action="store_true", default=None, help=text)
    add(
        "--annotator",
        type=words,
        action=Collect,
        default=(),
        metavar="A",
        help="only this one; may stand several times",
    )
    add("--shared", action="store_true", help="one adapter for all annotators, who are named in the prompt")
    add("--leave-out", type=words, action=Collect, default=(), metavar="A",
        help="--shared: learn nothing from this annotator, who is new when asked; may stand several times")  # fmt: skip
    add("--prompt", choices=PROMPTS, help="sft: how the questions are asked (default: base)")
    add("--shots", type=int, metavar="K", help=f"sft: worked examples of icl, at most (default: {SHOTS})")
    add("--skip-missing", action="store_true", help="leave out annotators without records or pairs")
    add("--dry-run", action="store_true", help="counts and ten examples of what would be learned from; no training")
    add("--revision", help="of the model on the hub")
    add("--train-items", type=int, metavar="N", help="learn from N train items drawn by seed (default: all)")
    add("--history", type=int, metavar="N", help="each annotator's own records of at most N train items, drawn by seed")
    weights = parser.add_argument_group("adapter and optimiser")
    add = weights.add_argument
    add("--rank", type=int, default=_of("rank"), help="sft (default: %(default)s)")
    add("--alpha", type=int, default=_of("alpha"), help="sft (default: %(default)s)")
    add("--dropout", type=float, help="default: sft 0.05, capo 0")
    add(
        "--targets",
        default=_of("targets"),
        metavar="LAYERS",
        help="sft: all-linear (default), or layer names with commas",
    )
    add("--lr", dest="rate", type=float, help="peak learning rate (default: sft 2e-4, capo 1e-5)")
    add("--epochs", type=float, help="default: sft 3, capo 2")
    add("--batch", type=int, default=_of("batch"), help="examples per optimiser step (default: %(default)s)")
    add("--micro-batch", type=int, metavar="N", help="examples per pass through the model (default: by device)")
    add("--warmup", type=float, default=_of("warmup"), help="share of the steps (default: %(default)s)")
    add("--weight-decay", type=float, default=_of("weight_decay"))
    add("--clip", type=float, default=_of("clip"), help="largest gradient norm (default: %(default)s)")
    add("--gradient-checkpointing", action="store_true", help="less memory, a third more time")
    add("--device", default="auto")
    add("--dtype", choices=("auto", "float32", "bfloat16", "float16"), default="auto")
    add("--model-arg", type=pairs, default={}, action=Merge, metavar="KEY=VALUE", help="to from_pretrained")
    add("--trust-remote-code", action="store_true")
    capo = parser.add_argument_group("capo")
    add = capo.add_argument
    add("--pairs", choices=("near", "equal", "all"), default="near",
        help="labels of a pair: equal (ordinal: at most tau apart), equal, or any (default: %(default)s)")  # fmt: skip
    add("--tau", type=int, default=_of("tau"), help="default: %(default)s")
    add("--per-item", type=int, metavar="N", help="at most N pairs per item and annotator, drawn by seed")
    add("--rejected", choices=("same", "nearest"), default="same", help="rejected texts of the same or nearest items")
    add("--neighbours", type=int, default=_of("neighbours"), metavar="N", help="nearest items per other annotator")
    add("--beta", type=float, default=_of("beta"), help="default: %(default)s")
    add("--sft-weight", type=float, default=_of("sft_weight"), help="weight of the chosen answer's own likelihood")
    add(
        "--checkpoints",
        type=int,
        default=_of("checkpoints"),
        help="scored on dev, evenly spread (default: %(default)s)",
    )
    add("--select", default=_of("select"), metavar="METRIC",
        help="keep the best by imitation*distinctness (default), by a metric of a signature, or the last")  # fmt: skip
    add("--max-new-tokens", type=int, default=_of("max_new_tokens"), help="of dev answers (default: %(default)s)")
    add_common(parser, "task data-dir tasks-dir seed json quiet")
    parser.set_defaults(function=_train)


def _of(name: str) -> Any:
    (default,) = (f.default for f in fields(Config) if f.name == name and f.default is not MISSING)
    return default


def _train(arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    from ..training.train_adapters import dry_run, train

    if arguments.config is not None:
        check_method(named_config(arguments.config), arguments.method)
    given = {f.name: getattr(arguments, f.name) for f in fields(Config)}
    given |= {"task": arguments.task, "annotator": tuple(arguments.annotator)}
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
        skip_missing=arguments.skip_missing, quiet=arguments.quiet, command=["hlvbench", *argv],
        share=share_of(),
    )  # fmt: skip
    print(json.dumps({"adapters": str(out)}) if arguments.json else out)


def _plain(found: Mapping[str, Any]) -> str:
    lines = []
    for name, facts in found.items():
        lines.append(f"{name}: " + ", ".join(f"{k} {v}" for k, v in facts.items() if k != "shown"))
        for row in facts["shown"]:
            head = f"item {row['item']}" + (f", rejected by {row['rejected_by']}" if "rejected_by" in row else "")
            lines.append(
                f"  {head}"
                + (f" (item {row['rejected_item']})" if row.get("rejected_item", row["item"]) != row["item"] else "")
            )
            lines += [f"    {k}: {row[k]!r}" for k in ("answer", "chosen", "rejected") if k in row]
    return "\n".join(lines)
