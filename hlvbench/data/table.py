"""A task of your own: `source = "table"`, a folder with task.toml, items.jsonl and annotations.jsonl.

docs/own-data.md describes the files. A second record of the same item and annotator is kept (two labels, or two
reasons for one); an exact copy of a record is a problem, since it would count twice. Every problem of every file is
reported at once, with file and line: pydantic does not know lines, so these rows are validated here.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from ..bootstrap import plain_text
from ..errors import DataError, TaskError, all_problems
from ..io import read_text, sha256_file, sha256_text, strict_json
from ..types import Annotation, Item
from . import Source
from .splits import Splits, fraction_splits, read_splits, shared_text_problems, split_problems
from .task_config import TaskSpec, is_printable, nearest

ITEMS, ANNOTATIONS = "items.jsonl", "annotations.jsonl"
ITEM_KEYS = ("id", "text")
GROUPED = ("group", "id")
RECORD_KEYS = ("item", "annotator", "label")
MOST_PROBLEMS = 200
MOST_ID = 200
RESERVED = set('/\\:*?"<>|,=')


class Spec(TaskSpec):
    """A task of this source. Annotators' names become folder names and parts of options, so they are restricted."""

    allow_shared_text: bool = False
    clusters: str | None = None
    optional: tuple[str, ...] = Field(default=(), strict=False)


def load(spec: Spec, data_dir: Path | None = None) -> Source:
    """The table in `spec.folder`; `data_dir` plays no role.

    Raises:
        TaskError: The problems of all its files, by file and line.
    """
    return read_table(spec)[0]


def read_table(spec: Spec) -> tuple[Source, Splits]:
    """`load`, and the splits with what they were made from."""
    reader = _Reader(spec)
    reader.read_items()
    reader.read_records()
    before = len(reader.problems)
    splits = reader.read_splits()
    reader.check_annotators(splits if len(reader.problems) == before else None)
    if reader.problems or splits is None:
        heading = f"{spec.folder}: {len(reader.problems)} problems"
        raise TaskError(all_problems(heading, reader.problems, MOST_PROBLEMS))
    silent = len(reader.items.keys() - {record.item for record in reader.records})
    skipped = {"items without records": silent} if silent else {}
    sha256 = {file: sha256_file(spec.folder / file) for file in (ITEMS, ANNOTATIONS)}
    if spec.clusters is not None:
        sha256["clusters"] = sha256_text(spec.clusters)
    return Source(tuple(reader.items.values()), tuple(reader.records), skipped, sha256, splits.ids), splits


