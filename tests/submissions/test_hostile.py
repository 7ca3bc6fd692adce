"""Submissions from people who mean harm: each ends in a clear error, and nothing of it runs, hangs or is believed."""

from __future__ import annotations

import copy
import datetime
import json
import os
import tomllib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hlvbench.errors import DataError
from hlvbench.results.score_check import check_submitted
from hlvbench.submissions import Findings, read_submission
from hlvbench.submissions.answers import to_generations
from hlvbench.submissions.card import Card, to_toml
from hlvbench.submissions.safe_reading import files_of, read_untrusted
from hlvbench.text import hidden
from tests.boards import card_problems, scored, submission

SLOW_DISK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def errors(folder):
    findings = Findings()
    read_submission(folder, findings)
    return [str(f) for f in findings.errors()]


def card_of(folder):
    return tomllib.loads((folder / "submission.toml").read_text())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe{}", "not UTF-8"),
        (b'{"a": NaN}', "not valid JSON"),
        (b'{"a": -Infinity}', "not valid JSON"),
        (b'{"a": 1e999}', "infinite"),
        (b'{"a": 1, "a": 2}', "stands twice"),
        (b"[" * 100_000 + b"]" * 100_000, "not valid JSON: maximum recursion"),
        (b"[" * 40 + b"]" * 40, "nested"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b'{"a": 99999999999999999999}', "2^53"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (json.dumps({"a": "x" * 1_000_001}).encode(), "1,000,001 characters"),
    ],
)
def test_json_that_no_honest_file_holds_is_refused(tmp_path, content, said):
    path = tmp_path / "settings.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said.replace("^", r"\^")):
        read_untrusted(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a = 1\na = 2", "not valid TOML"),
        ("a = inf", "infinite"),
        ("a = nan", "infinite or not a number"),
        ("a = " + "[" * 5000 + "]" * 5000, "nested|not valid"),
        ('a = "\x00"', "not valid TOML"),
        ("a = 99999999999999999999", "2.53"),
        ("a = " + "9" * 5000, "not valid TOML"),
    ],
)
def test_toml_that_no_honest_file_holds_is_refused(tmp_path, content, said):
    path = tmp_path / "submission.toml"
    path.write_text(content)
    with pytest.raises(DataError, match=said):
        read_untrusted(path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"\xff", "^not UTF-8"),
        (b"[1]", "line 3: an object was expected, got list"),
        (b'{"a": NaN}', "line 3: NaN is not JSON"),
        (b'{"a": 1e999}', "^line 3: a number that is infinite"),
        (b'{"a": "\\ud800"}', "^line 3: half of a character"),
        (b'{"a": ' + b"9" * 5000 + b"}", "line 3: Exceeds the limit"),
        (b'{"a": ' * 30 + b"1" + b"}" * 30, "^line 3: nested deeper"),
        (b'{"a": ' * 100_000, "line 3: .*recursion"),
    ],
)
def test_rows_that_no_honest_file_holds_are_named_by_their_line(tmp_path, line, said):
    path = tmp_path / "generations.jsonl"
    path.write_bytes(b'{"a": 1}\n\n' + line + b"\n")
    with pytest.raises(DataError, match=said) as caught:
        read_untrusted(path)
    assert str(tmp_path) not in str(caught.value)


def test_a_million_rows_are_counted_before_they_are_parsed(tmp_path):
    path = tmp_path / "generations.jsonl"
    path.write_bytes(b"{}\n" * 1_000_000)
    with pytest.raises(DataError, match="more than 500,000 rows"):
        read_untrusted(path)


ROW = {"item": "a", "annotator": "b", "sample": 0, "text": "", "finish": "", "new_tokens": 0, "prompt_sha256": ""}


@pytest.mark.parametrize("row", [{}, {"item": 1}, {**ROW, "sample": True}, {**ROW, "text": None}, {**ROW, "more": ""}])
def test_rows_with_fields_of_another_type_are_refused(row):
    with pytest.raises(DataError, match="problems in its rows"):
        to_generations([row])


def _link(folder):
    (folder / "toy" / "profiles.json").symlink_to("/etc/hostname")


def _linked_folder(folder):
    (folder / "more").symlink_to("/etc")


def _pipe(folder):
    os.mkfifo(folder / "toy" / "profiles.json")


def _foreign(folder):
    (folder / "toy" / "adapter.bin").write_bytes(b"x")


def _odd_name(folder):
    (folder / "toy" / "a\u202eb.json").write_text("{}")


