"""A task of your own: ragged invented data through `source = "table"`, and every problem told at once."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlvbench.data.table import read_table
from hlvbench.data.task import load_task
from hlvbench.data.task_config import read_spec
from hlvbench.errors import HlvbenchError, TaskError
from hlvbench.io import sha256_file
from hlvbench.types import Task

TOML = {
    "name": "'mine'",
    "version": "'3'",
    "source": "'table'",
    "kind": "'nominal'",
    "labels": "['polite', 'neutral', 'rude']",
    "instruction": "'How does this message sound?'",
    "min_records": "1",
    "splits": "'splits.json'",
}
FIELDS = {"message": "Message", "channel": "Channel", "reply": "Reply"}
SPLITS = {"train": ["a", "b", "c", "d"], "dev": ["e"], "test": ["f", "ö 7"]}


def items(ids: str | list[str] = "") -> list[dict[str, Any]]:
    names = list(ids) or [item for part in SPLITS.values() for item in part]
    return [{"id": i, "text": {f: f"{f} of {i} – «ελλ»\nline" for f in FIELDS}} for i in names]


def record(item: str, annotator: str, label: str | int = "rude", explanation: str = "so it sounds") -> dict[str, Any]:
    return {"item": item, "annotator": annotator, "label": label, "explanation": explanation}


def ragged() -> list[dict[str, Any]]:
    """Three annotators: one of all items, one of some with two labels, one of three items."""
    rows = [record(item, "w10", "polite", f" naïve 💬 {item}") for part in SPLITS.values() for item in part]
    rows += [record(item, "w2", "neutral", "既読 " + item) for item in ("a", "c", "f")]
    rows += [record("f", "w2", "polite", "or this")]
    rows += [record(item, "Ζωή", "rude", "όχι " + item) for item in ("b", "e", "ö 7")]
    return rows


def lines(rows: list[Any]) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)) + "\n" for row in rows)


def write(
    folder: Path,
    item_rows: list[Any] | None = None,
    record_rows: list[Any] | None = None,
    split_file: Any = SPLITS,
    fields: dict[str, str] = FIELDS,
    extra: str = "",
    **toml: str,
) -> Path:
    """A task folder; `toml` replaces keys (None drops one), `extra` stands at the end."""
    folder = folder / "mine"
    folder.mkdir(parents=True, exist_ok=True)
    keys = {key: value for key, value in {**TOML, **toml}.items() if value}
    text = "".join(f"{key} = {value}\n" for key, value in keys.items())
    text += "[fields]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in fields.items()) + extra
    (folder / "task.toml").write_text(text, encoding="utf-8")
    (folder / "items.jsonl").write_text(lines(items() if item_rows is None else item_rows), encoding="utf-8")
    (folder / "annotations.jsonl").write_text(lines(ragged() if record_rows is None else record_rows), encoding="utf-8")
    if split_file is not None:
        (folder / "splits.json").write_text(json.dumps(split_file, indent=1, ensure_ascii=False), encoding="utf-8")
    return folder


def task(tmp_path: Path, *args: Any, **named: Any) -> Task:
    return load_task("mine", tasks_dir=write(tmp_path, *args, **named).parent)


def problems(tmp_path: Path, *args: Any, **named: Any) -> list[str]:
    """The problems told, one per line, without the heading."""
    folder = write(tmp_path, *args, **named)
    with pytest.raises(TaskError) as caught:
        read_table(read_spec(folder))
    heading, *found = str(caught.value).split("\n")
    assert heading == f"{folder}: {len(found)} problems"
    return [line.removeprefix("  ") for line in found]


def test_a_ragged_table_is_a_task(tmp_path: Path) -> None:
    made = task(tmp_path)
    assert (made.name, made.version, made.kind) == ("mine", "3", "nominal")
    assert made.annotators == ("w2", "w10", "Ζωή")  # 2 before 10
    assert made.priority == ("polite", "neutral", "rude")
    assert list(made.items) == ["a", "b", "c", "d", "e", "f", "ö 7"]
    assert list(made.items["ö 7"].text) == ["message", "channel", "reply"]
    assert made.questions("test") == (("f", "w2"), ("f", "w10"), ("ö 7", "w10"), ("ö 7", "Ζωή"))
    assert [r.label for r in made.by_pair["f", "w2"]] == ["polite", "neutral"]  # by priority, not by row
    assert made.by_pair["ö 7", "w10"][0].explanation == " naïve 💬 ö 7"  # untouched
    assert made.data_sha256["items.jsonl"] == sha256_file(tmp_path / "mine" / "items.jsonl")


TESTED = {"train": ["a", "b", "c", "d"], "dev": [], "test": ["e", "f", "ö 7"]}


@pytest.mark.parametrize(
    ("least", "more", "scored"),
    [
        # test items: w10 3, w2 f alone (two labels for it are one answer) and "ö 7" with `more`, Ζωή e and "ö 7"
        ("1", [], ("w2", "w10", "Ζωή")),
        ("2", [record("d", "w2")], ("w10", "Ζωή")),
        ("2", [record("ö 7", "w2")], ("w2", "w10", "Ζωή")),
    ],
)
def test_who_has_few_test_items_stays_in_the_task_but_not_in_metrics(
    least: str, more: list[Any], scored: tuple[str, ...], tmp_path: Path
) -> None:
    made = task(tmp_path, min_records=least, record_rows=[*ragged(), *more], split_file=TESTED)
    assert made.annotators == ("w2", "w10", "Ζωή")
    assert made.scored_annotators == scored
    assert ("f", "w2") in made.questions("test")


@pytest.mark.parametrize("count", [2, 30])
def test_any_number_of_annotators_with_ordinal_scores(tmp_path: Path, count: int) -> None:
    rows = [record(i["id"], f"P{k}", (k + n) % 8 - 2) for k in range(count) for n, i in enumerate(items())]
    made = task(tmp_path, record_rows=rows, kind="'ordinal'", labels="", range="[-2, 5]")
    assert made.annotators == tuple(f"P{k}" for k in range(count))
    assert made.labels == (-2, -1, 0, 1, 2, 3, 4, 5)
    assert len(made.questions("test")) == 2 * count


def test_items_that_nobody_annotated_are_counted(tmp_path: Path) -> None:
    rows = [row for row in ragged() if row["item"] != "d"]
    assert task(tmp_path, record_rows=rows).skipped == {"items without records": 1}


def test_dev_may_be_absent_and_subsets_may_be_named(tmp_path: Path) -> None:
    splits = {"train": ["a", "b", "c", "d", "e"], "test": ["f", "ö 7"], "subsets": {"hard": ["ö 7"]}}
    made = task(tmp_path, split_file=splits)
    assert made.splits["dev"] == ()
    assert made.subsets == {"hard": frozenset({"ö 7"})}


def test_every_problem_of_every_file_is_told_at_once_by_line(tmp_path: Path) -> None:
    item_rows = [
        *items("abcde"),
        {"id": "f", "text": {"message": "m", "chanel": "c", "reply": " "}},
        {"id": "a", "text": {"message": "m2", "channel": "c2", "reply": "r2"}},
        {"id": "ö 7", "text": "no object"},
    ]
    record_rows = [
        *ragged(),
        record("zzz", "w10"),
        record("a", "w/1"),
        record("a", "w10", "rud"),
        {**record("a", "w10"), "explanation": 5},
        json.dumps(record("a", "w10", explanation="\ud800")),
        ragged()[0],
        '{"item": "a", ',
        {"item": "a", "annotator": "w10", "explination": "x"},
        "[1]",
        record("a", "W10", 1),
    ]
    splits = {"train": ["a", "b", "c", "f"], "dev": ["e", "nobody"], "test": ["f", "ö 7"], "tset": []}
    found = problems(tmp_path, item_rows, record_rows, splits)
    n = len(ragged())
    file = "annotations.jsonl"
    expected = [
        "items.jsonl:6: text: field 'channel' is missing",
        "items.jsonl:6: text: field 'reply' is empty",
        "items.jsonl:6: text: unknown field 'chanel' (did you mean 'channel'?)",
        "items.jsonl:7: id: item 'a' is already in items.jsonl:1",
        "items.jsonl:8: text: Input should be a valid dictionary, got 'no object'",
        f"{file}:{n + 1}: item: no item 'zzz' in items.jsonl",
        f"{file}:{n + 2}: annotator: 'w/1' holds /",
        f"{file}:{n + 3}: label: unknown label 'rud' (did you mean 'rude'?)",
        f"{file}:{n + 4}: explanation: Input should be a valid string, got 5",
        f"{file}:{n + 5}: explanation: half of a surrogate pair",
        f"{file}:{n + 6}: the same record is already in {file}:1",
        f"{file}:{n + 7}: not a JSON object: Expecting",
        f"{file}:{n + 8}: unknown key 'explination' (did you mean 'explanation'?)",
        f"{file}:{n + 8}: label: is missing",
        f"{file}:{n + 9}: not a JSON object: got list",
        f"{file}:{n + 10}: label: unknown label 1 (known: polite, neutral, rude)",
        "splits.json: unknown key 'tset' (did you mean 'test'?)",
        f"{file}: annotators 'w10' and 'W10' differ in case alone",
    ]
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)


def test_problems_of_explicit_splits_are_told_by_line(tmp_path: Path) -> None:
    splits = {"train": ["a", "b", "c", "f"], "dev": ["e", "nobody"], "test": ["f"], "subsets": {"hard": ["x"]}}
    assert problems(tmp_path, split_file=splits) == [
        "splits.json:6,13: item 'f' is listed 2 times: train, test",
        "splits.json:10: item 'nobody' of dev does not exist",
        "splits.json: item 'd' is in no split",
        "splits.json: item 'ö 7' is in no split",
        "splits.json:17: item 'x' of subset hard is in no split",
    ]


def test_an_unreadable_item_row_is_not_blamed_on_the_annotations(tmp_path: Path) -> None:
    rows: list[Any] = items()
    rows[0] = rows[0]["id"] + " {"
    assert [line.split(":")[:2] for line in problems(tmp_path, rows)] == [["items.jsonl", "1"]]


def test_a_row_that_cannot_be_read_hides_neither_its_id_nor_annotators(tmp_path: Path) -> None:
    rows = [{**row, "text": 5} for row in items("a")] + items()[1:]
    found = problems(tmp_path, rows, [*ragged(), record("zzz", "w10")])
    assert [line.partition(" (")[0] for line in found] == [
        "items.jsonl:1: text: Input should be a valid dictionary, got 5",
        f"annotations.jsonl:{len(ragged()) + 1}: item: no item 'zzz' in items.jsonl",
    ]
    # whoever wrote a broken row may be the second annotator
    records = [*(record(i["id"], "p") for i in items()), {**record("a", "q"), "explanation": 5}]
    assert problems(tmp_path, record_rows=records) == [
        "annotations.jsonl:8: explanation: Input should be a valid string, got 5"
    ]


def test_a_key_that_the_task_does_not_use_is_told(tmp_path: Path) -> None:
    rows = [{**row, "group": "g"} for row in items()]
    assert problems(tmp_path / "unused", rows)[0] == "items.jsonl:1: unknown key 'group' (known: id, text)"
    assert problems(tmp_path / "missing", clusters="'group'")[0] == "items.jsonl:1: group: is missing"
    one_field = [{"id": i["id"], "text": {"massage": "m"}} for i in items()]
    found = problems(tmp_path / "field", one_field, optional="['message', 'channel', 'reply']")
    assert found[:2] == [
        "items.jsonl:1: text: unknown field 'massage' (did you mean 'message'?)",
        "items.jsonl:1: text: none of the fields message, channel, reply has a text",
    ]


@pytest.mark.parametrize("value", [6, -3, 2.0, True, "3", None])
def test_only_integers_within_the_range_are_scores(tmp_path: Path, value: Any) -> None:
    rows = [record(i["id"], who, 1) for i in items() for who in ("p", "q")] + [record("a", "p", value)]
    found = problems(tmp_path, record_rows=rows, kind="'ordinal'", labels="", range="[-2, 5]")
    assert len(found) == 1
    assert found[0] == f"annotations.jsonl:{len(rows)}: label: an integer from -2 to 5 is needed, got {value!r}"


@pytest.mark.parametrize(
    ("name", "good"),
    [("a.b@c", True), ("Ann 1", True), ("李明", True), ("x" * 200, True), ("x" * 201, False), ("", False),
     (" a", False), ("a\tb", False), ("a\u202eb", False), ("a\ud800", False), (".", False), ("..", False),
     (".a", False), ("a.", False), ("-a", False), ("a/b", False), ("a\\b", False), ("a:b", False), ("a,b", False),
     ("a=b", False), ("ref", False), ("李" * 70, False), ("e\u0301", False)],
)  # fmt: skip
def test_annotators_names_are_what_can_name_a_folder_everywhere(tmp_path: Path, name: str, good: bool) -> None:
    rows = [*ragged(), *(json.dumps(record(item, name)) for item in "ab")]
    if good:
        assert name in task(tmp_path, record_rows=rows).annotators
    else:
        assert all(": annotator: " in line for line in problems(tmp_path, record_rows=rows))


def test_fewer_than_two_annotators_are_refused(tmp_path: Path) -> None:
    rows = [record(i["id"], "only") for i in items()]
    assert problems(tmp_path, record_rows=rows) == ["annotations.jsonl: at least two annotators are needed, got only"]


def test_a_min_records_that_leaves_nobody_to_score_is_refused_with_the_remedy(tmp_path: Path) -> None:
    found = problems(tmp_path, min_records="", split_file=TESTED)  # the default, 10
    assert len(found) == 1
    assert "the two largest have 3 and 2" in found[0]
    assert "set min_records = 2 or less" in found[0]
    rows = [record(i["id"], "w1") for i in items()] + [record(i, "w2") for i in "abcde"]
    (found,) = problems(tmp_path, record_rows=rows)
    assert "the two largest have 2 and 0), so no metric could be computed; put other items into test" in found


def test_missing_and_empty_files_are_told_together(tmp_path: Path) -> None:
    folder = write(tmp_path, item_rows=[], split_file=None)
    (folder / "annotations.jsonl").unlink()
    with pytest.raises(TaskError) as caught:
        read_table(read_spec(folder))
    for part in ("items.jsonl: holds no row", "annotations.jsonl: no such file", "splits.json: no such file"):
        assert part in str(caught.value)


def test_items_that_share_a_text_must_not_lie_in_two_splits(tmp_path: Path) -> None:
    rows = items()
    rows[-1]["text"]["reply"] = rows[0]["text"]["reply"].upper() + " "
    found = problems(tmp_path, rows)
    assert len(found) == 1
    assert "a (train), ö 7 (test)" in found[0]
    assert "allow_shared_text = true" in found[0]
    assert len(task(tmp_path, rows, allow_shared_text="true").items) == 7


def test_wrong_keys_of_task_toml_are_all_told_by_line(tmp_path: Path) -> None:
    wrong = {
        "name": "'other'", "version": "1", "kind": "'interval'", "min_records": "0", "instruction": "''",
        "splits": "'../s'", "allow_shared_text": "'yes'", "lables": "['x']",
    }  # fmt: skip
    found = problems(tmp_path, fields={"message": "Text", "reply": "Text"}, extra="\n[upstraem]\n", **wrong)
    assert {line.split(": ")[1] for line in found} == {*wrong, "fields", "upstraem"}
    assert "task.toml:10: lables: unknown key (did you mean 'labels'?)" in found
    assert any(line.startswith("task.toml:15: upstraem: unknown key (known: ") for line in found)


def test_options_that_name_no_field_are_told(tmp_path: Path) -> None:
    assert problems(tmp_path, optional="['chanel']", clusters="'chanel'") == [
        "task.toml: optional: chanel: no field of the task",
        "task.toml: clusters: a field, group or id is needed, got 'chanel'",
    ]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["items.jsonl", "annotations.jsonl", "splits.json", "task.toml"]), st.binary(max_size=60), st.data()
)
def test_damaged_files_are_an_error_of_ours_or_load(
    tmp_path_factory: pytest.TempPathFactory, file: str, junk: bytes, data: st.DataObject
) -> None:
    folder = write(tmp_path_factory.mktemp("damaged"))
    body = (folder / file).read_bytes()
    at = data.draw(st.integers(0, len(body)))
    (folder / file).write_bytes(body[:at] + junk + body[at + data.draw(st.integers(0, 20)) :])
    with suppress(HlvbenchError):
        assert len(load_task("mine", tasks_dir=folder.parent).annotators) > 1
