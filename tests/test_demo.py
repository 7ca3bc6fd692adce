"""The demo: its training sees what inference sees, and a shrunken one goes the whole way, once."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hlvbench.demo import COLUMNS, Config, _claim, _made_once, closing_table, crowd_task, run_demo
from hlvbench.errors import RunError
from hlvbench.task import load_task

SMALL = Config(
    hidden=32, layers=1, heads=2, crowd=8, crowd_items=140, batch=8, base_epochs=2, adapter_epochs=1, rank=4, limit=12
)


def test_the_crowd_shares_neither_texts_nor_people_with_the_task():
    task = load_task("demo")
    crowd = crowd_task(SMALL, task)
    texts = {text for item in task.items.values() for text in item.text.values()}
    assert texts.isdisjoint(text for r in crowd.records for text in crowd.items[r.item].text.values())
    assert len(crowd.annotators) == SMALL.crowd
    own_openings = ("I see that", "Clearly,", "To me", "note that")
    assert not all(r.explanation.startswith(own_openings) for r in crowd.records)


def test_a_folder_appears_only_when_it_is_complete(tmp_path):
    def fails(folder):
        (folder / "half").touch()
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        _made_once(tmp_path / "model", fails, print)
    assert not (tmp_path / "model").exists()
    _made_once(tmp_path / "model", lambda folder: (folder / "whole").touch(), print)
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["whole"]


def test_a_folder_of_something_else_or_of_other_settings_is_refused(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(RunError, match="holds no demo"):
        _claim(tmp_path / "other", {"seed": 0})
    _claim(tmp_path / "mine", {"seed": 0})
    _claim(tmp_path / "mine", {"seed": 0})
    with pytest.raises(RunError, match="other settings"):
        _claim(tmp_path / "mine", {"seed": 1})


def test_the_table_holds_a_row_per_system_and_a_dash_where_no_value_is():
    row = {"metric": "label_kappa", "signature": "label_kappa|demo@1", "annotator": None, "value": 0.25}
    lines = closing_table({"base": {"scores": [row, replace_annotator(row, "Ann1", 0.9)]}}).splitlines()
    assert lines[1].split() == ["base", "–", "0.250", "–", "–", "–", "–"]
    assert len(COLUMNS) == 6


def replace_annotator(row, annotator, value):
    return {**row, "annotator": annotator, "value": value}


@pytest.mark.slow
def test_a_shrunken_demo_goes_the_whole_way_and_a_second_call_trains_nothing(tmp_path, capfd):
    table = run_demo(tmp_path / "demo", config=SMALL)
    assert [line.split()[0] for line in table.splitlines()[1:5]] == ["majority", "base", "adapters", "human"]
    assert (tmp_path / "demo" / "runs" / "adapters" / "report.md").is_file()
    note = json.loads((tmp_path / "demo" / "adapters" / "demo" / "Ann2" / "hlvbench.json").read_text())
    assert (note["task"], note["annotator"]) == ("demo", "Ann2")
    weights = (tmp_path / "demo" / "model" / "model.safetensors").stat().st_mtime_ns
    capfd.readouterr()
    again = run_demo(tmp_path / "demo", config=SMALL)
    assert again.splitlines()[:5] == table.splitlines()[:5]
    assert (tmp_path / "demo" / "model" / "model.safetensors").stat().st_mtime_ns == weights
    assert "step" not in capfd.readouterr().err
    with pytest.raises(RunError, match="other settings"):
        run_demo(tmp_path / "demo", config=replace(SMALL, seed=1))
