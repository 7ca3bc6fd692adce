"""Logs of other harnesses become raw text of ours, or one message that names everything wrong with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from hlvbench.cli import main
from hlvbench.data.task import builtin_tasks_dir
from hlvbench.errors import DataError, RunError, UsageError
from hlvbench.integrations import harness
from hlvbench.integrations.log_import import import_logs
from hlvbench.io import read_generations, sha256_text
from hlvbench.types import Generation
from tests.generation.test_run import tasks_dir  # noqa: F401


@pytest.fixture
def rows(tasks_dir: Path) -> list[harness.Row]:  # noqa: F811
    """The questions of a table task of three annotators."""
    harness.task_of.cache_clear()
    return harness.questions(str(tasks_dir / "mine"))


def sample(row: harness.Row, text: str = "Label: yes") -> dict[str, Any]:
    """A line of lm-eval's samples file, as much of it as is read."""
    return {"doc": dict(row), "resps": [[text]], "arguments": {"gen_args_0": {"arg_0": f"<{row['prompt']}>"}}}


def write(path: Path, samples: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(s) + "\n" for s in samples))
    return path


def test_four_logs_of_one_annotator_each_become_one_file_in_question_order(rows, tmp_path):
    for annotator in ("w3", "w1", "w2"):
        own = [sample(r, f"{annotator} of {r['item']}") for r in rows if r["annotator"] == annotator]
        write(tmp_path / "logs" / "model" / f"samples_{annotator}.jsonl", own[::-1])
    (path,) = import_logs("lm-eval", [tmp_path / "logs"], tmp_path / "out").values()
    first = rows[0]
    expected = Generation(
        first["item"], first["annotator"], 0, f"{first['annotator']} of {first['item']}", "stop", 0,
        sha256_text(f"<{first['prompt']}>"),
    )  # fmt: skip
    found = read_generations(path)
    assert path == tmp_path / "out" / "mine" / "generations.jsonl"
    assert [(r.item, r.annotator) for r in found] == [(r["item"], r["annotator"]) for r in rows]
    assert found[0] == expected


CHAT = [{"role": "user", "content": "asked"}]
TWO = [{"role": "system", "content": "be brief"}, *CHAT]


@pytest.mark.parametrize(
    ("asked", "hashed"),
    [
        (json.dumps(CHAT), "asked"),
        ([json.dumps(CHAT)], "asked"),
        (CHAT, "asked"),
        ([{"role": "user", "content": [{"type": "text", "text": "asked"}]}], "asked"),
        (json.dumps(TWO), "be brief\n\nasked"),
        ("[1, 2]", "[1, 2]"),
        ("a prompt", "a prompt"),
    ],
)
def test_logs_of_api_models_are_imported_whatever_form_the_messages_have(rows, tmp_path, asked, hashed):
    line = {**sample(rows[0]), "arguments": {"gen_args_0": {"arg_0": asked}}}
    (path,) = import_logs("lm-eval", [write(tmp_path / "samples.jsonl", [line])], tmp_path / "out").values()
    assert read_generations(path)[0].prompt_sha256 == sha256_text(hashed)


@pytest.mark.parametrize("resps", [[[None]], [[]], [None], None, [["None"]]])
def test_a_null_answer_is_an_answer_that_ended_in_an_error(rows, tmp_path, resps):
    null = {**sample(rows[0]), "resps": resps, "arguments": {"gen_args_0": {"arg_0": [json.dumps(CHAT)]}}}
    log = write(tmp_path / "samples.jsonl", [null, sample(rows[1], "None")])
    (path,) = import_logs("lm-eval", [log], tmp_path / "out").values()
    found = {(r.item, r.annotator): (r.text, r.finish) for r in read_generations(path)}
    assert found[rows[0]["item"], rows[0]["annotator"]] == ("", "error")
    # a model on this machine may say the word
    assert found[rows[1]["item"], rows[1]["annotator"]] == ("None", "stop")


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_samples_file_is_an_error(rows, tmp_path, content):
    (tmp_path / "samples_x.jsonl").write_text(content)
    write(tmp_path / "samples_y.jsonl", [sample(rows[0])])
    with pytest.raises(DataError, match=r"samples_x.jsonl: no samples in it"):
        import_logs("lm-eval", [tmp_path], tmp_path / "out")


def inspect_log(path: Path, samples: list[Any]) -> Path:
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSpec, write_eval_log

    spec = EvalSpec(created="2025-01-01T00:00:00+00:00", task="hlvbench/own", dataset=EvalDataset(), model="m",
                    config=EvalConfig())  # fmt: skip
    write_eval_log(EvalLog(eval=spec, samples=samples), str(path))
    return path


