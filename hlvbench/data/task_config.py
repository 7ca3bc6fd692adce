"""task.toml -> TaskSpec, every problem in it found at once."""

from __future__ import annotations

import difflib
import re
import tomllib
import unicodedata
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ..errors import TaskError, all_problems
from ..io import read_text
from ..types import Label
from . import SOURCES, SPLITS, TaskSpec, source_module

KEYS = ("name", "version", "source", "kind", "labels", "range", "priority", "instruction", "fields", "splits",
        "min_records", "majority_sentence", "meanings", "licence", "index_without")  # fmt: skip
INDEX_FACTORS = ("decision", "grounding", "imitation", "distinctness")
MOST_SCORES = 1001
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,31}")


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


def read_spec(folder: Path) -> TaskSpec:
    """The spec of a task folder.

    Problems with single keys are put into `TaskSpec.problems`, their keys left empty, so that a table
    can report them with its own; a TaskError is raised where the file or its source is unreadable.
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
    return _Reader(folder, text, data, source).spec()


def require_sound(spec: TaskSpec) -> None:
    """Raise a TaskError with all problems of the spec, if it has any."""
    if spec.problems:
        raise TaskError(all_problems(f"{spec.folder}: {len(spec.problems)} problems", spec.problems))


class _Reader:
    """Takes one key after the other out of the parsed file and notes what is wrong."""

    def __init__(self, folder: Path, text: str, data: Mapping[str, Any], source: str) -> None:
        self.folder, self.text, self.data, self.source = folder, text, data, source
        self.own = tuple(source_module(source).OPTIONS)
        self.problems: list[str] = []

    def wrong(self, key: str, message: str) -> None:
        found = re.compile(rf"\s*\[*\s*\"?{re.escape(key)}\"?\s*[.=\]]")
        lines = (number for number, line in enumerate(self.text.split("\n"), start=1) if found.match(line))
        number = next(lines, None)
        self.problems.append(f"task.toml{f':{number}' if number else ''}: {key}: {message}")

    def spec(self) -> TaskSpec:
        for key in self.data:
            if key not in (*KEYS, *self.own):
                self.wrong(key, f"unknown key{nearest(key, (*KEYS, *self.own))}")
        kind = self.kind()
        labels = self.scores() if kind == "ordinal" else self.names() if kind == "nominal" else ()
        return TaskSpec(
            name=self.name(),
            version=self.version(),
            source=self.source,
            kind=kind,
            labels=labels,
            priority=self.priority(labels),
            instruction=self.line("instruction", None),
            fields=self.fields(),
            folder=self.folder,
            min_records=self.min_records(),
            majority_sentence=self.line("majority_sentence", TaskSpec.majority_sentence),
            meanings=self.meanings(labels),
            licence=self.line("licence", None) if "licence" in self.data else "",
            index_without=self.index_without(),
            splits=self.splits(),
            options={key: self.data[key] for key in self.own if key in self.data},
            problems=tuple(self.problems),
        )

    def name(self) -> str:
        name = self.data.get("name")
        if name != self.folder.name:
            self.wrong("name", f"must be the name of the folder, {self.folder.name!r}, got {name!r}")
        if not is_name(self.folder.name):
            self.wrong("name", "1 to 64 letters, digits, '-' and '_' are allowed, a letter or digit first")
        return self.folder.name

    def version(self) -> str:
        version = self.data.get("version")
        if isinstance(version, str) and _VERSION.fullmatch(version):
            return version
        self.wrong("version", f'a string such as "1" is needed (letters, digits, "." and "-"), got {version!r}')
        return ""

    def kind(self) -> str:
        kind = self.data.get("kind")
        if kind in ("nominal", "ordinal"):
            return str(kind)
        self.wrong("kind", f'"nominal" or "ordinal" is needed, got {kind!r}')
        return ""

    def names(self) -> tuple[Label, ...]:
        labels = self.data.get("labels")
        if "range" in self.data:
            self.wrong("range", "belongs to ordinal tasks; a nominal one lists its labels")
        if not isinstance(labels, list) or len(labels) < 2:
            self.wrong("labels", f"a list of at least two strings is needed, got {labels!r}")
        elif bad := [x for x in labels if not isinstance(x, str) or x != x.strip() or not x or not is_printable(x)]:
            self.wrong("labels", f"each must be a string of one line without outer spaces, got {bad!r}")
        elif len({x.casefold() for x in labels}) < len(labels):
            self.wrong("labels", f"two are equal when case is ignored, as readers of answers do: {labels!r}")
        else:
            return tuple(labels)
        return ()

    def scores(self) -> tuple[Label, ...]:
        bounds = self.data.get("range")
        if "labels" in self.data:
            self.wrong("labels", "belongs to nominal tasks; an ordinal one gives range = [lowest, highest]")
        if not isinstance(bounds, list) or len(bounds) != 2 or any(type(x) is not int for x in bounds):
            self.wrong("range", f"[lowest, highest] as two integers is needed, got {bounds!r}")
        elif not 1 <= bounds[1] - bounds[0] < MOST_SCORES:
            self.wrong("range", f"from low to high, 2 to {MOST_SCORES} scores, got {bounds!r}")
        else:
            return tuple(range(bounds[0], bounds[1] + 1))
        return ()

    def priority(self, labels: tuple[Label, ...]) -> tuple[Label, ...]:
        priority = self.data.get("priority")
        if priority is None or not labels:
            return labels
        same = isinstance(priority, list) and len(priority) == len(labels) and all(x in labels for x in priority)
        if not same or len(set(priority)) < len(labels) or {type(x) for x in priority} != {type(labels[0])}:
            self.wrong("priority", f"must hold every label once ({', '.join(map(str, labels))}), got {priority!r}")
            return labels
        return tuple(priority)

    def line(self, key: str, default: str | None) -> str:
        text = self.data.get(key, default)
        if isinstance(text, str) and text.strip():
            return text
        self.wrong(key, f"a non-empty string is needed, got {text!r}")
        return ""

    def fields(self) -> Mapping[str, str]:
        fields = self.data.get("fields")
        if not isinstance(fields, dict) or not fields:
            self.wrong("fields", f'at least one field = "Shown name" is needed, got {fields!r}')
            return {}
        for key, shown in fields.items():
            if not isinstance(shown, str) or shown != shown.strip() or not shown or not is_printable(shown):
                self.wrong("fields", f"{key} = {shown!r}: a shown name of one line, without outer spaces, is needed")
            if not key.strip() or not is_printable(key):
                self.wrong("fields", f"{key!r} cannot name a field")
        if len({str(shown) for shown in fields.values()}) < len(fields):
            self.wrong("fields", f"two fields have the same shown name: {list(fields.values())!r}")
        return {str(key): str(shown) for key, shown in fields.items()}

    def meanings(self, labels: tuple[Label, ...]) -> Mapping[Label, str]:
        table = self.data.get("meanings", {})
        if not isinstance(table, dict):
            self.wrong("meanings", f'a table of label = "what it means" is needed, got {table!r}')
            return {}
        known = {str(label): label for label in labels}
        for name, clause in table.items():
            if name not in known and labels:
                self.wrong("meanings", f"{name!r} is no label of the task")
            if not isinstance(clause, str) or not clause.strip() or not is_printable(clause):
                self.wrong("meanings", f"{name} = {clause!r}: one line of text is needed")
        absent = [str(label) for label in labels if str(label) not in table]
        if table and absent and self.data.get("kind") == "nominal":
            self.wrong("meanings", f"say what every label means, or none; {', '.join(absent)} missing")
        return {known[name]: str(clause).strip() for name, clause in table.items() if name in known}

    def index_without(self) -> tuple[str, ...]:
        left = self.data.get("index_without", [])
        if not isinstance(left, list) or any(factor not in INDEX_FACTORS for factor in left):
            self.wrong("index_without", f"a list of {', '.join(INDEX_FACTORS)} is needed, got {left!r}")
            return ()
        if len(set(left)) < len(left) or len(left) == len(INDEX_FACTORS):
            self.wrong("index_without", f"each at most once, and not all of them, got {left!r}")
            return ()
        return tuple(left)

    def min_records(self) -> int:
        count = self.data.get("min_records", TaskSpec.min_records)
        if type(count) is int and count >= 1:
            return count
        self.wrong("min_records", f"an integer of at least 1 is needed, got {count!r}")
        return 1

    def splits(self) -> str | Mapping[str, float]:
        splits = self.data.get("splits", "splits.json")
        if isinstance(splits, str):
            if Path(splits).name != splits or splits in ("", ".", "..") or "\\" in splits:
                self.wrong("splits", f"the name of a file in the task's folder is needed, got {splits!r}")
                return "splits.json"
            return splits
        if isinstance(splits, dict) and self.source == "table":
            return self.fractions(splits)
        what = "a file name or [splits] fractions" if self.source == "table" else "a file name"
        self.wrong("splits", f"{what} needed, got {splits!r}")
        return "splits.json"

    def fractions(self, table: Mapping[str, Any]) -> Mapping[str, float]:
        known = (*SPLITS, "seed")
        for key in table:
            if key not in known:
                self.wrong("splits", f"unknown key {key!r}{nearest(key, known)}")
        parts = {split: table.get(split, 0) for split in SPLITS}
        seed = table.get("seed", 0)
        bad = [k for k, v in parts.items() if type(v) not in (int, float) or not 0 <= v < 1]
        if bad or abs(sum(parts.values()) - 1) > 1e-6 or not parts["train"] or not parts["test"]:
            got = ", ".join(f"{k} = {v!r}" for k, v in parts.items())
            self.wrong("splits", f"fractions of train and test (and dev) that sum to 1 are needed, got {got}")
            parts = {"train": 0.6, "dev": 0.2, "test": 0.2}
        if type(seed) is not int:
            self.wrong("splits", f"seed: an integer is needed, got {seed!r}")
            seed = 0
        return {**parts, "seed": seed}
