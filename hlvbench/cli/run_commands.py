"""Tasks and their data, and the main job: tasks, fetch, run, generate, score."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..processes import process_rank
from .options import add_verb, model_options, names_of, out_option, places_of, service_of, settings_of


def add(verbs: Any) -> None:
    text = "tasks, versions, splits, annotators, whether their data are at hand"
    listed = add_verb(verbs, "tasks", _tasks, text, task=False)
    listed.add_argument("--lm-eval-path", action="store_true", help="only the folder for lm-eval's --include_path")
    fetch = add_verb(verbs, "fetch", _fetch, "download the sources at their pinned revision, verify them", task=False)
    fetch.add_argument(
        "names", nargs="*", metavar="TASK|smollm2", help="default: every task that has a source to download"
    )
    model_options(add_verb(verbs, "run", _run, "generate + score + report: the main job"))
    only = add_verb(verbs, "generate", _generate, "only the raw text")
    model_options(only)
    only.add_argument(
        "--dry-run", action="store_true", help="questions, an example prompt, token counts, a time estimate; no run"
    )
    scored = add_verb(verbs, "score", _score, "(re-)score raw text; no model needed", task=False)
    scored.add_argument("place", type=Path, metavar="RUN|FILE", help="a run folder, or a bare generations.jsonl")
    scored.add_argument("--task", help="the one task of a bare file; of a run folder: only this one")
    scored.add_argument("--split", choices=("test", "dev", "train"))
    scored.add_argument(
        "--only-answered", action="store_true", help="leave questions without a row out, instead of counting them wrong"
    )
    out_option(scored)


def _tasks(arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    from ..data.task import builtin_tasks_dir, describe_tasks
    from ..models import smollm2 as embedded

    if arguments.lm_eval_path:
        print(builtin_tasks_dir() / "lm_eval")
        return
    rows = describe_tasks(arguments.data_dir, arguments.tasks_dir)
    if arguments.json:
        print(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    for row in rows:
        print(_task_line(row))
    source, folder = embedded.SOURCE, embedded.embedded_folder()
    where = f"here: {folder}" if folder.is_dir() else f"not here (hlvbench fetch {embedded.NAME})"
    print(f"\nmodel {embedded.NAME}  {source['name']} ({source['licence']})  {where}")


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


def _fetch(arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    from ..data.task import fetch
    from ..models.smollm2 import NAME, fetch_embedded

    def say(text: str) -> None:
        if not arguments.quiet:
            print(text, file=sys.stderr, flush=True)

    names = [name for name in arguments.names if name != NAME]
    found = fetch(names or None, tasks_dir=arguments.tasks_dir, say=say) if names or not arguments.names else {}
    if NAME in arguments.names:
        found[NAME] = (fetch_embedded(say),)
    if arguments.json:
        print(json.dumps({task: [str(path) for path in paths] for task, paths in found.items()}))
        return
    for task, paths in found.items():
        for path in paths:
            print(f"{task}: {path}")


def _job(arguments: argparse.Namespace, argv: Sequence[str]) -> dict[str, Any]:
    return {
        **places_of(arguments), "out": arguments.out, "batch_size": arguments.batch_size,
        "resume": not arguments.no_resume, "quiet": arguments.quiet, "command": ["hlvbench", *argv],
        "service": service_of(arguments),
    }  # fmt: skip


def _run(arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    from ..generation.run import run_process
    from ..judging.rank import rank_judge, ranks_judges

    process = process_rank()
    if ranks_judges(names_of(arguments)):
        if not process.alone:
            raise UsageError("tasks that rank judges (NAME/attribution) are asked by one process")
        _show_ranking(rank_judge(settings_of(arguments), **_job(arguments, argv)), arguments)
        return
    folder = run_process(settings_of(arguments), process, **_job(arguments, argv))
    if folder is not None:
        _show(folder, arguments)
    elif not arguments.quiet:
        text = f"process {process.rank} of {process.world}: its part is there; the last process to end scores the run"
        print(text, file=sys.stderr)


def _generate(arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    from ..generation.run import dry_run, generate

    if arguments.dry_run:
        found = dry_run(
            settings_of(arguments), **places_of(arguments), batch_size=arguments.batch_size,
            service=service_of(arguments),
        )  # fmt: skip
        print(json.dumps(found, ensure_ascii=False, indent=1) if arguments.json else _plain(found))
    else:
        process = process_rank()
        folder = generate(settings_of(arguments), **_job(arguments, argv), process=process)
        if process.rank == 0:
            print(json.dumps({"run": str(folder)}) if arguments.json else folder)


def _score(arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    from ..generation.run import score
    from ..judging.rank import is_ranking, score_ranking

    if is_ranking(arguments.place):
        _show_ranking(score_ranking(arguments.place, **places_of(arguments)), arguments)
        return
    folder = score(
        arguments.place, task=arguments.task, split=arguments.split, limit=arguments.limit, out=arguments.out,
        seed=arguments.seed, only_answered=arguments.only_answered, quiet=arguments.quiet, **places_of(arguments),
    )  # fmt: skip
    _show(folder, arguments)


def _show_ranking(folder: Path, arguments: argparse.Namespace) -> None:
    from ..judging.judge_table import ranked_text
    from ..judging.rank import read_rankings

    documents = read_rankings(folder)
    print(json.dumps(documents, ensure_ascii=False) if arguments.json else ranked_text(documents))


def _show(folder: Path, arguments: argparse.Namespace) -> None:
    from ..generation.run import read_scores
    from ..results import summary

    reports = read_scores(folder)
    found = [report.to_dict() for report in reports]
    print(json.dumps(found, ensure_ascii=False) if arguments.json else summary(reports))
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
