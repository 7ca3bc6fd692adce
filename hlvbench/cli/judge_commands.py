"""Who wrote it? The judge's verb, and the tasks that rank judges."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .options import Merge, add_verb, batch_size, pairs, places_of, service_of, service_options


def add(verbs: Any) -> None:
    text = "attribution: can a judge tell whose answers a run holds?"
    parser = add_verb(verbs, "judge", _judge, text, task=False)
    add_option = parser.add_argument
    add_option("run", type=Path, metavar="RUN", help="a run folder")
    add_option("--judge", action="append", metavar="J", help="stylometric (default), a path or hub id, endpoint:MODEL, "
               "KIND:REST of a registered backend; repeatable")  # fmt: skip
    add_option("--by", choices=("auto", "letters", "reply"), default="auto", help="local models: the likelihood of "
               "the letters (default) or a short reply")  # fmt: skip
    add_option("--view", choices=("auto", "raw", "norm"), default="auto", help="of the explanations (default: norm for "
               "stylometric, raw for judges that read)")  # fmt: skip
    add_option("--show", type=_words, default=(), metavar="label,input", help="what else of the texts is shown")
    add_option("--shots", type=int, default=5, metavar="N", help="references per person (default: %(default)s)")
    add_option("--orders", choices=("one", "all"), default="one", help="all: every cyclic shift of the letters")
    add_option("--max-new-tokens", type=int, default=16, help="of a reply (default: %(default)s)")
    add_option("--revision", help="of the judge on the hub")
    add_option("--batch-size", type=batch_size, default="auto")
    add_option("--device", default="auto")
    add_option("--dtype", choices=("auto", "float32", "bfloat16", "float16"), default="auto")
    add_option("--model-arg", type=pairs, default={}, action=Merge, metavar="KEY=VALUE",
               help="to from_pretrained; of an endpoint, a field of the request")  # fmt: skip
    add_option("--trust-remote-code", action="store_true")
    add_option("--think", action="store_true", help="let a local judge think before it replies")
    add_option("--no-resume", action="store_true", help="ask anew what is there")
    add_option("--rescore", action="store_true", help="only compute results again, of all judges; nobody is asked")
    add_option("--estimate", action="store_true", help="calls, tokens and price; asks nobody")
    add_option("--budget", type=float, metavar="USD", help="what all judges of the run may cost; a hard stop")
    add_option("--prices", type=Path, metavar="FILE.toml", help="US dollars per million tokens, by model")
    service_options(parser)


def _words(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (word.strip() for word in text.split(","))))


def _judge(arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    from ..judging.judge_run import judge, judged_tasks, plan, rescore, write_agreement
    from ..judging.judge_table import json_rows, judged_text
    from ..results import refresh_report

    if arguments.limit is not None:
        raise UsageError("--limit: a judge is asked about all answers of a run; make a run with that --limit")
    places, service = places_of(arguments), service_of(arguments)
    judges = _judges(arguments)
    if arguments.estimate:
        found = [{"judge": s.judge, **row} for s in judges
                 for row in plan(arguments.run, s, **places, service=service, prices=arguments.prices)]  # fmt: skip
        print(json.dumps(found) if arguments.json else _estimated(found))
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
    print(json.dumps(json_rows(documents)) if arguments.json else judged_text(documents, agreements))


def _judges(arguments: argparse.Namespace) -> list[Any]:
    """The settings of every judge asked for; what is wrong with any is told before one is asked."""
    from ..judging.judge_settings import STYLOMETRIC, judge_settings

    reading = {
        name: getattr(arguments, name)
        for name in ("by", "view", "show", "shots", "orders", "seed", "max_new_tokens", "base_url", "revision",
                     "dtype", "device", "think", "trust_remote_code", "model_arg")
    }  # fmt: skip
    names = list(dict.fromkeys(arguments.judge or [STYLOMETRIC]))
    several = len(names) > 1
    made = []
    for name in names:
        own = dict(reading)
        if several and not name.startswith("endpoint:"):
            # beside an endpoint, its address is not meant for the others
            own["base_url"] = None
        if several and name == STYLOMETRIC:
            own |= {"by": "auto", "show": (), "think": False}
        made.append(judge_settings(judge=name, **own))
    return made


def _estimated(rows: Sequence[Mapping[str, Any]]) -> str:
    from ..text import aligned

    table = [("judge", "task", "answers", "questions", "prompt tokens", "new tokens at most", "USD")]
    table += [
        (r["judge"], r["task"], r["answers"], str(r["questions"]), str(r["prompt_tokens"]),
         str(r["new_tokens_at_most"]), _usd(r["usd"]))
        for r in rows
    ]  # fmt: skip
    prices = [r["usd"] for r in rows]
    total = None if None in prices else sum(prices)
    table.append(("total", "", "", str(sum(r["questions"] for r in rows)), str(sum(r["prompt_tokens"] for r in rows)),
                  str(sum(r["new_tokens_at_most"] for r in rows)), _usd(total)))  # fmt: skip
    return aligned(table)


def _usd(value: float | None) -> str:
    return "no price known" if value is None else f"{value:.4f}"
