"""`hlvbench judge`: stored replies, results, the validity check, and several judges."""

from __future__ import annotations

import dataclasses
import json
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hlvbench.cli import main
from hlvbench.errors import DataError, ModelError, RunError, UsageError
from hlvbench.generation.open_model import register_method
from hlvbench.generation.run import generate
from hlvbench.io import read_generations, sha256_text
from hlvbench.judging.judge_prompt import queries, render_question
from hlvbench.judging.judge_run import judge, judged_tasks, rescore
from hlvbench.judging.judge_settings import JudgeSettings, judge_settings
from hlvbench.judging.questions import AttributionQuestion, attribution_questions
from hlvbench.judging.stylometric import Stylometric
from hlvbench.judging.verdict import accuracies, read_replies
from hlvbench.metrics import bind, parse_signature
from hlvbench.results import refresh_report
from hlvbench.settings import Service, Settings
from hlvbench.types import Annotation, Generation
from tests.chat_server import ChatServer, Reply, chat_server, failed, said
from tests.generation.test_run import ragged
from tests.results.test_report import document
from tests.toy import toy_task

TASK = toy_task(items=(12, 10, 10))
ROW_KEYS = ["task", "judge", "accuracy", "low", "high", "ceiling", "floor", "unreadable", "n"]


def hlvbench(*words: object) -> int:
    return main([str(w) for w in words])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of the demo task's reference:other, of five items: 20 questions."""
    return generate(Settings("reference:other", task=("demo",), limit=5), out=tmp_path / "run", quiet=True)


def endpoint(server: ChatServer, **settings: Any) -> JudgeSettings:
    return JudgeSettings("endpoint:m", base_url=server.url, **settings)


def rows_for(questions: tuple[AttributionQuestion, ...], texts: list[str]) -> list[Generation]:
    prompts = queries(TASK, questions)
    return [
        Generation(q.item, q.annotator, q.sample, text, "stop", 1, sha256_text(q.content))
        for q, text in zip(prompts, texts, strict=True)
    ]


def human() -> dict[tuple[str, str], Annotation]:
    return {pair: TASK.by_pair[pair][0] for pair in TASK.questions("test")}


def accuracy(found: Any) -> float | None:
    return accuracies(found, bind("attribution"), "test", replicates=5)[0].value


def test_missing_answers_are_wrong_unreadable_replies_are_left_out_and_both_are_counted() -> None:
    """40 questions, 4 missing; of the 36 asked 6 replies are unreadable, 20 right, 10 name the letter after:
    20 / (4 + 30). Where a judge is ranked the unreadable ones are its own fault: 20 / 40."""
    answers = human()
    for pair in list(answers)[:4]:
        del answers[pair]
    asked = attribution_questions(TASK, "test", answers)
    after = {"A": "B", "B": "C", "C": "D", "D": "A"}
    texts = ["no idea"] * 6 + [q.right for q in asked.questions[6:26]] + [after[q.right] for q in asked.questions[26:]]
    found = read_replies(TASK, asked, rows_for(asked.questions, texts))
    assert accuracy(found) == round(20 / 34, 6)
    assert accuracy(dataclasses.replace(found, unreadable_is_wrong=True)) == 20 / 40
    assert found.unreadable == 6
    table = np.array(found.confusion())
    assert table.shape == (4, 5)
    assert table[:, 4].sum() == 6
    assert np.trace(table[:, :4]) == 20
    assert table.sum() == 36
    assert sum(found.letters()["named"].values()) == 30
    assert sum(found.letters()["right"].values()) == 36
    assert found.chance == 0.25


def test_a_judge_with_a_favourite_letter_is_at_chance_and_shows_in_the_histogram() -> None:
    asked = attribution_questions(TASK, "test", human())
    found = read_replies(TASK, asked, rows_for(asked.questions, ["C"] * 40))
    assert accuracy(found) == 0.25
    assert found.letters() == {"named": {"A": 0, "B": 0, "C": 40, "D": 0}, "right": dict.fromkeys("ABCD", 10)}


def test_a_missing_sample_weighs_as_much_as_an_answered_one_in_all_orders() -> None:
    """Sample 0 is always told rightly, in four orders; sample 1 is missing: (1 + 0) / 2."""
    asked = attribution_questions(TASK, "test", [human(), {}], orders="all")
    found = read_replies(TASK, asked, rows_for(asked.questions, [q.right for q in asked.questions]))
    assert (found.verdicts.right == 0.5).all()


