"""Model-card metadata: the numbers of the run, in the form that the hub reads, the card's own text kept."""

from __future__ import annotations

import json

import pytest
import yaml

from hlvbench.cli import main
from hlvbench.generation.run import run
from hlvbench.settings import Settings
from tests.generation.test_run import tasks_dir  # noqa: F401


@pytest.fixture
def folder(tasks_dir, tmp_path):  # noqa: F811
    return run(Settings("reference:human", task=("mine",)), out=tmp_path / "run", tasks_dir=tasks_dir, quiet=True)


def results(text: str) -> list[dict]:
    (model,) = yaml.safe_load(text)["model-index"]
    return model["results"]


def test_the_metadata_are_the_headline_numbers_of_the_run(folder, capsys):
    assert main(["card", str(folder)]) == 0
    found = results(capsys.readouterr().out)
    document = json.loads((folder / "mine" / "scores.json").read_text())
    by_name = {m["name"]: m for r in found for m in r["metrics"]}
    for row in document["scores"]:
        name = row["signature"].partition("|")[0]
        if row["annotator"] is None and name in by_name:
            shown = by_name[name]
            # a test split of few items has no interval
            assert (shown["value"], shown["args"].get("low")) == (row["value"], row["low"])
            assert f"{name}|{shown['args']['conditions']}" == row["signature"]
    assert by_name["label_accuracy(multi=any)"]["value"] == 1.0
    assert {r["dataset"]["type"] for r in found} == {"hlvbench/mine"}


def test_an_annotators_numbers_go_into_a_card_whose_text_stays(folder, tmp_path, capsys):
    readme = tmp_path / "README.md"
    readme.write_text("---\nlicense: mit\n---\n# An adapter\n\nTrained with care.\n")
    assert main(["card", str(folder), "--annotator", "w2", "--into", str(readme)]) == 0
    head, _, text = readme.read_text()[4:].partition("\n---\n")
    assert text == "# An adapter\n\nTrained with care.\n"
    assert {m["args"]["n"] for r in results(head) for m in r["metrics"] if m["type"] == "label_accuracy"} == {6}


def test_an_annotator_that_the_run_has_not_is_told_with_the_known_ones(folder, capsys):
    assert main(["card", str(folder), "--annotator", "w9"]) == 2
    assert "there are w1, w2, w3" in capsys.readouterr().err
