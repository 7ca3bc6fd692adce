"""The base model in memory, once for all annotators, and the adapters that come and go on it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..io import dump_json, write_atomic
from ..models import Completion, Model, Query
from ..models.adapter_validation import PROBE, load_adapters
from ..models.adapters import CONFIG, WEIGHTS, AdapterPlan, Base, local_folder, seat, write_record
from ..models.decode import Decoder
from ..models.loading import free_memory, load_model, load_tokenizer, pick_device
from ..models.smollm2 import source_of
from ..settings import Settings
from .training_config import Config

TRAINED, ALL = "trained", "all-linear"
_DONE_ONCE: Mapping[str, Any] = {"init_lora_weights": True, "layer_replication": None, "bias": "none"}
"""What a start has done to its base already, and a copy of it on that base must not do again."""
CPU_MICRO, GPU_MICRO, DEV_BATCH = 8, 4, 32


class Bench:
    """One base model, the frozen adapters that a training starts from, and the one adapter that is trained.

    Starts that cannot share a base (see `seat`) are on it in turn. base: what `config.model` is (`identified`).
    device: as `--device`. ModelError, AdapterError: what does not fit.
    """

    def __init__(self, config: Config, base: Base, device: str = "auto") -> None:
        self.config, self.base = config, base
        self.settings = Settings(
            config.model, config.task, revision=config.revision, max_new_tokens=config.max_new_tokens,
            dtype=config.dtype, trust_remote_code=config.trust_remote_code, model_arg=config.model_arg,
        )  # fmt: skip
        self.folder = local_folder(config.model, "--model", config.revision, ModelError)
        self.device = pick_device(device)
        self.decoder = Decoder(load_tokenizer(self.folder, self.settings), self.settings)
        self.starts: list[Path] = []
        self.frozen: dict[Path, str] = {}
        self._of_start: dict[str, Any] = {}
        self._load()
        self.dtype = str(self.model.dtype).removeprefix("torch.")
        positions = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        self.context = None if positions is None else int(positions)
        self.dev_batch = 1 if self.decoder.minds_padding(self.model, PROBE) else DEV_BATCH

    def _load(self) -> None:
        """Put the base into memory, frozen and without adapters; quantised and checkpointed models need more."""
        self.model: Any = None
        free_memory()
        self.model = load_model(self.folder, self.settings, self.device)
        self.decoder.configure(self.model)
        self._bare = True
        if getattr(self.model, "is_quantized", False):
            from peft import prepare_model_for_kbit_training

            self.model = prepare_model_for_kbit_training(self.model, use_gradient_checkpointing=False)
        self.model.requires_grad_(False)
        if self.config.gradient_checkpointing:
            # the non-reentrant kind needs no input that requires a gradient
            self.model.activation_checkpointing_enable({"use_reentrant": False})

    def load_start(self, plan: AdapterPlan) -> None:
        """Load the SFT adapters once, frozen; all problems in one error."""
        self.starts = list(dict.fromkeys(plan.folders.values()))
        for folder in {seat(f): f for f in self.starts}.values():
            plan.problems += self._take(folder)
        plan.raise_problems()

    def _take(self, start: Path) -> list[str]:
        """Load the starts that share this one's seat, if they are not there; their problems."""
        if start in self.frozen:
            return []
        if not self._bare:
            self._load()
        self._bare = False
        together = [f for f in self.starts if seat(f) == seat(start)]
        self.model, self.frozen, problems = load_adapters(
            self.model, together, self.decoder.encode(PROBE), self.decoder.tokenizer
        )
        return problems

    def add(self, seed: int, start: Path | None = None) -> dict[str, Any]:
        """Put a trainable adapter on the base: a copy of the frozen one in `start`, or a new one from `seed`.

        Returns its weights by name, in a fixed order.
        """
        import torch
        from peft import LoraConfig, PeftConfig, get_peft_model

        self._check_targets()
        if start is None:
            adapter: Any = LoraConfig(
                r=self.config.rank, lora_alpha=self.config.alpha, lora_dropout=self.config.resolved().dropout,
                target_modules=_targets(self.config.targets), task_type="CAUSAL_LM",
            )  # fmt: skip
        else:
            self._take(start)
            adapter = PeftConfig.from_pretrained(str(start))
            adapter.inference_mode = False
            adapter.lora_dropout = self.config.resolved().dropout
            self._of_start = {key: getattr(adapter, key) for key in _DONE_ONCE}
            for key, nothing in _DONE_ONCE.items():
                setattr(adapter, key, nothing)
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
                self.model.load_adapter(str(start), adapter_name=TRAINED, is_trainable=True, torch_device=self.device)
        self.activate(TRAINED, training=True)
        return self.weights()

    def _check_targets(self) -> None:
        """ModelError for a layer in --targets that the model does not have: peft leaves such names out."""
        asked = _targets(self.config.targets)
        names = [name for name, _ in self.model.named_modules()]
        absent = [t for t in asked if not any(n == t or n.endswith(f".{t}") for n in names)] if asked != ALL else []
        if absent:
            raise ModelError(f"{self.config.model}: --targets {', '.join(absent)}: the model has no such layer")

    def mixed(self) -> Any:
        """The precision that examples go through the model in: bfloat16 where the base is."""
        import torch

        half = self.dtype == "bfloat16"
        return torch.autocast(self.device.split(":")[0], torch.bfloat16) if half else nullcontext()

    def weights(self) -> dict[str, Any]:
        """The trained adapter's parameters by name."""
        return {n: p for n, p in sorted(self.model.named_parameters()) if f".{TRAINED}." in f"{n}."}

    def drop(self) -> None:
        """Take the trained adapter off."""
        with warnings.catch_warnings(action="ignore"):
            self.model.delete_adapter(TRAINED)

    def activate(self, name: str, training: bool = False) -> None:
        """Let the named adapter speak; only the trained one in training mode may have gradients."""
        self.model.set_adapter(name)
        self.model.train(training)
        for own, parameter in self.model.named_parameters():
            parameter.requires_grad_(training and f".{TRAINED}." in f"{own}.")

    @contextmanager
    def speaking(self, start: Path | None = None) -> Iterator[Any]:
        """The model in evaluation mode with this start, or the trained adapter, which is active again afterwards."""
        if start is not None:
            self._take(start)
        self.activate(TRAINED if start is None else self.frozen[start])
        try:
            yield self.model
        finally:
            if TRAINED in self.model.peft_config:
                self.activate(TRAINED, training=True)

    def save(self, folder: Path, task: str, annotator: str | None) -> None:
        """Write the trained adapter as `hlvbench run --adapter-dir` takes it."""
        from peft import get_peft_model_state_dict
        from safetensors.torch import save

        folder.mkdir(parents=True, exist_ok=True)
        config = self.model.peft_config[TRAINED]
        recorded = {**config.to_dict(), **self._of_start, "inference_mode": True}
        recorded["base_model_name_or_path"] = (
            Path(self.config.model).name if self.folder.is_absolute() else self.config.model
        )
        write_atomic(folder / CONFIG, dump_json({k: _plain(v) for k, v in sorted(recorded.items())}))
        with warnings.catch_warnings(action="ignore"):
            config.bias = recorded["bias"]
            # peft looks the base up by name to see whether its vocabulary grew; here nothing can have changed it
            state = get_peft_model_state_dict(self.model, adapter_name=TRAINED)
            config.bias = "none"
        tensors = {k: v.detach().cpu().contiguous() for k, v in sorted(state.items())}
        write_atomic(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))
        write_record(folder, task, annotator, self.base)

    def describe(self) -> dict[str, Any]:
        source = source_of(self.folder)
        return {
            **vars(self.base),
            **({"source": source} if source else {}),
            "device": self.device,
            "dtype": self.dtype,
        }


