"""One model through three harnesses: the same prompts, greedy texts and numbers; real runs on real questions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hlvbench.cli import main
from hlvbench.data.task import builtin_tasks_dir
from hlvbench.integrations import harness
from hlvbench.integrations.log_import import import_logs
from hlvbench.io import generation_lines, read_generations, sha256_text
from hlvbench.metrics.registry import headline_names, scorecard
from hlvbench.prompting.prompt import Prompter, render
from hlvbench.types import Generation
from tests.tiny import TEMPLATE, tiny_model
from tests.toy import toy_task

ROOT = Path(__file__).resolve().parents[2]
TASKS = ("varierr", "r2")
QUESTIONS, ITEMS = 42, 12  # more than ten items, or there are no intervals to compare
pytest.importorskip("lm_eval")
pytest.importorskip("inspect_ai")


def as_installed(folder: Path) -> str:
    """A PYTHONPATH on which this checkout is an editable install with the entry points that pyproject.toml declares."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    metadata = folder / "hlvbench-0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: hlvbench\nVersion: 0\n")
    (metadata / "direct_url.json").write_text(json.dumps({"url": ROOT.as_uri(), "dir_info": {"editable": True}}))
    groups = {group: names.items() for group, names in project["entry-points"].items()}
    lines = [line for g, names in groups.items() for line in (f"[{g}]", *(f"{n} = {v}" for n, v in names))]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    return f"{folder}{os.pathsep}{ROOT}"


def run(*words: object, cwd: Path, path: str) -> str:
    env = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-m", *map(str, words)], cwd=cwd, env=env, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def runs(data_dir: Path, test_model: str, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The model's answers through each harness: the folder of the run or the logs, and the numbers printed."""
    work = tmp_path_factory.mktemp("harnesses")
    model, path = str(Path(test_model).resolve()), as_installed(work / "site")
    ours = ("hlvbench", "generate", "--model", model, "--limit", ITEMS, "--batch-size", 8, "--dtype", "float32")
    run(*ours, "--device", "cpu", "--out", work / "ours", "-q", cwd=work, path=path)
    run(
        "lm_eval", "run", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32,enable_thinking=False",
        "--device", "cpu", "--include_path", builtin_tasks_dir() / "lm_eval", "--tasks", "hlv_varierr,hlv_r2",
        "--apply_chat_template", "--limit", QUESTIONS, "--batch_size", 8, "--output_path", work / "lm-eval",
        "--log_samples", cwd=work, path=path,
    )  # fmt: skip
    run(
        "inspect_ai", "eval", "hlvbench/varierr", "hlvbench/r2", "--model", "hf/test", "-M", f"model_path={model}",
        "-M", "do_sample=false", "-M", "enable_thinking=false", "-M", "dtype=float32", "-M", "device=cpu", "-M",
        'tokenizer_call_args={"add_special_tokens": false}', "--limit", QUESTIONS, "--log-dir", work / "inspect",
        "--display", "none", cwd=work, path=path,
    )  # fmt: skip
    return SimpleNamespace(work=work, path=path, ours=work / "ours")


def imported(runs: SimpleNamespace, kind: str, task: str) -> list[Generation]:
    files = import_logs(kind, [runs.work / kind], runs.work / f"{kind}-imported")
    assert set(files) == set(TASKS)
    return read_generations(files[task])


