from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from hlvbench.errors import RunError
from hlvbench.generation.batches import as_completed
from hlvbench.generation.generate import generate, plan_summary
from hlvbench.io import locked, read_generations, sha256_text
from hlvbench.processes import ProcessRank
from tests.fake_model import FakeModel
from tests.toy import toy_task

TASK = toy_task(annotators=3, items=(5, 5, 10), absent=0.1)
ASKED = TASK.questions("test")


def prompts(item: str, annotator: str) -> str:
    return f"{annotator} says of {item}: " + "word " * (int(item.removeprefix("test")) % 4)


def make(out: Path, model: FakeModel, **options: object) -> bytes:
    generate(TASK, model, out, prompts, quiet=True, **options)  # type: ignore[arg-type]
    return (out / "generations.jsonl").read_bytes()


def test_rows_stand_in_question_order_and_hold_the_untouched_text(tmp_path: Path) -> None:
    model = FakeModel(tmp_path / "log")
    make(tmp_path / "run", model, samples=2)
    rows = read_generations(tmp_path / "run" / "generations.jsonl")
    assert [(r.item, r.annotator, r.sample) for r in rows] == [(*pair, s) for pair in ASKED for s in (0, 1)]
    assert all(r.prompt_sha256 == sha256_text(f"<{prompts(r.item, r.annotator)}>") for r in rows)
    assert all("\u2028" in r.text and r.finish == "stop" for r in rows)


def test_a_batch_holds_one_group_and_the_longest_prompts_come_first(tmp_path: Path) -> None:
    model = FakeModel(tmp_path / "log")
    make(tmp_path / "run", model, batch_size=3)
    for call in model.calls():
        assert len({annotator for _, annotator, _ in call}) == 1
    for annotator in TASK.annotators:
        lengths = [len(prompts(i, a)) for call in model.calls() for i, a, _ in call if a == annotator]
        assert lengths == sorted(lengths, reverse=True)
    assert sorted(q[:2] for call in model.calls() for q in call) == sorted(ASKED)


def test_the_file_does_not_depend_on_the_batch_size(tmp_path: Path) -> None:
    files = [make(tmp_path / str(size), FakeModel(tmp_path / f"log{size}"), batch_size=size) for size in (1, 4, 1000)]
    assert len(set(files)) == 1


def test_a_finished_run_generates_nothing(tmp_path: Path) -> None:
    model = FakeModel(tmp_path / "log")
    first = make(tmp_path / "run", model)
    calls = len(model.calls())
    assert make(tmp_path / "run", model) == first
    assert len(model.calls()) == calls


def test_only_the_finished_file_and_its_plan_stay(tmp_path: Path) -> None:
    make(tmp_path / "run", FakeModel(tmp_path / "log"))
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["generations.jsonl", "generations.plan.json"]


def test_no_resume_starts_anew(tmp_path: Path) -> None:
    model = FakeModel(tmp_path / "log")
    first = make(tmp_path / "run", model)
    calls = len(model.calls())
    assert make(tmp_path / "run", model, resume=False) == first
    assert len(model.calls()) == 2 * calls


@pytest.mark.parametrize(
    ("options", "model", "named"),
    [
        ({"settings": {"temperature": 1.0}}, {}, "settings.temperature: there 0.0, now 1.0"),
        ({"settings": {"temperature": 0.0}, "limit": 3}, {}, "limit: there None, now 3"),
        ({"settings": {"temperature": 0.0}, "batch_size": 2}, {}, "batch_size: there 8, now 2"),
        ({"settings": {"temperature": 0.0}}, {"version": "2"}, "model.version: there '1', now '2'"),
    ],
)
def test_other_settings_are_an_error_that_names_the_difference(
    tmp_path: Path, options: dict[str, object], model: dict[str, str], named: str
) -> None:
    before = make(tmp_path / "run", FakeModel(tmp_path / "log"), settings={"temperature": 0.0})
    with pytest.raises(RunError) as error:
        make(tmp_path / "run", FakeModel(tmp_path / "log", **model), **options)  # type: ignore[arg-type]
    assert named in str(error.value)
    assert "--no-resume" in str(error.value)
    assert (tmp_path / "run" / "generations.jsonl").read_bytes() == before


def test_other_prompts_are_other_settings(tmp_path: Path) -> None:
    make(tmp_path / "run", FakeModel(tmp_path / "log"))
    with pytest.raises(RunError, match="prompts_sha256"):
        generate(TASK, FakeModel(tmp_path / "log"), tmp_path / "run", lambda i, a: "other", quiet=True)


def test_a_changed_or_foreign_file_is_never_taken_for_finished(tmp_path: Path) -> None:
    make(tmp_path / "run", FakeModel(tmp_path / "log"))
    file = tmp_path / "run" / "generations.jsonl"
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(RunError, match="changed"):
        make(tmp_path / "run", FakeModel(tmp_path / "log"))
    (tmp_path / "run" / "generations.plan.json").unlink()
    with pytest.raises(RunError, match="not written by this command"):
        make(tmp_path / "run", FakeModel(tmp_path / "log"))


