"""The command line: one verb per arrow of the data path (results on stdout, progress on stderr)."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from . import __version__
from .errors import HlvbenchError, UsageError, all_problems
from .settings import PROMPTS, SHOTS, Settings


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
    except KeyboardInterrupt:
        print("hlvbench: interrupted; the same command continues", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hlvbench",
        description="Can a model learn how one particular annotator decides and explains?",
        epilog="hlvbench VERB --help tells the options of a verb.",
    )
    parser.add_argument("--version", action="version", version=f"hlvbench {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _verb(verbs, "tasks", _tasks, "tasks, versions, splits, annotators, whether their data are at hand", task=False)
    fetch = _verb(verbs, "fetch", _fetch, "download the sources at their pinned revision, verify them", task=False)
    fetch.add_argument("names", nargs="*", metavar="TASK", help="default: every task that has a source to download")
    _model_options(_verb(verbs, "run", _run, "generate + score + report: the main job"))
    only = _verb(verbs, "generate", _generate, "only the raw text")
    _model_options(only)
    only.add_argument(
        "--dry-run", action="store_true", help="questions, an example prompt, token counts, a time estimate; no run"
    )
    scored = _verb(verbs, "score", _score, "(re-)score raw text; no model needed", task=False)
    scored.add_argument("place", type=Path, metavar="RUN|FILE", help="a run folder, or a bare generations.jsonl")
    scored.add_argument("--task", help="the one task of a bare file; of a run folder: only this one")
    scored.add_argument("--split", choices=("test", "dev", "train"))
    _out_option(scored)
    compared = _verb(verbs, "compare", _compare, "runs side by side: paired differences, Holm, rank groups", task=False)
    compared.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders; two or more")
    compared.add_argument("--table", action="store_true", help="only a Markdown table of the headline scores")
    _out_option(_verb(verbs, "analyze", _analyze, "annotator agreement and detectability (m-curve), with plots"))
    audited = _verb(verbs, "audit", _audit, "people, floors and attacks through every metric; 1 if a rule breaks")
    audited.add_argument("--strict", action="store_true", help="judge the attacks beyond METRICS.md section 9, too")
    _out_option(audited)
    demo = _verb(verbs, "demo", _demo, "the whole path on a built-in synthetic task, offline", task=False)
    _out_option(demo)
    return parser


def _verb(
    verbs: Any, name: str, function: Callable[..., int | None], text: str, task: bool = True
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text)
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


def _out_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, metavar="DIR", help="where results go")


def _model_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", required=True, help="a path or hub id; reference:NAME; replay:FILE")
    add("--adapter-dir", metavar="DIR", help="DIR/<task>/<Ann>/, DIR/<Ann>/, one shared adapter, or org/name[@rev]")
    add("--model-map", type=_pairs, default={}, metavar="Ann1=PATH,...", help="a whole model per annotator")
    add("--revision", help="of the model on the hub")
    add("--prompt", choices=PROMPTS, default="base")
    add("--shots", type=int, default=SHOTS, metavar="K", help="worked examples of icl, at most (default: %(default)s)")
    add("--shot-pick", choices=("random", "nearest"), default="random")
    add("--profile", choices=("counted", "model"), default="counted", help="who writes the value profile of vp")
    add("--split", choices=("test", "dev"), default="test")
    add("--samples", type=int, default=1, metavar="S", help="full sets of answers (default: %(default)s)")
    add("--temperature", type=float, default=0.0, help="0 is greedy (default)")
    add("--max-new-tokens", type=int, default=128)
    add("--batch-size", type=_batch_size, default="auto")
    add("--device", default="auto")
    add("--dtype", choices=("auto", "float32", "bfloat16", "float16"), default="auto")
    add("--model-arg", type=_pairs, default={}, action=_Merge, metavar="KEY=VALUE", help="to from_pretrained")
    add("--trust-remote-code", action="store_true")
    add("--think", action="store_true", help="let the model think; the thoughts are dropped and counted")
    add("--no-resume", action="store_true", help="start anew what is unfinished")
    _out_option(parser)


class _Merge(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, {**getattr(namespace, self.dest), **values})


def _pairs(text: str) -> dict[str, str]:
    found = dict(part.partition("=")[::2] for part in text.split(","))
    if not all(found) or not all(found.values()):
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE[,KEY=VALUE...], got {text!r}")
    return found


def _batch_size(text: str) -> int | str:
    if text == "auto":
        return text
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"auto or a whole number from 1, not {text!r}")
    return int(text)


def _with_config(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.ArgumentParser:
    """Options of a --config file become the verb's defaults: the command line wins over the file."""
    if not any(a == "--config" or a.startswith("--config=") for a in argv):
        return parser
    early = argparse.ArgumentParser(add_help=False)
    early.add_argument("--config", type=Path)
    path = early.parse_known_args(argv)[0].config
    if path is None:
        return parser
    given = _read_toml(path)
    verb = next((a for a in argv if a in _choices(parser)), None)
    if verb is None:
        return parser
    actions = {a.dest: a for a in _choices(parser)[verb]._actions}
    unknown = sorted(set(given) - set(actions))
    if unknown:
        raise UsageError(all_problems(f"{path}: options that `hlvbench {verb}` does not have:", unknown))
    for key, value in given.items():
        action = actions[key]
        if action.type is not None and not isinstance(value, Mapping):
            value = action.type(",".join(map(str, value)) if isinstance(value, list) else str(value))  # type: ignore[operator]
        if action.choices is not None and value not in action.choices:
            raise UsageError(f"{path}: {key} = {value!r} is not one of {', '.join(map(str, action.choices))}")
        action.default, action.required = value, False
    return parser


