"""Tasks that rank judges, and judges that are local models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hlvbench.cli import main
from hlvbench.generation.run import generate
from hlvbench.judging.judge_run import judge
from hlvbench.judging.judge_settings import JudgeSettings
from hlvbench.metrics import parse_signature
from hlvbench.models import Query
from hlvbench.models.hf import load_hf
from hlvbench.settings import Settings
from tests.chat_server import chat_server, said
from tests.tiny import tiny_model
from tests.toy import toy_task


def hlvbench(*words: object) -> int:
    return main([str(w) for w in words])


@pytest.mark.parametrize("limit", ["0", "-1"])
def test_no_questions_are_no_ranking(limit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("run", "--task", "demo/attribution", "--model", "stylometric", "--limit", limit, "--out", tmp_path / "r")
    assert hlvbench(*words) == 2
    assert f"--limit {limit}: " in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
    assert hlvbench("score", tmp_path, "--limit", limit) == 2
    assert f"--limit: 1 or more was expected, got {limit}" in capsys.readouterr().err


def test_a_judge_is_ranked_over_peoples_own_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten items of four people: 40 questions, "A" is right in ten."""
    with chat_server(lambda body, n: said("A")) as server:
        words = [
            "run",
            "--task",
            "demo/attribution",
            "--limit",
            "10",
            "--model",
            "endpoint:m",
            "--base-url",
            server.url,
        ]
        assert hlvbench(*words, "--out", tmp_path / "r", "-q", "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["task"], found["questions"], found["missing"]) == ("demo/attribution@1", 40, 0)
    overall, *each = found["scores"]
    assert (overall["metric"], overall["value"], overall["floor"], overall["n"]) == ("attribution", 0.25, 0.25, 40)
    assert overall["low"] <= 0.25 <= overall["high"]
    assert [s["annotator"] for s in each] == ["Ann1", "Ann2", "Ann3", "Ann4"]
    assert found["letters"] == {"named": {"A": 40, "B": 0, "C": 0, "D": 0}, "right": dict.fromkeys("ABCD", 10)}
    assert parse_signature(overall["signature"]).metric.name == "attribution"
    folder = tmp_path / "r" / "demo" / "attribution"
    before = (folder / "scores.json").read_bytes()
    (folder / "scores.json").unlink()
    assert hlvbench("score", tmp_path / "r") == 0
    assert "demo/attribution@1  m" not in capsys.readouterr().out
    assert (folder / "scores.json").read_bytes() == before
    assert {p.name for p in folder.iterdir()} == {
        "generations.jsonl",
        "generations.plan.json",
        "answers.jsonl",
        "scores.json",
    }


def test_unreadable_replies_are_the_judges_own_fault_where_judges_are_ranked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with chat_server(lambda body, n: said("who knows")) as server:
        words = ["run", "--task", "demo/attribution", "--limit", "2", "--model", "endpoint:m", "--base-url", server.url]
        assert hlvbench(*words, "--out", tmp_path / "r", "-q", "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["scores"][0]["value"], found["scores"][0]["n"], found["missing"]) == (0.0, 8, 8)
    assert "missing:8" in found["scores"][0]["signature"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "--task", "demo/attribution,demo", "--model", "stylometric"], "take one run each"),
        (["run", "--task", "demo/attribution", "--model", "reference:human"], "attributes nothing"),
        (
            ["run", "--task", "demo/attribution", "--model", "stylometric", "--samples", "2", "--prompt", "icl"],
            "--samples: a judge is asked as docs/metrics.md §8 says",
        ),
        (["run", "--task", "nope/attribution", "--model", "stylometric"], "no task 'nope'"),
        (["generate", "--task", "demo/attribution", "--model", "stylometric"], "for `hlvbench run` alone"),
    ],
)
def test_combinations_that_make_no_sense_are_one_message(
    words: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hlvbench(*words, "--out", tmp_path / "r") == 2
    assert expected in capsys.readouterr().err


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny") / "judge", context=4096)


def test_the_letters_have_the_probabilities_of_one_plain_forward_pass(tiny: Path) -> None:
    """A second implementation: each prompt alone, unpadded, through the model's forward."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    task = toy_task(items=(2, 1, 1))
    words = ["1", "2", "neutral"]
    contents = ["you are", "the dog runs because the cat sleeps in the red house .", "answer :"]
    made = load_hf(Settings(str(tiny), task=("toy",), device="cpu"), [task])["toy"]
    found = made.next_words([Query("test0", "Ann1", n, c) for n, c in enumerate(contents)], words)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny), AutoTokenizer.from_pretrained(tiny)
    ids = [tokenizer.convert_tokens_to_ids(w) for w in words]
    for content, row in zip(contents, found, strict=True):
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        with torch.inference_mode():
            logits = model(**tokenizer(text, add_special_tokens=False, return_tensors="pt")).logits[0, -1]
        assert row == pytest.approx(logits.log_softmax(-1)[ids].tolist(), abs=1e-4)


def test_a_word_of_several_tokens_is_told(tiny: Path) -> None:
    task = toy_task(items=(2, 1, 1))
    made = load_hf(Settings(str(tiny), task=("toy",), device="cpu"), [task])["toy"]
    with pytest.raises(Exception, match="'red house' is not one token after a prompt; use --by reply"):
        made.next_words([Query("test0", "Ann1", 0, "x")], ["red house"])


@pytest.mark.slow
@pytest.mark.parametrize(("task", "questions", "published"), [("varierr", 371, 0.61), ("r2", 400, 0.90)])
def test_the_stylometric_judge_has_its_published_accuracy_on_people(
    task: str, questions: int, published: float, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/metrics.md §8, norm view, fitted on dev; the standard error of an accuracy of 371 questions is .025."""
    words = ["run", "--task", f"{task}/attribution", "--model", "stylometric", "--data-dir", data_dir, "--json", "-q"]
    assert hlvbench(*words, "--out", tmp_path / "r") == 0
    (found,) = json.loads(capsys.readouterr().out)
    overall = found["scores"][0]
    assert overall["n"] == questions
    assert overall["value"] == pytest.approx(published, abs=0.03)
    assert "by=style,fit=dev,view=norm" in overall["signature"]


@pytest.mark.slow
def test_a_real_local_model_judges_by_letters_and_by_replies(test_model: str, tmp_path: Path, data_dir: Path) -> None:
    settings = Settings("reference:nearest", task=("r2",), limit=1)
    out = generate(settings, out=tmp_path / "run", data_dir=data_dir, quiet=True)
    shared: dict[str, Any] = {"data_dir": data_dir, "quiet": True}
    (letters,) = judge(out, JudgeSettings(test_model, shots=1, device="cpu"), **shared)
    (replies,) = judge(out, JudgeSettings(test_model, shots=1, device="cpu", by="reply", max_new_tokens=4), **shared)
    assert letters["unreadable"] == 0
    assert sum(letters["letters"]["named"].values()) == 4
    assert "by=letters" in letters["signature"]
    assert "by=reply" in replies["signature"]
    assert letters["judge"] != replies["judge"]
    # the model's path stands in neither results nor signatures, its hash does
    assert test_model not in json.dumps(letters)
    assert parse_signature(letters["signature"]).metric.arguments[0][1].startswith(f"{Path(test_model).name}@")
