"""`hlvbench check`: what scoring again finds, and whose record of it counts."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest
import tomli_w

from hlvbench import __version__
from hlvbench.cli import main
from hlvbench.data.task import load_task
from hlvbench.errors import UsageError
from hlvbench.generation.run import run
from hlvbench.io import dump_json, generation_lines, read_generations, sha256_file, write_atomic
from hlvbench.results import side_by_side
from hlvbench.results.score_report import ScoreReport
from hlvbench.results.scorecard import score_task
from hlvbench.settings import Settings
from hlvbench.submissions import Findings, SubmissionInfo, check, read_submission
from hlvbench.submissions.check import check_copies
from hlvbench.submissions.copies import Originals, Overlap
from hlvbench.submissions.rescore import check_judges, compare_reports
from hlvbench.submissions.submit import _card, _Run
from tests.boards import (
    DAY,
    NamedEmbedder,
    ToyContext,
    answers,
    card_problems,
    edit,
    errors,
    reference,
    rewritten,
    scored,
    sha,
    submission,
)
from tests.toy import toy_task


def test_the_same_text_gets_the_same_scores_and_is_recorded_as_verified(tmp_path):
    folder = _with_answers(tmp_path, _own_words())
    findings = check(folder, context=ToyContext(), write=True)
    assert findings.errors() == []
    card = tomllib.loads((folder / "submission.toml").read_text())
    assert card["verified"]["largest_difference"] == 0.0
    assert errors(folder) == []


def test_scores_of_an_older_release_are_replaced_by_those_of_this_one(tmp_path):
    rows = _own_words()
    newest = score_task(toy_task(), rows, NamedEmbedder(), per_answer=False).report.to_dict()
    older = json.loads(json.dumps(newest).replace(f"|hlvbench:{__version__}", "|hlvbench:0.0.9"))
    row = next(s for s in older["scores"] if s["metric"] == "rouge_l" and s["annotator"] is None)
    row.update(value=0.5, low=0.4, high=0.6)
    folder = _with_answers(tmp_path, rows, older)
    told = check(folder, context=ToyContext())
    assert told.errors() == []
    # nobody submits scores of another release: what they would be by this one, only a maintainer looks at
    (why,) = check(folder, context=ToyContext(), from_submitter=True).errors()
    assert "scored by hlvbench 0.0.9, this is" in str(why)
    assert f"scored by hlvbench 0.0.9; by {__version__} the largest change is" in "\n".join(map(str, told))
    name = tomllib.loads((folder / "submission.toml").read_text())["system"]
    table, renewed = (side_by_side({name: [report_of(document)]}) for document in (older, newest))
    (folder / "README.md").write_text(f"# Mine\n\n{table}\n\nA word of ours.\n")
    assert check(folder, context=ToyContext(), write=True).errors() == []
    assert renewed != table
    assert (folder / "README.md").read_text() == f"# Mine\n\n{renewed}\n\nA word of ours.\n"
    assert json.loads((folder / "toy" / "scores.json").read_text()) == json.loads(dump_json(newest))
    card = tomllib.loads((folder / "submission.toml").read_text())
    assert card["verified"]["hlvbench"] == __version__
    assert card["verified"]["largest_difference"] == 0.0
    assert errors(folder) == []
    assert "re-scored: all" in "\n".join(map(str, check(folder, context=ToyContext())))


def test_a_recipe_that_answers_otherwise_in_this_release_gets_its_hash_anew(tmp_path):
    older = json.loads(json.dumps(scored("nearest")).replace(f"|hlvbench:{__version__}", "|hlvbench:0.0.9"))
    folder = reference(tmp_path, "nearest", document=older)
    assert "gives other answers here" in "\n".join(map(str, check(folder, context=ToyContext())))
    told = check(folder, context=ToyContext(), write=True)
    assert told.errors() == []
    # nor is the table that `submit` writes in its README
    assert "WARN  README.md: does not hold the replaced table" in "\n".join(map(str, told))
    assert errors(folder) == []
    again = "\n".join(map(str, check(folder, context=ToyContext())))
    assert "reference:nearest gives the same" in again
    assert "other answers" not in again


NEXT = re.sub(r"\d+$", lambda digits: str(int(digits[0]) + 1), __version__)


@pytest.mark.parametrize("version", ["99.0.0", NEXT, "next"])
def test_scores_of_a_release_to_come_are_refused(tmp_path, version):
    newest = score_task(toy_task(), _own_words(), NamedEmbedder(), per_answer=False).report.to_dict()
    forged = json.loads(json.dumps(newest).replace(f"|hlvbench:{__version__}", f"|hlvbench:{version}"))
    folder = _with_answers(tmp_path, _own_words(), forged)
    found = check(folder, context=ToyContext()).errors()
    assert f"scored by hlvbench {version}, this is {__version__}" in str(found[0])


def _own_words():
    """Answers in nobody's words: those of references are train texts, which the check of copies would refuse."""
    return [dataclasses.replace(r, text=f"Label: neutral\nExplanation: word{k} and word{k + 1}.")
            for k, r in enumerate(answers("nearest"))]  # fmt: skip


