"""The suite's own promises: no network, and nothing required is skipped."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from tests import conftest


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.org", 443), ("2001:db8::1", 80, 0, 0)])
def test_a_connection_to_another_machine_fails_the_test(address):
    with pytest.raises(pytest.fail.Exception, match="network"), socket.socket() as ours:
        ours.connect(address)
    with pytest.raises(pytest.fail.Exception, match="network"):
        socket.create_connection(address[:2], timeout=1)


def test_a_connection_to_this_machine_is_let_through():
    with socket.create_server(("127.0.0.1", 0)) as server:
        peers = []
        thread = threading.Thread(target=lambda: peers.append(server.accept()[0]))
        thread.start()
        with socket.create_connection(("localhost", server.getsockname()[1]), timeout=10) as ours:
            thread.join(10)
            ours.sendall(b"x")
            assert peers[0].recv(1) == b"x"
        peers[0].close()


def test_what_is_absent_is_skipped_unless_it_is_required(monkeypatch):
    monkeypatch.setenv("HLVBENCH_REQUIRE", "data, browser")
    with pytest.raises(pytest.skip.Exception):
        conftest.absent("model", "no model here")
    with pytest.raises(pytest.fail.Exception, match="no browser here"):
        conftest.absent("browser", "no browser here")


def test_a_variable_that_points_nowhere_names_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("HLVBENCH_REQUIRE", "data")
    monkeypatch.setenv("HLVBENCH_DATA", str(tmp_path))
    with pytest.raises(pytest.fail.Exception, match=r"holds no varierr\.json"):
        conftest._named_by("HLVBENCH_DATA", "data", "varierr.json")


def test_the_cache_of_the_suite_is_its_own():
    assert Path(os.environ["HLVBENCH_CACHE"]).name.startswith("hlvbench-test-cache-")
    assert os.environ["HF_HUB_OFFLINE"] == "1"
