"""What the integrations of other harnesses share, and the files they are declared in."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path

import pytest
import yaml

from hlvbench.data.task import builtin_tasks_dir, load_spec
from hlvbench.errors import UsageError
from hlvbench.integrations import attribution_tasks as attribution
from hlvbench.integrations import harness, lm_eval
from hlvbench.integrations.lm_eval_yaml import yaml_files
from hlvbench.metrics import headline_names
from hlvbench.prompting.prompt import Prompter
from tests.generation.test_run import tasks_dir  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
YAMLS = builtin_tasks_dir() / "lm_eval"


@pytest.fixture
def place(tasks_dir: Path) -> str:  # noqa: F811
    """The path of a table task of three annotators, six test items of each."""
    harness.task_of.cache_clear()
    return str(tasks_dir / "mine")


def test_the_rows_are_the_questions_of_a_run_with_its_prompts(place):
    task, rows = harness.task_of(place), harness.questions(place, prompt="icl", shots=2)
    prompter = Prompter(task, "icl", shots=2)
    assert [(r["item"], r["annotator"]) for r in rows] == list(task.questions("test"))
    assert [r["prompt"] for r in rows] == [prompter.content(*pair) for pair in task.questions("test")]
    assert {r["annotator"] for r in harness.questions(place, annotator="w2")} == {"w2"}
    assert "Annotator profile:" in harness.questions(place, prompt="vp")[0]["prompt"]


def test_an_unknown_annotator_and_split_are_named_with_the_known_ones(place):
    with pytest.raises(UsageError, match=r"(?s)'eval'.*train, dev, test.*'w9'.*w1, w2, w3"):
        harness.questions(place, split="eval", annotator="w9")


def test_the_numbers_are_counted_on_the_answered_questions_alone(place):
    task = harness.task_of(place)
    pairs = task.questions("test")[:3]  # w1, w2, w3 of the first item
    gold = [task.by_pair[pair][0].label for pair in pairs]
    texts = [f"Label: {gold[0]}\nExplanation: so", f"Label: {gold[1]}\nExplanation: so", "no idea"]
    found = harness.numbers(place, "test", tuple((*p, 0, t) for p, t in zip(pairs, texts, strict=True)))
    # w1 and w2 right, w3's answer is unreadable: 2/3
    assert found["label_accuracy"] == pytest.approx(2 / 3, abs=1e-6)
    assert found["missing"] == 1
    assert found["hlv_index"] is None
    assert set(found) == set(harness.names(task.kind))


def test_lm_eval_gets_the_number_that_a_payload_names_and_nan_where_there_is_none(place):
    documents = lm_eval.documents(hlv_task=place, version=1, pretrained="what lm-eval adds")["test"]
    task = harness.task_of(place)
    payloads = [
        lm_eval.process_all(doc, [f"Label: {task.by_pair[doc['item'], doc['annotator']][0].label}\nExplanation: so"])
        for doc in list(documents)[:6]
    ]
    assert lm_eval.aggregate([p["label_accuracy"] for p in payloads]) == 1.0
    assert math.isnan(lm_eval.aggregate([p["hlv_index_low"] for p in payloads]))
    assert all("prompt" not in payload for payload in payloads[0].values())
    one = lm_eval.process_one(documents[0], ["Label: yes"])
    assert set(one) == set(harness.names(task.kind, one=True)) < set(payloads[0])


class _Functions(yaml.SafeLoader):
    """Reads `!function NAME` as its name, as lm-eval's own index does."""


_Functions.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


def read(path: Path) -> dict:
    own = yaml.load(path.read_text("utf-8"), _Functions)
    return {**(read(path.parent / own.pop("include")) if "include" in own else {}), **own}


def test_the_yaml_files_are_those_that_are_generated():
    there = {path.name: path.read_text("utf-8") for path in YAMLS.iterdir() if path.is_file()}
    assert there == yaml_files(), "run: python -m hlvbench.integrations.lm_eval_yaml"


@pytest.mark.parametrize("name", ["varierr", "r2", "convarg"])
def test_the_yaml_names_every_number_every_annotator_and_the_version_of_the_task(name):
    spec = load_spec(name)
    kind, annotators = spec.kind, spec.annotators
    tasks = {f"hlv_{name}": None, **{f"hlv_{name}_{a.lower()}": a for a in annotators}}
    for task, annotator in tasks.items():
        found = read(YAMLS / f"{task}.yaml")
        expected = {"hlv_task": name} | ({"hlv_annotator": annotator} if annotator else {})
        assert (found["task"], found["dataset_kwargs"]) == (task, expected)
        assert str(found["metadata"]["version"]) == spec.version
        assert found["process_results"].endswith("process_one" if annotator else "process_all")
        assert [m["metric"] for m in found["metric_list"]] == harness.names(kind, one=bool(annotator))
        assert {m["aggregation"] for m in found["metric_list"]} == {"hlvbench.integrations.lm_eval.aggregate"}
        down = {m["metric"].partition("_")[0] for m in found["metric_list"] if not m["higher_is_better"]}
        assert down == {"missing", *(["label"] if kind == "ordinal" else []),
                        *([] if annotator else ["agreement", "lewidi"])}  # fmt: skip
    group = read(YAMLS / f"hlv_{name}_annotators.yaml")
    assert group["task"] == [task for task, annotator in tasks.items() if annotator]
    assert [m["metric"] for m in group["aggregate_metric_list"]] == headline_names(kind, one_annotator=True)


def test_every_function_that_a_yaml_names_exists():
    named = {
        value.rpartition(".")
        for path in YAMLS.glob("_*_yaml")
        for value in (
            read(path)["custom_dataset"],
            read(path)["process_results"],
            *(m["aggregation"] for m in read(path)["metric_list"]),
        )
    }
    assert {module for module, _, _ in named} == {"hlvbench.integrations.lm_eval"}
    assert all(callable(getattr(lm_eval, function)) for _, _, function in named)


def test_the_entry_point_of_inspect_is_a_module_with_its_tasks():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    module = project["entry-points"]["inspect_ai"]["hlvbench"]
    tree = (ROOT / (module.replace(".", "/") + ".py")).read_text("utf-8")
    assert all(f"@task\ndef {name}(" in tree for name in ("varierr", "r2", "convarg", "own"))


def test_the_register_entry_names_tasks_that_are_there(data_dir):
    entry = yaml.safe_load((ROOT / "tasks" / "inspect" / "eval.yaml").read_text("utf-8"))
    assert [task["name"] for task in entry["tasks"]] == ["varierr", "r2", "convarg", "judges"]
    sizes = {name: len(harness.questions(name)) for name in ("varierr", "r2", "convarg")}
    sizes["judges"] = len(attribution.human_questions("varierr", "test"))
    for task in entry["tasks"]:
        assert f"@task\ndef {task['name']}(" in (ROOT / task["task_path"]).read_text("utf-8")
        assert task["dataset_samples"] == sizes[task["name"]]