def _with_answers(root, rows, document=None):
    text = generation_lines(rows)
    document = document or score_task(toy_task(), rows, NamedEmbedder(), per_answer=False).report.to_dict()
    settings = {"model": "org/base", "task": ["toy"], "prompt": "base", "split": "test", "limit": None, "seed": 0}
    facts = {"data_sha256": {}, "generations_sha256": sha(text), "model": {}}
    files = {"toy/generations.jsonl": text, "manifest.json": dump_json({"settings": settings, "tasks": {"toy": facts}})}
    return submission(root, document=document, files=files, generations={"toy": sha(text)})


def test_a_number_that_does_not_follow_from_the_text_is_named(tmp_path):
    rows = [dataclasses.replace(r, text="Label: neutral\nExplanation: so it is.") for r in answers("nearest")]
    folder = _with_answers(tmp_path, rows, scored("random-own"))
    found = [str(f) for f in check(folder, context=ToyContext()).errors()]
    assert any("toy/scores.json: label_accuracy(multi=any), Ann1: value is 0.15, re-scored 0.3" in f for f in found)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["majority"].update(mean=0.01), "majority.mean is 0.01"),
        (lambda d: d.update(thought=5), "thought is 5, re-scored 0"),
        (lambda d: d.update(skipped={"x": 3}), "skipped.x is 3, re-scored 'absent'"),
        (lambda d: d["scores"][0].update(note="state of the art"), ": note is 'state of the art'"),
        (lambda d: d.pop("details"), "details is None, re-scored 'absent'"),
    ],
)
def test_what_stands_beside_the_scores_is_compared_too(change, said):
    given = copy.deepcopy(scored("nearest"))
    assert compare_reports(report_of(given), report_of(scored("nearest"))).problems == ()
    change(given)
    assert any(said in problem for problem in compare_reports(report_of(given), report_of(scored("nearest"))).problems)


def report_of(document):
    return ScoreReport.model_validate(document)


def warnings(folder):
    findings = Findings()
    found = read_submission(folder, findings)
    return found, [f.text for f in findings if f.level == "WARN"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: None, None),
        (lambda c: c.update(description="We beat everybody."), "was changed after it"),
        (lambda c: c["verified"].update(hlvbench="99.9 by me"), "it was done by hlvbench 99.9 by me"),
        (lambda c: c["verified"].update(date=datetime.date(2026, 1, 1)), "is before the submission's"),
        (lambda c: c["verified"].update(largest_difference=0.5), "is above 0.002"),
    ],
)
def test_a_verification_counts_for_the_state_that_was_verified(tmp_path, change, said):
    folder = _with_answers(tmp_path, _own_words())
    assert check(folder, context=ToyContext(), write=True).errors() == []
    rewritten(folder, change)
    found, told = warnings(folder)
    assert (found.card.verified is not None) is (said is None)
    assert any(said in text for text in told) if said else told == []
    findings = check(folder, context=ToyContext(), from_submitter=True, rescore=False)
    assert bool(findings.errors()) is (said is None)


