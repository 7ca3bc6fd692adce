"""Splits drawn by fractions: what belongs together stays together, and the drawn splits are frozen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlvbench.data.splits import make_splits
from hlvbench.data.task import load_task
from hlvbench.errors import TaskError
from hlvbench.io import sha256_file
from hlvbench.types import Item
from tests.data.test_table import items, lines, problems, record, task, write

FRACTIONS = "\n[splits]\ntrain = 0.6\ndev = 0.2\ntest = 0.2\n"


def many(count: int = 20) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Items of which each two neighbours share their message, and their records by two annotators."""
    made = items([f"i{n}" for n in range(count)])
    for n, row in enumerate(made):
        row["text"]["message"] = f"shared {n // 2}"
    return made, [record(row["id"], who) for row in made for who in ("p", "q")]


def test_fractions_make_splits_by_shared_text_and_freeze_them(tmp_path: Path) -> None:
    made = task(tmp_path, *many(), split_file=None, extra=FRACTIONS, splits="")
    assert {split: len(ids) for split, ids in made.splits.items()} == {"train": 12, "dev": 4, "test": 4}
    for ids in made.splits.values():
        assert all(f"i{int(i[1:]) ^ 1}" in ids for i in ids)  # neighbours are together
    frozen = json.loads((tmp_path / "mine" / "splits.json").read_text())
    assert frozen["made_from"]["items_sha256"] == sha256_file(tmp_path / "mine" / "items.jsonl")
    again = load_task("mine", tasks_dir=tmp_path)
    assert again.splits == made.splits
    assert again.data_sha256 == made.data_sha256


def test_frozen_splits_refuse_changed_items_and_changed_fractions(tmp_path: Path) -> None:
    item_rows, record_rows = many()
    folder = write(tmp_path, item_rows, record_rows, None, extra=FRACTIONS, splits="")
    load_task("mine", tasks_dir=tmp_path)
    item_rows[0]["text"]["reply"] = "edited"
    (folder / "items.jsonl").write_text(lines(item_rows))
    with pytest.raises(TaskError, match=r"frozen from other input \(items_sha256 changed\)"):
        load_task("mine", tasks_dir=tmp_path)
    write(
        tmp_path, many()[0], record_rows, None, extra=FRACTIONS.replace("0.2", "0.1").replace("0.6", "0.8"), splits=""
    )
    with pytest.raises(TaskError, match=r"\(dev, test, train changed\).*raise the version"):
        load_task("mine", tasks_dir=tmp_path)


def test_a_handwritten_splits_file_beside_fractions_is_refused(tmp_path: Path) -> None:
    found = problems(tmp_path, extra=FRACTIONS, splits="")
    assert found == ['splits.json: written by hand, but task.toml has [splits]: say splits = "splits.json" there']


def test_a_text_that_all_items_share_cannot_be_split_and_says_why(tmp_path: Path) -> None:
    rows, records = many()
    for row in rows:
        row["text"]["channel"] = "mail"
    write(tmp_path, rows, records, None, extra=FRACTIONS, splits="")
    with pytest.raises(TaskError, match=r"20 items in 1 groups .* the largest of 20"):
        load_task("mine", tasks_dir=tmp_path)
    assert not (tmp_path / "mine" / "splits.json").exists()


def test_a_folder_that_cannot_be_written_gives_the_same_splits_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("hlvbench.data.splits.write_atomic", refuse)
    first = task(tmp_path, *many(), split_file=None, extra=FRACTIONS, splits="")
    assert not (tmp_path / "mine" / "splits.json").exists()
    assert load_task("mine", tasks_dir=tmp_path).splits == first.splits


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=30),
    st.randoms(use_true_random=False),
    st.integers(0, 5),
)
def test_made_splits_partition_the_items_whatever_their_order(groups: list[int], shuffle: Any, seed: int) -> None:
    made = [Item(f"i{n}", {"a": f"group {g}", "b": f"own {n}"}) for n, g in enumerate(groups)]
    fractions = {"train": 0.5, "dev": 0.25, "test": 0.25, "seed": seed}
    splits = make_splits(made, fractions)
    assert sorted(i for ids in splits.values() for i in ids) == sorted(item.id for item in made)
    assert all(len(splits[part]) <= round(0.25 * len(made)) for part in ("dev", "test"))
    of = {item: part for part, ids in splits.items() for item in ids}
    for g in set(groups):
        assert len({of[f"i{n}"] for n, other in enumerate(groups) if other == g}) == 1
    shuffle.shuffle(made)
    assert make_splits(made, fractions) == splits


def test_freezing_by_two_processes_at_once_gives_one_file(tmp_path: Path) -> None:
    write(tmp_path, *many(), None, extra=FRACTIONS, splits="")
    code = f"from hlvbench.data.task import load_task; print(load_task('mine', tasks_dir={str(tmp_path)!r}).splits)"
    root = Path(__file__).resolve().parents[2]
    started = [
        subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in started]
    assert said[0] == said[1] != ""
