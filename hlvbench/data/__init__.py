"""Where annotations come from.

Every module of `SOURCES` offers the same two names: `Spec`, a `task_config.TaskSpec` with the task.toml keys that only
this source takes, and `load(spec, data_dir) -> Source`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType

from ..types import Annotation, Item

SOURCES = ("varierr", "lewidi", "convarg", "table", "synthetic")
SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Source:
    """What a source returns.

    Attributes:
        skipped: Reason to number of question pairs that were left out.
        sha256: File or parameter name to the hash of what was read.
        splits: Split name to item ids; None where the splits file of the task's folder holds them.
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
