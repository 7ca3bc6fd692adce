"""The base model in memory, once for all annotators, and the adapters that are trained and answer on it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from ..errors import ModelError
from ..models import Completion, Model, Query
from ..models.adapter_validation import PROBE, load_adapters
from ..models.adapters import WEIGHTS, AdapterPlan, Base, local_folder, seat, write_record
from ..models.decode import Decoder
from ..models.loading import context_of, free_memory, is_out_of_memory, load_model, load_tokenizer, pick_device
from ..models.smollm2 import source_of
from ..settings import Settings
from .training_config import Config

TRAINED, ALL = "trained", "all-linear"
_DONE_ONCE: Mapping[str, Any] = {"init_lora_weights": True, "layer_replication": None, "bias": "none"}
"""What a start has done to its base already, and a copy of it on that base must not do again."""
CPU_MICRO, GPU_MICRO, DEV_BATCH = 8, 4, 32
T = TypeVar("T")


class TrainableModel:
    """One base model, the frozen adapters that a training starts from, and the one adapter that is trained.

    Starts that cannot share a base (see `seat`) are on it in turn.

    Args:
        config: The settings of the training.
        base: What `config.model` is (`identified`).
        device: As `--device`.

    Raises:
        ModelError, AdapterError: What does not fit.
    """

    def __init__(self, config: Config, base: Base, device: str = "auto") -> None:
        self.config, self.base = config, base
        shared = ("revision", "max_new_tokens", "dtype", "trust_remote_code", "model_arg")
        self.settings = Settings(config.model, config.task, **{name: getattr(config, name) for name in shared})
        self.folder = local_folder(config.model, "--model", config.revision, ModelError)
        self.device = pick_device(device)
        self.micro = CPU_MICRO if self.device == "cpu" else GPU_MICRO
        self.decoder = Decoder(load_tokenizer(self.folder, self.settings), self.settings)
        self.starts: list[Path] = []
        self.frozen: dict[Path, str] = {}
        self._of_start: dict[str, Any] = {}
        self.reload()
        if config.targets != ALL:
            # peft leaves out names that the model does not have
            names = [name for name, _ in self.model.named_modules()]
            if absent := [t for t in _targets(config) if not any(f".{n}".endswith(f".{t}") for n in names)]:
                raise ModelError(f"{config.model}: --targets {', '.join(absent)}: the model has no such layer")
        self.dtype = str(self.model.dtype).removeprefix("torch.")
        self.context = context_of(self.model)
        self.dev_batch = 1 if self.decoder.minds_padding(self.model, PROBE) else DEV_BATCH

    def reload(self) -> None:
        """Load the base into memory, frozen and without adapters."""
        self.model: Any = None
        self.frozen = {}
        free_memory()
        self.model = load_model(self.folder, self.settings, self.device)
        self.decoder.configure(self.model)
        if getattr(self.model, "is_quantized", False):
            from peft import prepare_model_for_kbit_training

            self.model = prepare_model_for_kbit_training(self.model, use_gradient_checkpointing=False)
        self.model.requires_grad_(False)

    def load_starts(self, plan: AdapterPlan) -> None:
        """Load and validate the SFT adapters; all problems in one error."""
        self.starts = plan.adapters
        for folder in {seat(f): f for f in self.starts}.values():
            plan.problems += self._load_start(folder)
        plan.raise_problems()

    def _load_start(self, start: Path) -> list[str]:
        """Load the starts that can share a base with this one, if they are not there; their problems."""
        if start in self.frozen:
            return []
        if self.frozen:
            self.reload()
        together = [f for f in self.starts if seat(f) == seat(start)]
        self.model, self.frozen, problems = load_adapters(
            self.model, together, self.decoder.encode(PROBE), self.decoder.tokenizer
        )
        return problems

    def add(self, seed: int, start: Path | None = None) -> None:
        """Put the trainable adapter on the base: a copy of the frozen one in `start`, or a new one drawn by `seed`."""
        import torch
        from peft import LoraConfig, PeftConfig, get_peft_model

        if start is None:
            adapter: Any = LoraConfig(
                r=self.config.rank,
                lora_alpha=self.config.alpha,
                lora_dropout=self.config.resolved().dropout,
                target_modules=_targets(self.config),
                task_type="CAUSAL_LM",
            )
        else:
            self._load_start(start)
            adapter = PeftConfig.from_pretrained(str(start))
            adapter.inference_mode = False
            adapter.lora_dropout = self.config.resolved().dropout
            self._of_start = {key: getattr(adapter, key) for key in _DONE_ONCE}
            vars(adapter).update(_DONE_ONCE)
        torch.manual_seed(seed)
        # what peft warns about was checked when the frozen adapter was loaded
        with warnings.catch_warnings(action="ignore"):
            try:
                if hasattr(self.model, "peft_config"):
                    self.model.add_adapter(TRAINED, adapter)
                else:
                    self.model = get_peft_model(self.model, adapter, adapter_name=TRAINED)
            except ValueError as error:
                raise ModelError(f"{self.config.model}: --targets {self.config.targets}: {error}") from None
        if start is not None:
            self.restore(start)
        self.activate(TRAINED, training=True)

    def restore(self, folder: Path) -> None:
        """Give the trained adapter the weights in this folder."""
        with warnings.catch_warnings(action="ignore"):
            self.model.load_adapter(str(folder), adapter_name=TRAINED, is_trainable=True, torch_device=self.device)

    def mixed(self) -> Any:
        """The precision that examples go through the model in: bfloat16 where the base is."""
        import torch

        half = self.dtype == "bfloat16"
        return torch.autocast(self.device.split(":")[0], torch.bfloat16) if half else nullcontext()

    def drop(self) -> None:
        """Take the trained adapter off."""
        with warnings.catch_warnings(action="ignore"):
            self.model.delete_adapter(TRAINED)

    def activate(self, name: str, training: bool = False) -> None:
        """Make the named adapter the active one; only the trained one in training mode may have gradients."""
        self.model.set_adapter(name)
        self.model.train(training)
        for own, parameter in self.model.named_parameters():
            parameter.requires_grad_(training and f".{TRAINED}." in f"{own}.")

    @contextmanager
    def answering(self, start: Path | None = None) -> Iterator[Any]:
        """The model in evaluation mode with this start, or the trained adapter, which is active again afterwards."""
        if start is not None:
            self._load_start(start)
        self.activate(TRAINED if start is None else self.frozen[start])
        try:
            yield self.model
        finally:
            if TRAINED in self.model.peft_config:
                self.activate(TRAINED, training=True)

    def save(self, folder: Path, task: str, annotator: str | None, state: Mapping[str, Any] | None = None) -> None:
        """Write the trained adapter as `hlvbench run --adapter-dir` takes it.

        Args:
            state: The model's weights, where they are gathered from several processes.
        """
        from peft import get_peft_model_state_dict
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        config = self.model.peft_config[TRAINED]
        published = Path(self.config.model).name if self.folder.is_absolute() else self.config.model
        saved = copy.copy(config)
        vars(saved).update(self._of_start, inference_mode=True, base_model_name_or_path=published)
        if not isinstance(saved.target_modules, str):
            saved.target_modules = sorted(saved.target_modules)
        saved.save_pretrained(str(folder))
        with warnings.catch_warnings(action="ignore"):
            config.bias = saved.bias
            # peft looks the base up by name to see whether its vocabulary grew; here nothing can have changed it
            weights = get_peft_model_state_dict(self.model, state_dict=state, adapter_name=TRAINED)
            config.bias = "none"
        tensors = {k: v.detach().cpu().contiguous() for k, v in sorted(weights.items())}
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
        write_record(folder, task, annotator, self.base)

    def describe(self) -> dict[str, Any]:
        source = source_of(self.folder)
        facts = {"device": self.device, "dtype": self.dtype}
        return {**vars(self.base), **({"source": source} if source else {}), **facts}


def _targets(config: Config) -> Any:
    """ "all-linear", or the names of layers."""
    return ALL if config.targets == ALL else [word.strip() for word in config.targets.split(",")]


def within_memory(size: int, run: Callable[[int], T]) -> T:
    """`run(size)`, with half the size as often as memory does not suffice."""
    while True:
        try:
            return run(size)
        except RuntimeError as error:
            if size == 1 or not is_out_of_memory(error):
                raise
        # outside of the handler, whose traceback holds the tensors
        free_memory()
        size //= 2


class AdaptedModel(Model):
    """The trainable model as a Model (see `hlvbench.models.Model`): an adapter on it answers for each annotator.

    Args:
        adapters: Annotator -> the start that answers, None for the trained adapter.
        facts: What the manifest says of these adapters.
    """

    def __init__(
        self, trainable: TrainableModel, adapters: Mapping[str, Path | None], facts: Mapping[str, Any]
    ) -> None:
        self.trainable, self.adapters, self.facts = trainable, dict(adapters), dict(facts)
        self.name, self.context, self.batch_size = trainable.config.model, trainable.context, trainable.dev_batch

    def describe(self) -> dict[str, Any]:
        return {"kind": "training", **self.trainable.describe(), **self.facts}

    def group(self, annotator: str) -> str:
        return str(self.adapters[annotator])

    def prompt_text(self, content: str) -> str:
        return self.trainable.decoder.prompt_text(content)

    def count_tokens(self, content: str) -> int:
        return len(self.trainable.decoder.encode(content))

    def answer(self, batch: Sequence[Query]) -> list[Completion]:
        (adapter,) = {self.adapters[q.annotator] for q in batch}
        with self.trainable.answering(adapter) as model:
            return self.trainable.decoder.answer(model, batch)
