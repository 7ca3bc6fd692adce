"""The main job on what the package brings: the embedded model, its adapters for the built-in task, a table.

The adapters were trained by `hlvbench train sft --config smollm2-demo-sft --out hlvbench/demo_adapters`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from ..generation.run import read_scores, run
from ..io import say
from ..models.smollm2 import NAME, fetch_embedded
from ..results.markdown import COLUMNS, side_by_side_cells
from ..results.score_report import ScoreReport
from ..settings import Settings
from ..text import aligned

TASK, ITEMS = "demo", 40
ADAPTERS = Path(__file__).parents[1] / "demo_adapters"


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
        say(f"[{time.monotonic() - started:4.0f} s] {' '.join(command)}", quiet)
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


def closing_table(found: Mapping[str, ScoreReport]) -> str:
    """System -> its scores, as a plain-text table."""
    return aligned([["system", *COLUMNS], *([system, *side_by_side_cells(report)] for system, report in found.items())])
