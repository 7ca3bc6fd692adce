"""Subcommands around runs: compare, analyze, curve, audit, demo."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from ..errors import UsageError
from .options import add_common, tasks_of


def compare_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders; two or more")
    parser.add_argument("--table", action="store_true", help="only a Markdown table of the headline scores")
    add_common(parser, "json")
    parser.set_defaults(function=_compare)


def analyze_options(parser: argparse.ArgumentParser) -> None:
    add_common(parser, "task data-dir tasks-dir seed out json", out="(default: analysis)")
    parser.set_defaults(function=_analyze)


def curve_options(parser: argparse.ArgumentParser) -> None:
    text = "run folders that differ in --history; several of a method make a line"
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help=text)
    add_common(parser, "out json", out="(default: curve)")
    parser.set_defaults(function=_curve)


def audit_options(parser: argparse.ArgumentParser) -> None:
    add_common(parser, "task data-dir tasks-dir seed out json quiet", out="(default: audit)")
    parser.set_defaults(function=_audit)


def demo_options(parser: argparse.ArgumentParser) -> None:
    add_common(parser, "limit out quiet", limit="the first N items only (default: 40)", out="(default: demo)")
    parser.set_defaults(function=_demo)


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
