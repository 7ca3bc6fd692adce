"""Who is trained, and whether there is something to learn for each: all that is missing is told before it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import AdapterError, ModelError, RunError, TaskError, UsageError, all_problems
from ..io import read_json, say
from ..metrics.predictions import Embedder
from ..models.adapters import CONFIG, WEIGHTS, AdapterPlan, Base, find_adapters, local_folder, others_of
from ..models.loading import identified
from ..types import Task
from .trainable_model import TrainableModel
from .training_config import LAST, Config
from .training_data import Job, TrainingData, annotations_of, preferences_of, training_data


@dataclass(frozen=True)
class Plan:
    """The jobs of a training; for CAPO the SFT adapters of all annotators whose answers are needed."""

    jobs: list[Job]
    base: Base
    starts: AdapterPlan | None

    def start_of(self, job: Job) -> Path | None:
        return self.starts.folders.get((job.task.name, job.annotators[0])) if self.starts else None


def make_plan(
    tasks: Sequence[Task], config: Config, out: Path, embedder: Embedder | None, skip_missing: bool, quiet: bool
) -> Plan:
    """One job per adapter. Annotators that cannot be trained are named, all at once, or skipped on request.

    `embedder` is needed where rejected texts come from nearest items.
    """
    base = identified(config.model, local_folder(config.model, "--model", config.revision, ModelError))
    named = _named_jobs(tasks, config, out)
    jobs = _trainable(named, {j.key: why for j in named if (why := _lack(j, config, embedder))}, skip_missing, quiet)
    if config.method == "sft":
        return Plan(jobs, base, None)
    starts = _starts(tasks, jobs, config, base, lenient=skip_missing)
    lacking = {j.key: "has no SFT adapter" for j in jobs if not config.shared and j.key not in starts.folders}
    return Plan(_trainable(jobs, lacking, skip_missing, quiet), base, starts)


def _trainable(
    jobs: Sequence[Job], lacking: Mapping[tuple[str, str], str], skip_missing: bool, quiet: bool
) -> list[Job]:
    problems = [f"{task}: annotator {who} {why}" for (task, who), why in lacking.items()]
    if problems and not skip_missing:
        raise TaskError(all_problems("these annotators cannot be trained (--skip-missing leaves them out):", problems))
    for line in problems:
        say(f"skipped: {line}", quiet)
    left = [job for job in jobs if job.key not in lacking]
    if not left:
        raise TaskError(all_problems("nobody is left to train:", problems))
    return left


def _named_jobs(tasks: Sequence[Task], config: Config, out: Path) -> list[Job]:
    """The jobs that the settings name; RunError where the folder holds adapters of the other shape."""
    for option, names in (("--annotator", config.annotator), ("--leave-out", config.leave_out)):
        if unknown := [a for a in names if not any(a in t.annotators for t in tasks)]:
            known = "; ".join(f"{t.name}: {', '.join(t.annotators)}" for t in tasks)
            raise UsageError(f"{option} {', '.join(unknown)}: no such annotator; there are {known}")
    if config.shared:
        if inside := [a for a in tasks[0].annotators if (out / tasks[0].name / a / WEIGHTS).exists()]:
            found = ", ".join(inside)
            raise RunError(f"{out} holds an adapter per annotator ({found}); choose another --out for --shared")
        return [Job(tasks[0], None, out if out.name not in ("", "..") else out.resolve())]
    if (out / WEIGHTS).exists():
        raise RunError(f"{out} is itself a shared adapter; choose another --out for an adapter per annotator")
    pairs = [(task, a) for task in tasks for a in task.annotators if not config.annotator or a in config.annotator]
    return [Job(task, annotator, out / task.name / annotator) for task, annotator in pairs]


def _lack(job: Job, config: Config, embedder: Embedder | None) -> str:
    """Why the annotations give nothing to learn, or ""."""
    if not annotations_of(job, config):
        return "has no train record" + (f" among the {config.train_items} items drawn" if config.train_items else "")
    if config.method == "sft" or preferences_of(job, config, embedder):
        return ""
    where = "the same" if config.rejected == "same" else "a nearest other"
    return f"has no preference pair: nobody else wrote another text on {where} train item under --pairs {config.pairs}"


def _starts(tasks: Sequence[Task], jobs: Sequence[Job], config: Config, base: Base, lenient: bool) -> AdapterPlan:
    """The SFT adapters to start from, checked as far as files tell; AdapterError with all that is wrong.

    Choosing a checkpoint needs the answers of all annotators of a task; `--select last` only those that are trained.
    lenient: who has no adapter is left out.
    """
    names = {t.name: t.annotators for t in tasks}
    plan = find_adapters(str(config.start), names, "--from", others_of(tasks))
    if config.select == LAST:
        trained = {(job.task.name, a) for job in jobs for a in job.annotators}
        plan.folders = {pair: folder for pair, folder in plan.folders.items() if pair in trained}
        plan.missing = {pair: why for pair, why in plan.missing.items() if pair in trained}
    if lenient:
        plan.missing.clear()
    if not (plan.folders or plan.problems or plan.missing):
        raise AdapterError(f"--from {config.start}: no adapter of {' or '.join(names)}")
    if plan.shared != config.shared:
        shape, remedy = ("one adapter", "add") if plan.shared else ("an adapter per annotator", "leave out")
        plan.problems.append(f"{config.start} holds {shape}: {remedy} --shared")
    for folder in plan.check_files(base, config.base_matches):
        if read_json(folder / CONFIG).get("peft_type") != "LORA":
            plan.problems.append(f"{folder}: is no LoRA adapter, and only these are trained here")
    plan.raise_problems()
    return plan


def data_of(
    jobs: Sequence[Job],
    trainable: TrainableModel,
    config: Config,
    embedder: Embedder | None,
    skip_missing: bool,
    quiet: bool,
) -> list[tuple[Job, TrainingData]]:
    """The jobs with what they learn from; how many examples are too long for the model is said of each."""
    found = {j.key: training_data(j, trainable.decoder, trainable.context, config, embedder) for j in jobs}
    positions = f"the {trainable.context} positions of {config.model}"
    for key, data in found.items():
        if data.rows and data.too_long:
            name, count = "/".join(key), len(data.source)
            say(f"{name}: {data.too_long} of {count} examples are longer than {positions} and are left out", quiet)
    lacking = {key: f"has no example that fits {positions}" for key, data in found.items() if not data.rows}
    return [(job, found[job.key]) for job in _trainable(jobs, lacking, skip_missing, quiet)]
