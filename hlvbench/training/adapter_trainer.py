"""Training of one adapter by transformers' `Trainer`, which brings the loop, resumption, launchers and trackers.

Ours are the losses, on the answers' positions alone, and the order of the rows: every step's rows are a function of
(seed, epoch), sorted by length so that rows of like length share a pass through the model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainingArguments
from transformers.integrations import get_reporting_integration_callbacks

from ..bootstrap import seeded
from ..errors import HlvbenchError, UsageError, first_lines
from ..io import read_json
from ..models.logprobs import Example, forward
from ..settings import json_or_text
from .losses import answer_logps, capo_loss, sft_loss
from .trainable_model import TrainableModel, within_memory
from .training_config import Config, steps_of
from .training_data import EncodedPair, Job


class TrainError(HlvbenchError):
    """A training that cannot go on."""


class Arguments(TrainingArguments):
    """The library's arguments; a process that sees several GPUs uses one, others are for other processes."""

    @property
    def n_gpu(self) -> int:
        return min(1, int(super().n_gpu))


def checkpoint_folder(job: Job, step: int) -> Path:
    """The folder of the checkpoint after `step`; step 0 is the adapter before training (CAPO)."""
    return job.work / f"checkpoint-{step}"


class RowOrder(torch.utils.data.Sampler[int]):
    """Positions of the rows in the order of an epoch: each epoch a new one, and each step's longest rows first."""

    def __init__(self, rows: Sequence[Any], config: Config, key: Sequence[str], trainer: Trainer | None = None) -> None:
        self.rows, self.config, self.key, self.trainer = rows, config, tuple(key), trainer

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[int]:
        # told from the step, which a resumed training knows in every wrapping of the data loader
        step = self.trainer.state.global_step if self.trainer else 0
        return iter(self.of_epoch(step // math.ceil(len(self.rows) / self.config.batch)))

    def of_epoch(self, epoch: int) -> list[int]:
        """A permutation of the rows' positions, a function of (key, seed, epoch)."""
        order = seeded("epoch", *self.key, self.config.seed, epoch).permutation(len(self.rows)).tolist()
        starts = range(0, len(order), self.config.batch)
        return [i for s in starts for i in longest_first(order[s : s + self.config.batch], self.rows)]


def longest_first(positions: Sequence[int], rows: Sequence[Any]) -> list[int]:
    """The positions, those of the rows with most tokens first."""
    return sorted(positions, key=lambda i: -rows[i].tokens)


class AdapterTrainer(Trainer):
    """Trains the trainable model's adapter on examples (SFT) or on pairs with their reference (CAPO).

    Args:
        trainable: The base with the adapter to train.
        job: Whose adapter it is; checkpoints go to `job.work`.
        rows: `Example` (SFT) or `EncodedPair` with log-probabilities (CAPO).
        micro: Rows per pass through the model and process, at most.
        report_to: The trackers to report to, as TrainingArguments names them.
    """

    # compute_loss divides by what get_batch_samples counts over all passes of a step
    loss_is_scaled_for_ga = True

    def __init__(
        self, trainable: TrainableModel, job: Job, rows: Sequence[Any], micro: int, report_to: str, quiet: bool
    ) -> None:
        self.trainable, self.job, self.config = trainable, job, trainable.config
        self.sums: dict[str, float] = {}
        super().__init__(
            model=trainable.model,
            args=trainer_arguments(trainable, job, steps_of(len(rows), self.config), micro, report_to),
            train_dataset=rows,
            data_collator=lambda some: {"rows": list(some)},
        )
        self.remove_callback(PrinterCallback)
        if not quiet:
            self.add_callback(_Progress)

    def _get_train_sampler(self, train_dataset: Any = None) -> RowOrder:
        return RowOrder(self.train_dataset, self.config, self.job.key, self)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Any], Any]:
        """The passes of a step, and what its loss is a mean over: the answers' tokens (SFT) or the pairs (CAPO)."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        rows = [row for batch in batches for row in batch["rows"]]
        self.sums["tokens"] = sum(row.tokens for row in rows)
        count = sum(len(row.answer) for row in rows) if self.config.method == "sft" else len(rows)
        return batches, self.accelerator.reduce(torch.tensor(count, device=device), "sum")

    def compute_loss(
        self, model: Any, inputs: Mapping[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss of some rows of a step, divided by the count of all its rows."""
        rows = inputs["rows"]
        stats: Mapping[str, Any] = {}
        with self.trainable.mixed():
            if self.config.method == "sft":
                loss = sft_loss(*forward(model, rows, self.trainable.decoder.pad))
            else:
                loss, stats = capo_loss_of_pairs(model, rows, self.trainable.decoder.pad, self.config)
        for key, value in stats.items():
            self.sums[key] = self.sums.get(key, 0.0) + float(value / num_items_in_batch)
        # gradients of several processes are averaged, and these are parts of one mean
        return loss / num_items_in_batch * self.accelerator.num_processes

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the step's tokens and what CAPO watches, of all processes."""
        if "loss" in logs:
            values = torch.tensor(list(self.sums.values()), dtype=torch.float32, device=self.args.device)
            found = self.accelerator.reduce(values, "sum").tolist()
            logs |= {key: round(value, 6) for key, value in zip(self.sums, found, strict=True)}
            logs["tokens"] = round(logs["tokens"])
            self.sums = {}
        super().log(logs, start_time)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The cosine schedule is one step longer than the training, so the last step has a rate above 0."""
        return super().create_scheduler(num_training_steps + 1, optimizer)

    def floating_point_ops(self, inputs: Mapping[str, Any]) -> int:
        """Not counted: the library tells it from padded inputs, which are made in the pass."""
        return 0

    def _clip_grad_norm(self, model: Any) -> Any:
        """Stop before a step that is not finite."""
        norm = super()._clip_grad_norm(model)
        if norm is not None and not math.isfinite(float(norm)):
            folder = self.job.work / "last-good"
            self._save(str(folder))
            raise TrainError(
                f"{self.job.name}: the loss or its gradient is not finite at step {self.state.global_step + 1} of "
                f"{self.state.max_steps}; the weights before it are kept in {folder}. "
                f"Lower --lr, or use --dtype float32"
            )
        return norm

    def _save(self, output_dir: str | None = None, state_dict: Mapping[str, Any] | None = None) -> None:
        """The trained adapter alone; the library would write every adapter on the base."""
        if self.args.should_save:
            folder = Path(output_dir or self.job.work)
            self.trainable.save(folder, self.job.task.name, self.job.annotator, state_dict)


def capo_loss_of_pairs(
    model: Any, pairs: Sequence[EncodedPair], pad: int, config: Config
) -> tuple[Any, Mapping[str, Any]]:
    """`capo_loss` of B pairs that have their reference log-probabilities: a scalar sum, and sums to log."""
    logps, mask = forward(model, [p.chosen for p in pairs] + [p.rejected for p in pairs], pad)
    reference = torch.tensor([(p.chosen_logp, p.rejected_logp) for p in pairs], device=logps.device)
    chosen, rejected = reference.T
    return capo_loss(logps, mask, chosen, rejected, config.beta, config.sft_weight)


def trainer_arguments(trainable: TrainableModel, job: Job, steps: int, micro: int, report_to: str) -> TrainingArguments:
    """The library's arguments for the settings, and those of --trainer-arg.

    Raises:
        UsageError: For an argument that has an option of its own, is unknown, or has a value that cannot be.
    """
    config, processes = trainable.config.resolved(), PartialState().num_processes
    rows = rows_per_pass(config.batch, processes, micro)
    own = {
        "output_dir": str(job.work),
        "max_steps": steps,
        "learning_rate": config.rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": min(round(steps * config.warmup), steps - 1),
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.clip,
        "seed": int(seeded("training", *job.key, config.seed).integers(2**32)),
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": config.batch // (rows * processes),
        "activation_checkpointing": config.gradient_checkpointing,
        "activation_checkpointing_kwargs": {"use_reentrant": False} if config.gradient_checkpointing else None,
        "use_cpu": trainable.device == "cpu",
        "use_cache": trainable.model.config.use_cache,
        "report_to": report_to,
        "run_name": job.name,
        "disable_tqdm": True,
        "log_level": "error",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": math.ceil(steps / config.checkpoints),
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
        "ddp_find_unused_parameters": False,
        "bf16": False,
        "fp16": False,
    }
    if clash := sorted(own.keys() & config.trainer_arg.keys()):
        raise UsageError(f"--trainer-arg {', '.join(clash)}: set by hlvbench; see the options of hlvbench train --help")
    try:
        made = Arguments(**own, **{key: json_or_text(word) for key, word in config.trainer_arg.items()})
        for tracker in get_reporting_integration_callbacks(made.report_to):
            tracker()
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        given = f"--trainer-arg {dict(config.trainer_arg)}, --report-to {report_to}"
        raise UsageError(f"{given}: {first_lines(error)}") from error
    return made


def rows_per_pass(batch: int, processes: int, most: int) -> int:
    """The largest divisor, at most `most`, of the rows of a batch that each process takes.

    Raises:
        UsageError: The batch is not a multiple of the processes.
    """
    part, rest = divmod(batch, processes)
    if rest or not part:
        raise UsageError(f"--batch {batch}: a multiple of the {processes} processes is needed, which share each batch")
    return max(size for size in range(1, min(most, part) + 1) if part % size == 0)


class _Progress(ProgressCallback):
    """The library's progress bar with the loss beside it, not a line per step."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if self.training_bar is not None and "loss" in logs:
            self.training_bar.set_postfix_str(f"loss {logs['loss']:.3f}")


