"""What judging costs: an estimate before a call, a budget that no call passes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hlvbench.errors import ModelError, RunError
from hlvbench.generation.run import generate
from hlvbench.io import locked
from hlvbench.judging.judge_run import judge, plan
from hlvbench.judging.judge_settings import JudgeSettings
from hlvbench.judging.prices import LEDGER
from hlvbench.settings import Service, Settings
from tests.chat_server import Reply, chat_server, said
from tests.judging.test_judge_run import endpoint, hlvbench


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of the demo task's reference:other, of five items: 20 questions."""
    return generate(Settings("reference:other", task=("demo",), limit=5), out=tmp_path / "run", quiet=True)


def prices(tmp_path: Path) -> Path:
    """A dollar per million prompt tokens, ten per million new ones."""
    path = tmp_path / "prices.toml"
    path.write_text('["m"]\ninput = 1\noutput = 10\n')
    return path


def test_an_estimate_asks_nobody_and_is_the_price_of_what_is_left(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = JudgeSettings("endpoint:m", base_url="http://127.0.0.1:9/v1")
    rows = plan(run, settings, prices=prices(tmp_path))
    assert [(r["answers"], r["questions"], r["new_tokens_at_most"]) for r in rows] == [
        ("system", 20, 320),
        ("human", 20, 320),
        ("blind", 20, 320),
    ]
    for row in rows:
        assert row["usd"] == pytest.approx((row["prompt_tokens"] * 1 + 320 * 10) / 1e6)
    assert plan(run, settings)[0]["usd"] is None
    assert plan(run, JudgeSettings())[0]["usd"] == 0
    words = ["judge", run, "--judge", "endpoint:nought", "--base-url", "http://127.0.0.1:9/v1"]
    assert hlvbench(*words, "--estimate") == 0
    assert "no price known" in capsys.readouterr().out
    assert hlvbench(*words, "--budget", "1") == 2
    assert 'add ["nought"] with input and output' in capsys.readouterr().err
    assert not (run / "demo" / "judge").exists()


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_budget_is_never_passed_and_holds_over_all_commands(run: Path, tmp_path: Path, concurrency: int) -> None:
    """The server counts 1,000 prompt and 100 new tokens a call: .002 USD. A call may cost at most its bytes and 64
    tokens at a dollar a million and 16 new ones at ten, which is more than .002 nowhere here: the most that is set
    aside per call is what stops, so .02 USD buy at most ten calls."""
    spent: list[float] = []

    def reply(body: dict[str, Any], number: int) -> Reply:
        spent.append(0.002)
        return said("A", tokens=100, prompt_tokens=1000)

    with chat_server(reply) as server:
        arguments: dict[str, Any] = {
            "service": Service(concurrency=concurrency, retries=0),
            "quiet": True,
            "prices": prices(tmp_path),
        }
        with pytest.raises(ModelError, match=r"--budget 0.02 USD would be passed.*\n.*\d+ remain"):
            judge(run, endpoint(server), budget=0.02, **arguments)
        calls = len(spent)
        assert calls >= 6
        with pytest.raises(ModelError, match=r"--budget 0\.02 USD"):
            judge(run, endpoint(server), budget=0.02, **arguments)
        # what calls on their way had set aside beyond their price is free again: less than one call of each
        assert calls <= len(spent) < calls + concurrency
        assert sum(spent) <= 0.02 + 1e-9
        judge(run, endpoint(server), budget=1.0, **arguments)
    assert len(spent) == 60
    booked = [json.loads(line)["usd"] for line in (run / LEDGER).read_text().splitlines()]
    assert sum(booked) == pytest.approx(60 * 0.002)


def test_a_budget_holds_where_the_server_counts_no_tokens(run: Path, tmp_path: Path) -> None:
    bare = Reply(json.dumps({"choices": [{"message": {"content": "A"}, "finish_reason": "stop"}]}).encode())
    with chat_server(lambda body, n: bare) as server:
        with pytest.raises(ModelError, match="would be passed"):
            judge(
                run, endpoint(server), budget=0.02, quiet=True, prices=prices(tmp_path), service=Service(concurrency=1)
            )
        booked = sum(json.loads(line)["usd"] for line in (run / LEDGER).read_text().splitlines())
        most = sum((len(c.encode()) + 64 + 16 * 10) / 1e6 for c in server.contents())
    assert booked == pytest.approx(most)
    assert booked <= 0.02


def test_two_commands_do_not_spend_one_budget_at_a_time(run: Path, tmp_path: Path) -> None:
    settings = JudgeSettings("endpoint:m", base_url="http://127.0.0.1:9/v1")
    with locked(run / ".lock.budget"), pytest.raises(RunError, match="another command spends this run's budget"):
        judge(run, settings, budget=1.0, prices=prices(tmp_path), quiet=True)
