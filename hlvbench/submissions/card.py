"""submission.toml: what a submission says about itself."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from ..baselines.baseline_registry import BASELINES, REFERENCES
from ..data.table import MOST_ID
from ..io import sha256_text
from ..text import hidden
from .safe_reading import unsafe, without_paths

HEAD = "# What this submission says about itself; made by `hlvbench submit` and `hlvbench check --write`.\n"
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)+")
_VERIFIED = re.compile(r"\n\[verified\]\n(?:[^\[\n].*\n)*")
_MOST_LISTED = 20_000


def _safe(value: str) -> str:
    if why := unsafe(value):
        raise ValueError(why)
    return value


def _one_line(value: str) -> str:
    if not value.strip() or "\n" in value:
        raise ValueError("one line of text was expected")
    return _safe(value)


def _link(value: str) -> str:
    """Only https and a host's name: nothing that a browser would run."""
    if re.search(r"[\s<>\"'`\\{}|^]", value) or hidden(value):
        raise ValueError("not a link")
    parts = urlsplit(value)
    if parts.scheme != "https" or parts.username is not None or parts.port or not _HOST.fullmatch(parts.hostname or ""):
        raise ValueError("a link begins with https:// and the name of a host")
    return value


def _baseline(value: str) -> str:
    kind, _, name = value.partition(":")
    if name not in {"reference": REFERENCES, "attack": BASELINES}.get(kind, ()):
        raise ValueError("neither reference:NAME nor attack:NAME of this version")
    return value


Name = Annotated[str, StringConstraints(max_length=80), AfterValidator(_one_line)]
Line = Annotated[str, StringConstraints(max_length=MOST_ID), AfterValidator(_one_line)]
Command = Annotated[str, StringConstraints(max_length=1000), AfterValidator(_one_line)]
Text = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_safe)]
Slug = Annotated[str, StringConstraints(max_length=60, pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
Day = Annotated[datetime.date, Field(ge=datetime.date(2020, 1, 1), le=datetime.date(2099, 12, 31))]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Link = Annotated[str, StringConstraints(max_length=300), AfterValidator(_link)]
Count = Annotated[int, Field(ge=0, lt=2**31)]
Amount = Annotated[float, Field(ge=0, le=1e9)]
TaskName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
FileName = Annotated[
    str, StringConstraints(max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*(/[A-Za-z0-9][A-Za-z0-9._+-]*)*$")
]
Split = Literal["train", "dev", "test"]
Method = Literal["base", "icl", "vp", "vp-icl", "sft", "capo", "adapter", "reference", "other"]
"""What rows are filtered by; `reference` is never ranked."""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Base(_Part):
    """The base model. distributed: whether others can get it."""

    name: Line
    revision: Line | None = None
    config_sha256: Sha256 | None = None
    weights_sha256: Sha256 | None = None
    distributed: bool | None = None


class Training(_Part):
    """What training read. annotators: whose annotations, in words."""

    annotators: Line
    splits: Annotated[list[Split], Field(max_length=3)]
    lewidi: bool
    note: Text = ""
    contaminated: bool | None = None


class Cost(_Part):
    hardware: Line | None = None
    hours: Amount | None = None
    usd: Amount | None = None
    note: Text | None = None


class Reproduce(_Part):
    commands: Annotated[list[Command], Field(min_length=1, max_length=20)]
    note: Text | None = None


class Verified(_Part):
    """A maintainer's record. card_sha256: the hash of the card that was verified (`card_digest`)."""

    date: Day
    hlvbench: Line
    largest_difference: Amount
    card_sha256: Sha256


class Adapter(_Part):
    task: Line
    annotator: Line
    sha256: Sha256


class Card(_Part):
    """A submission.toml.

    recipe: the baseline whose answers are dataset text and are therefore made again instead of published.
    overlap: task -> counts of memorised text. generations: task -> hash of the raw answers.
    files: path -> hash of every file but the card and the README.
    """

    format: Annotated[int, Field(ge=1, le=1)]
    name: Slug
    date: Day
    system: Name
    method: Method
    recipe: Annotated[str, AfterValidator(_baseline)] | None = None
    seed: Count | None = None
    authors: Annotated[list[Line], Field(min_length=1, max_length=60)]
    description: Text = ""
    links: dict[Literal["paper", "code", "model", "homepage"], Link] = {}
    base: Base | None = None
    asked: dict[Literal["prompt", "answers"], int | Line] = {}
    training: Training
    cost: Cost = Cost()
    reproduce: Reproduce
    overlap: dict[TaskName, dict[Literal["answers", "train_copies", "dataset_text"], Count]] = {}
    generations: dict[TaskName, Sha256]
    files: Annotated[dict[FileName, Sha256], Field(max_length=_MOST_LISTED)]
    adapters: Annotated[list[Adapter], Field(max_length=_MOST_LISTED)] = []
    verified: Verified | None = None

    @model_validator(mode="after")
    def _recipes_are_references(self) -> Card:
        if self.recipe and self.method != "reference":
            raise ValueError("a recipe is a baseline: method must be reference")
        return self

    @property
    def folder(self) -> str:
        """The name of the submission's folder, <YYYYMMDD>_<name>."""
        return f"{self.date:%Y%m%d}_{self.name}"


def in_future(day: datetime.date) -> str:
    """Why a date cannot be right, by this machine's clock; a day is granted to those east of Greenwich."""
    today = datetime.datetime.now(datetime.UTC).date()
    return f"{day} is in the future (today is {today})" if day > today + datetime.timedelta(days=1) else ""


def to_toml(card: Card) -> str:
    """The text of a submission.toml; [verified] comes last."""
    text = HEAD + tomli_w.dumps(card.model_dump(exclude_none=True, exclude_defaults=True, exclude={"verified"}))
    return text if card.verified is None else f"{text}\n[verified]\n{tomli_w.dumps(card.verified.model_dump())}"


def card_digest(text: str) -> str:
    """The sha256 of a submission.toml without its [verified]: the state that was verified."""
    return sha256_text(_VERIFIED.sub("", text))


def is_baseline(model: str) -> bool:
    """Whether a run's model is a reference system or an attack, which are never ranked."""
    return model.startswith(("reference:", "attack:"))


def publishes_dataset_text(model: str) -> bool:
    """Whether a run's answers are dataset text by construction: those of all references and attacks but `majority`."""
    return is_baseline(model) and model not in ("reference:majority", "attack:majority")


def role(card: Card, model: str = "") -> str:
    """ "system" (ranked), "ceiling", "floor" or "attack". model: the run's own, for a baseline that is no recipe."""
    model = card.recipe or model
    if card.method != "reference" or not is_baseline(model):
        return "system"
    kind, _, name = model.partition(":")
    if name in BASELINES and BASELINES[name].kind == "human":
        return "ceiling"
    return "attack" if kind == "attack" else "floor"


def base_of(described: Mapping[str, Any], model: str) -> dict[str, str]:
    """The base model as a run's manifest describes it: name, revision and hashes, where they are known."""
    found = {"name": str(without_paths(described.get("name") or model))}
    return found | {k: str(described[k]) for k in ("revision", "config_sha256", "weights_sha256") if described.get(k)}
