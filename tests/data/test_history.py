"""`--history`: how many train items of an annotator a system is shown, and the learning curve of such runs."""

import json
import shutil
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlvbench.analysis.learning_curve import curve, curve_markdown
from hlvbench.baselines.baseline_registry import open_baseline
from hlvbench.cli import main
from hlvbench.data.task import cut_history
from hlvbench.errors import RunError
from hlvbench.metrics.registry import parse_signature
from hlvbench.models import Query
from hlvbench.prompting.prompt import render_answer

from ..toy import ToyEmbedder, toy_task

TASK = toy_task(items=(30, 12, 12), absent=0.1)


def train_pairs(task, annotator):
    return set(task.questions("train", annotators=(annotator,)))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 3))
def test_a_shorter_history_is_part_of_a_longer_one(first, second, seed):
    short, long = (cut_history(TASK, n, seed) for n in sorted((first, second)))
    for annotator in TASK.annotators:
        assert train_pairs(short, annotator) <= train_pairs(long, annotator) <= train_pairs(TASK, annotator)
        assert len(train_pairs(short, annotator)) == min(min(first, second), len(train_pairs(TASK, annotator)))


def test_only_train_is_cut_and_everybody_stays():
    short = cut_history(TASK, 2)
    assert short.annotators == TASK.annotators == short.scored_annotators
    for split in ("dev", "test"):
        assert short.records_of(split) == TASK.records_of(split)
    assert cut_history(TASK, None) is TASK
    assert Counter(r.annotator for r in short.records_of("train")) == dict.fromkeys(TASK.annotators, 2)


def test_a_system_of_one_record_says_that_record():
    short = cut_history(TASK, 1)
    model = open_baseline("reference:nearest", short, "test", ToyEmbedder())
    for pair in TASK.questions("test"):
        (own,) = short.records_of("train", pair[1])
        (said,) = model.answer([Query(*pair, 0, "")])
        assert said.text == render_answer(short, own.label, own.explanation)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("curve")
    for name, options in {"5": ["--history", "5"], "20": ["--history", "20"], "all": []}.items():
        out = folder / f"nearest-{name}"
        command = ["run", "--task", "demo", "--model", "reference:nearest", "--limit", "12", "-q", "--out", str(out)]
        assert main([*command, *options]) == 0
    return folder


@pytest.mark.slow
def test_a_runs_history_stands_in_its_signatures(runs):
    for name, history in (("5", 5), ("all", None)):
        document = json.loads((runs / f"nearest-{name}" / "demo" / "scores.json").read_text())
        assert {parse_signature(s["signature"]).history for s in document["scores"]} == {history}
    texts = [(runs / f"nearest-{n}" / "demo" / "generations.jsonl").read_text() for n in ("5", "20", "all")]
    assert len(set(texts)) == 3


@pytest.mark.slow
def test_the_curve_holds_the_runs_scores_in_order_of_history(runs, tmp_path):
    pytest.importorskip("matplotlib")
    folders = [runs / f"nearest-{n}" for n in ("all", "20", "5")]
    assert main(["curve", *map(str, folders), "--out", str(tmp_path / "c")]) == 0
    (points,) = json.loads((tmp_path / "c" / "curve.json").read_text())["tasks"]["demo@1"].values()
    assert [p["history"] for p in points] == [5, 20, None]
    for point, name in zip(points, ("5", "20", "all"), strict=True):
        document = json.loads((runs / f"nearest-{name}" / "demo" / "scores.json").read_text())
        (kappa,) = [s for s in document["scores"] if s["metric"] == "label_kappa" and s["annotator"] is None]
        assert point["scores"]["decision"]["value"] == kappa["value"]
    assert (tmp_path / "c" / "curve-demo.png").read_bytes().startswith(b"\x89PNG")
    rows = [line for line in (tmp_path / "c" / "curve.md").read_text().splitlines() if "| reference:nearest" in line]
    assert [row.split("|")[2].strip() for row in rows] == ["5", "20", "all"]
    assert curve_markdown(curve(folders)) == (tmp_path / "c" / "curve.md").read_text()


@pytest.mark.slow
def test_two_runs_of_one_history_are_refused(runs, tmp_path):
    again = shutil.copytree(runs / "nearest-5", tmp_path / "again")
    with pytest.raises(RunError, match="are both reference:nearest, base with a history of 5"):
        curve([runs / "nearest-5", again])


@pytest.mark.slow
def test_adapters_of_two_trainers_are_two_lines(runs, tmp_path):
    for method, option in {"sft": "rank = 16", "capo": "beta = 0.1"}.items():
        adapter = tmp_path / f"{method}-adapters" / "demo" / "Ann1"
        adapter.mkdir(parents=True)
        (adapter / "train.toml").write_text(option)
        folder = shutil.copytree(runs / "nearest-5", tmp_path / method)
        settings = json.loads((folder / "settings.json").read_text()) | {"adapter_dir": str(adapter.parents[1])}
        (folder / "settings.json").write_text(json.dumps(settings))
    (methods,) = curve([tmp_path / "sft", tmp_path / "capo"])["tasks"].values()
    assert list(methods) == ["reference:nearest, base, sft adapters", "reference:nearest, base, capo adapters"]
