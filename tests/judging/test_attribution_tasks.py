"""Who wrote it, asked in lm-eval and in inspect: the questions and the numbers are those of `hlvbench run`."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hlvbench.cli import main
from hlvbench.data.task import builtin_tasks_dir
from hlvbench.errors import DataError
from hlvbench.integrations import attribution_tasks as attribution
from hlvbench.integrations import harness, lm_eval
from hlvbench.integrations.log_import import import_logs
from hlvbench.io import read_generations
from hlvbench.judging.judge_prompt import render_question
from hlvbench.judging.questions import attribution_questions
from hlvbench.prompting.prompt import render_answer
from tests.generation.test_run import tasks_dir  # noqa: F401
from tests.integrations.test_harness import read


@pytest.fixture
def place(tasks_dir: Path) -> str:  # noqa: F811
    """The path of a table task of three annotators, six test items of each."""
    harness.task_of.cache_clear()
    attribution.human_questions.cache_clear()
    attribution.attribution_numbers.cache_clear()
    return str(tasks_dir / "mine")


def test_lm_eval_asks_the_questions_about_peoples_answers(place):
    task = harness.task_of(place)
    people = {p: task.by_pair[p][0] for p in task.questions("test")}
    asked = attribution_questions(task, "test", people).questions
    rows = lm_eval.attribution_documents(place, version=1)["test"]
    assert [r["prompt"] for r in rows] == [render_question(task, q) for q in asked]
    assert [r["letters"][r["target"]] for r in rows] == [q.right for q in asked]


def test_the_likeliest_letter_is_the_reply_and_the_share_of_right_ones_the_number(place, monkeypatch):
    monkeypatch.setattr("hlvbench.bootstrap.FEWEST_CLUSTERS", 1)  # the task has few test items
    rows = list(lm_eval.attribution_documents(place)["test"])
    first = [(-1.0, False)] + [(-2.0, False)] * 2
    payloads = [lm_eval.process_attribution(row, first) for row in rows]
    right = sum(row["target"] == 0 for row in rows)
    assert lm_eval.aggregate_attribution([p["attribution"] for p in payloads]) == pytest.approx(
        right / len(rows), abs=1e-6
    )
    assert lm_eval.aggregate_attribution([p["chance"] for p in payloads]) == pytest.approx(1 / 3, abs=1e-6)
    assert not math.isnan(lm_eval.aggregate_attribution([p["attribution_low"] for p in payloads]))
    assert set(payloads[0]) == set(attribution.NUMBERS)


def test_an_unreadable_reply_is_wrong_for_a_judge_and_left_out_for_a_system(place):
    pairs = list(attribution.human_questions(place, "test"))[:4]
    # right, wrong, no answer to judge, unreadable
    names = [pairs[0][1], next(a for a in ("w1", "w2", "w3") if a != pairs[1][1]), attribution.WRONG, None]
    named = tuple((*pair, 0, name) for pair, name in zip(pairs, names, strict=True))
    assert attribution.attribution_numbers(place, "test", named, True)["attribution"] == pytest.approx(1 / 4)
    system = attribution.attribution_numbers(place, "test", named, False)
    assert system["attribution"] == pytest.approx(1 / 3, abs=1e-6)
    assert system["unreadable"] == 1


@pytest.mark.parametrize("name", ["varierr", "r2", "convarg"])
def test_the_yaml_names_every_number(name):
    found = read(builtin_tasks_dir() / "lm_eval" / f"hlv_{name}_attribution.yaml")
    assert [m["metric"] for m in found["metric_list"]] == list(attribution.NUMBERS)
    assert (found["output_type"], found["dataset_kwargs"]) == ("multiple_choice", {"hlv_task": name})
    functions = {found["custom_dataset"], found["process_results"], *(m["aggregation"] for m in found["metric_list"])}
    assert all(callable(getattr(lm_eval, f.rpartition(".")[2])) for f in functions)


@pytest.mark.slow
def test_lm_eval_names_whom_our_own_run_names(data_dir, test_model, tmp_path):
    pytest.importorskip("lm_eval")
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    words = ("run", "--task", "varierr/attribution", "--model", test_model, "--limit", "2", "--device", "cpu", "-q")
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    ours = (tmp_path / "run" / "varierr" / "attribution" / "answers.jsonl").read_text().splitlines()
    expected = {(r["item"], r["annotator"]): r["named"] for r in map(json.loads, ours)}
    document = json.loads((tmp_path / "run" / "varierr" / "attribution" / "scores.json").read_text())
    arguments = {"pretrained": test_model, "dtype": "float32", "enable_thinking": False}
    found = simple_evaluate(
        "hf",
        model_args=arguments,
        device="cpu",
        tasks=["hlv_varierr_attribution"],
        limit=len(expected),
        apply_chat_template=True,
        bootstrap_iters=0,
        task_manager=TaskManager(include_path=str(builtin_tasks_dir() / "lm_eval"), include_defaults=False),
    )
    samples = found["samples"]["hlv_varierr_attribution"]
    assert {(s["doc"]["item"], s["doc"]["annotator"]): s["attribution"]["named"] for s in samples} == expected
    results = found["results"]["hlv_varierr_attribution"]
    row = document["scores"][0]
    numbers = [results[f"attribution{b},none"] for b in ("", "_low", "_high")]
    # two items have no interval: NaN there, None here
    assert [None if v != v else v for v in numbers] == [row["value"], row["low"], row["high"]]


def say(text: Any) -> Any:
    """A model of inspect that says `text`, or text(message)."""
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    def answer(messages: Any, *_: Any) -> ModelOutput:
        content = text(messages[-1].text) if callable(text) else text
        output = ModelOutput.from_content("mockllm", content)
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output

    return get_model("mockllm/model", custom_outputs=answer, memoize=False)


def scored(task: Any, folder: Path, **options: Any) -> Any:
    from inspect_ai import eval as evaluate

    (log,) = evaluate(task, log_dir=str(folder), display="none", **options)
    return log


def test_in_inspect_a_grader_tells_who_wrote_the_models_answers(place, tmp_path):
    pytest.importorskip("inspect_ai")
    from hlvbench.integrations.inspect_ai_tasks import attribution as attribution_task

    def answer(message: str) -> str:
        # the first annotator's questions get no readable answer
        return "no idea" if "annotator w1." in message else "Label: yes\nExplanation: As it is so."

    shown: list[str] = []

    def grade(message: str) -> str:
        shown.append(message)
        return "The writer is A."

    log = scored(attribution_task(of=place), tmp_path, model=say(answer), model_roles={"grader": say(grade)})
    assert log.status == "success"
    metrics = {name: m.value for name, m in log.results.scores[0].metrics.items()}
    asked = attribution.human_questions(place, "test").values()
    right = sum(q.right == "A" for q in asked if q.annotator != "w1")
    # six of eighteen have no answer, which is wrong; of the others those are right whose letter is A
    assert metrics["attribution"] == pytest.approx(right / 18, abs=1e-6)
    assert (len(shown), metrics["unreadable"]) == (12, 0)
    assert all("As it is so." in message and "Label: yes" not in message for message in shown)


def test_in_inspect_nothing_is_graded_without_a_grader(place, tmp_path):
    pytest.importorskip("inspect_ai")
    from hlvbench.integrations.inspect_ai_tasks import attribution as attribution_task

    log = scored(attribution_task(of=place), tmp_path, model=say("Label: yes\nExplanation: so"))
    assert log.status == "error"
    assert "grader" in log.error.message


def test_in_inspect_a_model_is_ranked_as_a_judge(place, tmp_path):
    pytest.importorskip("inspect_ai")
    from hlvbench.integrations.inspect_ai_tasks import judges

    replies = iter(["B", "who knows"] * 9)
    log = scored(judges(of=place), tmp_path, model=say(lambda _: next(replies)), max_connections=1, max_samples=1)
    metrics = {name: m.value for name, m in log.results.scores[0].metrics.items()}
    named = Counter(str(s.scores["letter"].answer) for s in log.samples)
    right = sum(s.scores["letter"].value == "C" for s in log.samples)
    assert named["None"] == 9 == metrics["unreadable"]
    assert metrics["attribution"] == pytest.approx(right / 18, abs=1e-6)
    with pytest.raises(DataError, match="holds no answers of annotators"):
        import_logs("inspect", [tmp_path], tmp_path / "out")


def test_in_inspect_epochs_are_full_sets_of_answers(place, tmp_path):
    pytest.importorskip("inspect_ai")
    from hlvbench.integrations.inspect_ai_tasks import own

    task = harness.task_of(place)
    gold = {
        next(r["prompt"] for r in harness.questions(place) if (r["item"], r["annotator"]) == pair): render_answer(
            task, task.by_pair[pair][0].label, "so"
        )
        for pair in task.questions("test")
    }
    log = scored(own(place), tmp_path, model=say(lambda message: gold[message]), epochs=2)
    (score,) = log.results.scores
    assert score.metrics["label_accuracy"].value == 1.0
    assert len(log.samples) == 36
    assert score.metrics["missing"].value == 0
    (path,) = import_logs("inspect", [tmp_path], tmp_path / "out").values()
    assert Counter(r.sample for r in read_generations(path)) == {0: 18, 1: 18}
