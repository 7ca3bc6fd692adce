"""Splits: read from a file, or made by shared input text and then frozen; checked either way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..bootstrap import clusters
from ..errors import DataError
from ..io import dump_json, read_text, sha256_text, strict_json, write_atomic
from ..types import Item
from . import SPLITS, TaskSpec
from .task_config import is_name, nearest

FROZEN = "splits.json"


@dataclass(frozen=True)
class Splits:
    """Item ids of train, dev (may be empty) and test; `subsets` are named parts of them.

    `made_from` is what frozen splits were derived from, None for splits written by hand.
    `text` is the file's text, for line numbers.
    """

    ids: Mapping[str, tuple[str, ...]]
    subsets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    made_from: Mapping[str, Any] | None = None
    file: str = FROZEN
    text: str = ""

    def at(self, item: str) -> str:
        """ "splits.json:3,17": where an id stands."""
        quoted = (json.dumps(item), json.dumps(item, ensure_ascii=False))
        lines = [str(n) for n, line in enumerate(self.text.split("\n"), start=1) if any(q in line for q in quoted)]
        return f"{self.file}:{','.join(lines[:4])}" if lines else self.file

    @property
    def sha256(self) -> str:
        """Of the ids alone, whatever the file looks like."""
        return sha256_text(dump_json([{k: list(v) for k, v in part.items()} for part in (self.ids, self.subsets)]))


def read_splits(spec: TaskSpec, problems: list[str]) -> Splits | None:
    """The splits file of a task, or None with its problems noted."""
    file = spec.splits if isinstance(spec.splits, str) else FROZEN
    try:
        text = read_text(spec.folder / file)
        data = strict_json(text)
    except DataError as error:
        problems.append(str(error))
        return None
    except (ValueError, RecursionError) as error:
        problems.append(f"{file}: not valid JSON: {error}")
        return None
    before = len(problems)
    if not isinstance(data, dict):
        problems.append(f'{file}: an object {{"train": [...], "dev": [...], "test": [...]}} is needed')
        return None
    for key in data:
        if key not in (*SPLITS, "subsets", "made_from"):
            problems.append(f"{file}: unknown key {key!r}{nearest(key, (*SPLITS, 'subsets'))}")
    ids = {split: _ids(data.get(split, []), f"{file}: {split}", problems) for split in SPLITS}
    given = data.get("subsets", {})
    if not isinstance(given, dict) or not all(is_name(name) for name in given):
        problems.append(f"{file}: subsets: an object of names (letters, digits, - and _) to lists of ids is needed")
        given = {}
    subsets = {name: _ids(found, f"{file}: subsets: {name}", problems) for name, found in given.items()}
    made_from = data.get("made_from")
    if made_from is not None and not isinstance(made_from, dict):
        problems.append(f"{file}: made_from: an object is needed")
    return Splits(ids, subsets, made_from, file, text) if len(problems) == before else None


def _ids(value: Any, where: str, problems: list[str]) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(x, str) for x in value):
        return tuple(value)
    problems.append(f"{where}: a list of item ids (strings) is needed")
    return ()


def split_problems(splits: Splits, items: Mapping[str, Item], complete: bool = True) -> list[str]:
    """Ids that are unknown, doubled, in two splits or in none; empty train or test; foreign subset ids.

    Unknown ids count only if `items` is `complete`.
    """
    problems, where = [], dict[str, list[str]]()
    for split, ids in splits.ids.items():
        for item in ids:
            where.setdefault(item, []).append(split)
    for item, found in where.items():
        if complete and item not in items:
            problems.append(f"{splits.at(item)}: item {item!r} of {found[0]} does not exist")
        if len(found) > 1:
            problems.append(f"{splits.at(item)}: item {item!r} is listed {len(found)} times: {', '.join(found)}")
    problems += [f"{splits.file}: item {item!r} is in no split" for item in items if item not in where]
    problems += [f"{splits.file}: {split} is empty" for split in ("train", "test") if not splits.ids[split]]
    for name, ids in splits.subsets.items():
        problems += [f"{splits.at(i)}: item {i!r} of subset {name} is in no split" for i in ids if i not in where]
    return problems


def shared_text_problems(splits: Splits, items: Mapping[str, Item]) -> list[str]:
    """Groups of items that share an input text and yet lie in several splits."""
    of = {item: split for split, ids in splits.ids.items() for item in ids}
    known = [items[item] for item in of if item in items]
    problems = []
    for group in clusters(known):
        members = [known[position].id for position in group]
        if len({of[item] for item in members}) > 1:
            named = ", ".join(f"{item} ({of[item]})" for item in members[:6]) + ", ..." * (len(members) > 6)
            problems.append(
                f"{splits.at(members[0])}: items that share an input text lie in several splits: {named}; "
                "move them together, set allow_shared_text = true in task.toml, or name by `clusters` there what keeps "
                "items together"
            )
    return problems


def make_splits(
    items: Sequence[Item], fractions: Mapping[str, float], together: bool = True
) -> dict[str, tuple[str, ...]]:
    """Items to splits by fractions, those that share an input text together (if `together`).

    Groups stand in the order of sha256("hlvbench-splits:<seed>:<smallest id>"); test, then dev take each
    next group that still fits their share, train the rest. Nothing depends on the order of `items`.
    """
    groups = clusters(items) if together else tuple((position,) for position in range(len(items)))
    named = [sorted(items[position].id for position in group) for group in groups]
    seed = int(fractions["seed"])
    named.sort(key=lambda ids: hashlib.sha256(f"hlvbench-splits:{seed}:{ids[0]}".encode()).digest())
    out: dict[str, list[str]] = {split: [] for split in SPLITS}
    for split in ("test", "dev"):
        share, left = round(fractions[split] * len(items)), []
        for ids in named:
            if len(out[split]) + len(ids) <= share:
                out[split] += ids
            else:
                left.append(ids)
        named = left
    out["train"] = [item for ids in named for item in ids]
    return {split: tuple(sorted(ids)) for split, ids in out.items()}


def fraction_splits(
    spec: TaskSpec, items: Sequence[Item], items_sha256: str, together: bool, problems: list[str]
) -> Splits | None:
    """The frozen splits of a task with [splits] fractions, or new ones where none are frozen yet.

    Frozen splits that were made from other items or other fractions are a problem: the question list
    of old runs must not change under the same task version.
    """
    assert not isinstance(spec.splits, str)
    made_from = {"items_sha256": items_sha256, "allow_shared_text": not together, **spec.splits}
    if "clusters" in spec.options:
        made_from["clusters"] = spec.options["clusters"]
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
            groups = clusters(items) if together else items
            largest = max((len(g) for g in clusters(items)), default=0)
            problems.append(
                f"task.toml: splits: {split} would be empty: {len(items)} items in {len(groups)} groups that share "
                f"an input text, the largest of {largest}; a field that repeats (a genre, a source) is no input text: "
                "leave it out, name by `clusters` what belongs together, or set allow_shared_text = true"
            )
    return Splits(ids, made_from=made_from)


def freeze(spec: TaskSpec, splits: Splits) -> None:
    """Write new made splits beside the items, once; a folder that cannot be written is left alone.

    There the splits are made anew at every load, from the same items to the same ids.
    """
    path = spec.folder / FROZEN
    if splits.made_from is None or path.exists():
        return
    try:
        write_atomic(path, dump_json({**splits.ids, "made_from": dict(splits.made_from)}))
    except OSError:
        return