def test_all_orders_are_averaged_so_a_favourite_is_at_chance_in_every_question() -> None:
    asked = attribution_questions(TASK, "test", human(), orders="all")
    found = read_replies(TASK, asked, rows_for(asked.questions, ["B"] * 160))
    assert (found.verdicts.right == 0.25).all()


def test_replies_that_belong_to_other_questions_are_refused() -> None:
    asked = attribution_questions(TASK, "test", human())
    rows = rows_for(asked.questions, ["A"] * 40)
    with pytest.raises(DataError, match="no reply"):
        read_replies(TASK, asked, rows[1:])
    with pytest.raises(DataError, match="1 rows occur twice"):
        read_replies(TASK, asked, [*rows, rows[0]])
    other = attribution_questions(TASK, "test", {**human(), ("test0", "Ann1"): Annotation("test0", "Ann1", "x", "y")})
    with pytest.raises(DataError, match="item test0, annotator Ann1, number 0: a reply to another question"):
        read_replies(TASK, other, rows)


def test_the_stylometric_judge_is_naive_bayes_of_dev_restricted_to_the_candidates() -> None:
    """Against scikit-learn's pipeline put together here, on nine annotators of whom four are candidates."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.naive_bayes import MultinomialNB

    task = toy_task(annotators=9, items=(6, 8, 5))
    answers = {p: task.by_pair[p][0] for p in task.questions("test")}
    asked = attribution_questions(task, "test", answers, view="norm")
    model = Stylometric(task, "test", "norm", 0, {q.key: q for q in asked.questions})
    texts = [c.text for c in model.answer(queries(task, asked.questions))]
    grams = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), sublinear_tf=True)
    dev = task.records_of("dev")
    plain = [re.sub(r"\W+", " ", r.explanation.lower()).strip() for r in dev]
    classes = MultinomialNB(alpha=0.1, fit_prior=False).fit(grams.fit_transform(plain), [r.annotator for r in dev])
    for q, letter in zip(asked.questions, texts, strict=True):
        scores = dict(
            zip(
                classes.classes_,
                classes.predict_joint_log_proba(grams.transform([q.answer.explanation]))[0],
                strict=True,
            )
        )
        assert q.candidates["ABCD".index(letter)] == max(q.candidates, key=lambda a: scores[a])


def test_where_dev_judges_itself_each_half_is_judged_by_the_other() -> None:
    """A text that stands once in dev: a judge fitted on all of dev would know it by heart, this one never saw it."""
    task = toy_task(items=(6, 8, 1))
    # everybody writes the same but for one word, the item's own
    records = tuple(
        dataclasses.replace(r, explanation=f"same {r.item} {r.annotator[::-1] * (r.item == 'dev0')}")
        for r in task.records
    )
    task = dataclasses.replace(task, records=records)
    model = Stylometric(task, "dev", "norm", 0, {})
    assert model.fit == "halves"
    for half, (grams, _) in model._models.items():
        own = {item for item, h in model._half.items() if h == half}
        assert len(own) == 4
        assert not any(item[-4:] in grams.vocabulary_ for item in own)


def test_a_text_without_evidence_is_no_favourite_letter() -> None:
    answers = {p: Annotation(*p, "neutral", "") for p in TASK.questions("test")}
    asked = attribution_questions(TASK, "test", answers, view="norm")
    model = Stylometric(TASK, "test", "norm", 0, {q.key: q for q in asked.questions})
    said_letters = [c.text for c in model.answer(queries(TASK, asked.questions))]
    assert set(said_letters) == set("ABCD")


def test_judge_writes_what_the_contract_says_and_rescoring_asks_nobody(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with chat_server(lambda body, n: said("B")) as server:
        words = ["judge", run, "--judge", "endpoint:m", "--base-url", server.url, "-q", "--json"]
        assert hlvbench(*words) == 0
        calls = len(server.bodies)
        assert calls == 60
        first = capsys.readouterr().out
        assert hlvbench(*words) == 0
        assert len(server.bodies) == calls
    assert capsys.readouterr().out == first
    (row,) = json.loads(first)
    assert list(row) == ROW_KEYS
    folder = run / "demo" / "judge"
    rows = [json.loads(line) for line in (folder / "endpoint-m.jsonl").read_text().splitlines()]
    assert len(rows) == 20
    assert set(rows[0]) == {"item", "annotator", "sample", "text", "finish", "new_tokens", "prompt_sha256"}
    before = (folder / "endpoint-m.json").read_bytes()
    (folder / "endpoint-m.json").unlink()
    # the server is gone
    assert hlvbench("judge", run, "--rescore", "--json") == 0
    assert (folder / "endpoint-m.json").read_bytes() == before
    assert capsys.readouterr().out == first
    found = json.loads(before)
    signed = parse_signature(found["signature"])
    assert dict(signed.metric.arguments) == {
        "judge": "endpoint:m",
        "by": "reply",
        "fit": "none",
        "view": "raw",
        "show": "none",
        "shots": 5,
        "orders": "one",
    }
    assert (signed.task, signed.limit) == ("demo@1", 5)
    # "B" every time: at chance on people too, so nothing is said of the system
    assert (row["accuracy"], row["ceiling"], found["valid"]) == (None, 0.25, False)
    assert "0.250 and no interval: needs 10 clusters of items, 5 given" in found["note"]
    assert found["confusion"] is None
    assert all(a["value"] is None for a in found["annotators"])
    assert found["letters"]["named"] == {"A": 0, "B": 20, "C": 0, "D": 0}


def test_a_judge_that_knows_people_has_its_say_and_its_conditions_name_its_file(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is right on people, wrong on the first five of the system's answers, right on the other fifteen."""
    monkeypatch.setattr("hlvbench.bootstrap.FEWEST_CLUSTERS", 5)
    settings = JudgeSettings("endpoint:m", shots=3, base_url="http://localhost/v1")
    (judged_task,) = judged_tasks(run)
    sets = judged_task.questionnaires(settings)
    known = {render_question(judged_task.task, q): q.right for q in sets["human"].questions}
    wrong = {"A": "B", "B": "C", "C": "D", "D": "A"}
    for n, q in enumerate(sets["system"].questions):
        known[render_question(judged_task.task, q)] = wrong[q.right] if n < 5 else q.right
    with chat_server(lambda body, n: said(known.get(body["messages"][0]["content"], "A"))) as server:
        (found,) = judge(run, endpoint(server, shots=3), quiet=True)
    assert found["valid"]
    assert (found["ceiling"], found["accuracy"], found["n"]) == (1.0, 0.75, 20)
    assert found["low"] < 0.75 < found["high"]
    # five of twenty are wrong and all twenty are in the table
    assert sum(map(sum, found["confusion"])) == 20
    assert sum(row[k] for k, row in enumerate(found["confusion"])) == 15
    assert found["judge"].startswith("endpoint:m-")
    assert (run / "demo" / "judge" / f"{found['judge'].replace(':', '-')}.jsonl").exists()
    assert "shots=3" in found["signature"]


