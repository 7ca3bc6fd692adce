"""What the repository cites is in it, and the page of the command line is complete."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

from hlvbench.cli import build_parser, subparsers

ROOT = Path(__file__).resolve().parents[2]
CITING = (
    "hlvbench/**/*.py",
    "hlvbench/leaderboard/*.json",
    "docs/*.md",
    "README.md",
    "CONTRIBUTING.md",
    "tasks/**/*",
    "tests/*.py",
)
WRITTEN = {
    "report.md": "of a run",
    "audit.md": "of `hlvbench audit`",
    "curve.md": "of `hlvbench curve`",
    "result.md": "of `hlvbench human-study score`",
}
"""Files that a program writes at run time: the base name -> whose they are."""
CITED = re.compile(r"(?<![\w*{}-])(?:[\w.-]+/)*[A-Za-z][\w.-]*\.md\b")
SUBCOMMANDS = subparsers(build_parser())
CLI = (ROOT / "docs" / "cli.md").read_text("utf-8")


def citations(text: str) -> set[str]:
    """Every NAME.md in a text, with the folders before it."""
    return {match.rstrip(".") for match in CITED.findall(text)}


def missing(name: str, citing: Path) -> bool:
    """Whether a cited file is neither in the repository's root, in docs/, nor beside the file that cites it."""
    return not any((folder / name).exists() for folder in (ROOT, ROOT / "docs", citing.parent))


def citing_files() -> list[Path]:
    found = set(chain.from_iterable(ROOT.glob(pattern) for pattern in CITING))
    return sorted(
        path
        for path in found
        if path.is_file()
        and path.suffix in (".py", ".md", ".toml", ".yaml", ".json", "")
        and path != Path(__file__).resolve()
    )


def test_citations_are_found_with_their_folders():
    text = "see `docs/a.md`, (b-c.md#d), x/E_F.md. Not *.md, .md, a.mdx"
    assert citations(text) == {"docs/a.md", "b-c.md", "x/E_F.md"}


def test_every_cited_document_is_in_the_repository():
    broken = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in citing_files()
        for name in sorted(citations(path.read_text("utf-8")))
        if Path(name).name not in WRITTEN and missing(name, path)
    ]
    assert broken == []


def test_the_page_of_the_command_line_names_every_subcommand_and_option():
    assert {s for s in SUBCOMMANDS if f"hlvbench {s}" not in CLI} == set()
    options = {o for p in SUBCOMMANDS.values() for a in p._actions for o in a.option_strings if o.startswith("--")}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", CLI))
    others = {"--version", "--include_path", "--include"}
    assert named - others <= options
    assert options <= named
