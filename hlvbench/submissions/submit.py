"""`hlvbench submit`: a finished run becomes a folder that others can check."""

from __future__ import annotations

import datetime
import json
import math
import shlex
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DataError, RunError, UsageError, all_problems
from ..io import dump_json, read_generations, read_json, read_text, sha256_bytes, sha256_file, write_atomic
from ..results import side_by_side
from ..results.markdown import plain
from ..results.score_report import ScoreReport
from ..settings import asked_by
from ..types import Task
from .answer_files import to_generations
from .card import (
    FORMAT,
    LINKS,
    METHODS,
    SLUG,
    SPLITS,
    base_of,
    folder_name,
    in_future,
    is_reference,
    to_toml,
    toml_lines,
    trained_by,
    without_paths,
)
from .check import Desk, judge_overlap
from .findings import Findings
from .folder import read_submission
from .recipe import publishes_dataset_text
from .safe_reading import CARD, GENERATIONS, MANIFEST, PROFILES, README, SCORES, SETTINGS

TRAINED, RECORD = "train.toml", "hlvbench.json"
"""What training leaves beside an adapter: its resolved configuration, and whom it speaks for on which base."""


@dataclass(frozen=True)
class About:
    """What a run's own files cannot tell; what is None or empty is left out or read from the run.

    trained_on: splits that training read. distributed: can others get the model?
    """

    authors: Sequence[str] = ()
    system: str | None = None
    method: str | None = None
    description: str = ""
    links: Mapping[str, str] = field(default_factory=dict)
    trained_on: Sequence[str] | None = None
    annotators: str | None = None
    lewidi: bool = False
    contaminated: bool = False
    training_note: str = ""
    distributed: bool | None = None
    hardware: str | None = None
    hours: float | None = None
    usd: float | None = None
    date: datetime.date | None = None


def submit(
    run: Path, *, name: str, about: About, root: Path = Path("submissions"), desk: Desk | None = None
) -> tuple[Path, Findings]:
    """Write `root`/<YYYYMMDD>_<name>/ from a finished, scored run, and what was found on the way.

    A reference run becomes a recipe, without texts. RunError for a run that is not finished and scored, or whose
    texts are copies of human records; UsageError for what is missing in `about`: all problems at once.
    """
    desk = desk or Desk()
    settings, manifest, documents = _finished(run)
    _check_choice(name, about, settings)
    card = _card(run, name, about, settings, manifest)
    target = root / folder_name(card)
    if target.exists():
        raise RunError(f"{target} exists; choose another --name, or remove it")
    root.mkdir(parents=True, exist_ok=True)
    findings = Findings()
    with tempfile.TemporaryDirectory(dir=root, prefix=".submit-") as scratch:
        made = Path(scratch) / target.name
        _write(made, run, card, settings, manifest, documents, desk, findings)
        read_submission(made, findings, desk.annotators(documents))
        if findings.errors():
            raise RunError(all_problems(f"{run} cannot be submitted:", map(str, findings.errors())))
        made.rename(target)
    return target, findings


def _finished(run: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, dict[str, Any]]]:
    absent = [n for n in (SETTINGS, MANIFEST) if not (run / n).is_file()]
    if absent:
        raise RunError(f"{run} is no finished run: {' and '.join(absent)} missing")
    settings, manifest = read_json(run / SETTINGS), read_json(run / MANIFEST)
    tasks = list(settings["task"])
    lacking = [f"{t}/{n}" for t in tasks for n in (GENERATIONS, SCORES) if not (run / t / n).is_file()]
    if lacking:
        raise RunError(
            all_problems(f"{run} is not finished; the same command continues it, `hlvbench score` scores it:", lacking)
        )
    return settings, manifest, {t: read_json(run / t / SCORES) for t in tasks}


def _check_choice(name: str, about: About, settings: Mapping[str, Any]) -> None:
    """What the person who submits must say."""
    problems = []
    if not SLUG.fullmatch(name):
        problems.append(f"--name {name!r}: small letters, digits, - and . inside, at most 60 characters")
    if not about.authors and not is_reference(str(settings["model"])):
        problems.append("--authors: who stands behind the system? names, comma-separated")
    if about.method not in (None, *METHODS):
        problems.append(f"--method {about.method}: one of {', '.join(METHODS)}")
    if strange := sorted(set(about.links) - set(LINKS)):
        problems.append(f"--link {', '.join(strange)}: one of {', '.join(LINKS)}")
    if strange := sorted(set(about.trained_on or ()) - {*SPLITS, "none"}):
        problems.append(f"--trained-on {', '.join(strange)}: {', '.join(SPLITS)}, or none")
    for option, amount in (("--hours", about.hours), ("--usd", about.usd)):
        if amount is not None and not (0 <= amount < math.inf):
            problems.append(f"{option} {amount}: a number from 0")
    if about.date and (why := in_future(about.date)):
        problems.append(f"--date {why}")
    if about.trained_on and "none" in about.trained_on and len(about.trained_on) > 1:
        problems.append(f"--trained-on {','.join(about.trained_on)}: none, or splits")
    if _trained(settings) and not about.trained_on:
        problems.append("--trained-on: which splits did training read? train (dev or test would mark the row), or none")
    if problems:
        raise UsageError(all_problems("a submission needs more:", problems))


