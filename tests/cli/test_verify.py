"""`hlvbench verify`: a run in, rows with signatures out, kept beside the run."""

from __future__ import annotations

import json

import pytest

from hlvbench.cli import main
from hlvbench.data.task import load_task
from hlvbench.errors import RunError, UsageError
from hlvbench.metrics import parse_signature
from hlvbench.verify import verify, verify_text

from ..human_study.test_human_study import write_run


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", load_task("demo"), "people", lambda record: record.explanation)


def test_people_are_their_own_ceiling_and_rows_of_other_sizes_are_kept(run):
    for m in (2, 4):
        (document,) = verify(run, sizes=[m], replicates=10, quiet=True)
        overall = [row for row in document["scores"] if row["annotator"] is None]
        assert {row["metric"] for row in overall} == {f"verification_{x}@{m}" for x in ("auc", "c1", "f05u", "brier")}
        for row in overall:
            assert row["value"] == row["ceiling"]
            assert row["low"] <= row["value"] <= row["high"]
            assert str(parse_signature(row["signature"])) == row["signature"]
            assert row["floor"] == 0.5 or "auc" not in row["metric"]
    assert "verification_auc(view=norm)@4" in verify_text([document])
    verify(run, sizes=[4], replicates=10, quiet=True)
    kept = json.loads((run / "demo" / "verification.json").read_text())["scores"]
    signatures = [(row["signature"], row["annotator"]) for row in kept]
    assert len(signatures) == len(set(signatures)) == 2 * 2 * 4 * (1 + 4)


def test_wrong_input_is_told(run, tmp_path, capsys):
    with pytest.raises(RunError, match="no run folder"):
        verify(tmp_path)
    with pytest.raises(UsageError, match="1 or more answers"):
        verify(run, sizes=[0, 5])
    with pytest.raises(RunError, match="has no generations"):
        verify(run, task=["r2"])
    assert main(["verify", str(run), "--limit", "3"]) == 2
    assert "--limit does not go with verify" in capsys.readouterr().err