def test_an_inspect_log_may_hold_messages_and_samples_without_an_answer(rows, tmp_path):
    pytest.importorskip("inspect_ai")
    from inspect_ai.log import EvalError, EvalSample
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser, ModelOutput

    error = EvalError(message="x", traceback="", traceback_ansi="")
    given = [
        {"output": ModelOutput.from_content("m", "Label: yes", stop_reason="max_tokens")},
        {"output": ModelOutput.from_content("m", "", stop_reason="content_filter")},
        {"output": ModelOutput(model="m")},
        {"output": ModelOutput(model="m"), "error": error},
    ]
    asked = [ChatMessageSystem(content="be brief"), ChatMessageUser(content="asked")]
    samples = [
        EvalSample(id=n, epoch=1, input=asked if n else "asked", target="x", metadata=dict(row), **fields)
        for n, (row, fields) in enumerate(zip(rows, given, strict=False))
    ]
    (path,) = import_logs("inspect", [inspect_log(tmp_path / "x.eval", samples)], tmp_path / "out").values()
    found = {(r.item, r.annotator): r for r in read_generations(path)}
    ordered = [found[row["item"], row["annotator"]] for row in rows[:4]]
    assert [(r.text, r.finish) for r in ordered] == [("Label: yes", "length")] + [("", "error")] * 3
    assert {r.prompt_sha256 for r in ordered} == {sha256_text("asked")}
    with pytest.raises(DataError, match=r"y.eval: no samples in it"):
        import_logs("inspect", [inspect_log(tmp_path / "y.eval", [])], tmp_path / "out")


def test_everything_wrong_with_logs_is_told_at_once(rows, tmp_path):
    strange = write(tmp_path / "samples_a.jsonl", [sample(rows[0]), {"doc": {"question": "2 + 2"}}, {"resps": [["x"]]}])
    double = write(tmp_path / "samples_b.jsonl", [sample(rows[1]), sample(rows[1], "Label: no")])
    with pytest.raises(DataError, match=r"(?s)samples_a.jsonl: 2 lines.*line 2.*line 3.*answered twice"):
        import_logs("lm-eval", [strange, double], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_tasks_of_one_name_or_two_splits_are_not_joined(rows, tmp_path):
    copied, demo = tmp_path / "other" / "mine", harness.questions("demo")[0]
    shutil.copytree(rows[0]["task"], copied)
    by_path = {"task": str(builtin_tasks_dir() / "demo")}
    for row, changed in ((rows[0], {"split": "dev"}), (rows[0], {"task": str(copied)}), (demo, by_path)):
        log = write(tmp_path / "samples.jsonl", [sample(row), sample({**row, **changed})])
        with pytest.raises(DataError, match=r"answers to .* \(.*\), .* \(.*\); import the logs one by one"):
            import_logs("lm-eval", [log], tmp_path / "out")


def test_an_answer_to_no_question_and_a_place_without_logs_are_named(rows, tmp_path):
    other = write(tmp_path / "samples.jsonl", [sample({**rows[0], "item": "999"})])
    with pytest.raises(UsageError, match="item '999'"):
        import_logs("lm-eval", [other], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"(?s)empty: no samples_\*.jsonl in it.*nowhere: no such file"):
        import_logs("lm-eval", [tmp_path / "empty", tmp_path / "nowhere"], tmp_path / "out")


def test_other_answers_are_never_overwritten_and_the_same_ones_may_come_again(rows, tmp_path):
    log = write(tmp_path / "samples.jsonl", [sample(rows[0])])
    import_logs("lm-eval", [log], tmp_path / "out")
    import_logs("lm-eval", [log], tmp_path / "out")
    write(log, [sample(rows[0], "Label: no")])
    with pytest.raises(RunError, match="other answers are there already"):
        import_logs("lm-eval", [log], tmp_path / "out")


@pytest.mark.parametrize("silent", [False, True])
def test_a_file_that_inspect_cannot_read_is_named(tmp_path, monkeypatch, silent):
    log = pytest.importorskip("inspect_ai.log")
    (tmp_path / "x.eval").write_text("not a zip")
    if silent:
        monkeypatch.setattr(log, "read_eval_log", Mock(side_effect=KeyError()))
    with pytest.raises(DataError, match=r"x.eval: not a log that inspect can read: \w"):
        import_logs("inspect", [tmp_path / "x.eval"], tmp_path / "out")


def test_an_imported_file_is_scored_on_the_questions_and_samples_it_answers(rows, tasks_dir, tmp_path, capsys):  # noqa: F811
    twice = [{**sample(row), "resps": [["Label: yes", "Label: no"]]} for row in rows[:2]]
    log = write(tmp_path / "samples.jsonl", twice)
    assert main(["import", "lm-eval", str(log), "--out", str(tmp_path / "out"), "--json"]) == 0
    path = json.loads(capsys.readouterr().out)["mine"]
    assert [(r.sample, r.text) for r in read_generations(Path(path))] == [(0, "Label: yes"), (1, "Label: no")] * 2
    words = ["score", path, "--task", "mine", "--tasks-dir", str(tasks_dir), "--only-answered", "-q", "--json"]
    assert main(words) == 0
    (document,) = json.loads(capsys.readouterr().out)
    assert (document["questions"], document["samples"], document["missing"]) == (2, 2, 0)
    assert "|only:2-" in document["scores"][0]["signature"]


def test_only_answered_does_not_overwrite_the_scores_of_a_run(tasks_dir, tmp_path, capsys):  # noqa: F811
    words = ["--task", "mine", "--tasks-dir", str(tasks_dir), "-q", "--out", str(tmp_path / "run")]
    assert main(["run", "--model", "reference:human", *words]) == 0
    assert main(["score", str(tmp_path / "run"), "--tasks-dir", str(tasks_dir), "--only-answered"]) == 2
    assert "give --out DIR" in capsys.readouterr().err