def _trained(settings: Mapping[str, Any]) -> bool:
    return bool(settings.get("adapter_dir") or settings.get("model_map"))


def _card(
    run: Path, name: str, about: About, settings: Mapping[str, Any], manifest: Mapping[str, Any]
) -> dict[str, Any]:  # fmt: skip
    facts = manifest["tasks"]
    described = next(iter(facts.values()))["model"]
    method = about.method or _method(settings)
    model = without_paths(str(settings["model"]))
    card: dict[str, Any] = {
        "format": FORMAT, "name": name, "date": about.date or datetime.datetime.now(datetime.UTC).date(),
        "system": about.system or (model if is_reference(str(settings["model"])) else f"{model}, {method}"),
        "method": method, "authors": list(about.authors) or ["hlvbench"],
    }  # fmt: skip
    if publishes_dataset_text(str(settings["model"])):
        card |= {"recipe": settings["model"], "seed": settings["seed"]}
    card |= {"description": about.description} if about.description else {}
    card |= {"links": dict(about.links)} if about.links else {}
    card |= _base(described, model, settings, about)
    card |= {"asked": asked} if (asked := asked_by(settings)) else {}
    whose = about.annotators or _whose(settings)
    card["training"] = {
        "annotators": whose, "splits": [s for s in about.trained_on or () if s != "none"], "lewidi": about.lewidi,
        **({"contaminated": True} if about.contaminated else {}),
        **({"note": about.training_note} if about.training_note else {}),
    }  # fmt: skip
    hours = about.hours if about.hours is not None else round(manifest["wall_seconds"] / 3600, 3)
    cost = {"hardware": about.hardware or described.get("device"), "hours": hours, "usd": about.usd}
    card["cost"] = {k: v for k, v in cost.items() if v is not None}
    command = shlex.join(without_paths(_without_out(manifest["command"]))) or "hlvbench run"
    card["reproduce"] = {"commands": [*_training_commands(settings), command]}
    card["generations"] = {task: sha256_file(run / task / GENERATIONS) for task in settings["task"]}
    adapters = [
        {"task": task, "annotator": annotator, "sha256": digest}
        for task in settings["task"] for annotator, digest in facts[task]["model"].get("adapters", {}).items()
    ]  # fmt: skip
    return card | ({"adapters": adapters} if adapters else {})


def _whose(settings: Mapping[str, Any]) -> str:
    """Whose records training read, as far as the adapters tell."""
    if not _trained(settings):
        return "none"
    shared = any(path.startswith("train/shared.") for path, _ in _training_files(settings))
    return "one adapter, all annotators' records" if shared else "each adapter its annotator's own records"


def _without_out(command: Sequence[str]) -> list[str]:
    """The command less what only says where results go and how much is talked."""
    kept, skip = [], False
    for word in command:
        if skip or word in ("-q", "--quiet", "--debug"):
            skip = False
        elif word in ("--out", "--data-dir"):
            skip = True
        elif not word.startswith(("--out=", "--data-dir=")):
            kept.append(word)
    return kept


def _method(settings: Mapping[str, Any]) -> str:
    """sft or capo where the adapters' training configuration says so; else the prompt, or "adapter"."""
    if is_reference(str(settings["model"])):
        return "reference"
    if not _trained(settings):
        return str(settings["prompt"])
    told = {trainer for _, read in _training_files(settings) if (trainer := trained_by(read))}
    return told.pop() if len(told) == 1 else "adapter"


def _base(described: Mapping[str, Any], model: str, settings: Mapping[str, Any], about: About) -> dict[str, Any]:
    if is_reference(str(settings["model"])):
        return {}
    return {
        "base": {
            **base_of(described, model),
            **({} if about.distributed is None else {"distributed": about.distributed}),
        }
    }


