"""The two methods: what SFT and CAPO learn from, and what is done with their checkpoints."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bootstrap import seeded
from ..io import write_atomic
from ..metrics.predictions import Embedder
from ..models.decode import Decoder
from ..models.loading import free_memory, is_out_of_memory
from ..models.logprobs import forward
from ..prompting.prompt import Prompter
from ..prompting.value_profile import counted_profile
from ..settings import SHOTS
from ..types import Annotation, Task
from .checkpoint_choice import Selector, dev_answers
from .losses import answer_logps, capo_loss, sft_loss
from .pairs import Preference, pair_counts, preferences
from .trainable_model import CPU_MICRO, GPU_MICRO, Bench, Speakers
from .training_batch import Encoder, Pair, micro_batches
from .training_config import Config
from .training_loop import Loop, Objective, State, Stats, TrainError

REFERENCE = "reference.safetensors"


@dataclass(frozen=True)
class Job:
    """One adapter to train: for one annotator, or shared by all of a task (`annotator` None)."""

    task: Task
    annotator: str | None
    folder: Path

    @property
    def annotators(self) -> tuple[str, ...]:
        return self.task.annotators if self.annotator is None else (self.annotator,)

    @property
    def names(self) -> tuple[str, str]:
        return self.task.name, self.annotator or "shared"

    @property
    def work(self) -> Path:
        """Where an unfinished training lives."""
        return self.folder.with_name(f".{self.folder.name}.unfinished")


def train_items(task: Task, config: Config) -> tuple[str, ...]:
    """The train items to learn from: all, or the first `train_items` of an order drawn by seed, for all annotators."""
    items = task.splits["train"]
    if config.train_items is None or config.train_items >= len(items):
        return items
    drawn = seeded("train items", task.name, config.seed).permutation(len(items))[: config.train_items]
    return tuple(items[i] for i in sorted(drawn))


def records_of(job: Job, config: Config) -> list[Annotation]:
    """The train records that SFT learns from."""
    kept = set(train_items(job.task, config))
    learned = [a for a in job.annotators if a not in config.leave_out]
    return [r for a in learned for r in job.task.records_of("train", a) if r.item in kept]


def preferences_of(job: Job, config: Config, embedder: Embedder | None = None) -> list[Preference]:
    """The pairs that CAPO learns from."""
    items = train_items(job.task, config)
    return [p for a in job.annotators for p in preferences(job.task, a, config.policy(), items, embedder)]


@dataclass(frozen=True)
class Lesson:
    """What a job learns from. read: train records (sft) or preference pairs (capo); rows: those of them that the model
    can take in, as tokens; too_long: how many it cannot."""

    read: Sequence[Any]
    rows: Sequence[Any]
    too_long: int

    def facts(self, method: str) -> dict[str, Any]:
        if method == "sft":
            return {"examples": len(self.rows)}
        return {"pairs": len(self.rows), "rejected_by": pair_counts(self.read)}


def encoder_of(job: Job, decoder: Decoder, longest: int | None, config: Config) -> Encoder:
    """What makes the job's examples, with the prompt of the settings."""
    kind = config.prompt or "base"
    profiles = {a: counted_profile(job.task, a) for a in job.annotators} if "vp" in kind else None
    prompter = Prompter(job.task, kind, shots=config.shots or SHOTS, seed=config.seed, profiles=profiles)
    return Encoder(job.task, decoder, longest, prompter)


def lesson_of(job: Job, encoder: Encoder, config: Config, embedder: Embedder | None) -> Lesson:
    """embedder: needed where rejected texts come from nearest items."""
    if config.method == "sft":
        records = records_of(job, config)
        return Lesson(records, encoder.examples(records), encoder.too_long)
    found = preferences_of(job, config, embedder)
    return Lesson(found, encoder.pairs(found), encoder.too_long)


