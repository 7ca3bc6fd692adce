"""A task of your own: `source = "table"`, a folder with task.toml, items.jsonl and annotations.jsonl.

docs/own-data.md describes the files. A second record of the same item and annotator is kept (two labels, or two
reasons for one); an exact copy of a record is a problem, since it would count twice. Every problem of every file is
reported at once, with file and line.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError

from ..bootstrap import plain_text
from ..errors import DataError, TaskError, all_problems, validation_problems
from ..io import read_text, sha256_file, sha256_text, strict_json
from ..types import Annotation, Item
from . import Source
from .splits import Splits, fraction_splits, read_splits, shared_text_problems, split_problems
from .task_config import TaskSpec, is_printable, nearest

ITEMS, ANNOTATIONS = "items.jsonl", "annotations.jsonl"
GROUPED = ("group", "id")
MOST_PROBLEMS = 200
MOST_ID = 200
RESERVED = set('/\\:*?"<>|,=')
Row = TypeVar("Row", bound=BaseModel)


class Spec(TaskSpec):
    """A task of this source. Annotators' names become folder names and parts of options, so they are restricted."""

    allow_shared_text: bool = False
    clusters: str | None = None
    optional: tuple[str, ...] = Field(default=(), strict=False)


def _blank_as_empty(value: Any) -> Any:
    return "" if value is None or (isinstance(value, str) and not value.strip()) else value


def _text(value: str) -> str:
    if any(0xD800 <= ord(c) <= 0xDFFF for c in value):
        raise ValueError("half of a surrogate pair")
    return value


def _id(value: str) -> str:
    if not value or value != value.strip() or len(value) > MOST_ID or not is_printable(value):
        needed = f"1 to {MOST_ID} characters without control characters or outer spaces are needed"
        raise ValueError(f"{needed}, got {value[:40]!r}")
    return value


def _annotator(value: str) -> str:
    """Any script is allowed; not what cannot be a folder name everywhere."""
    if reserved := sorted(set(value) & RESERVED):
        raise ValueError(f"{value!r} holds {' '.join(reserved)}, which no folder name or option may hold")
    if value[0] in ".-" or value[-1] == "." or len(value.encode()) > MOST_ID or value.casefold() == "ref":
        no = f"no '.' or '-' first, no '.' last, {MOST_ID} bytes, not 'ref'"
        raise ValueError(f"{value!r} cannot name a folder ({no})")
    if unicodedata.normalize("NFC", value) != value:
        raise ValueError(f"{value!r} is not in Unicode NFC")
    return value


Id = Annotated[str, AfterValidator(_id)]
Text = Annotated[str, BeforeValidator(_blank_as_empty), AfterValidator(_text)]


class _ItemRow(BaseModel, strict=True):
    id: Id
    text: dict[str, Text]


class _GroupedItemRow(_ItemRow):
    group: Id


class _AnnotationRow(BaseModel, strict=True):
    item: str
    annotator: Annotated[Id, AfterValidator(_annotator)]
    label: Any
    explanation: Text = ""


def load(spec: Spec, data_dir: Path | None = None) -> Source:
    """The table in `spec.folder`; `data_dir` plays no role.

    Raises:
        TaskError: The problems of all its files, by file and line.
    """
    return read_table(spec)[0]


def read_table(spec: Spec) -> tuple[Source, Splits]:
    """`load`, and the splits with what they were made from."""
    problems = _spec_problems(spec)
    before = len(problems)
    items, all_ids = _items(spec, problems)
    sound = len(problems) == before
    records, all_read = _records(spec, items if all_ids else None, problems)
    before = len(problems)
    splits = _splits(spec, items, all_ids, sound, {record.item for record in records}, problems)
    _check_annotators(spec, records, all_read, splits if len(problems) == before else None, problems)
    if problems or splits is None:
        raise TaskError(all_problems(f"{spec.folder}: {len(problems)} problems", problems, MOST_PROBLEMS))
    silent = len(items.keys() - {record.item for record in records})
    skipped = {"items without records": silent} if silent else {}
    sha256 = {file: sha256_file(spec.folder / file) for file in (ITEMS, ANNOTATIONS)}
    if spec.clusters is not None:
        sha256["clusters"] = sha256_text(spec.clusters)
    return Source(tuple(items.values()), tuple(records), skipped, sha256, splits.ids), splits


def _spec_problems(spec: Spec) -> list[str]:
    problems = []
    if foreign := sorted(set(spec.optional) - set(spec.fields)):
        problems.append(f"task.toml: optional: {', '.join(foreign)}: no field of the task")
    if spec.clusters not in (None, *spec.fields, *GROUPED):
        problems.append(f"task.toml: clusters: a field, {' or '.join(GROUPED)} is needed, got {spec.clusters!r}")
    return problems


def _rows(
    spec: Spec, file: str, kind: type[Row], problems: list[str]
) -> Iterator[tuple[str, dict[str, Any], Row | None]]:
    """("file:line", object, row) of every line; the row is None where the line, or the file, cannot be read."""
    try:
        lines = read_text(spec.folder / file).split("\n")
    except DataError as error:
        problems.append(str(error))
        yield file, {}, None
        return
    if not any(map(str.strip, lines)):
        problems.append(f"{file}: holds no row")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place, found, row = f"{file}:{number}", dict[str, Any](), None
        try:
            value = strict_json(line)
            if not isinstance(value, dict):
                raise ValueError(f"got {type(value).__name__}")
            found = value
            unknown = [k for k in found if k not in kind.model_fields]
            problems += [f"{place}: unknown key {k!r}{nearest(k, kind.model_fields)}" for k in unknown]
            row = kind.model_validate(found)
        except ValidationError as error:
            problems += [f"{place}: {problem}" for problem in validation_problems(error)]
        except (ValueError, RecursionError) as error:
            problems.append(f"{place}: not a JSON object: {error}")
        yield place, found, row


