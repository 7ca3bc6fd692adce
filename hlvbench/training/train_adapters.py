"""`train`: every adapter that is asked for, on one base in memory; a finished folder is complete and not made again.

Under `accelerate launch` or torchrun all processes train each adapter together, and the main one writes the files.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..data.task import cut_history, load_tasks
from ..embeddings import load_embedder
from ..errors import RunError, UsageError
from ..generation.journal import refuse_other_settings
from ..io import dump_json, locked, read_document, read_json, read_toml, say, sha256_file, write_atomic
from ..metrics.predictions import Embedder
from ..models.adapters import CONFIG as ADAPTER_CONFIG
from ..models.adapters import RECORD, WEIGHTS, AdapterPlan, local_folder
from ..prompting.prompt import render_answer
from ..provenance import TrainingManifest, provenance
from ..settings import PROMPT_VERSION, SETTINGS
from ..types import Task
from .checkpoint_choice import Selector, check_selecting, dev_predictions, only
from .trainable_model import AdaptedModel, TrainableModel
from .training_config import LAST, Config, deciding, save_points, steps_of, to_toml
from .training_data import Job, train_items, training_data
from .training_plan import Plan, data_of, make_plan

TOML, MANIFEST, LOG, START, DEV = "train.toml", "manifest.json", "log.jsonl", ".start", "dev"
EXAMPLES = 10


def train(
    config: Config,
    out: Path,
    *,
    data_dir: Path | None = None,
    tasks_dir: Path | None = None,
    device: str = "auto",
    micro: int | None = None,
    report_to: str = "none",
    skip_missing: bool = False,
    quiet: bool = False,
    command: Sequence[str] = (),
) -> Path:
    """Train the adapters into `out`/<task>/<annotator>/ (shared: `out` itself), resuming what is unfinished.

    Args:
        micro: Rows per pass through the model, at most (None: by device).
        report_to: Trackers, as transformers' TrainingArguments name them.
        skip_missing: Leave out annotators that cannot be trained.

    Returns:
        `out`.

    Raises:
        UsageError, ModelError, AdapterError, TaskError: Wrong input, before anything is trained.
        RunError: `out` holds other adapters.
        TrainError: A loss is not finite.
    """
    config.check()
    if micro is not None and micro < 1:
        raise UsageError(f"--micro-batch {micro}: 1 or more")
    if (out / SETTINGS).exists():
        raise UsageError(f"--out {out}: is the folder of a run; choose another for the adapters")
    tasks = _tasks(config, data_dir, tasks_dir)
    needs_embedder = config.method == "capo" and (config.select != LAST or config.rejected == "nearest")
    embedder = load_embedder() if needs_embedder else None
    plan = make_plan(tasks, config, out, embedder, skip_missing, quiet)
    jobs = [job for job in plan.jobs if not _is_done(job, config, _identity(job, plan), quiet)]
    if not jobs:
        return out
    # transformers' Trainer takes seconds to import
    from accelerate import PartialState

    from .adapter_trainer import train_adapter, trainer_arguments, with_reference

    trainable = TrainableModel(config, plan.base, device)
    micro = micro or trainable.micro
    state = PartialState(cpu=trainable.device == "cpu")
    quiet = quiet or not state.is_main_process
    if plan.starts:
        trainable.load_starts(plan.starts)
    todo = data_of(jobs, trainable, config, embedder, skip_missing, quiet)
    trainer_arguments(trainable, todo[0][0], 1, micro, report_to)
    selectors = {
        t.name: _selector(t, trainable, config, plan.starts, out, embedder, quiet)
        for t in {job.task.name: job.task for job, _ in todo}.values()
    }
    for job, data in todo:
        start, selector, began = plan.start_of(job), selectors[job.task.name], time.time()
        job.folder.parent.mkdir(parents=True, exist_ok=True)
        lock = locked(job.work.with_suffix(".lock"), "another process is training this adapter")
        with lock if state.is_main_process else nullcontext():
            if state.is_main_process:
                _claim(job, config, _identity(job, plan))
            state.wait_for_everyone()
            say(f"{job.name}: {config.method}", quiet)
            rows = with_reference(trainable, data.rows, start) if start else data.rows
            facts = train_adapter(trainable, job, rows, start, micro=micro, report_to=report_to, quiet=quiet)
            kept, points = _choose(job, trainable, selector, facts["steps"])
            trainable.drop()
            if selector:
                say(f"{job.name}: kept step {kept} of {facts['steps']}", quiet)
            if state.is_main_process:
                _publish(
                    job,
                    config,
                    kept,
                    {
                        "start_command": _command_of(start),
                        "command": list(command),
                        **provenance(),
                        "trained_on": _identity(job, plan),
                        "base": trainable.describe(),
                        "settings": {k: v for k, v in asdict(config.resolved()).items() if k not in ("model", "start")},
                        "train_items": len(train_items(job.task, config)),
                        **data.counts(config.method),
                        **facts,
                        "kept_step": kept,
                        "checkpoints": points,
                        "processes": state.num_processes,
                        "wall_seconds": round(time.time() - began, 1),
                        "peak_memory_bytes": _peak_memory(trainable.device),
                    },
                )
            state.wait_for_everyone()
    return out


def _tasks(config: Config, data_dir: Path | None, tasks_dir: Path | None) -> list[Task]:
    loaded = load_tasks(config.task, data_dir, tasks_dir)
    return [cut_history(task.asking(config.annotator), config.history, config.seed) for task in loaded]


def _command_of(adapter: Path | None) -> list[str]:
    """The command that trained an adapter, from the manifest beside it; none where there is no such file."""
    path = adapter / MANIFEST if adapter else None
    return list(_manifest(path).get("command", ())) if path and path.exists() else []


def _manifest(path: Path) -> TrainingManifest:
    found: TrainingManifest = read_document(path, TrainingManifest)
    return found


def _identity(job: Job, plan: Plan) -> dict[str, Any]:
    """What an adapter is trained on, beside the settings: data, base model, SFT start."""
    start, base = plan.start_of(job), plan.base
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


def _is_done(job: Job, config: Config, identity: Mapping[str, Any], quiet: bool) -> bool:
    """Whether the adapter is there.

    Raises:
        RunError: A training, finished or not, is there that was made with other settings or of something else.
    """
    for folder in (job.work, job.folder):
        if (folder / TOML).exists() and (folder / MANIFEST).exists():
            there = {**deciding(read_toml(folder / TOML)), **_manifest(folder / MANIFEST).get("trained_on", {})}
            now = {**deciding(tomllib.loads(to_toml(config))), **identity}
            heading = f"{folder} holds a training with other settings; choose another --out, or remove it:"
            refuse_other_settings(there, now, heading)
    if not (job.folder / WEIGHTS).exists():
        if job.annotator is not None and job.folder.exists():
            raise RunError(f"{job.folder} exists and holds no adapter; choose another --out, or remove it")
        return False
    if not (job.folder / TOML).exists():
        raise RunError(f"{job.folder} holds an adapter that was not trained here; choose another --out")
    say(f"{job.folder} is there already", quiet)
    return True


def _claim(job: Job, config: Config, identity: Mapping[str, Any]) -> None:
    """Begin a work folder; one that is there belongs to this training (`_is_done`) or was never begun."""
    if (job.work / MANIFEST).exists():
        return
    shutil.rmtree(job.work, ignore_errors=True)
    job.work.mkdir()
    write_atomic(job.work / TOML, to_toml(config))
    write_atomic(job.work / MANIFEST, dump_json({"trained_on": identity}))


def _selector(
    task: Task,
    trainable: TrainableModel,
    config: Config,
    starts: AdapterPlan | None,
    out: Path,
    embedder: Embedder | None,
    quiet: bool,
) -> Selector | None:
    """What scores checkpoints on dev, with the SFT start's dev answers, which are generated once."""
    if starts is None or config.select == LAST:
        return None
    assert embedder is not None
    adapters = {a: f for (name, a), f in starts.folders.items() if name == task.name}
    task = task if len(adapters) == len(task.annotators) else only(task, adapters)
    check_selecting(task, embedder, config.select)
    model = AdaptedModel(trainable, adapters, {"adapters": {a: sha256_file(f / WEIGHTS) for a, f in adapters.items()}})
    folder = (out if config.shared else out / task.name) / START
    try:
        start = dev_predictions(task, model, folder, tuple(adapters), quiet)
    except RunError as error:
        why = "holds dev answers of other settings; remove it, or choose another --out"
        raise RunError(f"{folder} {why}") from error
    return Selector(task, embedder, start, config.select)


