"""submissions/ -> the leaderboard as one document: tables, ranks, history. A function of those files alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import RunError, all_problems
from ..metrics import parse_metric
from ..metrics.index import FACTORS, factor_metrics
from ..results.compare import OVERALL, Part, part_of
from ..results.score_report import INDEX, ScoreReport
from ..submissions import Findings, Submission, read_submission
from ..submissions.card import role
from .board_rows import row_of
from .ranks import AGAINST, against, overall_parts, rank_groups
from .reported import REPORTED

FORMAT = 1
TITLES = {"varierr": "VariErr NLI", "r2": "R2 paraphrase"}
INDEX_1 = json.loads((Path(__file__).parent / "index_1.json").read_text("utf-8"))
"""Task -> submission -> the index that the releases 0.1 gave it; shown until release 0.3."""
Board = dict[str, Any]
MOST_ANNOTATORS = 5_000
"""The leaderboard reads without data; `check`, which knows the tasks, has held the sizes to their annotators."""


def read_all(root: Path) -> list[Submission]:
    """Every submission below `root`, by name; RunError with everything that is wrong with any of them."""
    if not root.is_dir():
        raise RunError(f"{root}: no such folder of submissions")
    found, problems = [], list[str]()
    for folder in sorted(p for p in root.iterdir() if not p.name.startswith(".")):
        if not folder.is_dir():
            if folder.name != "README.md":
                problems.append(f"{folder}: no folder of a submission")
            continue
        findings = Findings()
        submission = read_submission(folder, findings, MOST_ANNOTATORS)
        problems += [f"{folder.name}: {finding}" for finding in findings.errors()]
        if submission is not None:
            found.append(submission)
    if problems:
        raise RunError(
            all_problems("no leaderboard is made from broken submissions; hlvbench check tells more:", problems)
        )
    if not found:
        raise RunError(f"{root} holds no submission; hlvbench submit makes one")
    return found


def make_board(submissions: Sequence[Submission]) -> Board:
    """The leaderboard document, as schema.json describes it."""
    systems = {s.folder.name: _system(s) for s in submissions}
    grouped: dict[tuple[str, str], dict[str, tuple[ScoreReport, Sequence[Mapping[str, Any]]]]] = {}
    for submission in submissions:
        for task, document in submission.documents.items():
            report = ScoreReport.model_validate(document)
            member = report, submission.judges.get(task, ())
            grouped.setdefault((report.task, report.version), {})[submission.folder.name] = member
    newest = _newest(grouped)
    tables, parts = [], {}
    for key in sorted(grouped, key=lambda k: (_place(k[0]), k not in newest, _natural(k[0]), _natural(k[1]))):
        members = grouped[key]
        parts[key] = {name: part_of(report) for name, (report, _) in members.items()}
        rows = {name: row_of(report, judges) for name, (report, judges) in members.items()}
        tables.append(_table(key, key in newest, rows, parts[key], systems))
    chosen = [key for task in OVERALL for key in newest if key[0].rpartition("@")[0] == task]
    overall = None
    if len(chosen) == len(OVERALL):
        overall = _overall(overall_parts([parts[key] for key in chosen]), [_id(*key, True) for key in chosen], systems)
    board = {"format": FORMAT, "systems": systems, "overall": overall, "tables": tables, "reported": REPORTED}
    board["history"] = {
        table["id"]: _history(table["rows"], systems) for table in [*([overall] if overall else []), *tables]
    }
    return board


def _newest(keys: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of each task the newest version, as the newest hlvbench scored it."""
    best: dict[str, tuple[str, str]] = {}
    for key in sorted(keys, key=lambda k: (_natural(k[0]), _natural(k[1]))):
        best[key[0].rpartition("@")[0]] = key
    return list(best.values())


