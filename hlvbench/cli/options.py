"""What verbs share: their common options, and how these are read."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..settings import ANSWERS, PROMPTS, SHOTS, Service, Settings


def add_verb(
    verbs: Any, name: str, function: Callable[..., int | None], text: str, task: bool = True
) -> argparse.ArgumentParser:
    # an abbreviated option would be taken by the parser and missed by what reads --config before it
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text, allow_abbrev=False)
    parser.set_defaults(verb=function)
    common = parser.add_argument_group("common options")
    if task:
        common.add_argument("--task", default="varierr,r2", help="comma-separated (default: %(default)s)")
    common.add_argument("--data-dir", type=Path, help="local data (or HLVBENCH_DATA; default: the cache)")
    common.add_argument("--tasks-dir", type=Path, help="a folder with more tasks")
    common.add_argument("--seed", type=int, default=0)
    common.add_argument("--limit", type=int, metavar="N", help="the first N items only")
    common.add_argument("--json", action="store_true", help="machine-readable results on stdout")
    common.add_argument("--config", type=Path, metavar="FILE.toml", help="any of these options, in a file")
    common.add_argument("--debug", action="store_true", help="show tracebacks")
    common.add_argument("-q", "--quiet", action="store_true", help="no progress")
    return parser


def out_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, metavar="DIR", help="where results go")


def model_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", required=True, help="a path or hub id; endpoint:NAME; reference:NAME; replay:FILE")
    add("--adapter-dir", metavar="DIR", help="DIR/<task>/<Ann>/, DIR/<Ann>/, one shared adapter, or org/name[@rev]")
    add("--model-map", type=pairs, default={}, metavar="Ann1=PATH,...", help="a model (or served name) per annotator")
    base_matches_option(parser)
    add("--revision", help="of the model on the hub")
    add("--prompt", choices=PROMPTS, default="base")
    add("--answers", choices=ANSWERS, default="free",
        help="constrained: the likeliest allowed label, then an explanation of one line (default: free)")  # fmt: skip
    add("--history", type=int, metavar="N",
        help="show at most N train items of each annotator, drawn by seed (default: all)")  # fmt: skip
    add("--shots", type=int, default=SHOTS, metavar="K", help="worked examples of icl, at most (default: %(default)s)")
    add("--shot-pick", choices=("random", "nearest"), default="random")
    add("--profile", choices=("counted", "model"), default="counted", help="who writes the value profile of vp")
    add(
        "--annotator",
        action=Collect,
        default=[],
        metavar="A",
        help="only questions to this one (default: to all who are scored); may stand several times",
    )
    add("--split", choices=("test", "dev"), default="test")
    add("--samples", type=int, default=1, metavar="S", help="full sets of answers (default: %(default)s)")
    add("--temperature", type=float, default=0.0, help="0 is greedy (default)")
    add("--max-new-tokens", type=int, default=128)
    add("--batch-size", type=batch_size, default="auto")
    add("--device", default="auto")
    add("--dtype", choices=("auto", "float32", "bfloat16", "float16"), default="auto")
    add(
        "--model-arg",
        type=pairs,
        default={},
        action=Merge,
        metavar="KEY=VALUE",
        help="to from_pretrained; of an endpoint, a field of the request",
    )
    add("--trust-remote-code", action="store_true")
    add("--think", action="store_true", help="let the model think; the thoughts are dropped and counted")
    add("--no-resume", action="store_true", help="start anew what is unfinished")
    service_options(parser)
    out_option(parser)


def base_matches_option(parser: argparse.ArgumentParser) -> None:
    text = "the adapters' base is --model, whatever name or hash is recorded with them"
    # None and not False: what was recorded before this option existed is the same as without it
    parser.add_argument("--base-matches", action="store_true", default=None, help=text)


def service_options(parser: argparse.ArgumentParser) -> None:
    """Where an endpoint is and how it is asked; its key is read from OPENAI_API_KEY."""
    group, default = parser.add_argument_group("endpoint: models"), Service()
    group.add_argument("--base-url", metavar="URL", help="the server, e.g. http://localhost:8000/v1")
    group.add_argument("--concurrency", type=int, default=default.concurrency, metavar="N", help="calls at a time")
    group.add_argument("--timeout", type=float, default=default.timeout, metavar="SECONDS", help="of one call")
    group.add_argument("--retries", type=int, default=default.retries, metavar="N", help="after a failed call")
    group.add_argument("--requests-per-minute", type=float, metavar="N", help="at most (default: no limit)")


def service_of(arguments: argparse.Namespace) -> Service:
    return Service(**{f.name: getattr(arguments, f.name) for f in fields(Service)})


class Merge(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, {**getattr(namespace, self.dest), **values})


class Collect(argparse.Action):
    """A list, an entry per use of the option; the first use leaves the default (of a --config file) behind."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        there = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [values] if there is self.default else [*there, values])


def pairs(text: str) -> dict[str, str]:
    found = dict(part.partition("=")[::2] for part in text.split(","))
    if not all(found) or not all(found.values()):
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE[,KEY=VALUE...], got {text!r}")
    return found


def from_toml(action: argparse.Action, value: Any) -> Any:
    """The value that a --config file gives an option; ValueError, TypeError or ArgumentTypeError where it is none."""
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise ValueError("true or false was expected")
        return value
    if isinstance(value, bool):
        raise ValueError("the option takes a value, not true or false")
    if isinstance(action, Collect):
        entries = value if isinstance(value, list) else [value]
        if not all(isinstance(entry, str) for entry in entries):
            raise ValueError("a list of texts was expected")
        return entries
    if isinstance(value, Mapping):
        if action.type is not pairs:
            raise ValueError("the option takes no table")
        return {key: str(entry).lower() if isinstance(entry, bool) else str(entry) for key, entry in value.items()}
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    try:
        made = action.type(text) if callable(action.type) else value
    except ValueError:
        kind = {int: "a whole number", float: "a number"}.get(action.type, "another form")  # type: ignore[call-overload]
        raise ValueError(f"{kind} was expected") from None
    if action.choices is not None and made not in action.choices:
        raise ValueError(f"not one of {', '.join(map(str, action.choices))}")
    return made


def batch_size(text: str) -> int | str:
    if text == "auto":
        return text
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"auto or a whole number from 1, not {text!r}")
    return int(text)


def settings_of(arguments: argparse.Namespace) -> Settings:
    given = {f.name: getattr(arguments, f.name) for f in fields(Settings) if f.name != "prompt_version"}
    given |= {"task": names_of(arguments), "annotator": tuple(arguments.annotator) or None}
    return Settings(**given)


def names_of(arguments: argparse.Namespace) -> tuple[str, ...]:
    return tuple(filter(None, (t.strip() for t in arguments.task.split(","))))


def places_of(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"data_dir": arguments.data_dir, "tasks_dir": arguments.tasks_dir}


def tasks_of(arguments: argparse.Namespace) -> Sequence[Any]:
    from ..data.task import load_tasks

    return load_tasks(names_of(arguments), **places_of(arguments))