def _choose(
    job: Job, trainable: TrainableModel, selector: Selector | None, steps: int
) -> tuple[int, list[dict[str, Any]]]:
    """The step of the checkpoint to keep, and what each was scored as; the last one where nothing is chosen."""
    from .adapter_trainer import checkpoint_folder

    if selector is None:
        return steps, [{"step": steps}]
    own = {pair: a for pair, a in selector.start.items() if pair[1] in job.annotators}
    points: list[dict[str, Any]] = [{"step": 0, **selector.score(own, job.annotators)}]
    for step in save_points(steps, trainable.config):
        folder = checkpoint_folder(job, step)
        trainable.restore(folder)
        model = AdaptedModel(trainable, dict.fromkeys(job.task.annotators), {"step": step})
        found = dev_predictions(job.task, model, folder / DEV, job.annotators, quiet=True)
        points.append({"step": step, **selector.score(found, job.annotators)})
    return int(points[selector.best(points)]["step"]), points


def _publish(job: Job, config: Config, kept: int, manifest: Mapping[str, Any]) -> None:
    """Put the kept checkpoint and its records together, then in their place: where weights are, all is complete."""
    from .adapter_trainer import checkpoint_folder, step_log

    source, ready = checkpoint_folder(job, kept), job.work / "ready"
    shutil.rmtree(ready, ignore_errors=True)
    ready.mkdir()
    for name in (ADAPTER_CONFIG, WEIGHTS, RECORD):
        shutil.copyfile(source / name, ready / name)
    if (source / DEV).exists():
        shutil.copytree(source / DEV, ready / DEV)
    log = step_log(checkpoint_folder(job, manifest["steps"]))
    write_atomic(ready / LOG, "".join(json.dumps(row) + "\n" for row in log))
    write_atomic(ready / TOML, to_toml(config))
    write_atomic(ready / MANIFEST, dump_json({**manifest, "tokens": round(sum(row["tokens"] for row in log))}))
    if job.annotator is not None:
        ready.rename(job.folder)
    else:
        # the folder of a shared adapter is `out` itself, which may hold other files
        job.folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(job.folder / DEV, ignore_errors=True)
        for path in sorted(ready.iterdir(), key=lambda p: p.name == WEIGHTS):
            path.rename(job.folder / path.name)
    shutil.rmtree(job.work)


