"""LeWiDi-2025 files: a JSON object of items, labels and explanations in two parallel places."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..io import sha256_bytes, strict_json
from ..types import Annotation, Item, Label
from . import Source
from .download import PinnedSpec, data_files

Spec = PinnedSpec


def load(spec: PinnedSpec, data_dir: Path | None) -> Source:
    """All items of all files, their shared-task splits put together.

    `explanations[i]` belongs to the i-th name of `annotators`, which repeats a name once per label.
    """
    items, records = list[Item](), list[Annotation]()
    files = data_files(spec, data_dir)
    for file, data in files.items():
        try:
            rows = strict_json(data.decode())
            for item, row in rows.items():
                items.append(Item(item, {name: row["text"][name] for name in spec.fields}))
                records += _records(spec, item, row)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{file}: not a LeWiDi file: item {len(items)}: {error!r}") from None
    return Source(items, records, {}, {file: sha256_bytes(data) for file, data in files.items()})


def _records(spec: PinnedSpec, item: str, row: dict[str, Any]) -> list[Annotation]:
    names, explanations = row["annotators"].split(","), row["other_info"]["explanations"]
    seen = Counter[str]()
    records = []
    for name, explanation in zip(names, explanations, strict=True):
        given = row["annotations"][name].split(",")
        label: Label = int(given[seen[name]]) if spec.kind == "ordinal" else given[seen[name]]
        seen[name] += 1
        records.append(Annotation(item, name, label, explanation))
    return records
