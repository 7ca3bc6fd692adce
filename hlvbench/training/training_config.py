"""The settings of a training: one dataclass for SFT and CAPO, its defaults with their reasons, and its TOML form.

The defaults are meant for an instruct model of 3 to 4 billion weights and a few hundred annotations per annotator:
rank 16 on all linear layers (styles need little capacity; lm_head stays out, an adapter on it cannot share its
base), alpha twice the rank, SFT at 2e-4 for three epochs of batches of 16 (about 55 steps), CAPO at 1e-5 for two
epochs (preference steps at SFT's rate leave the reference and forget the labels) and without dropout (policy and
reference must differ by what was learned alone), warm-up over a tenth of the steps, then cosine decay.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_type_hints

from ..errors import UsageError, all_problems
from ..io import read_toml

METHODS = ("sft", "capo")
PRODUCT = "imitation*distinctness"
LAST = "last"
_BY_METHOD = {
    "rate": {"sft": 2e-4, "capo": 1e-5},
    "epochs": {"sft": 3.0, "capo": 2.0},
    "dropout": {"sft": 0.05, "capo": 0.0},
}
CONFIGS = Path(__file__).parent / "configs"


def _option(default: Any, text: str, method: str | None = None, flag: str | None = None, **bounds: float) -> Any:
    """A field that is an option of the command line.

    Args:
        default: A value, or a factory of one.
        text: The option's help.
        method: The only method that takes it (default: both).
        flag: Its name on the command line, where that is not the field's.
        bounds: Of the value, as pydantic names them: ge, gt, lt.
    """
    about = {"help": text, "method": method, "flag": flag, "bounds": bounds}
    if callable(default):
        return field(default_factory=default, metadata=about)
    return field(default=default, metadata=about)


@dataclass(frozen=True)
class Config:
    """A training of one adapter per annotator, or one shared by all, on one base model.

    Sizes are examples (SFT: annotations; CAPO: preference pairs). `rate`, `epochs` and `dropout` None stand for the
    method's default. The help text of each field says what it does.
    """

    method: Literal["sft", "capo"]
    model: str
    task: tuple[str, ...] = ("varierr", "r2")
    annotator: tuple[str, ...] = _option((), "train only this annotator; may be given several times")
    start: str | None = _option(None, "the SFT adapters to start from, which are the reference, too", "capo", "--from")
    base_matches: bool | None = field(default=None, metadata={"method": "capo"})
    shared: bool = _option(False, "one adapter for all annotators, who are named in the prompt")
    leave_out: tuple[str, ...] = _option(
        (), "with --shared: learn nothing from this annotator; may be given several times", "sft"
    )
    revision: str | None = _option(None, "revision of the model on the hub")
    rank: int = _option(16, "rank of the LoRA adapter", "sft", ge=1, le=4096)
    alpha: int = _option(32, "alpha of the LoRA adapter", "sft", ge=1)
    dropout: float | None = _option(None, "dropout of the adapter (default: sft 0.05, capo 0)", ge=0, lt=1)
    targets: str = _option("all-linear", "all-linear, or the names of layers with commas between them", "sft")
    rate: float | None = _option(None, "peak rate (default: sft 2e-4, capo 1e-5)", flag="--lr", gt=0, lt=1)
    epochs: float | None = _option(None, "passes over the rows (default: sft 3, capo 2)", gt=0, le=1000)
    batch: int = _option(16, "examples per optimiser step, over all processes", ge=1)
    warmup: float = _option(0.1, "share of the steps with a rising rate", ge=0, lt=1)
    weight_decay: float = _option(0.0, "weight decay of AdamW", ge=0, lt=math.inf)
    clip: float = _option(1.0, "largest norm of the gradient", gt=0, lt=math.inf)
    train_items: int | None = _option(None, "learn from N train items drawn by seed (default: all)", ge=1)
    history: int | None = _option(
        None, "own annotations of at most N train items each, drawn by seed (default: all)", ge=1
    )
    prompt: Literal["base", "icl", "vp", "vp-icl"] | None = _option(None, "prompt of the rows (default: base)", "sft")
    shots: int | None = _option(None, "worked examples of icl, at most", "sft", ge=1)
    pairs: Literal["near", "equal", "all"] = _option(
        "near", "labels of a pair: equal (on ordinal tasks at most tau apart), equal, or any", "capo"
    )
    tau: int = _option(1, "distance of two scores that --pairs near still pairs", "capo", ge=0)
    per_item: int | None = _option(None, "at most N pairs per item and annotator, drawn by seed", "capo", ge=1)
    rejected: Literal["same", "nearest"] = _option("same", "rejected texts of the same or the nearest items", "capo")
    neighbours: int = _option(1, "nearest items per other annotator", "capo", ge=1)
    beta: float = _option(0.1, "cost of leaving the reference", "capo", gt=0, lt=100)
    sft_weight: float = _option(0.0, "weight of the chosen answer's own likelihood", "capo", ge=0, lt=math.inf)
    checkpoints: int = _option(4, "checkpoints scored on dev, evenly spread", "capo", ge=1)
    select: str = _option(PRODUCT, "keep the best checkpoint by this metric, or the last", "capo")
    max_new_tokens: int = _option(128, "token limit of dev answers", ge=1)
    seed: int = 0
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = _option("auto", "precision of the base")
    gradient_checkpointing: bool = _option(False, "less memory, a third more time")
    trust_remote_code: bool = _option(False, "run code that comes with the model")
    model_arg: Mapping[str, str] = _option(dict, "to from_pretrained")
    trainer_arg: Mapping[str, str] = _option(dict, "to transformers' TrainingArguments (fsdp, deepspeed, optim, ...)")

    def resolved(self) -> Config:
        """The settings with the method's defaults in the place of None."""
        found = {key: defaults[self.method] for key, defaults in _BY_METHOD.items() if getattr(self, key) is None}
        return dataclasses.replace(self, **found)  # type: ignore[arg-type]

    def check(self) -> None:
        """Check values and combinations.

        Raises:
            UsageError: All that is wrong with the settings, under the options' names.
        """
        from pydantic import Field, ValidationError, create_model

        types, problems = get_type_hints(Config), []
        checked: dict[str, Any] = {
            f.name: (types[f.name], Field(**f.metadata.get("bounds", {}))) for f in fields(Config)
        }
        try:
            create_model("Config", **checked).model_validate(dataclasses.asdict(self))
        except ValidationError as error:
            problems = [f"{flag(str(e['loc'][0]))} {e['input']}: {e['msg']}" for e in error.errors()]
        capo = self.method == "capo"
        foreign = [n for n in _only("sft" if capo else "capo") if getattr(self, n) != _DEFAULTS[n]]
        problems += [f"{flag(name)} is an option of {'sft' if capo else 'capo'}" for name in foreign]
        tasks, one_task = ",".join(self.task), len(self.task) == 1
        examples = not capo and self.shots
        broken = {
            f"--task {tasks}: name each task once": not tasks or len({*self.task}) < len(self.task),
            "capo starts from SFT adapters: --from SFT_DIR": capo and not self.start,
            f"--targets {self.targets}: lm_head cannot be adapted, it shares weights": "lm_head" in self.targets,
            "--shared makes one adapter of one task; name it by --task": self.shared and not one_task,
            "--leave-out needs --shared; see --annotator": bool(self.leave_out) and not self.shared,
            f"--shots {self.shots}: goes with --prompt icl or vp-icl": examples and "icl" not in (self.prompt or ""),
            "--shared trains for all annotators; leave --annotator out": self.shared and bool(self.annotator),
        }
        problems += [why for why, wrong in broken.items() if wrong]
        if problems:
            raise UsageError(all_problems("these training options do not make sense:", problems))