def _peak_memory(device: str) -> int:
    """The most that this process has held so far: of the GPU's memory where one is used."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def dry_run(
    config: Config, *, data_dir: Path | None = None, tasks_dir: Path | None = None, skip_missing: bool = False
) -> dict[str, Any]:
    """What would be learned from, without training.

    Returns:
        {"task/annotator": {"examples" or "pairs", "rejected_by", "too_long", "tokens", "longest", "steps", "shown"}};
        the ten examples in "shown" hold the data's own texts.
    """
    from ..models.decode import Decoder
    from ..models.loading import load_tokenizer
    from ..settings import Settings

    config.check()
    tasks = _tasks(config, data_dir, tasks_dir)
    embedder = load_embedder() if config.rejected == "nearest" else None
    with tempfile.TemporaryDirectory() as scratch:
        jobs = make_plan(tasks, config, Path(scratch), embedder, skip_missing, quiet=False).jobs
    settings = Settings(config.model, config.task, trust_remote_code=config.trust_remote_code)
    folder = local_folder(config.model, "--model", config.revision)
    decoder = Decoder(load_tokenizer(folder, settings), settings)
    described = read_json(folder / "config.json")
    positions = described.get("text_config", described).get("max_position_embeddings")
    found = {}
    for job in jobs:
        data = training_data(job, decoder, positions, config, embedder)
        found[job.name] = {
            **data.counts(config.method),
            "tokens": sum(r.tokens for r in data.rows),
            "longest": max((r.tokens for r in data.rows), default=0),
            "steps": steps_of(len(data.rows), config) if data.rows else 0,
            "shown": [_shown(job, one, config.method) for one in data.source[:EXAMPLES]],
        }
    return found


def _shown(job: Job, one: Any, method: str) -> dict[str, Any]:
    """An annotation or a pair to look at."""

    def answer(record: Any) -> str:
        return render_answer(job.task, record.label, record.explanation)

    if method == "sft":
        return {"item": one.item, "answer": answer(one)}
    return {
        "item": one.chosen.item,
        "chosen": answer(one.chosen),
        "rejected": answer(one.rejected),
        "rejected_by": one.rejected.annotator,
        "rejected_item": one.rejected.item,
    }