def _choices(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    found = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    choices: Mapping[str, argparse.ArgumentParser] = found.choices
    return choices


def _read_toml(path: Path) -> dict[str, Any]:
    import tomllib

    from .files import read_text

    try:
        found = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from None
    return {
        key.replace("-", "_"): ",".join(v) if key == "task" and isinstance(v, list) else v for key, v in found.items()
    }


def _settings(arguments: argparse.Namespace) -> Settings:
    given = {f.name: getattr(arguments, f.name) for f in fields(Settings)}
    given["task"] = _names(arguments)
    return Settings(**given)


def _names(arguments: argparse.Namespace) -> tuple[str, ...]:
    return tuple(filter(None, (t.strip() for t in arguments.task.split(","))))


def _places(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"data_dir": arguments.data_dir, "tasks_dir": arguments.tasks_dir}


def _tasks(arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    from .task import describe_tasks

    rows = describe_tasks(arguments.data_dir, arguments.tasks_dir)
    if arguments.json:
        print(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    for row in rows:
        print(_task_line(row))


def _task_line(row: Mapping[str, Any]) -> str:
    if row["problem"]:
        return f"{row['name']}  cannot be used: {row['problem']}"
    sizes = "/".join(str(row["splits"].get(s, 0)) for s in ("train", "dev", "test"))
    names = row["annotators"]
    shown = ", ".join(names) if len(names) <= 6 else f"{names[0]} … {names[-1]}"
    who = f"{len(names)} annotators ({shown})"
    return f"{row['name']}@{row['version']}  {row['kind']}  {sizes} items  {who}  data {row['data']}"


def _fetch(arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    from .task import fetch

    def say(text: str) -> None:
        if not arguments.quiet:
            print(text, file=sys.stderr, flush=True)

    found = fetch(arguments.names or None, tasks_dir=arguments.tasks_dir, say=say)
    if arguments.json:
        print(json.dumps({task: [str(path) for path in paths] for task, paths in found.items()}))
        return
    for task, paths in found.items():
        for path in paths:
            print(f"{task}: {path}")


def _job(arguments: argparse.Namespace, argv: Sequence[str]) -> dict[str, Any]:
    return {
        **_places(arguments), "out": arguments.out, "batch_size": arguments.batch_size,
        "resume": not arguments.no_resume, "quiet": arguments.quiet, "command": ["hlvbench", *argv],
    }  # fmt: skip


def _run(arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    from .run import run

    _show(run(_settings(arguments), **_job(arguments, argv)), arguments)


def _generate(arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    from .run import dry_run, generate

    if arguments.dry_run:
        found = dry_run(_settings(arguments), **_places(arguments), batch_size=arguments.batch_size)
        print(json.dumps(found, ensure_ascii=False, indent=1) if arguments.json else _plain(found))
    else:
        folder = generate(_settings(arguments), **_job(arguments, argv))
        print(json.dumps({"run": str(folder)}) if arguments.json else folder)


def _score(arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    from .run import score

    folder = score(
        arguments.place, task=arguments.task, split=arguments.split, limit=arguments.limit, out=arguments.out,
        seed=arguments.seed, quiet=arguments.quiet, **_places(arguments),
    )  # fmt: skip
    _show(folder, arguments)


def _compare(arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    from .compare import compare, compare_text
    from .report import side_by_side
    from .run import read_scores

    if arguments.table:
        print(side_by_side({str(run): read_scores(run) for run in arguments.runs}))
        return
    found = compare(arguments.runs)
    print(json.dumps(found, ensure_ascii=False, indent=1) if arguments.json else compare_text(found))


def _loaded(arguments: argparse.Namespace) -> Sequence[Any]:
    from .task import load_tasks

    return load_tasks(_names(arguments), **_places(arguments))


def _analyze(arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    from .analysis import analysis_text, analyze, write_analysis
    from .embed import load_embedder

    found = {}
    for task in _loaded(arguments):
        found[task.name] = analyze(task, load_embedder(), seed=arguments.seed)
        write_analysis(found[task.name], (arguments.out or Path("analysis")) / task.name)
    if arguments.json:
        print(json.dumps(found, ensure_ascii=False))
        return
    for name, result in found.items():
        print(analysis_text(result))
        print(f"\nplots: {(arguments.out or Path('analysis')) / name}\n")


def _audit(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    from .audit import audit, audit_text, broken_rules, write_audit
    from .embed import load_embedder

    found = audit(_loaded(arguments), load_embedder(), seed=arguments.seed, quiet=arguments.quiet)
    write_audit(found, arguments.out or Path("audit"))
    print(json.dumps(found, ensure_ascii=False) if arguments.json else audit_text(found))
    return 1 if broken_rules(found, strict=arguments.strict) else 0


def _demo(arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    from .demo import run_demo

    print(run_demo(arguments.out or Path("demo"), quiet=arguments.quiet))


def _show(folder: Path, arguments: argparse.Namespace) -> None:
    from .report import summary
    from .run import read_scores

    documents = read_scores(folder)
    print(json.dumps(documents, ensure_ascii=False) if arguments.json else summary(documents))
    if not arguments.json:
        print(f"\nreport: {folder / 'report.html'}")


def _plain(found: Mapping[str, Any]) -> str:
    lines = []
    for task, facts in found.items():
        lines.append(f"{task}:")
        lines += [f"  {key}: {value}" for key, value in facts.items() if key != "examples"]
        example = facts["examples"][0]
        lines += [f"  prompt of item {example['item']}, {example['annotator']}:"]
        lines += [f"    | {line}" for line in example["prompt"].splitlines()]
    return "\n".join(lines)