def _bad_bytes(folder):
    os.close(os.open(os.fsencode(folder) + b"/\xff\xfe.json", os.O_CREAT))


def _deep(folder):
    (folder / "a" / "b" / "c" / "d" / "e").mkdir(parents=True)
    (folder / "a" / "b" / "c" / "d" / "e" / "x.json").write_text("{}")


def _many(folder):
    for number in range(20_000):
        (folder / "toy" / f"x{number}").write_text("")


def _huge(folder):
    with open(folder / "README.md", "wb") as stream:
        stream.truncate(1 << 40)  # a sparse file: a terabyte that takes no room


def _huge_scores(folder):
    with open(folder / "toy" / "scores.json", "wb") as stream:
        stream.truncate((100 << 20) + 1)


@pytest.mark.parametrize(
    ("harm", "said"),
    [(_link, "a symbolic link"), (_linked_folder, "a symbolic link"), (_pipe, "not a regular file"),
     (_foreign, "not a file of a submission"), (_odd_name, "not a file of a submission"),
     (_bad_bytes, "not a file of a submission"),
     (_deep, "not a file of a submission"), (_many, "more than 20,000 files"), (_huge, "at most 104,857,600 are read"),
     (_huge_scores, "104,857,601 bytes; at most")],
)  # fmt: skip
def test_what_is_no_plain_small_file_is_refused_unopened(tmp_path, harm, said):
    folder = submission(tmp_path)
    harm(folder)
    found = errors(folder)
    assert any(said in error for error in found)
    assert all("\u202e" not in error for error in found)


def test_folders_nested_deeper_than_python_recurses_are_refused(tmp_path):
    folder = submission(tmp_path)
    nested = [folder / ("a/" * depth) for depth in range(1, 1200)]
    for inner in nested:
        inner.mkdir()
    try:
        assert errors(folder)[0] == "ERROR .: folders are nested too deeply"
    finally:
        # pytest's own clean-up recurses, too
        for inner in reversed(nested):
            inner.rmdir()


def test_a_submission_that_is_itself_a_link_is_refused(tmp_path):
    folder = submission(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to(folder)
    assert any("a submission is a folder" in error for error in errors(tmp_path / "link"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"system": "a\u202eb"}, "system: holds U+202E"),
        ({"system": "a\x1b[31mb"}, "U+001B"),
        ({"system": "a\u200bb"}, "U+200B"),
        ({"system": "x" * 81}, "at most 80"),
        ({"system": "two\nlines"}, "one line"),
        ({"system": ["x"]}, "system: Input should be a valid string"),
        ({"authors": []}, "authors: List should have at least 1 item"),
        ({"authors": ["ok"] * 61}, "at most 60 items"),
        ({"links": {"paper": "javascript:alert(1)"}}, "links.paper: a link begins with https://"),
        ({"links": {"paper": "data:text/html,x"}}, "https://"),
        ({"links": {"paper": "https://a.org/\"onclick=x"}}, "not a link"),
        ({"links": {"paper": "https://user@a.org/"}}, "https://"),
        ({"links": {"paper": "https://a.org:99999/"}}, "links.paper: Port out of range"),
        ({"links": {"evil": "https://a.org/"}}, "links.evil.[key]: Input should be 'paper'"),
        ({"name": "../../etc"}, "name: String should match pattern"),
        ({"method": "<b>"}, "method: Input should be 'base'"),
        ({"files": {"../x": "0" * 64}}, "files.../x.[key]: String should match pattern"),
        ({"generations": {"../x": "0" * 64}}, "generations.../x.[key]: String should match pattern"),
        ({"recipe": "reference:../x"}, "neither reference:NAME"),
        ({"recipe": "reference:nearest"}, "method must be reference"),
        ({"cost": {"usd": -1}}, "cost.usd: Input should be greater than or equal to 0"),
        ({"cost": {"usd": True}}, "cost.usd: Input should be a valid number"),
        ({"format": True}, "format: Input should be a valid integer"),
        ({"format": 2}, "less than or equal to 1"),
        ({"base": {"name": "/" + "home/me/model"}}, "base.name: holds the local path"),
        ({"unknown": 1}, "unknown: is not a key here"),
    ],
)  # fmt: skip
def test_a_card_with_harm_in_it_is_refused(tmp_path, changes, said):
    card = {**card_of(submission(tmp_path)), **changes}
    assert any(said in problem for problem in card_problems(card))


