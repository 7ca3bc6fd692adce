"""What stands beside a run: compare, analyze, curve, audit, demo."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .options import add_verb, out_option, tasks_of


def add(verbs: Any) -> None:
    text = "runs side by side: paired differences, Holm, rank groups"
    compared = add_verb(verbs, "compare", _compare, text, task=False)
    compared.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders; two or more")
    compared.add_argument("--table", action="store_true", help="only a Markdown table of the headline scores")
    out_option(add_verb(verbs, "analyze", _analyze, "annotator agreement and detectability (m-curve), with plots"))
    text = "scores against how many train items of an annotator a method was shown (runs with --history), with a figure"
    drawn = add_verb(verbs, "curve", _curve, text, task=False)
    drawn.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders; several of a method make a line")
    out_option(drawn)
    audited = add_verb(verbs, "audit", _audit, "people, floors and attacks through every metric; 1 if a rule breaks")
    out_option(audited)
    demo = add_verb(
        verbs, "demo", _demo, "the main job with the embedded model and its adapters on the built-in task", task=False
    )
    out_option(demo)


def _compare(arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    from ..generation.run import read_scores
    from ..results import side_by_side
    from ..results.compare import compare, compare_text

    if arguments.table:
        if arguments.json:
            raise UsageError("--table prints Markdown and --json everything; give one of them")
        print(side_by_side({str(run): read_scores(run) for run in arguments.runs}))
        return
    found = compare(arguments.runs)
    print(json.dumps(found, ensure_ascii=False, indent=1) if arguments.json else compare_text(found))


def _analyze(arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    from ..analysis.annotators import analysis_text, analyze, write_analysis
    from ..embeddings import load_embedder

    found = {}
    for task in tasks_of(arguments):
        found[task.name] = analyze(task, load_embedder(), seed=arguments.seed)
        write_analysis(found[task.name], (arguments.out or Path("analysis")) / task.name)
    if arguments.json:
        print(json.dumps(found, ensure_ascii=False))
        return
    for name, result in found.items():
        print(analysis_text(result))
        print(f"\nplots: {(arguments.out or Path('analysis')) / name}\n")


def _curve(arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    from ..analysis.learning_curve import curve, curve_markdown, write_curve

    found = curve(arguments.runs)
    paths = write_curve(found, arguments.out or Path("curve"))
    print(json.dumps(found, ensure_ascii=False) if arguments.json else curve_markdown(found))
    if not arguments.json:
        print("\n".join(map(str, paths)))


def _audit(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    from ..analysis.audit import audit, audit_text, broken_rules, write_audit
    from ..embeddings import load_embedder

    found = audit(
        [task.asking() for task in tasks_of(arguments)], load_embedder(), seed=arguments.seed, quiet=arguments.quiet
    )
    write_audit(found, arguments.out or Path("audit"))
    print(json.dumps(found, ensure_ascii=False) if arguments.json else audit_text(found))
    return 1 if broken_rules(found) else 0


def _demo(arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    from .demo import ITEMS, run_demo

    print(run_demo(arguments.out or Path("demo"), arguments.limit or ITEMS, quiet=arguments.quiet))
