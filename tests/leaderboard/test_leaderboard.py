"""The leaderboard's numbers: ranks, references, history, versions; a function of submissions/ and tasks/ alone."""

from __future__ import annotations

import copy
import datetime
import html
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from hlvbench import __version__
from hlvbench.baselines.baseline_registry import REFERENCES
from hlvbench.data.task import load_task
from hlvbench.errors import RunError
from hlvbench.leaderboard import build, make_board, page, read_all, render, stale
from hlvbench.leaderboard.board import _compared, overall_parts
from hlvbench.leaderboard.board_page import lead, readme
from hlvbench.leaderboard.task_card import examples_of, task_card
from hlvbench.results.compare import Part, Value, compare
from tests.boards import builtin, reference, scored, submission
from tests.results.test_report import EVIL, Outline

ROOT = Path(__file__).resolve().parents[2]


def part(index, spread=0.01, seed=0, items=100):
    """A row whose index has 200 replicates around `index`."""
    noise = np.random.default_rng(seed).normal(0, spread, 200)
    return Part("t@1", {}, 400, items, 1, None, {"hlv_index": Value("hlv_index", index, index + noise, None)}, {})


def table(parts, references=None, unranked=()):
    """The rows of these parts, compared. references: name of a row -> the reference system that it is."""
    references = references or {}
    rows, systems = {}, {}
    for name, one in parts.items():
        found = one.values.get("hlv_index")
        index = {"value": found and found.estimate, "low": None, "high": None, "note": ""}
        rows[name] = {"submission": name, "rank": None, "index": index, "against": {}}
        is_system = name not in references and name not in unranked
        systems[name] = {"role": "system" if is_system else "floor", "reference": references.get(name), "system": name}
    made = _compared(rows, parts, systems)
    return {r["submission"]: r for r in made["rows"]}, made, systems


def ranks(parts, **more):
    return {name: row["rank"] for name, row in table(parts, **more)[0].items() if row["rank"] is not None}


def test_a_rank_is_one_plus_those_that_are_surely_ahead():
    # a and b differ by less than their noise (sd of the difference .014), c lies 30 standard deviations below
    parts = {"a": part(0.50, seed=1), "b": part(0.495, seed=2), "c": part(0.10, seed=3), "human": part(1.0, seed=4)}
    assert ranks(parts, unranked=["human"]) == {"a": 1, "b": 1, "c": 3}
    assert ranks({n: parts[n] for n in ("a", "c")}) == {"a": 1, "c": 2}
    assert ranks(parts, unranked=list(parts)) == {}
    assert ranks({"a": part(0.5), "x": Part("t@1", {}, 4, 100, 1, None, {}, {})}) == {"a": 1}


def test_the_best_rows_are_compared_pairwise(monkeypatch):
    monkeypatch.setattr("hlvbench.leaderboard.board.MOST_COMPARED", 2)
    parts = {"a": part(0.1, seed=1), "b": part(0.5, seed=2), "c": part(0.3, seed=3)}
    rows, made, _ = table(parts)
    assert list(rows) == ["b", "c", "a"]
    assert made["compared"] == 2
    assert [pair[0] for pair in made["pairs"]["hlv_index"]] == [0.2]
    assert rows["a"]["rank"] == 3


def test_holms_adjustment_is_over_the_ranked_pairs_alone():
    # difference .03, sd of the difference .014: p near .03, which three pairs of ranked systems raise beyond .05
    parts = {"a": part(0.50, seed=1), "b": part(0.47, seed=2), "c": part(0.46, seed=5)}
    alone = {n: parts[n] for n in ("a", "b")}
    assert ranks(alone | {"human": part(1.0)}, unranked=["human"]) == ranks(alone) == {"a": 1, "b": 2}
    assert ranks(parts)["b"] == 1
    _, made, _ = table(parts)
    first, second, third = made["pairs"]["hlv_index"]
    assert first[0] == 0.03
    by_p = sorted([first, second, third], key=lambda pair: pair[3])
    # Holm by hand: the smallest p times three, the next times two, never below the one before
    assert by_p[0][4] == pytest.approx(3 * by_p[0][3], rel=0.01)
    assert by_p[1][4] == pytest.approx(max(by_p[0][4], 2 * by_p[1][3]), rel=0.01)


def test_a_system_is_compared_with_the_baselines():
    parts = {"a": part(0.5, seed=1), "b": part(0.1, seed=2), "near": part(0.3, seed=3)}
    rows, _, _ = table(parts, references={"near": "nearest"})
    ahead, behind = (rows[n]["against"]["nearest"] for n in ("a", "b"))
    assert ahead["beats"]
    assert ahead["difference"] == pytest.approx(0.2)
    assert ahead["low"] < 0.2 < ahead["high"]
    assert ahead["p"] < 0.001
    assert not behind["beats"]
    assert behind["difference"] == pytest.approx(-0.2)
    assert behind["low"] < -0.2 < behind["high"]
    assert rows["near"]["against"] == {}


