"""Replies as other servers write them, and questions that a server refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hlvbench.cli import main
from hlvbench.data.task import load_task
from hlvbench.errors import ModelError
from hlvbench.generation.generate import generate
from hlvbench.io import read_generations
from hlvbench.metrics import bind
from hlvbench.results.scorecard import score_task
from hlvbench.settings import Service
from tests.chat_server import Reply, chat_server, failed, said
from tests.models.test_endpoint import QUERY, TASK, model
from tests.toy import ToyEmbedder


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        *(
            (word, "length")
            for word in ("length", "MAX_TOKENS", "max_tokens", "FinishReason.MAX_TOKENS", "model_length")
        ),
        *((word, "error") for word in ("error", "content_filter", "SAFETY", "PROHIBITED_CONTENT", "abort")),
        *((word, "stop") for word in ("stop", "STOP", "end_turn", "eos_token", "stop_sequence", None)),
    ],
)
def test_finish_reasons_of_other_servers_are_known(reason: str | None, finish: str) -> None:
    reply = Reply(json.dumps({"choices": [{"message": {"content": "a"}, "finish_reason": reason}]}).encode())
    with chat_server(lambda body, n: reply) as server:
        assert model(server).answer([QUERY])[0].finish == finish


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": [{"type": "text", "text": "a "}, "b", {"type": "output_text", "text": "c"}]}, "a bc"),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "a"}]}, {"text": "b"}]}, "b"),
        ({"content": [{"type": "reasoning", "text": "a"}, {"text": "b"}]}, "b"),
        ({"content": "a \ud83d b \ud83d\ude00"}, "a \ufffd b \U0001f600"),
        ({"content": None, "refusal": "I cannot"}, "I cannot"),
        ({}, ""),
    ],
)  # fmt: skip
def test_the_text_of_a_message_is_read_whatever_its_form(message: dict[str, Any], text: str) -> None:
    with chat_server(lambda body, n: Reply(json.dumps({"choices": [{"message": message}]}).encode())) as server:
        (found,) = model(server).answer([QUERY])
    assert (found.text, found.finish) == (text, "stop")


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_a_server_that_gives_reasoning_alone_is_told_of_once(field: str, capsys: pytest.CaptureFixture[str]) -> None:
    message = {"role": "assistant", "content": None, field: "Label: neutral"}
    with chat_server(lambda body, n: Reply(json.dumps({"choices": [{"message": message}]}).encode())) as server:
        found = model(server).answer([QUERY] * 3)
    assert [c.text for c in found] == ["", "", ""]
    shown = capsys.readouterr().err
    assert shown.count("reasoning_content alone") == 1
    assert "--max-new-tokens" in shown


REFUSALS = {
    "no choice": Reply(b'{"choices": []}'),
    "null choices": Reply(b'{"choices": null}'),
    "no message": Reply(b'{"choices": [{"message": null, "finish_reason": "PROHIBITED_CONTENT"}]}'),
    "null message": Reply(b'{"choices": [{"message": null}]}'),
    "an error with status 200": Reply(b'{"error": {"message": "blocked"}}'),
    "400": failed(400, "blocked"),
    "500": failed(500, "oops"),
    "hangs": None,
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_one_refused_question_is_an_answer_without_text_and_the_run_goes_on(
    refusal: Reply | None, tmp_path: Path
) -> None:
    with chat_server(lambda body, n: said("x") if n != 3 else refusal) as server:
        made = model(server, Service(concurrency=1, retries=0, timeout=0.5))
        generate(TASK, made, tmp_path, lambda i, a: i + a, limit=2, quiet=True)
    rows = read_generations(tmp_path / "generations.jsonl")
    assert sorted((r.text, r.finish) for r in rows) == [("", "error"), *[("x", "stop")] * 5]


def test_refused_questions_are_counted_and_shown(tmp_path: Path) -> None:
    words = ["generate", "--task", "demo", "--limit", "2", "--model", "endpoint:m", "--retries", "0", "-q"]
    with chat_server(lambda body, n: said("Label: neutral") if n != 3 else Reply(b'{"choices": []}')) as server:
        assert main([*words, "--concurrency", "1", "--base-url", server.url, "--out", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "manifest.json").read_text())["tasks"]["demo"]["ended_in_error"] == 1
    rows = read_generations(tmp_path / "demo" / "generations.jsonl")
    scored = score_task(load_task("demo"), rows, ToyEmbedder(), limit=2, metrics=[bind("label_accuracy")])
    assert (scored.report.to_dict()["missing"], scored.report.to_dict()["missing_reasons"]) == (1, {"error": 1})


def test_several_refused_questions_in_a_row_end_a_run_and_none_of_them_counts(tmp_path: Path) -> None:
    with chat_server(lambda body, n: said("x") if n < 3 else failed(500, "oops")) as server:
        made = model(server, Service(concurrency=1, retries=0))
        with pytest.raises(ModelError, match=r"status 500: oops.*different questions in a row failed\n3 of 24 answers"):
            generate(TASK, made, tmp_path, lambda i, a: i + a, quiet=True)
        # three annotators: the third item is reached with the seventh question at the latest
        assert 3 + 5 <= len(server.bodies) <= 3 + 9


def test_a_server_that_refuses_every_question_of_a_small_run_is_an_error(tmp_path: Path) -> None:
    with chat_server(lambda body, n: failed(400, "max_tokens is not supported")) as server:
        made = model(server, Service(concurrency=2, retries=0))
        with pytest.raises(ModelError, match=r"not supported; fields are changed.*\n0 of 3 answers are kept"):
            generate(TASK, made, tmp_path, lambda i, a: i + a, limit=1, quiet=True)


def test_a_refused_question_costs_the_others_of_its_batch_nothing(tmp_path: Path) -> None:
    with chat_server(lambda body, n: said("x") if "test3Ann2" not in str(body) else failed(400, "no")) as server:
        made = model(server, Service(concurrency=1, retries=0))
        generate(TASK, made, tmp_path, lambda i, a: i + a, batch_size=6, quiet=True)
    rows = read_generations(tmp_path / "generations.jsonl")
    assert [(r.item, r.annotator) for r in rows if r.finish == "error"] == [("test3", "Ann2")]
