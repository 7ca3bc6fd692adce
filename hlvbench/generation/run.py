"""The main job as Python functions: generate, score, run. The command line adds nothing but words."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..bootstrap import REPLICATES
from ..data.task import cut_history, load_tasks
from ..embeddings import load_embedder
from ..errors import RunError, UsageError, all_problems
from ..io import dump_json, dump_line, locked, read_generations, read_json, say, sha256_text, write_atomic
from ..models import Model
from ..processes import ALONE, ProcessRank
from ..provenance import MANIFEST, provenance, read_manifest
from ..results import write_report
from ..results.score_report import ScoreReport
from ..results.scorecard import score_task
from ..settings import SETTINGS, Service, Settings, answered_tasks, asked_by, read_settings
from ..types import Task
from .generate import finished_facts, plan_summary
from .generate import generate as generate_task
from .journal import refuse_other_settings
from .open_model import open_models
from .prompted_questions import make_prompter


def generate(
    settings: Settings,
    *,
    out: Path | None = None,
    data_dir: Path | None = None,
    tasks_dir: Path | None = None,
    batch_size: int | str = "auto",
    resume: bool = True,
    quiet: bool = False,
    command: Sequence[str] = (),
    service: Service | None = None,
    process: ProcessRank = ALONE,
) -> Path:
    """Write the raw text of every question below the run folder, which is returned; resumes by itself.

    Args:
        out: The run folder; by default below runs/, named by the settings.
        resume: False deletes the answers that are there, and their scores, and starts anew.
        command: For the manifest.
        service: How an endpoint is asked.
        process: Of several processes with the same arguments each takes its part of the batches; the files are those
            of one process, and are there when the last one has ended (`complete`).
    """
    settings.check()
    if not (resume or process.alone):
        raise UsageError("--no-resume by several processes would delete what the others made; remove the run folder")
    folder = out or Path("runs") / settings.folder()
    started = time.time()
    tasks = _load(settings, data_dir, tasks_dir)
    claim(folder, settings)
    models = open_models(settings, tasks, service)
    facts: dict[str, Any] = {}
    with begun(folder, settings, resume, process.alone):
        for task in tasks:
            model = models[task.name]
            if not (quiet or process.rank):
                _warn_of_format(task, model, settings)
            prompter = make_prompter(task, model, settings, folder / task.name)
            how: dict[str, Any] = {
                "resume": resume,
                "quiet": quiet or process.rank > 0,
                "process": process,
                "batch_size": batch_size,
            }
            questions = {**_questions(settings), "settings": asdict(settings)}
            generate_task(task, model, folder / task.name, prompter.content, **questions, **how)
            facts[task.name] = {
                "version": task.version,
                "data_sha256": dict(task.data_sha256),
                "shots_fewest": min(prompter.shots_given, default=None),
                "model": model.describe(),
            }
    with locked(folder / ".lock.last", wait=True):
        if complete(folder):
            facts = {name: known | _of_answers(folder / name) for name, known in facts.items()}
            if process.alone or not _recorded(folder, facts):
                write_manifest(folder, settings, facts, command, time.time() - started)
    return folder


def _questions(settings: Settings) -> dict[str, Any]:
    """Which questions a run asks, as `generate` and `plan_summary` take it."""
    which = {"split": settings.split, "limit": settings.limit, "samples": settings.samples}
    return {**which, "annotators": settings.annotator}


def _warn_of_format(task: Task, model: Model, settings: Settings) -> None:
    """Say once what to use where a base model is asked without an example of the format."""
    # `prompt.render` ends a prompt so where there is no chat template
    bare = model.prompt_text("?") == "?\n"
    if bare and settings.prompt == "base" and settings.answers == "free":
        text = (
            "has no chat template: under --prompt base it will hardly answer in the format; use --answers constrained"
        )
        say(f"{task.name}: {settings.model} {text}, or --prompt icl")


def complete(folder: Path) -> bool:
    """Whether every answer of a run is there; of several processes, the last one to end makes it so."""
    return all(finished_facts(folder / name) for name in read_settings(folder)["task"])


def _recorded(folder: Path, facts: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the manifest is that of these answers: several processes may see the last one come."""
    manifest, key = read_manifest(folder), "generations_sha256"
    there: Mapping[str, Any] = manifest["tasks"] if manifest else {}
    return {name: known.get(key) for name, known in there.items()} == {n: known[key] for n, known in facts.items()}