def test_the_first_sentences_say_who_is_best_how_sure_and_whether_it_beats_copying():
    parts = {"a": part(0.5, seed=1), "b": part(0.1, seed=2), "near": part(0.3, seed=3), "guess": part(0.5, seed=4)}
    _, made, systems = table(parts, references={"near": "nearest", "guess": "label-guess"})
    said = lead(made, systems)
    assert said.startswith("Best of 2: a, index 0.500. Rank 1, ahead of all others. ")
    assert "It beats the nearest training answer (0.200 [" in said
    assert "It does not beat a classifier with retrieval (0.000 [" in said
    _, made, systems = table({"a": part(0.5, seed=1), "b": part(0.495, seed=2)})
    assert lead(made, systems).endswith("Rank 1, shared with 1 other.")
    assert lead({"rows": []}, {}) == "No ranked system yet."


def test_overall_is_the_mean_of_both_tasks_and_takes_both():
    first, second = {"a": part(0.2), "b": part(0.4)}, {"a": part(0.6)}
    found = overall_parts([first, second])
    assert list(found) == ["a"]
    assert found["a"].values["hlv_index"].estimate == pytest.approx(0.4)
    assert found["a"].items == 200


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """submissions/ with two systems and two references on one toy task, as two tasks' names."""
    root = tmp_path_factory.mktemp("board") / "submissions"
    root.mkdir()
    submission(root, "old", "random-own", date=datetime.date(2026, 1, 2))
    submission(root, "new", "label-guess", date=datetime.date(2026, 3, 4), method="other")
    reference(root, "human")
    reference(root, "nearest")
    return root


@pytest.fixture(scope="module")
def board(place):
    return make_board(read_all(place))


def row_of(table, name):
    return next(r for r in table["rows"] if r["submission"].endswith(f"_{name}"))


def test_references_are_unranked_and_systems_ranked(board):
    (table,) = board["tables"]
    assert [row_of(table, n)["rank"] is None for n in ("human", "nearest", "old", "new")] == [True, True, False, False]
    assert list(row_of(table, "new")["against"]) == ["nearest"]
    assert row_of(table, "nearest")["against"] == {}
    assert board["overall"] is None


def test_the_numbers_are_those_of_the_submission(board):
    row = row_of(board["tables"][0], "new")
    there = {s["metric"]: s for s in scored("label-guess")["scores"] if s["annotator"] is None}
    assert row["index"]["value"] == there["hlv_index"]["value"]
    assert row["factors"]["decision"]["value"] == there["label_kappa"]["value"]
    assert row["curves"]["imitation"]["1"][0] is not None
    assert next(s["by"] for s in row["scores"] if s["metric"].startswith("label_kappa")) == [
        s["value"] for s in scored("label-guess")["scores"] if s["metric"] == "label_kappa" and s["annotator"]
    ]


def test_ranks_and_differences_are_those_of_compare(board, place):
    found = compare([place / "20260304_new", place / "20260527_nearest"])["tasks"]["toy"]["metrics"]["hlv_index"][
        "pairs"
    ][0]
    mine = row_of(board["tables"][0], "new")["against"]["nearest"]
    sign = 1 if found["a"].startswith("label") else -1
    assert mine["difference"] == pytest.approx(sign * found["difference"])
    assert mine["p"] == pytest.approx(found["p"])


def test_of_two_rows_of_one_reference_the_first_counts(place, board, tmp_path):
    shutil.copytree(place, tmp_path / "s")
    # a later `nearest` that has people's scores would be beaten by nobody
    reference(tmp_path / "s", "nearest", folder="again", date=datetime.date(2026, 8, 1), document=scored("human"))
    (table,) = make_board(read_all(tmp_path / "s"))["tables"]
    for name in ("old", "new"):
        before, after = (row_of(t, name)["against"]["nearest"] for t in (board["tables"][0], table))
        assert before == after


def test_the_history_keeps_the_best_value_so_far(board):
    steps = board["history"]["toy-1"]
    assert [s["date"] for s in steps] == ["2026-01-02", "2026-03-04"]
    assert [s["best"] for s in steps] == [steps[0]["value"], max(s["value"] for s in steps)]


