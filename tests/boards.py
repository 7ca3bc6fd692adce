"""Submissions of a toy task: sound ones to build pages from, and to break."""

from __future__ import annotations

import copy
import datetime
import hashlib
import json
import tomllib
from dataclasses import asdict
from functools import cache
from pathlib import Path

import tomli_w
from pydantic import ValidationError

from hlvbench.baselines.baseline_registry import open_baseline
from hlvbench.data.task import load_spec
from hlvbench.errors import validation_problems
from hlvbench.io import dump_json, dump_line
from hlvbench.leaderboard.task_card import task_card
from hlvbench.metrics.projections import EMBED
from hlvbench.models import Query
from hlvbench.results.scorecard import score_task
from hlvbench.submissions import CheckContext, Findings, read_submission
from hlvbench.submissions.card import Card, to_toml
from hlvbench.types import Generation
from tests.toy import ToyEmbedder, toy_task

DAY = datetime.date(2026, 5, 27)


class NamedEmbedder(ToyEmbedder):
    """Bags of words under the name of the default encoder, which a leaderboard asks for."""

    name = EMBED


@cache
def answers(model):
    """What a reference answers to the toy task, as rows of generations.jsonl."""
    task = toy_task()
    system = open_baseline(f"reference:{model}", task, "test", NamedEmbedder())
    rows = []
    for item, annotator in task.questions("test"):
        (found,) = system.answer([Query(item, annotator, 0, "")])
        rows.append(Generation(item, annotator, 0, **vars(found), prompt_sha256="0" * 64))
    return tuple(rows)


@cache
def scored(model):
    return score_task(toy_task(), answers(model), NamedEmbedder(), system=model, per_answer=False).report.to_dict()


def sha(text):
    return hashlib.sha256(text if isinstance(text, bytes) else text.encode()).hexdigest()


def manifest(settings, facts):
    """The manifest of a run with these settings. facts: what it says of each task."""
    return dump_json({"command": ["hlvbench", "run"], "settings": settings, "tasks": facts, "wall_seconds": 1.0})


def submission(root, name="one", model="nearest", task="toy", date=DAY, document=None, files=None, **card):
    """Write a sound submission with the answers of a reference as if they were a system's own; returns its folder.

    files: more files, or other content (None: none) for one. card: other or more keys of submission.toml, and
    `run_model`, the model of the run.
    """
    document = copy.deepcopy(document or scored(model))
    document["task"] = document["task"].replace("toy@", f"{task}@")
    text = json.dumps(document).replace("|toy@", f"|{task}@")
    settings = {
        "model": card.pop("run_model", "org/base"),
        "task": [task],
        "prompt": "base",
        "split": "test",
        "limit": None,
        "seed": 0,
    }
    rows = "".join(dump_line(asdict(row)) for row in answers(model))
    facts = {"data_sha256": {}, "generations_sha256": sha(rows), "model": {"kind": "transformers"}}
    made = {
        "README.md": f"# {name}\n",
        "settings.json": dump_json(settings),
        "manifest.json": manifest(settings, {task: facts}),
        f"{task}/generations.jsonl": rows,
        f"{task}/scores.json": text,
        **(files or {}),
    }
    made = {path: content for path, content in made.items() if content is not None}
    about = {
        "format": 1, "name": name, "date": date, "system": f"System {name}", "method": "base", "authors": ["A. Body"],
        "base": {"name": "org/base"}, "training": {"annotators": "none", "splits": [], "lewidi": False},
        "generations": {task: sha(rows)}, "reproduce": {"commands": ["hlvbench run --model org/base"]},
        "files": {p: sha(c) for p, c in made.items() if p != "README.md"},
    }  # fmt: skip
    about |= card
    folder = root / f"{about['date']:%Y%m%d}_{name}"
    for path, content in {**made, "submission.toml": tomli_w.dumps(about)}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def reference(root, name, **card):
    """A recipe submission of a reference. card: other keys of submission.toml, `document` another scores.json."""
    model = f"reference:{name}"
    settings = {"model": model, "task": ["toy"], "prompt": "base", "split": "test", "limit": None, "seed": 0}
    digest = sha(name)
    facts = {"data_sha256": {}, "generations_sha256": digest, "model": {"kind": "reference"}}
    files = {
        "settings.json": dump_json(settings),
        "manifest.json": manifest(settings, {"toy": facts}),
        "toy/generations.jsonl": None,
    }
    about = {"method": "reference", "recipe": model, "seed": 0, "generations": {"toy": digest}}
    return submission(root, card.pop("folder", name), name, files=files, **{**about, **card})


def builtin(root, name, tasks, answers=None, **card):
    """A submission with the toy scores under the names of built-in tasks; returns its folder.

    answers: the text of a system's raw answers to all but the last example question of convarg; None makes a recipe.
    """
    model = "org/base" if answers else "reference:label-guess"
    settings = {"model": model, "task": list(tasks), "prompt": "base"}
    files, digests, facts = {"toy/generations.jsonl": None, "toy/scores.json": None}, {}, {}
    asked = [(e["item"], h["annotator"]) for e in task_card("convarg@1")["examples"] for h in e["humans"]]
    rows = "".join(dump_line(asdict(Generation(*pair, 0, answers, "stop", 1, ""))) for pair in asked[:-1])
    for task in tasks:
        files[f"{task}/scores.json"] = json.dumps(scored("label-guess")).replace("toy@1", f"{task}@1")
        files[f"{task}/generations.jsonl"] = rows if answers else None
        digests[task] = sha(rows)
        pinned = {Path(f.path).name: f.sha256 for f in load_spec(task).upstream.files}
        facts[task] = {"data_sha256": pinned, "generations_sha256": digests[task], "model": {}}
    files |= {"settings.json": dump_json(settings), "manifest.json": manifest(settings, facts)}
    about = {} if answers else {"method": "reference", "recipe": model, "seed": 0}
    return submission(root, name, files=files, generations=digests, **about, **card)


class ToyContext(CheckContext):
    """The context of someone who has the toy task's data."""

    def __init__(self, task=None):
        super().__init__()
        self._tasks = {"toy": task or toy_task()}
        self.embedder = NamedEmbedder()


def errors(folder):
    findings = Findings()
    read_submission(folder, findings)
    return [f"{f.where}: {f.text}" for f in findings.errors()]


def card_problems(values):
    """All problems of a parsed submission.toml."""
    try:
        Card.model_validate(values)
    except ValidationError as error:
        return validation_problems(error)
    return []


def edit(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(dump_json(value))


def rewritten(folder, change):
    """The card changed, and written again."""
    card = tomllib.loads((folder / "submission.toml").read_text())
    change(card)
    (folder / "submission.toml").write_text(to_toml(Card.model_validate(card)))