def _natural(text: str) -> list[tuple[int, str]]:
    """Numbers by value: 0.10 after 0.9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def _place(task: str) -> tuple[int, str]:
    name = task.rpartition("@")[0]
    return (OVERALL.index(name), "") if name in OVERALL else (len(OVERALL), name)


def _system(s: Submission) -> dict[str, Any]:
    """What a row says of its system, beside numbers."""
    card, base, training = s.card, s.card.get("base", {}), s.card["training"]
    verified = card.get("verified")
    return {
        "system": card["system"],
        "date": card["date"].isoformat(),
        "method": card["method"],
        "role": role(card, str(s.settings["model"])),
        "reference": _reference(str(s.settings["model"])) if card["method"] == "reference" else None,
        **_asked(s.settings, card["method"] == "reference"),
        "authors": list(card["authors"]),
        "description": card.get("description", ""),
        "links": dict(card.get("links", {})),
        "base": base.get("name"),
        "revision": base.get("revision"),
        "distributed": base.get("distributed"),
        "training": {"annotators": training["annotators"], "splits": list(training["splits"]),
                     "lewidi": training["lewidi"], "note": training.get("note", "")},
        "marks": _marks(card),
        "cost": dict(card.get("cost", {})),
        "commands": list(card["reproduce"]["commands"]),
        "recipe": card.get("recipe"),
        "overlap": {task: dict(counts) for task, counts in card.get("overlap", {}).items()},
        "verified": None if verified is None else {**verified, "date": verified["date"].isoformat()},
    }  # fmt: skip


def _asked(settings: Mapping[str, Any], is_reference: bool) -> dict[str, Any]:
    """How a system was asked; runs of 0.1 recorded neither, and knew one of each. References read no prompt."""
    if is_reference:
        return {"answers": None, "prompt_version": None}
    return {"answers": settings.get("answers", "free"), "prompt_version": settings.get("prompt_version", 1)}


def _reference(model: str) -> str | None:
    kind, _, name = model.partition(":")
    return name if kind == "reference" else None


def _marks(card: Mapping[str, Any]) -> list[str]:
    """What a reader must know before comparing."""
    training, found = card["training"], []
    if training.get("contaminated") or {"dev", "test"} & set(training["splits"]):
        found.append("contaminated")
    if training["lewidi"]:
        found.append("LeWiDi data")
    if card.get("base", {}).get("distributed") is False:
        found.append("not distributed")
    return found


def _table(
    key: tuple[str, str], newest: bool, rows: dict[str, dict[str, Any]], parts: Mapping[str, Part],
    systems: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    task, version = key
    name = task.rpartition("@")[0]
    return {
        "id": _id(task, version, newest),
        "task": task,
        "title": TITLES.get(name, name),
        "current": newest,
        "hlvbench": version,
        "metrics": {INDEX: _index_of(rows), **{f: m.short for f, m in factor_metrics().items()}},
        "rows": _ordered(rows, parts, systems, [task]),
    }


def _index_of(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The index of a task, with what it leaves out."""
    found = (parse_metric(s["metric"]) for row in rows.values() for s in row["scores"])
    without = next((dict(m.arguments)["without"] for m in found if m.name == INDEX), "")
    return f"{INDEX}(without={without})" if without else INDEX


def _ordered(
    rows: dict[str, dict[str, Any]], parts: Mapping[str, Part], systems: Mapping[str, Mapping[str, Any]],
    tasks: Sequence[str],
) -> list[dict[str, Any]]:  # fmt: skip
    """The rows by their index, each with its rank group and the comparison with the references."""
    ranks = rank_groups(parts, [n for n in rows if systems[n]["role"] == "system"])
    references: dict[str, str] = {}
    for name in rows:  # by folder, so by date: of two rows of one reference the first counts
        known = systems[name]["reference"]
        if known in AGAINST and systems[name]["role"] != "system":
            references.setdefault(known, name)
    out = [
        {
            "submission": name,
            "rank": ranks.get(name),
            "items": parts[name].items,
            **row,
            "index_1": _index_1(name, tasks),
            "against": against(parts, name, references) if systems[name]["role"] == "system" else {},
        }
        for name, row in rows.items()
    ]
    return sorted(out, key=lambda r: (r["index"]["value"] is None, -(r["index"]["value"] or 0.0), r["submission"]))


def _index_1(submission: str, tasks: Sequence[str]) -> float | None:
    """The mean over the tasks; None where one is not known."""
    kept = [INDEX_1.get(task, {}).get(submission) for task in tasks]
    return None if None in kept else round(sum(kept) / len(kept), 6)


def _id(task: str, version: str, newest: bool) -> str:
    """Of a table, fit for a link: varierr-1, an older one with the hlvbench version that scored it."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", task if newest else f"{task}-{version}")


def _overall(
    parts: Mapping[str, Part], of: Sequence[str], systems: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any] | None:
    """The mean over both tasks of the systems that have both."""
    rows = {}
    short = {f: m.short for f, m in factor_metrics().items()}
    for name, part in parts.items():
        rows[name] = {
            "index": _mean_ends(part, INDEX),
            "factors": {factor: _mean_ends(part, short[factor]) for factor in FACTORS},
            "missing": None,
        }
    if not rows:
        return None
    told = {"id": "overall", "task": f"mean of {' and '.join(OVERALL)}", "title": "Overall", "current": True}
    return {**told, "of": list(of), "rows": _ordered(rows, parts, systems, [f"{name}@1" for name in OVERALL])}


def _mean_ends(part: Part, name: str) -> dict[str, Any]:
    value = part.values.get(name)
    if value is None:
        return {"value": None, "low": None, "high": None, "note": "not on both tasks"}
    low, high = value.interval or (None, None)
    numbers = {"value": value.estimate, "low": low, "high": high}
    return {**{k: None if v is None else round(v, 6) for k, v in numbers.items()}, "note": ""}


def _history(rows: Sequence[Mapping[str, Any]], systems: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Ranked systems by date, each with the best index up to then."""
    dated = [
        (systems[r["submission"]]["date"], r["submission"], r["index"]["value"])
        for r in rows if systems[r["submission"]]["role"] == "system" and r["index"]["value"] is not None
    ]  # fmt: skip
    out, best = [], float("-inf")
    for date, name, value in sorted(dated):
        best = max(best, value)
        out.append({"date": date, "submission": name, "value": value, "best": best})
    return out
