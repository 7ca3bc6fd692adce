"""`hlvbench submit`: a finished run becomes a folder that others can check."""

from __future__ import annotations

import datetime
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from ..errors import DataError, RunError, UsageError, all_problems, validation_problems
from ..io import (
    dump_json,
    read_document,
    read_generations,
    read_json,
    read_toml,
    sha256_bytes,
    sha256_file,
    write_atomic,
)
from ..provenance import Manifest, TrainingManifest, trained_by
from ..results import side_by_side
from ..results.markdown import plain
from ..results.score_report import ScoreReport
from ..settings import answered_tasks, asked_by, read_settings
from ..types import Task
from .answers import to_generations
from .card import Card, base_of, in_future, is_baseline, publishes_dataset_text, to_toml
from .check import CheckContext, check_copies
from .folder import Findings, read_submission
from .safe_reading import CARD, GENERATIONS, MANIFEST, PROFILES, README, SCORES, SETTINGS, without_paths

TRAINED, RECORD = "train.toml", "hlvbench.json"
"""What training leaves beside an adapter: its configuration; a record of its task, annotator and base model."""
_OPTIONS = {"training.splits": "--trained-on", "links": "--link", "cost.usd": "--usd", "cost.hours": "--hours"}


@dataclass(frozen=True)
class SubmissionInfo:
    """What a run's own files cannot tell.

    Args:
        authors: who made the system; only a baseline needs none
        system: its name on the page (default: from the run)
        method: base, icl, vp, vp-icl, sft, capo, adapter or other (default: from the run)
        description: of the system, in a sentence or two
        links: paper, code, model or homepage; repeatable
        trained_on: splits that training read: train, dev, test, or none; needed with adapters or a local --model
        annotators: whose annotations training read (default with adapters: each its annotator's own)
        lewidi: training read LeWiDi data
        contaminated: the model may have seen test material: the row is marked
        training_note: anything else that training read
        distributed: whether others can get the model; None leaves it open
        hardware: that the run took place on (default: the run's device)
        hours: of work of that hardware (default: the run's wall time)
        usd: what it cost
        date: of the submission (default: today)
    """

    authors: tuple[str, ...] = ()
    system: str | None = None
    method: str | None = None
    description: str = ""
    links: Mapping[str, str] = field(default_factory=dict, metadata={"flag": "--link"})
    trained_on: tuple[str, ...] | None = None
    annotators: str | None = None
    lewidi: bool = False
    contaminated: bool = False
    training_note: str = ""
    distributed: bool | None = None
    hardware: str | None = None
    hours: float | None = None
    usd: float | None = None
    date: datetime.date | None = None


def submit(
    run: Path,
    *,
    name: str,
    info: SubmissionInfo,
    root: Path = Path("submissions"),
    context: CheckContext | None = None,
) -> tuple[Path, Findings]:
    """Write `root`/<YYYYMMDD>_<name>/ from a finished, scored run.

    The answers of most baselines are dataset text. Their submission is a recipe: it names the baseline and its seed
    instead of holding answers, and `check` makes the answers again.

    Args:
        run: The run folder.
        name: The submission's name: lower-case letters, digits, "-" and ".".
        info: What the run's files cannot tell.
        root: The folder that the submission's folder is written to.
        context: A CheckContext to reuse for several submissions; None makes one with the default folders.

    Returns:
        The submission's folder, and what was found on the way.

    Raises:
        RunError: If the run is not finished and scored, its texts are copies of human annotations, or the submission's
            folder exists.
        UsageError: If something in `info` is missing or wrong; all problems at once.
    """
    context, findings = context or CheckContext(), Findings()
    finished = _Run.read(run)
    card = _card(finished, name, info)
    target = root / card.folder
    if target.exists():
        raise RunError(f"{target} exists; choose another --name, or remove it")
    contents, overlap = _contents(finished, card, context, findings)
    hashes = {path: sha256_bytes(contents[path]) for path in sorted(contents)}
    card = card.model_copy(update={"files": hashes, "overlap": overlap})
    contents |= {README: _readme(card, finished.reports).encode(), CARD: to_toml(card).encode()}
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".submit-") as scratch:
        for path, content in contents.items():
            write_atomic(Path(scratch) / target.name / path, content)
        read_submission(Path(scratch) / target.name, findings)
        if findings.errors():
            raise RunError(all_problems(f"{run} cannot be submitted:", map(str, findings.errors())))
        (Path(scratch) / target.name).rename(target)
    return target, findings