def test_markup_in_a_name_is_only_a_name(tmp_path):
    assert errors(submission(tmp_path, system="<script>alert(1)</script>")) == []


def test_a_readme_may_hold_markup_but_no_hidden_characters(tmp_path):
    folder = submission(tmp_path)
    (folder / "README.md").write_text("<script>alert(1)</script> [x](javascript:alert(1))\n")
    assert errors(folder) == []
    (folder / "README.md").write_text("safe\u202etxt.exe\n")
    assert any("U+202E" in error for error in errors(folder))


@pytest.mark.parametrize("char", ["\u202a", "\u2066", "\u200e", "\ufeff", "\x7f", "\x85", "\u2028", "\U000e0041"])
def test_characters_that_a_reader_cannot_see_are_named(char):
    assert hidden(f"a{char}b").startswith("U+")


def test_letters_of_all_scripts_are_welcome():
    # the second word has the joiner that Persian needs
    assert hidden("Ångström می\u200cخواهم 北京 हिन्दी 😀 naïve") == ""


SMALL = {
    "format": 1, "name": "one", "date": datetime.date(2026, 5, 27), "system": "One", "method": "base",
    "authors": ["A"], "training": {"annotators": "none", "splits": [], "lewidi": False},
    "reproduce": {"commands": ["hlvbench run"]}, "generations": {}, "files": {},
}  # fmt: skip


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
@settings(max_examples=200, deadline=None)
def test_any_value_as_scores_gives_problems_and_no_crash(value):
    assert check_submitted(value, "toy")


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_score_document_with_any_one_part_replaced_never_crashes(data):
    document = json.loads(json.dumps({**scored("nearest"), "scores": scored("nearest")["scores"][:6]}))
    place = document
    for _ in range(data.draw(st.integers(0, 4))):
        inner = list(place) if isinstance(place, dict) else list(range(len(place)))
        inner = [key for key in inner if isinstance(place[key], dict | list) and place[key]]
        if not inner:
            break
        place = place[data.draw(st.sampled_from(inner))]
    key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else list(range(len(place)))))
    place[key] = data.draw(JSON)
    check_submitted(document, "toy")


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_card_with_any_one_part_replaced_never_crashes_and_never_hides_text(data):
    card = dict(SMALL)
    key = data.draw(st.sampled_from([*card, "recipe", "cost", "base", "verified", "adapters"]))
    card[key] = data.draw(JSON | st.text(max_size=100))
    problems = card_problems(card)
    if key in ("system", "method", "name") and not any(p.startswith(f"{key}:") for p in problems):
        assert isinstance(card[key], str)
        assert not hidden(card[key])


@given(st.binary(max_size=300), st.sampled_from(["submission.toml", "settings.json", "manifest.json", "toy/scores.json",
                                                  "README.md", "toy/profiles.json", "train/a.toml"]))  # fmt: skip
@SLOW_DISK
def test_any_bytes_in_any_file_end_in_errors(tmp_path_factory, content, name):
    folder = submission(tmp_path_factory.mktemp("fuzz"), files={} if name in ("submission.toml",) else {name: content})
    if name == "submission.toml":
        (folder / name).write_bytes(content)
    found = errors(folder)
    harmless = name == "README.md" or name.endswith(("profiles.json", "a.toml"))
    assert found or harmless


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_every_card_text_survives_toml(text):
    try:
        card = Card.model_validate({**SMALL, "description": text})
    except ValidationError:
        return
    assert tomllib.loads(to_toml(card)) == {**SMALL, **({"description": text} if text else {})}


def test_entries_are_listed_by_their_path(tmp_path):
    found, problems = files_of(submission(tmp_path))
    assert sorted(found) == [
        "README.md", "manifest.json", "settings.json", "submission.toml", "toy/generations.jsonl", "toy/scores.json",
    ]  # fmt: skip
    assert problems == []


def test_a_task_of_thousands_of_annotators_is_within_the_limits(tmp_path):
    document = copy.deepcopy(scored("nearest"))
    del document["details"]
    first = next(s for s in document["scores"] if s["annotator"] == "Ann1")
    document["scores"] += [{**first, "annotator": f"w{n}"} for n in range(20_000)]
    first["note"] = "x" * 100_000
    assert errors(submission(tmp_path / "a", document=document)) == []
    first["note"] = "x" * 500_001
    assert any("not a plain short text" in error for error in errors(submission(tmp_path / "b", document=document)))
