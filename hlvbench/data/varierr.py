"""VariErr NLI: one JSON line per item, each label with the annotators who gave it and their reasons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import DataError
from ..io import sha256_bytes, strict_json
from ..types import Annotation, Item, Pair
from . import Source
from .download import PinnedSpec, data_files

Spec = PinnedSpec


def load(spec: PinnedSpec, data_dir: Path | None) -> Source:
    """Every (annotator, label, reason) as one record; annotator k of the file is Ann(k+1).

    Pairs without a label are skipped: "idk" where the annotator marked only "I don't know",
    "silent" where there is nothing.
    """
    items, records, unsure = list[Item](), list[Annotation](), set[Pair]()
    files = data_files(spec, data_dir)
    for file, data in files.items():
        for number, line in enumerate(data.decode().split("\n"), start=1):
            if not line:
                continue
            try:
                row = strict_json(line)
                items.append(Item(row["id"], {name: row[name] for name in spec.fields}))
                records += _records(spec, row)
                unsure |= {(row["id"], _name(annotator)) for annotator in row["idk"]}
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{file}:{number}: not a row of VariErr: {error!r}") from None
    return Source(
        items, records, _skipped(items, records, unsure), {file: sha256_bytes(data) for file, data in files.items()}
    )


def _records(spec: PinnedSpec, row: dict[str, Any]) -> list[Annotation]:
    return [
        Annotation(row["id"], _name(given["annotator"]), label, given["reason"])
        for label in spec.labels
        for given in row[str(label)]
    ]


def _skipped(items: list[Item], records: list[Annotation], unsure: set[Pair]) -> dict[str, int]:
    asked = {(record.item, record.annotator) for record in records}
    names = {record.annotator for record in records}
    left = {(item.id, name) for item in items for name in names} - asked
    return {"idk": len(left & unsure), "silent": len(left - unsure)}


def _name(number: int) -> str:
    return f"Ann{number + 1}"
