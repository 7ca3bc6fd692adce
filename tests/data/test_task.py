"""Finding, describing, fetching and loading tasks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from hlvbench.data import download
from hlvbench.data import task as task_module
from hlvbench.data.task import builtin_tasks_dir, describe_tasks, fetch, load_spec, load_task, load_tasks, task_names
from hlvbench.errors import DataError, HlvbenchError, UsageError

from .test_data_sources import NLI, VARIERR, folder_of, place
from .test_table import write

SPLITS = {"train": ["3c", "1n"], "dev": [], "test": ["2e"]}
UPSTREAM_PATH = f"owner/repo/{'a' * 40}/v.json"


@pytest.fixture(autouse=True)
def fresh_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No local data, an empty cache, no proxy for this machine."""
    monkeypatch.delenv("HLVBENCH_DATA", raising=False)
    monkeypatch.setenv("HLVBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSE", 0.0)


@pytest.fixture
def tasks_dir(tmp_path: Path) -> Path:
    """One task `mine` that pins a file of the invented VariErr kind."""
    return folder_of(tmp_path, "varierr", NLI, {"v.json": VARIERR}, SPLITS).parent


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server of the pinned file on loopback, which stands for the public host."""
    root = place(tmp_path / "served", {UPSTREAM_PATH: VARIERR})

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(root))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    url = f"http://127.0.0.1:{http.server_address[1]}"
    monkeypatch.setattr(download, "HOST", url)
    yield url
    http.shutdown()
    http.server_close()
    thread.join()


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "HOST", "http://127.0.0.1:9")


def test_the_built_in_tasks_are_known() -> None:
    assert {"varierr", "r2", "convarg", "convarg-all", "demo"} <= set(task_names())


def test_an_installed_package_finds_the_tasks_it_carries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "hlvbench"
    shutil.copytree(builtin_tasks_dir() / "varierr", package / "_tasks" / "varierr")
    monkeypatch.setattr(task_module, "__file__", str(package / "data" / "task.py"))
    assert builtin_tasks_dir() == package / "_tasks"
    assert task_names() == ("varierr",)


@pytest.mark.parametrize("name", ["varier", "../varierr", "", ".", "r2/", "varierr\n"])
def test_an_unknown_task_lists_the_known(name: str) -> None:
    with pytest.raises(UsageError, match=r"known tasks: .*varierr"):
        load_task(name)


def test_a_near_miss_is_named() -> None:
    with pytest.raises(UsageError, match="did you mean 'varierr'"):
        load_task("varier")


def test_a_task_of_ones_own_is_listed_after_the_built_in_ones(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "lm_eval").mkdir()  # a folder without task.toml is no task
    assert task_names(tmp_path) == (*task_names(), "mine")


def test_a_task_of_ones_own_must_not_hide_a_built_in_one(tmp_path: Path) -> None:
    shutil.copytree(builtin_tasks_dir() / "r2", tmp_path / "r2")
    with pytest.raises(UsageError, match="r2: a built-in task has this name; rename"):
        load_task("varierr", tasks_dir=tmp_path)


def test_the_built_in_folder_may_be_named_again() -> None:
    assert task_names(builtin_tasks_dir()) == task_names()


def test_a_tasks_dir_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        task_names(tmp_path / "nowhere")


def test_data_are_downloaded_on_first_use_and_then_found_offline(
    tasks_dir: Path, mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_task("mine", tasks_dir=tasks_dir)
    offline(monkeypatch)
    assert load_task("mine", tasks_dir=tasks_dir) == first
    assert len(first.records) == 6


def test_offline_without_data_is_one_message_with_the_remedy(
    tasks_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline(monkeypatch)
    with pytest.raises(DataError) as caught:
        load_task("mine", tasks_dir=tasks_dir)
    for part in (
        f"v.json not found in the cache ({tmp_path / 'cache'})",
        "Connection refused",
        "hlvbench fetch mine",
        f"http://127.0.0.1:9/{UPSTREAM_PATH}",
        "--data-dir DIR or set HLVBENCH_DATA=DIR",
    ):
        assert part in str(caught.value)


def test_fetch_fills_the_cache_from_the_host_or_a_mirror(
    tasks_dir: Path, mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline(monkeypatch)
    said: list[str] = []
    got = fetch(["mine"], base_url=mirror + "/", tasks_dir=tasks_dir, tell=said.append)
    assert [path.read_bytes() for path in got["mine"]] == [VARIERR]
    assert said == [f"v.json: {len(VARIERR):,} bytes, verified"]
    assert load_task("mine", tasks_dir=tasks_dir).annotators == ("Ann1", "Ann2", "Ann3", "Ann4")
    elsewhere = fetch(["mine"], tmp_path / "elsewhere", mirror, tasks_dir, said.append)
    assert elsewhere["mine"][0].is_relative_to(tmp_path / "elsewhere")


def test_a_spoilt_cache_is_refused_by_name_and_fetch_mends_it(tasks_dir: Path, mirror: str) -> None:
    path = fetch(["mine"], tasks_dir=tasks_dir)["mine"][0]
    path.write_bytes(VARIERR[:20])
    with pytest.raises(DataError, match=rf"{path}: not the pinned file: truncated.*run `hlvbench fetch mine`"):
        load_task("mine", tasks_dir=tasks_dir)
    fetch(["mine"], tasks_dir=tasks_dir)
    assert path.read_bytes() == VARIERR


def test_fetch_of_a_task_without_upstream_does_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    assert fetch(["mine", "demo"], tasks_dir=tmp_path) == {"mine": (), "demo": ()}


def test_fetch_tells_every_file_that_failed(tasks_dir: Path, mirror: str) -> None:
    # the mirror knows neither of the real files
    with pytest.raises(DataError) as caught:
        fetch(["varierr", "r2"])
    assert str(caught.value).count("404") == 2
    assert "varierr.json" in str(caught.value)
    assert "Paraphrase_train.json" in str(caught.value)


def test_the_given_folder_goes_before_the_environment_and_both_before_the_cache(
    tasks_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline(monkeypatch)
    good, empty = place(tmp_path / "good", {"v.json": VARIERR}), tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv("HLVBENCH_DATA", str(good))
    assert load_task("mine", tasks_dir=tasks_dir) == load_task("mine", good, tasks_dir)
    with pytest.raises(DataError, match=f"not found in {empty}"):
        load_task("mine", empty, tasks_dir)


def test_a_data_folder_that_is_none_is_told(tasks_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="--data-dir nowhere: no such folder"):
        load_task("mine", "nowhere", tasks_dir)
    monkeypatch.setenv("HLVBENCH_DATA", "nowhere")
    with pytest.raises(DataError, match="HLVBENCH_DATA nowhere: no such folder"):
        load_task("mine", tasks_dir=tasks_dir)
    assert load_task("demo").annotators  # needs no data


def test_describing_tasks_downloads_nothing_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a download")

    monkeypatch.setattr(download, "fetch_file", refuse)
    folder = write(tmp_path, split_file=None, splits="", extra="\n[splits]\ntrain = 0.6\ndev = 0.1\ntest = 0.3\n")
    before = sorted(folder.iterdir())
    rows = {row["name"]: row for row in describe_tasks(tasks_dir=tmp_path)}
    assert rows["varierr"] == {
        "name": "varierr", "version": "1", "kind": "nominal", "licence": "",
        "splits": {"train": 300, "dev": 100, "test": 100},
        "annotators": ["Ann1", "Ann2", "Ann3", "Ann4"], "data": "not here", "problem": None,
    }  # fmt: skip
    assert rows["mine"]["splits"] == {"train": 4, "dev": 1, "test": 2}
    assert rows["mine"]["annotators"] == ["w2", "w10", "Ζωή"]
    assert rows["mine"]["data"] == f"here: {folder}"
    assert sorted(folder.iterdir()) == before


def test_describing_tasks_says_where_data_are_and_what_is_wrong(tasks_dir: Path, mirror: str, tmp_path: Path) -> None:
    path = fetch(["mine"], tasks_dir=tasks_dir)["mine"][0]

    def row() -> dict[str, object]:
        return next(row for row in describe_tasks(tasks_dir=tasks_dir) if row["name"] == "mine")

    assert row()["data"] == f"here: {tmp_path / 'cache'}"
    path.write_bytes(b"{}")
    assert f"{path}: not the pinned file" in str(row()["problem"])
    (tasks_dir / "mine" / "task.toml").write_text("source = 1")
    assert "source must be one of" in str(row()["problem"])


def test_what_is_wrong_with_several_tasks_is_told_in_one_error(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(HlvbenchError) as caught:
        load_tasks(["varierr", "r2", "demo"], empty)
    assert "varierr.json" in str(caught.value)
    assert "Paraphrase_train.json, Paraphrase_dev.json, Paraphrase_test.json" in str(caught.value)
    assert [task.name for task in load_tasks(["demo"], empty)] == ["demo"]


def test_the_hash_of_the_splits_is_of_the_ids_not_of_the_file(tmp_path: Path) -> None:
    folder = write(tmp_path)
    first = load_task("mine", tasks_dir=tmp_path).data_sha256["splits"]
    (folder / "splits.json").write_text((folder / "splits.json").read_text().replace("\n", ""))
    assert load_task("mine", tasks_dir=tmp_path).data_sha256["splits"] == first
    write(tmp_path, split_file={"train": ["a", "b", "c", "d", "e"], "dev": [], "test": ["f", "ö 7"]})
    assert load_task("mine", tasks_dir=tmp_path).data_sha256["splits"] != first


def test_the_built_in_folders_hold_ids_and_no_texts() -> None:
    for name in ("varierr", "r2", "convarg"):
        folder = load_spec(name).folder
        # the licence of convarg lets examples be shown
        examples = ["examples.json"] if load_spec(name).licence else []
        kept = ["README.md", *examples, "splits.json", "task.toml"]
        assert sorted(path.name for path in folder.iterdir()) == kept
        readme = (folder / "README.md").read_text()
        toml = (folder / "task.toml").read_text()
        for line in toml.splitlines():
            # 16 files of convarg: their hashes stand in task.toml alone
            if line.startswith("revision" if name == "convarg" else ("sha256", "revision")):
                assert line.split('"')[1] in readme