@dataclass(frozen=True)
class _Run:
    """A finished run. reports: task -> scores; adapters: the root of its adapter folders."""

    folder: Path
    settings: dict[str, Any]
    manifest: dict[str, Any]
    reports: dict[str, ScoreReport]
    adapters: Path | None

    @classmethod
    def read(cls, folder: Path) -> _Run:
        absent = [n for n in (SETTINGS, MANIFEST) if not (folder / n).is_file()]
        if absent:
            raise RunError(f"{folder} is no finished run: {' and '.join(absent)} missing")
        settings, tasks = read_settings(folder), answered_tasks(folder)
        files = [f"{task}/{name}" for task in tasks for name in (GENERATIONS, SCORES)]
        if missing := [name for name in files if not (folder / name).is_file()]:
            heading = f"{folder} is not finished; the same command continues it, `hlvbench score` scores it:"
            raise RunError(all_problems(heading, missing))
        reports = {task: ScoreReport.read(folder / task / SCORES) for task in tasks}
        manifest = read_document(folder / MANIFEST, Manifest)
        if unknown := [task for task in tasks if "model" not in manifest["tasks"].get(task, {})]:
            raise RunError(f"{folder / MANIFEST}: names no model of {', '.join(unknown)}; restore it")
        adapters = Path(settings["adapter_dir"]).expanduser() if settings.get("adapter_dir") else None
        return cls(folder, settings, manifest, reports, adapters)

    def adapter_files(self, name: str) -> dict[str, Path]:
        """TASK/ANNOTATOR, ANNOTATOR or "shared" -> the file of this name in the folder of that adapter."""
        if (root := self.adapters) is None:
            return {}
        paths = sorted(path for depth in ("", "*/", "*/*/") for path in root.glob(f"{depth}{name}"))
        folders = {path.parent.relative_to(root): path for path in paths}
        # hidden folders hold unfinished trainings
        shown = {folder: p for folder, p in folders.items() if not any(part.startswith(".") for part in folder.parts)}
        return {folder.as_posix() if folder.parts else "shared": path for folder, path in shown.items()}

    @cached_property
    def training_records(self) -> dict[str, Any]:
        """Path in the submission -> content of every training configuration beside the adapters, and of the training's
        manifest, or of the record of an adapter without one."""
        return {
            f"train/{adapter}{path.suffix}": without_paths(
                read_toml(path) if path.suffix == ".toml" else read_json(path)
            )
            # the manifest comes last: it has the path of the record, and replaces it
            for name in (TRAINED, RECORD, MANIFEST)
            for adapter, path in self.adapter_files(name).items()
        }

    def commands(self) -> list[str]:
        """How the adapters and those they start from were trained, from the manifests, and how the run was made."""
        manifests = [read_document(path, TrainingManifest) for path in self.adapter_files(MANIFEST).values()]
        trained = [m.get(key) for key in ("start_command", "command") for m in manifests]
        commands = dict.fromkeys(shlex.join(without_paths(words)) for words in trained if words)
        return [*commands, shlex.join(_command(self.manifest["command"])) or "hlvbench run"]


def _card(run: _Run, name: str, info: SubmissionInfo) -> Card:
    """The card, without the hashes of files; UsageError with everything that the submitter must add or change."""
    settings, tasks = run.settings, run.manifest["tasks"]
    recorded, described = str(settings["model"]), next(iter(tasks.values()))["model"]
    model, baseline = without_paths(recorded), is_baseline(recorded)
    adapted = bool(settings.get("adapter_dir") or settings.get("model_map"))
    splits = [] if list(info.trained_on or ()) == ["none"] else list(info.trained_on or ())
    if baseline:
        method = "reference"
    elif adapted:
        trainers = {trainer for value in run.training_records.values() if (trainer := trained_by(value))}
        method = trainers.pop() if len(trainers) == 1 else "adapter"
    else:
        method = "other" if splits else settings["prompt"]
    method = info.method or method
    annotators = "none"
    if adapted and any(path.startswith("train/shared.") for path in run.training_records):
        annotators = "one adapter, all annotators' annotations"
    elif adapted:
        annotators = "each adapter its annotator's own annotations"
    problems = []
    if not info.authors and not baseline:
        problems.append("--authors: who made the system? names, comma-separated")
    if info.date and (why := in_future(info.date)):
        problems.append(f"--date {why}")
    if (adapted or _is_own_folder(described)) and not info.trained_on:
        problems.append("--trained-on: which splits did training read? train (dev or test mark the row), or none")
    if splits and not adapted and not info.annotators:
        problems.append("--annotators: whose annotations did training read?")
    adapters = [
        {"task": task, "annotator": annotator, "sha256": digest}
        for task in settings["task"]
        for annotator, digest in tasks[task]["model"].get("adapters", {}).items()
    ]
    values = {
        "format": 1,
        "name": name,
        "date": info.date or datetime.datetime.now(datetime.UTC).date(),
        "system": info.system or (model if baseline else f"{model}, {method}"),
        "method": method,
        "authors": list(info.authors) or ["hlvbench"],
        "recipe": recorded if publishes_dataset_text(recorded) else None,
        "seed": settings["seed"] if publishes_dataset_text(recorded) else None,
        "description": info.description,
        "links": dict(info.links),
        "base": None if baseline else {**base_of(described, model), "distributed": info.distributed},
        "asked": asked_by(settings),
        "training": {
            "annotators": info.annotators or annotators,
            "splits": splits,
            "lewidi": info.lewidi,
            "note": info.training_note,
            "contaminated": info.contaminated or None,
        },
        "cost": {
            "hardware": info.hardware or described.get("device"),
            "hours": round(run.manifest["wall_seconds"] / 3600, 3) if info.hours is None else info.hours,
            "usd": info.usd,
        },
        "reproduce": {"commands": run.commands()},
        "generations": {task: sha256_file(run.folder / task / GENERATIONS) for task in settings["task"]},
        "files": {},
        "adapters": adapters,
    }
    try:
        card = Card.model_validate(values)
    except ValidationError as error:
        problems += map(_as_option, validation_problems(error))
    if problems:
        raise UsageError(all_problems("a submission needs other options:", problems))
    return card


