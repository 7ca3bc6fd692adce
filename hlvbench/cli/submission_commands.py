"""Results for others: submit, check, leaderboard."""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Sequence
from pathlib import Path

from ..errors import UsageError
from ..io import say
from .options import add_common, add_settings, print_result, settings_from_options, task_folders


def check_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("places", nargs="+", type=Path, metavar="DIR", help="submission folders")
    text = "if all is well, record [verified] and renew scores of an older release"
    parser.add_argument("--write", action="store_true", help=text)
    text = "not reviewed yet: [verified] or scores of another release are errors"
    parser.add_argument("--new", action="store_true", help=text)
    parser.add_argument("--no-rescore", action="store_true", help="do not score again, which takes a while")
    add_common(parser, "data-dir tasks-dir json quiet")


def leaderboard_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if leaderboard/ is not up to date")
    text = "folder of the submissions (default: %(default)s)"
    parser.add_argument("--submissions", type=Path, default=Path("submissions"), metavar="DIR", help=text)
    add_common(parser, "out json", "leaderboard")


def submit_options(parser: argparse.ArgumentParser) -> None:
    from ..submissions import SubmissionInfo

    parser.add_argument("run", type=Path, metavar="RUN", help="a finished, scored run folder")
    parser.add_argument("--name", required=True, help="of the folder: lower-case letters, digits, - and .")
    add_settings(
        parser, SubmissionInfo, "authors system method description links trained_on annotators lewidi contaminated "
        "training_note hardware hours usd date", links={"metavar": "KIND=URL"}, trained_on={"metavar": "SPLIT,..."},
        date={"type": _date, "metavar": "YYYY-MM-DD"},
    )  # fmt: skip
    text = "others cannot get the model"
    parser.add_argument("--not-distributed", dest="distributed", action="store_const", const=False, help=text)
    add_common(parser, "data-dir tasks-dir out json quiet", "submissions")


def _date(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a date as YYYY-MM-DD was expected, got {text!r}") from None


def submit_command(arguments: argparse.Namespace) -> None:
    from ..submissions import CheckContext, SubmissionInfo, submit

    folder, findings = submit(
        arguments.run,
        name=arguments.name,
        info=settings_from_options(SubmissionInfo, arguments),
        root=arguments.out,
        context=CheckContext(**task_folders(arguments)),
    )
    for finding in findings:
        say(finding, arguments.quiet or finding.level == "OK")
    print_result(arguments, {"submission": str(folder)}, folder)


def _each(places: Sequence[Path]) -> list[Path]:
    """The places, a folder of submissions replaced by what it holds."""
    found = []
    for place in places:
        inside = sorted(p.parent for p in place.glob("*/submission.toml"))
        found += inside if inside and not (place / "submission.toml").exists() else [place]
    return found


def check_command(arguments: argparse.Namespace) -> int:
    from ..submissions import CheckContext, check

    if arguments.write and arguments.no_rescore:
        raise UsageError("--write records what scoring again found; leave --no-rescore out")
    context, failed, results = CheckContext(**task_folders(arguments)), False, []
    for place in _each(arguments.places):
        say(f"checking {place}", arguments.quiet)
        findings = check(
            place,
            context=context,
            write=arguments.write,
            rescore=not arguments.no_rescore,
            from_submitter=arguments.new,
        )
        failed |= bool(findings.errors())
        results.append({"submission": str(place), "findings": [vars(f) for f in findings]})
        if not arguments.json:
            counts = [f"{sum(f.level == level for f in findings)} {level}" for level in ("OK", "WARN", "ERROR")]
            print("\n".join([f"{place}", *map(str, findings), f"{', '.join(counts)}\n"]), flush=True)
    if arguments.json:
        print(json.dumps(results, indent=1))
    return 1 if failed else 0


def leaderboard_command(arguments: argparse.Namespace) -> int:
    from ..leaderboard import build, stale

    out = arguments.out
    if arguments.check:
        differing = stale(arguments.submissions, out)
        for name, remedy in differing.items():
            say(f"{out / name} is not what {arguments.submissions}/ makes; {remedy}")
        if arguments.json:
            print(json.dumps({"stale": list(differing)}))
        return 1 if differing else 0
    files = build(arguments.submissions, out)
    print_result(arguments, [str(f) for f in files], "\n".join(map(str, files)))
    return 0
