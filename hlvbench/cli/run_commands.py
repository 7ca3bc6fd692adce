"""Tasks and their data, and the main job: tasks, fetch, run, generate, score."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..io import say
from ..processes import process_rank
from ..settings import Settings
from .options import (
    add_common,
    add_model_job,
    add_settings,
    keep_paid_answers,
    print_result,
    service_from_options,
    settings_from_options,
    task_folders,
)


def tasks_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lm-eval-path", action="store_true", help="only the folder for lm-eval's --include_path")
    add_common(parser, "data-dir tasks-dir json")


def fetch_options(parser: argparse.ArgumentParser) -> None:
    text = "tasks, and smollm2, the embedded model (default: every task that has a source to download)"
    parser.add_argument("names", nargs="*", metavar="TASK|smollm2", help=text)
    add_common(parser, "tasks-dir json quiet")


def run_options(parser: argparse.ArgumentParser) -> None:
    _generation_options(parser)


def generate_options(parser: argparse.ArgumentParser) -> None:
    text = "questions, an example prompt, token counts, a time estimate; keeps no answer"
    parser.add_argument("--dry-run", action="store_true", help=text)
    _generation_options(parser)


def _generation_options(parser: argparse.ArgumentParser) -> None:
    add_settings(
        parser, Settings, "model adapter_dir base_matches model_map revision dtype device model_arg trust_remote_code "
        "base_url", "what answers", model_map={"metavar": "ANN=PATH,..."}, base_url={"metavar": "URL"},
        adapter_dir={"metavar": "DIR"}, base_matches={"default": None},
    )  # fmt: skip
    add_settings(
        parser, Settings, "prompt answers history shots shot_pick profile annotator split samples temperature "
        "max_new_tokens think", "how it is asked", annotator={"metavar": "ANN"},
    )  # fmt: skip
    add_model_job(parser, "answers")
    add_settings(parser, Settings, "task limit seed", "what is asked")
    text = "the run folder (default: runs/NAME, a function of the settings)"
    add_common(parser, "data-dir tasks-dir out json quiet", out=text)


def score_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("place", type=Path, metavar="RUN|FILE", help="a run folder, or a bare generations.jsonl")
    parser.add_argument("--task", metavar="NAME", help="the one task of a bare file; of a run folder: only this one")
    text = "whose items (default: the split of the run, else test)"
    parser.add_argument("--split", choices=("test", "dev", "train"), help=text)
    text = "leave questions without a row out, instead of counting them as missing"
    parser.add_argument("--only-answered", action="store_true", help=text)
    parser.add_argument("--seed", type=int, metavar="N", help="seed of resampling, for a bare file (default: 0)")
    add_common(parser, "limit data-dir tasks-dir out json quiet", out="folder of the scores (default: beside the text)")


def tasks_command(arguments: argparse.Namespace) -> None:
    from ..data.task import builtin_tasks_dir, describe_tasks
    from ..models import smollm2

    if arguments.lm_eval_path:
        print(builtin_tasks_dir() / "lm_eval")
        return
    rows = describe_tasks(**task_folders(arguments))
    source, folder = smollm2.SOURCE, smollm2.embedded_folder()
    where = f"here: {folder}" if folder.is_dir() else f"not here (hlvbench fetch {smollm2.NAME})"
    model = f"\nmodel {smollm2.NAME}  {source['name']} ({source['licence']})  {where}"
    print_result(arguments, rows, "\n".join([*map(_task_line, rows), model]))


def _task_line(row: Mapping[str, Any]) -> str:
    if row["problem"]:
        return f"{row['name']}  cannot be used: {row['problem']}"
    sizes = "/".join(str(row["splits"].get(s, 0)) for s in ("train", "dev", "test"))
    names = row["annotators"] or []
    shown = ", ".join(names) if len(names) <= 6 else f"{names[0]} … {names[-1]}"
    scored = ""
    if row.get("scored", len(names)) < len(names):
        scored = f", {row['scored']} of them scored (records of {row['min_records']} test items)"
    who = f"{len(names)} annotators ({shown}){scored}"
    much = f"{sizes} items  {who}" if names else "items and annotators as the data have them"
    licence = f"\n  licence: {row['licence']}" if row["licence"] else ""
    return f"{row['name']}@{row['version']}  {row['kind']}  {much}  data {row['data']}{licence}"


def fetch_command(arguments: argparse.Namespace) -> None:
    from ..data.task import fetch
    from ..models.smollm2 import NAME, fetch_embedded

    tell = partial(say, quiet=arguments.quiet)
    names = [name for name in arguments.names if name != NAME]
    found = fetch(names or None, tasks_dir=arguments.tasks_dir, tell=tell) if names or not arguments.names else {}
    if NAME in arguments.names:
        found[NAME] = (fetch_embedded(tell),)
    lines = [f"{task}: {path}" for task, paths in found.items() for path in paths]
    print_result(arguments, {task: [str(path) for path in paths] for task, paths in found.items()}, "\n".join(lines))


def _job(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        **task_folders(arguments), "out": arguments.out, "batch_size": arguments.batch_size,
        "resume": not arguments.no_resume, "quiet": arguments.quiet, "command": arguments.command,
        "service": service_from_options(arguments),
    }  # fmt: skip


def _settings(arguments: argparse.Namespace) -> Settings:
    """The settings of a run; refuses to delete answers that an endpoint was paid for."""
    settings: Settings = settings_from_options(Settings, arguments)
    folder = arguments.out or Path("runs") / settings.folder()
    keep_paid_answers(arguments, settings.model, sorted(folder.glob("**/generations*.jsonl")))
    return settings


def run_command(arguments: argparse.Namespace) -> None:
    from ..generation.run import run_process
    from ..judging.rank import rank_judge, ranks_judges

    process = process_rank()
    if ranks_judges(arguments.task):
        if not process.alone:
            raise UsageError("tasks that rank judges (NAME/attribution) are asked by one process")
        _show_ranking(rank_judge(_settings(arguments), **_job(arguments)), arguments)
        return
    folder = run_process(_settings(arguments), process, **_job(arguments))
    if folder is not None:
        _show(folder, arguments)
    else:
        text = f"process {process.rank} of {process.world}: its part is there; the last process to end scores the run"
        say(text, arguments.quiet)


def generate_command(arguments: argparse.Namespace) -> None:
    from ..generation.run import dry_run, generate

    if arguments.dry_run:
        found = dry_run(
            _settings(arguments), **task_folders(arguments), batch_size=arguments.batch_size,
            service=service_from_options(arguments),
        )  # fmt: skip
        print_result(arguments, found, _plain(found))
    else:
        process = process_rank()
        folder = generate(_settings(arguments), **_job(arguments), process=process)
        if process.rank == 0:
            print_result(arguments, {"run": str(folder)}, folder)


def score_command(arguments: argparse.Namespace) -> None:
    from ..generation.run import score
    from ..judging.rank import is_ranking, score_ranking

    if arguments.seed is not None and arguments.place.is_dir():
        raise UsageError(f"--seed {arguments.seed}: {arguments.place} is a run folder, which has its own seed")
    if is_ranking(arguments.place):
        unused = [f"--{n.replace('_', '-')}" for n in ("task", "split", "limit", "out", "only_answered")
                  if getattr(arguments, n)]  # fmt: skip
        if unused:
            raise UsageError(f"{', '.join(unused)}: {arguments.place} ranks judges, and is scored as it was asked")
        _show_ranking(score_ranking(arguments.place, **task_folders(arguments)), arguments)
        return
    folder = score(
        arguments.place, task=arguments.task, split=arguments.split, limit=arguments.limit, out=arguments.out,
        seed=arguments.seed or 0, only_answered=arguments.only_answered, quiet=arguments.quiet,
        **task_folders(arguments),
    )  # fmt: skip
    _show(folder, arguments)


def _show_ranking(folder: Path, arguments: argparse.Namespace) -> None:
    from ..judging.judge_table import ranked_text
    from ..judging.rank import read_rankings

    documents = read_rankings(folder)
    print_result(arguments, documents, ranked_text(documents))


def _show(folder: Path, arguments: argparse.Namespace) -> None:
    from ..generation.run import read_scores
    from ..results import summary

    reports = read_scores(folder)
    text = f"{summary(reports)}\n\nreport: {folder / 'report.html'}"
    print_result(arguments, [report.to_dict() for report in reports], text)


def _plain(found: Mapping[str, Any]) -> str:
    lines = []
    for task, facts in found.items():
        lines.append(f"{task}:")
        lines += [f"  {key}: {value}" for key, value in facts.items() if key != "examples"]
        example = facts["examples"][0]
        lines += [f"  prompt of item {example['item']}, {example['annotator']}:"]
        lines += [f"    | {line}" for line in example["prompt"].splitlines()]
    return "\n".join(lines)
