"""convarg and convarg-all: the reader of UKPConvArg1 on invented pairs and on the real files."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from hlvbench.analysis.audit import audit
from hlvbench.baselines.baseline_registry import open_baseline
from hlvbench.bootstrap import clusters, every_item_once
from hlvbench.cli import main
from hlvbench.data.task import load_task
from hlvbench.embeddings import load_embedder
from hlvbench.errors import DataError, TaskError
from hlvbench.generation.run import run
from hlvbench.integrations.model_card import card
from hlvbench.leaderboard import render
from hlvbench.metrics import Answers, bind
from hlvbench.models import Query
from hlvbench.prompting.parse import parse, to_annotation
from hlvbench.results import TaskResult, markdown, page, summary
from hlvbench.results.score_check import check_submitted
from hlvbench.results.scorecard import score_task
from hlvbench.settings import Settings
from hlvbench.types import Task

from ..boards import NamedEmbedder, answers, submission
from ..test_architecture import project_files
from ..toy import toy_task
from .test_data_sources import folder_of, load, place
from .test_table import write

KEYS = """kind = "nominal"
labels = ["a1", "a2", "equal"]
instruction = "Decide."
min_records = 1
{}
[fields]
debate = "Debate"
a1 = "A1"
a2 = "A2"
"""
Vote = tuple[str, str, str]


def argument(name: str, text: str) -> str:
    return f"<{name}><stance>Pro</stance><text>{escape(text)}</text></{name}>"


def pair(name: str, *votes: Vote, a1: str = "one", a2: str = "two") -> str:
    given = "".join(
        f"<mTurkAssignment><turkID>{w}</turkID><value>{v}</value><reason>{r}</reason></mTurkAssignment>"
        for w, v, r in votes
    )
    title = "<debateMetaData><title>Cats?</title></debateMetaData>"
    arguments = argument("arg1", a1) + argument("arg2", a2)
    return (
        f"<annotatedArgumentPair><id>{name}</id>{arguments}{title}<mTurkAssignments>{given}</mTurkAssignments>"
        "</annotatedArgumentPair>"
    )


def xml(*pairs: str) -> bytes:
    return f'<?xml version="1.0"?>\n<list>{"".join(pairs)}</list>'.encode()


# records: WB 4, WA 3, WC 3, WD 1
FILES = {
    "cats_pro.xml": xml(
        pair("p", ("WA", "a1", "so"), ("WB", "a2", " two\n lines "), a1="first\n\nargument &", a2="second"),
        pair("q", ("WC", "equal", "same"), ("WB", "a1", "better"), ("WB", "a2", "again"), ("WD", "a1", "")),
        pair("same", ("WA", "a1", "no pair"), a1="one", a2=" one "),
    ),
    "dogs_pro.xml": xml(
        pair("r", ("WA", "a1", "x"), ("WC", "a2", "y"), ("WB", "a2", "z")),
        pair("s", ("WC", "a2", "y"), ("WB", "a1", "z"), ("WA", "a1", "w"), ("WD", "equal", "v")),
    ),
}


def made(tmp_path: Path, keys: str, splits: dict[str, list[str]], files: dict[str, bytes] = FILES) -> Task:
    folder_of(tmp_path, "convarg", KEYS.format(keys), files, splits)
    return load(tmp_path, place(tmp_path / "data", files))


def test_workers_are_numbered_by_records_and_only_the_splits_pairs_are_kept(tmp_path: Path) -> None:
    task = made(tmp_path, 'annotators = ["Ann1", "Ann2"]', {"train": ["cats_pro/p"], "test": ["cats_pro/q"]})
    # WB has 4 records; WA and WC have 3 each, and WA comes first by its id
    assert [(r.item, r.annotator, r.label, r.explanation) for r in task.records] == [
        ("cats_pro/p", "Ann1", "a2", "two lines"),
        ("cats_pro/p", "Ann2", "a1", "so"),
        ("cats_pro/q", "Ann1", "a1", "better"),
    ]
    text = {"debate": "Cats? – Pro", "a1": "first argument &", "a2": "second"}
    assert dict(task.items["cats_pro/p"].text) == text


@pytest.mark.parametrize(("least", "annotators", "records"), [(1, 4, 11), (2, 3, 10)])
def test_a_threshold_chooses_the_workers_and_debates_the_splits(
    tmp_path: Path, least: int, annotators: int, records: int
) -> None:
    task = made(tmp_path, f'least_records = {least}\n[debates]\ntrain = ["cats"]\ntest = ["dogs"]', {})
    assert (len(task.annotators), len(task.records)) == (annotators, records)
    assert {s: sorted(ids) for s, ids in task.splits.items()} == {
        "train": ["cats_pro/p", "cats_pro/q"], "dev": [], "test": ["dogs_pro/r", "dogs_pro/s"],
    }  # fmt: skip


def test_a_pair_of_one_kept_worker_is_left_out(tmp_path: Path) -> None:
    files = {**FILES, "cats_con.xml": xml(pair("t", ("WB", "a1", "so"), ("WD", "a1", "so")))}
    # WB has 5 records, WA and WC 3, WD 2
    task = made(tmp_path, 'least_records = 3\n[debates]\ntrain = ["cats"]\ntest = ["dogs"]', {}, files)
    assert "cats_con/t" not in task.items


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("", "either annotators or least_records is needed"),
        ('least_records = 1\nannotators = ["Ann1"]', "either annotators or least_records is needed"),
        ("least_records = 0", "least_records: Input should be greater than 0, got 0"),
        ('least_records = 1\n[debates]\ntrain = ["cats"]', "dogs_pro must be in one split, is in 0"),
        ('least_records = 1\n[debates]\ntrain = [""]\ntest = ["dogs"]', "dogs_pro must be in one split, is in 2"),
        ('least_records = 1\n[debates]\ntrian = ["cats"]', "debates: trian: [key]: Input should be 'train'"),
        ("least_records = 1\n[debates]\ntrain = [1]", "debates: train: 0: Input should be a valid string, got 1"),
    ],
)
def test_a_wrong_choice_of_workers_or_debates_is_told(tmp_path: Path, keys: str, told: str) -> None:
    with pytest.raises(TaskError, match=re.escape(told)):
        made(tmp_path, keys, {"train": ["cats_pro/p"], "test": ["cats_pro/q"]})


BOMB = b'<!DOCTYPE list [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><list>&b;</list>'


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (BOMB, "cats.xml: not a file of UKPConvArg1: .*document type"),
        (BOMB.decode().encode("utf-16"), "cats.xml: not a file of UKPConvArg1: .*UnicodeDecodeError"),
        (xml(pair("p", ("WSECRET", "a1", "so")))[:-20], "cats.xml: .*not a file of UKPConvArg1: ParseError"),
    ],
)
def test_what_is_no_file_of_the_corpus_is_told_without_worker_ids(tmp_path: Path, body: bytes, told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        made(tmp_path, "least_records = 1", {}, {"cats.xml": body})
    assert "WSECRET" not in str(caught.value)


# what a task says of its data and of its index


def test_what_an_index_leaves_out_and_the_licence_are_said_beside_the_numbers(tmp_path: Path) -> None:
    task = replace(toy_task(), index_without=("grounding",), licence="CC BY 4.0, A. Body")
    report = score_task(task, answers("label-guess"), NamedEmbedder(), per_answer=False).report
    document = report.to_dict()
    assert check_submitted(document, "toy") == []
    assert "hlv_index(without=grounding)" in summary([report])
    for text in (markdown([TaskResult(report)]).replace("`", ""), re.sub("<.*?>", "", page([TaskResult(report)]))):
        for said in (
            "hlv_index(without=grounding)",
            "Here without grounding, in which people hardly exceed chance",
            "left out",
            "CC BY 4.0, A. Body",
        ):
            assert said in text
    submission(tmp_path, document=document)
    assert "ranked by `hlv_index(without=grounding)`" in render(tmp_path)["README.md"]
    assert "Ranked by hlv_index(without=grounding)." in re.sub("<.*?>", "", render(tmp_path)["index.html"])


def test_an_audit_uses_the_tasks_index_and_judges_by_its_factors() -> None:
    task = replace(toy_task(), index_without=("grounding",))
    found = audit([task], NamedEmbedder(), replicates=20, systems=["human", "blind"], quiet=True)
    for row in found["tasks"]["toy"]["systems"]:
        assert "without=grounding" in row["scores"]["index"]["signature"]
        assert row["broken"] == ""


def test_a_model_card_carries_the_licence_of_the_data(tmp_path: Path) -> None:
    folder = write(tmp_path / "tasks", licence="'CC0'")
    done = run(Settings("reference:human", task=("mine",)), out=tmp_path / "run", tasks_dir=folder.parent, quiet=True)
    assert "licence: CC0" in card(done)


def test_the_list_of_tasks_shows_licences_and_a_task_whose_data_alone_tell_its_size(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HLVBENCH_CACHE", str(tmp_path))
    monkeypatch.delenv("HLVBENCH_DATA", raising=False)
    assert main(["tasks"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "convarg@1  nominal  1476/252/373 items  12 annotators (Ann1 … Ann12)  data not here"
    assert lines[1].startswith("  licence: CC BY 4.0, Habernal and Gurevych, ACL 2016")
    assert lines[2] == "convarg-all@0  nominal  items and annotators as the data have them  data not here"


# the real files


@pytest.fixture(scope="module")
def convarg(data_dir: Path) -> Task:
    return load_task("convarg", data_dir)


def test_convarg_has_the_counts_of_its_definition(convarg: Task) -> None:
    sizes = {s: (len(ids), len(convarg.records_of(s))) for s, ids in convarg.splits.items()}
    assert sizes == {"train": (1476, 3825), "dev": (252, 575), "test": (373, 1055)}
    assert len(convarg.questions("test")) == 1055
    # as the script that made the splits counted
    # the debate's name is no reason to resample all its pairs as one
    assert len(clusters([convarg.items[i] for i in convarg.splits["test"]])) == 373
    counts = [len(convarg.records_of("test", f"Ann{k}")) for k in range(1, 13)]
    assert counts == [192, 161, 105, 112, 62, 69, 63, 63, 70, 38, 60, 60]
    assert {len([a for a in convarg.annotators if (i, a) in convarg.by_pair]) for i in convarg.items} == {2, 3, 4, 5}


def test_convarg_all_splits_all_pairs_of_its_workers_by_debate(convarg: Task, data_dir: Path) -> None:
    everyone = load_task("convarg-all", data_dir)
    assert len(everyone.annotators) == 111
    assert {s: len(ids) for s, ids in everyone.splits.items()} == {"train": 4721, "dev": 901, "test": 1541}
    for split, ids in convarg.splits.items():
        assert set(ids) <= set(everyone.splits[split])
    # the twelve with most records are the same people: everything they say there is said here
    theirs = {(r.item, r.label, r.explanation) for r in everyone.records}
    assert {(r.item, r.label, r.explanation) for r in convarg.records} <= theirs


def test_no_worker_id_is_in_the_task_or_the_project(convarg: Task, data_dir: Path) -> None:
    sources = "".join(path.read_text() for path in sorted((data_dir / "convarg").glob("*.xml")))
    workers = set(re.findall(r"<turkID>(\w+)</turkID>", sources))
    assert len(workers) > 500
    words = set(re.findall(r"\w+", repr(convarg)))
    for path in project_files():
        words |= set(re.findall(r"\bA[0-9A-Z]{9,}\b", path.read_text("utf-8", "ignore")))
    assert not workers & words


@pytest.mark.slow
def test_the_figures_of_its_definition(convarg: Task) -> None:
    """As measured when the task was made; random-own is one draw of many, and its figures have a margin."""
    embedder = load_embedder()
    model = open_baseline("reference:random-own", convarg, "test", embedder)
    texts = {p: model.answer([Query(*p, 0, "")])[0].text for p in convarg.questions("test")}
    given = {p: found for p, text in texts.items() if (found := to_annotation(*p, parse(text, convarg)))}
    system = Answers(convarg, "test", given, embedder)
    once = every_item_once(len(system.items))

    def value(of: Answers, name: str, **parameters: str | int) -> float:
        return float(bind(name, **parameters)(of, once).overall[0])

    assert value(system, "label_accuracy") == pytest.approx(0.417, abs=0.03)
    assert value(system, "label_kappa") == pytest.approx(0.041, abs=0.03)
    assert value(system, "imitation_score", view="norm", m=10) == pytest.approx(0.966, abs=0.05)
    assert value(system, "own_gain") == pytest.approx(0.0, abs=0.03)
    assert value(system.human, "group_confidence", view="norm", m=1) == pytest.approx(0.404, abs=0.02)
    assert value(system.human, "group_confidence", view="norm", m=10) == pytest.approx(0.760, abs=0.02)
    # measured on the arguments without the debate's name: .036; chance over 373 inputs is .017
    assert value(system.human, "grounding", view="raw") == pytest.approx(0.036, abs=0.005)
    chance = bind("grounding", view="raw")(system.human, once).floor
    assert chance is not None
    assert chance[0] == pytest.approx(0.017, abs=0.0005)
