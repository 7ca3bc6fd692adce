"""Downloads against a real server on loopback: truncated, changed, missing, slow, at once."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hlvbench.data import download
from hlvbench.data.download import Remote, Upstream, cached_path, fetch_file
from hlvbench.errors import DataError

BODY = random.Random(0).randbytes(200_000)
REMOTE = Remote(path="folder/file.json", bytes=len(BODY), sha256=hashlib.sha256(BODY).hexdigest())
UPSTREAM = Upstream(repo="owner/repo", revision="0" * 40, files=[REMOTE])
ROOT = Path(__file__).resolve().parents[2]


class Server:
    """Serves `body`; `ways` are consumed one per request and change the answer."""

    def __init__(self) -> None:
        self.body = BODY
        self.ways: list[Callable[[BaseHTTPRequestHandler], None]] = []
        self.paths: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.paths.append(self.path)
                (outer.ways.pop(0) if outer.ways else outer.whole)(self)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients hang up here on purpose
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def whole(self, handler: BaseHTTPRequestHandler, stop: int | None = None, drip: float = 0.0) -> None:
        """The body, cut after `stop` bytes; `drip` seconds between 20 pieces."""
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(self.body)))
        handler.end_headers()
        sent = self.body[:stop]
        step = max(1, len(sent) // 20)
        for at in range(0, len(sent), step):
            handler.wfile.write(sent[at : at + step])
            handler.wfile.flush()
            time.sleep(drip)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSE", 0.01)
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.http.shutdown()
    made.http.server_close()
    thread.join()


def get(server: Server, cache: Path) -> list[str]:
    """Download with short pauses; the lines of progress."""
    lines: list[str] = []
    assert fetch_file(UPSTREAM, REMOTE, cache, server.url, lines.append) == target(cache)
    return lines


def target(cache: Path) -> Path:
    return cached_path(UPSTREAM, REMOTE, cache)


def left_in(cache: Path) -> list[str]:
    return [path.name for path in cache.rglob("*") if path.is_file()]


def status(code: int) -> Callable[[BaseHTTPRequestHandler], None]:
    return lambda handler: handler.send_error(code)


def test_a_file_arrives_whole_and_leaves_nothing_else(server: Server, tmp_path: Path) -> None:
    assert get(server, tmp_path) == ["file.json: 200,000 bytes, verified"]
    assert target(tmp_path).read_bytes() == BODY
    assert left_in(tmp_path) == ["file.json"]
    assert server.paths == [f"/owner/repo/{'0' * 40}/folder/file.json"]


def test_a_verified_file_is_not_downloaded_again(server: Server, tmp_path: Path) -> None:
    get(server, tmp_path)
    assert get(server, tmp_path) == []
    assert len(server.paths) == 1


def test_a_wrong_file_in_the_cache_is_replaced(server: Server, tmp_path: Path) -> None:
    target(tmp_path).parent.mkdir(parents=True)
    target(tmp_path).write_text("{}")
    get(server, tmp_path)
    assert target(tmp_path).read_bytes() == BODY


def test_a_truncated_answer_is_tried_again(server: Server, tmp_path: Path) -> None:
    server.ways = [lambda h: server.whole(h, stop=60_000), lambda h: server.whole(h, stop=0)]
    lines = get(server, tmp_path)
    assert len(server.paths) == 3
    assert "60000 bytes read" in lines[0]
    assert target(tmp_path).read_bytes() == BODY


def test_an_answer_that_stays_truncated_is_an_error_that_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.ways = [lambda h: server.whole(h, stop=60_000)] * 4
    with pytest.raises(DataError, match=r"60000 bytes read.*\(4 tries\)"):
        get(server, tmp_path)
    assert left_in(tmp_path) == []


def test_a_changed_file_is_refused_by_name_and_deleted(server: Server, tmp_path: Path) -> None:
    server.body = b"y" + BODY[1:]
    with pytest.raises(DataError, match=r"folder/file\.json: not the pinned file") as caught:
        get(server, tmp_path)
    assert REMOTE.sha256 in str(caught.value)
    assert hashlib.sha256(server.body).hexdigest() in str(caught.value)
    assert left_in(tmp_path) == []
    assert len(server.paths) == 1


def test_not_found_is_an_error_at_once(server: Server, tmp_path: Path) -> None:
    server.ways = [status(404)]
    with pytest.raises(DataError, match=r"file\.json: the server answered 404 Not Found; was the pinned file moved"):
        get(server, tmp_path)
    assert len(server.paths) == 1


@pytest.mark.parametrize("code", [408, 429, 500, 503])
def test_a_passing_failure_is_tried_again(server: Server, tmp_path: Path, code: int) -> None:
    server.ways = [status(code)]
    assert f"the server answered {code}" in get(server, tmp_path)[0]
    assert target(tmp_path).read_bytes() == BODY


def test_a_server_slower_in_all_than_the_timeout_is_waited_for(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    server.ways = [lambda h: server.whole(h, drip=0.05)]  # 20 pieces: 1 s in all
    get(server, tmp_path)
    assert len(server.paths) == 1


def test_a_server_that_stalls_is_given_up_and_asked_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    release = threading.Event()

    def stall(handler: BaseHTTPRequestHandler) -> None:
        server.whole(handler, stop=80_000)
        release.wait(20)

    server.ways = [stall]
    lines = get(server, tmp_path)
    release.set()
    assert len(server.paths) == 2
    assert "timed out" in lines[0]
    assert target(tmp_path).read_bytes() == BODY


def test_no_server_at_all_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSE", 0.0)
    with pytest.raises(DataError, match=r"Connection refused.*\(4 tries\)"):
        fetch_file(UPSTREAM, REMOTE, tmp_path, "http://127.0.0.1:9", print)


def test_a_cache_that_cannot_be_made_is_a_clear_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(DataError, match="HLVBENCH_CACHE"):
        get(server, tmp_path / "cache")


def test_a_full_disk_is_named_with_the_file(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pooch.retrieve", full)
    with pytest.raises(DataError, match=r"file\.json: No space left on device; choose another cache"):
        get(server, tmp_path)


SCRIPT = """
import sys
from pathlib import Path
from hlvbench.data.download import Remote, Upstream, fetch_file
url, cache, size, sha256 = sys.argv[1:]
file = Remote(path="folder/file.json", bytes=int(size), sha256=sha256)
fetch_file(Upstream(repo="owner/repo", revision="0" * 40, files=[file]), file, Path(cache), url)
"""


def start(server: Server, cache: Path) -> subprocess.Popen[bytes]:
    arguments = [server.url, str(cache), str(REMOTE.bytes), REMOTE.sha256]
    environment = {**os.environ, "no_proxy": "127.0.0.1"}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL
    )


def test_two_processes_at_once_download_once_and_corrupt_nothing(server: Server, tmp_path: Path) -> None:
    server.ways = [lambda h: server.whole(h, drip=0.1)]
    processes = [start(server, tmp_path) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert len(server.paths) == 1
    assert target(tmp_path).read_bytes() == BODY
    assert left_in(tmp_path) == ["file.json"]


def test_a_killed_download_does_not_hinder_the_next(server: Server, tmp_path: Path) -> None:
    asked, release = threading.Event(), threading.Event()

    def stall(handler: BaseHTTPRequestHandler) -> None:
        server.whole(handler, stop=80_000)
        asked.set()
        release.wait(20)

    server.ways = [stall]
    process = start(server, tmp_path)
    assert asked.wait(60)
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    assert not target(tmp_path).exists()
    get(server, tmp_path)
    release.set()
    assert target(tmp_path).read_bytes() == BODY


def test_revisions_never_share_a_path_in_the_cache() -> None:
    other = UPSTREAM.model_copy(update={"revision": "1" * 40})
    assert cached_path(UPSTREAM, REMOTE) != cached_path(other, REMOTE)
