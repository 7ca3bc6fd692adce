"""The typed scores.json: read and written unchanged, rows found by metric and parameters, clear messages."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from hlvbench.errors import RunError
from hlvbench.metrics.index import harmonic_index
from hlvbench.results.score_check import check_submitted
from hlvbench.results.score_report import ScoreReport, schema_text
from hlvbench.results.scorecard import score_task
from tests.boards import NamedEmbedder, answers, scored
from tests.toy import toy_task

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def report() -> ScoreReport:
    return ScoreReport.model_validate(scored("nearest"))


def test_the_schema_in_the_docs_is_the_one_of_the_types():
    said = "run: python -c 'from hlvbench.results.score_report import schema_text; print(schema_text(), end=str())'"
    assert (ROOT / "docs" / "scores.schema.json").read_text("utf-8") == schema_text(), said
    jsonschema.validate(scored("nearest"), json.loads(schema_text()))


def test_a_report_is_written_as_it_was_read(report, tmp_path):
    report.write(tmp_path / "scores.json")
    assert ScoreReport.read(tmp_path / "scores.json") == report
    assert json.loads((tmp_path / "scores.json").read_text()) == scored("nearest")


@pytest.mark.parametrize(
    "path", sorted((ROOT / "submissions").glob("*/r2/scores.json"))[::9], ids=lambda p: p.parts[-3]
)
def test_scores_of_the_submissions_are_read_and_written_byte_by_byte(path, tmp_path):
    ScoreReport.read(path).write(tmp_path / "scores.json")
    assert (tmp_path / "scores.json").read_bytes() == path.read_bytes()


def test_rows_are_found_by_metric_and_parameters(report):
    assert report["label_kappa"] == report.find("label_kappa")[0]
    assert report.of("label_kappa", "Ann2").annotator == "Ann2"
    assert [s.compact for s in report.find("grounding", view="norm")] == ["grounding(view=norm)"]
    assert list(report.factors()) == ["decision", "grounding", "imitation", "distinctness"]
    assert report.factors()["imitation"] == report["imitation_score(view=norm)@10"]
    assert report.index().metric == "hlv_index"
    assert list(report.curve("group_confidence", "raw")) == [1, 5, 10, 20, 50]
    with pytest.raises(KeyError, match="not in this scorecard"):
        report["label_error"]


def test_the_headline_is_what_the_registry_says_in_the_order_of_the_scorecard(report):
    names = [score.compact for score in report.headline()]
    assert names[0] == "label_accuracy"
    assert names[-1] == "hlv_index"
    assert {"macro_f1", "rouge_l(view=raw)", "imitation_score(view=norm)@10", "own_gain(view=norm)"} < set(names)
    assert not {"rouge_l(view=norm)", "c2st(view=norm)"} & set(names)
    assert {score.annotator for score in report.headline("Ann1")} == {"Ann1"}


def test_a_file_that_is_no_score_report_is_named_with_every_problem_and_the_remedy(tmp_path):
    document = {**scored("nearest"), "questions": -1, "more": 1}
    del document["system"]
    path = tmp_path / "run" / "toy" / "scores.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document))
    with pytest.raises(RunError) as caught:
        ScoreReport.read(path)
    said = str(caught.value)
    assert str(path) in said
    assert f"hlvbench score {tmp_path / 'run'}" in said
    for problem in ("questions: Input should be greater than or equal to 0, got -1", "more: is not a key here",
                    "system: is missing"):  # fmt: skip
        assert problem in said


def test_the_index_of_two_samples_is_a_mean_of_indexes_and_not_that_of_the_factors_means():
    task, rows = toy_task(), list(answers("human"))
    rows += [dataclasses.replace(row, sample=1) for row in answers("nearest")]
    report = score_task(task, rows, NamedEmbedder(), per_answer=False).report
    factors = {name: np.array([score.value]) for name, score in report.factors().items()}
    assert abs(report.index().value - harmonic_index(factors)[0]) > 0.01
    assert check_submitted(report.to_dict(), "toy") == []