class _Reader:
    """Reads one file after the other and collects problems; no file is blamed for what another lacks.

    Attributes:
        complete: Whether every row of items.jsonl has a readable id; otherwise an unknown id proves nothing.
        sound: Whether all input texts are valid, so that sharing one means something.
        records: Record to its file and line.
        pairs: The (item, annotator) pairs of all rows with a valid annotator, in their order.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.problems: list[str] = []
        self.items: dict[str, Item] = {}
        self.complete = self.sound = True
        self.records: dict[Annotation, str] = {}
        self.pairs = dict[tuple[str, str], None]()
        self.optional = set(spec.optional)
        if foreign := sorted(self.optional - set(spec.fields)):
            self.problems.append(f"task.toml: optional: {', '.join(foreign)}: no field of the task")
        self.clusters = spec.clusters or ""
        if self.clusters not in ("", *spec.fields, *GROUPED):
            self.problems.append(
                f"task.toml: clusters: a field, {' or '.join(GROUPED)} is needed, got {self.clusters!r}"
            )

    def rows(
        self, file: str, keys: tuple[str, ...], free: tuple[str, ...] = ()
    ) -> Iterator[tuple[str, dict[str, Any] | None]]:
        """("file:line", object) of every line; None for a line, or a file, that cannot be read."""
        try:
            lines = read_text(self.spec.folder / file).split("\n")
        except DataError as error:
            self.problems.append(str(error))
            yield file, None
            return
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            place, problem = f"{file}:{number}", ""
            row: Any = None
            try:
                row = strict_json(line)
            except (ValueError, RecursionError) as error:
                problem = f"not valid JSON: {error}"
            if not problem and not isinstance(row, dict):
                problem = f"an object is needed, got {type(row).__name__}"
            if problem:
                self.problems.append(f"{place}: {problem}")
                yield place, None
                continue
            known = (*keys, *free)
            self.problems += [f"{place}: {key} is missing" for key in keys if key not in row]
            self.problems += [f"{place}: unknown key {k!r}{nearest(k, known)}" for k in row if k not in known]
            yield place, row

    def read_items(self) -> None:
        place_of: dict[str, str] = {}
        grouped = self.clusters == "group" and "group" not in self.spec.fields
        for place, read in self.rows(ITEMS, (*ITEM_KEYS, "group") if grouped else ITEM_KEYS):
            row, before = dict(read or {}), len(self.problems)
            item: Any = row.get("id")
            problem = _id_problem(item) if "id" in row else "missing"
            if problem:
                self.complete = self.sound = False
                # a missing key is a problem already
                self.problems += [f"{place}: id: {problem}"] if "id" in row else []
                continue
            if item in place_of:
                self.problems.append(f"{place}: id: item {item!r} is already in {place_of[item]}")
                continue
            place_of[item] = place
            texts = self.texts(place, row)
            if grouped and "group" in row and (problem := _id_problem(row["group"])):
                self.problems.append(f"{place}: group: {problem}")
            groups = {"group": row.get("group", ""), "id": item} | {k: plain_text(t) for k, t in texts.items()}
            self.items[item] = Item(item, texts, (groups.get(self.clusters) or item) if self.clusters else None)
            self.sound &= len(self.problems) == before and "text" in row
        if not place_of and self.complete:
            self.problems.append(f"{ITEMS}: holds no item")

    def texts(self, place: str, row: Mapping[str, Any]) -> dict[str, str]:
        """The input texts of a row in the order of the fields; "" where there is none."""
        fields, texts = self.spec.fields, row.get("text", {})
        if not isinstance(texts, dict):
            self.problems.append(f'{place}: text: an object {{"field": "..."}} is needed, got {type(texts).__name__}')
            return {}
        if "text" in row:
            missing = [name for name in fields if name not in texts and name not in self.optional]
            foreign = [name for name in texts if name not in fields]
            hint = "; items may lack the fields that `optional` in task.toml names"
            self.problems += [f"{place}: text: field {name!r} is missing{hint}" for name in missing]
            self.problems += [f"{place}: text: unknown field {name!r}{nearest(name, fields)}" for name in foreign]
        texts = {name: text for name, text in texts.items() if name not in self.optional or not _is_blank(text)}
        for name in fields:
            if name in texts and (problem := _text_problem(texts[name])):
                self.problems.append(f"{place}: text: {name}: {problem}")
        if "text" in row and not set(fields) & texts.keys() and self.optional >= set(fields):
            self.problems.append(f"{place}: text: none of the fields {', '.join(fields)} has a text")
        return {name: str(texts.get(name, "")) for name in fields}

    def read_records(self) -> None:
        checks: dict[str, Callable[[Any], str]] = {
            "item": self.item_problem,
            "annotator": _annotator_problem,
            "label": self.label_problem,
            "explanation": lambda value: "" if _is_blank(value) else _text_problem(value),
        }
        rows = 0
        for place, row in self.rows(ANNOTATIONS, RECORD_KEYS, ("explanation",)):
            rows += 1
            if row is None:
                continue
            wrong = {key: problem for key, check in checks.items() if key in row and (problem := check(row[key]))}
            self.problems += [f"{place}: {key}: {problem}" for key, problem in wrong.items()]
            if "annotator" in row and "annotator" not in wrong:
                self.pairs[str(row.get("item")), row["annotator"]] = None
            if wrong or not all(key in row for key in RECORD_KEYS):
                continue
            text = "" if _is_blank(row.get("explanation")) else row["explanation"]
            record = Annotation(row["item"], row["annotator"], row["label"], text)
            if record in self.records:
                self.problems.append(f"{place}: the same record is already in {self.records[record]}")
            self.records.setdefault(record, place)
        if not rows:
            self.problems.append(f"{ANNOTATIONS}: holds no record")

    def item_problem(self, value: Any) -> str:
        if not isinstance(value, str):
            return f"a string is needed, got {value!r}"
        return f"no item {value!r} in {ITEMS}" if self.complete and value not in self.items else ""

    def label_problem(self, value: Any) -> str:
        labels = self.spec.labels
        if self.spec.kind == "ordinal":
            if type(value) is not int:
                return f"an integer is needed, got {value!r}"
            return f"{value} is out of range {labels[0]} to {labels[-1]}" if value not in labels else ""
        if not isinstance(value, str):
            return f"a string is needed, got {value!r}"
        known = list(map(str, labels))
        return f"unknown label {value!r}{nearest(value, known)}" if value not in known else ""

    def check_annotators(self, splits: Splits | None) -> None:
        """Fewer than two annotators, or than two with `min_records`; names that one folder would hold."""
        counts = Counter(annotator for _, annotator in self.pairs)
        if not counts:
            return
        if len(counts) < 2:
            self.problems.append(f"{ANNOTATIONS}: at least two annotators are needed, got {', '.join(counts)}")
            return
        folded: dict[str, str] = {}
        for name in counts:
            other = folded.setdefault(name.casefold(), name)
            if other != name:
                self.problems.append(f"{ANNOTATIONS}: annotators {other!r} and {name!r} differ in case alone")
        if splits is None:
            return
        tested = set(splits.ids["test"])
        test_counts = Counter(annotator for item, annotator in self.pairs if item in tested)
        first, second = [*sorted(test_counts.values(), reverse=True), 0, 0][:2]
        if second < self.spec.min_records:
            remedy = f"set min_records = {second} or less" if second else "put other items into test"
            self.problems.append(
                f"task.toml: min_records: fewer than two annotators have records of {self.spec.min_records} test items "
                f"(the two largest have {first} and {second}), so no metric could be computed; {remedy} (hlv_index "
                "needs 10 in test and 10 in dev)"
            )

    def read_splits(self) -> Splits | None:
        """The splits of the file or of the fractions, checked against the items and records."""
        spec, shared = self.spec, self.spec.allow_shared_text
        if isinstance(spec.splits, str):
            splits = read_splits(spec, self.problems)
        elif self.sound and self.items:
            digest = sha256_file(spec.folder / ITEMS)
            splits = fraction_splits(spec, tuple(self.items.values()), digest, not shared, self.problems)
        else:
            return None
        if splits is None:
            return None
        self.problems += split_problems(splits, self.items, self.complete)
        if self.sound and not shared:
            self.problems += shared_text_problems(splits, self.items)
        annotated = {record.item for record in self.records}
        self.problems += [
            f"{splits.file}: no item of {split} has a record in {ANNOTATIONS}"
            for split in ("train", "test")
            if annotated and splits.ids[split] and annotated.isdisjoint(splits.ids[split])
        ]
        return splits


def _id_problem(value: Any) -> str:
    if not isinstance(value, str):
        return f"a string is needed, got {value!r}"
    if not value or value != value.strip() or len(value) > MOST_ID or not is_printable(value):
        return f"1 to {MOST_ID} characters without control characters or outer spaces are needed, got {value[:40]!r}"
    return ""


def _annotator_problem(value: Any) -> str:
    """Any script is allowed; not what cannot be a folder name everywhere."""
    if problem := _id_problem(value):
        return problem
    if reserved := sorted(set(value) & RESERVED):
        return f"{value!r} holds {' '.join(reserved)}, which no folder name or option may hold"
    if value[0] in ".-" or value[-1] == "." or len(value.encode()) > MOST_ID or value.casefold() == "ref":
        return f"{value!r} cannot name a folder (no '.' or '-' first, no '.' last, {MOST_ID} bytes, not 'ref')"
    if unicodedata.normalize("NFC", value) != value:
        return f"{value!r} is not in Unicode NFC"
    return ""


def _is_blank(value: Any) -> bool:
    """Whether there is no text: None, or only white space."""
    return value is None or (isinstance(value, str) and not value.strip())


def _text_problem(value: Any) -> str:
    if not isinstance(value, str):
        return f"a string is needed, got {type(value).__name__}"
    if not value.strip():
        return "empty text"
    if any(0xD800 <= ord(c) <= 0xDFFF for c in value):
        return "half of a surrogate pair"
    return ""
