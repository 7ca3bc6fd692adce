"""Records of a label alone and items without an optional field: accepted, and counted where they say something."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from hlvbench.analysis.annotators import analyze
from hlvbench.api import from_dataset, to_dataset
from hlvbench.baselines.baseline_registry import REFERENCES
from hlvbench.bootstrap import clusters, every_item_once, item_draws
from hlvbench.data.task import load_task
from hlvbench.errors import TaskError
from hlvbench.generation.run import generate
from hlvbench.judging.questions import attribution_questions
from hlvbench.metrics import Answers, bind, scorecard
from hlvbench.metrics.index import harmonic_index
from hlvbench.prompting.prompt import render_item
from hlvbench.results import TaskResult, markdown
from hlvbench.results.score_check import check_submitted
from hlvbench.results.scorecard import score_task
from hlvbench.settings import Settings
from hlvbench.types import Annotation, Generation, Pair, Task
from tests.toy import ToyEmbedder, save_table, toy_task

WHOLE = toy_task(items=(30, 24, 24))


def silent(pair: Pair) -> bool:
    """Ann2 explains nothing on even items, Ann3 nothing on one of three: at least two people explain each item."""
    number = int("".join(filter(str.isdigit, pair[0])))
    return (pair[1] == "Ann2" and number % 2 == 0) or (pair[1] == "Ann3" and number % 3 == 0)


LABELS = dataclasses.replace(
    WHOLE,
    records=tuple(
        dataclasses.replace(r, explanation="") if silent((r.item, r.annotator)) else r for r in WHOLE.records
    ),
)
GONE = dataclasses.replace(WHOLE, records=tuple(r for r in WHOLE.records if not silent((r.item, r.annotator))))


def system(task: Task) -> Answers:
    """Every third label wrong, every fifth answer missing, texts of another annotator."""
    given = {}
    for n, (item, who) in enumerate(WHOLE.questions("test")):
        label, other = WHOLE.by_pair[item, who][0].label, WHOLE.by_pair[item, "Ann4" if who == "Ann1" else "Ann1"][0]
        if n % 5:
            label = label if n % 3 else WHOLE.labels[n % len(WHOLE.labels)]
            given[item, who] = Annotation(item, who, label, other.explanation)
    asked = set(task.questions("test"))
    return Answers(task, "test", {p: a for p, a in given.items() if p in asked}, ToyEmbedder())


@pytest.mark.parametrize("count", [1, 8])
def test_text_metrics_are_those_without_the_pairs_and_label_metrics_those_with_explanations(count: int) -> None:
    whole, labels, gone = map(system, (WHOLE, LABELS, GONE))
    draws = item_draws(labels.items, "toy@1", "test", replicates=count) if count > 1 else every_item_once(24)
    for metric in scorecard(WHOLE, "toy"):
        if metric.name == "hlv_index" or (count > 1 and not metric.spec.resamples):
            continue
        found, expected = (metric(a, draws) for a in (labels, gone if metric.spec.texts else whole))
        assert found.overall == pytest.approx(expected.overall, nan_ok=True), metric
        assert found.n == expected.n, metric
        if expected.by_annotator is not None:
            assert found.by_annotator == pytest.approx(expected.by_annotator, nan_ok=True), metric
            assert found.n_by_annotator == expected.n_by_annotator, metric
    factors = {"decision": bind("label_kappa")(whole, draws).overall}
    for name, parameters in (("grounding_skill", {"view": "raw"}), ("own_gain", {"embed": "toy"}),
                             ("imitation_score", {"m": 10, "embed": "toy"})):  # fmt: skip
        factors[name] = bind(name, **parameters)(gone, draws).overall
    index = bind("hlv_index", embed="toy")(labels, draws).overall
    assert index == pytest.approx(harmonic_index(factors), nan_ok=True)


def rows(task: Task) -> list[Generation]:
    return [Generation(*p, 0, f"Label: {task.by_pair[p][0].label}\nExplanation: so {n}", "stop", 1, "")
            for n, p in enumerate(task.questions("test"))]  # fmt: skip


def test_the_report_counts_them_and_their_rows_have_no_value_of_a_text() -> None:
    found = score_task(LABELS, rows(LABELS), ToyEmbedder(), system="toy", replicates=20)
    document = found.report.to_dict()
    # 12 of Ann2's items and 8 of Ann3's
    assert (document["questions"], document["label_only"], document["missing"]) == (96, 20, 0)
    counts = {s["annotator"]: s["n"] for s in document["scores"] if s["metric"] == "rouge_l"}
    assert counts == {None: 76, "Ann1": 24, "Ann2": 12, "Ann3": 16, "Ann4": 24}
    for row in found.answers:
        empty = {name for name, value in row.items() if value is None}
        assert row["correct"] == 1.0
        assert empty == ({n for n in row if n.endswith(("_raw", "_norm"))} if silent((row["item"], row["annotator"]))
                         else set())  # fmt: skip
    assert "- Without a human explanation: 20, in label metrics alone\n" in markdown([TaskResult(found.report)])
    assert not [p for p in check_submitted(document, "toy") if "label_only" in p]
    assert any(p.startswith("label_only: ") for p in check_submitted({**document, "label_only": "x"}, "toy"))


@pytest.mark.parametrize("kept", ["nothing", "test"])
def test_a_task_without_any_explanation_has_label_metrics_alone(kept: str) -> None:
    records = [r if r.item.startswith(kept) else dataclasses.replace(r, explanation="") for r in WHOLE.records]
    task = dataclasses.replace(WHOLE, records=tuple(records))
    document = score_task(task, rows(task), ToyEmbedder(), replicates=20).report.to_dict()
    assert all(score["value"] is not None or score["note"] for score in document["scores"])
    for score in document["scores"] if kept == "nothing" else ():
        name = str(score["metric"]).partition("@")[0]
        texts = bind(name, **({"m": 1} if "@" in score["metric"] else {})).spec.texts or name == "hlv_index"
        assert (score["value"] is None) == texts, score
    asked = attribution_questions(task, "test", system(task).predictions)
    assert (len(asked.questions), len(asked.left_out)) == (0, 0 if kept == "nothing" else 96)


def test_one_explanation_of_two_records_is_the_pairs() -> None:
    first, second = (Annotation("i", "A", label, text) for label, text in (("x", ""), ("y", "because")))
    task = dataclasses.replace(
        WHOLE, labels=("x", "y"), priority=("x", "y"), annotators=("A",), records=(second, first)
    )
    assert task.by_pair["i", "A"] == (first, second)
    assert task.human(("i", "A")) == Annotation("i", "A", "x", "because")
    assert task.explained == {("i", "A")}


@pytest.mark.parametrize("model", [*(f"reference:{name}" for name in REFERENCES), "attack:constant", "attack:expected"])
def test_references_and_attacks_do_without(model: str, tmp_path: Path) -> None:
    tasks = save_table(LABELS, tmp_path / "tasks")
    path = tasks / "toy" / "annotations.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    # no explanation, an empty one, null and a blank are one thing
    for n, line in enumerate(line for line in lines if not line["explanation"]):
        line.update(explanation=["", None, " \n"][n % 3])
        if n % 4 == 0:
            del line["explanation"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert load_task("toy", tasks_dir=tasks).records == LABELS.records
    out = generate(Settings(model, ("toy",)), out=tmp_path / "run", tasks_dir=tasks, quiet=True)
    assert len((out / "toy" / "generations.jsonl").read_text().splitlines()) == 96


def test_judges_are_asked_about_explained_pairs_and_nothing_learns_from_the_others() -> None:
    asked = attribution_questions(LABELS, "test", system(LABELS).predictions, shots=50).questions
    assert asked
    assert not any(silent(q.pair) for q in asked)
    assert not any(silent((r.item, r.annotator)) for q in asked for own in q.references for r in own)
    assert LABELS.records_of("train", "Ann2") == GONE.records_of("train", "Ann2")
    assert len(LABELS.records_of("train", "Ann2", label_only=True)) == 30


def optional(folder: Path, value: Any, names: str = '["premise"]') -> Path:
    """The toy table, without a premise in every other item (None: no such key)."""
    tasks = save_table(WHOLE, folder)
    path = tasks / "toy" / "task.toml"
    path.write_text(f"optional = {names}\n" + path.read_text())
    path = tasks / "toy" / "items.jsonl"
    items = [json.loads(line) for line in path.read_text().splitlines()]
    for item in items[::2]:
        item["text"]["premise"] = value
        if value is None:
            del item["text"]["premise"]
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return tasks


@pytest.mark.parametrize("value", [None, "", " "])
def test_an_item_may_lack_an_optional_field(value: Any, tmp_path: Path) -> None:
    task = load_task("toy", tasks_dir=optional(tmp_path, value))
    without, full = task.items["train0"], task.items["train1"]
    assert render_item(task, without) == f"Hypothesis: {without.text['hypothesis']}" == f"Hypothesis: {without.joined}"
    assert render_item(task, full).startswith("Premise: ")
    # two items that lack it share no text
    assert len(clusters(list(task.items.values()))) == len(clusters(list(WHOLE.items.values())))
    again = from_dataset(
        [{k: v or None for k, v in row.items()} for row in to_dataset(task)], tmp_path / "again", kind="nominal",
        labels=task.labels, fields=task.fields, instruction="Decide.", optional=["premise"],
    )  # fmt: skip
    assert (again.items, again.records) == (task.items, task.records)


def test_what_is_optional_is_a_field_and_an_item_has_some_text(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"task\.toml: optional: context: no field of the task"):
        load_task("toy", tasks_dir=optional(tmp_path / "a", "x y", '["context"]'))
    tasks = optional(tmp_path / "b", "", '["premise", "hypothesis"]')
    path = tasks / "toy" / "items.jsonl"
    first, *more = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps({**json.loads(first), "text": {}}), *more]))
    with pytest.raises(TaskError, match=r"items\.jsonl:1: text: none of the fields premise, hypothesis has a text"):
        load_task("toy", tasks_dir=tasks)
    with pytest.raises(TaskError, match="text: field 'premise' is missing"):
        load_task("toy", tasks_dir=optional(tmp_path / "c", None, '["hypothesis"]'))


def test_an_analysis_leaves_out_the_style_of_who_explains_nothing() -> None:
    records = (r if r.annotator != "Ann1" else dataclasses.replace(r, explanation="") for r in WHOLE.records)
    found = analyze(dataclasses.replace(WHOLE, records=tuple(records)), ToyEmbedder(), replicates=5)
    values = {row["annotator"]: row["value"] for row in found["style"]["rows"] if row["feature"] == "words"}
    # "Clearly, the … … … is so for neutral.": nine words
    assert (values["Ann1"], values["Ann3"]) == (None, 9)
    assert [pair["n"] for pair in found["agreement"]["pairs"]] == [78] * 6


def test_annotators_who_explain_nothing_are_analysed_by_their_labels():
    task = toy_task()
    task = dataclasses.replace(task, records=tuple(dataclasses.replace(r, explanation="") for r in task.records))
    found = analyze(task, ToyEmbedder(), replicates=5)
    assert len(found["agreement"]["pairs"]) == 6
    assert {row["accuracy"] for row in found["detectability"]} == {None}
    assert all(row["note"] for row in found["detectability"])
