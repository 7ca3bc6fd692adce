"""What decides a judge's replies, and what they are called."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, field, fields
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.dataclasses import dataclass

from ..errors import UsageError, all_problems, option_problems
from ..generation.open_model import is_local
from ..io import sha256_text
from ..settings import Dtype, Settings, slug
from .questions import SHOTS, SHOWN

STYLOMETRIC = "stylometric"
OF_A_MODEL = ("show", "base_url", "revision", "dtype", "device", "think", "trust_remote_code", "model_arg")
"""The settings that the stylometric judge, which reads the text alone and has no model, does not take."""


@dataclass(frozen=True, config=ConfigDict(validate_default=True, extra="forbid"))
class JudgeSettings:
    """A judge and the conditions it is asked under (docs/metrics.md section 8).

    Every "auto" is resolved on construction, so equal conditions are equal settings. `base_url`, `revision`, `dtype`,
    `device`, `think`, `trust_remote_code` and `model_arg` are those of the judge's model, as in `Settings`.

    Args:
        judge: "stylometric", a path or hub id, "endpoint:MODEL", or KIND:REST of any other backend.
        by: "style" (the stylometric judge), "letters" (the likelihood of each letter in one forward pass; local
            models) or "reply" (a short text). "auto" takes the first of these that the judge supports.
        view: view of the explanations. "auto" is "norm" for the stylometric judge and "raw" for the others.
        show: "label" shows all labels, "input" the inputs of the annotations shown; default: neither.
        shots: annotations shown per candidate, 1 or more.
        orders: "one" asks each question once, each letter being right equally often; "all" asks every cyclic shift of
            the letters.
        seed: of the candidates, references and letters of the questions, and of the resampling.
        max_new_tokens: token limit of a reply, 1 or more; 1 for "letters" and 0 for "style", whatever the value.

    Raises:
        pydantic.ValidationError: with every problem; `judge_settings` turns it into a UsageError.
    """

    judge: str = STYLOMETRIC
    by: Literal["auto", "style", "letters", "reply"] = "auto"
    view: Literal["auto", "raw", "norm"] = "auto"
    show: tuple[str, ...] = ()
    shots: Annotated[int, Field(ge=1)] = SHOTS
    orders: Literal["one", "all"] = "one"
    seed: int = 0
    max_new_tokens: int = 16
    base_url: str | None = None
    revision: str | None = None
    dtype: Dtype = "auto"
    device: str = "auto"
    think: bool = False
    trust_remote_code: bool = False
    model_arg: Mapping[str, str] = field(default_factory=dict)

    @field_validator("judge")
    @classmethod
    def _can_judge(cls, judge: str) -> str:
        if judge.startswith(("reference:", "attack:", "replay:")):
            raise ValueError(
                f"it answers as an annotator does; a judge is {STYLOMETRIC}, a path or hub id, or endpoint:MODEL"
            )
        return judge

    @field_validator("by")
    @classmethod
    def _resolve_by(cls, by: str, info: ValidationInfo) -> str:
        if "judge" not in info.data:  # it is wrong itself
            return by
        judge = info.data["judge"]
        possible = ("style",) if judge == STYLOMETRIC else ("letters", "reply") if is_local(judge) else ("reply",)
        if by not in ("auto", *possible):
            raise ValueError(f"{judge} is asked by {' or '.join(possible)}")
        return possible[0] if by == "auto" else by

    @field_validator("view")
    @classmethod
    def _resolve_view(cls, view: str, info: ValidationInfo) -> str:
        return view if view != "auto" else "norm" if info.data.get("judge") == STYLOMETRIC else "raw"

    @field_validator("show")
    @classmethod
    def _known_show(cls, show: tuple[str, ...]) -> tuple[str, ...]:
        if not set(show) <= set(SHOWN) or len(set(show)) < len(show):
            raise ValueError(f"choose among {' and '.join(SHOWN)}, each at most once")
        return tuple(name for name in SHOWN if name in show)

    @field_validator("max_new_tokens")
    @classmethod
    def _resolve_tokens(cls, tokens: int, info: ValidationInfo) -> int:
        if info.data.get("by") == "reply" and tokens < 1:
            raise ValueError("a reply has at least 1 token")
        return {"style": 0, "letters": 1}.get(info.data.get("by", ""), tokens)

    @model_validator(mode="after")
    def _check_model(self) -> JudgeSettings:
        if self.judge != STYLOMETRIC:
            self.model().check()
        return self

    @property
    def conditions(self) -> dict[str, Any]:
        """The arguments of `attribution_questions`."""
        return {name: getattr(self, name) for name in ("shots", "seed", "orders", "show", "view")}

    def model(self, tasks: tuple[str, ...] = ("",)) -> Settings:
        """The settings of the model behind the judge."""
        return Settings(self.judge, task=tasks, **{name: getattr(self, name) for name in OF_A_RUN})

    @property
    def shown_name(self) -> str:
        """The judge without the folder where it lies on this machine."""
        kind, colon, name = self.judge.partition(":")
        if colon and "/" not in kind:
            return f"{kind}:{PurePath(name).name if PurePath(name).is_absolute() else name}"
        return PurePath(self.judge).name or self.judge

    @property
    def title(self) -> str:
        """The judge's name, with 8 hex digits of the conditions where they are not the default ones."""
        if self == JudgeSettings(self.judge, base_url=self.base_url):
            return self.shown_name
        # the plan beside the replies tells apart judges of one name at several addresses
        conditions = {**asdict(self), "judge": self.shown_name, "base_url": None}
        return f"{self.shown_name}-{sha256_text(json.dumps(conditions, sort_keys=True))[:8]}"

    def stem(self) -> str:
        """The stem of the judge's file names."""
        return slug(self.title)

    def recorded(self) -> dict[str, Any]:
        """The settings as JSON holds them; `judge_settings(**recorded)` is the inverse."""
        return dict(json.loads(json.dumps(asdict(self))))


OF_A_RUN = {f.name for f in fields(JudgeSettings)} & {f.name for f in fields(Settings)} - {"shots"}
"""The options of a run that a judge has, too."""


def judge_settings(**options: Any) -> JudgeSettings:
    """`JudgeSettings` of options or of recorded settings.

    Raises:
        UsageError: with every problem, each named by its command-line option.
    """
    try:
        return JudgeSettings(**options)
    except ValidationError as error:
        raise UsageError(all_problems("these options do not make sense:", option_problems(error))) from None


def refuse_options_of_models(settings: JudgeSettings) -> None:
    """A UsageError for options that the stylometric judge does not take, which settings of older releases hold."""
    given = [name for name in OF_A_MODEL if getattr(settings, name) not in ((), {}, None, False, "auto")]
    if settings.judge == STYLOMETRIC and given:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(f"{named}: the stylometric judge reads the text alone and has no model; leave it out")
