"""The training loop: steps of weighted micro-batches, resumable to the bit at any step.

The data of a step are a function of (seed, step), and so is its dropout noise: what is on disk is the adapter's
weights, Adam's moments and the number of the step, as safetensors.
"""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..bootstrap import seeded
from ..errors import HlvbenchError
from ..io import progress_bar, write_atomic
from ..models.loading import free_memory, is_out_of_memory
from .training_batch import micro_batches
from .training_config import Config

SAVE_EVERY = 30.0
RECENT = 20
STATE = "state.safetensors"
Stats = Mapping[str, Any]


class TrainError(HlvbenchError):
    """A training that cannot go on."""


@dataclass(frozen=True)
class Objective:
    """What is learned from. rows: examples or pairs, anything with `tokens`.

    loss(positions) -> (a scalar tensor: the loss summed over these rows, sums to log); weight(row): what the sum
    is divided by, added up over a step (its answer tokens, or 1 per pair).
    """

    rows: Sequence[Any]
    loss: Callable[[Sequence[int]], tuple[Any, Stats]]
    weight: Callable[[Any], float]


@dataclass
class State:
    """How far a training is. log: per step the loss and logged means. points: what checkpoints were scored as."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    log: list[dict[str, float]] = field(default_factory=list)
    points: list[dict[str, Any]] = field(default_factory=list)


def steps_of(rows: int, config: Config) -> int:
    """Optimiser steps of a training: epochs × the batches of an epoch, at least 1."""
    resolved = config.resolved()
    return max(1, math.ceil((resolved.epochs or 0) * math.ceil(rows / config.batch) - 1e-9))


def rows_of_step(step: int, rows: int, config: Config, names: Sequence[str]) -> list[int]:
    """Positions of the rows of step 0, 1, …: every epoch a new order, its last batch the shorter one."""
    per_epoch = math.ceil(rows / config.batch)
    epoch, batch = divmod(step, per_epoch)
    order = seeded("epoch", *names, config.seed, epoch).permutation(rows)
    return [int(i) for i in order[batch * config.batch : (batch + 1) * config.batch]]


class Loop:
    """One training of the bench's trained adapter, in `folder`; `names` (task, who) seed it.

    micro: rows per pass through the model, halved where memory does not suffice. mixed: the precision of the pass.
    """

    def __init__(
        self, weights: Mapping[str, Any], objective: Objective, config: Config, folder: Path, names: Sequence[str],
        micro: int, mixed: Callable[[], Any] = nullcontext,
    ) -> None:  # fmt: skip
        import torch
        from transformers import get_cosine_schedule_with_warmup

        self.weights, self.objective, self.config = dict(weights), objective, config.resolved()
        self.folder, self.names, self.micro = folder, tuple(names), micro
        self.mixed = mixed
        self.total = steps_of(len(objective.rows), config)
        self.optimizer = torch.optim.AdamW(
            list(self.weights.values()), lr=self.config.rate, weight_decay=config.weight_decay
        )
        warm = min(round(self.total * config.warmup), self.total - 1)
        self.schedule = get_cosine_schedule_with_warmup(self.optimizer, warm, self.total + 1)
        self.state = State()
        self._saved = time.monotonic()

    def run(self, checkpoint: Callable[[State], None], at: Sequence[int], quiet: bool = False) -> State:
        """Train to the end, from the state on disk if there is one; `checkpoint` is called after the steps in `at`.

        TrainError for a loss or gradient that is not finite: nothing of that step is kept.
        """
        self._resume()
        progress = progress_bar(self.total, self.state.step, quiet, unit="steps")
        recent: deque[float] = deque(maxlen=RECENT)
        due = set(at) - {point["step"] for point in self.state.points}
        if self.state.step in due:
            self._checkpoint(checkpoint)
        while self.state.step < self.total:
            started = time.monotonic()
            row, tokens = self._step()
            self.state.step += 1
            self.state.tokens += tokens
            self.state.seconds += time.monotonic() - started
            self.state.log.append(row)
            recent.append(row["loss"])
            progress.set_postfix_str(f"{'/'.join(self.names)} loss {sum(recent) / len(recent):.3f}", refresh=False)
            progress.update()
            if self.state.step in due:
                self._checkpoint(checkpoint)
            elif time.monotonic() - self._saved > SAVE_EVERY:
                self._save()
        progress.close()
        return self.state

    def _checkpoint(self, checkpoint: Callable[[State], None]) -> None:
        checkpoint(self.state)
        self._save()

    def _step(self) -> tuple[dict[str, float], int]:
        import torch

        step, rows = self.state.step, self.objective.rows
        chosen = rows_of_step(step, len(rows), self.config, self.names)
        total = sum(self.objective.weight(rows[i]) for i in chosen)
        sums = self._accumulate(step, chosen, total)
        norm = torch.nn.utils.clip_grad_norm_(list(self.weights.values()), self.config.clip)
        if not (math.isfinite(sums["loss"]) and bool(torch.isfinite(norm))):
            raise TrainError(
                f"{'/'.join(self.names)}: the loss ({sums['loss']}) or its gradient ({float(norm)}) is not finite at "
                f"step {step + 1} of {self.total}; the weights before it are kept in {self.folder}/last-good. "
                f"Lower --lr, or use --dtype float32"
            )
        row = {"step": step + 1, "rate": self.schedule.get_last_lr()[0], "norm": float(norm)}
        self.optimizer.step()
        self.schedule.step()
        return {**row, **{k: round(v, 6) for k, v in sums.items()}}, sum(rows[i].tokens for i in chosen)

    def _accumulate(self, step: int, chosen: Sequence[int], total: float) -> dict[str, float]:
        """Gradients of the step's mean loss; again in smaller pieces where memory does not suffice."""
        import torch

        rows = self.objective.rows
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            # dropout is a function of (seed, step): a resumed training draws as an uninterrupted one
            torch.manual_seed(int(seeded("dropout", *self.names, self.config.seed, step).integers(2**62)))
            sums: dict[str, float] = {"loss": 0.0}
            failure = False
            try:
                for piece in micro_batches([rows[i] for i in chosen], self.micro):
                    with self.mixed():
                        loss, stats = self.objective.loss([chosen[i] for i in piece])
                    (loss / total).backward()
                    for key, value in {"loss": loss.detach(), **stats}.items():
                        sums[key] = sums.get(key, 0.0) + float(value) / total
            except RuntimeError as error:
                if not is_out_of_memory(error) or self.micro == 1:
                    raise
                failure = True
            if not failure:
                return sums
            free_memory()
            self.micro = max(1, self.micro // 2)

    def _save(self) -> None:
        """The state in one file, replaced atomically."""
        from safetensors.torch import save

        tensors = {}
        for name, weight in self.weights.items():
            tensors[f"weight/{name}"] = weight.detach().cpu().contiguous()
            for key in ("exp_avg", "exp_avg_sq") if weight in self.optimizer.state else ():
                tensors[f"{key}/{name}"] = self.optimizer.state[weight][key].cpu().contiguous()
        facts = json.dumps({**vars(self.state), "micro": self.micro})
        write_atomic(self.folder / STATE, save(tensors, metadata={"state": facts}))
        self._saved = time.monotonic()

    def _resume(self) -> None:
        import torch
        from safetensors import SafetensorError, safe_open

        path = self.folder / STATE
        if not path.exists():
            return
        try:
            with safe_open(path, framework="pt") as stream:
                facts = json.loads(stream.metadata()["state"])
                tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118  (no mapping)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise TrainError(f"{path} cannot be read ({error}); remove {self.folder} to start anew") from error
        self.micro = min(self.micro, facts.pop("micro"))
        self.state = State(**facts)
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(tensors[f"weight/{name}"])
                if self.state.step:
                    self.optimizer.state[weight] = {
                        "step": torch.tensor(float(self.state.step)),
                        **{k: tensors[f"{k}/{name}"].to(weight.device) for k in ("exp_avg", "exp_avg_sq")},
                    }
        # torch warns of a schedule that runs ahead of its optimiser, which has no way to be told of the past
        self.schedule.last_epoch = self.state.step - 1
        self.optimizer._opt_called = True
        self.schedule.step()
