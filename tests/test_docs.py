"""The docs: they build without a warning, their worked numbers are the code's, their commands exist."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from hlvbench.cli import build_parser, subparsers
from hlvbench.metrics.grounding import chance_rank
from hlvbench.metrics.index import FACTORS, harmonic_index
from hlvbench.metrics.kappa import kappa

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
CONTRACT = {"train", "submit", "check", "leaderboard"}
"""Verbs of the command line's contract that a checkout may be without."""
METRICS = (ROOT / "docs" / "metrics.md").read_text("utf-8")


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    reference = (tmp_path / "site" / "api" / "index.html").read_text("utf-8")
    for name in (
        "hlvbench.api.score_texts",
        "hlvbench.types.Task",
        "hlvbench.models.Model",
        "hlvbench.integrations.model_card.card",
    ):
        assert f'id="{name}"' in reference


def test_every_page_is_in_the_navigation():
    named = [next(iter(entry.values())) for entry in yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]]
    assert sorted(named) == [page.name for page in PAGES]


def test_the_worked_numbers_are_those_of_the_code():
    # two columns that agree 7 times of 10, with 6 and 5 times "yes" (1): 4 times both, 3 times neither
    said, gave = np.array([1] * 6 + [0] * 4), np.array([1] * 4 + [0] * 2 + [1] + [0] * 3)
    assert kappa(said, gave, np.ones((1, 10)), None)[0] == pytest.approx(0.40)
    assert "κ = (.7 − .5) / (1 − .5) = .40" in METRICS
    assert chance_rank(4) == pytest.approx(0.521, abs=5e-4)
    assert "/ 4 = .521" in METRICS
    factors = {"a": 0.774, "b": 0.221, "c": 0.998, "d": 0.093}
    index = harmonic_index({name: np.array([value]) for name, value in factors.items()})[0]
    assert round(index, 3) == 0.228
    assert "1/.774 + 1/.221 + 1/.998 + 1/.093) = .228" in METRICS


def test_the_results_of_the_readme_are_those_of_the_leaderboard():
    board = json.loads((ROOT / "leaderboard" / "leaderboard.json").read_text("utf-8"))
    tables = {t["task"]: t["rows"] for t in board["tables"] if t["current"]}
    shown = set()
    for line in (ROOT / "README.md").read_text("utf-8").splitlines():
        if match := re.fullmatch(r"\| [^|]+ \|((?: [^|]+ \|){5})((?: [^|]+ \|){5})", line):
            if "**" not in line:
                continue
            cells = [[c.strip() for c in match[side].strip("|").split("|")] for side in (1, 2)]
            known = {n: _cells(tables["varierr@1"], n) + _cells(tables["r2@1"], n) for n in board["systems"]}
            (name,) = {n for n, row in known.items() if row == cells[0] + cells[1]} or {None}
            assert name, line
            shown.add(name)
    assert len(shown) >= 8


def _cells(rows, name):
    """A row's cells as the README shows them: the index with its interval, the four factors."""
    row = next((r for r in rows if r["submission"] == name), None)
    if row is None:
        return []
    index, factors = row["index"], [row["factors"][f]["value"] for f in FACTORS]
    if index["value"] is None:
        return []
    return [f"**{index['value']:.3f}** [{index['low']:.3f}, {index['high']:.3f}]",
            *(f"{value:.2f}".replace("-0.00", "0.00") for value in factors)]  # fmt: skip


def test_every_command_of_the_docs_exists():
    known = set(subparsers(build_parser())) | CONTRACT
    named = {verb for page in PAGES for verb in re.findall(r"^ {4}hlvbench ([a-z-]+)", page.read_text("utf-8"), re.M)}
    assert named
    assert named <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_option_of_our_commands_in_the_docs_exists(page):
    verbs = subparsers(build_parser())
    for line in page.read_text("utf-8").replace("\\\n", " ").splitlines():
        for command in re.findall(r"(?:^ {4}|`|\()hlvbench ([a-z][a-z-]+ [^`#)]*)", line):
            verb, *words = command.split()
            if verb not in verbs:
                continue
            options = {o for a in verbs[verb]._actions for o in a.option_strings}
            assert {w.partition("=")[0] for w in words if w.startswith("--")} <= options, command