def test_another_version_of_task_or_scores_is_another_table(tmp_path):
    submission(tmp_path, "one")
    older = json.loads(json.dumps(scored("nearest")).replace(f"hlvbench:{__version__}", "hlvbench:0.0.9"))
    second = json.loads(json.dumps(scored("nearest")).replace("toy@1", "toy@2"))
    submission(tmp_path, "two", document=older)
    submission(tmp_path, "three", document=second)
    tables = make_board(read_all(tmp_path))["tables"]
    assert [(t["id"], t["current"], len(t["rows"])) for t in tables] == [
        ("toy-2", True, 1), ("toy-1-0-0-9", False, 1), (f"toy-1-{__version__.replace('.', '-')}", False, 1),
    ]  # fmt: skip


def test_the_overall_table_is_made_of_varierr_and_r2(tmp_path):
    builtin(tmp_path, "both", ["varierr", "r2"])
    builtin(tmp_path, "all", ["varierr", "r2", "convarg"])
    builtin(tmp_path, "third", ["convarg"])
    board = make_board(read_all(tmp_path))
    assert [t["id"] for t in board["tables"]] == ["varierr-1", "r2-1", "convarg-1"]
    assert board["overall"]["of"] == ["varierr-1", "r2-1"]
    both, all_three = (row_of(board["overall"], name)["index"] for name in ("both", "all"))
    assert len(board["overall"]["rows"]) == 2
    assert both == all_three
    assert both["value"] == pytest.approx(row_of(board["tables"][0], "both")["index"]["value"], abs=1e-6)


def test_a_task_card_is_what_the_files_of_the_task_say(tmp_path):
    builtin(tmp_path, "all", ["varierr", "r2", "convarg"])
    board = make_board(read_all(tmp_path))
    cards = {table["task"]: table["card"] for table in board["tables"]}
    assert cards["varierr@1"]["items"] == {"train": 300, "dev": 100, "test": 100}
    assert [card["annotators"] for card in cards.values()] == [4, 4, 12]
    assert cards["varierr@1"]["licence"] == ""
    assert cards["convarg@1"]["licence"].startswith("CC BY 4.0, Habernal")
    assert [bool(card["examples"]) for card in cards.values()] == [False, False, True]
    shown = page(board)
    assert shown.count("none stated; no text of it is shown or redistributed here") == 2
    assert f'href="{cards["r2@1"]["source"]}"' in shown
    assert "42.2 MB" in shown


def test_raw_answers_stand_beside_the_humans_whose_licence_permits_it(tmp_path):
    builtin(tmp_path, "one", ["varierr", "convarg"], answers="Label: a1\nExplanation: \u202e" + "x" * 500)
    builtin(tmp_path, "recipe", ["convarg"])
    varierr, convarg = make_board(read_all(tmp_path))["tables"]
    assert row_of(varierr, "one")["examples"] == row_of(convarg, "recipe")["examples"] == []
    texts = row_of(convarg, "one")["examples"]
    assert [len(item) for item in texts] == [len(example["humans"]) for example in convarg["card"]["examples"]]
    # hidden characters are replaced, long answers are cut
    assert texts[0][0] == f"Label: a1\nExplanation: \ufffd{'x' * 376}…"
    # a question that was not answered
    assert texts[-1][-1] == ""
    broken = builtin(tmp_path, "two", ["convarg"], answers=3)
    with pytest.raises(RunError, match=f"{broken.name}/convarg/generations.jsonl: 6 problems"):
        make_board(read_all(tmp_path))


def test_the_examples_are_the_texts_of_the_data(data_dir):
    task = load_task("convarg", data_dir)
    assert examples_of(task) == task_card("convarg@1")["examples"], "run: make examples"
    assert task_card("convarg@0") is None
    assert task_card("toy@1") is None


def test_the_figures_of_the_paper_stand_beside_ours(tmp_path):
    builtin(tmp_path, "one", ["varierr"], answers="x")
    builtin(tmp_path, "floor", ["varierr"])
    reported = make_board(read_all(tmp_path))["reported"]
    (ours,) = reported["ours"]
    there = {s["metric"]: s["value"] for s in scored("label-guess")["scores"] if s["annotator"] is None}
    assert ours["submission"].endswith("_one")
    assert ours["values"][0] == there["label_accuracy"]
    assert len(ours["values"]) == len(reported["columns"]) == len(reported["ours_by"])
    assert [text.partition(":")[0] for text in reported["not_comparable"][:4]] == [
        "Model size", "Split", "Probe", "Formulas",
    ]  # fmt: skip


def test_a_broken_submission_stops_the_build_and_is_named(tmp_path):
    submission(tmp_path, "fine")
    (submission(tmp_path, "broken") / "README.md").unlink()
    with pytest.raises(RunError, match=r"20260527_broken: ERROR README.md: missing"):
        read_all(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="holds no submission"):
        read_all(tmp_path / "empty")


