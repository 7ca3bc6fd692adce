"""Subcommands around runs: compare, analyze, curve, audit, demo."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import UsageError
from .options import add_common, print_result, tasks_of


def compare_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders; two or more")
    parser.add_argument("--table", action="store_true", help="only a Markdown table of the headline scores")
    add_common(parser, "json")


def analyze_options(parser: argparse.ArgumentParser) -> None:
    add_common(parser, "task data-dir tasks-dir seed out json", "analysis")


def curve_options(parser: argparse.ArgumentParser) -> None:
    text = "run folders that differ in --history; several of a method make a line"
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help=text)
    add_common(parser, "out json", "curve")


def audit_options(parser: argparse.ArgumentParser) -> None:
    add_common(parser, "task data-dir tasks-dir seed out json quiet", "audit")


def demo_options(parser: argparse.ArgumentParser) -> None:
    add_common(parser, "limit out quiet", "demo", limit="the first N items only (default: 40)")


def compare_command(arguments: argparse.Namespace) -> None:
    from ..generation.run import read_scores
    from ..results import side_by_side
    from ..results.compare import comparable, compare, compare_text

    if arguments.table:
        if arguments.json:
            raise UsageError("--table prints Markdown and --json everything; give one of them")
        comparable(arguments.runs, partial=True)
        print(side_by_side({str(run): read_scores(run) for run in arguments.runs}))
        return
    found = compare(arguments.runs)
    print_result(arguments, found, compare_text(found))


def analyze_command(arguments: argparse.Namespace) -> None:
    from ..analysis.annotators import analysis_text, analyze, write_analysis
    from ..embeddings import load_embedder

    tasks = tasks_of(arguments)
    found = {task.name: analyze(task, load_embedder(), seed=arguments.seed) for task in tasks}
    texts = (f"{analysis_text(own)}\n\nplots: {arguments.out / name}\n" for name, own in found.items())
    print_result(arguments, found, "\n".join(texts))
    for name, own in found.items():
        write_analysis(own, arguments.out / name)


def curve_command(arguments: argparse.Namespace) -> None:
    from ..analysis.learning_curve import curve, curve_markdown, write_curve

    found = curve(arguments.runs)
    paths = write_curve(found, arguments.out)
    print_result(arguments, found, "\n".join([curve_markdown(found), *map(str, paths)]))


def audit_command(arguments: argparse.Namespace) -> int:
    from ..analysis.audit import audit, audit_text, broken_rules, write_audit
    from ..embeddings import load_embedder

    tasks = [task.asking() for task in tasks_of(arguments)]
    # a place that cannot be written is told of before half an hour of work
    arguments.out.mkdir(parents=True, exist_ok=True)
    found = audit(tasks, load_embedder(), seed=arguments.seed, quiet=arguments.quiet)
    write_audit(found, arguments.out)
    print_result(arguments, found, audit_text(found))
    return 1 if broken_rules(found) else 0


def demo_command(arguments: argparse.Namespace) -> None:
    from .demo import ITEMS, run_demo

    print(run_demo(arguments.out, ITEMS if arguments.limit is None else arguments.limit, quiet=arguments.quiet))