def steps_of(rows: int, config: Config) -> int:
    """Optimiser steps of a training: epochs × the batches of an epoch, at least 1."""
    epochs = config.resolved().epochs or 0
    return max(1, math.ceil(epochs * math.ceil(rows / config.batch) - 1e-9))


def save_points(steps: int, config: Config) -> list[int]:
    """The steps after which a checkpoint is saved: the ends of `checkpoints` parts as equal as can be."""
    every = math.ceil(steps / config.checkpoints)
    return [*range(every, steps, every), steps]


_DEFAULTS = {f.name: f.default for f in fields(Config)}
_FREE = ("method", "task", "annotator", "shared")


def _only(method: str) -> list[str]:
    """The fields that only this method has."""
    return [f.name for f in fields(Config) if f.metadata.get("method") == method]


def flag(name: str) -> str:
    """The option of a field, as it is written on the command line."""
    named = {f.name: f.metadata.get("flag") for f in fields(Config)}
    return named.get(name) or f"--{name.replace('_', '-')}"


def named_config(name: Path) -> Path:
    """The file that `--config NAME|FILE` means; a UsageError that lists the names where there is neither."""
    if name.is_file():
        return name
    own = CONFIGS / f"{name}.toml"
    if own.parent != CONFIGS or not own.is_file():
        known = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.toml")))
        raise UsageError(f"--config {name}: no such file, and no such name; there are {known}")
    return own


def check_method(path: Path, method: str) -> None:
    """UsageError for a configuration of the other method, whose rate and epochs would be taken for this one's."""
    other = "sft" if method == "capo" else "capo"
    found = sorted({flag(name)[2:] for name in _only(other)} & {k.replace("_", "-") for k in read_toml(path)})
    if found:
        raise UsageError(f"{path} configures {other} ({', '.join(found)}), not {method}")


def to_toml(config: Config) -> str:
    """The resolved settings as `--config` reads them; folders by their last name, so that no path is published."""
    import tomli_w

    own = {f.name for f in fields(Config)} - {"method", *_only("capo" if config.method == "sft" else "sft")}
    values = dataclasses.asdict(config.resolved())
    kept = {key: value for key, value in values.items() if key in own and value not in (None, (), {})}
    floats = [f.name for f in fields(Config) if str(f.type).startswith("float")]
    kept |= {key: float(kept[key]) for key in floats if key in kept}
    for key in {"model", "start"} & kept.keys():
        place = Path(kept[key])
        kept[key] = place.name if place.expanduser().is_dir() else kept[key]
    head = f"# hlvbench train {config.method}: the resolved settings; --model and --from are folder names\n"
    return head + tomli_w.dumps({flag(key)[2:]: value for key, value in kept.items()})


def deciding(options: Mapping[str, Any]) -> dict[str, Any]:
    """The recorded options that decide an adapter, by their flags."""
    free = {flag(name)[2:] for name in _FREE}
    return {f"--{name}": value for name, value in options.items() if name not in free}
