"""Command-line options: derived from the settings classes, common to several subcommands, or read from a file.

A settings class is the one definition of its options: the fields say name, type, choices and default, the `Args:`
section of the docstring says what they mean.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from ..errors import UsageError, all_problems
from ..io import read_toml
from ..settings import Service, Settings


def add_common(parser: argparse.ArgumentParser, names: str, default_out: str = "", **helps: str) -> None:
    """Add options of `COMMON`, and those that every subcommand has.

    Args:
        parser: The parser of a subcommand.
        names: The options, separated by spaces.
        default_out: The default of --out.
        helps: Option to another help text.
    """
    group = parser.add_argument_group("common options")
    for name in names.split():
        option = COMMON[name] | ({"help": helps[name]} if name in helps else {})
        if name == "out" and default_out:
            option |= {"default": Path(default_out), "help": f"{option['help']} (default: {default_out})"}
        group.add_argument(*(["-q"] if name == "quiet" else []), f"--{name}", **option)
    group.add_argument("--config", type=Path, metavar="FILE.toml", help="any of these options, from a file")
    group.add_argument("--debug", action="store_true", help="show tracebacks")


def add_settings(
    parser: argparse.ArgumentParser, settings: type, names: str, title: str = "", **changes: dict[str, Any]
) -> None:
    """Add options for the fields of a settings class.

    A field's text stands in the `Args:` section of the class's docstring or is the field's metadata `help`; metadata
    `flag` is another name of the option.

    Args:
        parser: The parser of a subcommand.
        settings: A dataclass with an `Args:` section in its docstring.
        names: The fields, separated by spaces.
        title: The title of the options' group in the help.
        changes: Field name to other arguments of `add_argument`.
    """
    group = parser.add_argument_group(title) if title else parser
    by_name = {f.name: f for f in fields(settings)}
    hints = get_type_hints(settings, include_extras=True)
    # settings of a judge share fields with those of its model
    meanings = described(Settings) | described(settings)
    for name in names.split():
        about = by_name[name].metadata
        option = _option(by_name[name], hints[name], about.get("help") or meanings.get(name, ""))
        flag = about.get("flag") or f"--{name.replace('_', '-')}"
        group.add_argument(flag, dest=name, **{**option, **changes.get(name, {})})


def described(settings: type) -> dict[str, str]:
    """Field name to its text in the `Args:` section of a class's docstring."""
    section = (inspect.getdoc(settings) or "").partition("Args:\n")[2].partition("\n\n")[0]
    entries = re.split(r"^ {4}(\w+): ", section, flags=re.M)[1:]
    return {name: " ".join(text.split()).rstrip(".") for name, text in zip(entries[::2], entries[1::2], strict=True)}


def _option(field: Field[Any], hint: Any, meaning: str) -> dict[str, Any]:
    """The arguments of `add_argument` for a field."""
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    option: dict[str, Any] = {"default": default, "help": meaning.replace("%", "%%")}
    kind, choices = _kind(hint)
    if default is MISSING:
        option = {"required": True, "help": option["help"]}
    elif kind is not bool and default not in (None, "", (), {}) and "default" not in meaning:
        shown = (
            ",".join(map(str, default)) if isinstance(default, tuple) else f"{default:g}" if kind is float else default
        )
        option["help"] += f" (default: {shown})"
    if kind is bool:
        return option | {"action": "store_true"}
    if kind is tuple:
        return option | {"type": words, "action": Collect, "metavar": "NAME,..."}
    if issubclass(kind, Mapping):
        return option | {"type": pairs, "action": Merge, "metavar": "KEY=VALUE"}
    if choices:
        return option | {"choices": choices}
    return option | {"type": kind, "metavar": {int: "N", float: "X"}.get(kind, field.name.upper())}