def test_the_same_submissions_make_the_same_bytes(place, tmp_path, monkeypatch):
    first = render(place)
    monkeypatch.setenv("HLVBENCH_DATA", str(tmp_path / "nowhere"))
    monkeypatch.chdir(tmp_path)
    assert render(place) == first
    build(place, tmp_path / "out")
    assert stale(place, tmp_path / "out") == {}
    (tmp_path / "out" / "index.html").write_text("changed")
    (tmp_path / "out" / "more.txt").write_text("")
    (tmp_path / "out" / ".DS_Store").write_text("x")
    told = stale(place, tmp_path / "out")
    assert list(told) == ["index.html", "more.txt"]
    assert told["more.txt"] == "remove it"


def test_the_document_keeps_to_its_schema(place):
    jsonschema = pytest.importorskip("jsonschema")
    files = render(place)
    schema = json.loads(files["schema.json"])
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(files["leaderboard.json"]), schema)
    broken = json.loads(files["leaderboard.json"])
    broken["tables"][0]["rows"][0]["rank"] = 0
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_the_page_is_well_formed_and_asks_for_nothing_outside(board):
    outline = Outline(page(board))
    for tag, attributes in outline.elements:
        for key in ("src", "srcset", "action", "data"):
            assert key not in attributes
        link = attributes.get("href", "")
        inside = ("#", "../submissions/", "leaderboard.json", "schema.json")
        assert not link or link == "data:," or link.startswith((*inside, "https://arxiv.org/", "https://github.com/"))
        assert "style" not in attributes
        assert tag not in ("img", "iframe", "object", "base")
        assert not [key for key in attributes if key.startswith("on")]
    ids = [a["id"] for _, a in outline.elements if "id" in a]
    assert len(ids) == len(set(ids))
    (policy,) = [a["content"] for _, a in outline.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'")


def test_names_from_outside_are_text_in_page_data_and_readme(board):
    evil = copy.deepcopy(board)
    name = EVIL.replace("\ud800", "").replace("\n", " ")
    for system in evil["systems"].values():
        system.update(system=name, authors=[name], description=name, base=name, marks=[name], commands=[name])
    source = page(evil)
    scripts = re.findall(r"<script[^>]*>", source)
    assert scripts == ['<script type="application/json" id="board">', "<script>"]
    inner = re.search(r'<script type="application/json" id="board">(.*?)</script>', source, re.S)[1]
    assert json.loads(inner)["systems"]["20260304_new"]["system"] == name
    assert "<img" not in source.replace(html.escape(name), "")
    assert "<script" not in readme(evil).replace("\\<script", "")


def test_the_interval_is_drawn_where_its_numbers_are(board):
    # 168 wide with margins of 6: 0 is at 6, 1 at 162, .5 at 84
    told = copy.deepcopy(board)
    row_of(told["tables"][0], "new")["index"].update(value=0.5, low=0.25, high=1.0)
    (drawn,) = re.findall(r'data-id="20260304_new".*?(<svg.*?</svg>)', page(told), re.S)
    assert 'cx="84.0"' in drawn
    assert 'x="44.5"' in drawn  # .25 is at 45, half a point of padding
    assert 'width="118.0"' in drawn  # from 44.5 to 162.5


@pytest.mark.parametrize(("p", "beyond", "shown"), [(1e-5, True, "~<.001"), (0.01, False, ".010")])
def test_a_p_beyond_what_replicates_resolve_is_marked(board, p, beyond, shown):
    told = copy.deepcopy(board)
    found = row_of(told["tables"][0], "new")["against"]["nearest"]
    found.update(p=p, beyond_resolution=beyond, difference=0.1, low=0.05, high=0.15, beats=True)
    (cell,) = re.findall(r'<td class="beats" [^>]*>.*?▲.*?</td>', page(told))
    assert cell.endswith(f" {html.escape(shown)}</span></td>")
    line = next(n for n in readme(told).splitlines() if n.startswith("|") and "System new" in n)
    assert f"| ▲ {shown} |" in line.replace("\\", "")


def test_the_leaderboard_of_the_repository_is_up_to_date_and_verified():
    if not (ROOT / "submissions").is_dir():
        pytest.skip("not a checkout: no submissions/")
    assert stale(ROOT / "submissions", ROOT / "leaderboard") == {}
    systems = make_board(read_all(ROOT / "submissions"))["systems"]
    assert {s["reference"] for s in systems.values()} >= set(REFERENCES)
    assert all(s["verified"] for s in systems.values())
