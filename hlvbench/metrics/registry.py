"""One registry of metrics, and the signatures derived from it (docs/metrics.md section 11).

A metric is a function `f(answers, draws, *, parameters) -> Estimate`. Its keyword parameters, with
their `Literal`, `str`, `float` or `int` annotations, are the signature: nothing is listed by hand.
The reserved parameter `m` is the group size and prints as `@m`.
"""

from __future__ import annotations

import inspect
import math
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import numpy as np

from ..bootstrap import Draws, mean_over_annotators
from ..errors import MetricError

if TYPE_CHECKING:
    from ..types import Task
    from .predictions import Answers

Value = str | int | float
Variants = tuple[Mapping[str, Value], ...] | Callable[["Task"], tuple[Mapping[str, Value], ...]]


@dataclass(frozen=True)
class Estimate:
    """A statistic on R resamples of the items; NaN where it cannot be computed.

    Attributes:
        overall: (R,).
        n: Number of questions (or items) the value rests on.
        by_annotator: (R, K) in the order of `answers.annotators`; None where the metric has no value of one annotator.
        n_by_annotator: K numbers of questions.
        note: Why the value is NaN, or what it leaves out.
        notes: K notes, where they differ between annotators.
        intervals: (1 + K, 2), low and high of the overall value and of each annotator's, of a metric with
            `resamples=False`; NaN where there is none.
        floor: As `overall`, of a metric whose Spec.floor is "chance".
        floor_by_annotator: As `by_annotator`, of such a metric.
    """

    overall: np.ndarray
    n: int
    by_annotator: np.ndarray | None = None
    n_by_annotator: tuple[int, ...] | None = None
    note: str = ""
    notes: tuple[str, ...] | None = None
    intervals: np.ndarray | None = None
    floor: np.ndarray | None = None
    floor_by_annotator: np.ndarray | None = None


def over_annotators(by_annotator: np.ndarray, counts: tuple[int, ...], note: str = "") -> Estimate:
    """The usual shape: a value per annotator, and their mean as the value of all."""
    return Estimate(mean_over_annotators(by_annotator), sum(counts), by_annotator, counts, note)


@dataclass(frozen=True)
class Spec:
    """A metric's entry: its function and what a reader must know of its scale."""

    name: str
    function: Callable[..., Estimate]
    better: str
    bounds: tuple[float, float]
    kinds: tuple[str, ...]
    floor: str | None
    ceiling: str | None
    variants: Variants
    resamples: bool = True
    texts: bool = True
    large: Callable[[Task], Mapping[str, Value]] | None = None
    headline: Mapping[str, Value] | None = None
    all_annotators: bool = False

    @cached_property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        found = inspect.signature(self.function).parameters.values()
        return {p.name: p for p in found if p.kind is inspect.Parameter.KEYWORD_ONLY}

    @cached_property
    def hints(self) -> Mapping[str, Any]:
        return typing.get_type_hints(self.function)

    def variants_for(self, task: Task) -> tuple[Mapping[str, Value], ...]:
        """The parameter settings that a scorecard of `task` prints."""
        found = self.variants(task) if callable(self.variants) else self.variants
        limits = self.large(task) if self.large else {}
        return tuple({**variant, **limits} for variant in found) if limits else found


REGISTRY: dict[str, Spec] = {}


def metric(
    *,
    better: str,
    bounds: tuple[float, float] = (0.0, 1.0),
    kinds: tuple[str, ...] = ("nominal", "ordinal"),
    floor: str | None = "blind",
    ceiling: str | None = "human",
    variants: Variants = ({},),
    resamples: bool = True,
    texts: bool = True,
    large: Callable[[Task], Mapping[str, Value]] | None = None,
    headline: bool | Mapping[str, Value] = False,
    all_annotators: bool = False,
) -> Callable[[Callable[..., Estimate]], Callable[..., Estimate]]:
    """Register a function `f(answers, draws, *, parameters) -> Estimate` as a metric.

    Args:
        better: "higher", "lower", or "ideal" where neither is better.
        bounds: Range of the value.
        kinds: Task kinds the metric is defined for.
        floor: "blind" (the same metric of the blind reference), "chance" (the estimate's own `floor`) or None.
        ceiling: "human" or None.
        variants: The parameter settings that a scorecard prints, or a function of the task that returns them.
        resamples: False for a metric that has its own intervals and no replicates.
        texts: False for a metric of labels alone, which counts questions without a human explanation, too; the
            others see `answers.explained`.
        large: Returns parameters that keep the cost linear on a large task, and none on a small one (`bind_for`).
        headline: Whether reports, comparisons, the leaderboard and other harnesses show the metric first; a mapping:
            in the variants with these parameters. Their order is that of registration.
        all_annotators: True for a metric that the answers of a single annotator cannot be scored by.

    Raises:
        MetricError: If the name is registered twice.
    """
    shown = None if headline is False else {} if headline is True else headline

    def register(function: Callable[..., Estimate]) -> Callable[..., Estimate]:
        name = function.__name__
        if name in REGISTRY:
            raise MetricError(f"metric {name!r} is registered twice")
        REGISTRY[name] = Spec(
            name, function, better, bounds, kinds, floor, ceiling, variants, resamples, texts, large, shown,
            all_annotators,
        )  # fmt: skip
        return function

    return register


