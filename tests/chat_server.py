"""A chat server on loopback that answers, or misbehaves, as a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What goes over the line. `length`: the Content-Length told, where it is not the body's own."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None


def said(text: str | None, finish: str = "stop", tokens: int = 3, prompt_tokens: int = 10) -> Reply:
    """A regular chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": tokens}
    return Reply(json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}).encode())


def failed(status: int, message: str, code: str | None = None, **headers: str) -> Reply:
    """An error as OpenAI's servers put it."""
    body = json.dumps({"error": {"message": message, "code": code}}).encode()
    return Reply(body, status, {k.replace("_", "-"): v for k, v in headers.items()})


class ChatServer:
    """Its address and what it was asked so far: bodies and headers, in order of arrival."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []

    def contents(self) -> list[str]:
        """The user messages."""
        return [body["messages"][0]["content"] for body in self.bodies]


@contextmanager
def chat_server(reply: Callable[[dict[str, Any], int], Reply | None]) -> Iterator[ChatServer]:
    """Serve `reply(body, number)`, the requests numbered from 0; None never answers."""
    over = threading.Event()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(found.bodies)
                found.bodies.append(body)
                found.headers.append({k.lower(): v for k, v in self.headers.items()})
            answer = reply(body, number) if self.path == "/v1/chat/completions" else failed(404, f"no {self.path}")
            if answer is None:
                over.wait(60)
                return
            self.send_response(answer.status)
            length = len(answer.body) if answer.length is None else answer.length
            for name, value in {"Content-Type": "application/json", "Content-Length": length, **answer.headers}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found = ChatServer(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        server.shutdown()
        server.server_close()
