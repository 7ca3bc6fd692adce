"""Results for others: submit, check, leaderboard."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from .options import Collect, Merge, add_common, pairs, print_result, words


def check_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("places", nargs="+", type=Path, metavar="DIR", help="submission folders")
    parser.add_argument("--write", action="store_true", help="record [verified] in submission.toml if all is well")
    parser.add_argument("--new", action="store_true", help="the submission is a submitter's: a [verified] is an error")
    parser.add_argument("--no-rescore", action="store_true", help="do not score again, which takes a while")
    add_common(parser, "data-dir tasks-dir json quiet")


def leaderboard_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if leaderboard/ is not up to date")
    text = "folder of the submissions (default: %(default)s)"
    parser.add_argument("--submissions", type=Path, default=Path("submissions"), metavar="DIR", help=text)
    add_common(parser, "out json", "leaderboard")


def submit_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="a finished, scored run folder")
    add("--name", required=True, help="of the folder: lower-case letters, digits, - and .")
    add("--authors", type=words, default=(), action=Collect, metavar="NAME,...", help="who made the system")
    add("--system", help="its name on the page (default: from the run)")
    add("--method", help="base, icl, vp, vp-icl, sft, capo, adapter or other (default: from the run)")
    add("--description", default="", help="of the system, in a sentence or two")
    text = "paper, code, model or homepage"
    add("--link", dest="links", type=pairs, default={}, action=Merge, metavar="KIND=URL", help=text)
    text = "splits that training read: train, dev, test, or none; needed with adapters or a local --model"
    add("--trained-on", type=words, action=Collect, metavar="SPLIT,...", help=text)
    add("--annotators", help="whose annotations training read (default with adapters: each its annotator's own)")
    add("--lewidi", action="store_true", help="training read LeWiDi data")
    add("--contaminated", action="store_true", help="the model may have seen test material: the row is marked")
    add("--training-note", default="", help="anything else that training read")
    add("--not-distributed", dest="distributed", action="store_const", const=False, help="others cannot get the model")
    add("--hardware", help="that the run took place on (default: the run's device)")
    add("--hours", type=float, help="of work of that hardware (default: the run's wall time)")
    add("--usd", type=float, help="what it cost")
    add("--date", type=datetime.date.fromisoformat, metavar="YYYY-MM-DD", help="of the submission (default: today)")
    add_common(parser, "data-dir tasks-dir out json quiet", "submissions")


def submit_command(arguments: argparse.Namespace) -> None:
    from ..submissions import CheckContext, SubmissionInfo, submit

    info = SubmissionInfo(**{field.name: getattr(arguments, field.name) for field in fields(SubmissionInfo)})
    folder, findings = submit(
        arguments.run,
        name=arguments.name,
        info=info,
        root=arguments.out,
        context=CheckContext(arguments.data_dir, arguments.tasks_dir),
    )
    for finding in findings:
        if finding.level != "OK" and not arguments.quiet:
            print(finding, file=sys.stderr)
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

    context, failed, results = CheckContext(arguments.data_dir, arguments.tasks_dir), False, []
    for place in _each(arguments.places):
        if not arguments.quiet:
            print(f"checking {place}", file=sys.stderr, flush=True)
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
            print(f"{out / name} is not what {arguments.submissions}/ makes; {remedy}", file=sys.stderr)
        if arguments.json:
            print(json.dumps({"stale": list(differing)}))
        return 1 if differing else 0
    files = build(arguments.submissions, out)
    print_result(arguments, [str(f) for f in files], "\n".join(map(str, files)))
    return 0
