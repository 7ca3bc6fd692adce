"""Endpoint models: against a real server, and against one that does everything a server should not."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hlvbench.cli import main
from hlvbench.errors import ModelError, UsageError
from hlvbench.generation.generate import generate
from hlvbench.io import read_generations
from hlvbench.models import Query
from hlvbench.models.endpoint import load_endpoints
from hlvbench.prompting.parse import parse
from hlvbench.settings import Service, Settings
from tests.chat_server import ChatServer, Reply, chat_server, failed, said
from tests.toy import toy_task

TASK = toy_task(annotators=3, items=(5, 5, 8))
QUERY = Query("test0", "Ann1", 0, "a prompt")
# waits between retries are the library's, half a second at first
HASTY = Service(concurrency=1, timeout=0.5, retries=1)


def model(server: ChatServer | str, service: Service = HASTY, **settings: Any) -> Any:
    url = server if isinstance(server, str) else server.url
    made = Settings("endpoint:served", task=("toy",), base_url=url, **settings)
    made.check()
    return load_endpoints(made, [TASK], service)["toy"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def transformers_serve(test_model: str) -> Iterator[str]:
    """The base URL of `transformers serve` with the test model on the CPU."""
    port = free_port()
    program = Path(sys.executable).parent / "transformers"
    words = [str(program), "serve", test_model, "--device", "cpu", "--dtype", "float32", "--port", str(port)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with subprocess.Popen(
        [*words, "--host", "127.0.0.1"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        try:
            _until_healthy(process, port)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


def _until_healthy(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(600):
        if process.poll() is not None:
            assert process.stderr is not None
            pytest.fail(f"transformers serve ended: {process.stderr.read().decode()[-800:]}")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail("transformers serve did not start within two minutes")


@pytest.mark.slow
def test_a_real_server_gives_the_texts_that_the_model_gives_in_this_process(
    transformers_serve: str, test_model: str, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """transformers generates both, from the same chat template and weights: greedy texts are equal."""
    common = ["--task", "varierr", "--data-dir", data_dir, "--limit", "3", "--max-new-tokens", "40", "-q"]
    there = ["--model", f"endpoint:{test_model}", "--base-url", transformers_serve, "--concurrency", "2"]
    assert main([str(w) for w in ["generate", *common, *there, "--out", tmp_path / "there"]]) == 0
    assert main([str(w) for w in ["generate", *common, "--model", test_model, "--out", tmp_path / "here"]]) == 0
    rows = {name: read_generations(tmp_path / name / "varierr" / "generations.jsonl") for name in ("there", "here")}
    assert len(rows["there"]) >= 10
    assert [r.text for r in rows["there"]] == [r.text for r in rows["here"]]
    # texts of a few words at least, as the server counts
    assert all(r.new_tokens >= 5 and r.finish in ("stop", "length") for r in rows["there"])
    manifest = json.loads((tmp_path / "there" / "manifest.json").read_text())
    assert manifest["tasks"]["varierr"]["model"]["base_url"] == transformers_serve
    capsys.readouterr()


@pytest.mark.slow
def test_a_real_server_that_does_not_know_the_model_is_one_message(
    transformers_serve: str, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--task", "r2", "--data-dir", data_dir, "--limit", "1", "--model", "endpoint:gpt-nought"]
    assert main([str(w) for w in [*words, "--base-url", transformers_serve, "--out", tmp_path / "x", "-q"]]) == 2
    shown = capsys.readouterr().err
    assert "status 400" in shown
    assert "gpt-nought" in shown
    assert "0 of 4 answers are kept, 4 remain" in shown
    assert "Traceback" not in shown


def test_what_is_sent_is_the_prompt_and_the_settings() -> None:
    with chat_server(lambda body, n: said("Label: neutral", tokens=7)) as server:
        made = model(
            server, temperature=0.5, max_new_tokens=9, model_arg={"top_p": "0.9", "user": "me", "seed": "null"}
        )
        (completion,) = made.answer([QUERY])
    assert (completion.text, completion.finish, completion.new_tokens) == ("Label: neutral", "stop", 7)
    assert server.bodies == [{
        "model": "served", "messages": [{"role": "user", "content": "a prompt"}], "temperature": 0.5, "max_tokens": 9,
        "top_p": 0.9, "user": "me",
    }]  # fmt: skip
    assert made.context is None
    assert made.prompt_text("x") == "x"


def test_each_question_and_sample_has_a_seed_of_its_own_and_keeps_it() -> None:
    with chat_server(lambda body, n: said("x")) as server:
        made = model(server)
        for query in (QUERY, Query("test0", "Ann1", 1, "a prompt"), Query("test1", "Ann1", 0, "a prompt"), QUERY):
            made.answer([query])
    first, second, third, again = (body["seed"] for body in server.bodies)
    assert len({first, second, third}) == 3
    assert first == again
    assert 0 <= first < 2**31


def test_annotators_are_served_by_the_names_of_the_model_map() -> None:
    names = {"Ann1": "lora-1", "Ann2": "lora-2", "Ann3": "base"}
    with chat_server(lambda body, n: said(body["model"])) as server:
        made = model(server, model_map=names)
        texts = [made.answer([Query("test0", a, 0, "x")])[0].text for a in names]
    assert texts == list(names.values())
    assert made.describe()["served"] == names
    with pytest.raises(UsageError, match="toy/Ann3: no model"):
        model("http://127.0.0.1:1/v1", model_map={"Ann1": "a", "Ann2": "b"})


def test_a_reply_cut_by_the_limit_or_filtered_says_so() -> None:
    replies = [said("a b", "length"), said(None, "content_filter"), failed(400, "filtered", "content_filter")]
    with chat_server(lambda body, n: replies[n]) as server:
        made = model(server)
        found = [made.answer([QUERY])[0] for _ in replies]
    assert [(c.text, c.finish) for c in found] == [("a b", "length"), ("", "error"), ("", "error")]


@pytest.mark.parametrize(
    "first",
    [
        failed(500, "oops"),
        failed(503, "loading"),
        failed(429, "slow down", retry_after="0.01"),
        Reply(said("x").body[:20], length=400),
        Reply(b"<html>gateway</html>"),
        Reply(b"<html>gateway</html>", headers={"Content-Type": "text/html"}),
        Reply(b'{"choices": []}'),
        Reply(b'{"choices": [{"message": {"content": 5}}]}'),
        Reply(b"[1, 2"),
        None,
    ],
    ids=["500", "503", "429", "truncated", "no JSON", "html", "no choice", "no text", "broken JSON", "hangs"],
)
def test_a_failure_that_may_pass_is_tried_again(first: Reply | None) -> None:
    with chat_server(lambda body, n: first if n == 0 else said("fine")) as server:
        assert model(server).answer([QUERY])[0].text == "fine"
    assert len(server.bodies) == 2
    assert server.bodies[0] == server.bodies[1]


def test_retry_after_is_honoured() -> None:
    moments: list[float] = []

    def reply(body: dict[str, Any], number: int) -> Reply:
        moments.append(time.monotonic())
        # the library's own first pause is at most half a second
        return failed(429, "slow down", retry_after="1.2") if number == 0 else said("fine")

    with chat_server(reply) as server:
        model(server).answer([QUERY])
    assert moments[1] - moments[0] >= 1.2


@pytest.mark.parametrize(
    ("reply", "expected", "calls"),
    [
        (failed(500, "oops"), "status 500: oops, asked 2 times", 2),
        (failed(429, "quota", retry_after="7200"), "status 429: quota; Retry-After: 7200", 1),
        (failed(401, "bad key"), "status 401.*OPENAI_API_KEY is set", 1),
        (failed(404, "no such model"), r"status 404.*end in /v1\?", 1),
        (
            failed(400, "max_tokens is not supported"),
            "status 400: max_tokens is not supported; .*--model-arg NAME=VALUE or NAME=null",
            1,
        ),
        (Reply(b"{}"), r"no chat completion: '\{\}' \(asked 2 times\)", 2),
        (Reply(b"nothing"), r"cannot be read.*\(asked 2 times\)", 2),
        (Reply(b'{"a', length=99), "cannot be reached, asked 2 times", 2),
        (None, "no reply within 0.5 s, asked 2 times; see --timeout", 2),
    ],
    ids=["500", "429", "401", "404", "400", "shape", "no JSON", "truncated", "hangs"],
)
def test_a_failure_that_stays_is_one_line_that_names_the_question(
    reply: Reply | None, expected: str, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with chat_server(lambda body, n: reply) as server, pytest.raises(ModelError, match=expected) as error:
        model(server).answer([QUERY])
    assert "endpoint:served at http://127.0.0.1" in str(error.value)
    assert "(item test0, annotator Ann1)" in str(error.value)
    assert "\n" not in str(error.value)
    assert len(server.bodies) == calls


def test_a_server_that_is_not_there_is_told() -> None:
    with pytest.raises(ModelError, match=r"cannot be reached, asked 2 times: .*[Cc]onnection refused"):
        model(f"http://127.0.0.1:{free_port()}/v1").answer([QUERY])


def test_the_key_is_sent_and_never_shown_or_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    words = [
        "generate",
        "--task",
        "demo",
        "--limit",
        "1",
        "--model",
        "endpoint:m",
        "--retries",
        "0",
        "--out",
        str(tmp_path),
    ]
    with chat_server(lambda body, n: said("Label: x") if n else failed(401, "wrong key sk-very-secret")) as server:
        assert main([*words, "--base-url", server.url]) == 2
        shown = capsys.readouterr()
        assert "wrong key [key]; OPENAI_API_KEY is set" in shown.err
        assert main([*words, "--base-url", server.url]) == 0
        shown_later = capsys.readouterr()
    assert server.headers[0]["authorization"] == "Bearer sk-very-secret"
    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    for text in (shown.out, shown.err, shown_later.out, shown_later.err, written):
        assert "sk-very-secret" not in text
    assert server.url in written


def test_a_failing_server_loses_nothing_and_says_how_many_remain(tmp_path: Path) -> None:
    """24 questions; the server dies at its eleventh call, with three others under way."""
    asked: list[str] = []

    def prompts(item: str, annotator: str) -> str:
        return f"{item} {annotator}"

    def dies(body: dict[str, Any], number: int) -> Reply:
        if number >= 10:
            return failed(400, "out of order")
        asked.append(body["messages"][0]["content"])
        return said(f"answer to {asked[-1]}")

    service = Service(concurrency=4, retries=0)
    with chat_server(dies) as server:
        made = model(server, service)
        with pytest.raises(ModelError, match="10 of 24 answers are kept, 14 remain; the same command continues"):
            generate(TASK, made, tmp_path, prompts, quiet=True)
        url = server.url
    again: list[str] = []

    def lives(body: dict[str, Any], number: int) -> Reply:
        again.append(body["messages"][0]["content"])
        return said(f"answer to {again[-1]}")

    with chat_server(lives) as server:
        revived = model(server, service)
        # the same server, come back
        revived.describe = lambda: made.describe()
        assert made.describe()["base_url"] == url
        generate(TASK, revived, tmp_path, prompts, quiet=True)
    assert len(asked) == 10
    assert len(again) == 14
    assert sorted(asked + again) == sorted(prompts(*pair) for pair in TASK.questions("test"))
    rows = read_generations(tmp_path / "generations.jsonl")
    assert [r.text for r in rows] == [f"answer to {prompts(*pair)}" for pair in TASK.questions("test")]


def test_calls_overlap_up_to_the_concurrency(tmp_path: Path) -> None:
    """Every call waits until three are there: with fewer at a time this would never end."""
    barrier = threading.Barrier(3, timeout=30)
    under_way, most, lock = 0, 0, threading.Lock()

    def reply(body: dict[str, Any], number: int) -> Reply:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        barrier.wait()
        with lock:
            under_way -= 1
        return said("x")

    with chat_server(reply) as server:
        generate(TASK, model(server, Service(concurrency=3, timeout=60)), tmp_path, lambda i, a: i + a, quiet=True)
    assert len(server.bodies) == 24
    assert most == 3


def test_no_more_calls_than_allowed_are_begun_in_a_minute() -> None:
    moments: list[float] = []

    def reply(body: dict[str, Any], number: int) -> Reply:
        moments.append(time.monotonic())
        return said("x")

    with chat_server(reply) as server:
        made = model(server, Service(concurrency=4, requests_per_minute=600))
        made.answer([QUERY] * 4)
    # four calls, a tenth of a second apart
    assert moments[-1] - moments[0] >= 0.28


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--model", "endpoint:m"], "needs --base-url URL"),
        (["--model", "endpoint:", "--base-url", "http://localhost:1/v1"], "names no model"),
        (["--model", "endpoint:m", "--base-url", "localhost:1"], "is no http or https address"),
        (["--model", "endpoint:m", "--base-url", "http://x:y/v1"], "Port could not be cast"),
        (["--model", "endpoint:m", "--base-url", "http://me:hush@localhost/v1"], "holds credentials"),
        (["--model", "endpoint:m", "--base-url", "http://localhost/v1?key=hush"], "OPENAI_API_KEY"),
        (["--model", "endpoint:m", "--base-url", "http://localhost/v1", "--adapter-dir", "d"], "--model-map"),
        (["--model", "endpoint:m", "--base-url", "http://localhost/v1", "--think", "--dtype", "float16"],
         "--dtype, --think: a server decides that itself"),
        (["--model", "endpoint:m", "--base-url", "http://localhost/v1", "--concurrency", "0", "--timeout", "-1"],
         "--timeout -1.0: Input should be greater than 0"),
        (["--model", "reference:human", "--base-url", "http://localhost/v1"], "goes with --model endpoint:NAME"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_one_message(
    words: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--task", "demo", "--limit", "1", "--out", str(tmp_path / "r"), *words]) == 2
    shown = capsys.readouterr().err
    assert expected in shown
    assert "hush" not in shown
    assert not (tmp_path / "r" / "demo").exists()


def test_a_dry_run_calls_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    assert main(["generate", "--dry-run", "--task", "demo", "--limit", "2", "--model", "endpoint:m", "--base-url", url,
                 "--json"]) == 0  # fmt: skip
    found = json.loads(capsys.readouterr().out)["demo"]
    assert found["seconds"] is None
    assert found["prompt_tokens"] > 0


def test_constrained_answers_are_asked_for_by_a_schema() -> None:
    with chat_server(lambda body, number: said('{"label": "neutral", "explanation": "So it is."}')) as server:
        answer = model(server, answers="constrained").answer([QUERY])[0]
    (body,) = server.bodies
    assert body["response_format"]["type"] == "json_schema"
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["label"]["enum"] == list(TASK.labels)
    assert parse(answer.text, TASK).label == "neutral"


def test_a_server_that_refuses_the_schema_is_told_of_with_the_remedy() -> None:
    refusal = failed(400, "response_format is not supported")
    with chat_server(lambda body, number: refusal) as server, pytest.raises(ModelError, match="--answers free"):
        model(server, answers="constrained").answer([QUERY])