def train_job(
    job: Job, bench: Bench, config: Config, lesson: Lesson, *, start: Path | None, selector: Selector | None,
    micro: int | None, quiet: bool,
) -> dict[str, Any]:  # fmt: skip
    """Train the job's adapter in its work folder; returns facts for the manifest and leaves the kept adapter there."""
    job.work.mkdir(parents=True, exist_ok=True)
    weights = bench.add(int(seeded("adapter", *job.names, config.seed).integers(2**62)), start)
    try:
        if config.method == "sft":
            objective = _sft_objective(bench, lesson.rows)
        else:
            objective = _capo_objective(job, bench, config, lesson.rows, start)
        loop = Loop(
            weights, objective, config, job.work, job.names,
            micro or (CPU_MICRO if bench.device == "cpu" else GPU_MICRO), bench.mixed,
        )  # fmt: skip
        last = loop.total
        at = (
            [0, *(round(last * (k + 1) / config.checkpoints) for k in range(config.checkpoints))]
            if selector
            else [last]
        )
        try:
            state = loop.run(lambda state: _checkpoint(job, bench, selector, state), at, quiet)
        except TrainError:
            bench.save(job.work / "last-good", job.task.name, job.annotator)
            raise
        kept = selector.best(state.points) if selector else 0
        _keep(job, state.points[kept]["step"])
        write_atomic(job.work / "log.jsonl", "".join(json.dumps(row) + "\n" for row in state.log))
        return {
            **lesson.facts(config.method),
            "too_long": lesson.too_long,
            "steps": state.step,
            "kept_step": state.points[kept]["step"],
            "checkpoints": state.points,
            "tokens": state.tokens,
            "seconds": round(state.seconds, 1),
            "tokens_per_second": round(state.tokens / state.seconds, 1) if state.seconds else None,
            "micro_batch": loop.micro,
        }
    finally:
        bench.drop()


def _sft_objective(bench: Bench, rows: Sequence[Any]) -> Objective:
    def loss(positions: Sequence[int]) -> tuple[Any, Stats]:
        logps, mask = forward(bench.model, [rows[i] for i in positions], bench.decoder.pad)
        return sft_loss(logps, mask), {}

    return Objective(rows, loss, lambda row: len(row.answer))


def _capo_objective(job: Job, bench: Bench, config: Config, rows: Sequence[Any], start: Path | None) -> Objective:
    import torch

    reference = torch.tensor(_reference(job, bench, rows, start), device=bench.device)

    def loss(positions: Sequence[int]) -> tuple[Any, Stats]:
        both = [rows[i].chosen for i in positions] + [rows[i].rejected for i in positions]
        logps, mask = forward(bench.model, both, bench.decoder.pad)
        chosen_ref, rejected_ref = reference[list(positions)].T
        return capo_loss(logps, mask, chosen_ref, rejected_ref, config.beta, config.sft_weight)

    return Objective(rows, loss, lambda row: 1.0)


def _reference(job: Job, bench: Bench, rows: Sequence[Pair], start: Path | None) -> list[list[float]]:
    """Log-probabilities of every pair under the frozen SFT adapter, (pairs, 2): computed once, kept on disk."""
    import torch
    from safetensors.torch import load_file, save

    path = job.work / REFERENCE
    if path.exists():
        kept: list[list[float]] = load_file(path)["logps"].tolist()
        return kept
    assert start is not None
    flat = [e for pair in rows for e in (pair.chosen, pair.rejected)]
    size, out = CPU_MICRO * 2, None
    with torch.no_grad(), bench.speaking(start) as model:
        while out is None:
            try:
                out = _frozen_logps(model, bench, flat, size)
            except RuntimeError as error:
                if not is_out_of_memory(error) or size == 1:
                    raise
                size //= 2
                free_memory()
    write_atomic(path, save({"logps": out.view(-1, 2)}))
    made: list[list[float]] = out.view(-1, 2).tolist()
    return made


def _frozen_logps(model: Any, bench: Bench, flat: Sequence[Any], size: int) -> Any:
    """(examples,): in the precision in which the policy's are computed, or the two would differ from the first step."""
    import torch

    out = torch.zeros(len(flat))
    for piece in micro_batches(flat, size):
        with bench.mixed():
            logps, mask = forward(model, [flat[i] for i in piece], bench.decoder.pad)
            found = answer_logps(logps, mask)
        out[piece] = found.float().cpu()
    return out


def _checkpoint(job: Job, bench: Bench, selector: Selector | None, state: State) -> None:
    """Save the adapter as it is now; with a selector, answer dev with it and score that."""
    folder = _place(job, state.step)
    bench.save(folder, job.task.name, job.annotator)
    point: dict[str, Any] = {"step": state.step}
    if selector:
        if state.step == 0:
            given = {pair: a for pair, a in selector.start.items() if pair[1] in job.annotators}
        else:
            speakers = Speakers(bench, dict.fromkeys(job.task.annotators), {"step": state.step})
            given = dev_answers(job.task, speakers, folder / "dev", job.annotators, quiet=True)
        point |= selector.score(given, job.annotators)
    state.points.append(point)


def _place(job: Job, step: int) -> Path:
    return job.work / f"checkpoint-{step:06d}"


def _keep(job: Job, step: int) -> None:
    """Put the kept checkpoint's files at the top of the work folder; its dev answers stay beside them."""
    for path in sorted(_place(job, step).iterdir()):
        target = job.work / path.name
        if path.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(path, target)
        else:
            write_atomic(target, path.read_bytes())
