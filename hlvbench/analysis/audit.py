"""Humans, references and attacks through every metric; the rules that keep the index from being bought (docs/metrics.md
section 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from .. import __version__
from ..baselines.baseline_registry import BASELINES, ROLES, Baseline, generations
from ..baselines.knowledge import Knowledge
from ..bootstrap import REPLICATES
from ..errors import UsageError
from ..io import dump_json, say, write_files
from ..metrics import Metric, bind_for
from ..metrics.index import FACTORS, factor_metrics, index_metric
from ..metrics.predictions import Embedder
from ..results.scorecard import score_task
from ..text import aligned, number, with_interval
from ..types import Task

LIMIT = 0.3
"""What the index of an attack without gold labels stays below."""
_EXACT = 1e-6
_SIZES = (1, 10, 50)

Row = Mapping[str, Any]
Result = Mapping[str, Any]

COLUMNS: Mapping[str, str] = {
    "index": "index", "decision": "label kappa", "grounding": "grounding skill", "imitation": "NIS@10 norm",
    "distinctness": "own_gain", "imitation_1_raw": "NIS@1 raw", "imitation_10_raw": "NIS@10 raw",
    "imitation_50_raw": "NIS@50 raw", "imitation_1_norm": "NIS@1 norm", "imitation_50_norm": "NIS@50 norm",
    "grounding_mrr": "grounding MRR", "own_match": "own_match skill", "c2st": "c2st", "copy": "copy rate",
    "support": "label support", "accuracy": "label accuracy",
}  # fmt: skip
"""Key of a score -> its head in tables. `imitation` is NIS@10 norm, which the index holds."""
_SHORT = ("index", *FACTORS, "imitation_1_norm", "imitation_50_norm", "own_match", "copy", "accuracy")


def audit_metrics(task: Task, embed: str) -> dict[str, Metric]:
    """The metrics of an audit by their keys in COLUMNS, as the task's scorecard binds them."""
    bound = partial(bind_for, task)
    found = {"index": index_metric(task, embed), **factor_metrics(embed, task=task)}
    for view in ("raw", "norm"):
        for m in _SIZES:
            key = "imitation" if (view, m) == ("norm", 10) else f"imitation_{m}_{view}"
            found[key] = bound("imitation_score", view=view, m=m, embed=embed)
    return {
        **found,
        "grounding_mrr": bound("grounding", view="raw"),
        "own_match": bound("own_match_skill", view="norm", embed=embed),
        "c2st": bound("c2st", view="norm"),
        "copy": bound("copy_rate"),
        "support": bound("label_support"),
        "accuracy": bound("label_accuracy"),
    }


