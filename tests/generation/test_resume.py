"""Kill -9 at any moment: nothing finished is lost or made twice, nothing torn is believed."""

from __future__ import annotations

import itertools
import multiprocessing
import random
import shutil
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from hlvbench.generation.generate import generate
from hlvbench.generation.journal import Journal
from hlvbench.io import write_atomic
from tests.fake_model import FakeModel
from tests.toy import toy_task

TASK = toy_task(annotators=3, items=(5, 5, 16))
# forked from a small process, not from one that holds all that other tests loaded
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.generation.test_resume"])


def prompts(item: str, annotator: str) -> str:
    return f"{annotator} of {item} " + "x" * (int(item.removeprefix("test")) % 5)


def run(out: Path, log: Path, delay: float = 0.0, fits: int = 1000) -> None:
    generate(TASK, FakeModel(log, fits, delay), out, prompts, batch_size=3, quiet=True)


def uninterrupted(tmp_path: Path) -> tuple[bytes, list[list[tuple[str, str, int]]]]:
    run(tmp_path / "whole", tmp_path / "whole.log")
    return (tmp_path / "whole" / "generations.jsonl").read_bytes(), FakeModel(tmp_path / "whole.log").calls()


@pytest.mark.parametrize("seed", range(3))
def test_kills_at_random_moments_lose_nothing_and_repeat_only_the_batch_in_flight(tmp_path: Path, seed: int) -> None:
    expected, batches = uninterrupted(tmp_path)
    rng = random.Random(seed)
    out, log = tmp_path / "run", tmp_path / "log"
    kills, ends, window = 0, [], 0.03
    while True:
        process = started(run, (out, log, 0.003))
        process.join(rng.uniform(0.0, window))
        # a loaded machine gets further before it is killed, so the loop ends
        window *= 1.2
        exitcode = killed(process)
        ends.append(len(FakeModel(log).calls()))
        if exitcode == 0:
            break
        assert exitcode == -signal.SIGKILL
        kills += 1
    assert kills > 0
    assert (out / "generations.jsonl").read_bytes() == expected
    calls = FakeModel(log).calls()
    in_flight = {end - 1 for end in ends[:-1]}
    finished = [tuple(call) for position, call in enumerate(calls) if position not in in_flight]
    assert len(finished) == len(set(finished))
    assert {tuple(call) for call in calls} == {tuple(batch) for batch in batches}


def started(target: Callable[..., None], arguments: tuple[Any, ...]) -> BaseProcess:
    """A process that has begun with `target`."""
    ours, theirs = SERVER.Pipe()
    process = SERVER.Process(target=_told, args=(theirs, target, arguments))
    process.start()
    ours.recv()
    return process