def _of_answers(folder: Path) -> dict[str, Any]:
    rows = read_generations(folder / "generations.jsonl")
    return {
        "prompts_sha256": sha256_text("".join(r.prompt_sha256 for r in rows)),
        "new_tokens": sum(r.new_tokens for r in rows),
        "cut_at_token_limit": sum(r.finish == "length" for r in rows),
        "ended_in_error": sum(r.finish == "error" for r in rows),
        **(finished_facts(folder) or {}),
    }


@contextmanager
def begun(folder: Path, settings: Settings, resume: bool, alone: bool = True) -> Iterator[None]:
    """Write the settings of a run that is about to ask, and delete what was computed from answers that it deletes.

    A run that fails before its first answer leaves nothing, so that the corrected command may use its folder. Profiles
    that a model wrote are kept: they may have cost money.
    """
    new = not (folder / SETTINGS).exists()
    write_atomic(folder / SETTINGS, dump_json(asdict(settings)))
    if not resume:
        _remove_scores(folder, settings.task)
    try:
        yield
    except BaseException:
        paid = settings.profile == "model" and any(folder.glob("*/profiles.json"))
        if new and alone and not paid and not any(folder.glob("**/generations*.jsonl")):
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _remove_scores(folder: Path, tasks: Sequence[str]) -> None:
    """Remove the scores, reports and judges' results; the judges' replies, which may have cost money, stay."""
    names = ("scores.json", "answers.jsonl", "annotators.csv", "judges.json")
    own = [folder / task / name for task in tasks for name in names]
    judged = [path for task in tasks for path in (folder / task / "judge").glob("*.json")]
    own += [path for path in judged if not path.name.endswith(".plan.json")]
    for path in (*own, folder / "report.md", folder / "report.html"):
        path.unlink(missing_ok=True)


def claim(folder: Path, settings: Settings) -> None:
    """Refuse a folder that holds anything but a run with these settings, naming every difference."""
    path = folder / SETTINGS
    if path.exists():
        heading = f"{folder} holds a run with other settings; choose another --out, or remove it:"
        refuse_other_settings(read_json(path), json.loads(json.dumps(asdict(settings))), heading)
    elif folder.exists() and any(not p.name.startswith(f".{SETTINGS}") for p in folder.iterdir()):
        # such a file is what another process of the same run is about to put in place
        raise RunError(f"{folder} exists and is not a run of hlvbench; choose another --out")


def _load(settings: Settings, data_dir: Path | None, tasks_dir: Path | None) -> tuple[Task, ...]:
    tasks = load_tasks(settings.task, data_dir, tasks_dir)
    without = [t.name for t in tasks if not t.splits.get(settings.split)]
    if without:
        raise UsageError(f"no items in split {settings.split!r} of {', '.join(without)}")
    for task in tasks:
        strange = [a for a in settings.annotator or () if not any(a in t.annotators for t in tasks)]
        if strange or (settings.annotator and not task.asked(settings.annotator)):
            names = ", ".join(strange or settings.annotator or ())
            raise UsageError(f"--annotator {names}: not of task {task.name}; there are {', '.join(task.annotators)}")
    return tuple(cut_history(task.asking(settings.annotator), settings.history, settings.seed) for task in tasks)


