"""What tests share: the real data, a real model and a browser where they are at hand, and no network."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

from hlvbench.models.smollm2 import embedded_folder

# before any test module imports a library that reads them
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

REQUIRABLE = {"data", "model", "browser"}

# no timed assertions: a busy machine is not a failing property
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


def pytest_configure(config: pytest.Config) -> None:
    """One fresh HLVBENCH_CACHE for the whole session: workers inherit it, so embeddings are computed once."""
    unknown = _required() - REQUIRABLE
    if unknown:
        raise pytest.UsageError(f"HLVBENCH_REQUIRE names {sorted(unknown)}; it knows {sorted(REQUIRABLE)}")
    if not hasattr(config, "workerinput"):
        # the embedded model is fetched before the tests (`make test`), which go to no network
        fetched = embedded_folder()
        folder = tempfile.mkdtemp(prefix="hlvbench-test-cache-")
        os.environ["HLVBENCH_CACHE"] = folder
        if fetched.is_dir():
            embedded_folder().parent.mkdir(parents=True)
            embedded_folder().symlink_to(fetched.resolve())
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def _required() -> set[str]:
    return {name.strip() for name in os.environ.get("HLVBENCH_REQUIRE", "").split(",")} - {""}


def absent(what: str, reason: str) -> NoReturn:
    """Skip the test, or fail it where HLVBENCH_REQUIRE names `what` ("data", "model" or "browser")."""
    if what in _required():
        pytest.fail(f"HLVBENCH_REQUIRE names {what}: {reason}", pytrace=False)
    pytest.skip(reason)


def _named_by(variable: str, what: str, shows: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        absent(what, f"{variable} is not set")
    path = Path(value)
    if not (path / shows).exists():
        absent(what, f"{variable}={value} holds no {shows}")
    return path


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the real data: varierr.json and lewidi2025/."""
    return _named_by("HLVBENCH_DATA", "data", "varierr.json")


@pytest.fixture(scope="session")
def test_model() -> str:
    """The path of a small real model with a chat template."""
    return str(_named_by("HLVBENCH_TEST_MODEL", "model", "config.json"))


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The folder of the embedded default model."""
    if not embedded_folder().is_dir():
        absent("model", "the embedded model is not there: hlvbench fetch smollm2")
    return embedded_folder()


@pytest.fixture(scope="session")
def majority_run() -> Path:
    """A finished run of the built-in synthetic task, made once for all workers; who changes it copies it first."""
    from hlvbench.generation.run import run
    from hlvbench.settings import Settings

    out = Path(os.environ["HLVBENCH_CACHE"]) / "majority-run"
    command = ["hlvbench", "run", "--model", "reference:majority", "--out", str(out)]
    with FileLock(f"{out}.lock"):
        if not (out / "report.html").exists():
            run(Settings("reference:majority", task=("demo",)), out=out, quiet=True, command=command)
    return out


@pytest.fixture(scope="session")
def browser() -> str:
    """The path of a Chromium; run as root it needs `--no-sandbox`."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    absent("browser", "no chromium on the PATH")


def _is_loopback(host: object) -> bool:
    name = host.decode() if isinstance(host, bytes) else str(host or "localhost")
    return name in ("localhost", "::1", "0.0.0.0", "::") or name.startswith("127.")


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """A connection to anything but this machine fails the test that made it, whoever would catch the error."""

    def guard(function: Callable[..., Any], host_of: Callable[..., object]) -> Callable[..., Any]:
        def guarded(*args: Any, **named: Any) -> Any:
            host = host_of(*args, **named)
            if not _is_loopback(host):
                pytest.fail(f"this test went to the network: {host!r}")
            return function(*args, **named)

        return guarded

    def peer(_: socket.socket, address: object) -> object:
        return address[0] if isinstance(address, tuple) else "localhost"  # a path: a Unix socket

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guard(socket.socket.connect, peer))
        patch.setattr(socket.socket, "connect_ex", guard(socket.socket.connect_ex, peer))
        patch.setattr(socket, "getaddrinfo", guard(socket.getaddrinfo, lambda host, *_, **__: host))
        yield


@pytest.fixture(scope="module")
def chromium(browser):
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", "--no-first-run"]  # fmt: skip
    with sync_playwright() as tool:
        running = tool.chromium.launch(executable_path=browser, args=quiet)
        yield running
        running.close()


@pytest.fixture
def visit(chromium):
    """Open a page in a fresh context: (page, what went wrong, what was asked for)."""
    contexts = []

    def go(path, width=1200, **options):
        context = chromium.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        tab, trouble, asked = context.new_page(), [], []
        tab.on("console", lambda message: trouble.append(message.text))
        tab.on("pageerror", lambda error: trouble.append(str(error)))
        tab.on("dialog", lambda dialog: (trouble.append(dialog.message), dialog.dismiss()))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(path.as_uri())
        return tab, trouble, asked

    yield go
    for context in contexts:
        context.close()