def last_checkpoint(job: Job) -> int:
    """The step of the last complete checkpoint of an unfinished training; 0 before the first."""
    # the library writes the state last
    states = job.work.glob("checkpoint-*/trainer_state.json")
    return max((int(path.parent.name.rpartition("-")[2]) for path in states), default=0)


def with_reference(trainable: TrainableModel, pairs: Sequence[EncodedPair], start: Path) -> list[EncodedPair]:
    """The pairs with their answers' log-probabilities under the frozen start, each process computing its part.

    They are computed in the precision of the policy's, or the two would differ from the first step.
    """
    flat: list[Example] = [e for pair in pairs for e in (pair.chosen, pair.rejected)]
    state = PartialState()
    mine = longest_first(range(len(flat)), flat)[state.process_index :: state.num_processes]

    def run(size: int) -> dict[int, float]:
        found: dict[int, float] = {}
        for piece in (mine[s : s + size] for s in range(0, len(mine), size)):
            with trainable.mixed():
                sums = answer_logps(*forward(model, [flat[i] for i in piece], trainable.decoder.pad))
            found.update(zip(piece, sums.float().tolist(), strict=True))
        return found

    with torch.no_grad(), trainable.answering(start) as model:
        parts = gather_object([within_memory(2 * trainable.micro, run)])
    logps = {i: value for part in parts for i, value in part.items()}
    return [replace(p, chosen_logp=logps[2 * n], rejected_logp=logps[2 * n + 1]) for n, p in enumerate(pairs)]


