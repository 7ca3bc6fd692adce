"""`train`: every adapter that is asked for, on one base in memory, each finished folder complete and never made twice.

Several processes (`accelerate launch`, torchrun) share the adapters among them: process r of w trains every w-th.
An adapter is the unit, so the files do not depend on the number of processes.
"""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..data.task import cut_history, load_tasks
from ..embeddings import load_embedder
from ..errors import RunError, UsageError, all_problems
from ..io import dump_json, locked, read_json, sha256_file, write_atomic
from ..metrics.predictions import Embedder
from ..models.adapters import WEIGHTS, AdapterPlan, local_folder
from ..processes import ALONE, Share
from ..prompting.prompt import render_answer
from ..provenance import provenance
from ..settings import PROMPT_VERSION
from ..types import Task
from .checkpoint_choice import Selector, check_selecting, dev_answers, only
from .methods import Job, encoder_of, lesson_of, train_items, train_job
from .trainable_model import Bench, Speakers
from .training_config import LAST, Config, config_differences, read_train_toml, to_toml
from .training_jobs import Crew, lessons_of, make_crew, say
from .training_loop import steps_of

TOML, MANIFEST, IDENTITY, START = "train.toml", "manifest.json", "identity.json", "start"
EXAMPLES = 10


def train(
    config: Config,
    out: Path,
    *,
    data_dir: Path | None = None,
    tasks_dir: Path | None = None,
    device: str = "auto",
    micro: int | None = None,
    skip_missing: bool = False,
    quiet: bool = False,
    command: Sequence[str] = (),
    share: Share = ALONE,
) -> Path:
    """Train the adapters into `out`/<task>/<annotator>/ (shared: `out` itself); returns `out`, resumes by itself.

    micro: rows per pass through the model (None: by device). share: of several processes with the same arguments each
    trains its part of the adapters. Errors: UsageError, ModelError, AdapterError for wrong
    input, before anything is trained; RunError where `out` holds other adapters; TrainError.
    """
    config.check()
    if micro is not None and micro < 1:
        raise UsageError(f"--micro-batch {micro}: 1 or more")
    loaded = load_tasks(config.task, data_dir, tasks_dir)
    tasks = [cut_history(task.asking(config.annotator), config.history, config.seed) for task in loaded]
    embedder = load_embedder() if _needs_embedder(config) else None
    crew = make_crew(tasks, config, out, embedder, skip_missing, quiet)
    # shared out before the finished ones are left aside, which each process sees at another moment
    shared = crew.jobs[share.rank :: share.world]
    mine = [job for job in shared if not _is_done(job, config, _identity(job, crew), quiet)]
    if not mine:
        return out
    for job in mine:
        if (job.work / IDENTITY).exists():
            _compare(job.work, config, read_json(job.work / IDENTITY), _identity(job, crew))
    bench = Bench(config, crew.base, _device(device, share))
    if crew.starts:
        bench.load_start(crew.starts)
    todo = lessons_of(mine, bench, config, embedder, skip_missing, quiet)
    taught = {job.task.name: job.task for job, _ in todo}.values()
    selectors = {t.name: _selector(t, bench, config, crew.starts, out, embedder, quiet) for t in taught}
    for job, lesson in todo:
        start = crew.starts.folders[job.task.name, job.annotators[0]] if crew.starts else None
        job.folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(job.work.with_suffix(".lock"), "another process is training this adapter"):
            # another command may have made it since
            if _is_done(job, config, _identity(job, crew), quiet):
                continue
            _claim(job, config, _identity(job, crew))
            say(f"{'/'.join(job.names)}: {config.method}", quiet)
            began = time.time()
            facts = train_job(
                job, bench, config, lesson, start=start, selector=selectors[job.task.name], micro=micro, quiet=quiet,
            )  # fmt: skip
            _finish(job, config, bench, facts, command, time.time() - began, share)
            if config.method == "capo":
                say(f"{'/'.join(job.names)}: kept step {facts['kept_step']} of {facts['steps']}", quiet)
    return out