def _targets(words: str) -> Any:
    """ "all-linear", or the names of layers separated by commas."""
    return words if words == ALL else [w.strip() for w in words.split(",")]


def _plain(value: Any) -> Any:
    if isinstance(value, set | tuple):
        return sorted(value)
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    return (
        value
        if isinstance(value, list | str | int | float | bool | type(None))
        else str(getattr(value, "value", value))
    )


class Speakers(Model):
    """The bench as a Model (see `hlvbench.models.Model`): each annotator is answered by an adapter on it."""

    def __init__(self, bench: Bench, adapters: Mapping[str, Path | None], facts: Mapping[str, Any]) -> None:
        """adapters: annotator -> the start that answers, None for the trained adapter."""
        self.bench, self.adapters, self.facts = bench, dict(adapters), dict(facts)
        self.name, self.context, self.batch_size = bench.config.model, bench.context, bench.dev_batch

    def describe(self) -> dict[str, Any]:
        return {"kind": "training", **self.bench.describe(), **self.facts}

    def group(self, annotator: str) -> str:
        return str(self.adapters[annotator])

    def prompt_text(self, content: str) -> str:
        return self.bench.decoder.prompt_text(content)

    def count_tokens(self, content: str) -> int:
        return len(self.bench.decoder.encode(content))

    def answer(self, batch: Sequence[Query]) -> list[Completion]:
        (adapter,) = {self.adapters[q.annotator] for q in batch}
        with self.bench.speaking(adapter) as model:
            return self.bench.decoder.answer(model, batch)
