"""Where annotations come from.

Every module here is one source and offers the same two names:
`OPTIONS`, the task.toml keys that only it takes, and `load(spec, data_dir) -> Source`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from ..types import Annotation, Item, Label

SOURCES = ("varierr", "lewidi", "convarg", "table", "synthetic")
SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class TaskSpec:
    """A parsed task.toml.

    `labels` are all labels allowed (every integer of an ordinal range); `priority` the same labels,
    the strongest first. `fields` maps field names to shown names, in order; `meanings` labels to
    what they mean, in one clause. `splits` is a file name
    in `folder`, or fractions ({"train": .6, "dev": .2, "test": .2, "seed": 0}). `options` holds the
    keys that belong to the source alone, unparsed. `licence` says how the data may be used and whom to name.
    `index_without` names factors of `hlv_index` that cannot rank on this task. `problems` is what was wrong with
    the file: whoever loads the spec reports it, together with what else is found.
    """

    name: str
    version: str
    source: str
    kind: str
    labels: tuple[Label, ...]
    priority: tuple[Label, ...]
    instruction: str
    fields: Mapping[str, str]
    folder: Path
    min_records: int = 10
    majority_sentence: str = "This is my decision."
    meanings: Mapping[Label, str] = field(default_factory=dict)
    licence: str = ""
    index_without: tuple[str, ...] = ()
    splits: str | Mapping[str, float] = "splits.json"
    options: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """What a source gives: items, records, what was skipped, the hashes of what was read.

    `sha256` maps a file or parameter name to the hash of its content. `splits` is None where the
    task folder's splits file holds them; otherwise split name -> item ids.
    """

    items: Sequence[Item]
    records: Sequence[Annotation]
    skipped: Mapping[str, int] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, Sequence[str]] | None = None


def source_module(name: str) -> ModuleType:
    """The module of a source in `SOURCES`; a KeyError otherwise."""
    if name not in SOURCES:
        raise KeyError(name)
    return import_module(f"{__name__}.{name}")


def load_source(spec: TaskSpec, data_dir: Path | None) -> Source:
    """The items and records of a task; `data_dir` None means the cache, filled on first use."""
    found: Source = source_module(spec.source).load(spec, data_dir)
    return found