def _items(spec: Spec, problems: list[str]) -> tuple[dict[str, Item], bool]:
    """The items by id, and whether the id of every row is known, so that any other id is wrong."""
    items, place_of, all_ids = dict[str, Item](), dict[str, str](), True
    kind = _GroupedItemRow if spec.clusters == "group" and "group" not in spec.fields else _ItemRow
    for place, found, row in _rows(spec, ITEMS, kind, problems):
        item = found.get("id")
        if not isinstance(item, str):
            all_ids = False
            continue
        if item in place_of:
            problems.append(f"{place}: id: item {item!r} is already in {place_of[item]}")
            continue
        place_of[item] = place
        texts = {name: row.text.get(name, "") for name in spec.fields} if row else {}
        clusters = {"id": item, "group": found.get("group")} | {name: plain_text(t) for name, t in texts.items()}
        items[item] = Item(item, texts, (clusters.get(spec.clusters) or item) if spec.clusters else None)
        if row:
            problems += [f"{place}: text: {problem}" for problem in _text_problems(spec, row.text)]
    return items, all_ids


def _text_problems(spec: Spec, texts: dict[str, str]) -> list[str]:
    hint = "; items may lack the fields that `optional` in task.toml names"
    absent = [name for name in spec.fields if name not in spec.optional and not texts.get(name)]
    problems = [f"field {name!r} is {'empty' if name in texts else 'missing'}{hint}" for name in absent]
    problems += [f"unknown field {n!r}{nearest(n, spec.fields)}" for n in texts if n not in spec.fields]
    if not absent and not any(texts.get(name) for name in spec.fields):
        problems.append(f"none of the fields {', '.join(spec.fields)} has a text")
    return problems


def _records(spec: Spec, items: dict[str, Item] | None, problems: list[str]) -> tuple[list[Annotation], bool]:
    """The records, and whether every row could be read; without `items`, no id is called unknown."""
    place_of, all_read = dict[Annotation, str](), True
    for place, _, row in _rows(spec, ANNOTATIONS, _AnnotationRow, problems):
        if row is None:
            all_read = False
            continue
        if items is not None and row.item not in items:
            problems.append(f"{place}: item: no item {row.item!r} in {ITEMS}")
        problem = _label_problem(spec, row.label)
        problems += [f"{place}: label: {problem}"] if problem else []
        label = repr(row.label) if problem else row.label
        record = Annotation(row.item, row.annotator, label, row.explanation)
        if record in place_of:
            problems.append(f"{place}: the same record is already in {place_of[record]}")
        place_of.setdefault(record, place)
    return list(place_of), all_read


def _label_problem(spec: Spec, label: Any) -> str:
    if spec.kind == "ordinal":
        valid = type(label) is int and label in spec.labels
        return "" if valid else f"an integer from {spec.labels[0]} to {spec.labels[-1]} is needed, got {label!r:.60}"
    known = list(map(str, spec.labels))
    return "" if label in known else f"unknown label {label!r:.60}{nearest(str(label), known)}"


def _check_annotators(
    spec: Spec, records: list[Annotation], all_read: bool, splits: Splits | None, problems: list[str]
) -> None:
    """Fewer than two annotators, or than two with `min_records`; names that one folder would hold."""
    names = list(dict.fromkeys(record.annotator for record in records))
    folded: dict[str, str] = {}
    for name in names:
        other = folded.setdefault(name.casefold(), name)
        if other != name:
            problems.append(f"{ANNOTATIONS}: annotators {other!r} and {name!r} differ in case alone")
    if all_read and len(names) == 1:
        problems.append(f"{ANNOTATIONS}: at least two annotators are needed, got {names[0]}")
    if not all_read or len(names) < 2 or splits is None:
        return
    pairs = {(record.item, record.annotator) for record in records}
    tested = set(splits.ids["test"])
    counts = Counter(annotator for item, annotator in pairs if item in tested)
    first, second = [*sorted(counts.values(), reverse=True), 0, 0][:2]
    if second < spec.min_records:
        remedy = f"set min_records = {second} or less" if second else "put other items into test"
        problems.append(
            f"task.toml: min_records: fewer than two annotators have records of {spec.min_records} test items "
            f"(the two largest have {first} and {second}), so no metric could be computed; {remedy} (hlv_index "
            "needs 10 in test and 10 in dev)"
        )


def _splits(
    spec: Spec, items: dict[str, Item], all_ids: bool, sound: bool, annotated: set[str], problems: list[str]
) -> Splits | None:
    """The splits of the file or of the fractions, checked against the items and records."""
    if isinstance(spec.splits, str):
        splits = read_splits(spec, problems)
    elif sound and items:
        digest = sha256_file(spec.folder / ITEMS)
        splits = fraction_splits(spec, tuple(items.values()), digest, not spec.allow_shared_text, problems)
    else:
        return None
    if splits is None:
        return None
    problems += split_problems(splits, items, all_ids)
    if sound and not spec.allow_shared_text:
        problems += shared_text_problems(splits, items)
    problems += [
        f"{splits.file}: no item of {split} has a record in {ANNOTATIONS}"
        for split in ("train", "test")
        if annotated and splits.ids[split] and annotated.isdisjoint(splits.ids[split])
    ]
    return splits