def audit(
    tasks: Sequence[Task],
    embedder: Embedder,
    *,
    seed: int = 0,
    replicates: int = REPLICATES,
    split: str = "test",
    systems: Sequence[str] | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Score humans, references and attacks on each task and test the audit's rules.

    Args:
        tasks: The tasks.
        embedder: The sentence encoder.
        seed: Of the baselines and the item resampling.
        replicates: Number of resamples.
        split: The scored split.
        systems: Names of `BASELINES`; None takes all.
        quiet: No progress.

    Returns:
        {"hlvbench", "seed", "replicates", "limit", "tasks": {name: {"task", "split", "systems": [row], "largest"}}}.
        A row: name, kind, labels (where they come from), missing, scores {key of COLUMNS: {value, low, high, floor,
        note, signature}}, rule, broken (what breaks the rule, "" where it holds). largest: the tested system with the
        largest index, or None.

    Raises:
        UsageError: An unknown name in `systems`.
    """
    unknown = sorted(set(systems or ()) - set(BASELINES))
    if unknown:
        raise UsageError(f"no audit system {', '.join(unknown)}; there are {', '.join(BASELINES)}")
    chosen = [BASELINES[name] for name in systems or BASELINES]
    return {
        "hlvbench": __version__,
        "seed": seed,
        "replicates": replicates,
        "limit": LIMIT,
        "tasks": {task.name: _of_task(task, embedder, chosen, seed, replicates, split, quiet) for task in tasks},
    }


def _of_task(
    task: Task, embedder: Embedder, systems: Sequence[Baseline], seed: int, replicates: int, split: str, quiet: bool
) -> dict[str, Any]:
    known = Knowledge(task, split, embedder, seed)
    rows = []
    for position, system in enumerate(systems, start=1):
        say(f"audit {task.name}: {system.name} ({position}/{len(systems)})", quiet)
        rows.append(_row(task, known, system, seed, replicates, split))
    return {"task": f"{task.name}@{task.version}", "split": split, "systems": rows, "largest": _largest(rows)}


def _row(task: Task, known: Knowledge, system: Baseline, seed: int, replicates: int, split: str) -> dict[str, Any]:
    metrics = audit_metrics(task, known.embedder.name)
    report = score_task(
        task, generations(system, known), known.embedder, system=system.name, split=split, seed=seed,
        replicates=replicates, metrics=list(metrics.values()), per_answer=False,
    ).report  # fmt: skip
    kept = {"value", "low", "high", "floor", "note", "signature"}
    scores = {key: report.of(str(metric)).model_dump(include=kept) for key, metric in metrics.items()}
    row = {"name": system.name, "kind": system.kind, "labels": system.labels, "missing": report.missing}
    broken = _broken(system.kind, scores, task.index_without)
    return {**row, "scores": scores, "rule": ROLES[system.kind], "broken": broken}


def _broken(kind: str, scores: Mapping[str, Row], without: Sequence[str] = ()) -> str:
    """What breaks the kind's rule; empty where it holds, or where the index cannot be given."""
    value = scores["index"]["value"]
    if kind == "human":
        wrong = {k: scores[k]["value"] for k in ("index", *FACTORS)}
        off = [f"{COLUMNS[k]} {number(v)}" for k, v in wrong.items() if v is not None and abs(v - 1) > _EXACT]
        return f"{', '.join(off)}: must be 1" if off else ""
    if value is None or kind not in ("zero", "attack"):
        return ""
    if value >= LIMIT:
        return f"index {number(value)}: must be below {LIMIT}"
    # the index is 0 where a factor is, so a factor that may be 0 is an index that may be
    reaching = [scores[k]["low"] for k in ("index", *FACTORS) if k not in without]
    if kind == "zero" and value > 0 and all(low is not None and low > 0 for low in reaching):
        return f"index {with_interval(scores['index'])}: 0 must be within its interval"
    return ""


def _largest(rows: Sequence[Row]) -> dict[str, Any] | None:
    judged = [r for r in rows if r["kind"] in ("zero", "attack") and r["scores"]["index"]["value"] is not None]
    if not judged:
        return None
    best = max(judged, key=lambda r: r["scores"]["index"]["value"])
    return {"name": best["name"], "index": best["scores"]["index"]["value"]}


def broken_rules(result: Result) -> list[str]:
    """One line per broken rule: task, system, what was got and what must be. Empty: the audit holds."""
    return [
        f"{name}: {row['name']}: {row['broken']}"
        for name, task in result["tasks"].items()
        for row in task["systems"]
        if row["broken"]
    ]


def audit_text(result: Result) -> str:
    """A plain-text table per task for the terminal, and the verdict."""
    parts = []
    for task in result["tasks"].values():
        head = ["system", "kind", "labels", *(COLUMNS[k] for k in _SHORT), "rule"]
        rows = [
            [r["name"], r["kind"], r["labels"], *(number(r["scores"][k]["value"]) for k in _SHORT), _verdict(r)]
            for r in task["systems"]
        ]
        parts.append("\n".join([f"{task['task']} {task['split']}", aligned([head, *rows]), *_summary(task)]))
    broken = broken_rules(result)
    verdict = "\n".join(["rules broken:", *(f"  {line}" for line in broken)]) if broken else "every rule holds"
    return "\n\n".join([*parts, verdict])


def audit_markdown(task: Row) -> str:
    """One task of an audit as Markdown: verdicts, every score with its interval, signatures."""
    head = ["system", "kind", "labels", *COLUMNS.values(), "own_match shuffle floor", "rule"]
    lines = [f"# Audit of {task['task']}, {task['split']}", ""]
    lines += [f"- {kind}: {rule}" for kind, rule in ROLES.items()]
    lines += ["", "Values with their 95 % intervals. " + " ".join(_summary(task)), ""]
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in task["systems"]:
        scores = row["scores"]
        cells = [row["name"], row["kind"], row["labels"], *(with_interval(scores[k]) for k in COLUMNS)]
        cells += [number(scores["own_match"]["floor"]), row["broken"] or _verdict(row)]
        lines.append("| " + " | ".join(cells) + " |")
    if task["systems"]:
        lines += ["", "Signatures:", ""]
        lines += [f"- {COLUMNS[k]}: `{task['systems'][0]['scores'][k]['signature']}`" for k in COLUMNS]
    return "\n".join(lines) + "\n"


def write_audit(result: Result, out: Path) -> list[Path]:
    """Write OUT/<task>/audit.json and audit.md; returns the paths."""
    shared, files = {k: v for k, v in result.items() if k != "tasks"}, dict[str, str]()
    for name, task in result["tasks"].items():
        files |= {f"{name}/audit.json": dump_json({**shared, **task}), f"{name}/audit.md": audit_markdown(task)}
    return write_files(out, files)


def _summary(task: Row) -> list[str]:
    lines = []
    if task["largest"]:
        lines.append(f"Largest tested attack: {task['largest']['name']}, index {number(task['largest']['index'])}.")
    above = [
        f"{r['name']} {number(r['scores']['index']['value'])}"
        for r in task["systems"]
        if r["kind"] == "gold" and (r["scores"]["index"]["value"] or 0) >= LIMIT
    ]
    return [*lines, f"Reported, not tested, and not below {LIMIT}: {', '.join(above)}."] if above else lines


def _verdict(row: Row) -> str:
    if row["broken"]:
        return "BROKEN"
    if row["scores"]["index"]["value"] is None:
        return f"no index: {row['scores']['index']['note']}"
    return "not tested" if row["kind"] == "gold" else "holds"
