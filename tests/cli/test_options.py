"""Options: derived from the settings classes, offered where they are used, read from --config files."""

from __future__ import annotations

import argparse
import io
import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from hlvbench.cli import SUBCOMMANDS, build_parser, main, subparsers
from hlvbench.cli.options import add_settings, apply_config, described, pairs, settings_from_options
from hlvbench.errors import UsageError
from hlvbench.settings import Service, Settings

from ..chat_server import chat_server, said

PARSERS = subparsers(build_parser())


@dataclass(frozen=True)
class Example:
    """An example.

    Args:
        name: who it is
        count: how many,
            over two lines
        kind: 100 % of the kinds.
    """

    name: str
    count: Annotated[int, Field(ge=1)] = 3
    kind: Literal["a", "b"] = "a"
    share: float | None = None
    loud: bool = False
    who: tuple[str, ...] = ("x",)
    extra: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser("example", allow_abbrev=False)
    made.add_argument("--off", dest="here", action="store_const", const=False)
    add_settings(made, Example, "name count kind share loud who extra", kind={"metavar": "KIND"})
    return made


def test_options_have_the_types_choices_defaults_and_texts_of_the_settings(parser: argparse.ArgumentParser) -> None:
    assert described(Example) == {
        "name": "who it is",
        "count": "how many, over two lines",
        "kind": "100 % of the kinds",
    }
    text = " ".join(parser.format_help().split())
    assert "--count N how many, over two lines (default: 3)" in text
    assert "--kind KIND 100 % of the kinds (default: a)" in text
    assert settings_from_options(Example, parser.parse_args(["--name", "n"])) == Example("n")
    words = ["--name", "n", "--count", "2", "--kind", "b", "--share", "0.5", "--loud"]
    words += ["--who", "y,z", "--who", "v", "--extra", "k=1", "--extra", "l=2"]
    made = settings_from_options(Example, parser.parse_args(words))
    assert made == Example("n", 2, "b", 0.5, True, ("y", "z", "v"), {"k": "1", "l": "2"})
    for wrong in (["--count", "2"], ["--name", "n", "--count", "x"], ["--name", "n", "--kind", "c"]):
        with pytest.raises(SystemExit):
            parser.parse_args(wrong)


def test_a_config_file_sets_defaults_that_the_command_line_replaces(
    parser: argparse.ArgumentParser, tmp_path: Path
) -> None:
    path = tmp_path / "c.toml"
    path.write_text('name = "n"\ncount = 5\nloud = true\noff = true\nwho = ["y", "z"]\nextra = { k = true, l = 2 }\n')
    apply_config(parser, path)
    made = Example("n", 5, loud=True, who=("y", "z"), extra={"k": "true", "l": "2"})
    assert settings_from_options(Example, parser.parse_args([])) == made
    assert parser.parse_args([]).here is False
    assert settings_from_options(Example, parser.parse_args(["--who", "v", "--count", "1"])).who == ("v",)


def test_a_config_file_names_judges_that_the_command_line_replaces(tmp_path: Path) -> None:
    path, own = tmp_path / "c.toml", subparsers(build_parser(["judge"]))["judge"]
    for text, judges in (('"hf:a,b=1"', ("hf:a,b=1",)), ('["m", "stylometric"]', ("m", "stylometric"))):
        path.write_text(f"judge = {text}\n")
        apply_config(own, path)
        assert own.parse_args(["run"]).judge == judges
        assert own.parse_args(["run", "--judge", "x", "--judge", "y"]).judge == ("x", "y")


def test_all_values_of_a_config_file_that_do_not_fit_are_told_at_once(
    parser: argparse.ArgumentParser, tmp_path: Path
) -> None:
    path = tmp_path / "c.toml"
    path.write_text('count = "x"\nkind = "c"\nloud = 1\nshare = true\nwho = [1]\nname = ["n", "m"]\nextra = "k"\n')
    with pytest.raises(UsageError) as caught:
        apply_config(parser, path)
    assert [line.strip().partition(": ")[0] for line in str(caught.value).splitlines()[1:]] == [
        "count = 'x'", "kind = 'c'", "loud = 1", "share = True", "who = [1]", "name = ['n', 'm']", "extra = 'k'",
    ]  # fmt: skip
    path.write_text("countt = 1\nnamme = 2\nhelp = true\n")
    with pytest.raises(UsageError, match=r"(?s)options that `example` does not have:.*countt.*help.*namme"):
        apply_config(parser, path)


@pytest.mark.parametrize(
    ("text", "mapping"),
    [
        ("a=1,b=2", {"a": "1", "b": "2"}),
        ('a={"x":1, "y":[2,3]},t/b=x=y', {"a": '{"x":1, "y":[2,3]}', "t/b": "x=y"}),
        (r'a={"x":"\"1,b=2"},b=3', {"a": r'{"x":"\"1,b=2"}', "b": "3"}),
        ("a=1,", {"a": "1"}),
        ("a=", None),
        ("a=1,=2", None),
        ("a", None),
        ("", None),
    ],
)
def test_pairs_are_separated_by_the_commas_before_a_key(text: str, mapping: dict[str, str] | None) -> None:
    if mapping is None:
        with pytest.raises(argparse.ArgumentTypeError, match="expected KEY=VALUE"):
            pairs(text)
    else:
        assert pairs(text) == mapping