def _identity(job: Job, crew: Crew) -> dict[str, Any]:
    """What an adapter was trained on, beside the settings: data, base model, SFT start."""
    start, base = crew.starts.folders.get((job.task.name, job.annotators[0])) if crew.starts else None, crew.base
    weights = start / WEIGHTS if start else None
    return {
        "task": f"{job.task.name}@{job.task.version}",
        **{f"data {name}": digest for name, digest in job.task.data_sha256.items()},
        "base config": base.config_sha256,
        "base weights": base.weights_sha256,
        "tokenizer": base.tokenizer_sha256,
        "prompt version": PROMPT_VERSION,
        "start": sha256_file(weights) if weights and weights.exists() else None,
    }


def _needs_embedder(config: Config) -> bool:
    return config.method == "capo" and (config.select != LAST or config.rejected == "nearest")


def _is_done(job: Job, config: Config, identity: Mapping[str, Any], quiet: bool) -> bool:
    """Whether the adapter is there, made of the same by these settings; another one is an error that says why."""
    if not (job.folder / WEIGHTS).exists():
        if job.annotator is not None and job.folder.exists():
            raise RunError(f"{job.folder} exists and holds no adapter; choose another --out, or remove it")
        return False
    if not (job.folder / TOML).exists():
        raise RunError(f"{job.folder} holds an adapter that was not trained here; choose another --out")
    _compare(job.folder, config, read_json(job.folder / MANIFEST).get("trained_on", {}), identity)
    say(f"{job.folder} is there already", quiet)
    return True