def dry_run(
    settings: Settings,
    *,
    data_dir: Path | None = None,
    tasks_dir: Path | None = None,
    batch_size: int | str = "auto",
    service: Service | None = None,
) -> dict[str, Any]:
    """`plan_summary` of each task of a run, by task name; answers one batch (an endpoint: none) and keeps nothing."""
    settings.check()
    tasks = _load(settings, data_dir, tasks_dir)
    models = open_models(settings, tasks, service)
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for task in tasks:
            model = models[task.name]
            prompter = make_prompter(task, model, settings, Path(scratch) / task.name)
            # a server may ask a price for an answer that nobody keeps
            how: dict[str, Any] = {"batch_size": batch_size, "time_one": not settings.model.startswith("endpoint:")}
            questions = {**_questions(settings), "max_new_tokens": settings.max_new_tokens}
            found[task.name] = plan_summary(task, model, prompter.content, **questions, **how)
    return found


def score(
    run_or_file: Path,
    *,
    task: str | None = None,
    split: str | None = None,
    limit: int | None = None,
    out: Path | None = None,
    data_dir: Path | None = None,
    tasks_dir: Path | None = None,
    seed: int = 0,
    replicates: int = REPLICATES,
    only_answered: bool = False,
    quiet: bool = False,
) -> Path:
    """Score a run folder in place, or a bare generations.jsonl.

    Args:
        run_or_file: The run folder or the file.
        task: The task of a file; of a run, the only task to score.
        split: The scored split; default: that of the run, else test.
        limit: Only its first `limit` items; default: that of the run.
        out: Where the scores go; default: the run folder, or beside the file.
        seed: Of the resampling, for a file; a run has its own.
        replicates: Number of resamples.
        only_answered: Leave out questions without a row instead of counting them as missing; signatures say `only:`.
        quiet: No progress.

    Returns:
        The folder of the scores.

    Raises:
        UsageError: There is no such run or file, or an option does not fit it.
        RunError: The run is unfinished, or its scores would be overwritten by others.
    """
    if not run_or_file.exists():
        raise UsageError(f"{run_or_file}: no such run folder or file")
    if limit is not None and limit < 1:
        raise UsageError(f"--limit: 1 or more was expected, got {limit}")
    if run_or_file.is_dir():
        if not (run_or_file / SETTINGS).exists():
            raise RunError(f"{run_or_file} is no run folder: it has no {SETTINGS}; a bare file needs --task")
        recorded = read_settings(run_or_file)
        held = {"split": recorded["split"], "limit": recorded["limit"]}
        asked: dict[str, Any] = {"split": split or held["split"], "limit": limit or held["limit"]}
        if out is None and (only_answered or asked != held):
            others = f"split {asked['split']}, limit {asked['limit']}{', only answered questions' * only_answered}"
            raise RunError(
                f"{run_or_file} holds scores of split {held['split']}, limit {held['limit']}, which others would "
                f"overwrite ({others}); give --out DIR"
            )
        if task is not None and task not in recorded["task"]:
            raise UsageError(f"--task {task}: {run_or_file} has no such task; it has {', '.join(recorded['task'])}")
        files = {name: run_or_file / name / "generations.jsonl" for name in ([task] if task else recorded["task"])}
        unfinished = [name for name, path in files.items() if not path.exists()]
        if unfinished:
            raise RunError(
                f"{run_or_file}: {', '.join(unfinished)} has no generations.jsonl; finish it by the same command"
            )
    else:
        if task is None or "," in task:
            raise UsageError(f"{run_or_file}: a bare generations file needs the name of its one task: --task NAME")
        files, recorded = {task: run_or_file}, {"model": run_or_file.stem, "seed": seed}
        asked = {"split": split or "test", "limit": limit}
    target = out or (run_or_file if run_or_file.is_dir() else run_or_file.parent)
    if out is not None and (out / SETTINGS).exists():
        raise RunError(f"--out {out}: is a run folder, whose own scores would be overwritten; choose another folder")
    _refuse_others(target, files, recorded["model"])
    embedder, reports, named = load_embedder(), [], recorded.get("annotator")
    loaded = load_tasks(list(files), data_dir, tasks_dir)
    for (name, path), one in zip(files.items(), loaded, strict=True):
        say(f"scoring {name}", quiet)  # the first scoring of new texts embeds them, which takes a while
        rows = read_generations(path)
        only = None
        if named:
            one = one.asking(named)
            only = set(one.questions(**asked, annotators=named))
        if only_answered:
            only = {(row.item, row.annotator) for row in rows}
        scored = score_task(
            one,
            rows,
            embedder,
            **asked,
            system=recorded["model"],
            only=only,
            seed=recorded["seed"],
            replicates=replicates,
            asked=asked_by(recorded),
        )
        write_atomic(target / name / "answers.jsonl", "".join(map(dump_line, scored.answers)))
        scored.report.write(target / name / "scores.json")
        reports.append(scored.report)
    # of a run the report shows every task, one that was not scored this time, too
    write_report(target, read_scores(target) if target == run_or_file else reports)
    return target