def _training_files(settings: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """(path in the submission, parsed content) of every train.toml and hlvbench.json beside the adapters."""
    root = Path(str(settings.get("adapter_dir") or "")).expanduser()
    if not settings.get("adapter_dir") or not root.is_dir():
        return []
    out = []
    for path in sorted(p for n in (TRAINED, RECORD) for depth in ("", "*/", "*/*/") for p in root.glob(f"{depth}{n}")):
        inner = path.parent.relative_to(root).parts
        if any(part.startswith(".") for part in inner):  # an unfinished training
            continue
        stem = "/".join(inner) or "shared"
        read = tomllib.loads(read_text(path)) if path.suffix == ".toml" else read_json(path)
        out.append((f"train/{stem}{path.suffix}", read))
    return out


def _training_commands(settings: Mapping[str, Any]) -> list[str]:
    """How the adapters were trained, as their manifests tell; `--out` is the folder that the run names."""
    root = Path(str(settings.get("adapter_dir") or "")).expanduser()
    if not settings.get("adapter_dir") or not root.is_dir():
        return []
    # "[!.]": unfinished trainings are hidden
    manifests = [p for depth in ("", "[!.]*/[!.]*/") for p in sorted(root.glob(f"{depth}{MANIFEST}"))]
    told = [read_json(path).get("command") for path in manifests]
    return list(dict.fromkeys(shlex.join(without_paths(words)) for words in told if isinstance(words, list) and words))


def _write(
    made: Path, run: Path, card: dict[str, Any], settings: Mapping[str, Any], manifest: Mapping[str, Any],
    documents: Mapping[str, Mapping[str, Any]], desk: Desk, findings: Findings,
) -> None:  # fmt: skip
    """All files of the submission; local paths are cut to folder names, what others must not see stays behind."""
    shown = without_paths(dict(settings))
    contents: dict[str, str | bytes] = {SETTINGS: dump_json(shown)}
    contents[MANIFEST] = dump_json({**without_paths(dict(manifest)), "settings": shown})
    for path, read in _training_files(settings):
        plain_ = without_paths(json.loads(json.dumps(read)))
        contents[path] = dump_json(plain_) if path.endswith(".json") else "\n".join(toml_lines(plain_)) + "\n"
    for task, document in documents.items():
        contents[f"{task}/{SCORES}"] = dump_json({**document, "system": without_paths(document["system"])})
        loaded = desk.task(task)
        if "recipe" not in card:
            contents[f"{task}/{GENERATIONS}"] = (run / task / GENERATIONS).read_bytes()
            card |= _overlap(run, task, loaded, card, desk, findings)
        for file in [run / task / PROFILES, *sorted((run / task / "judge").glob("*.json*"))]:
            if not file.is_file():
                continue
            name = file.relative_to(run).as_posix()
            if "recipe" in card or (isinstance(loaded, Task) and desk.quoted(file, loaded)):
                findings.warn(name, "left out: it may hold dataset text")
            else:
                contents[name] = _shown(file) if "/judge/" in name else file.read_bytes()
    for name, content in contents.items():
        write_atomic(made / name, content)
    raw = {name: c.encode() if isinstance(c, str) else c for name, c in contents.items()}
    card["files"] = {name: sha256_bytes(raw[name]) for name in sorted(raw)}
    write_atomic(made / README, _readme(card, documents))
    write_atomic(made / CARD, to_toml(card))


def _shown(file: Path) -> str | bytes:
    """A judge's file; what it says of its model's place on this machine is cut to a name."""
    return dump_json(without_paths(read_json(file))) if file.suffix == ".json" else file.read_bytes()


def _overlap(
    run: Path, task: str, loaded: Task | str, card: Mapping[str, Any], desk: Desk, findings: Findings
) -> dict[str, Any]:
    """The counts of memorised text for the card; copies of test records are an error."""
    where = f"{task}/{GENERATIONS}"
    if not isinstance(loaded, Task):
        findings.warn(where, f"not compared with people's texts: {loaded}")
        return {}
    if desk.synthetic(loaded):
        return {}
    try:
        rows = to_generations([vars(row) for row in read_generations(run / where)])
    except DataError as error:
        findings.error(where, str(error))
        return {}
    found = desk.originals(loaded).overlap(rows)
    judge_overlap(found, where, findings)
    return {"overlap": {**card.get("overlap", {}), task: found.told}}


def _readme(card: Mapping[str, Any], documents: Mapping[str, Mapping[str, Any]]) -> str:
    """The submission in a page: what it is, its headline scores, how to make and to check them."""
    lines = [f"# {plain(card['system'])}", ""]
    lines += [plain(card["description"]), ""] if card.get("description") else []
    base, training = card.get("base"), card["training"]
    lines += [f"- Authors: {plain(', '.join(card['authors']))}", f"- Method: {plain(card['method'])}"]
    if base:
        gone = " (not distributed)" if base.get("distributed") is False else ""
        lines.append(f"- Base model: {plain(base['name'])}{gone}")
    lines.append(f"- Trained on: {plain(', '.join(training['splits']) or 'no record of these tasks')}"
                 f"{'; ' + plain(training['note']) if training.get('note') else ''}")  # fmt: skip
    for task, counts in card.get("overlap", {}).items():
        lines.append(f"- {plain(task)}: {counts['train_copies']} of {counts['answers']} answers equal a train or dev "
                     f"record, {counts['dataset_text']} hold a long stretch of dataset text")  # fmt: skip
    if "recipe" in card:
        lines.append(f"- A recipe: `{card['recipe']}` answers with dataset text, which is not published; "
                     "`hlvbench check` makes it again where the data are at hand")  # fmt: skip
    commands = [f"    {command}" for command in card["reproduce"]["commands"]]
    table = side_by_side(
        {str(card["system"]): [ScoreReport.model_validate(document) for document in documents.values()]}
    )
    return "\n".join([*lines, "", *commands, f"    hlvbench check submissions/{folder_name(card)}", "", table, ""])