@dataclass(frozen=True)
class Metric:
    """A metric with all its parameters bound; prints to one string and parses back from it."""

    name: str
    arguments: tuple[tuple[str, Value], ...]

    @property
    def spec(self) -> Spec:
        return REGISTRY[self.name]

    @property
    def short(self) -> str:
        """The name with its group size: `imitation_score@10`."""
        m = dict(self.arguments).get("m")
        return self.name if m is None else f"{self.name}@{m}"

    @property
    def is_headline(self) -> bool:
        """Whether this variant is one that readers meet first."""
        return self.spec.headline is not None and self.matches(self.name, self.spec.headline)

    def matches(self, name: str, parameters: Mapping[str, Any]) -> bool:
        """Whether it is the metric of this name with at least these parameters."""
        return self.name == name and parameters.items() <= dict(self.arguments).items()

    def __str__(self) -> str:
        known = self.spec.parameters
        inner = ",".join(
            f"{k}={quote(str(v), safe='-._/@:+')}"
            for k, v in self.arguments
            if k != "m" and (v or known[k].default)  # an empty default, or 0, says that nothing is set
        )
        m = dict(self.arguments).get("m")
        return self.name + (f"({inner})" if inner else "") + ("" if m is None else f"@{m}")

    def __call__(self, answers: Answers, draws: Draws) -> Estimate:
        seen = answers.explained if self.spec.texts else answers
        if seen is not answers and not seen.questions:
            return Estimate(np.full(len(draws), np.nan), 0, note="no annotator explains these questions")
        return self.spec.function(seen, draws, **dict(self.arguments))


def _coerce(spec: Spec, key: str, value: Value) -> Value:
    hint = spec.hints[key]
    if typing.get_origin(hint) is typing.Literal:
        choices = typing.get_args(hint)
        for choice in choices:
            if str(choice) == str(value):
                return choice
        raise MetricError(f"{spec.name}: {key}={value} is not one of {', '.join(map(str, choices))}")
    try:
        made = hint(value)
        # int(5.7) would silently be 5, and NaN does not equal itself when parsed back
        if hint is not str and (made != float(value) or not math.isfinite(made)):
            raise ValueError
        return made
    except (TypeError, ValueError, OverflowError):
        raise MetricError(f"{spec.name}: {key}={value} is not of type {hint.__name__}") from None


EXTENSIONS = "hlvbench.metrics"
"""The entry point group of other packages' metrics: modules that use `metric` when they are imported."""


@lru_cache(maxsize=1)
def load_extensions() -> None:
    """Register the metrics of installed packages, once; a MetricError names a package that fails to load."""
    for entry in entry_points(group=EXTENSIONS):
        try:
            entry.load()
        except Exception as error:
            raise MetricError(
                f"the metrics {entry.name!r} of an installed package ({entry.value}) cannot be loaded: {error}; "
                f"repair or uninstall it"
            ) from error


def bind(name: str, **arguments: Value) -> Metric:
    """A metric by name with parameters; defaults fill the rest; anything unknown is an error."""
    if name not in REGISTRY:
        load_extensions()
    if name not in REGISTRY:
        raise MetricError(f"no metric {name!r}; there are {', '.join(sorted(REGISTRY))}")
    spec = REGISTRY[name]
    known = spec.parameters
    unknown = sorted(set(arguments) - set(known))
    if unknown:
        takes = ", ".join(known) or "no parameters"
        raise MetricError(f"{name} does not know {', '.join(unknown)}; it takes {takes}")
    bound = []
    for key, parameter in known.items():
        if key not in arguments and parameter.default is inspect.Parameter.empty:
            raise MetricError(f"{name} needs {'@m' if key == 'm' else key}")
        bound.append((key, _coerce(spec, key, arguments.get(key, parameter.default))))
    return Metric(name, tuple(bound))


def bind_for(task: Task, name: str, **arguments: Value) -> Metric:
    """`bind` with the parameters that the size of the task asks for, as in its scorecard."""
    limits = REGISTRY[name].large
    return bind(name, **{**(limits(task) if limits else {}), **arguments})


_FORM = re.compile(r"(?P<name>[a-z0-9_]+)(?:\((?P<inner>[^()]*)\))?(?:@(?P<m>\d+))?")


