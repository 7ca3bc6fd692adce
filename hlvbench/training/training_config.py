"""What decides a training: one dataclass for sft and capo, its defaults with their reasons, and its TOML form.

The defaults are meant for an instruct model of 3 to 4 billion weights and a few hundred records per annotator:
rank 16 on all linear layers (styles need little capacity; lm_head stays out, an adapter on it cannot share its
base), alpha twice the rank, SFT at 2e-4 for three epochs of batches of 16 (about 55 steps), CAPO at 1e-5 for two
epochs (preference steps at SFT's rate leave the reference and forget the labels) and without dropout (policy and
reference must differ by what was learned alone), warm-up over a tenth of the steps, then cosine decay.
"""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UsageError, all_problems
from ..io import read_text
from ..settings import PROMPTS

METHODS = ("sft", "capo")
POLICIES = ("near", "equal", "all")
SOURCES = ("same", "nearest")
PRODUCT = "imitation*distinctness"
LAST = "last"
_BY_METHOD = {
    "rate": {"sft": 2e-4, "capo": 1e-5},
    "epochs": {"sft": 3.0, "capo": 2.0},
    "dropout": {"sft": 0.05, "capo": 0.0},
}
CONFIGS = Path(__file__).parent / "configs"


@dataclass(frozen=True)
class Policy:
    """Which preference pairs are made.

    labels: "equal", "near" (equal on nominal tasks, at most `tau` apart on ordinal ones) or "all".
    per_item: at most so many pairs per item and target, drawn by seed; None: all. source: rejected records come
    from the "same" item, or, for corpora without repeated annotation, from the `neighbours` "nearest" other
    train items of every other annotator.
    """

    labels: str = "near"
    tau: int = 1
    per_item: int | None = None
    source: str = "same"
    neighbours: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Config:
    """A training of one adapter per annotator (or one shared by all) on one base model.

    Sizes are examples (sft: records; capo: pairs). rate, epochs and dropout None: the method's default. rank, alpha
    and targets are sft's: capo goes on with the adapters it starts from. See the module's docstring for the defaults'
    reasons and `hlvbench train --help` for each option.
    """

    method: str
    model: str
    task: tuple[str, ...] = ("varierr", "r2")
    annotator: tuple[str, ...] = ()
    start: str | None = None
    base_matches: bool | None = None
    shared: bool = False
    leave_out: tuple[str, ...] = ()
    revision: str | None = None
    rank: int = 16
    alpha: int = 32
    dropout: float | None = None
    targets: str = "all-linear"
    rate: float | None = None
    epochs: float | None = None
    batch: int = 16
    warmup: float = 0.1
    weight_decay: float = 0.0
    clip: float = 1.0
    train_items: int | None = None
    history: int | None = None
    prompt: str | None = None
    shots: int | None = None
    pairs: str = "near"
    tau: int = 1
    per_item: int | None = None
    rejected: str = "same"
    neighbours: int = 1
    beta: float = 0.1
    sft_weight: float = 0.0
    checkpoints: int = 4
    select: str = PRODUCT
    max_new_tokens: int = 128
    seed: int = 0
    dtype: str = "auto"
    gradient_checkpointing: bool = False
    trust_remote_code: bool = False
    model_arg: Mapping[str, str] = field(default_factory=dict)

    def resolved(self) -> Config:
        """With the method's defaults in the place of None."""
        found = {key: defaults[self.method] for key, defaults in _BY_METHOD.items() if getattr(self, key) is None}
        return dataclasses.replace(self, **found)  # type: ignore[arg-type]

    def policy(self) -> Policy:
        return Policy(self.pairs, self.tau, self.per_item, self.rejected, self.neighbours, self.seed)

    def check(self) -> None:
        """All that is wrong with the settings, in one UsageError."""
        capo = self.method == "capo"
        problems = [f"{flag(name)} {getattr(self, name)}: {why}" for name, wrong, why in (
            ("rank", self.rank < 1, "1 or more"),
            ("alpha", self.alpha < 1, "1 or more"),
            ("dropout", self.dropout is not None and not 0 <= self.dropout < 1, "0 or more and below 1"),
            ("rate", self.rate is not None and not 0 < self.rate < 1, "above 0 and below 1"),
            ("epochs", self.epochs is not None and not 0 < self.epochs <= 1000, "above 0"),
            ("batch", self.batch < 1, "1 or more"),
            ("warmup", not 0 <= self.warmup < 1, "a share of the steps, below 1"),
            ("weight_decay", not 0 <= self.weight_decay < math.inf, "0 or more"),
            ("clip", not 0 < self.clip < math.inf, "above 0"),
            ("train_items", self.train_items is not None and self.train_items < 1, "1 or more"),
            ("history", self.history is not None and self.history < 1, "1 or more"),
            ("prompt", self.prompt not in (None, *PROMPTS), f"one of {', '.join(PROMPTS)}"),
            ("shots", self.shots is not None and self.shots < 1, "1 or more"),
            ("targets", "lm_head" in self.targets, "the output layer is not adapted: it is shared with the input's"),
            ("pairs", self.pairs not in POLICIES, f"one of {', '.join(POLICIES)}"),
            ("tau", self.tau < 0, "0 or more"),
            ("per_item", self.per_item is not None and self.per_item < 1, "1 or more"),
            ("rejected", self.rejected not in SOURCES, f"one of {', '.join(SOURCES)}"),
            ("neighbours", self.neighbours < 1, "1 or more"),
            ("beta", not 0 < self.beta < 100, "above 0"),
            ("sft_weight", not 0 <= self.sft_weight < math.inf, "0 or more"),
            ("checkpoints", self.checkpoints < 1, "1 or more"),
            ("max_new_tokens", self.max_new_tokens < 1, "1 or more"),
            ("task", not self.task or len(set(self.task)) < len(self.task), "each task once"),
        ) if wrong]  # fmt: skip
        if self.method not in METHODS:
            problems.append(f"method {self.method}: one of {', '.join(METHODS)}")
        if capo and not self.start:
            problems.append("capo starts from SFT adapters: --from SFT_DIR")
        changed = [n for n in (_SFT_ONLY if capo else _CAPO_ONLY) if getattr(self, n) != _DEFAULTS[n]]
        problems += [f"{flag(name)} is an option of {'sft' if capo else 'capo'}" for name in changed]
        if self.shared and len(self.task) > 1:
            problems.append("--shared makes one adapter of one task; name it by --task")
        if self.leave_out and not self.shared:
            problems.append("--leave-out is for one adapter that is --shared; --annotator names whose adapters to make")
        if self.shared and self.annotator:
            problems.append("--shared speaks for all annotators; leave --annotator out")
        if problems:
            raise UsageError(all_problems("these training options do not make sense:", problems))