def _told(pipe: Any, target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    pipe.send(None)
    target(*arguments)


def killed(process: BaseProcess) -> int | None:
    """The exit code of a process that is killed if it has not ended by itself."""
    process.kill()
    process.join()
    return process.exitcode


def stopped(tmp_path: Path, keep: int) -> Path:
    """A run folder as a kill after `keep` batches leaves it."""

    class Stop(Exception):
        pass

    class Stopping(FakeModel):
        def answer(self, batch):  # type: ignore[no-untyped-def]
            if len(self.calls()) == keep:
                raise Stop
            return super().answer(batch)

    out = tmp_path / "stopped"
    with pytest.raises(Stop):
        generate(TASK, Stopping(tmp_path / "stopped.log"), out, prompts, batch_size=3, quiet=True)
    return out


def test_a_file_torn_at_any_byte_believes_whole_lines_alone(tmp_path: Path) -> None:
    whole = (stopped(tmp_path, keep=2) / "generations.partial.0.jsonl").read_bytes()
    torn = tmp_path / "torn.jsonl"
    for length in range(len(whole) + 1):
        torn.write_bytes(whole[:length])
        assert [entry["batch"] for entry in Journal(torn).entries()] == list(range(whole[:length].count(b"\n")))


def test_a_run_torn_inside_a_line_makes_that_batch_again_and_no_other(tmp_path: Path) -> None:
    expected, batches = uninterrupted(tmp_path)
    torn = stopped(tmp_path, keep=3) / "generations.partial.0.jsonl"
    whole = torn.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    for length in (0, 1, start - 1, start, start + 1, (start + len(whole)) // 2, len(whole) - 1, len(whole)):
        out, log = tmp_path / f"cut{length}", tmp_path / f"log{length}"
        shutil.copytree(torn.parent, out)
        (out / torn.name).write_bytes(whole[:length])
        run(out, log)
        assert (out / "generations.jsonl").read_bytes() == expected
        assert FakeModel(log).calls() == batches[whole[:length].count(b"\n") :]


def test_a_line_altered_anywhere_is_not_believed(tmp_path: Path) -> None:
    expected, batches = uninterrupted(tmp_path)
    altered = stopped(tmp_path, keep=3) / "generations.partial.0.jsonl"
    whole = altered.read_bytes()
    start = whole.index(b"\n") + 1
    end = whole.index(b"\n", start)
    for offset in range(start, end):
        changed = bytearray(whole)
        changed[offset] ^= 1
        altered.write_bytes(changed)
        assert [entry["batch"] for entry in Journal(altered).entries()] == [0, 2]
    run(altered.parent, tmp_path / "log")
    assert (altered.parent / "generations.jsonl").read_bytes() == expected
    assert FakeModel(tmp_path / "log").calls() == [batches[1], *batches[3:]]


def test_zeros_at_the_end_as_after_a_power_cut_are_dropped(tmp_path: Path) -> None:
    expected, batches = uninterrupted(tmp_path)
    torn = stopped(tmp_path, keep=2) / "generations.partial.0.jsonl"
    torn.write_bytes(torn.read_bytes() + bytes(700))
    run(torn.parent, tmp_path / "log")
    assert (torn.parent / "generations.jsonl").read_bytes() == expected
    assert FakeModel(tmp_path / "log").calls() == batches[2:]


def test_a_kill_between_the_finished_file_and_its_mark_generates_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = uninterrupted(tmp_path)

    def dies_at_the_mark(path: Path, data: str) -> None:
        if '"finished"' in data:
            raise KeyboardInterrupt
        write_atomic(path, data)

    with monkeypatch.context() as patch:
        patch.setattr("hlvbench.generation.generate.write_atomic", dies_at_the_mark)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "run", tmp_path / "log")
    assert (tmp_path / "run" / "generations.jsonl").read_bytes() == expected
    run(tmp_path / "run", tmp_path / "log2")
    assert FakeModel(tmp_path / "log2").calls() == []
    assert (tmp_path / "run" / "generations.jsonl").read_bytes() == expected
    assert not list((tmp_path / "run").glob("*partial*"))


def test_a_size_lowered_for_memory_stays_lowered_after_a_kill(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    class Stopping(FakeModel):
        def answer(self, batch):  # type: ignore[no-untyped-def]
            if len(self.calls()) == 5:
                raise Stop
            return super().answer(batch)

    out, log = tmp_path / "run", tmp_path / "log"
    with pytest.raises(Stop):
        generate(TASK, Stopping(log, fits=2), out, prompts, batch_size=8, quiet=True)
    # 8 and 4 fail, then 2, 2, 2: the fourth pair of the first batch was not reached, so no batch is finished
    assert [len(c) for c in FakeModel(log).calls()] == [8, 4, 2, 2, 2]
    shutil.rmtree(out)
    log.unlink()
    with pytest.raises(Stop):
        generate(TASK, Stopping(log, fits=4), out, prompts, batch_size=8, quiet=True)
    # 8 fails; 4, 4 finish the first batch; 4, 4 the second
    assert [len(c) for c in FakeModel(log).calls()] == [8, 4, 4, 4, 4]
    generate(TASK, FakeModel(tmp_path / "log2", fits=4), out, prompts, batch_size=8, quiet=True)
    assert {len(c) for c in FakeModel(tmp_path / "log2").calls()} == {4}


def test_whole_lines_survive_a_process_killed_while_it_appends(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"

    process = started(append_forever, (path,))
    while not path.exists():
        time.sleep(0.001)
    time.sleep(0.1)
    killed(process)
    numbers = [entry["number"] for entry in Journal(path).entries()]
    assert numbers == list(range(len(numbers)))
    Journal(path).repair()
    Journal(path).append({"number": -1})
    assert [entry["number"] for entry in Journal(path).entries()] == [*numbers, -1]


def append_forever(path: Path) -> None:
    for number in itertools.count():
        Journal(path).append({"number": number, "text": "x" * 5000})