def _kind(hint: Any) -> tuple[Any, tuple[str, ...]]:
    """The type of a field without `None` and `Annotated`, and its choices if it has any."""
    origin = get_origin(hint)
    if origin is Annotated:
        kind, *metadata = get_args(hint)
        choices = next((get_args(extra) for extra in metadata if get_origin(extra) is Literal), ())
        return (str, choices) if choices else _kind(kind)
    if origin in (Union, types.UnionType):
        return _kind(next(arm for arm in get_args(hint) if arm is not type(None)))
    return (str, get_args(hint)) if origin is Literal else (origin or hint, ())


class Merge(argparse.Action):
    """A mapping; each use of the option adds to it."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, {**getattr(namespace, self.dest), **values})


class Collect(argparse.Action):
    """A tuple; the first use of the option replaces the default, and each further one adds to it."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, values if before is self.default else (*before, *values))


def words(text: str) -> tuple[str, ...]:
    """The parts of a comma-separated text."""
    return tuple(filter(None, (part.strip() for part in text.split(","))))


COMMON: dict[str, dict[str, Any]] = {
    "task": {
        "type": words,
        "action": Collect,
        "default": ("varierr", "r2"),
        "metavar": "NAME,...",
        "help": "tasks, comma-separated (default: varierr,r2)",
    },
    "data-dir": {"type": Path, "metavar": "DIR", "help": "local data (default: HLVBENCH_DATA, else the cache)"},
    "tasks-dir": {"type": Path, "metavar": "DIR", "help": "a folder with more tasks"},
    "seed": {"type": int, "default": 0, "metavar": "N", "help": "seed of all random draws (default: 0)"},
    "limit": {"type": int, "metavar": "N", "help": "the first N items only"},
    "out": {"type": Path, "metavar": "DIR", "help": "folder of the results"},
    "json": {"action": "store_true", "help": "machine-readable results on stdout"},
    "quiet": {"action": "store_true", "help": "no progress"},
}
"""Options of more than one subcommand; each subcommand offers those that it uses."""


def pairs(text: str) -> dict[str, str]:
    """KEY=VALUE[,KEY=VALUE...] as a mapping; other commas, and those in JSON strings, are part of a value."""
    parts = re.findall(r'(?:"(?:\\.|[^"\\])*"|,(?!,|$|[^,="]*=)|[^,])+', text)
    mapping = dict(part.partition("=")[::2] for part in parts)
    if not mapping or not all((*mapping, *mapping.values())):
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE[,KEY=VALUE...], got {text!r}")
    return mapping