_DEFAULTS = {f.name: f.default for f in dataclasses.fields(Config)}
_FLOATS = {f.name for f in dataclasses.fields(Config) if "float" in str(f.type)}
_CAPO_ONLY = (
    "start", "base_matches", "pairs", "tau", "per_item", "rejected", "neighbours", "beta", "sft_weight", "checkpoints",
    "select",
)  # fmt: skip
_SFT_ONLY = ("rank", "alpha", "targets", "prompt", "shots", "leave_out")
_FLAGS = {"rate": "--lr", "start": "--from"}
_FREE = ("method", "task", "annotator", "shared")


def flag(name: str) -> str:
    """The command line's name of a field."""
    return _FLAGS.get(name, f"--{name.replace('_', '-')}")


def named_config(name: Path) -> Path:
    """The file of `--config NAME|FILE`; a UsageError that lists the names where there is neither."""
    if name.is_file():
        return name
    own = CONFIGS / f"{name}.toml"
    if own.parent != CONFIGS or not own.is_file():
        known = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.toml")))
        raise UsageError(f"--config {name}: no such file, and no such name; there are {known}")
    return own


def check_method(path: Path, method: str) -> None:
    """UsageError for a configuration of the other method, whose rate and epochs would be taken for this one's."""
    other, foreign = ("sft", _SFT_ONLY) if method == "capo" else ("capo", _CAPO_ONLY)
    given = {key.replace("_", "-") for key in read_train_toml(path)}
    found = sorted({flag(name)[2:] for name in foreign} & given)
    if found:
        raise UsageError(f"{path} configures {other} ({', '.join(found)}), not {method}")


def to_toml(config: Config) -> str:
    """The resolved settings as `--config` reads them; folders by their last name, so that no path is published."""
    lines = ["# hlvbench train " + config.method + ": the resolved settings; --model and --from are folder names"]
    for key, value in dataclasses.asdict(config.resolved()).items():
        if key in ("model", "start") and value is not None:
            value = shown_place(str(value))
        foreign = key in (_CAPO_ONLY if config.method == "sft" else _SFT_ONLY)
        if value is None or value in ((), {}) or key == "method" or foreign:
            continue
        lines.append(f"{flag(key)[2:]} = {_toml(float(value) if key in _FLOATS else value)}")
    return "\n".join(lines) + "\n"


def shown_place(place: str) -> str:
    """A hub id as it is, a local folder by its last name."""
    return Path(place).name if Path(place).expanduser().is_dir() else place


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def read_train_toml(path: Path) -> dict[str, Any]:
    """The settings recorded beside an adapter, under the command line's names."""
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from None


def config_differences(there: Mapping[str, Any], config: Config) -> list[str]:
    """What decides an adapter and differs between a recorded training and this one."""
    here = tomllib.loads(to_toml(config))
    free = {flag(name)[2:] for name in _FREE}
    keys = sorted({*there, *here} - free)
    return [f"--{k}: there {there.get(k)!r}, now {here.get(k)!r}" for k in keys if there.get(k) != here.get(k)]
