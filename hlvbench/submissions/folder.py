"""A submission's folder, read and held against itself: needs neither data nor model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.task import load_spec, task_names
from ..data.task_config import is_name
from ..errors import DataError
from ..io import sha256_bytes
from ..results.score_check import EQUAL, check_submitted
from ..results.score_report import ScoreReport
from ..settings import asked_by
from ..text import hidden, local_path
from . import safe_reading as intake
from .card import base_of, card_digest, card_problems, folder_name, is_reference, trained_by
from .findings import Findings
from .recipe import publishes_dataset_text
from .safe_reading import CARD, GENERATIONS, MANIFEST, README, SCORES, SETTINGS, strings

_UNHASHED = (CARD, README)
_PROMPTED = ("base", "icl", "vp", "vp-icl")


@dataclass(frozen=True)
class Submission:
    """What a sound folder holds. documents: task -> scores.json; judges: task -> what each judge found."""

    folder: Path
    card: Mapping[str, Any]
    settings: Mapping[str, Any]
    manifest: Mapping[str, Any]
    documents: Mapping[str, Mapping[str, Any]]
    judges: Mapping[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    scale: float = 1.0
    """How much larger limits on its files are than for a task with few annotators (`intake.room`)."""


def read_submission(folder: Path, findings: Findings, annotators: int = 0) -> Submission | None:
    """The submission, or None with everything that is wrong among the findings.

    annotators: of the largest of its tasks; limits on sizes grow with them.
    """
    before, scale = len(findings.errors()), intake.room(annotators)
    files = intake.files_of(folder, findings, scale)
    if not {CARD, README, SETTINGS, MANIFEST} <= files.keys():
        for name in (CARD, README, SETTINGS, MANIFEST):
            if name not in files:
                findings.error(name, "missing, or not readable")
        return None
    card = _read_card(files, findings, scale)
    parsed = {name: _read(files[name], name, findings, scale) for name in sorted(files) if name not in _UNHASHED}
    if card is None or len(findings.errors()) > before:
        return None
    _folder(folder, card, findings)
    _hashes(files, card, findings, scale)
    _readme(files[README], findings)
    settings, manifest = parsed[SETTINGS], parsed[MANIFEST]
    _no_paths(
        {n: v for n, v in parsed.items() if n in (SETTINGS, MANIFEST) or n.startswith("train/") or "/judge/" in n},
        findings,
    )
    tasks = _settings(settings, card, findings)
    documents = {}
    for task in tasks:
        document = parsed.get(f"{task}/{SCORES}")
        if document is None:
            findings.error(f"{task}/{SCORES}", "missing")
            continue
        for problem in check_submitted(document, task, scale):
            findings.error(f"{task}/{SCORES}", problem)
        documents[task] = document
    for name in files:
        if "/" in name and not name.startswith("train/") and name.split("/")[0] not in tasks:
            findings.error(name, f"the settings name the tasks {', '.join(tasks)} only")
    _texts(files, card, settings, tasks, findings)
    if len(findings.errors()) > before:
        return None
    _manifest(manifest, card, settings, tasks, findings)
    _training(card, parsed, findings)
    judges = {task: _judges(parsed, task, findings) for task in tasks}
    if len(findings.errors()) > before:
        return None
    if "verified" in card and (why := _not_verified(card, documents)):
        findings.warn(CARD, f"[verified] does not count: {why}; hlvbench check --write verifies anew")
        card = {key: value for key, value in card.items() if key != "verified"}
    findings.ok(".", f"{len(files)} files, all as their hashes say; {', '.join(d['task'] for d in documents.values())}")
    return Submission(folder, card, settings, manifest, documents, judges, scale)


def _read_card(files: Mapping[str, Path], findings: Findings, scale: float) -> dict[str, Any] | None:
    try:
        card = intake.read_toml(files[CARD], scale)
    except DataError as error:
        findings.error(CARD, str(error))
        return None
    problems = card_problems(card)
    for problem in problems:
        findings.error(CARD, problem)
    return None if problems else card


def _read(path: Path, name: str, findings: Findings, scale: float) -> Any:
    """A file by its kind. Raw answers and judge replies are read where they are needed: only their bytes count here."""
    if name.endswith(".jsonl"):
        return None
    try:
        return intake.read_toml(path, scale) if name.endswith(".toml") else intake.read_json(path, scale)
    except DataError as error:
        findings.error(name, str(error))
        return None


def _folder(folder: Path, card: Mapping[str, Any], findings: Findings) -> None:
    if folder.resolve().name != folder_name(card):
        findings.error(
            CARD, f"date and name make {folder_name(card)}, but the folder is {folder.resolve().name!r:.100}"
        )


def _hashes(files: Mapping[str, Path], card: Mapping[str, Any], findings: Findings, scale: float) -> None:
    listed = card["files"]
    for name in sorted({*listed, *files} - set(_UNHASHED)):
        if name not in files:
            findings.error(name, f"named in {CARD} and not here")
        elif name not in listed:
            findings.error(name, f"here and not named in {CARD}")
        elif sha256_bytes(intake.read_bytes(files[name], scale)) != listed[name]:
            findings.error(name, f"its sha256 is not the one in {CARD}: changed after it was submitted")
    for task, digest in card["generations"].items():
        if "recipe" not in card and listed.get(f"{task}/{GENERATIONS}") != digest:
            findings.error(CARD, f"generations.{task} is not the hash of {task}/{GENERATIONS}")


def _readme(path: Path, findings: Findings) -> None:
    try:
        text = intake.read_text(path)
    except DataError as error:
        findings.error(README, str(error))
        return
    if char := hidden(text.replace("\t", " ").replace("\r\n", "\n")):
        findings.error(README, f"holds {char}, which a reader cannot see")
    if place := local_path(text):
        findings.error(README, f"holds the local path {place!r:.80}")


def _no_paths(values: Mapping[str, Any], findings: Findings) -> None:
    for name, value in values.items():
        for where, text in strings(value):
            if place := local_path(text):
                findings.error(name, f"{where} holds the local path {place!r:.80}; put the folder's name there")
            if char := hidden(text):
                findings.error(name, f"{where} holds {char}, which a reader cannot see")


def _not_verified(card: Mapping[str, Any], documents: Mapping[str, Mapping[str, Any]]) -> str:
    """Why the record of a verification is not one of this submission; else empty."""
    found = card["verified"]
    if found["card_sha256"] != card_digest(card):
        return f"{CARD} or a file was changed after it"
    versions = {ScoreReport.model_validate(document).version for document in documents.values()}
    if versions != {found["hlvbench"]}:
        return f"it was done by hlvbench {found['hlvbench']}, the scores are of {', '.join(sorted(versions))}"
    if found["date"] < card["date"]:
        return f"its date {found['date']} is before the submission's"
    return "" if found["largest_difference"] <= EQUAL else f"its largest difference is above {EQUAL}"


def _training(card: Mapping[str, Any], parsed: Mapping[str, Any], findings: Findings) -> None:
    """What the card says of training, held against the configurations that lie beside it."""
    method, splits = card["method"], card["training"]["splits"]
    if method in ("sft", "capo") and not splits and not card["training"].get("note"):
        findings.error(CARD, f"training: {method} without a split that it read; name it, or say in note what was read")
    told = {trainer for name, v in parsed.items() if name.startswith("train/") and (trainer := trained_by(v))}
    if told and "train" not in splits:
        findings.error(CARD, "training.splits lacks train, which the configurations in train/ read")
    if told and method in ("sft", "capo") and told != {method}:
        findings.error(CARD, f"method is {method}, but the configurations in train/ say {', '.join(sorted(told))}")


def _settings(settings: Any, card: Mapping[str, Any], findings: Findings) -> list[str]:
    """The tasks; with a finding for settings under which no two rows could be compared."""
    tasks = settings.get("task") if isinstance(settings, dict) else None
    if not isinstance(tasks, list) or not tasks or not all(isinstance(t, str) and is_name(t) for t in tasks):
        findings.error(SETTINGS, "no settings of a run: task is no list of names")
        return []
    wanted = {"split": "test", "limit": None, "annotator": None, "history": None, "seed": 0}
    wanted_text = "the whole test split (no --limit, --annotator or --history), seed 0"
    for key, value in wanted.items():
        if settings.get(key, value) != value:
            findings.error(SETTINGS, f"{key} is {settings[key]!r:.60}; rows are compared on {wanted_text}")
    if not isinstance(settings.get("model"), str):
        findings.error(SETTINGS, "model is missing")
        return []
    if (card["method"] == "reference") != is_reference(settings["model"]):
        findings.error(CARD, f"method is {card['method']}, but the run's model is {settings['model']!r:.60}: reference "
                       "is the method of reference: and attack: models, and of no other")  # fmt: skip
    prompt, method = settings.get("prompt", "base"), card["method"]
    if method in _PROMPTED and (prompt != method or settings.get("adapter_dir") or settings.get("model_map")):
        findings.error(CARD, f"method is {method}, but the run had the prompt {prompt!r:.20}"
                       f"{' and adapters' if settings.get('adapter_dir') else ''}")  # fmt: skip
    if card.get("asked", {}) != asked_by(settings):
        findings.error(
            CARD, f"asked is {card.get('asked')!r:.80}, but the run's settings say {asked_by(settings)!r:.80}"
        )
    if set(card["generations"]) != set(tasks):
        findings.error(CARD, f"generations: the tasks {', '.join(tasks)} were expected")
    return tasks


def _texts(
    files: Mapping[str, Path],
    card: Mapping[str, Any],
    settings: Mapping[str, Any],
    tasks: list[str],
    findings: Findings,
) -> None:
    """Raw text is there, but for references, whose texts are dataset text."""
    model = str(settings.get("model"))
    for task in tasks:
        name = f"{task}/{GENERATIONS}"
        if "recipe" in card and (name in files or any(n.startswith(f"{task}/judge/") for n in files)):
            findings.error(name, "a recipe carries no text and no judge's replies: its answers are dataset text")
        elif "recipe" not in card and publishes_dataset_text(model):
            findings.error(name, f"{model} answers with dataset text, which is not published: submit it as a recipe")
        elif "recipe" not in card and name not in files:
            findings.error(name, "missing")
    if "recipe" in card and card["recipe"] != model:
        findings.error(CARD, f"the recipe is {card['recipe']}, the run's model {model!r:.60}")


def _manifest(
    manifest: Any, card: Mapping[str, Any], settings: Mapping[str, Any], tasks: list[str], findings: Findings
) -> None:
    if not isinstance(manifest, dict) or not isinstance(manifest.get("tasks"), dict):
        findings.error(MANIFEST, "no manifest of a run: tasks are missing")
        return
    if manifest.get("settings") != settings:
        findings.error(MANIFEST, f"its settings are not those of {SETTINGS}")
    for task in tasks:
        facts = manifest["tasks"].get(task)
        if not isinstance(facts, dict) or not isinstance(facts.get("data_sha256"), dict):
            findings.error(MANIFEST, f"no facts about {task}")
            continue
        if facts.get("generations_sha256") != card["generations"][task]:
            findings.error(MANIFEST, f"{task}: generations_sha256 is not that of {CARD}")
        model = facts.get("model")
        model = model if isinstance(model, dict) else {}
        named = "base" in card and not is_reference(str(settings["model"]))
        if named and (wrong := _other_base(card["base"], base_of(model, str(settings["model"])))):
            findings.error(CARD, f"base: {wrong} not what {MANIFEST} says of {task}")
        made = model.get("adapters", {})
        told = {a["annotator"]: a["sha256"] for a in card.get("adapters", []) if a["task"] == task}
        if made != told:
            findings.error(CARD, f"adapters: the hashes of {task} are not those of {MANIFEST}")
        for what, here, there in _other_data(task, facts["data_sha256"]):
            findings.error(MANIFEST, f"{task}: made with another {what} ({here!r:.20}, pinned {there:.12})")


def _other_base(told: Mapping[str, Any], made: Mapping[str, str]) -> str:
    """The keys of the card's base model that are not the manifest's, with "is" or "are"; else empty."""
    wrong = [key for key, value in made.items() if told.get(key) != value]
    return f"{', '.join(wrong)} {'is' if len(wrong) == 1 else 'are'}" if wrong else ""


def _other_data(task: str, hashes: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    """(file, its hash, the pinned one) of every source file that is another; tasks unknown here have none."""
    if task not in task_names():
        return []
    spec = load_spec(task)
    files = spec.upstream.files if hasattr(spec, "upstream") else ()
    pinned = {Path(f.path).name: f.sha256 for f in files}
    return [(name, hashes.get(name), digest) for name, digest in pinned.items() if hashes.get(name) != digest]


_JUDGED = {"task": str, "judge": str, "n": int, "unreadable": int}


def is_summary(name: str, task: str) -> bool:
    """Whether a file is what a judge found, beside its replies (.jsonl) and how they were asked for (.plan.json)."""
    return name.startswith(f"{task}/judge/") and name.endswith(".json") and not name.endswith(".plan.json")


def _judges(parsed: Mapping[str, Any], task: str, findings: Findings) -> list[Mapping[str, Any]]:
    """The summaries that judges left, where they have the fields of docs/cli.md."""
    out = []
    found = [(n, v) for n, v in parsed.items() if is_summary(n, task)]
    for name, value in found:
        fits = isinstance(value, dict) and all(type(value.get(k)) is kind for k, kind in _JUDGED.items())
        if fits and value["task"].partition("@")[0] != task:
            findings.error(name, f"a judge's summary of {value['task']!r:.60}")
            continue
        ends = [value.get(k) for k in ("accuracy", "low", "high", "ceiling", "floor")] if fits else []
        if not fits or not all(e is None or (isinstance(e, int | float) and 0 <= e <= 1) for e in ends):
            findings.error(
                name, "no summary of a judge: task, judge, accuracy, low, high, ceiling, floor, unreadable, n"
            )
        elif hidden(value["judge"]) or len(value["judge"]) > 120:
            findings.error(name, "the judge's name is no plain short text")
        else:
            out.append(value)
    return out
