"""UKPConvArg1: XML files of argument pairs, each with the choices and reasons of crowd workers.

Workers are named Ann1, Ann2, ... by their number of records in all files (ties: by worker id); their ids go nowhere.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import PositiveInt

from ..errors import DataError, TaskError
from ..io import sha256_bytes
from ..types import Annotation, Item
from . import SPLITS, Source
from .download import PinnedSpec, data_files
from .splits import given_splits


class Spec(PinnedSpec):
    """A task of this source.

    Attributes:
        annotators: The names of the workers with most records; all others are left out.
        least_records: Instead of `annotators`: least number of records of a worker who is kept.
        debates: Split to the starts of its files' names; None where a splits file lists the pairs.
    """

    least_records: PositiveInt | None = None
    debates: dict[Literal["train", "dev", "test"], list[str]] | None = None


Votes = Mapping[str, tuple[str, str]]
"""Worker id -> label and reason."""


def load(spec: Spec, data_dir: Path | None) -> Source:
    """The first record with a reason of every kept worker on every pair of two different arguments.

    Kept are as many workers as `annotators` has names, those with most records; or all with `least_records`.
    With `debates` (split -> starts of file names) the splits are all pairs with two kept workers; without, those of
    the splits file.
    """
    files = data_files(spec, data_dir)
    pairs = [pair for file, data in files.items() for pair in _pairs(spec, file, data)]
    names = _names(spec, Counter(worker for _, votes in pairs for worker in votes))
    kept = [(item, {names[w]: vote for w, vote in votes.items() if w in names}) for item, votes in pairs]
    splits = None
    if spec.debates is not None:
        kept = [(item, votes) for item, votes in kept if len(votes) >= 2]
        splits = _by_debate(spec, [item.id for item, _ in kept])
    else:
        chosen = {item for ids in given_splits(spec).ids.values() for item in ids}
        kept = [(item, votes) for item, votes in kept if item.id in chosen]
    records = [Annotation(item.id, name, *vote) for item, votes in kept for name, vote in votes.items()]
    hashes = {file: sha256_bytes(data) for file, data in files.items()}
    return Source([item for item, _ in kept], records, {}, hashes, splits)


def _pairs(spec: Spec, file: str, data: bytes) -> Iterator[tuple[Item, Votes]]:
    """The pairs of two different arguments of one file. Line breaks within a text become spaces."""
    where = file
    try:
        text = data.decode()
        if "<!DOCTYPE" in text:  # without one there are no entities to expand or to load
            raise ValueError("a document type declaration is not allowed")
        for pair in ET.fromstring(text).iter("annotatedArgumentPair"):
            where = f"{file}: pair {pair.findtext('id')}"
            stance, a1, a2 = (_text(pair, path) for path in ("arg1/stance", "arg1/text", "arg2/text"))
            texts = {"debate": f"{_text(pair, 'debateMetaData/title')} – {stance}", "a1": a1, "a2": a2}
            votes: dict[str, tuple[str, str]] = {}
            for vote in pair.iter("mTurkAssignment"):
                if reason := _text(vote, "reason"):
                    votes.setdefault(_text(vote, "turkID"), (_text(vote, "value"), reason))
            if a1 and a2 and a1 != a2:
                name = f"{file.removesuffix('.xml')}/{pair.findtext('id')}"
                # arguments of one side meet in chains of pairs: grouped by text, a split would be two to ten clusters
                yield Item(name, {field: texts[field] for field in spec.fields}, group=name), votes
    except (ValueError, KeyError, ET.ParseError) as error:
        raise DataError(f"{where}: not a file of UKPConvArg1: {error!r}") from None


def _text(node: ET.Element, path: str) -> str:
    return " ".join(node.findtext(path, "").split())


def _names(spec: Spec, counts: Counter[str]) -> dict[str, str]:
    """Worker id -> annotator of the kept workers."""
    ranked = sorted(counts, key=lambda worker: (-counts[worker], worker))
    if spec.annotators is not None and spec.least_records is None:
        ranked = ranked[: len(spec.annotators)]
    elif spec.annotators is None and spec.least_records is not None:
        ranked = [worker for worker in ranked if counts[worker] >= spec.least_records]
    else:
        raise TaskError(f"{spec.folder / 'task.toml'}: either annotators or least_records is needed")
    return {worker: f"Ann{k}" for k, worker in enumerate(ranked, start=1)}


def _by_debate(spec: Spec, ids: list[str]) -> dict[str, list[str]]:
    """Split -> the items of its debates; a TaskError for a debate in no split or in two."""
    splits: dict[str, list[str]] = {split: [] for split in SPLITS}
    for item in ids:
        own = [split for split, starts in (spec.debates or {}).items() if item.startswith(tuple(starts))]
        if len(own) != 1:
            file = item.partition("/")[0]
            raise TaskError(f"{spec.folder / 'task.toml'}: debates: {file} must be in one split, is in {len(own)}")
        splits[own[0]].append(item)
    return splits