def train_adapter(
    trainable: TrainableModel,
    job: Job,
    rows: Sequence[Any],
    start: Path | None = None,
    *,
    micro: int,
    report_to: str = "none",
    quiet: bool = False,
) -> dict[str, Any]:
    """Train a job's adapter from its last checkpoint, if there is one.

    Args:
        trainable: The base; the adapter stays on it until `drop`.
        rows: As `AdapterTrainer` takes them.
        start: The SFT adapter to start from (CAPO).
        micro: Rows per pass through the model, at most; halved where memory does not suffice.

    Returns:
        Facts for the manifest: steps, and of this session seconds, tokens per second and rows per pass.

    Raises:
        TrainError: A loss or gradient is not finite.
    """
    steps, alone = steps_of(len(rows), trainable.config), PartialState().num_processes == 1
    seed = int(seeded("adapter", *job.key, trainable.config.seed).integers(2**62))

    def attempt(size: int) -> dict[str, Any]:
        trainable.add(seed, start)
        last = last_checkpoint(job)
        if last == steps:
            return {"steps": steps}
        if start and not last and PartialState().is_main_process:
            trainable.save(checkpoint_folder(job, 0), job.task.name, job.annotator)
        try:
            trainer = AdapterTrainer(trainable, job, rows, size, report_to, quiet)
            seconds = trainer.train(str(checkpoint_folder(job, last)) if last else None).metrics["train_runtime"]
        except BaseException:
            trainable.drop()
            raise
        # the main process writes the last checkpoint, which all read
        PartialState().wait_for_everyone()
        if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
            # these have taken the base apart
            trainable.reload()
            trainable.add(seed, start)
        speed = sum(row["tokens"] for row in step_log(checkpoint_folder(job, steps))[last:]) / max(seconds, 1e-9)
        size = trainer.args.per_device_train_batch_size
        return {"steps": steps, "seconds": seconds, "tokens_per_second": round(speed, 1), "micro_batch": size}

    return within_memory(micro, attempt) if alone else attempt(micro)


def step_log(folder: Path) -> list[dict[str, Any]]:
    """A row per step up to a checkpoint: step, loss, rate, norm, tokens; for CAPO dpo, correct and margin, too."""
    names = {"learning_rate": "rate", "grad_norm": "norm"}
    history = read_json(folder / "trainer_state.json")["log_history"]
    rows = [{names.get(k, k): v for k, v in row.items() if k != "epoch"} for row in history if "loss" in row]
    return [{"step": row.pop("step"), **row} for row in rows]