def test_every_setting_is_an_option_with_a_text() -> None:
    options = {action.dest: action for action in PARSERS["run"]._actions}
    for settings in (Settings, Service):
        for own in fields(settings):
            if own.name != "prompt_version":
                assert options[own.name].help


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_option_has_a_help_text(name: str) -> None:
    silent = [action.option_strings for action in PARSERS[name]._actions if not action.help]
    assert [option for option in silent if option] == []


LIMITED = {"run", "generate", "score", "demo"}
SEEDED = {"run", "generate", "score", "analyze", "audit", "judge", "human-study", "train"}
QUIET = LIMITED | {"fetch", "audit", "judge", "train", "submit", "check"}
WITHOUT_JSON = {"demo", "card"}


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_only_options_that_do_something_are_offered(name: str) -> None:
    offered = {option for action in PARSERS[name]._actions for option in action.option_strings}
    assert ("--limit" in offered) == (name in LIMITED)
    assert ("--seed" in offered) == (name in SEEDED)
    assert ("--quiet" in offered) == (name in QUIET)
    assert ("--json" in offered) == (name not in WITHOUT_JSON)
    assert {"--config", "--debug"} <= offered


def test_the_seed_of_a_run_cannot_be_changed_by_scoring_it_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", str(tmp_path), "--seed", "3"]) == 2
    assert "which has its own seed" in capsys.readouterr().err


def test_no_resume_keeps_the_answers_of_an_endpoint_without_yes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with chat_server(lambda body, n: said(f"Label: neutral\nExplanation: {n}")) as server:
        words = ["generate", "--task", "demo", "--limit", "2", "--model", "endpoint:m", "--base-url", server.url]
        words += ["--out", str(tmp_path / "run"), "-q"]
        assert main(words) == 0
        calls, path = len(server.bodies), tmp_path / "run" / "demo" / "generations.jsonl"
        before = path.read_bytes()
        assert main([*words, "--no-resume"]) == 2
        assert f"--no-resume would delete {calls} answers of endpoint:m" in capsys.readouterr().err
        assert (path.read_bytes(), len(server.bodies)) == (before, calls)
        assert main([*words, "--no-resume", "--yes"]) == 0
        assert len(server.bodies) == 2 * calls


def test_no_resume_starts_a_local_run_again(tmp_path: Path) -> None:
    words = ["run", "--task", "demo", "--limit", "2", "--model", "reference:majority", "--out", str(tmp_path), "-q"]
    assert main(words) == 0
    assert main([*words, "--no-resume"]) == 0
    assert json.loads((tmp_path / "demo" / "scores.json").read_text())["missing"] == 0


def test_a_full_disk_is_one_message_with_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    words = [
        "run",
        "--task",
        "demo",
        "--limit",
        "2",
        "--model",
        "reference:majority",
        "--out",
        str(tmp_path / "r"),
        "-q",
    ]
    assert main(words) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"hlvbench: {tmp_path / 'r'}/")
    assert message.endswith(": No space left on device\n")


def test_an_argument_that_is_no_utf_8_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--model", "reference:majority", "--out", "x\udcff"]) == 2
    assert "'x\\udcff': not valid UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--model", "m", "--task", "demo", "--adapter-dir", ""], "--adapter-dir: is empty"),
        (["run", "--model", "", "--task", "demo"], "--model: is empty"),
        (["run", "--model", "m", "--task", "demo", "--annotator", ","], "--annotator: is empty"),
        (["audit", "--task", ""], "one task or more was expected"),
        (["analyze", "--task", "demo,demo"], "--task demo,demo: one task or more was expected, each once"),
        (["demo", "--limit", "0"], "--limit"),
        (["check", "--write", "--no-rescore", "folder"], "leave --no-rescore out"),
    ],
)
def test_what_would_do_nothing_or_all_is_refused(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert said in capsys.readouterr().err


def test_scores_of_a_file_do_not_replace_those_of_a_run(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "settings.json").write_text("{}")
    (tmp_path / "answers.jsonl").write_text("")
    words = ["score", str(tmp_path / "answers.jsonl"), "--task", "demo", "--out", str(tmp_path / "run")]
    assert main(words) == 2
    assert "is a run folder, whose own scores would be overwritten" in capsys.readouterr().err


def test_a_terminal_that_is_not_utf8_gets_escapes_and_no_traceback(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stderr", stream)
    assert main(["score", "κ"]) == 2
    stream.seek(0)
    assert "\\u03ba: no such run folder or file" in stream.read()
