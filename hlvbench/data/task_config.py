"""task.toml -> TaskSpec, validated by pydantic: every problem at once, with its line."""

from __future__ import annotations

import difflib
import re
import tomllib
import unicodedata
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from ..errors import TaskError, all_problems
from ..io import read_text
from ..types import Label
from . import SOURCES, SPLITS, source_module

INDEX_FACTORS = ("decision", "grounding", "imitation", "distinctness")
MOST_SCORES = 1001
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def is_name(name: str) -> bool:
    """Whether `name` may name a task or a subset: a safe folder name that also fits a signature."""
    return _NAME.fullmatch(name) is not None


def nearest(word: str, known: Collection[str]) -> str:
    """ " (did you mean 'x'?)", or the known words when none is near."""
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else f" (known: {', '.join(known)})"


def is_printable(text: str) -> bool:
    """One line of text: no control, format or unassigned characters, no line breaks, no lone surrogates."""
    return all(unicodedata.category(c)[0] != "C" and unicodedata.category(c) not in ("Zl", "Zp") for c in text)


def _one_line(text: str) -> str:
    if not text or text != text.strip() or not is_printable(text):
        raise ValueError("one line of text without outer spaces is needed")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("a text that is not blank is needed")
    return text


Line = Annotated[str, AfterValidator(_one_line)]
Text = Annotated[str, AfterValidator(_not_blank)]
# not strict: TOML has lists alone
Labels = Annotated[tuple[Any, ...], Field(strict=False)]


