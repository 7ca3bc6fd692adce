"""What decides the answers of a run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from .errors import UsageError, all_problems
from .files import sha256_text

PROMPTS = ("base", "icl", "vp", "vp-icl")
SHOTS = 10


@dataclass(frozen=True)
class Settings:
    """What decides the answers: two runs with equal settings on equal data give equal files.

    Everything here is part of the run folder's name and of its manifest; the place of data, the batch size
    and the amount of talk are not. See CLI.md for each option.
    """

    model: str
    task: tuple[str, ...] = ("varierr", "r2")
    adapter_dir: str | None = None
    model_map: Mapping[str, str] = field(default_factory=dict)
    revision: str | None = None
    prompt: str = "base"
    shots: int = SHOTS
    shot_pick: str = "random"
    profile: str = "counted"
    split: str = "test"
    limit: int | None = None
    samples: int = 1
    temperature: float = 0.0
    max_new_tokens: int = 128
    seed: int = 0
    dtype: str = "auto"
    device: str = "auto"
    think: bool = False
    trust_remote_code: bool = False
    model_arg: Mapping[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """All that is wrong with the settings, in one UsageError."""
        problems = [f"--{name.replace('_', '-')} {value}: {why}" for name, value, wrong, why in (
            ("prompt", self.prompt, self.prompt not in PROMPTS, f"one of {', '.join(PROMPTS)}"),
            ("shot_pick", self.shot_pick, self.shot_pick not in ("random", "nearest"), "random or nearest"),
            ("profile", self.profile, self.profile not in ("counted", "model"), "counted or model"),
            ("shots", self.shots, self.shots < 0, "0 or more"),
            ("limit", self.limit, self.limit is not None and self.limit < 1, "1 or more items"),
            ("samples", self.samples, self.samples < 1, "1 or more"),
            ("temperature", self.temperature, not 0 <= self.temperature <= 100, "0 (greedy) to 100"),
            ("max_new_tokens", self.max_new_tokens, self.max_new_tokens < 1, "1 or more"),
            ("task", ",".join(self.task), not self.task or len(set(self.task)) < len(self.task), "each task once"),
        ) if wrong]  # fmt: skip
        if self.model.startswith(("reference:", "attack:")) and (self.adapter_dir or self.model_map):
            problems.append("a reference system takes neither --adapter-dir nor --model-map")
        if problems:
            raise UsageError(all_problems("these options do not make sense:", problems))

    def folder(self) -> str:
        """The default run folder's name: a function of the settings alone."""
        shown = [_slug(self.model), self.prompt]
        shown += [_slug(self.adapter_dir)] if self.adapter_dir else []
        return "-".join([*shown, sha256_text(json.dumps(asdict(self), sort_keys=True))[:8]])


def _slug(name: str) -> str:
    plain = name if ":" in name.split("/")[0] else name.rstrip("/").rsplit("/", 1)[-1]
    return re.sub(r"[^A-Za-z0-9._]+", "-", plain).strip("-.")[:60] or "model"