@pytest.mark.parametrize(
    ("train_copies", "declared", "said"),
    [
        (7, {"answers": 100, "train_copies": 7, "dataset_text": 0}, None),
        (7, {"answers": 100, "train_copies": 0, "dataset_text": 0}, "says {'answers': 100, 'train_copies': 0"),
        (7, None, "submission.toml says nothing, counted {'answers': 100, 'train_copies': 7"),
        (0, None, None),
    ],
)
def test_the_counts_of_memorised_text_stand_on_the_card(train_copies, declared, said, monkeypatch):
    findings, context = Findings(), ToyContext()
    monkeypatch.setattr(Originals, "overlap", lambda *_: Overlap(100, 0, 0, train_copies, 0))
    check_copies([], "x", context.task("toy"), context, findings, declared or {})
    assert [said in f.text for f in findings.errors()] == [True] * (said is not None)


@pytest.mark.slow
def test_equal_sentences_of_synthetic_people_are_no_copies(tmp_path, capsys):
    # an echo of synthetic inputs would be dataset text anywhere else
    place = run(Settings(model="reference:echo", task=("demo",)), out=tmp_path / "run", quiet=True,
                command=["hlvbench", "run"])  # fmt: skip
    rows = place / "demo" / "generations.jsonl"
    settings = json.loads((place / "settings.json").read_text()) | {"model": "org/parrot"}
    (place / "settings.json").write_text(dump_json(settings))
    edit(place / "manifest.json", lambda m: m.update(settings=settings))
    words = ["submit", str(place), "--name", "parrot", "--authors", "A", "--date", "2026-05-27", "--out", str(tmp_path)]
    assert main(words) == 0
    assert "synthetic" in "".join(map(str, check(tmp_path / "20260527_parrot", rescore=False)))
    assert rows.read_bytes() == (tmp_path / "20260527_parrot" / "demo" / "generations.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("described", "about", "expected"),
    [
        ({"config_sha256": "1" * 64}, {}, "--trained-on"),
        ({"config_sha256": "1" * 64}, {"trained_on": ["train"]}, "--annotators"),
        ({"config_sha256": "1" * 64}, {"trained_on": ["train"], "annotators": "all"}, ("other", "all", ["train"])),
        ({"config_sha256": "1" * 64}, {"trained_on": ["none"]}, ("base", "none", [])),
        ({"config_sha256": "1" * 64, "revision": "main"}, {}, ("base", "none", [])),
        ({"config_sha256": "1" * 64, "source": {"name": "SmolLM2"}}, {}, ("base", "none", [])),
        ({"kind": "endpoint"}, {"trained_on": ["train"]}, "--annotators"),
    ],
)
def test_what_a_local_model_was_trained_on_is_asked(tmp_path, described, about, expected):
    write_atomic(tmp_path / "toy" / "generations.jsonl", "")
    manifest = {"tasks": {"toy": {"model": described}}, "wall_seconds": 1, "command": []}
    place = _Run(tmp_path, {"model": "org/m", "task": ["toy"], "prompt": "base", "seed": 0}, manifest, {}, None)
    if isinstance(expected, str):
        with pytest.raises(UsageError, match=expected):
            _card(place, "mine", SubmissionInfo(authors=["A"], **about))
    else:
        card = _card(place, "mine", SubmissionInfo(authors=["A"], **about))
        assert (card.method, card.training.annotators, card.training.splits) == expected


def test_another_version_of_a_task_needs_another_release(tmp_path):
    folder = _with_answers(tmp_path, _own_words())
    told = "\n".join(map(str, check(folder, context=ToyContext(dataclasses.replace(toy_task(), version=2)))))
    assert "the submission is of toy@1, this hlvbench has version 2: check it with a release" in told
    assert "hlvbench fetch" not in told


