"""The Python side: texts in, scores out; methods, models and metrics from outside; datasets in and out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from hlvbench.api import Settings, from_dataset, load_task, register_method, run, score_texts, to_dataset
from hlvbench.cli import main
from hlvbench.errors import DataError, HlvbenchError, MetricError, ModelError, TaskError, UsageError
from hlvbench.generation import open_model
from hlvbench.io import read_generations
from hlvbench.metrics import REGISTRY, bind, registry, scorecard
from tests.generation.test_run import tasks_dir  # noqa: F401
from tests.toy import toy_task

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def task(tasks_dir):  # noqa: F811
    return load_task("mine", tasks_dir=tasks_dir)


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(open_model, "_REGISTERED", {})


def test_a_list_of_texts_is_scored_in_question_order(task):
    gold = [task.by_pair[pair][0].label for pair in task.questions("test")]
    texts = [f"Label: {label}\nExplanation: so" for label in gold]
    texts[0] = "Label: " + ("yes" if gold[0] == "no" else "no")
    scores = score_texts(task, texts, replicates=20)
    first = task.questions("test")[0][1]
    # each of three annotators is asked six times: 5/6, 1, 1
    assert scores["label_accuracy"].value == pytest.approx((5 / 6 + 2) / 3, abs=1e-6)
    assert scores.of("label_accuracy", first).value == pytest.approx(5 / 6, abs=1e-6)
    assert scores.questions == 18
    with pytest.raises(KeyError, match="not in this scorecard"):
        scores["label_error"]


def test_a_mapping_may_lack_questions_and_a_list_may_not(task):
    pairs = task.questions("test")
    scores = score_texts(task, {pairs[0]: "Label: yes"}, replicates=5)
    assert scores.missing == 17
    for texts in (["Label: yes"], "Label: yes"):
        with pytest.raises(UsageError, match="has 18 questions"):
            score_texts(task, texts)


def test_a_dataset_goes_out_and_comes_back_as_the_same_task(task, tmp_path):
    rows = to_dataset(task)
    assert set(rows.column_names) == {"item", "split", "annotator", "label", "explanation", "text"}
    assert len(rows) == len(task.records)
    assert len(to_dataset(task, "dev")) == len(task.records_of("dev"))
    words = {"kind": "nominal", "labels": ["yes", "no"], "fields": {"text": "Text"}, "min_records": 5}
    back = from_dataset(rows, tmp_path / "again", instruction=task.instruction, **words)
    for name in ("labels", "fields", "annotators", "splits", "records", "items", "instruction"):
        assert getattr(back, name) == getattr(task, name)


def test_rows_without_splits_get_them_and_an_ordinal_task_its_range(tmp_path):
    source = toy_task("ordinal", annotators=2)
    rows = to_dataset(source).remove_columns("split")
    words = {"labels": list(range(-5, 6)), "fields": dict(source.fields), "instruction": 'Say "how much".'}
    back = from_dataset(rows, tmp_path / "toy2", kind="ordinal", **words)
    assert back.labels == tuple(range(-5, 6))
    assert sum(map(len, back.splits.values())) == len(source.items)
    assert back.instruction == 'Say "how much".'


def test_rows_that_make_no_task_are_told(task, tmp_path):
    words = {"kind": "nominal", "labels": ["yes", "no"], "fields": {"text": "Text"}, "instruction": "Decide."}
    with pytest.raises(DataError, match=r"(?s)no column 'explanation'.*no column 'text'"):
        from_dataset([{"item": "1", "annotator": "a", "label": "yes"}], tmp_path / "a", **words)
    rows = [{**row, "label": "perhaps"} for row in to_dataset(task)]
    with pytest.raises(TaskError, match="perhaps"):
        from_dataset(rows, tmp_path / "b", **words)
    with pytest.raises(UsageError, match="is there already"):
        from_dataset(rows, tmp_path, **words)


WORDS = {"kind": "nominal", "labels": ["yes", "no"], "fields": {"text": "Text"}, "instruction": "Decide."}


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("text", "another text", r"item '0': rows 1 and 4 give it two different texts in text"),
        ("explanation", float("nan"), r"row 4: explanation: nan is no value; a record without .* None"),
        ("label", float("nan"), r"row 4: label: nan is no value"),
        ("text", float("inf"), r"row 4: text: inf is no value"),
        ("annotator", "w\ud800", r"row 4: annotator: half of a surrogate pair"),
        ("label", ["yes"], r"row 4: label: a text or a number is needed, got list"),
        ("split", float("nan"), r"row 4: split: nan is no value"),
        # what the table reader finds: the row is the line
        ("label", "perhaps", r"annotations\.jsonl:4: label: unknown label 'perhaps'"),
        ("label", None, r"annotations\.jsonl:4: label: unknown label None"),
        ("split", "validation", r"unknown key 'validation'"),
    ],
)
@pytest.mark.parametrize("empty", [False, True], ids=["no folder", "an empty folder"])
def test_rows_that_cannot_be_kept_are_named_and_leave_nothing_behind(task, tmp_path, column, value, told, empty):
    rows = [{**row, "item": str(n // 4)} for n, row in enumerate(to_dataset(task))]
    rows = [{**row, "text": f"text {row['item']}", "split": rows[int(row["item"]) * 4]["split"]} for row in rows]
    rows[3][column] = value
    made = tmp_path / "made"
    if empty:
        made.mkdir()
    with pytest.raises(HlvbenchError, match=told):
        from_dataset(rows, made, **WORDS, min_records=1)
    assert not made.exists() or not any(made.iterdir())


def test_a_column_of_class_labels_gives_their_names(task, tmp_path):
    from datasets import ClassLabel, DatasetDict

    rows = to_dataset(task)
    coded = rows.cast_column("label", ClassLabel(names=["no", "yes"]))
    coded = coded.cast_column("annotator", ClassLabel(names=list(task.annotators)))
    assert {type(label) for label in coded["label"]} == {int}
    back = from_dataset(coded, tmp_path / "names", **WORDS, min_records=1)
    assert back.records == task.records
    with pytest.raises(UsageError, match="one Dataset is needed, with a column split; got a mapping of train"):
        from_dataset(DatasetDict({"train": rows}), tmp_path / "dict", **WORDS)


@pytest.mark.parametrize("names", [["-1", "0", "1"], ["against", "neither", "for"]])
def test_class_labels_of_an_ordinal_task_are_its_scores(tmp_path, names):
    from datasets import ClassLabel, Dataset

    rows = [
        {"item": i, "annotator": w, "label": (i + w) % 3, "explanation": f"so {i}", "text": f"text {i}"}
        for i in range(10) for w in range(2)
    ]  # fmt: skip
    made = Dataset.from_list(rows).cast_column("label", ClassLabel(names=names))
    scores = [-1, 0, 1] if names[0] == "-1" else [0, 1, 2]
    words = {"kind": "ordinal", "labels": scores, "fields": {"text": "Text"}, "instruction": "Score."}
    back = from_dataset(made, tmp_path / "scores", **words, min_records=1)
    assert back.annotators == ("0", "1")
    assert {(r.item, r.annotator): r.label for r in back.records} == {
        (str(r["item"]), str(r["annotator"])): scores[r["label"]] for r in rows
    }


def test_a_data_frame_makes_a_task_with_the_numbers_that_a_gap_made_floats(tmp_path):
    import pandas

    rows = [
        {"item": i, "annotator": w, "label": (i + w) % 3, "explanation": f"so {i}", "text": f"text {i}"}
        for i in range(10) for w in range(2)
    ]  # fmt: skip
    frame = pandas.DataFrame(rows).astype({"item": float, "label": float})
    words = {"kind": "ordinal", "labels": [0, 1, 2], "fields": {"text": "Text"}, "instruction": "Score."}
    back = from_dataset(frame, tmp_path / "frame", **words, min_records=1)
    assert {r.item for r in back.records} == {str(i) for i in range(10)}
    assert {r.label for r in back.records} == {0, 1, 2}


def test_a_method_answers_the_prompts_of_a_run(task, tasks_dir, tmp_path, registered):  # noqa: F811
    seen = []

    def make(own):
        def answer(query):
            seen.append(query.content)
            return f"Label: {own.labels[0]}\nExplanation: {query.annotator} of {query.item}"

        return answer

    register_method("mine", make)
    out = run(Settings("mine:", task=("mine",)), out=tmp_path / "run", tasks_dir=tasks_dir, quiet=True)
    texts = {(r.item, r.annotator): r.text for r in read_generations(out / "mine" / "generations.jsonl")}
    assert texts == {p: f"Label: yes\nExplanation: {p[1]} of {p[0]}" for p in task.questions("test")}
    assert all(text.startswith("You are annotator w") for text in seen)
    with pytest.raises(ModelError, match="known already"):
        register_method("mine", make)
    with pytest.raises(ModelError, match="known already"):
        register_method("reference", make)


EXTENSION = '''
from hlvbench.api import Completion
from hlvbench.metrics import metric
from hlvbench.metrics.registry import over_annotators
from hlvbench.generation.open_model import MethodModel
from hlvbench.bootstrap import weighted_means


@metric(better="ideal")
def shouting(answers, draws):
    """Share of explanations in capitals."""
    loud = [float(text.isupper()) for text in answers.texts("raw")]
    return over_annotators(weighted_means(answers.grid(loud), draws), answers.counts)


def load(rest, settings, tasks):
    return {t.name: MethodModel(settings.model, lambda q: f"Label: yes\\nExplanation: {rest.upper()}") for t in tasks}
'''


@pytest.fixture
def installed(tmp_path, monkeypatch, registered):
    """A package with a model and a metric, as pip would install it."""
    site = tmp_path / "site"
    (site / "loud-1.dist-info").mkdir(parents=True)
    (site / "hlv_loud.py").write_text(EXTENSION)
    (site / "loud-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1\n")
    points = "[hlvbench.models]\nloud = hlv_loud:load\n[hlvbench.metrics]\nloud = hlv_loud\n"
    (site / "loud-1.dist-info" / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(site)
    registry.load_extensions.cache_clear()
    yield site
    REGISTRY.pop("shouting", None)
    sys.modules.pop("hlv_loud", None)
    registry.load_extensions.cache_clear()


def test_an_installed_package_brings_a_model_and_a_metric(installed, tasks_dir, tmp_path, capsys):  # noqa: F811
    words = ["run", "--task", "mine", "--tasks-dir", tasks_dir, "--model", "loud:so it is", "--out", tmp_path / "run"]
    assert main([*map(str, words), "-q", "--json"]) == 0
    (document,) = json.loads(capsys.readouterr().out)
    (row,) = (s for s in document["scores"] if s["metric"] == "shouting" and s["annotator"] is None)
    # the system always shouts, the people of the table never do
    assert (row["value"], row["ceiling"], row["floor"]) == (1.0, 0.0, 0.0)


def test_a_package_that_does_not_load_is_named(installed, tasks_dir, tmp_path, capsys):  # noqa: F811
    (installed / "hlv_loud.py").write_text("import nothing_of_this_name")
    with pytest.raises(MetricError, match=r"metrics 'loud'.*hlv_loud.*nothing_of_this_name"):
        scorecard(toy_task())
    words = ["run", "--task", "mine", "--tasks-dir", tasks_dir, "--model", "loud:x", "--out", tmp_path / "run"]
    assert main([*map(str, words), "-q"]) == 2
    assert "--model loud: of an installed package" in capsys.readouterr().err


def test_a_known_metric_needs_no_package(installed):
    (installed / "hlv_loud.py").write_text("import nothing_of_this_name")
    assert bind("label_accuracy").name == "label_accuracy"


@pytest.mark.slow
def test_the_example_is_short_and_runs(tmp_path):
    script = ROOT / "examples" / "my_method.py"
    assert len(script.read_text().splitlines()) <= 30
    words = [sys.executable, str(script), "demo", str(tmp_path / "run")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["label_kappa", "hlv_index"]


def test_a_score_is_the_frozen_type_of_a_run(task):
    scores = score_texts(task, {}, replicates=5)
    with pytest.raises(ValidationError, match="frozen"):
        scores["label_accuracy"].value = 1.0