class TaskSpec(BaseModel):
    """A parsed task.toml: the keys that every source takes. A validator sees the fields above its own.

    Attributes:
        labels: All labels allowed; every integer of an ordinal range.
        priority: The same labels, the strongest first.
        fields: Field name to shown name, in the order of prompts.
        meanings: Label to its meaning, in one clause.
        licence: How the data may be used and whom to name.
        index_without: Factors of `hlv_index` that cannot rank on this task.
        splits: A file name in `folder`, or fractions (`{"train": .6, "dev": .2, "test": .2, "seed": 0}`).
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)
    folder: Path
    source: str
    kind: Literal["nominal", "ordinal"]
    range: list[int] | None = None
    labels: Labels = ()
    priority: Labels = ()
    name: str
    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,31}$")
    instruction: Text
    fields: dict[Line, Line] = Field(min_length=1)
    min_records: int = Field(default=10, ge=1)
    majority_sentence: Text = "This is my decision."
    meanings: dict[Any, Line] = {}
    licence: Text | None = None
    index_without: list[Literal["decision", "grounding", "imitation", "distinctness"]] = []
    splits: Any = "splits.json"

    @field_validator("range")
    @classmethod
    def _range(cls, bounds: list[int] | None, info: ValidationInfo) -> list[int] | None:
        kind = info.data.get("kind")
        if kind == "nominal" and bounds is not None:
            raise ValueError("belongs to ordinal tasks; a nominal one lists its labels")
        if kind == "ordinal" and (bounds is None or len(bounds) != 2):
            raise ValueError("[lowest, highest] as two integers is needed")
        if bounds and not 1 <= bounds[-1] - bounds[0] < MOST_SCORES:
            raise ValueError(f"from low to high, 2 to {MOST_SCORES} scores are needed")
        return bounds

    @field_validator("labels")
    @classmethod
    def _labels(cls, labels: tuple[Label, ...], info: ValidationInfo) -> tuple[Label, ...]:
        if info.data.get("kind") == "ordinal":
            if labels:
                raise ValueError("belongs to nominal tasks; an ordinal one has range = [lowest, highest]")
            low, high = info.data.get("range") or (0, -1)
            return tuple(range(low, high + 1))
        if len(labels) < 2 or not all(isinstance(label, str) for label in labels):
            raise ValueError("a list of at least two texts is needed")
        names = [_one_line(str(label)).casefold() for label in labels]
        if len(set(names)) < len(names):
            raise ValueError("two are equal when case is ignored, as it is when answers are read")
        return labels

    @field_validator("priority")
    @classmethod
    def _priority(cls, priority: tuple[Label, ...], info: ValidationInfo) -> tuple[Label, ...]:
        labels = info.data.get("labels", ())
        if priority and labels and sorted(map(repr, priority)) != sorted(map(repr, labels)):
            raise ValueError(f"every label must stand once ({', '.join(map(str, labels))})")
        return priority or labels

    @field_validator("name")
    @classmethod
    def _name(cls, name: str, info: ValidationInfo) -> str:
        if name != info.data["folder"].name:
            raise ValueError(f"must be the name of the folder, {info.data['folder'].name!r}")
        if not is_name(name):
            raise ValueError("1 to 64 letters, digits, '-' and '_' are allowed, a letter or digit first")
        return name

    @field_validator("fields")
    @classmethod
    def _fields(cls, fields: dict[str, str]) -> dict[str, str]:
        if len(set(fields.values())) < len(fields):
            raise ValueError("two fields have the same shown name")
        return fields

    @field_validator("meanings")
    @classmethod
    def _meanings(cls, meanings: dict[str, str], info: ValidationInfo) -> dict[Label, str]:
        labels = {str(label): label for label in info.data.get("labels", ())}
        if labels and (foreign := [name for name in meanings if name not in labels]):
            raise ValueError(f"{', '.join(map(repr, foreign))}: no label of the task")
        absent = [name for name in labels if name not in meanings]
        if meanings and absent and info.data.get("kind") == "nominal":
            raise ValueError(f"say what every label means, or none; {', '.join(absent)} missing")
        return {labels[name]: clause for name, clause in meanings.items() if name in labels}

    @field_validator("index_without")
    @classmethod
    def _index_without(cls, factors: list[str]) -> list[str]:
        if len(set(factors)) < len(factors) or len(factors) == len(INDEX_FACTORS):
            raise ValueError("each factor at most once, and not all of them")
        return factors

    @field_validator("splits")
    @classmethod
    def _splits(cls, splits: Any, info: ValidationInfo) -> Any:
        if isinstance(splits, dict) and info.data["source"] == "table":
            return _fractions(splits)
        if not isinstance(splits, str) or Path(splits).name != splits or "\\" in splits or splits in ("", ".", ".."):
            raise ValueError("the name of a file in the task's folder is needed")
        return splits


def _fractions(table: Mapping[str, Any]) -> dict[str, Any]:
    """The [splits] table with its defaults."""
    known = (*SPLITS, "seed")
    if unknown := [key for key in table if key not in known]:
        raise ValueError(f"unknown key {unknown[0]!r}{nearest(unknown[0], known)}")
    parts, seed = {split: table.get(split, 0) for split in SPLITS}, table.get("seed", 0)
    if type(seed) is not int:
        raise ValueError("seed: an integer is needed")
    wrong = any(type(part) not in (int, float) or not 0 <= part < 1 for part in parts.values())
    if wrong or abs(sum(parts.values()) - 1) > 1e-6 or not parts["train"] or not parts["test"]:
        raise ValueError("fractions of train and test (and dev) that sum to 1 are needed")
    return {**parts, "seed": seed}


def read_spec(folder: Path) -> Any:
    """The `Spec` of a task folder's source.

    Raises:
        TaskError: All problems of the file, with their lines.
    """
    path = folder / "task.toml"
    text = read_text(path)
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise TaskError(f"{path}: not valid TOML: {error}") from None
    source = data.get("source")
    if not isinstance(source, str) or source not in SOURCES:
        raise TaskError(f"{path}: source must be one of {', '.join(SOURCES)}, got {source!r}")
    spec = source_module(source).Spec
    try:
        return spec.model_validate({**data, "folder": folder})
    except ValidationError as error:
        problems = [_problem(e, text, spec) for e in error.errors()]
    raise TaskError(all_problems(f"{folder}: {len(problems)} problems", problems))


def _problem(error: Mapping[str, Any], text: str, spec: type[TaskSpec]) -> str:
    """ "task.toml:LINE: key: message"."""
    key, *inner = map(str, error["loc"])
    pattern = re.compile(rf"\s*\[*\s*\"?{re.escape(key)}\"?\s*[.=\]]")
    line = next((f":{n}" for n, line in enumerate(text.split("\n"), start=1) if pattern.match(line)), "")
    if error["type"] == "extra_forbidden":
        message = "unknown key" + ("" if inner else nearest(key, spec.model_fields))
    elif error["type"] == "missing":
        message = "is missing"
    else:
        message = f"{error['msg'].removeprefix('Value error, ')}, got {error['input']!r:.200}"
    return ": ".join([f"task.toml{line}", key, *inner, message])
