"""The human-study subcommand."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .options import add_verb, names_of, out_option, places_of


def add(verbs: Any) -> None:
    text = "rating sheets for people; agreement, preference and attribution from their ratings"
    study = add_verb(verbs, "human-study", _human_study, text, task=False)
    study.add_argument("step", choices=("export", "score"), help="export RUN [RUN ...], or score DIR")
    study.add_argument("places", nargs="+", type=Path, metavar="RUN|DIR", help="run folders; or the exported folder")
    sheets = study.add_argument_group("export")
    add_option = sheets.add_argument
    add_option("--task", help="comma-separated (default: all that every run has)")
    add_option("--samples", type=int, default=50, help="questions, each with every run's answer (default: %(default)s)")
    add_option("--raters", type=int, default=2, help="sheets to make (default: %(default)s)")
    add_option("--repeats", type=int, default=5, help="screens of each part asked twice (default: %(default)s)")
    add_option("--shots", type=int, default=5, help="records of each person that are shown (default: %(default)s)")
    out_option(study)


def _human_study(arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    _export(arguments) if arguments.step == "export" else _score_study(arguments)


def _export(arguments: argparse.Namespace) -> None:
    from ..human_study import export_study, export_text

    if arguments.limit is not None:
        raise UsageError("--limit does not go with human-study; --samples says how many questions are asked")
    found = export_study(
        arguments.places,
        arguments.out or Path("human-study"),
        samples=arguments.samples,
        raters=arguments.raters,
        repeats=arguments.repeats,
        shots=arguments.shots,
        seed=arguments.seed,
        tasks=names_of(arguments) if arguments.task else None,
        **places_of(arguments),
    )
    print(json.dumps(found, ensure_ascii=False) if arguments.json else export_text(found))


def _score_study(arguments: argparse.Namespace) -> None:
    from ..human_study import score_study, study_text

    if len(arguments.places) > 1:
        raise UsageError("human-study score takes one exported folder: hlvbench human-study score DIR")
    found = score_study(arguments.places[0])
    print(json.dumps(found, ensure_ascii=False) if arguments.json else study_text(found))
