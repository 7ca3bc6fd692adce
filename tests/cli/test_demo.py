"""The demo: the embedded model with the adapters that are shipped, beside reference systems."""

from __future__ import annotations

import pytest

from hlvbench.cli.demo import ADAPTERS, closing_table, run_demo
from hlvbench.generation.run import SETTINGS
from hlvbench.io import read_json
from hlvbench.results.score_report import ScoreReport


def test_the_table_holds_a_row_per_system_and_a_dash_where_no_value_is():
    row = {"metric": "label_kappa", "signature": "label_kappa|demo@1", "annotator": None, "value": 0.25}
    scores = [row, {**row, "annotator": "Ann1", "value": 0.9}]
    report = ScoreReport.model_validate({
        "task": "demo@1", "split": "test", "system": "", "questions": 1, "missing": 0, "scores": scores,
        "replicates": {"count": 0, "values": {}},
    })  # fmt: skip
    lines = closing_table({"base": report}).splitlines()
    assert lines[1].split() == ["base", "–", "0.250", "–", "–", "–", "–", "–"]
    assert lines[0].split()[-1] == "hlv_index"


def test_the_shipped_adapters_are_small_and_say_what_they_are():
    folders = sorted(p.parent for p in ADAPTERS.glob("demo/*/adapter_model.safetensors"))
    assert [f.name for f in folders] == ["Ann1", "Ann2", "Ann3", "Ann4"]
    assert sum(path.stat().st_size for path in ADAPTERS.rglob("*") if path.is_file()) < 4_000_000
    for folder in folders:
        record = read_json(folder / "hlvbench.json")
        assert (record["task"], record["annotator"], record["base"]["name"]) == ("demo", folder.name, "smollm2")


@pytest.mark.slow
def test_the_demo_runs_the_model_and_three_reference_systems(tmp_path, smollm2, capfd):
    table = run_demo(tmp_path / "demo", limit=3)
    assert [line.split()[0] for line in table.splitlines()[1:5]] == ["smollm2", "nearest", "majority", "human"]
    run = tmp_path / "demo" / "smollm2-adapters"
    assert (run / "report.html").is_file()
    assert read_json(run / "demo" / "scores.json")["missing"] == 0
    facts = read_json(run / "manifest.json")["tasks"]["demo"]["model"]
    assert facts["source"]["name"] == "SmolLM2-135M-Instruct"
    assert "dequantised" in facts["source"]["weights"]
    made = (run / "demo" / "generations.jsonl").stat().st_mtime_ns
    again = run_demo(tmp_path / "demo", limit=3)
    assert again.splitlines()[:5] == table.splitlines()[:5]
    assert (run / "demo" / "generations.jsonl").stat().st_mtime_ns == made
    assert read_json(run / SETTINGS)["answers"] == "constrained"
