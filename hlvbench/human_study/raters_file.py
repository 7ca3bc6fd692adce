"""What the judges of `hlvbench judge` said about the same runs, for the table of attribution."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import HlvbenchError
from ..io import read_json


def judge_rows(key: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per run, task and judge found in RUN/<task>/judge/*.json, of all questions that the judge was asked.

    A file that is not a judge's result is named in a row without a value.
    """
    rows = []
    for system in key["systems"]:
        for task in key["tasks"]:
            files = sorted((Path(system["run"]) / task / "judge").glob("*.json"))
            for path in (p for p in files if not p.name.endswith(".plan.json")):
                row: dict[str, Any] = {"task": task, "system": system["name"], "judge": path.stem}
                rows.append(row | {"chance": None, "items": None, "raters": None} | _numbers(path))
    return rows


def _numbers(path: Path) -> dict[str, Any]:
    empty: dict[str, Any] = {"value": None, "low": None, "high": None, "n": 0}
    try:
        found = read_json(path)
        found = found[0] if isinstance(found, list) and found else found
        if not isinstance(found, dict) or "accuracy" not in found:
            return {**empty, "note": "not the result of a judge"}
    except HlvbenchError as error:
        return {**empty, "note": str(error)}
    out = {"value": found["accuracy"], **{name: found.get(name) for name in ("low", "high")}, "n": found.get("n", 0)}
    if not all(v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for v in out.values()):
        return {**empty, "note": "its numbers are no numbers"}
    chance = found.get("chance")
    extra = {"chance": chance} if isinstance(chance, int | float) and not isinstance(chance, bool) else {}
    return {**out, **extra, "judge": str(found.get("judge", path.stem)), "note": str(found.get("note") or "")}