def test_a_date_in_the_future_is_an_error_by_the_clock_alone(tmp_path):
    folder = submission(tmp_path, date=datetime.date(2098, 1, 1))
    assert errors(folder) == []
    assert any("is in the future" in f.text for f in check(folder, context=ToyContext(), rescore=False).errors())
    assert "date: Input should be greater than or equal to 2020-01-01" in str(card_problems({"date": DAY.replace(1)}))


def test_a_place_that_is_no_submission_is_told_as_such(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        check(tmp_path / "none")
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(UsageError, match="is a run, not a submission"):
        check(tmp_path)


@pytest.mark.parametrize(("gap", "equal"), [(0.0019, True), (0.0021, False)])
def test_two_thousandths_are_equal_and_more_is_not(gap, equal):
    given, fresh = copy.deepcopy(scored("nearest")), scored("nearest")
    row = next(s for s in given["scores"] if s["value"] is not None and s["metric"] == "rouge_l")
    row["value"] += gap
    found = compare_reports(report_of(given), report_of(fresh))
    assert (found.problems == ()) is equal
    assert found.largest == pytest.approx(gap)
    assert found.whose.startswith("rouge_l(view=raw)")


def test_a_forged_replicate_or_swap_matrix_is_a_difference_too():
    given = copy.deepcopy(scored("nearest"))
    given["replicates"]["values"]["label_kappa"]["offset"] += 0.01
    given["details"]["swap"][0]["system"][0][0] += 0.01
    found = " ".join(compare_reports(report_of(given), report_of(scored("nearest"))).problems)
    assert "replicates of label_kappa" in found
    assert "details.swap[0].system[0][0]" in found


def test_disclosing_contamination_marks_and_does_not_refuse(tmp_path):
    training = {"annotators": "all", "splits": ["train", "dev"], "lewidi": True, "contaminated": True}
    rows = [dataclasses.replace(r, text="Label: neutral\nExplanation: so it is.") for r in answers("nearest")]
    folder = _with_answers(tmp_path, rows)
    card = tomllib.loads((folder / "submission.toml").read_text())
    (folder / "submission.toml").write_text(tomli_w.dumps({**card, "training": training}))
    findings = check(folder, context=ToyContext(), rescore=False)
    assert findings.errors() == []
    assert [f.text.split(":")[0] for f in findings if f.level == "WARN"] == ["disclosed", "disclosed"]


@pytest.fixture(scope="module")
def judged_submission(majority_run, tmp_path_factory):
    """The submission of a run of the synthetic task that the stylometric judge has judged."""
    place = tmp_path_factory.mktemp("judged")
    shutil.copytree(majority_run, place / "run")
    assert main(["judge", str(place / "run"), "-q"]) == 0
    assert main(["submit", str(place / "run"), "--name", "judged", "--date", "2026-05-27", "--out", str(place)]) == 0
    return place / "20260527_judged"


@pytest.fixture
def judged(judged_submission, tmp_path):
    """A copy of it, to be changed."""
    return Path(shutil.copytree(judged_submission, tmp_path / judged_submission.name))


def rehashed(folder):
    """The card with the hashes of the files as they are."""
    names = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
    here = {n: sha256_file(folder / n) for n in names if n not in ("submission.toml", "README.md")}
    rewritten(folder, lambda card: card.update(files=here))


@pytest.mark.slow
def test_a_judges_numbers_are_made_again_from_its_replies(judged):
    told = [str(f) for f in check(judged, rescore=True)]
    assert "OK    demo/judge/stylometric.json: follows from its replies" in told
    found = read_submission(judged, Findings()).judges["demo"]
    assert [j.judge for j in found] == ["stylometric"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda j: edit(j / "stylometric.json", lambda d: d.update(accuracy=0.99)), "accuracy is 0.99, from the"),
        (lambda j: edit(j / "stylometric.json", lambda d: d.update(n=1)), "n is 1, from the replies"),
        (lambda j: edit(j / "stylometric.json", lambda d: d.update(task="r2@1")), "the result of a judge on 'r2@1'"),
        (lambda j: (j / "stylometric.human.jsonl").unlink(), "its replies are not here"),
        (lambda j: shutil.copy(j / "stylometric.json", j / "gpt-9.json"), "gpt-9.json: its replies are not here"),
        (lambda j: edit(j / "stylometric.json", lambda d: d.update(judge="gpt-9")), "judge is 'gpt-9', from the"),
        (lambda j: (j / "stylometric.json").write_text("[{}]"), "Input should be a valid dictionary"),
        (lambda j: (j / "stylometric.jsonl").write_text('{"a": 1}\n'), "is not what the stylometric judge replies"),
        (lambda j: edit(j / "stylometric.plan.json", lambda d: d.update(settings=3)), "stylometric.plan.json: not as"),
        (lambda j: edit(j / "stylometric.plan.json", lambda d: d.update(settings={"letters": 2})), "--letters 2"),
    ],
)
def test_a_judges_forged_numbers_are_errors(judged, harm, said):
    harm(judged / "demo" / "judge")
    rehashed(judged)
    findings, rows = Findings(), read_generations(judged / "demo" / "generations.jsonl")
    if found := read_submission(judged, findings):
        check_judges(found, load_task("demo"), rows, findings)
    assert said in "\n".join(str(f) for f in findings.errors())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("README.md", "# one\n\n{text}\n"),
        ("train/toy/Ann1.json", '{{"note": "{text}"}}'),
        ("submission.toml", None),
    ],
)
def test_dataset_text_hides_in_no_file(tmp_path, name, content):
    text, long = _long_record()
    folder = _with_answers(tmp_path, _own_words())
    if content is None:
        rewritten(folder, lambda card: card.update(description=text))
    else:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content.format(text=text))
        rehashed(folder)
    said = [str(f) for f in check(folder, context=ToyContext(long), rescore=False).errors()]
    assert said == [f"ERROR {name}: holds a stretch of 60 characters or more of dataset text; take it out"]


