"""Downloads against a real server on loopback: resumed, truncated, changed, missing, slow, at once."""

from __future__ import annotations

import dataclasses
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

from hlvbench.data.download import Remote, Upstream, cached_path, download, fetch_file
from hlvbench.errors import DataError

BODY = random.Random(0).randbytes(200_000)
REMOTE = Remote("folder/file.json", len(BODY), hashlib.sha256(BODY).hexdigest())
UPSTREAM = Upstream("owner/repo", "0" * 40, (REMOTE,))
ROOT = Path(__file__).resolve().parents[2]


class Server:
    """Serves `body`, with Range; `ways` are consumed one per request and change the answer."""

    def __init__(self) -> None:
        self.body = BODY
        self.ways: list[Callable[[BaseHTTPRequestHandler], None]] = []
        self.ranges: list[str | None] = []
        self.sent: list[int] = []
        self.paths: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.ranges.append(self.headers.get("Range"))
                outer.paths.append(self.path)
                (outer.ways.pop(0) if outer.ways else outer.whole)(self)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients hang up here on purpose
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def whole(
        self, handler: BaseHTTPRequestHandler, stop: int | None = None, drip: float = 0.0, ranges: bool = True
    ) -> None:
        """The body from the offset asked for; cut after `stop` bytes; `drip` seconds between 20 pieces."""
        asked = handler.headers.get("Range") if ranges else None
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        rest = self.body[start:]
        handler.send_response(206 if asked else 200)
        if asked:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.body) - 1}/{len(self.body)}")
        handler.send_header("Content-Length", str(len(rest)))
        handler.end_headers()
        rest = rest[:stop]
        step = max(1, len(rest) // 20)
        self.sent.append(0)
        for at in range(0, len(rest), step):
            # counted first: the client may be done before this thread goes on
            self.sent[-1] += len(rest[at : at + step])
            handler.wfile.write(rest[at : at + step])
            handler.wfile.flush()
            time.sleep(drip)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.http.shutdown()
    made.http.server_close()
    thread.join()


def get(server: Server, target: Path, remote: Remote = REMOTE, timeout: float = 5.0) -> list[str]:
    """Download with short pauses; the lines said."""
    said: list[str] = []
    download(f"{server.url}/{remote.path}", target, remote, timeout=timeout, pause=0.01, say=said.append)
    return said


def status(code: int) -> Callable[[BaseHTTPRequestHandler], None]:
    return lambda handler: handler.send_error(code)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_a_file_arrives_whole_and_leaves_no_part(server: Server, tmp_path: Path) -> None:
    get(server, tmp_path / "file.json")
    assert (tmp_path / "file.json").read_bytes() == BODY
    assert left_in(tmp_path) == ["file.json"]


def test_a_verified_file_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    get(server, tmp_path / "file.json")
    get(server, tmp_path / "file.json")
    assert server.ranges == [None]


def test_a_part_is_continued_by_range_and_only_the_rest_is_sent(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.json.part").write_bytes(BODY[:150_000])
    get(server, tmp_path / "file.json")
    assert server.ranges == ["bytes=150000-"]
    assert server.sent == [50_000]
    assert (tmp_path / "file.json").read_bytes() == BODY


def test_a_truncated_answer_is_continued_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    server.ways = [lambda h: server.whole(h, stop=60_000), lambda h: server.whole(h, stop=40_000)]
    said = get(server, tmp_path / "file.json")
    assert server.ranges == [None, "bytes=60000-", "bytes=100000-"]
    assert (tmp_path / "file.json").read_bytes() == BODY
    assert "truncated: 60,000 of 200,000 bytes" in said[0]


def test_an_answer_that_stays_truncated_is_an_error_and_its_part_is_kept(server: Server, tmp_path: Path) -> None:
    server.body = BODY[:120_000]
    server.ways = [server.whole, *[lambda h: server.whole(h, stop=0)] * 9]
    with pytest.raises(DataError, match=r"truncated: 120,000 of 200,000 bytes \(4 tries\)"):
        get(server, tmp_path / "file.json")
    assert left_in(tmp_path) == ["file.json.part"]


def test_a_server_that_ignores_range_is_read_from_the_start(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.json.part").write_bytes(b"x" * 10)
    server.ways = [lambda h: server.whole(h, ranges=False)]
    get(server, tmp_path / "file.json")
    assert server.ranges == ["bytes=10-"]
    assert (tmp_path / "file.json").read_bytes() == BODY


def test_a_changed_file_is_refused_by_name_and_deleted(server: Server, tmp_path: Path) -> None:
    server.body = b"y" + BODY[1:]
    with pytest.raises(DataError, match=r"folder/file\.json: not the pinned file: changed") as caught:
        get(server, tmp_path / "file.json")
    assert REMOTE.sha256 in str(caught.value)
    assert hashlib.sha256(server.body).hexdigest() in str(caught.value)
    assert left_in(tmp_path) == []
    assert len(server.ranges) == 1


def test_a_longer_file_is_refused_without_reading_it_all(server: Server, tmp_path: Path) -> None:
    server.body = BODY * 50
    with pytest.raises(DataError, match="changed: 200,001 bytes"):
        get(server, tmp_path / "file.json")
    assert left_in(tmp_path) == []


def test_a_spoilt_part_is_thrown_away_and_all_is_read_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.json.part").write_bytes(b"z" * 150_000)
    get(server, tmp_path / "file.json")
    assert server.ranges == ["bytes=150000-", None]
    assert (tmp_path / "file.json").read_bytes() == BODY


@pytest.mark.parametrize("size", [200_000, 250_000])
def test_a_part_of_full_size_or_more_is_checked_without_a_request(server: Server, tmp_path: Path, size: int) -> None:
    (tmp_path / "file.json.part").write_bytes((BODY + BODY)[:size])
    get(server, tmp_path / "file.json")
    assert server.ranges == ([] if size == 200_000 else [None])
    assert (tmp_path / "file.json").read_bytes() == BODY


def test_not_found_is_told_at_once(server: Server, tmp_path: Path) -> None:
    server.ways = [status(404)]
    with pytest.raises(DataError, match=r"file\.json: the server answered 404 Not Found; was the pinned file moved"):
        get(server, tmp_path / "file.json")
    assert len(server.ranges) == 1


@pytest.mark.parametrize("code", [408, 416, 429, 500, 503])
def test_a_passing_failure_is_tried_again(server: Server, tmp_path: Path, code: int) -> None:
    (tmp_path / "file.json.part").write_bytes(BODY[:1000])
    server.ways = [status(code)]
    get(server, tmp_path / "file.json")
    assert (tmp_path / "file.json").read_bytes() == BODY
    assert server.ranges[1] == (None if code == 416 else "bytes=1000-")


def test_a_server_slower_in_all_than_the_timeout_is_waited_for(server: Server, tmp_path: Path) -> None:
    server.ways = [lambda h: server.whole(h, drip=0.05)]  # 20 pieces: 1 s in all
    get(server, tmp_path / "file.json", timeout=0.5)
    assert server.ranges == [None]
    assert (tmp_path / "file.json").read_bytes() == BODY


def test_a_server_that_stalls_is_given_up_and_continued(server: Server, tmp_path: Path) -> None:
    release = threading.Event()

    def stall(handler: BaseHTTPRequestHandler) -> None:
        server.whole(handler, stop=80_000)
        release.wait(20)

    server.ways = [stall]
    said = get(server, tmp_path / "file.json", timeout=0.3)
    release.set()
    assert server.ranges == [None, "bytes=80000-"]
    assert "timed out" in said[0]
    assert (tmp_path / "file.json").read_bytes() == BODY


def test_no_server_at_all_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(DataError, match=r"Connection refused.*\(2 tries\)"):
        download("http://127.0.0.1:9/file.json", tmp_path / "file.json", REMOTE, attempts=2, pause=0, say=print)


def test_a_cache_that_cannot_be_made_is_a_clear_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(DataError, match="HLVBENCH_CACHE"):
        get(server, tmp_path / "cache" / "file.json")


def test_a_wrong_file_in_the_cache_is_replaced(server: Server, tmp_path: Path) -> None:
    target = cached_path(UPSTREAM, REMOTE, tmp_path)
    target.parent.mkdir(parents=True)
    target.write_text("{}")
    assert fetch_file(UPSTREAM, REMOTE, tmp_path, server.url, say=print) == target
    assert target.read_bytes() == BODY
    assert server.paths == [f"/owner/repo/{'0' * 40}/folder/file.json"]


SCRIPT = """
import sys
from pathlib import Path
from hlvbench.data.download import Remote, download
url, target, size, sha256 = sys.argv[1:]
download(url, Path(target), Remote("file.json", int(size), sha256), timeout=20)
"""


def start(server: Server, target: Path) -> subprocess.Popen[bytes]:
    arguments = [f"{server.url}/file.json", str(target), str(REMOTE.bytes), REMOTE.sha256]
    environment = {**os.environ, "no_proxy": "127.0.0.1"}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL
    )


def test_two_processes_at_once_download_once_and_corrupt_nothing(server: Server, tmp_path: Path) -> None:
    server.ways = [lambda h: server.whole(h, drip=0.1)]
    processes = [start(server, tmp_path / "file.json") for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert server.ranges == [None]
    assert (tmp_path / "file.json").read_bytes() == BODY
    assert left_in(tmp_path) == ["file.json"]


def test_a_killed_download_is_continued_by_the_next(server: Server, tmp_path: Path) -> None:
    release = threading.Event()

    def stall(handler: BaseHTTPRequestHandler) -> None:
        server.whole(handler, stop=80_000)
        release.wait(20)

    server.ways = [stall]
    process, part = start(server, tmp_path / "file.json"), tmp_path / "file.json.part"
    deadline = time.monotonic() + 60
    while not (part.is_file() and part.stat().st_size == 80_000) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    get(server, tmp_path / "file.json")
    release.set()
    assert server.ranges == [None, "bytes=80000-"]
    assert (tmp_path / "file.json").read_bytes() == BODY


def test_revisions_never_share_a_path_in_the_cache() -> None:
    other = dataclasses.replace(UPSTREAM, revision="1" * 40)
    assert cached_path(UPSTREAM, REMOTE) != cached_path(other, REMOTE)
