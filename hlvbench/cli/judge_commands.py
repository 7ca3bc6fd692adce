"""The judge subcommand: who wrote the explanations of a run?"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..errors import HlvbenchError, UsageError
from ..judging.judge_settings import OF_A_MODEL, STYLOMETRIC, JudgeSettings, judge_settings, refuse_options_of_models
from .options import (
    Collect,
    add_common,
    add_model_job,
    add_settings,
    keep_paid_answers,
    print_result,
    service_from_options,
    task_folders,
)


def judge_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    text = f"{STYLOMETRIC} (default), a path or hub id, endpoint:MODEL, KIND:REST of another backend; repeatable"
    parser.add_argument("--judge", type=lambda judge: (judge,), default=(), action=Collect, metavar="J", help=text)
    add_settings(
        parser, JudgeSettings, "by view show shots orders max_new_tokens think revision dtype device model_arg "
        "trust_remote_code base_url", "the judge", show={"metavar": "label,input"}, base_url={"metavar": "URL"},
    )  # fmt: skip
    parser.add_argument("--rescore", action="store_true", help="only compute the results again, of all judges")
    parser.add_argument("--estimate", action="store_true", help="calls, tokens and price; asks no judge")
    parser.add_argument("--budget", type=float, metavar="USD", help="what all judges of the run may cost; a hard stop")
    parser.add_argument("--prices", type=Path, metavar="FILE.toml", help="US dollars per million tokens, by model")
    add_model_job(parser, "replies")
    add_common(parser, "data-dir tasks-dir seed json quiet")


def judge_command(arguments: argparse.Namespace) -> None:
    try:
        _judge(arguments)
    except HlvbenchError as error:
        # the option that names the model here
        raise type(error)(str(error).replace("--model ", "--judge ")) from error


def _judge(arguments: argparse.Namespace) -> None:
    from ..judging.judge_run import judge, judged_tasks, plan, rescore, write_agreement
    from ..judging.judge_table import json_rows, judged_text
    from ..results import refresh_report

    places, service = task_folders(arguments), service_from_options(arguments)
    judges = _judges(arguments)
    money = [f"--{name}" for name in ("budget", "prices") if getattr(arguments, name) is not None]
    if money and not any(settings.judge.startswith("endpoint:") for settings in judges):
        raise UsageError(f"{', '.join(money)}: only an endpoint's calls cost money; name it by --judge endpoint:MODEL")
    if arguments.estimate:
        found = [{"judge": s.judge, **row} for s in judges
                 for row in plan(arguments.run, s, **places, service=service, prices=arguments.prices)]  # fmt: skip
        print_result(arguments, found, _estimated(found))
        return
    if arguments.rescore:
        documents = rescore(arguments.run, judged_tasks(arguments.run, **places))
    else:
        documents = [
            document
            for settings in judges
            for document in judge(
                arguments.run, settings, **places, service=service, batch_size=arguments.batch_size,
                resume=not arguments.no_resume, quiet=arguments.quiet, budget=arguments.budget,
                prices=arguments.prices,
            )
        ]  # fmt: skip
    agreements = write_agreement(judged_tasks(arguments.run, **places))
    refresh_report(arguments.run)
    print_result(arguments, json_rows(documents), judged_text(documents, agreements))


def _judges(arguments: argparse.Namespace) -> list[JudgeSettings]:
    """The settings of every judge; all of them are validated before one is asked."""
    options = {f.name: getattr(arguments, f.name) for f in fields(JudgeSettings) if f.name != "judge"}
    names = list(dict.fromkeys(arguments.judge or (STYLOMETRIC,)))
    judges = []
    for name in names:
        own = dict(options)
        if len(names) > 1 and not name.startswith("endpoint:"):
            # beside an endpoint, its address is not meant for the others
            own["base_url"] = None
        if len(names) > 1 and name == STYLOMETRIC:
            # and what concerns a model not for the judge that has none
            own = {key: value for key, value in own.items() if key not in ("by", *OF_A_MODEL)}
        judges.append(judge_settings(judge=name, **own))
        refuse_options_of_models(judges[-1])
        files = sorted(arguments.run.glob(f"*/judge/{judges[-1].stem()}*.jsonl"))
        keep_paid_answers(arguments, name, files)
    return judges


def _estimated(rows: Sequence[Mapping[str, Any]]) -> str:
    from ..text import aligned

    counts = ("questions", "prompt_tokens", "new_tokens_at_most")
    prices = [row["usd"] for row in rows]
    total = {key: sum(row[key] for row in rows) for key in counts}
    total |= {"judge": "total", "task": "", "answers": "", "usd": None if None in prices else sum(prices)}
    table = [["judge", "task", "answers", "questions", "prompt tokens", "new tokens at most", "USD"]]
    for row in (*rows, total):
        table.append([row["judge"], row["task"], row["answers"], *(str(row[key]) for key in counts), _usd(row["usd"])])
    return aligned(table)


def _usd(value: float | None) -> str:
    return "no price known" if value is None else f"{value:.4f}"