def ours(runs: SimpleNamespace, task: str) -> list[Generation]:
    """Our own answers to the questions that all three answered."""
    return read_generations(runs.ours / task / "generations.jsonl")[:QUESTIONS]


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_three_harnesses_show_the_model_one_prompt_and_get_one_text(runs, task):
    mine, lm_eval, inspect = ours(runs, task), imported(runs, "lm-eval", task), imported(runs, "inspect", task)
    assert len(mine) == QUESTIONS

    def texts(rows: list[Generation]) -> list[tuple[str, str, str]]:
        return [(r.item, r.annotator, r.text) for r in rows]

    assert texts(lm_eval) == texts(mine)
    assert texts(inspect) == texts(mine)
    assert len({r.text for r in mine}) > 1
    # lm-eval logs the rendered prompt, inspect the user message
    assert [r.prompt_sha256 for r in lm_eval] == [r.prompt_sha256 for r in mine]
    prompter = Prompter(harness.task_of(task))
    messages = [sha256_text(prompter.content(r.item, r.annotator)) for r in mine]
    assert [r.prompt_sha256 for r in inspect] == messages


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_three_harnesses_print_one_set_of_numbers(runs, task, tmp_path, capsys):
    bare = tmp_path / "generations.jsonl"
    bare.write_text(generation_lines(ours(runs, task)))
    assert main(["score", str(bare), "--task", task, "--only-answered", "-q", "--json"]) == 0
    (document,) = json.loads(capsys.readouterr().out)
    expected = {}
    loaded = harness.task_of(task)
    names = set(headline_names(loaded.kind))
    for metric in (m for m in scorecard(loaded) if m.is_headline and m.short in names - expected.keys()):
        name = metric.short
        (row,) = (s for s in document["scores"] if s["annotator"] is None and s["signature"].startswith(f"{metric}|"))
        expected |= {name: row["value"], f"{name}_low": row["low"], f"{name}_high": row["high"]}
    expected["missing"] = document["missing"]
    assert len([v for v in expected.values() if v is not None]) > 20

    (path,) = (runs.work / "lm-eval").rglob("results_*.json")
    results = json.loads(path.read_text())["results"][f"hlv_{task}"]
    from_lm_eval = {name: results[f"{name},none"] for name in expected}
    assert {n: None if v != v else v for n, v in from_lm_eval.items()} == expected

    from_inspect = metrics_of(runs, task)
    assert from_inspect == {name: value for name, value in expected.items() if value is not None}


def metrics_of(runs: SimpleNamespace, task: str) -> dict[str, float]:
    from inspect_ai.log import read_eval_log

    (path,) = (runs.work / "inspect").glob(f"*_{task}_*.eval")
    log = read_eval_log(str(path))
    assert (log.status, log.eval.task) == ("success", f"hlvbench/{task}")
    (score,) = log.results.scores
    return {name: metric.value for name, metric in score.metrics.items()}


@pytest.mark.slow
def test_inspect_scores_its_log_again_to_the_same_numbers(runs):
    before = metrics_of(runs, "varierr")
    (path,) = (runs.work / "inspect").glob("*_varierr_*.eval")
    words = ("--scorer", "hlvbench/annotator_answer", "--action", "overwrite", "--overwrite", "--display", "none")
    run("inspect_ai", "score", path, *words, cwd=runs.work, path=runs.path)
    assert metrics_of(runs, "varierr") == before


def renderings(tokenizer: Any, think: bool) -> set[str]:
    """What each harness makes of one user message."""
    from inspect_ai.model import ChatMessageUser
    from inspect_ai.model._providers.hf import HuggingFaceAPI
    from lm_eval.models.huggingface import HFLM

    task = toy_task()
    content = Prompter(task).content(*task.questions("test")[0])
    theirs = object.__new__(HFLM)
    theirs.tokenizer, theirs.chat_template_args = tokenizer, {"enable_thinking": think}
    api = object.__new__(HuggingFaceAPI)
    api.tokenizer, api.enable_thinking, api.chat_template, api.use_chat_template = tokenizer, think, None, None
    return {
        render(content, tokenizer, think),
        theirs.apply_chat_template([{"role": "user", "content": content}]),
        api.hf_chat([ChatMessageUser(content=content)], []),
    }


@pytest.mark.parametrize("think", [False, True])
def test_a_template_that_can_think_is_rendered_alike(think, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model(tmp_path / "model"))
    tokenizer.chat_template = TEMPLATE + "{% if not enable_thinking %}<think></think>{% endif %}"
    (rendered,) = renderings(tokenizer, think)
    assert rendered.endswith("<think></think>") is not think
