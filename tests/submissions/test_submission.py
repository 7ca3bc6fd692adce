"""Submissions: what is written, what is refused, what scoring again finds."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import json
import shutil
import tomllib
from pathlib import Path

import pytest
import tomli_w

from hlvbench.cli import main
from hlvbench.errors import RunError, UsageError
from hlvbench.io import dump_json, dump_line, read_json
from hlvbench.results.score_check import check_submitted
from hlvbench.submissions import CheckContext, Findings, SubmissionInfo, submit
from hlvbench.submissions.answers import answer_problems
from hlvbench.submissions.card import Card, card_digest, role, to_toml
from hlvbench.submissions.copies import Originals, Overlap, longest_common, stretches
from hlvbench.submissions.rescore import regenerate
from hlvbench.submissions.safe_reading import without_paths
from hlvbench.text import local_path
from hlvbench.types import Generation
from tests.boards import NamedEmbedder, answers, edit, errors, scored, sha, submission
from tests.toy import toy_task


def test_a_sound_submission_has_no_error(tmp_path):
    assert errors(submission(tmp_path)) == []


@pytest.mark.parametrize("model", ["endpoint:nearest", "endpoint:human", "org/reference:human"])
def test_no_system_passes_for_a_reference(tmp_path, model):
    settings = {"model": model, "task": ["toy"], "prompt": "base", "split": "test", "limit": None, "seed": 0}
    facts = {"data_sha256": {}, "generations_sha256": "", "model": {}}
    files = {"settings.json": dump_json(settings),
             "manifest.json": dump_json({"settings": settings, "tasks": {"toy": facts}})}  # fmt: skip
    found = errors(submission(tmp_path, files=files, method="reference"))
    assert any("reference is the method of reference: and attack: models" in error for error in found)
    assert role(Card.model_construct(method="reference", recipe=None), model) == "system"


def test_the_method_is_the_one_that_its_training_configuration_tells(tmp_path):
    files = {"train/toy/Ann1.toml": "rank = 16\nlr = 1e-3\n"}
    train = {"annotators": "all", "splits": ["train"], "lewidi": False}
    assert errors(submission(tmp_path, "one", files=files, method="sft", training=train)) == []
    (said,) = errors(submission(tmp_path, "two", files=files, method="capo", training=train))
    assert "method is capo, but the configurations in train/ say sft" in said
    said = "\n".join(errors(submission(tmp_path, "three", files=files, method="sft", training={**train, "splits": []})))
    assert "sft without a split" in said
    assert "training.splits lacks train" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["scores"].append(dict(d["scores"][0])), "given twice"),
        (lambda d: d["scores"][0].update(value=1.5), "leaves the metric's range"),
        (lambda d: d["scores"][0].update(low=0.9, high=0.1), "is no interval"),
        (lambda d: d["scores"][0].update(value=None, note=""), "no value and no note"),
        (lambda d: d["scores"][0].update(signature="made up"), "not a signature"),
        (lambda d: d.update(split="dev"), "split: test expected"),
        (lambda d: d.update(missing=3), "signatures say missing 0, 3 was expected"),
        (lambda d: d["replicates"]["values"]["own_gain"].update(estimate=0.9), "their estimate 0.9 is not the score"),
        (lambda d: d["replicates"]["values"]["own_gain"].update(data="AAAAAAAA"), "200 were expected"),
        (lambda d: d["replicates"]["values"].pop("hlv_index"), "could not be compared"),
        (lambda d: d["details"]["swap"][0].update(system=[[0.5]]), "a swap matrix is not"),
        (lambda d: d.update(extra=1), "extra: is not a key here"),
        (lambda d: d.pop("thought"), "thought is missing"),
        (lambda d: d["scores"][0].pop("floor"), "scores[0]: floor is missing"),
        (lambda d: d["scores"][0].update(n=True), "scores[0].n: Input should be a valid integer, got True"),
        (lambda d: d["details"]["swap"][0].update(system=[[2.0]]), "details.swap[0].system[0][0]"),
    ],
)
def test_a_document_that_contradicts_itself_is_refused(change, said):
    document = copy.deepcopy(scored("nearest"))
    change(document)
    assert any(said in problem for problem in check_submitted(document, "toy"))


def test_an_index_that_its_factors_do_not_make_is_refused():
    document = copy.deepcopy(scored("nearest"))
    row = next(s for s in document["scores"] if s["metric"] == "hlv_index")
    row.update(value=0.9, low=0.8, high=1.0)
    document["replicates"]["values"]["hlv_index"]["estimate"] = 0.9
    assert any("its factors make" in problem for problem in check_submitted(document, "toy"))


def test_other_seeds_splits_and_limits_are_not_comparable():
    document = json.loads(json.dumps(scored("nearest")).replace("|seed:0|", "|limit:5|seed:3|"))
    found = check_submitted(document, "toy")
    assert any("limit 5, None" in p for p in found)
    assert any("seed 3, 0" in p for p in found)


def test_a_changed_file_no_longer_has_its_hash(tmp_path):
    folder = submission(tmp_path)
    with open(folder / "toy" / "generations.jsonl", "a") as stream:
        stream.write("\n")
    (found,) = errors(folder)
    assert found.startswith("toy/generations.jsonl: its sha256 is not the one in submission.toml")


def test_an_edited_hash_of_an_adapter_is_seen(tmp_path):
    adapters = [{"task": "toy", "annotator": "Ann1", "sha256": "1" * 64}]
    assert any("adapters: the hashes of toy" in e for e in errors(submission(tmp_path, adapters=adapters)))


ASKED = toy_task(annotators=2, items=(1, 1, 2))
FIRST, SECOND = ASKED.splits["test"]
DEV = ASKED.splits["dev"][0]
QUESTIONS = [(FIRST, "Ann1"), (FIRST, "Ann2"), (SECOND, "Ann1"), (SECOND, "Ann2")]


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (QUESTIONS, None),
        ([QUESTIONS[0], QUESTIONS[2], QUESTIONS[1], QUESTIONS[3]], f"row 2 is item {SECOND!r}, 'Ann1', sample 0"),
        (QUESTIONS[:3], f"{SECOND!r}, 'Ann2', sample 0 has no row"),
        ([QUESTIONS[0], *QUESTIONS], "stands 2 times"),
        ([*QUESTIONS, (DEV, "Ann1")], "an item of the dev split"),
        ([*QUESTIONS, (FIRST, "Ann9")], "no annotator of this task"),
        ([*QUESTIONS, ("z", "Ann1")], "no item of this task"),
    ],
)
def test_every_question_is_answered_once_and_no_other(pairs, said):
    rows = [Generation(item, annotator, 0, "", "stop", 0, "") for item, annotator in pairs]
    found = answer_problems(rows, ASKED, 1)
    assert found == [] if said is None else any(said in problem for problem in found)


def test_a_pair_without_a_label_is_never_asked():
    task = dataclasses.replace(ASKED, records=tuple(r for r in ASKED.records if (r.item, r.annotator) != QUESTIONS[3]))
    rows = [Generation(item, annotator, 0, "", "stop", 0, "") for item, annotator in QUESTIONS]
    assert any("never asked" in problem for problem in answer_problems(rows, task, 1))


@pytest.mark.parametrize("samples", [0, 51])
def test_a_number_of_samples_that_no_run_has_is_refused(samples):
    assert answer_problems([], ASKED, samples) == [f"{samples} samples; 1 to 50 were expected"]


def test_a_digest_is_of_all_but_the_verification():
    text = 'a = 1\n\n[verified]\ndate = 2026-01-01\n\n[files]\nb = "c"\n'
    assert card_digest(text) == sha('a = 1\n\n[files]\nb = "c"\n')
    # a table right after it is not part of it
    assert card_digest(text.replace("\n\n[files]", "\n[cost]\nusd = 1\n\n[files]")) != card_digest(text)


def record(task, split, position=0):
    return task.records_of(split)[position]


def test_copies_of_test_records_are_seen_and_train_records_counted():
    task = _long_task()
    originals = Originals(task)
    test, train = record(task, "test").explanation, record(task, "train").explanation
    said = [test, test.upper().replace(" ", "  "), f"I would say: {test} That is all.", train, "Nobody wrote this."]
    rows = [Generation("x", "Ann1", 0, f"Label: neutral\nExplanation: {text}", "stop", 0, "") for text in said]
    # the first two are equal in the norm view, the third holds nearly all trigrams of the record
    assert originals.overlap(rows) == Overlap(5, 2, 1, 1, 4)


@pytest.mark.parametrize(
    "disguise",
    [
        lambda text: " ".join(f"{w} really" if k % 3 == 2 else w for k, w in enumerate(text.split())),
        lambda text: text.replace("a", "\u0430").replace("e", "\u0435"),
    ],
)
def test_a_copy_in_disguise_is_a_copy(disguise):
    own = "Since nobody saw where the yellow parrot went, its owner printed posters all through Sunday"
    task = toy_task(annotators=2, items=(3, 2, 1))
    (item,) = task.splits["test"]
    records = tuple(dataclasses.replace(r, explanation=own) if (r.item, r.annotator) == (item, "Ann1") else r
                    for r in task.records)  # fmt: skip
    originals = Originals(dataclasses.replace(task, records=records))

    def counted(text):
        found = originals.overlap([Generation(item, "Ann1", 0, f"Label: neutral\nExplanation: {text}", "stop", 1, "")])
        return found.test_exact + found.test_near

    assert counted(disguise(own)) == 1
    # the same words in another order, or a few of them, are one's own
    assert counted(" ".join(sorted(own.split()))) == 0
    assert counted("Since nobody saw the parrot, its owner went away on Sunday") == 0


def test_longest_common_subsequence_by_hand():
    # a _ c d of "a b c d" in "a x c y d"
    assert longest_common("abcd", "axcyd") == 3
    assert longest_common("", "abc") == 0
    assert longest_common("abc", "cba") == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "GPT-5", "config_sha256": "1" * 64}, "base: name is not what manifest.json says"),
        ({"name": "base"}, "base: config_sha256 is not what manifest.json says"),
    ],
)
def test_the_base_model_is_the_manifests(tmp_path, change, said):
    settings = {"model": "org/base", "task": ["toy"], "prompt": "base", "split": "test", "limit": None, "seed": 0}
    rows = "".join(dump_line(dataclasses.asdict(row)) for row in answers("nearest"))
    facts = {"data_sha256": {}, "generations_sha256": sha(rows), "model": {"name": "base", "config_sha256": "1" * 64}}
    files = {"manifest.json": dump_json({"settings": settings, "tasks": {"toy": facts}})}
    assert errors(submission(tmp_path, "sound", files=files, base={"name": "base", "config_sha256": "1" * 64})) == []
    assert any(said in error for error in errors(submission(tmp_path, files=files, base=change)))


def _long_task():
    """The toy task with explanations of fourteen words that no two records share."""
    task = toy_task(items=(6, 4, 4))
    records = tuple(
        dataclasses.replace(r, explanation=" ".join(f"w{k}x{n}" for n in range(14))) for k, r in enumerate(task.records)
    )
    return dataclasses.replace(task, records=records)


def test_a_record_that_train_holds_too_is_no_copy_of_test():
    task = _long_task()
    shared = record(task, "train").explanation
    records = [dataclasses.replace(r, explanation=shared) if r.item.startswith("test") else r for r in task.records]
    originals = Originals(dataclasses.replace(task, records=tuple(records)))
    rows = [Generation("x", "Ann1", 0, f"Label: neutral\nExplanation: {shared}", "stop", 0, "")]
    found = originals.overlap(rows)
    assert (found.test_exact, found.test_near, found.train_copies) == (0, 0, 1)


def test_a_stretch_is_sixty_characters_from_the_start_of_a_word():
    text = "abcdefghi " * 6 + "k"  # 61 characters: one stretch from the start, none from the second word
    assert stretches([text]) == {("abcdefghi " * 6)}
    assert stretches(["too short"]) == set()


@pytest.mark.parametrize(
    ("overlap", "level", "said"),
    [
        (Overlap(100, 0, 0, 0, 0), "OK", "no answer copies"),
        (Overlap(100, 1, 1, 0, 0), "WARN", "2 of 100 answers equal a test annotation"),
        (Overlap(100, 2, 1, 0, 0), "ERROR", "3 of 100 answers are copies of test annotations (2 exact, 1 near)"),
        (Overlap(100, 0, 0, 7, 25), "WARN", "memorised: 7 of 100"),
        (Overlap(100, 0, 0, 0, 26), "ERROR", "26 of 100 answers hold long stretches of dataset"),
    ],
)
def test_a_few_copies_are_told_and_many_refused(overlap, level, said):
    findings = Findings()
    overlap.judge("x", findings)
    assert any(f.level == level and said in f.text for f in findings)


def test_a_recipe_is_made_again_and_carries_no_text():
    task = toy_task()
    again = regenerate("reference:nearest", task, NamedEmbedder())
    assert [(r.item, r.annotator, r.text) for r in again] == [(r.item, r.annotator, r.text) for r in answers("nearest")]


@pytest.mark.parametrize(
    ("recipe", "method", "model", "expected"),
    [("reference:human", "reference", "", "ceiling"), ("reference:blind", "reference", "", "floor"),
     ("attack:splice", "reference", "", "attack"), (None, "reference", "reference:majority", "floor"),
     (None, "sft", "org/m", "system")],
)  # fmt: skip
def test_only_a_system_is_ranked(recipe, method, model, expected):
    assert role(Card.model_construct(method=method, recipe=recipe), model) == expected


def test_local_paths_are_cut_to_names_and_found_if_left():
    machine = "/" + "home/me"
    given = {"model": f"{machine}/models/m-7b", "words": [f"--model={machine}/m/", f"Ann1={machine}/x,Ann2=~/y/z"]}
    assert without_paths(given) == {"model": "m-7b", "words": ["--model=m", "Ann1=x,Ann2=z"]}
    windows = ("C:/" + "Users/jane/x", "d:/secret", "\\\\server\\jane")
    for text in (*windows, f"{machine}/x", "~/x", "C:\\me", "../up", "file:/etc", "a (" + "/" + "tmp/x y)"):
        assert local_path(text)
    for text in ("org/name", "https://example.org/a/b", "and/or", "varierr@1, 4/5", "…", "a...b"):
        assert not local_path(text)


def test_a_card_survives_its_own_toml(tmp_path):
    folder = submission(tmp_path, description='two "lines"\nand a \\ and ü', cost={"usd": 1.5, "hours": 2})
    card = tomllib.loads((folder / "submission.toml").read_text())
    assert tomllib.loads(to_toml(Card.model_validate(card))) == card


@pytest.fixture
def demo_run(majority_run, tmp_path_factory):
    """A copy of that run, to be changed."""
    return Path(shutil.copytree(majority_run, tmp_path_factory.mktemp("demo") / "run"))


@pytest.mark.slow
def test_a_run_is_submitted_checked_and_ranked_by_three_commands(majority_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["submit", str(majority_run), "--name", "majority", "--date", "2026-05-27"]) == 0
    assert capsys.readouterr().out.strip() == "submissions/20260527_majority"
    folder = tmp_path / "submissions" / "20260527_majority"
    assert {p.name for p in folder.iterdir()} == {
        "submission.toml",
        "README.md",
        "settings.json",
        "manifest.json",
        "demo",
    }
    assert str(majority_run) not in "".join(p.read_text() for p in folder.rglob("*") if p.is_file())
    assert main(["check", "--write", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "OK    demo/scores.json: re-scored: all" in out
    assert "OK    submission.toml: verified" in out
    assert main(["leaderboard"]) == 0
    assert main(["leaderboard", "--check"]) == 0
    edit(tmp_path / "leaderboard" / "leaderboard.json", lambda board: board.update(format=1))
    assert main(["leaderboard", "--check"]) == 1
    # a number changed by hand, with the hash that fits it, is found by scoring again
    scores = folder / "demo" / "scores.json"
    edit(
        scores, lambda d: next(s for s in d["scores"] if s["metric"] == "rouge_l").update(value=0.5, low=0.4, high=0.6)
    )
    card = tomllib.loads((folder / "submission.toml").read_text())
    from hlvbench.io import sha256_file

    card["files"]["demo/scores.json"] = sha256_file(scores)
    (folder / "submission.toml").write_text(tomli_w.dumps(card))
    assert main(["check", str(folder)]) == 1
    assert "ERROR demo/scores.json: rouge_l(view=raw): value is 0.5, re-scored" in capsys.readouterr().out


@pytest.mark.slow
def test_what_a_person_must_say_is_asked_for_at_once(demo_run, tmp_path):
    edit(demo_run / "settings.json", lambda s: s.update(model="org/m", adapter_dir="adapters"))
    with pytest.raises(UsageError) as told:
        submit(
            demo_run,
            name="Not A Slug",
            info=SubmissionInfo(
                method="magic",
                links={"foo": "https://a.org/"},
                trained_on=["weekends"],
                usd=float("nan"),
                date=datetime.date(2098, 1, 1),
            ),
            root=tmp_path,
        )
    words = ("--name", "--authors", "--method", "--trained-on", "--link.foo", "--usd", "--date 2098-01-01")
    assert all(word in str(told.value) for word in words)


@pytest.mark.slow
def test_the_manifests_of_the_adapters_trainings_are_published(demo_run, tmp_path):
    (adapter := tmp_path / "adapters" / "demo" / "Ann1").mkdir(parents=True)
    (adapter / "train.toml").write_text("rank = 16\n")
    (adapter / "hlvbench.json").write_text('{"annotator": "Ann1"}')
    sft, capo = "hlvbench train sft --out /data/sft", "hlvbench train capo --from /data/sft"
    (adapter / "manifest.json").write_text(json.dumps({"start_command": sft.split(), "command": capo.split()}))
    edit(demo_run / "settings.json", lambda s: s.update(adapter_dir=str(tmp_path / "adapters")))
    folder, _ = submit(demo_run, name="trained", info=SubmissionInfo(trained_on=["train"]), root=tmp_path / "out")
    assert read_json(folder / "train" / "demo" / "Ann1.json")["command"] == capo.replace("/data/", "").split()
    assert "hlvbench train sft --out sft\n    hlvbench train capo --from sft\n" in (folder / "README.md").read_text()


class PeoplesContext(CheckContext):
    """Takes synthetic texts for people's."""

    def synthetic(self, task):
        return False


@pytest.mark.slow
def test_a_run_with_the_texts_of_test_records_is_refused(demo_run, tmp_path):
    from hlvbench.data.task import load_task

    task = load_task("demo")
    gold = {pair: records[0] for pair, records in task.by_pair.items()}
    path = demo_run / "demo" / "generations.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        row["text"] = f"Label: {gold[row['item'], row['annotator']].label}\nExplanation: " + (
            gold[row["item"], row["annotator"]].explanation
        )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(RunError, match="copies of test annotations"):
        submit(demo_run, name="thief", info=SubmissionInfo(), root=tmp_path, context=PeoplesContext())
    assert list(tmp_path.iterdir()) == []