def _refuse_others(target: Path, files: Mapping[str, Path], system: str) -> None:
    """Refuse to overwrite another system's scores, such as those of another file in one folder."""
    paths = [path for task in files if (path := target / task / "scores.json").exists()]
    others = {path: str(document.get("system")) for path in paths if isinstance(document := read_json(path), dict)}
    if differing := [f"{path}: {other}, now {system}" for path, other in others.items() if other != system]:
        raise RunError(all_problems("scores of another system are there already; give another --out DIR:", differing))


def run(
    settings: Settings,
    *,
    out: Path | None = None,
    data_dir: Path | None = None,
    tasks_dir: Path | None = None,
    batch_size: int | str = "auto",
    resume: bool = True,
    quiet: bool = False,
    command: Sequence[str] = (),
    service: Service | None = None,
) -> Path:
    """Generate, score, report; returns the run folder."""
    places: dict[str, Any] = {"data_dir": data_dir, "tasks_dir": tasks_dir, "quiet": quiet}
    how: dict[str, Any] = {"batch_size": batch_size, "resume": resume, "command": command, "service": service}
    return score(generate(settings, out=out, **places, **how), **places)


def run_process(settings: Settings, process: ProcessRank, **options: Any) -> Path | None:
    """`run` as one of several processes with the same arguments (its options are those of `run`).

    One process scores, the last one to end, and gets the run folder; the others get None.
    """
    if process.alone:
        return run(settings, **options)
    folder = generate(settings, **options, process=process)
    with locked(folder / ".lock.last", wait=True):
        if not complete(folder) or _scored(folder):
            return None
        return score(folder, **{key: options[key] for key in ("data_dir", "tasks_dir", "quiet") if key in options})


def _scored(folder: Path) -> bool:
    """Whether every task's scores are younger than its answers."""
    pairs = [(folder / t / "scores.json", folder / t / "generations.jsonl") for t in read_settings(folder)["task"]]
    return all(s.exists() and s.stat().st_mtime_ns > g.stat().st_mtime_ns for s, g in pairs)


def read_scores(folder: Path) -> list[ScoreReport]:
    """The scores of a run, in the order of its tasks.

    Raises:
        RunError: The folder holds no scores.
    """
    names = [path.parent.name for path in sorted(folder.glob("*/scores.json"))]
    if (folder / SETTINGS).exists():
        names = [name for name in answered_tasks(folder) if name in names]
    if not names:
        raise RunError(f"{folder}: no scored run here; score it first: hlvbench score {folder}")
    return [ScoreReport.read(folder / name / "scores.json") for name in names]


def write_manifest(
    folder: Path, settings: Settings, facts: Mapping[str, Any], command: Sequence[str], seconds: float
) -> None:
    """The run's history: a resumed run adds its wall time to what was there."""
    earlier = read_manifest(folder)
    before = earlier["wall_seconds"] if earlier else 0.0
    manifest = {
        "command": list(command),
        "settings": asdict(settings),
        **provenance(),
        "wall_seconds": round(before + seconds, 1),
        "tasks": dict(facts),
    }
    write_atomic(folder / MANIFEST, dump_json(manifest))