def test_a_registered_method_judges_by_its_reply(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hlvbench.generation.open_model._REGISTERED", {})
    register_method("letters", lambda task: lambda query: "The writer is B.")
    assert hlvbench("judge", run, "--judge", "letters:", "-q", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["judge"], row["n"], row["unreadable"]) == ("letters:", 20, 0)
    report = json.loads((run / "demo" / "judge" / "letters.json").read_text())
    assert report["letters"]["named"] == {"A": 0, "B": 20, "C": 0, "D": 0}
    assert "by=reply" in report["signature"]
    assert hlvbench("judge", run, "--judge", "letters:", "--by", "letters") == 2
    assert "--by letters: letters: is asked by reply" in capsys.readouterr().err


def test_answers_to_other_data_are_not_judged(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["tasks"]["demo"]["data_sha256"] = dict.fromkeys(manifest["tasks"]["demo"]["data_sha256"], "0" * 64)
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match="demo was answered on other data"):
        judge(run, JudgeSettings(), quiet=True)


def test_a_failing_judge_keeps_its_replies_and_says_what_remains(run: Path) -> None:
    asked: list[str] = []
    lock, mended = threading.Lock(), threading.Event()

    def reply(body: dict[str, Any], number: int) -> Reply:
        if number >= 25 and not mended.is_set():
            return failed(500, "out of order")
        with lock:
            asked.append(body["messages"][0]["content"])
        return said("A")

    with chat_server(reply) as server:
        service = Service(concurrency=1, retries=0)
        # people's 20, then five of the blind system's
        expected = r"5 of 20 answers are kept, 15 remain.*blind answers of demo; 20 questions come after"
        with pytest.raises(ModelError, match=expected):
            judge(run, endpoint(server), service=service, quiet=True)
        with pytest.raises(ModelError):
            judge(run, endpoint(server), service=service, quiet=True)
        with pytest.raises(RunError, match="no judge has judged it yet"):
            rescore(run, judged_tasks(run))
        mended.set()
        judge(run, endpoint(server), service=service, quiet=True)
    assert len(asked) == 60
    rows = read_generations(run / "demo" / "judge" / "endpoint-m.jsonl")
    assert [r.text for r in rows] == ["A"] * 20


def test_other_answers_under_the_same_name_are_an_error_and_no_resume_asks_anew(run: Path) -> None:
    judge(run, JudgeSettings(), quiet=True)
    path = run / "demo" / "generations.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[3]["text"] += " More."
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(RunError, match="prompts_sha256"):
        judge(run, JudgeSettings(), quiet=True)
    judge(run, JudgeSettings(), resume=False, quiet=True)


def test_several_judges_stand_in_one_table_with_their_agreement(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with chat_server(lambda body, n: said("A" if n % 10 else "?")) as server:
        words = ["judge", run, "--judge", "stylometric", "--judge", "endpoint:m", "--base-url", server.url, "-q"]
        assert hlvbench(*words) == 0
    shown = capsys.readouterr().out
    assert "Krippendorff's alpha of endpoint-m, stylometric" in shown
    found = json.loads((run / "demo" / "judges.json").read_text())
    assert found["judges"] == ["endpoint-m", "stylometric"]
    assert found["pairs"][0]["alpha"] == found["alpha"]["system"]
    assert -1 <= found["alpha"]["human"] <= 1


def test_the_report_of_a_scored_run_lists_its_judges(run: Path) -> None:
    scores = {**document(), "task": "demo@1"}
    (run / "demo" / "scores.json").write_text(json.dumps(scores))
    refresh_report(run)
    assert "Judges on these answers" not in (run / "report.md").read_text()
    assert hlvbench("judge", run, "-q") == 0
    for name in ("report.md", "report.html"):
        text = (run / name).read_text()
        assert "Judges on these answers" in text
        assert "stylometric" in text


def test_a_ragged_table_of_many_annotators_is_judged(tmp_path: Path) -> None:
    tasks = ragged(tmp_path / "tasks", 7, "ordinal")
    out = generate(
        Settings("reference:human", task=("ragged",), samples=2), out=tmp_path / "r", tasks_dir=tasks, quiet=True
    )
    (found,) = judge(out, JudgeSettings(orders="all"), tasks_dir=tasks, quiet=True)
    assert found["human"]["value"] == found["accuracy"] if found["valid"] else found["note"]
    assert len(found["annotators"]) == 7
    assert "samples:2" in found["signature"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--judge", "reference:human"], "a judge is stylometric, a path or hub id, or endpoint:MODEL"),
        (["--judge", "endpoint:m"], "needs --base-url"),
        (["--by", "letters"], "--by letters: stylometric is asked by style"),
        (["--show", "name"], "--show name: choose among label and input, each at most once"),
        (["--show", "label"], "reads the text alone and has no model"),
        (["--shots", "0"], "--shots 0"),
        (["--judge", "some:", "--by", "reply", "--max-new-tokens", "-5"], "-tokens -5: a reply has at least 1 token"),
        (["--judge", "/no/such/place"], "/no/such/place"),
        (["--rescore"], "no judge has judged it yet"),
    ],
)
def test_bad_options_are_one_message(
    words: list[str], expected: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hlvbench("judge", run, *words) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_a_folder_that_is_no_finished_run_is_told(tmp_path: Path, run: Path) -> None:
    with pytest.raises(RunError, match=r"no settings.json"):
        judge(tmp_path, JudgeSettings())
    (run / "demo" / "generations.jsonl").unlink()
    with pytest.raises(RunError, match=r"demo has no generations.jsonl"):
        judge(run, JudgeSettings())


def test_unusual_options_are_part_of_the_judges_name() -> None:
    titles = [
        JudgeSettings(**given).title
        for given in ({}, {"view": "norm"}, {"view": "raw"}, {"orders": "all"}, {"seed": 1})
    ]
    assert titles[0] == titles[1] == "stylometric"
    assert len(set(titles)) == 4
    with pytest.raises(UsageError, match=r"(?s)--view x.*--shots 0.*--orders some"):
        judge_settings(view="x", orders="some", shots=0)
    with pytest.raises(UsageError, match=r"--shot 3: Unexpected keyword argument"):
        judge_settings(shot=3)
    with pytest.raises(UsageError) as wrong:
        judge_settings(judge="reference:human", by="letters")
    assert "--by" not in str(wrong.value)
