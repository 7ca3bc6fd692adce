"""What decides the answers of a run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .errors import UsageError, all_problems
from .io import sha256_text

PROMPTS = ("base", "icl", "vp", "vp-icl")
ANSWERS = ("free", "constrained")
SHOTS = 10
PROMPT_VERSION = 2
"""Of the prompts' wording (`prompt.instruction`): part of what a run and a training are."""


@dataclass(frozen=True)
class Settings:
    """What decides the answers: two runs with equal settings on equal data give equal files.

    Everything here is part of the run folder's name and of its manifest; the place of data, the batch size
    and the amount of talk are not. See docs/cli.md for each option.
    """

    model: str
    task: tuple[str, ...] = ("varierr", "r2")
    adapter_dir: str | None = None
    model_map: Mapping[str, str] = field(default_factory=dict)
    base_matches: bool | None = None
    annotator: tuple[str, ...] | None = None
    revision: str | None = None
    prompt: str = "base"
    prompt_version: int = PROMPT_VERSION
    answers: str = "free"
    shots: int = SHOTS
    shot_pick: str = "random"
    profile: str = "counted"
    history: int | None = None
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
    base_url: str | None = None

    def check(self) -> None:
        """All that is wrong with the settings, in one UsageError."""
        problems = [f"--{name.replace('_', '-')} {value}: {why}" for name, value, wrong, why in (
            ("prompt", self.prompt, self.prompt not in PROMPTS, f"one of {', '.join(PROMPTS)}"),
            ("prompt_version", self.prompt_version, self.prompt_version != PROMPT_VERSION,
             f"this release words prompts in version {PROMPT_VERSION} alone"),
            ("answers", self.answers, self.answers not in ANSWERS, f"one of {', '.join(ANSWERS)}"),
            ("shot_pick", self.shot_pick, self.shot_pick not in ("random", "nearest"), "random or nearest"),
            ("profile", self.profile, self.profile not in ("counted", "model"), "counted or model"),
            ("shots", self.shots, self.shots < 0, "0 or more"),
            ("history", self.history, self.history is not None and self.history < 1, "1 or more train items"),
            ("limit", self.limit, self.limit is not None and self.limit < 1, "1 or more items"),
            ("samples", self.samples, self.samples < 1, "1 or more"),
            ("temperature", self.temperature, not 0 <= self.temperature <= 100, "0 (greedy) to 100"),
            ("max_new_tokens", self.max_new_tokens, self.max_new_tokens < 1, "1 or more"),
            ("task", ",".join(self.task), not self.task or len(set(self.task)) < len(self.task), "each task once"),
        ) if wrong]  # fmt: skip
        if self.model.startswith(("reference:", "attack:")) and (self.adapter_dir or self.model_map):
            problems.append("a reference system takes neither --adapter-dir nor --model-map")
        if self.answers == "constrained" and self.model.startswith(("reference:", "attack:", "replay:", "lm-eval:")):
            kind = self.model.partition(":")[0]
            problems.append(f"--answers constrained: is for local models and endpoints, not for {kind}: models")
        problems += self._endpoint_problems()
        if problems:
            raise UsageError(all_problems("these options do not make sense:", problems))

    def _endpoint_problems(self) -> list[str]:
        if not self.model.startswith("endpoint:"):
            return ["--base-url goes with --model endpoint:NAME"] if self.base_url else []
        problems = []
        if self.model == "endpoint:":
            problems.append("--model endpoint: names no model; write endpoint:NAME, the name that the server knows")
        if not self.base_url:
            problems.append(
                "--model endpoint: needs --base-url URL, the server that the prompts are sent to "
                "(http://localhost:8000/v1, say)"
            )
        elif (why := _no_base_url(self.base_url)) is not None:
            problems.append(f"--base-url: {why}")
        if self.adapter_dir:
            problems.append("an endpoint loads no --adapter-dir; name what it serves: --model-map Ann1=NAME,...")
        local = {"revision": None, "device": "auto", "dtype": "auto", "think": False, "trust_remote_code": False}
        if moot := [f"--{k.replace('_', '-')}" for k, default in local.items() if getattr(self, k) != default]:
            problems.append(
                f"{', '.join(moot)}: a server decides that itself; fields of its requests are --model-arg NAME=VALUE "
                f'(chat_template_kwargs={{"enable_thinking":true}}, say)'
            )
        return problems

    def folder(self) -> str:
        """The default run folder's name: a function of the settings alone."""
        shown = [slug(self.model), self.prompt]
        shown += [slug(self.adapter_dir)] if self.adapter_dir else []
        return "-".join([*shown, sha256_text(json.dumps(asdict(self), sort_keys=True))[:8]])


@dataclass(frozen=True)
class Service:
    """How an endpoint is asked; nothing here changes an answer. timeout: seconds per call, of which there are at most
    1 + `retries`; requests_per_minute: no more calls than that are begun, None for no limit."""

    concurrency: int = 4
    timeout: float = 120.0
    retries: int = 5
    requests_per_minute: float | None = None

    def check(self) -> None:
        problems = [f"--{name} {value}: {why}" for name, value, wrong, why in (
            ("concurrency", self.concurrency, not 1 <= self.concurrency <= 256, "1 to 256 calls at a time"),
            ("timeout", self.timeout, not 0 < self.timeout < float("inf"), "more than 0 seconds"),
            ("retries", self.retries, not 0 <= self.retries <= 100, "0 to 100"),
            ("requests-per-minute", self.requests_per_minute,
             self.requests_per_minute is not None and not self.requests_per_minute > 0, "more than 0"),
        ) if wrong]  # fmt: skip
        if problems:
            raise UsageError(all_problems("these options do not make sense:", problems))


def _no_base_url(url: str) -> str | None:
    """Why a text cannot be a base URL; None if it can. What may be a credential is not repeated."""
    try:
        found = urlsplit(url)
        host, _ = found.hostname, found.port
    except ValueError as error:
        return str(error)
    if found.username or found.password or found.query or found.fragment:
        return "holds credentials, a query or a fragment; a key goes into the environment variable OPENAI_API_KEY"
    if found.scheme not in ("http", "https") or not host:
        return f"{url!r} is no http or https address"
    return None


def asked_by(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What signatures say of how a system was asked, of recorded settings: prompt version, kind of answers, history.

    The first two only for systems that read a prompt; nothing for runs of releases that did not record it.
    """
    cut = {"history": settings["history"]} if settings.get("history") is not None else {}
    if str(settings.get("model", "")).startswith(("reference:", "attack:", "replay:")) or "answers" not in settings:
        return cut
    return {"prompt": settings["prompt_version"], "answers": settings["answers"], **cut}


def slug(name: str) -> str:
    plain = name if ":" in name.split("/")[0] else name.rstrip("/").rsplit("/", 1)[-1]
    return re.sub(r"[^A-Za-z0-9._]+", "-", plain).strip("-.")[:60] or "model"
