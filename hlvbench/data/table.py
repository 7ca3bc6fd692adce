"""A task of your own: `source = "table"`, a folder with task.toml, items.jsonl and annotations.jsonl.

    items.jsonl        {"id": "7", "text": {"premise": "...", "hypothesis": "..."}}
    annotations.jsonl  {"item": "7", "annotator": "w13", "label": "neutral", "explanation": "..."}
    splits.json        {"train": ["..."], "dev": ["..."], "test": ["..."], "subsets": {"hard": ["..."]}}

One row of annotations.jsonl is one record. Pairs may be missing. A second record of the same item and
annotator is kept (two labels, or two reasons for one); an exact copy of a record is a problem, since it
would count twice. A record without an explanation (none, null or blank) counts in label metrics alone. Every item has
every field of task.toml but those that its `optional = ["..."]` names.
Every item is in one split; dev may be empty. Items that share an input text stand in one split, unless
task.toml says `allow_shared_text = true`. What belongs together, in splits and when items are resampled, is named by
`clusters = "..."` where that is another thing: a field (items with the same text in it), "group" (a key of items.jsonl
beside id and text) or "id" (each item for itself).

Instead of a splits file task.toml may hold fractions (`[splits] train = 0.6 ...`): the splits are then
made once, by shared input text, and frozen as splits.json beside the items, with the sha256 of the
items.jsonl they were made from. If either changes later, that is an error, for scores on other questions
are not comparable. In a folder that cannot be written nothing is frozen; the same items give the same splits.

Annotators' names may be of any script. They become folder names (`DIR/<task>/<annotator>/`) and parts of
options, so control characters and / \\ : * ? " < > | , = are refused, and two names that differ in case alone.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..bootstrap import plain_text
from ..errors import DataError, TaskError, all_problems
from ..io import read_text, sha256_file, sha256_text, strict_json
from ..types import Annotation, Item
from . import Source, TaskSpec
from .splits import Splits, fraction_splits, read_splits, shared_text_problems, split_problems
from .task_config import is_printable, nearest

OPTIONS = ("allow_shared_text", "clusters", "optional")
ITEMS, ANNOTATIONS = "items.jsonl", "annotations.jsonl"
ITEM_KEYS = ("id", "text")
GROUPED = ("group", "id")
RECORD_KEYS = ("item", "annotator", "label")
MOST_PROBLEMS = 200
MOST_ID = 200
RESERVED = set('/\\:*?"<>|,=')


def load(spec: TaskSpec, data_dir: Path | None = None) -> Source:
    """The table in `spec.folder`, or a TaskError with the problems of all its files, by file and line.

    `data_dir` plays no role.
    """
    return read_table(spec)[0]


def read_table(spec: TaskSpec) -> tuple[Source, Splits]:
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
    unasked = len(reader.items.keys() - {record.item for record in reader.records})
    skipped = {"items without records": unasked} if unasked else {}
    sha256 = {file: sha256_file(spec.folder / file) for file in (ITEMS, ANNOTATIONS)}
    if "clusters" in spec.options:
        sha256["clusters"] = sha256_text(spec.options["clusters"])
    return Source(tuple(reader.items.values()), tuple(reader.records), skipped, sha256, splits.ids), splits


class _Reader:
    """Reads file after file and notes what is wrong, without blaming one file for what another lacks."""

    def __init__(self, spec: TaskSpec) -> None:
        self.spec = spec
        self.problems = list(spec.problems)
        self.items: dict[str, Item] = {}
        self.complete = True
        """Whether every row of items.jsonl had a readable id: otherwise an unknown id proves nothing."""
        self.sound = bool(spec.fields)
        """Whether the input texts are what they should be, so that sharing one means something."""
        self.records: dict[Annotation, str] = {}
        """Record -> file and line."""
        self.pairs = dict[tuple[str, str], None]()
        named = spec.options.get("optional", [])
        if not isinstance(named, list) or any(name not in spec.fields for name in named):
            self.problems.append(f"task.toml: optional: a list of fields is needed, got {named!r}")
            named = []
        self.optional = set(named)

    def rows(
        self, file: str, keys: tuple[str, ...], free: tuple[str, ...] = ()
    ) -> Iterator[tuple[str, dict[str, Any] | None]]:
        """("file:line", object) of every line; None for a line, or a file, that cannot be read."""
        try:
            lines = read_text(self.spec.folder / file).split("\n")
        except DataError as error:
            self.problems.append(str(error))
            lines = []
            yield file, None
        for number, line in enumerate(lines, start=1):
            where = f"{file}:{number}"
            if not line.strip():
                continue
            try:
                row = strict_json(line)
            except (ValueError, RecursionError) as error:
                self.problems.append(f"{where}: not valid JSON: {error}")
                yield where, None
                continue
            if not isinstance(row, dict):
                self.problems.append(f"{where}: an object is needed, got {type(row).__name__}")
                yield where, None
                continue
            self.problems += [f"{where}: {key} is missing" for key in keys if key not in row]
            self.problems += [
                f"{where}: unknown key {key!r}{nearest(key, (*keys, *free))}"
                for key in row
                if key not in (*keys, *free)
            ]
            yield where, row

    def read_items(self) -> None:
        first: dict[str, str] = {}
        named = self.spec.options.get("clusters", "")
        if named not in ("", *self.spec.fields, *GROUPED):
            self.problems.append(f"task.toml: clusters: a field, {' or '.join(GROUPED)} is needed, got {named!r}")
        grouped = named == "group" and named not in self.spec.fields
        for where, row in self.rows(ITEMS, (*ITEM_KEYS, "group") if grouped else ITEM_KEYS):
            before = len(self.problems)
            item = row.get("id") if row is not None else None
            wrong = _id_problem(item) if row is not None and "id" in row else ""
            if not isinstance(item, str) or wrong:
                self.complete = self.sound = False
                self.problems += [f"{where}: id: {wrong}"] if wrong else []
                continue
            if item in first:
                self.problems.append(f"{where}: id: item {item!r} is already in {first[item]}")
                continue
            first[item] = where
            texts = self.texts(where, row or {})
            of = {"group": (row or {}).get("group", ""), "id": item} | {k: plain_text(t) for k, t in texts.items()}
            if grouped and "group" in (row or {}) and (wrong := _id_problem(of["group"])):
                self.problems.append(f"{where}: group: {wrong}")
            self.items[item] = Item(item, texts, (of.get(named) or item) if named else None)
            self.sound &= len(self.problems) == before and "text" in (row or {})
        if not first and self.complete:
            self.problems.append(f"{ITEMS}: holds no item")

    def texts(self, where: str, row: Mapping[str, Any]) -> dict[str, str]:
        """The input texts of a row in the order of the fields; "" where there is none."""
        fields, texts = self.spec.fields, row.get("text", {})
        if not isinstance(texts, dict):
            self.problems.append(f'{where}: text: an object {{"field": "..."}} is needed, got {type(texts).__name__}')
            return {}
        if fields and "text" in row:
            missing = [name for name in fields if name not in texts and name not in self.optional]
            foreign = [name for name in texts if name not in fields]
            hint = "; items may lack the fields that `optional` in task.toml names"
            self.problems += [f"{where}: text: field {name!r} is missing{hint}" for name in missing]
            self.problems += [f"{where}: text: unknown field {name!r}{nearest(name, fields)}" for name in foreign]
        texts = {name: text for name, text in texts.items() if name not in self.optional or _says(text)}
        for name in fields:
            if name in texts and (wrong := _text_problem(texts[name])):
                self.problems.append(f"{where}: text: {name}: {wrong}")
        if fields and "text" in row and not set(fields) & texts.keys() and self.optional >= set(fields):
            self.problems.append(f"{where}: text: none of the fields {', '.join(fields)} is given")
        return {name: str(texts.get(name, "")) for name in fields}

    def read_records(self) -> None:
        checks: dict[str, Callable[[Any], str]] = {
            "item": self.item_problem,
            "annotator": _annotator_problem,
            "label": self.label_problem,
            "explanation": lambda value: _text_problem(value) if _says(value) else "",
        }
        rows = 0
        for where, row in self.rows(ANNOTATIONS, RECORD_KEYS, ("explanation",)):
            rows += 1
            if row is None:
                continue
            wrong = {key: found for key, check in checks.items() if key in row and (found := check(row[key]))}
            self.problems += [f"{where}: {key}: {found}" for key, found in wrong.items()]
            if "annotator" in row and "annotator" not in wrong:
                self.pairs[str(row.get("item")), row["annotator"]] = None
            if wrong or not all(key in row for key in RECORD_KEYS):
                continue
            text = row["explanation"] if _says(row.get("explanation")) else ""
            record = Annotation(row["item"], row["annotator"], row["label"], text)
            if record in self.records:
                self.problems.append(f"{where}: the same record is already in {self.records[record]}")
            self.records.setdefault(record, where)
        if not rows:
            self.problems.append(f"{ANNOTATIONS}: holds no record")

    def item_problem(self, value: Any) -> str:
        if not isinstance(value, str):
            return f"a string is needed, got {value!r}"
        return f"no item {value!r} in {ITEMS}" if self.complete and value not in self.items else ""

    def label_problem(self, value: Any) -> str:
        spec = self.spec
        if spec.kind == "ordinal":
            if type(value) is not int:
                return f"an integer is needed, got {value!r}"
            if spec.labels and value not in spec.labels:
                return f"{value} is out of range {spec.labels[0]} to {spec.labels[-1]}"
        elif not isinstance(value, str):
            return f"a string is needed, got {value!r}"
        elif spec.labels and value not in spec.labels:
            return f"unknown label {value!r}{nearest(value, [str(label) for label in spec.labels])}"
        return ""

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
        tested = Counter(annotator for item, annotator in self.pairs if item in set(splits.ids["test"]))
        first, second = [*sorted(tested.values(), reverse=True), 0, 0][:2]
        if second < self.spec.min_records:
            remedy = f"set min_records = {second} or less" if second else "put other items into test"
            self.problems.append(
                f"task.toml: min_records: fewer than two annotators have records of {self.spec.min_records} test items "
                f"(the two largest have {first} and {second}), so no metric could be given; {remedy} (hlv_index needs "
                "10 in test and 10 in dev)"
            )

    def read_splits(self) -> Splits | None:
        """The splits of the file or of the fractions, checked against the items and records."""
        spec, shared = self.spec, self.spec.options.get("allow_shared_text", False)
        if type(shared) is not bool:
            self.problems.append(f"task.toml: allow_shared_text: true or false is needed, got {shared!r}")
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
        asked = {record.item for record in self.records}
        self.problems += [
            f"{splits.file}: no item of {split} has a record in {ANNOTATIONS}"
            for split in ("train", "test")
            if asked and splits.ids[split] and asked.isdisjoint(splits.ids[split])
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
    if wrong := _id_problem(value):
        return wrong
    if found := sorted(set(value) & RESERVED):
        return f"{value!r} holds {' '.join(found)}, which no folder name or option may hold"
    if value[0] in ".-" or value[-1] == "." or len(value.encode()) > MOST_ID or value.casefold() == "ref":
        return f"{value!r} cannot name a folder (no '.' or '-' first, no '.' last, {MOST_ID} bytes, not 'ref')"
    if unicodedata.normalize("NFC", value) != value:
        return f"{value!r} is not in Unicode NFC"
    return ""


def _says(value: Any) -> bool:
    """Whether there is anything: not None, and no blank text."""
    return value is not None and not (isinstance(value, str) and not value.strip())


def _text_problem(value: Any) -> str:
    if not isinstance(value, str):
        return f"a string is needed, got {type(value).__name__}"
    if not value.strip():
        return "empty text"
    if any(0xD800 <= ord(c) <= 0xDFFF for c in value):
        return "half of a surrogate pair"
    return ""
