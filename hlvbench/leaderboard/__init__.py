"""The static page and tables from submissions/ and tasks/: a pure function of these folders."""

from __future__ import annotations

from pathlib import Path

from ..errors import RunError
from ..io import dump_json, write_files
from .board import make_board, read_all
from .board_page import page, readme
from .board_types import board_schema

__all__ = ["build", "make_board", "page", "read_all", "render", "stale"]


def render(submissions: Path) -> dict[str, str]:
    """File name -> content of everything below leaderboard/."""
    board = make_board(read_all(submissions))
    return {
        "index.html": page(board),
        "leaderboard.json": dump_json(board),
        "schema.json": dump_json(board_schema()),
        "README.md": readme(board),
    }


def build(submissions: Path = Path("submissions"), out: Path = Path("leaderboard")) -> list[Path]:
    """Write the leaderboard; returns its files.

    Raises:
        RunError: A submission is broken, or `out` holds other files than a leaderboard.
    """
    if out.is_dir() and any(out.iterdir()) and not (out / "leaderboard.json").exists():
        raise RunError(f"--out {out}: holds files and no leaderboard, whose README.md would take another's place")
    return write_files(out, render(submissions))


def stale(submissions: Path = Path("submissions"), out: Path = Path("leaderboard")) -> dict[str, str]:
    """File -> remedy, of everything in `out` that is not what `build` would write; hidden files are ignored."""
    files = render(submissions)
    there = {p.name: p for p in out.iterdir() if not p.name.startswith(".")} if out.is_dir() else {}
    wrong = {n for n, text in files.items() if n not in there or there[n].read_bytes() != text.encode()}
    again = dict.fromkeys(wrong, "run: hlvbench leaderboard, with the same options")
    return dict(sorted({**again, **dict.fromkeys(there.keys() - files.keys(), "remove it")}.items()))
