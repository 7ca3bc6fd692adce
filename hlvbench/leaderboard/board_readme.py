"""leaderboard/README.md: the tables for those who read the repository and not the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..metrics.index import FACTORS
from ..results.markdown import plain
from ..text import number
from .board_tables import REFERENCES, small_p, verdict


def readme(board: Mapping[str, Any]) -> str:
    """The current tables as Markdown."""
    lines = [
        "# Leaderboard", "",
        "Made from `submissions/` by `hlvbench leaderboard`; do not edit. `index.html` is the page, `leaderboard.json` "
        "its numbers, `schema.json` what they mean.", "",
        "vs nearest, vs guess: the paired p of a system against two cheap tricks, on the index. ▲ it beats the trick, "
        "▼ it is behind, = neither; \\~: p lies beyond what the replicates resolve.", "",
    ]  # fmt: skip
    tables = [*([board["overall"]] if board["overall"] else []), *(t for t in board["tables"] if t["current"])]
    for table in tables:
        index = table.get("metrics", {}).get("hlv_index", "hlv_index")
        by = f", ranked by `{index}`" if index != "hlv_index" else ""
        lines += [f"## {plain(table['title'])}", "", f"`{table['task']}`{by}", "", *_rows(table, board["systems"]), ""]
    return "\n".join(lines)


def _rows(table: Mapping[str, Any], systems: Mapping[str, Mapping[str, Any]]) -> list[str]:
    head = [
        "rank",
        "system",
        "hlv_index",
        *FACTORS,
        *(f"vs {shown}" for shown in REFERENCES),
        "index 1 (0.1)",
        "verified",
        "submission",
    ]
    lines = [f"| {' | '.join(head)} |",
             "|---:|---|---:|" + "---:|" * len(FACTORS) + "---|" * len(REFERENCES) + "---:|---|---|"]  # fmt: skip
    for row in table["rows"]:
        system = systems[row["submission"]]
        if system["role"] == "attack":
            continue
        index = row["index"]
        span = f" [{number(index['low'])}, {number(index['high'])}]" if index["low"] is not None else ""
        factors = [number(row["factors"].get(f, {"value": None})["value"], 2) for f in FACTORS]
        verified = system["verified"]["date"] if system["verified"] else "no"
        marks = ", ".join(map(plain, system["marks"]))
        name = plain(system["system"]) + (f" ({marks})" if marks else "")
        rank = row["rank"] or system["role"]
        against = [_against(row["against"].get(reference)) for reference in REFERENCES.values()]
        cells = [*factors, *against, number(row["index_1"])]
        lines.append(f"| {rank} | {name} | {number(index['value'])}{span} | {' | '.join(cells)} | "
                     f"{verified} | [{row['submission']}](../submissions/{row['submission']}) |")  # fmt: skip
    return lines


def _against(found: Mapping[str, Any] | None) -> str:
    return "" if found is None else plain(f"{verdict(found)[0]} {small_p(found)}")
