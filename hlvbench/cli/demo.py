"""The main job on what the package brings: the embedded model, its adapters for the built-in task, a table.

The adapters were trained by `hlvbench train sft --config smollm2-demo-sft --out hlvbench/demo_adapters`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..generation.run import read_scores, run
from ..models.smollm2 import NAME, fetch_embedded
from ..settings import Settings

TASK, ITEMS = "demo", 40
ADAPTERS = Path(__file__).parents[1] / "demo_adapters"
COLUMNS = {
    "label accuracy": "label_accuracy(multi=any)",
    "label kappa": "label_kappa",
    "grounding": "grounding_skill(view=norm",
    "NIS@10": "imitation_score(view=norm,reduce=self",
    "own gain": "own_gain(view=norm",
    "hlv_index": "hlv_index",
}
"""Column of the closing table -> how the metric's signature starts."""


def run_demo(out: Path, limit: int = ITEMS, quiet: bool = False) -> str:
    """Run the model with its adapters and three reference systems below `out`.

    Args:
        out: A folder per system; what is there already is not made again.
        limit: Items to ask about, four questions each.
        quiet: No progress.

    Returns:
        The closing table, and where the report lies.
    """
    started = time.monotonic()
    fetch_embedded()
    systems = {
        "smollm2 + adapters": Settings(
            NAME, (TASK,), str(ADAPTERS), answers="constrained", max_new_tokens=64, limit=limit
        ),
        "nearest": Settings("reference:nearest", (TASK,), limit=limit),
        "majority": Settings("reference:majority", (TASK,), limit=limit),
        "human": Settings("reference:human", (TASK,), limit=limit),
    }
    found = {}
    for name, settings in systems.items():
        folder = out / name.replace(" + ", "-")
        command = ["hlvbench", *_words(settings, folder)]
        if not quiet:
            print(f"[{time.monotonic() - started:4.0f} s] {' '.join(command)}", file=sys.stderr, flush=True)
        found[name] = read_scores(run(settings, out=folder, quiet=quiet, command=command))[0]
    report = out / "smollm2-adapters" / "report.html"
    return f"{closing_table(found)}\n\nreport: {report}\n{time.monotonic() - started:.0f} s in all"


def _words(settings: Settings, folder: Path) -> list[str]:
    """The command that does the same as the settings."""
    words = ["run", "--task", TASK, "--model", settings.model, "--limit", str(settings.limit), "--out", str(folder)]
    if settings.adapter_dir:
        words += ["--adapter-dir", settings.adapter_dir, "--answers", settings.answers]
        words += ["--max-new-tokens", str(settings.max_new_tokens)]
    return words


def closing_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """System -> scores.json document, as a plain-text table of `COLUMNS`."""
    width = max(map(len, ["system", *found])) + 2
    lines = ["".join(["system".ljust(width), *(f"{name:>16}" for name in COLUMNS)])]
    for system, document in found.items():
        overall = [s for s in document["scores"] if s["annotator"] is None]
        cells = [_value(overall, column, start) for column, start in COLUMNS.items()]
        lines.append("".join([system.ljust(width), *(f"{cell:>16}" for cell in cells)]))
    return "\n".join(lines)


def _value(scores: Sequence[Mapping[str, Any]], column: str, start: str) -> str:
    size = f"@{column.partition('@')[2]}" if "@" in column else ""
    rows = [s for s in scores if s["signature"].startswith(start) and s["metric"].endswith(size)]
    return f"{rows[0]['value']:.3f}" if rows and rows[0]["value"] is not None else "–"
