"""What decides the answers of a run: one definition for Python, the command line and --config files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import Field, TypeAdapter, ValidationError

from .errors import RunError, UsageError, all_problems, option_problems
from .io import read_document, sha256_text

SETTINGS = "settings.json"
Prompt = Literal["base", "icl", "vp", "vp-icl"]
PROMPTS = get_args(Prompt)
Answers = Literal["free", "constrained"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
DEFAULT_TASKS = ("varierr", "r2")
"""The default set: what a run answers unless told otherwise, and whose mean is the overall value."""
SHOTS = 10
PROMPT_VERSION: Literal[2] = 2
"""Of the prompts' wording (`prompt.instruction`): part of what a run and a training are."""
Count = Annotated[int, Field(ge=1)]


def json_or_text(word: str) -> Any:
    """The value of a KEY=VALUE option: JSON, or Python's True and False, where it is that; else the word."""
    try:
        return json.loads(word.lower() if word in ("True", "False") else word)
    except ValueError:
        return word


@dataclass(frozen=True)
class Settings:
    """What decides the answers: two runs with equal settings on equal data give equal files.

    The settings are the run folder's name and are recorded in the run. The command line derives its options from the
    fields and from the lines below.

    Args:
        model: a path, hub id or smollm2; endpoint:NAME, reference:NAME, attack:NAME, lm-eval:BACKEND,..., replay:FILE
        task: tasks, comma-separated
        adapter_dir: DIR/<task>/<annotator>/, DIR/<annotator>/, one shared adapter, or org/name[@revision]
        model_map: Ann1=PATH,...: a model (or a name that the endpoint serves) per annotator
        base_matches: the adapters' base is --model, whatever name or hash is recorded with them
        annotator: only the questions of this annotator; repeatable (default: all who are scored)
        revision: revision of the model on the hub
        prompt: instruction only, with worked examples (icl), with a value profile (vp), or both
        answers: constrained: the likeliest allowed label, then an explanation of one line
        shots: worked examples of icl, at most
        shot_pick: which worked examples
        profile: value profile of vp, counted from train annotations or written by the model
        history: show at most N train items of each annotator, drawn by seed (default: all)
        split: split to answer
        limit: the first N items only
        samples: full sets of answers
        temperature: 0 is greedy
        max_new_tokens: token limit of an answer
        seed: seed of sampling, example choice, reference systems and resampling
        dtype: type of the weights
        device: such as cpu, cuda or cuda:1
        think: let the model think; the thoughts are dropped and counted
        trust_remote_code: run code from the model's repository
        model_arg: KEY=VALUE to from_pretrained; of an endpoint, a field of the request; repeatable
        base_url: the endpoint, such as http://localhost:8000/v1
    """

    model: str
    task: tuple[str, ...] = DEFAULT_TASKS
    adapter_dir: str | None = None
    model_map: Mapping[str, str] = field(default_factory=dict)
    base_matches: bool | None = None
    annotator: tuple[str, ...] | None = None
    revision: str | None = None
    prompt: Prompt = "base"
    prompt_version: Literal[2] = PROMPT_VERSION
    answers: Answers = "free"
    shots: Annotated[int, Field(ge=0)] = SHOTS
    shot_pick: Literal["random", "nearest"] = "random"
    profile: Literal["counted", "model"] = "counted"
    history: Count | None = None
    split: Literal["test", "dev"] = "test"
    limit: Count | None = None
    samples: Count = 1
    temperature: Annotated[float, Field(ge=0, le=100)] = 0.0
    max_new_tokens: Count = 128
    seed: int = 0
    dtype: Dtype = "auto"
    device: str = "auto"
    think: bool = False
    trust_remote_code: bool = False
    model_arg: Mapping[str, str] = field(default_factory=dict)
    base_url: str | None = None

    def check(self) -> None:
        """Validate the settings.

        Raises:
            UsageError: Everything that is wrong, each problem with its option.
        """
        problems = invalid_options(self)
        if not self.task or len(set(self.task)) < len(self.task):
            problems.append(f"--task {','.join(self.task)}: each task once")
        given = {"--model": self.model, "--adapter-dir": self.adapter_dir, "--annotator": self.annotator}
        problems += [f"{o}: is empty; name something, or leave it out" for o, v in given.items() if v in ("", ())]
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
    """How an endpoint is called; nothing here changes an answer. Its key is read from OPENAI_API_KEY.

    Args:
        concurrency: calls at a time
        timeout: seconds of one call
        retries: further calls after a failed one
        requests_per_minute: begin at most N calls per minute (default: no limit)
    """

    concurrency: Annotated[int, Field(ge=1, le=256)] = 4
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 120.0
    retries: Annotated[int, Field(ge=0, le=100)] = 5
    requests_per_minute: Annotated[float, Field(gt=0)] | None = None

    def check(self) -> None:
        """Validate the settings; a UsageError names all that is wrong."""
        if problems := invalid_options(self):
            raise UsageError(all_problems("these options do not make sense:", problems))


def invalid_options(settings: Any) -> list[str]:
    """The problems of a settings dataclass that pydantic finds, as `option_problems` words them."""
    try:
        TypeAdapter(type(settings)).validate_python(asdict(settings))
    except ValidationError as error:
        return option_problems(error)
    return []


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings recorded in a run folder, with the defaults of those that its release did not have.

    `answers` and `prompt_version` stay absent where they were not recorded: those releases asked otherwise.

    Raises:
        DataError: There is no settings.json, or it is not that of a run; all problems at once.
    """
    defaults = asdict(Settings(""))
    del defaults["answers"], defaults["prompt_version"]
    return {**defaults, **read_document(folder / SETTINGS, Settings)}


def answered_tasks(folder: Path) -> list[str]:
    """The tasks that a run answers; a RunError where it ranks judges, whose scores are of another kind."""
    tasks: list[str] = list(read_settings(folder)["task"])
    if any("/" in name for name in tasks):
        raise RunError(f"{folder}: its scores rank judges, not systems; hlvbench score {folder} shows them")
    return tasks


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