def parse_metric(text: str, defaults: Mapping[str, Value] | None = None) -> Metric:
    """`imitation_score(view=norm)@10` -> Metric; the inverse of `str`. defaults: of parameters that `text` lacks."""
    match = _FORM.fullmatch(text.strip())
    if not match:
        raise MetricError(f"{text!r} is not a metric; the form is name(parameter=value,...)@m")
    arguments: dict[str, Value] = {}
    for part in filter(None, (match["inner"] or "").split(",")):
        key, equals, value = part.partition("=")
        if not equals or key.strip() in arguments:
            raise MetricError(f"{text!r}: {part!r} is not parameter=value, or stands twice")
        arguments[key.strip()] = unquote(value.strip())
    if match["m"]:
        if "m" in arguments:
            raise MetricError(f"{text!r}: m stands twice")
        arguments["m"] = int(match["m"])
    return bind(match["name"], **{**(defaults or {}), **arguments})


def scorecard(task: Task, embed: str | None = None) -> list[Metric]:
    """Every metric that a task's kind has, in all the variants that are printed.

    embed: the name of the encoder at hand, bound where a metric takes one; None keeps the default encoder's.
    """
    load_extensions()
    out = []
    for spec in REGISTRY.values():
        encoder = {"embed": embed} if embed is not None and "embed" in spec.parameters else {}
        if task.kind in spec.kinds:
            out += [bind(spec.name, **{**encoder, **variant}) for variant in spec.variants_for(task)]
    return out


def headline_names(kind: str, one_annotator: bool = False) -> list[str]:
    """The short names of the headline metrics that other harnesses report: those of this package.

    Args:
        kind: Of the task, "nominal" or "ordinal".
        one_annotator: Only metrics that the answers of a single annotator can be scored by.
    """
    own = __name__.rpartition(".")[0]
    return [
        bind(spec.name, **spec.headline).short
        for spec in REGISTRY.values()
        if spec.headline is not None and kind in spec.kinds and spec.function.__module__.startswith(own)
        if not (one_annotator and spec.all_annotators)
    ]


BEFORE_0_2: Mapping[str, Mapping[str, Value]] = {"own_gain": {"within": "all"}, "hlv_index": {"within": "all"}}
"""What the signatures of the releases 0.1 do not say, because there was no choice."""


_SOMETIMES: Mapping[str, Callable[[str], Any]] = {
    "split": str, "limit": int, "only": str, "samples": int, "prompt": int, "answers": str, "history": int,
    "encoder": str,
}  # fmt: skip
"""Conditions that a signature names where they are not the default."""


@dataclass(frozen=True)
class Signature:
    """What a printed number is: the bound metric and the conditions it was computed under."""

    metric: Metric
    task: str
    missing: int
    version: str
    seed: int = 0
    boot: int = 1000
    split: str = "test"
    limit: int | None = None
    samples: int = 1
    only: str | None = None
    """Of a score on some questions of the split only: their number and the start of their hash, "12-1a2b3c4d"."""
    prompt: int | None = None
    """The version of the prompts' wording; None where it is not known, and of systems that read no prompt."""
    answers: str | None = None
    """How the answers were made, "free" or "constrained"; None as for `prompt`."""
    history: int | None = None
    """How many train items of an annotator the system was shown at most; None: all."""
    encoder: str | None = None
    """The sentence encoder; None: the default one."""

    def __str__(self) -> str:
        parts = [f"{k}:{getattr(self, k)}" for k in _SOMETIMES if getattr(self, k) != getattr(Signature, k)]
        parts += [f"seed:{self.seed}", f"boot:{self.boot}", f"missing:{self.missing}", f"hlvbench:{self.version}"]
        return "|".join([str(self.metric), self.task, *parts])


def parse_signature(text: str) -> Signature:
    """The inverse of `str(Signature)`; an unknown condition or a malformed one is a MetricError."""
    head, *rest = text.split("|")
    if not rest:
        raise MetricError(f"{text!r} is not a signature: no task")
    kinds: dict[str, Callable[[str], Any]] = {**_SOMETIMES, "seed": int, "boot": int, "missing": int, "hlvbench": str}
    found: dict[str, Any] = {}
    for part in rest[1:]:
        key, colon, value = part.partition(":")
        if not colon or key not in kinds or key in found:
            raise MetricError(f"signature {text!r}: unknown, doubled or malformed condition {part!r}")
        try:
            found[key] = kinds[key](value)
        except ValueError:
            raise MetricError(f"signature {text!r}: {part!r} is not a number") from None
    absent = sorted({"seed", "boot", "missing", "hlvbench"} - set(found))
    if absent:
        raise MetricError(f"signature {text!r}: {', '.join(absent)} missing")
    found["version"] = found.pop("hlvbench")
    unsaid = BEFORE_0_2.get(head.partition("(")[0]) if found["version"].startswith("0.1.") else None
    return Signature(parse_metric(head, unsaid), rest[0], **found)
