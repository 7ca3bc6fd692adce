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


def test_a_cards_own_metadata_stay_and_its_old_numbers_of_the_task_are_replaced(folder, tmp_path, capsys):
    readme = tmp_path / "README.md"
    own = {"license": "mit", "base_model": "org/base", "library_name": "other", "tags": ["mine"]}
    glue = {"task": {"type": "text-classification"}, "dataset": {"name": "GLUE", "type": "glue"},
            "metrics": [{"type": "accuracy", "value": 0.5}]}  # fmt: skip
    old = {**own, "model-index": [{"name": "ours", "results": [glue]}]}
    readme.write_bytes(f"---\n{yaml.safe_dump(old)}---\n# Mine\n".replace("\n", "\r\n").encode())
    for _ in range(2):
        assert main(["card", str(folder), "--into", str(readme)]) == 0
    text = readme.read_bytes().decode()
    assert text.endswith("---\r\n# Mine\r\n")
    assert "\n" not in text.replace("\r\n", "")
    new = yaml.safe_load(text.split("---")[1])
    assert {key: new[key] for key in own} == {**own, "tags": ["mine", "hlvbench", "human-label-variation"]}
    (index,) = new["model-index"]
    assert index["name"] == "ours"
    shown = results(capsys.readouterr().out.split("\n\n")[0])
    assert [r["dataset"]["type"] for r in index["results"]].count("hlvbench/mine") == len(shown)
    assert index["results"][0]["dataset"]["type"] == "glue"


def test_a_card_that_cannot_be_read_is_left_as_it_is(folder, tmp_path, capsys):
    for content in (b"# caf\xe9\n", b"---\na: [\n---\n", b"---\n- a\n---\n"):
        readme = tmp_path / "README.md"
        readme.write_bytes(content)
        assert main(["card", str(folder), "--into", str(readme)]) == 2
        assert f"{readme}: no model card that can be read" in capsys.readouterr().err
        assert readme.read_bytes() == content


def test_an_annotator_that_the_run_has_not_is_told_with_the_known_ones(folder, capsys):
    assert main(["card", str(folder), "--annotator", "w9"]) == 2
    assert "there are w1, w2, w3" in capsys.readouterr().err
