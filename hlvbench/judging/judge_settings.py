"""What decides a judge's replies, and what they are called."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import PurePath
from typing import Any

from ..errors import UsageError, all_problems
from ..io import sha256_text
from ..settings import Settings, slug
from .questions import SHOTS, SHOWN

STYLOMETRIC = "stylometric"
_AUTO = "auto"


@dataclass(frozen=True)
class JudgeSettings:
    """A judge and the conditions it is asked under (docs/metrics.md section 8; docs/cli.md for each option).

    by: "style" (the stylometric judge), "letters" (the likelihood of each letter, one forward pass; local models) or
    "reply" (a short text); "auto" takes the first of these that the judge can do. view: of the explanations; "auto" is
    norm for the stylometric judge and raw for those that read.
    """

    judge: str = STYLOMETRIC
    by: str = _AUTO
    view: str = _AUTO
    show: tuple[str, ...] = ()
    shots: int = SHOTS
    orders: str = "one"
    seed: int = 0
    max_new_tokens: int = 16
    base_url: str | None = None
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    think: bool = False
    trust_remote_code: bool = False
    model_arg: Mapping[str, str] = field(default_factory=dict)

    def resolved(self) -> JudgeSettings:
        """With every "auto" decided; all that does not make sense is one UsageError."""
        styled = self.judge == STYLOMETRIC
        possible = ("style",) if styled else ("reply",) if self._remote else ("letters", "reply")
        by = possible[0] if self.by == _AUTO else self.by
        view = ("norm" if styled else "raw") if self.view == _AUTO else self.view
        problems = [why for why, wrong in (
            (f"--by {by}: {self.judge} is asked by {' or '.join(possible)}", by not in possible),
            (f"--view {view}: raw or norm", view not in ("raw", "norm")),
            (f"--orders {self.orders}: one or all", self.orders not in ("one", "all")),
            (f"--shots {self.shots}: a judge needs at least 1 record of each person", self.shots < 1),
            (f"--show {','.join(self.show)}: {', '.join(SHOWN)}, each once",
             not set(self.show) <= set(SHOWN) or len(set(self.show)) < len(self.show)),
            ("the stylometric judge reads the text alone; it takes no --show, no --base-url and no --think",
             styled and bool(self.show or self.base_url or self.think)),
            (f"--judge {self.judge}: it answers as an annotator does; a judge is {STYLOMETRIC}, a path or hub id, or "
             f"endpoint:MODEL", self.judge.startswith(("reference:", "replay:"))),
        ) if wrong]  # fmt: skip
        if problems:
            raise UsageError(all_problems("these options do not make sense:", problems))
        if not styled:
            self.model().check()
        new = {"style": 0, "letters": 1}.get(by, self.max_new_tokens)
        return replace(self, by=by, view=view, max_new_tokens=new, show=tuple(s for s in SHOWN if s in self.show))

    @property
    def _remote(self) -> bool:
        return self.judge.startswith(("endpoint:", "lm-eval:"))

    def model(self, tasks: tuple[str, ...] = ("",)) -> Settings:
        """The model behind the judge, as any other model's settings."""
        return Settings(
            self.judge, task=tasks, base_url=self.base_url, revision=self.revision, dtype=self.dtype,
            device=self.device, think=self.think, trust_remote_code=self.trust_remote_code, model_arg=self.model_arg,
            seed=self.seed, max_new_tokens=max(self.max_new_tokens, 1),
        )  # fmt: skip

    @property
    def shown_name(self) -> str:
        """The judge without the place where it lies on this machine."""
        kind, colon, rest = self.judge.partition(":")
        if colon and self._remote:
            return f"{kind}:{PurePath(rest).name if PurePath(rest).is_absolute() else rest}"
        return PurePath(self.judge).name or self.judge

    @property
    def title(self) -> str:
        """The judge's name, with 8 hex digits of the conditions where they are not the usual ones."""
        usual = JudgeSettings(self.judge, base_url=self.base_url).resolved()
        if self == usual:
            return self.shown_name
        # address and folder are none of the conditions: another judge of the same name is told apart by the plan
        conditions = json.dumps(asdict(replace(self, judge=self.shown_name, base_url=None)), sort_keys=True)
        return f"{self.shown_name}-{sha256_text(conditions)[:8]}"

    def stem(self) -> str:
        """The name of the judge's files."""
        return slug(self.title)

    def recorded(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return dict(json.loads(json.dumps(asdict(self))))


def recorded_settings(found: Mapping[str, Any]) -> JudgeSettings:
    """The inverse of `recorded`."""
    known = {f.name for f in fields(JudgeSettings)}
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items() if k in known}
    return JudgeSettings(**given)
