"""The main job end to end, as a user runs it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hlvbench.bootstrap import seeded
from hlvbench.cli import main
from hlvbench.data.task import load_task
from hlvbench.errors import RunError
from hlvbench.generation.run import claim, run
from hlvbench.io import read_generations, read_json
from hlvbench.prompting.parse import parse
from hlvbench.settings import Settings
from tests.tiny import tiny_model

HERE = Path(__file__).parents[2]

FOLDER = """
name = "mine"
version = "2"
source = "table"
kind = "nominal"
labels = ["yes", "no"]
instruction = "Decide yes or no and explain."
min_records = 5
[fields]
text = "Text"
[splits]
train = 0.6
dev = 0.2
test = 0.2
seed = 0
"""


@pytest.fixture
def tasks_dir(tmp_path: Path) -> Path:
    """A table task of 30 items and three annotators."""
    folder = tmp_path / "tasks" / "mine"
    folder.mkdir(parents=True)
    (folder / "task.toml").write_text(FOLDER)
    words = "sun moon star cloud rain snow wind storm frost dew".split()
    items = [{"id": str(n), "text": {"text": f"{words[n % 10]} over {words[n // 3]} number {n}"}} for n in range(30)]
    (folder / "items.jsonl").write_text("".join(json.dumps(i) + "\n" for i in items))
    records = [
        {"item": i["id"], "annotator": a, "label": "yes" if (n + k) % 3 else "no",
         "explanation": f"{['Since', 'Because', 'As'][k]} {i['text']['text']} is so."}
        for n, i in enumerate(items) for k, a in enumerate(("w1", "w2", "w3"))
    ]  # fmt: skip
    (folder / "annotations.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    return tmp_path / "tasks"


def hlvbench(*words: object) -> int:
    return main([str(w) for w in words])


def test_the_main_job_writes_every_file_of_the_contract_and_repeats_itself(tasks_dir, tmp_path, capsys):
    words = ["run", "--task", "mine", "--tasks-dir", tasks_dir, "--model", "reference:nearest", "-q"]
    assert hlvbench(*words, "--out", tmp_path / "one") == 0
    assert "mine@2 test: reference:nearest; 18 questions, 0 missing" in capsys.readouterr().out
    assert hlvbench(*words, "--out", tmp_path / "two") == 0
    for name in ("generations.jsonl", "answers.jsonl", "scores.json"):
        first, second = ((tmp_path / run / "mine" / name).read_bytes() for run in ("one", "two"))
        assert first == second
    manifest = json.loads((tmp_path / "one" / "manifest.json").read_text())
    assert set(manifest) >= {"command", "versions", "settings", "wall_seconds", "tasks", "git_revision", "hlvbench"}
    assert set(manifest["tasks"]["mine"]) >= {"data_sha256", "prompts_sha256", "new_tokens", "batch_size", "model"}
    assert (tmp_path / "one" / "report.md").read_text().startswith("# ")


def test_a_rescored_run_is_byte_identical(tasks_dir, tmp_path):
    out = tmp_path / "one"
    run(Settings("reference:random-own", task=("mine",)), out=out, tasks_dir=tasks_dir, quiet=True)
    before = (out / "mine" / "scores.json").read_bytes()
    (out / "mine" / "scores.json").unlink()
    assert hlvbench("score", out, "--tasks-dir", tasks_dir, "-q") == 0
    assert (out / "mine" / "scores.json").read_bytes() == before


def test_scoring_one_task_again_leaves_the_other_in_the_report(tasks_dir, tmp_path):
    shutil.copytree(tasks_dir / "mine", tasks_dir / "yours")
    path = tasks_dir / "yours" / "task.toml"
    path.write_text(path.read_text().replace('name = "mine"', 'name = "yours"'))
    out = run(Settings("reference:echo", task=("mine", "yours")), out=tmp_path / "two", tasks_dir=tasks_dir, quiet=True)
    before = (out / "report.md").read_text()
    assert hlvbench("score", out, "--task", "yours", "--tasks-dir", tasks_dir, "-q") == 0
    assert (out / "report.md").read_text() == before
    assert "mine@2" in before


def test_a_bare_file_of_three_columns_is_scored(tasks_dir, tmp_path, capsys):
    out = tmp_path / "one"
    run(Settings("reference:human", task=("mine",)), out=out, tasks_dir=tasks_dir, quiet=True)
    rows = [json.loads(line) for line in (out / "mine" / "generations.jsonl").read_text().splitlines()]
    bare = tmp_path / "bare.jsonl"
    bare.write_text("".join(json.dumps({k: r[k] for k in ("item", "annotator", "text")}) + "\n" for r in rows))
    words = ["score", bare, "--task", "mine", "--tasks-dir", tasks_dir, "--out", tmp_path / "scored", "--json"]
    capsys.readouterr()
    assert hlvbench(*words) == 0
    (document,) = json.loads(capsys.readouterr().out)
    assert (document["scores"][0]["metric"], document["scores"][0]["value"]) == ("label_accuracy", 1.0)


def test_limit_counts_items(tasks_dir, tmp_path):
    out = run(Settings("reference:human", task=("mine",), limit=2), out=tmp_path / "x", tasks_dir=tasks_dir, quiet=True)
    document = json.loads((out / "mine" / "scores.json").read_text())
    assert document["questions"] == 6
    assert "|limit:2|" in document["scores"][0]["signature"]


def test_a_scored_run_can_be_scored_again_on_its_first_items(tasks_dir, tmp_path):
    out = tmp_path / "one"
    run(Settings("reference:human", task=("mine",)), out=out, tasks_dir=tasks_dir, quiet=True)
    before = (out / "mine" / "scores.json").read_bytes()
    words = ["score", out, "--tasks-dir", tasks_dir, "--limit", "2", "-q"]
    assert hlvbench(*words) == 2
    assert (out / "mine" / "scores.json").read_bytes() == before
    assert hlvbench(*words, "--out", tmp_path / "two") == 0
    assert json.loads((tmp_path / "two" / "mine" / "scores.json").read_text())["questions"] == 6


def ragged(folder: Path, people: int, kind: str) -> Path:
    """A table of 60 items in three fields: a third of the pairs missing, some doubled, unicode, and one annotator with
    three records."""
    (folder / "ragged").mkdir(parents=True)
    labels = 'labels = ["öffnen", "schließen"]' if kind == "nominal" else "range = [0, 4]"
    (folder / "ragged" / "task.toml").write_text(
        f'name = "ragged"\nversion = "1"\nsource = "table"\nkind = "{kind}"\n{labels}\nmin_records = 4\n'
        'instruction = "Decide."\n[fields]\na = "A"\nb = "B"\nc = "C"\n'
        "[splits]\ntrain = 0.5\ndev = 0.25\ntest = 0.25\nseed = 1\n"
    )
    rng = seeded("ragged", people, kind)
    values = ["öffnen", "schließen"] if kind == "nominal" else list(range(5))
    items = [{"id": f"i{n}", "text": {f: f"{f} text {n} {'ñ漢字😀'[n % 4]}" for f in "abc"}} for n in range(60)]
    records = []
    for item in items:
        for person in range(people):
            if rng.random() < 0.3:
                continue
            for label in rng.permutation(len(values))[: 1 + int(rng.random() < 0.1)]:
                text = f"Grund {person}: {item['text']['a']} … {rng.integers(9)}"
                records.append(
                    {"item": item["id"], "annotator": f"p{person}", "label": values[label], "explanation": text}
                )
    records += [
        {"item": f"i{n}", "annotator": "rare", "label": values[0], "explanation": f"selten {n}"} for n in range(3)
    ]
    for name, rows in (("items", items), ("annotations", records)):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / "ragged" / f"{name}.jsonl").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("people", "kind"), [(2, "nominal"), (2, "ordinal"), pytest.param(30, "nominal", marks=pytest.mark.slow)]
)
def test_a_ragged_table_of_any_number_of_annotators_goes_the_whole_way(people, kind, tmp_path):
    tasks = ragged(tmp_path / "tasks", people, kind)
    settings = Settings("reference:human", task=("ragged",))
    out = run(settings, out=tmp_path / "run", tasks_dir=tasks, quiet=True)
    document = json.loads((out / "ragged" / "scores.json").read_text())
    assert document["unscored_annotators"] == ["rare"]
    assert document["missing"] == 0
    assert {s["annotator"] for s in document["scores"]} == {None, *(f"p{k}" for k in range(people))}
    by_name = {(s["metric"], s["annotator"]): s for s in document["scores"]}
    assert by_name["label_accuracy", None]["value"] == 1.0
    # 15 test items: no annotator has fifty answers, and that is said, not computed on fewer
    assert by_name["imitation_score@50", None]["value"] is None
    assert "needs 50" in by_name["imitation_score@50", None]["note"]
    assert all(s["value"] is not None or s["note"] for s in document["scores"])
    assert "ragged@1" in (out / "report.html").read_text()


def test_the_default_folder_is_a_function_of_the_settings_alone():
    one, again = (Settings("org/Some-Model", prompt="icl", adapter_dir="ads/x/") for _ in range(2))
    assert one.folder() == again.folder()
    assert one.folder().startswith("Some-Model-icl-x-")
    assert one.folder() != Settings("org/Some-Model", prompt="icl", adapter_dir="ads/x/", seed=1).folder()
    assert Settings("reference:human").folder().startswith("reference-human-base-")


def test_a_folder_of_other_settings_is_refused_and_the_difference_named(tasks_dir, tmp_path):
    out = tmp_path / "one"
    run(Settings("reference:human", task=("mine",)), out=out, tasks_dir=tasks_dir, quiet=True)
    with pytest.raises(RunError, match=r"model: there 'reference:human', now 'reference:echo'(.|\n)*seed: there 0"):
        claim(out, Settings("reference:echo", task=("mine",), seed=3))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    with pytest.raises(RunError, match="not a run"):
        claim(tmp_path / "other", Settings("reference:echo"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["run", "--task", "nope", "--model", "reference:human"],
            "known tasks: convarg, convarg-all, demo, r2, varierr",
        ),
        (["run", "--task", "mine", "--model", "reference:humn"], "no such reference; there are human, "),
        (["run", "--task", "mine", "--model", "/no/such/place"], "/no/such/place"),
        (["run", "--task", "mine", "--model", "reference:human", "--limit", "0", "--samples", "0"], "--samples 0"),
        (["run", "--task", "mine,mine", "--model", "reference:human"], "each task once"),
        (["run", "--task", "mine", "--model", "reference:human", "--adapter-dir", "x"], "neither --adapter-dir"),
        (["score", "/no/such/run"], "no such run folder"),
        (["compare", "a", "b", "--table", "--json"], "give one of them"),
        (["score", ".", "--task", "mine"], "no run folder"),
        (["run", "--config", "/no/such.toml", "--model", "reference:human"], "no such file"),
    ],
)
def test_bad_input_is_one_message_and_exit_2(words, expected, tasks_dir, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hlvbench(*words, *([] if words[0] == "compare" else ["--tasks-dir", tasks_dir])) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert not (tmp_path / "runs").exists()


def test_a_config_file_gives_any_option_and_the_command_line_wins(tasks_dir, tmp_path):
    config = tmp_path / "c.toml"
    config.write_text(
        f'task = ["mine"]\nmodel = "reference:human"\nseed = 5\nlimit = 3\ntasks-dir = "{tasks_dir}"\nquiet = true\n'
    )
    assert hlvbench("run", "--config", config, "--limit", "2", "--out", tmp_path / "r") == 0
    settings = json.loads((tmp_path / "r" / "settings.json").read_text())
    assert (settings["seed"], settings["limit"], settings["model"]) == (5, 2, "reference:human")


def test_an_unknown_option_in_a_config_file_is_named(tmp_path, capsys):
    config = tmp_path / "c.toml"
    config.write_text('modle = "x"\n')
    assert hlvbench("run", "--config", config) == 2
    assert "modle" in capsys.readouterr().err


def test_tasks_lists_what_is_there(tasks_dir, capsys):
    assert hlvbench("tasks", "--tasks-dir", tasks_dir, "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert {"varierr", "r2", "demo", "mine"} <= set(rows)
    assert rows["mine"]["annotators"] == ["w1", "w2", "w3"]


def test_without_data_one_message_says_where_to_get_what(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("HLVBENCH_DATA", raising=False)
    assert hlvbench("run", "--model", "reference:human", "--data-dir", tmp_path, "--out", tmp_path / "r") == 2
    message = capsys.readouterr().err
    assert "mainlp/VariErr-NLI" in message
    assert "Le-Wi-Di" in message


def test_a_dry_run_asks_nothing_and_shows_the_prompt(tasks_dir, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["generate", "--dry-run", "--task", "mine", "--tasks-dir", tasks_dir, "--model", "reference:human"]
    assert hlvbench(*words) == 0
    out = capsys.readouterr().out
    assert "questions: 18" in out
    assert (
        "You are annotator w1. Decide yes or no and explain.\n    | Answer in two lines. The first line is `Label:`"
        in out
    )
    assert not (tmp_path / "runs").exists()


def test_the_module_runs_as_a_program():
    found = subprocess.run(
        [sys.executable, "-m", "hlvbench", "--version"], cwd=HERE, capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith("hlvbench 0.")


@pytest.mark.parametrize(
    ("task", "name", "questions", "majority", "grounding"),
    [("varierr", "human", 371, 0.505, 0.861), ("r2", "random-own", 400, 0.263, 0.054)],
)
@pytest.mark.slow
def test_a_run_on_the_real_data_has_the_published_values(
    data_dir, tmp_path, task, name, questions, majority, grounding
):
    """docs/metrics.md sections 3 and 5; random-own is one draw of many, so the margin is .03. The other references:
    tests/metrics/test_grounding.py."""
    out = run(Settings(f"reference:{name}", task=(task,)), out=tmp_path, data_dir=data_dir, quiet=True)
    document = json.loads((out / task / "scores.json").read_text())
    assert (document["questions"], document["missing"]) == (questions, 0)
    assert document["majority"]["mean"] == pytest.approx(majority, abs=0.002)
    found = next(s for s in document["scores"] if s["signature"].startswith("grounding(view=raw)"))
    assert found["value"] == pytest.approx(grounding, abs=0.03)


def test_a_model_without_a_chat_template_is_told_of_before_it_answers(tmp_path, capsys):
    model = tiny_model(tmp_path / "bare", chat=False)
    words = ["generate", "--task", "demo", "--model", model, "--limit", "1", "--max-new-tokens", "24", "--out"]
    assert hlvbench(*words, tmp_path / "free") == 0
    assert "has no chat template: under --prompt base it will hardly answer in the format; use --answers" in (
        capsys.readouterr().err
    )
    assert hlvbench(*words, tmp_path / "constrained", "--answers", "constrained") == 0
    assert "no chat template" not in capsys.readouterr().err
    rows = read_generations(tmp_path / "constrained" / "demo" / "generations.jsonl")
    assert all(parse(row.text, load_task("demo")).label for row in rows)


def test_constrained_answers_stand_in_the_signature(tmp_path, capsys):
    model = tiny_model(tmp_path / "model")
    out = tmp_path / "run"
    words = ["--task", "demo", "--model", model, "--limit", "2", "--max-new-tokens", "24", "--answers", "constrained"]
    assert hlvbench("run", *words, "--out", out, "-q") == 0
    document = read_json(out / "demo" / "scores.json")
    assert document["missing"] == 0
    assert all("|prompt:2|answers:constrained|" in row["signature"] for row in document["scores"])
    assert read_json(out / "settings.json")["prompt_version"] == 2


def test_constrained_answers_are_not_asked_of_what_writes_its_own(capsys):
    assert hlvbench("run", "--task", "demo", "--model", "reference:human", "--answers", "constrained") == 2
    assert "--answers constrained: is for local models and endpoints" in capsys.readouterr().err
