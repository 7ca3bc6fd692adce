"""Splits: read from a file, or made by shared input text and then frozen; checked either way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from ..bootstrap import clusters
from ..errors import DataError, TaskError, all_problems
from ..io import dump_json, read_text, sha256_text, strict_json, write_atomic
from ..types import Item
from . import SPLITS
from .task_config import TaskSpec, is_name, nearest

FROZEN = "splits.json"


def _subset_name(name: str) -> str:
    if not is_name(name):
        raise ValueError("letters, digits, - and _ are allowed in a name")
    return name


class SplitsFile(BaseModel):
    """splits.json. `made_from` is what frozen splits were derived from; None for splits written by hand."""

    model_config = ConfigDict(extra="forbid", strict=True)
    train: list[str] = []
    dev: list[str] = []
    test: list[str] = []
    subsets: dict[Annotated[str, AfterValidator(_subset_name)], list[str]] = {}
    made_from: dict[str, Any] | None = None


@dataclass(frozen=True)
class Splits:
    """Item ids of train, dev (may be empty) and test; `subsets` are named parts of them.

    Attributes:
        made_from: What frozen splits were derived from; None for splits written by hand.
        file: The file that they were read from, for messages.
        text: Its text, for line numbers.
    """

    ids: Mapping[str, tuple[str, ...]]
    subsets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    made_from: Mapping[str, Any] | None = None
    file: str = FROZEN
    text: str = ""

    def at(self, item: str) -> str:
        """Where an id stands: "splits.json:3,17"."""
        quoted = (json.dumps(item), json.dumps(item, ensure_ascii=False))
        lines = [str(n) for n, line in enumerate(self.text.split("\n"), start=1) if any(q in line for q in quoted)]
        return f"{self.file}:{','.join(lines[:4])}" if lines else self.file

    @property
    def sha256(self) -> str:
        """Of the ids alone, whatever the file looks like."""
        return sha256_text(dump_json([{k: list(v) for k, v in part.items()} for part in (self.ids, self.subsets)]))


def read_splits(spec: TaskSpec, problems: list[str]) -> Splits | None:
    """The splits file of a task; None where it is wrong, its problems appended to `problems`."""
    file = spec.splits if isinstance(spec.splits, str) else FROZEN
    try:
        text = read_text(spec.folder / file)
        data = SplitsFile.model_validate(strict_json(text))
    except DataError as error:
        problems.append(str(error))
    except ValidationError as error:
        problems += [_problem(file, e) for e in error.errors()]
    except (ValueError, RecursionError) as error:
        problems.append(f"{file}: not valid JSON: {error}")
    else:
        ids = {split: tuple(getattr(data, split)) for split in SPLITS}
        subsets = {name: tuple(items) for name, items in data.subsets.items()}
        return Splits(ids, subsets, data.made_from, file, text)
    return None


def _problem(file: str, error: Mapping[str, Any]) -> str:
    where = [file, *map(str, error["loc"])]
    if error["type"] == "extra_forbidden":
        return f"{file}: unknown key {where[-1]!r}{nearest(where[-1], (*SPLITS, 'subsets'))}"
    return ": ".join([*where, error["msg"].removeprefix("Value error, ")])


def given_splits(spec: TaskSpec) -> Splits:
    """The splits file of a task; a TaskError with all problems where it is wrong."""
    problems: list[str] = []
    splits = read_splits(spec, problems)
    if splits is None:
        raise TaskError(all_problems(f"{spec.folder}: {len(problems)} problems", problems))
    return splits


def split_problems(splits: Splits, items: Mapping[str, Item], complete: bool = True) -> list[str]:
    """Ids that are unknown, doubled, in two splits or in none; an empty train or test; foreign ids in subsets.

    Args:
        splits: The splits to check.
        items: The items of the task by id.
        complete: Whether `items` holds all items, so that an id which is not in it is unknown.
    """
    problems, places = [], dict[str, list[str]]()
    for split, ids in splits.ids.items():
        for item in ids:
            places.setdefault(item, []).append(split)
    for item, own in places.items():
        if complete and item not in items:
            problems.append(f"{splits.at(item)}: item {item!r} of {own[0]} does not exist")
        if len(own) > 1:
            problems.append(f"{splits.at(item)}: item {item!r} is listed {len(own)} times: {', '.join(own)}")
    problems += [f"{splits.file}: item {item!r} is in no split" for item in items if item not in places]
    problems += [f"{splits.file}: {split} is empty" for split in ("train", "test") if not splits.ids[split]]
    for name, ids in splits.subsets.items():
        problems += [f"{splits.at(i)}: item {i!r} of subset {name} is in no split" for i in ids if i not in places]
    return problems


def shared_text_problems(splits: Splits, items: Mapping[str, Item]) -> list[str]:
    """Groups of items that share an input text and yet are in several splits."""
    split_of = {item: split for split, ids in splits.ids.items() for item in ids}
    known = [items[item] for item in split_of if item in items]
    problems = []
    for group in clusters(known):
        members = [known[position].id for position in group]
        if len({split_of[item] for item in members}) > 1:
            named = ", ".join(f"{item} ({split_of[item]})" for item in members[:6]) + ", ..." * (len(members) > 6)
            problems.append(
                f"{splits.at(members[0])}: items that share an input text are in several splits: {named}; "
                "move them together, set allow_shared_text = true in task.toml, or name by `clusters` there what keeps "
                "items together"
            )
    return problems


def make_splits(
    items: Sequence[Item], fractions: Mapping[str, float], together: bool = True
) -> dict[str, tuple[str, ...]]:
    """Assign items to splits by fractions, those that share an input text together (if `together`).

    Groups are sorted by sha256("hlvbench-splits:<seed>:<smallest id>"); test, then dev take each next group that
    still fits their share, train takes the rest. Nothing depends on the order of `items`.
    """
    groups = clusters(items) if together else tuple((position,) for position in range(len(items)))
    left = [sorted(items[position].id for position in group) for group in groups]
    seed = int(fractions["seed"])
    left.sort(key=lambda ids: hashlib.sha256(f"hlvbench-splits:{seed}:{ids[0]}".encode()).digest())
    splits: dict[str, list[str]] = {split: [] for split in SPLITS}
    for split in ("test", "dev"):
        share, rest = round(fractions[split] * len(items)), []
        for ids in left:
            if len(splits[split]) + len(ids) <= share:
                splits[split] += ids
            else:
                rest.append(ids)
        left = rest
    splits["train"] = [item for ids in left for item in ids]
    return {split: tuple(sorted(ids)) for split, ids in splits.items()}


def fraction_splits(
    spec: Any, items: Sequence[Item], items_sha256: str, together: bool, problems: list[str]
) -> Splits | None:
    """The frozen splits of a task with [splits] fractions, or new ones where none are frozen yet.

    Frozen splits that were made from other items or other fractions are a problem: the questions of old runs must
    not change under the same task version.
    """
    made_from = {"items_sha256": items_sha256, "allow_shared_text": not together, **spec.splits}
    if spec.clusters is not None:
        made_from["clusters"] = spec.clusters
    if (spec.folder / FROZEN).exists():
        frozen = read_splits(spec, problems)
        if frozen is not None and frozen.made_from is None:
            problems.append(f'{FROZEN}: written by hand, but task.toml has [splits]: say splits = "{FROZEN}" there')
        elif frozen is not None and frozen.made_from != made_from:
            changed = sorted(k for k, v in made_from.items() if (frozen.made_from or {}).get(k) != v)
            problems.append(
                f"{FROZEN}: frozen from other input ({', '.join(changed)} changed): restore that, or delete "
                f"{FROZEN} and raise the version in task.toml, since old scores are no longer comparable"
            )
        return frozen
    ids = make_splits(items, spec.splits, together)
    for split in SPLITS:
        if spec.splits[split] and not ids[split]:
            groups = clusters(items)
            problems.append(
                f"task.toml: splits: {split} would be empty: {len(items)} items in "
                f"{len(groups) if together else len(items)} groups that share an input text, the largest of "
                f"{max(map(len, groups), default=0)}; a field that repeats (a genre, a source) is no input text: "
                "leave it out, name by `clusters` what belongs together, or set allow_shared_text = true"
            )
    return Splits(ids, made_from=made_from)


def freeze(spec: TaskSpec, splits: Splits) -> None:
    """Write new splits beside the items, once.

    A folder that cannot be written is left alone: there the same items give the same splits at every load.
    """
    path = spec.folder / FROZEN
    if splits.made_from is not None and not path.exists():
        with suppress(OSError):
            write_atomic(path, dump_json({**splits.ids, "made_from": dict(splits.made_from)}))