def test_out_of_memory_halves_what_is_asked_at_once_and_says_so(tmp_path: Path) -> None:
    model = FakeModel(tmp_path / "log", fits=3)
    facts = generate(TASK, model, tmp_path / "run", prompts, quiet=True)
    sizes = [len(call) for call in model.calls()]
    # 8 fails, 4 fails, 2 fits; nothing larger is tried again
    assert sizes[:3] == [8, 4, 2]
    assert max(sizes[3:]) == 2
    assert facts["batch_size"] == 8
    assert facts["batch_size_after_out_of_memory"] == 2
    assert (tmp_path / "run" / "generations.jsonl").read_bytes() == make(tmp_path / "b", FakeModel(tmp_path / "log2"))


def test_a_question_that_does_not_fit_alone_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"single question \(item test\d+, Ann1\)"):
        make(tmp_path / "run", FakeModel(tmp_path / "log", fits=0))


def test_prompts_too_long_are_all_named_before_any_is_answered(tmp_path: Path) -> None:
    longest = max(len(prompts(*pair)) for pair in ASKED)
    model = FakeModel(tmp_path / "log", context=longest + 9)
    with pytest.raises(RunError) as error:
        make(tmp_path / "run", model, settings={"max_new_tokens": 10})
    named = [line for line in str(error.value).splitlines() if line.startswith("  item")]
    assert len(named) == sum(len(prompts(*pair)) == longest for pair in ASKED)
    assert f"{longest} tokens" in named[0]
    assert model.calls() == []
    make(tmp_path / "run", FakeModel(tmp_path / "log", context=longest + 10), settings={"max_new_tokens": 10})


def test_two_processes_share_the_batches_and_make_the_same_file(tmp_path: Path) -> None:
    alone = make(tmp_path / "alone", FakeModel(tmp_path / "log"), batch_size=4)
    models = [FakeModel(tmp_path / f"log{r}", delay=0.01) for r in (0, 1)]
    shared = tmp_path / "shared"
    options = {"quiet": True, "batch_size": 4}
    threads = [
        threading.Thread(
            target=generate, args=(TASK, models[r], shared, prompts), kwargs={**options, "process": ProcessRank(r, 2)}
        )
        for r in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (shared / "generations.jsonl").read_bytes() == alone
    asked = [q for model in models for call in model.calls() for q in call]
    assert len(asked) == len(set(asked)) == len(ASKED)
    assert models[0].calls()
    assert models[1].calls()


def test_a_second_process_is_refused_while_the_first_writes(tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    with locked(out / ".lock.0"), pytest.raises(RunError, match="another process is writing this run"):
        make(out, FakeModel(tmp_path / "log"))
    make(out, FakeModel(tmp_path / "log"))


def test_progress_lines_are_plain_where_stderr_is_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate(TASK, FakeModel(tmp_path / "log"), tmp_path / "run", prompts)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"{len(ASKED)}/{len(ASKED)} answers" in shown.err
    assert "\r" not in shown.err


def test_the_summary_of_a_run_keeps_no_answer(tmp_path: Path) -> None:
    model = FakeModel(tmp_path / "log")
    summary = plan_summary(TASK, model, prompts, samples=2, batch_size=4, max_new_tokens=7)
    lengths = [len(prompts(*pair)) for pair in ASKED]
    assert summary["questions"] == len(ASKED)
    assert summary["prompt_tokens"] == 2 * sum(lengths)
    assert summary["prompt_tokens_longest"] == max(lengths)
    assert summary["new_tokens_at_most"] == 2 * 7 * len(ASKED)
    assert [e["annotator"] for e in summary["examples"]] == list(TASK.annotators)
    assert len(model.calls()) == 1
    json.dumps(summary)


def test_answers_that_cannot_be_read_are_told_of_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for answers, told in (("free", 1), ("constrained", 0)):
        settings = {"answers": answers}
        generate(TASK, FakeModel(tmp_path / "log"), tmp_path / answers, prompts, batch_size=8, settings=settings)
        assert capsys.readouterr().err.count("answers cannot be read and will count as missing; --answers") == told


def test_nothing_is_begun_after_the_reader_of_parallel_answers_has_failed() -> None:
    begun, go_on = [], threading.Event()

    def make_one(number: int) -> int:
        begun.append(number)
        return number if number == 0 else number * go_on.wait(5)

    def read_one() -> None:
        for _ in as_completed(make_one, range(100), parallel=3):
            raise RunError("disk full")

    with pytest.raises(RunError, match="disk full"):
        read_one()
    go_on.set()
    time.sleep(0.2)
    assert len(begun) <= 4