def test_a_file_that_cannot_be_read_is_no_dataset_text(tmp_path):
    folder = _with_answers(tmp_path, _own_words())
    (folder / "toy" / "judge").mkdir()
    (folder / "toy" / "judge" / "gpt-9.jsonl").write_text("{")
    rehashed(folder)
    (error,) = check(folder, context=ToyContext(), rescore=False).errors()
    assert str(error).startswith("ERROR toy/judge/gpt-9.jsonl: 1 broken lines; line 1: Expecting property name")


def test_the_name_of_a_data_file_is_no_dataset_text(tmp_path):
    text, long = _long_record()
    folder = _with_answers(tmp_path, _own_words())
    (folder / "train" / "toy").mkdir(parents=True)
    (folder / "train" / "toy" / "Ann1.json").write_text(f'{{"data_sha256": {{"{text}": "00"}}}}')
    rehashed(folder)
    named = dataclasses.replace(long, data_sha256={text: "00"})
    for task, problems in ((long, 1), (named, 0)):
        assert len(check(folder, context=ToyContext(task), rescore=False).errors()) == problems


def _long_record():
    """A text of sixty characters and more, which a toy record has not, and the toy task with such a record."""
    task = toy_task()
    record = max((r.explanation for r in task.records), key=len)
    text = f"{record} {record} {record} {record}"
    return text, dataclasses.replace(
        task,
        records=tuple(dataclasses.replace(r, explanation=text) if r is task.records[0] else r for r in task.records),
    )


@pytest.mark.slow
def test_a_folder_of_submissions_is_checked_one_by_one(judged, capsys):
    assert main(["check", str(judged.parent), "--no-rescore"]) == 0
    assert "20260527_judged\nOK" in capsys.readouterr().out
