"""The human-study subcommand."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import UsageError
from .options import Collect, add_common, print_result, task_folders, words


def human_study_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("step", choices=("export", "score"), help="export RUN [RUN ...], or score DIR")
    text = "run folders; or the exported folder"
    parser.add_argument("places", nargs="+", type=Path, metavar="RUN|DIR", help=text)
    group = parser.add_argument_group("export")
    for name, default, text in (
        ("samples", 50, "questions, each with every run's answer"),
        ("raters", 2, "sheets to make"),
        ("repeats", 5, "screens of each part asked twice"),
        ("shots", 5, "annotations of each annotator that are shown"),
    ):
        group.add_argument(f"--{name}", type=int, metavar="N", help=f"{text} (default: {default})")
    text = "tasks, comma-separated (default: all that every run has)"
    group.add_argument("--task", type=words, action=Collect, metavar="NAME,...", help=text)
    add_common(parser, "data-dir tasks-dir seed out json", "human-study", out="of export")


def human_study_command(arguments: argparse.Namespace) -> None:
    from ..human_study import export_study, export_text, score_study, study_text

    names = ("samples", "raters", "repeats", "shots", "task")
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    if arguments.step == "export":
        tasks = given.pop("task", None)
        found = export_study(
            arguments.places, arguments.out, **given, seed=arguments.seed, tasks=tasks, **task_folders(arguments)
        )
        print_result(arguments, found, export_text(found))
        return
    if given:
        raise UsageError(f"{', '.join(f'--{name}' for name in given)}: of human-study export; leave it out")
    if len(arguments.places) > 1:
        raise UsageError("human-study score takes one exported folder: hlvbench human-study score DIR")
    found = score_study(arguments.places[0])
    print_result(arguments, found, study_text(found))