def _compare(folder: Path, config: Config, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    differing = config_differences(read_train_toml(folder / TOML), config)
    differing += [
        f"{k}: there {there.get(k)}, now {here.get(k)}" for k in {**there, **here} if there.get(k) != here.get(k)
    ]
    if differing:
        raise RunError(all_problems(
            f"{folder} holds a training with other settings; choose another --out, or remove it:", differing
        ))  # fmt: skip


def _claim(job: Job, config: Config, identity: Mapping[str, Any]) -> None:
    """Begin a work folder, or make sure that the one there belongs to this training."""
    path = job.work / IDENTITY
    if path.exists():
        _compare(job.work, config, read_json(path), identity)
        return
    if job.work.exists():
        shutil.rmtree(job.work)
    job.work.mkdir(parents=True)
    write_atomic(job.work / TOML, to_toml(config))
    write_atomic(path, dump_json(identity))


def _selector(
    task: Task, bench: Bench, config: Config, starts: AdapterPlan | None, out: Path, embedder: Embedder | None,
    quiet: bool,
) -> Selector | None:  # fmt: skip
    """What scores checkpoints on dev; the SFT start's dev answers are generated once for all processes."""
    if starts is None or config.select == LAST:
        return None
    assert embedder is not None
    voices = {a: f for (name, a), f in starts.folders.items() if name == task.name}
    task = task if len(voices) == len(task.annotators) else only(task, voices)
    check_selecting(task, embedder, config.select)
    facts = {"adapters": {a: sha256_file(starts.folders[task.name, a] / WEIGHTS) for a in voices}}
    folder = (out if config.shared else out / task.name) / f".{START}"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock.start", wait=True):
        try:
            start = dev_answers(task, Speakers(bench, voices, facts), folder, tuple(voices), quiet)
        except RunError as error:
            why = "holds dev answers of other settings; remove it, or choose another --out"
            raise RunError(f"{folder} {why}") from error
    return Selector(task, embedder, start, config.select)


def _finish(
    job: Job, config: Config, bench: Bench, facts: Mapping[str, Any], command: Sequence[str], seconds: float,
    share: Share,
) -> None:  # fmt: skip
    """The manifest, then the work folder becomes the adapter's: where that exists it is complete."""
    write_atomic(job.work / MANIFEST, dump_json({
        "command": list(command),
        **provenance(),
        "trained_on": read_json(job.work / IDENTITY),
        "base": bench.describe(),
        "settings": {k: v for k, v in asdict(config.resolved()).items() if k not in ("model", "start")},
        "train_items": len(train_items(job.task, config)),
        **facts,
        "process": [share.rank, share.world],
        "wall_seconds": round(seconds, 1),
        "peak_memory_bytes": _peak_memory(bench.device),
    }))  # fmt: skip
    if job.annotator is not None:
        # first of all: what is killed from here on is a finished adapter with some files too many
        job.work.rename(job.folder)
        _clear(job.folder)
        return
    _clear(job.work)
    # a shared adapter's folder is `out` itself; its weights come last, for where they are it is complete
    job.folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(job.work.iterdir(), key=lambda p: (p.name == WEIGHTS, p.name)):
        path.rename(job.folder / path.name)
    job.work.rmdir()


def _clear(folder: Path) -> None:
    """Remove what only an unfinished training needs."""
    for path in [*folder.glob("checkpoint-*"), *folder.glob("*.safetensors"), folder / IDENTITY]:
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != WEIGHTS:
            path.unlink()


def _peak_memory(device: str) -> int:
    """The most that this process has held so far: of the GPU's memory where one is used."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _device(asked: str, share: Share) -> str:
    """Each process of a node takes a GPU of its own."""
    import torch

    several = asked == "auto" and not share.alone and torch.cuda.is_available()
    return f"cuda:{share.local}" if several else asked


def dry_run(
    config: Config, *, data_dir: Path | None = None, tasks_dir: Path | None = None, skip_missing: bool = False
) -> dict[str, Any]:
    """What would be learned from, without training: per adapter the counts, steps and ten examples.

    {"task/annotator": {"examples" or "pairs", "rejected_by", "too_long", "tokens", "longest", "steps", "shown"}}; the
    examples hold the data's own texts.
    """
    from ..models.decode import Decoder
    from ..models.loading import load_tokenizer
    from ..settings import Settings

    config.check()
    loaded = load_tasks(config.task, data_dir, tasks_dir)
    tasks = [cut_history(task.asking(config.annotator), config.history, config.seed) for task in loaded]
    embedder = load_embedder() if config.rejected == "nearest" else None
    with tempfile.TemporaryDirectory() as scratch:
        jobs = make_crew(tasks, config, Path(scratch), embedder, skip_missing, quiet=False).jobs
    settings = Settings(config.model, config.task, trust_remote_code=config.trust_remote_code)
    folder = local_folder(config.model, "--model", config.revision)
    decoder = Decoder(load_tokenizer(folder, settings), settings)
    described = read_json(folder / "config.json")
    positions = described.get("text_config", described).get("max_position_embeddings")
    found = {}
    for job in jobs:
        lesson = lesson_of(job, encoder_of(job, decoder, positions, config), config, embedder)
        found["/".join(job.names)] = {
            **lesson.facts(config.method),
            "too_long": lesson.too_long,
            "tokens": sum(r.tokens for r in lesson.rows),
            "longest": max((r.tokens for r in lesson.rows), default=0),
            "steps": steps_of(len(lesson.rows), config) if lesson.rows else 0,
            "shown": [_shown(job, one, config.method) for one in lesson.read[:EXAMPLES]],
        }
    return found


def _shown(job: Job, one: Any, method: str) -> dict[str, Any]:
    """A record or a pair to look at."""
    if method == "sft":
        return {"item": one.item, "answer": _answer(job, one)}
    return {
        "item": one.chosen.item, "chosen": _answer(job, one.chosen), "rejected": _answer(job, one.rejected),
        "rejected_by": one.rejected.annotator, "rejected_item": one.rejected.item,
    }  # fmt: skip


def _answer(job: Job, record: Any) -> str:
    return render_answer(job.task, record.label, record.explanation)
