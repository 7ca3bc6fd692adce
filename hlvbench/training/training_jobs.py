"""Who is trained, and whether there is something to learn for everybody: what is lacking is told before it starts."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import AdapterError, ModelError, RunError, TaskError, UsageError, all_problems
from ..io import read_json
from ..metrics.predictions import Embedder
from ..models.adapters import CONFIG, WEIGHTS, AdapterPlan, Base, file_problems, find_adapters, local_folder, others_of
from ..models.loading import identified
from ..types import Task
from .methods import Job, Lesson, encoder_of, lesson_of, preferences_of, records_of
from .trainable_model import Bench
from .training_config import LAST, Config


@dataclass(frozen=True)
class Crew:
    """The jobs of a training; for capo the SFT adapters of everybody whose voice is needed."""

    jobs: list[Job]
    base: Base
    starts: AdapterPlan | None


def make_crew(
    tasks: Sequence[Task], config: Config, out: Path, embedder: Embedder | None, skip_missing: bool, quiet: bool
) -> Crew:
    """One job per adapter. Annotators that cannot be trained are named, all at once, or skipped on request.

    embedder: needed where rejected texts come from nearest items.
    """
    base = identified(config.model, local_folder(config.model, "--model", config.revision, ModelError))
    asked = _asked(tasks, config, out)
    lacking = {job.names: why for job in asked if (why := _lack(job, config, embedder))}
    jobs = _left(asked, lacking, skip_missing, quiet)
    if config.method == "sft":
        return Crew(jobs, base, None)
    starts = _starts(tasks, jobs, config, base, lenient=skip_missing)
    lacking = {j.names: "has no SFT adapter" for j in jobs if not config.shared and j.names not in starts.folders}
    return Crew(_left(jobs, lacking, skip_missing, quiet), base, starts)


def _left(jobs: Sequence[Job], lacking: Mapping[tuple[str, str], str], skip_missing: bool, quiet: bool) -> list[Job]:
    told = [f"{task}: annotator {who} {why}" for (task, who), why in lacking.items()]
    if told and not skip_missing:
        raise TaskError(all_problems("these annotators cannot be trained (--skip-missing leaves them out):", told))
    for line in told:
        say(f"skipped: {line}", quiet)
    left = [job for job in jobs if job.names not in lacking]
    if not left:
        raise TaskError(all_problems("nobody is left to train:", told))
    return left


def _asked(tasks: Sequence[Task], config: Config, out: Path) -> list[Job]:
    """The jobs that the settings name; RunError where the folder holds adapters of the other shape."""
    for option, names in (("--annotator", config.annotator), ("--leave-out", config.leave_out)):
        if unknown := [a for a in names if not any(a in t.annotators for t in tasks)]:
            known = "; ".join(f"{t.name}: {', '.join(t.annotators)}" for t in tasks)
            raise UsageError(f"{option} {', '.join(unknown)}: no such annotator; there are {known}")
    if config.shared:
        place = out if out.name not in ("", "..") else out.resolve()
        inside = [a for a in tasks[0].annotators if (out / tasks[0].name / a / WEIGHTS).exists()]
        if inside:
            raise RunError(f"{out} holds an adapter per annotator ({', '.join(inside)}); choose another --out for one "
                           "that is --shared")  # fmt: skip
        return [Job(tasks[0], None, place)]
    if (out / WEIGHTS).exists():
        raise RunError(f"{out} is itself a shared adapter; choose another --out for an adapter per annotator")
    return [
        Job(task, annotator, out / task.name / annotator)
        for task in tasks for annotator in task.annotators
        if not config.annotator or annotator in config.annotator
    ]  # fmt: skip


def _lack(job: Job, config: Config, embedder: Embedder | None) -> str:
    """Why the records give nothing to learn, or ""."""
    if not records_of(job, config):
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
    trained = {(job.task.name, a) for job in jobs for a in job.annotators}
    if config.select == LAST:
        plan.folders = {pair: folder for pair, folder in plan.folders.items() if pair in trained}
        plan.missing = {pair: why for pair, why in plan.missing.items() if pair in trained}
    if lenient:
        plan.missing.clear()
    if not (plan.folders or plan.problems or plan.missing):
        raise AdapterError(f"--from {config.start}: no adapter of {' or '.join(names)}")
    if plan.shared != config.shared:
        plan.problems.append(
            f"{config.start} holds {'one adapter' if plan.shared else 'an adapter per annotator'}: "
            f"{'add' if plan.shared else 'leave out'} --shared"
        )
    for folder in dict.fromkeys(plan.folders.values()):
        asked = [pair for pair, f in plan.folders.items() if f == folder]
        found = list(file_problems(folder, asked, base, plan.shared, config.base_matches))
        if not found and read_json(folder / CONFIG).get("peft_type") != "LORA":
            found.append(f"{folder}: is no LoRA adapter, and only these are trained here")
        plan.problems += found
    plan.raise_problems()
    return plan


def lessons_of(
    jobs: Sequence[Job], bench: Bench, config: Config, embedder: Embedder | None, skip_missing: bool, quiet: bool
) -> list[tuple[Job, Lesson]]:
    """The jobs with what they learn from; how many examples are too long for the model is said of each."""
    lessons = {
        job.names: lesson_of(job, encoder_of(job, bench.decoder, bench.context, config), config, embedder)
        for job in jobs
    }
    positions = f"the {bench.context} positions of {config.model}"
    lacking = {names: f"has no example that fits {positions}" for names, one in lessons.items() if not one.rows}
    for names, one in lessons.items():
        if one.rows and one.too_long:
            say(f"{'/'.join(names)}: {one.too_long} of {len(one.read)} examples are longer than {positions} and are "
                "left out", quiet)  # fmt: skip
    return [(job, lessons[job.names]) for job in _left(jobs, lacking, skip_missing, quiet)]


def say(text: str, quiet: bool) -> None:
    if not quiet:
        print(text, file=sys.stderr, flush=True)
