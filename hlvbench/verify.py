"""`hlvbench verify RUN`: are two groups of m explanations by the same annotator? Measures beside people and blind."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .bootstrap import REPLICATES
from .data.task import load_tasks
from .embeddings import load_embedder
from .errors import RunError, UsageError
from .generation.run import SETTINGS
from .io import dump_json, read_generations, read_json, write_atomic
from .metrics import bind
from .metrics.verification import SIZES
from .results.markdown import aligned
from .results.rows import number, short, shown
from .results.scorecard import score_task
from .text import VIEWS

MEASURES = ("verification_auc", "verification_c1", "verification_f05u", "verification_brier")
RESULT = "verification.json"


def verify(
    run: Path,
    *,
    sizes: Sequence[int] = SIZES,
    reduce: str = "self",
    task: Sequence[str] | None = None,
    data_dir: Path | None = None,
    tasks_dir: Path | None = None,
    replicates: int = REPLICATES,
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """Score the verification of a run's answers, task by task: {"task", "split", "system", "missing", "scores"}.

    `scores` are rows as in scores.json, floor the blind reference, ceiling people. They are added to
    RUN/<task>/verification.json, where a row with the same signature is replaced.
    """
    if bad := [m for m in sizes if m < 1]:
        raise UsageError(f"--m {','.join(map(str, bad))}: groups hold 1 or more answers")
    if not (run / SETTINGS).exists():
        raise RunError(f"{run} is no run folder: it has no {SETTINGS}")
    settings = read_json(run / SETTINGS)
    names = list(task or settings["task"])
    if absent := [name for name in names if not (run / name / "generations.jsonl").exists()]:
        raise RunError(f"{run}: {', '.join(absent)} has no generations.jsonl; finish the run by the same command")
    wanted = [bind(name, view=v, reduce=reduce, m=m) for v in VIEWS for m in dict.fromkeys(sizes) for name in MEASURES]
    embedder, found = load_embedder(), []
    for one in load_tasks(names, data_dir, tasks_dir):
        if not quiet:
            print(f"verifying {one.name}", file=sys.stderr, flush=True)
        scored = score_task(
            one, read_generations(run / one.name / "generations.jsonl"), embedder, system=settings["model"],
            split=settings["split"], limit=settings["limit"], seed=settings["seed"], replicates=replicates,
            metrics=wanted, per_answer=False,
        )  # fmt: skip
        kept = ("task", "split", "system", "questions", "missing", "missing_reasons", "scores")
        document = {key: scored.document[key] for key in kept}
        _keep(run / one.name / RESULT, document)
        found.append(document)
    return found


def _keep(path: Path, document: Mapping[str, Any]) -> None:
    """Rows of other group sizes that are there stay."""
    before = read_json(path)["scores"] if path.exists() else []
    now = {row["signature"] for row in document["scores"]}
    rows = [row for row in before if row["signature"] not in now]
    write_atomic(path, dump_json({**document, "scores": [*rows, *document["scores"]]}))


def verify_text(documents: Sequence[Mapping[str, Any]]) -> str:
    """A plain table per task; blind is the floor, people the ceiling."""
    parts = []
    for document in documents:
        rows = [("metric", "value [95 % interval]", "blind", "people")]
        for score in document["scores"]:
            if score["annotator"] is None:
                rows.append((short(score), shown(score), number(score["floor"]), number(score["ceiling"])))
        what = f"{document['task']} {document['split']}: {document['system']}"
        missing = f"{document['questions']} questions, {document['missing']} missing"
        parts.append(f"{what}; {missing}\n{aligned(rows)}")
    return "\n\n".join(parts)