def add_model_job(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the options of a subcommand that asks a model: batches, starting again, and calls of an endpoint."""
    text = "prompts per forward pass; auto chooses by itself (default: auto)"
    parser.add_argument("--batch-size", type=batch_size, default="auto", metavar="N", help=text)
    parser.add_argument("--no-resume", action="store_true", help=f"delete the {what} that exist and start again")
    parser.add_argument("--yes", action="store_true", help=f"with --no-resume: delete {what} of an endpoint, too")
    add_settings(parser, Service, "concurrency timeout retries requests_per_minute", "endpoint: models")


def keep_paid_answers(arguments: argparse.Namespace, model: str, files: Iterable[Path]) -> None:
    """Refuse --no-resume where it would delete answers of an endpoint, which may have cost money.

    Args:
        arguments: The parsed options.
        model: The model that is asked.
        files: The JSONL files that would be deleted, a line per answer.

    Raises:
        UsageError: --yes is missing; the message says what would be deleted.
    """
    if not arguments.no_resume or arguments.yes or not model.startswith("endpoint:"):
        return
    counts = {path: path.read_bytes().count(b"\n") for path in files}
    if total := sum(counts.values()):
        raise UsageError(all_problems(
            f"--no-resume would delete {total} answers of {model}; leave it out to keep them, or add --yes:",
            [f"{path}: {count} answers" for path, count in counts.items() if count],
        ))  # fmt: skip


def batch_size(text: str) -> int | str:
    """A positive number, or "auto"."""
    if text == "auto":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"auto or a whole number from 1, not {text!r}")
    return int(text)


def apply_config(parser: argparse.ArgumentParser, path: Path) -> None:
    """Make the options of a TOML file the defaults of a subcommand's parser: the command line wins over the file.

    Raises:
        UsageError: All unknown options, or all values that do not fit their options.
    """
    written = read_toml(path)
    options = {key.replace("_", "-"): value for key, value in written.items()}
    if len(options) < len(written):
        raise UsageError(f"{path}: an option stands there twice, once with - and once with _")
    actions = {
        name.lstrip("-"): action
        for action in parser._actions
        for name in action.option_strings
        if action.dest not in ("help", "config", "debug")
    }
    if unknown := sorted(set(options) - set(actions)):
        raise UsageError(all_problems(f"{path}: options that `{parser.prog}` does not have:", unknown))
    problems = []
    for key, value in options.items():
        try:
            actions[key].default, actions[key].required = _from_toml(parser, actions[key], value), False
        except (ValueError, argparse.ArgumentError) as error:
            problems.append(f"{key} = {value!r:.60}: {getattr(error, 'message', error)}")
    if problems:
        raise UsageError(all_problems(f"{path}: values that do not fit their options:", problems))


def _from_toml(parser: argparse.ArgumentParser, action: argparse.Action, value: Any) -> Any:
    """A value of a TOML file as the command line would read it."""
    if (action.nargs == 0) is not isinstance(value, bool):
        raise ValueError("true or false was expected" if action.nargs == 0 else "the option takes a value")
    if isinstance(value, bool):
        return action.const if value else action.default
    if isinstance(value, dict):
        if action.type is not pairs:
            raise ValueError("the option takes no table")
        return {key: str(entry).lower() if isinstance(entry, bool) else str(entry) for key, entry in value.items()}
    if isinstance(action, Collect):
        entries = value if isinstance(value, list) else [value]
        if not all(isinstance(entry, str) for entry in entries):
            raise ValueError("a list of texts was expected")
        return tuple(part for entry in entries for part in parser._get_values(action, [entry]))
    if isinstance(value, list):
        raise ValueError("the option takes no list")
    return parser._get_values(action, [str(value)])


def settings_from_options(settings: type, arguments: argparse.Namespace) -> Any:
    """A settings object from the parsed options; fields without an option have their default."""
    return settings(**{f.name: getattr(arguments, f.name) for f in fields(settings) if f.name in vars(arguments)})


def service_from_options(arguments: argparse.Namespace) -> Service:
    """How endpoints are called, checked even where none is."""
    service: Service = settings_from_options(Service, arguments)
    service.check()
    return service


def print_result(arguments: argparse.Namespace, result: Any, text: object) -> None:
    """Print a result, as JSON where --json asks for it."""
    print(json.dumps(result, ensure_ascii=False) if arguments.json else text)


def task_folders(arguments: argparse.Namespace) -> dict[str, Any]:
    """Where tasks and data are; an error for a named folder that is not there."""
    from ..data.task import local_data

    if arguments.data_dir is not None:  # HLVBENCH_DATA matters only where a task reads it
        local_data(arguments.data_dir)
    if arguments.tasks_dir is not None and not arguments.tasks_dir.is_dir():
        raise UsageError(f"--tasks-dir {arguments.tasks_dir}: no such folder")
    return {"data_dir": arguments.data_dir, "tasks_dir": arguments.tasks_dir}


def tasks_of(arguments: argparse.Namespace) -> Sequence[Any]:
    """The tasks named in --task, loaded."""
    from ..data.task import load_tasks

    if not arguments.task or len(set(arguments.task)) < len(arguments.task):
        raise UsageError(f"--task {','.join(arguments.task)}: one task or more was expected, each once")
    return load_tasks(arguments.task, **task_folders(arguments))