def _is_own_folder(described: Mapping[str, Any]) -> bool:
    """Whether a manifest's model is a local folder that may be fine-tuned: no download of the hub, not the embedded."""
    return "config_sha256" in described and not (described.get("revision") or described.get("source"))


def _as_option(problem: str) -> str:
    """A problem of the card under the name of the option that the value came from."""
    for place, option in _OPTIONS.items():
        if problem.startswith(place):
            return f"{option}{problem.removeprefix(place)}"
    return f"--{problem}"


def _command(words: Sequence[str]) -> list[str]:
    """A command without local paths and without what only says where results go and how much is printed."""
    kept, skip = [], False
    for word in without_paths(words):
        if skip or word in ("-q", "--quiet", "--debug"):
            skip = False
        elif word in ("--out", "--data-dir"):
            skip = True
        elif not word.startswith(("--out=", "--data-dir=")):
            kept.append(word)
    return kept


def _contents(
    run: _Run, card: Card, context: CheckContext, findings: Findings
) -> tuple[dict[str, bytes], dict[str, dict[str, int]]]:
    """Path -> bytes of every hashed file, and the counts of memorised text; what must not be published is left out."""
    shown, overlap = without_paths(run.settings), dict[str, dict[str, int]]()
    contents: dict[str, str | bytes] = {
        SETTINGS: dump_json(shown),
        MANIFEST: dump_json({**without_paths(run.manifest), "settings": shown}),
        **{p: dump_json(v) if p.endswith(".json") else tomli_w.dumps(v) for p, v in run.training_records.items()},
    }
    for name, report in run.reports.items():
        contents[f"{name}/{SCORES}"] = dump_json({**report.to_dict(), "system": without_paths(report.system)})
        task, where = context.task(name), f"{name}/{GENERATIONS}"
        if not card.recipe:
            contents[where] = (run.folder / where).read_bytes()
            if not isinstance(task, Task):
                findings.warn(where, f"not compared with the annotations: {task}")
            else:
                rows = to_generations([vars(row) for row in read_generations(run.folder / where)])
                if counts := check_copies(rows, where, task, context, findings):
                    overlap[name] = counts
        for file in [run.folder / name / PROFILES, *sorted((run.folder / name / "judge").glob("*.json*"))]:
            path = file.relative_to(run.folder).as_posix()
            if not file.is_file():
                continue
            try:
                private = card.recipe or (isinstance(task, Task) and context.holds_dataset_text(file, task))
            except DataError as error:
                findings.warn(path, f"left out: {error}")
                continue
            if private:
                findings.warn(path, "left out: it may hold dataset text")
            elif "/judge/" in path and file.suffix == ".json":
                contents[path] = dump_json(without_paths(read_json(file)))
            else:
                contents[path] = file.read_bytes()
    return {path: c.encode() if isinstance(c, str) else c for path, c in contents.items()}, overlap


def _readme(card: Card, reports: Mapping[str, ScoreReport]) -> str:
    """The submission on a page: what it is, how it was made and can be checked, its headline scores."""
    lines = [f"# {plain(card.system)}", "", *([plain(card.description), ""] if card.description else [])]
    lines += [f"By {plain(', '.join(card.authors))}. What training read, what it cost and every hash: `{CARD}`.", ""]
    if card.recipe:
        why = f"`{card.recipe}` answers with dataset text, which is not published"
        lines += [f"A recipe: {why}; `hlvbench check` makes its answers again where the data are at hand.", ""]
    for task, found in card.overlap.items():
        count, copies, stretches = found["answers"], found["train_copies"], found["dataset_text"]
        if copies or stretches:
            said = f"of {count} answers, {copies} equal a train or dev annotation and {stretches} hold a long stretch"
            lines += [f"Repeated text in {task}: {said} of dataset text.", ""]
    commands = [*card.reproduce.commands, f"hlvbench check submissions/{card.folder}"]
    table = side_by_side({card.system: list(reports.values())})
    return "\n".join([*lines, *(f"    {command}" for command in commands), "", table, ""])
