"""A submission's folder, read and checked for agreement between its files; needs neither data nor model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..data.download import PinnedSpec
from ..data.task import load_spec, task_names
from ..errors import DataError, validation_problems
from ..io import read_text, sha256_bytes
from ..provenance import trained_by
from ..results.score_check import EQUAL, check_submitted
from ..results.score_report import ScoreReport
from ..settings import asked_by
from ..text import legible
from .card import Card, Line, TaskName, base_of, card_digest, is_baseline, publishes_dataset_text
from .safe_reading import (
    CARD,
    GENERATIONS,
    MANIFEST,
    README,
    SCORES,
    SETTINGS,
    files_of,
    read_untrusted,
    strings,
    unsafe,
)

_LONGEST = 400


@dataclass(frozen=True)
class Finding:
    """One line of a check. where: a file, a score or a row, relative to the submission."""

    level: Literal["OK", "WARN", "ERROR"]
    where: str
    text: str

    def __str__(self) -> str:
        line = " ".join(legible(f"{self.level:<5} {self.where}: {self.text}").split("\n"))
        return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


@dataclass
class Findings:
    """The lines of a check, in the order in which they were found."""

    found: list[Finding] = field(default_factory=list)

    def ok(self, where: str, text: str) -> None:
        self.found.append(Finding("OK", where, text))

    def warn(self, where: str, text: str) -> None:
        self.found.append(Finding("WARN", where, text))

    def error(self, where: str, *texts: str) -> None:
        """Add an error per text, the first 20 of them spelt out."""
        more = [f"and {len(texts) - 20} more"] * (len(texts) > 20)
        self.found += [Finding("ERROR", where, text) for text in [*texts[:20], *more]]

    def errors(self) -> list[Finding]:
        return [f for f in self.found if f.level == "ERROR"]

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.found)


class _Document(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class RunSettings(_Document):
    """What a settings.json must say for its run to be comparable: the whole test split, seed 0."""

    task: Annotated[list[TaskName], Field(min_length=1)]
    model: str
    split: Literal["test"] = "test"
    limit: None = None
    annotator: None = None
    history: None = None
    seed: Annotated[int, Field(ge=0, le=0)] = 0
    prompt: str = "base"
    adapter_dir: str | None = None
    model_map: dict[str, str] = {}


class TaskFacts(_Document):
    data_sha256: dict[str, str]
    generations_sha256: str
    model: dict[str, Any] = {}


class Manifest(_Document):
    settings: dict[str, Any]
    tasks: dict[str, TaskFacts]


Share = Annotated[float, Field(ge=0, le=1)] | None


class JudgeResult(_Document):
    """What a judge found on one task, as `hlvbench judge` leaves it."""

    task: str
    judge: Annotated[Line, Field(max_length=120)]
    accuracy: Share
    low: Share
    high: Share
    ceiling: Share
    floor: Share
    unreadable: int
    n: int


@dataclass(frozen=True)
class Submission:
    """What a sound folder holds. reports: task -> scores.json; judges: task -> what each judge found."""

    folder: Path
    card: Card
    settings: Mapping[str, Any]
    reports: Mapping[str, ScoreReport]
    judges: Mapping[str, list[JudgeResult]]


def read_submission(folder: Path, findings: Findings) -> Submission | None:
    """Read a submission and check that its files agree.

    Args:
        folder: The submission.
        findings: Receives everything that is wrong.

    Returns:
        The submission, or None if an error was found.
    """
    return _FolderReader(folder, findings).submission()


class _FolderReader:
    """The files of one folder, parsed; every method adds what is wrong to the findings."""

    card: Card
    settings: RunSettings
    manifest: Manifest

    def __init__(self, folder: Path, findings: Findings) -> None:
        self.folder, self.findings = folder, findings
        self.before = len(findings.errors())
        self.files, refused = files_of(folder)
        for name, why in refused:
            findings.error(name, why)
        for name in (CARD, README, SETTINGS, MANIFEST):
            if name not in self.files:
                findings.error(name, "missing, or not readable")
        # raw answers and replies are parsed where they are needed: here only their bytes count
        self.parsed = {name: self._read(name) for name in sorted(self.files) if not name.endswith(".jsonl")}

    def submission(self) -> Submission | None:
        if self._broken():
            return None
        whole = "; rows are compared on the whole test split (no --limit, --annotator or --history), seed 0"
        self.card, self.manifest = self._valid(Card, CARD), self._valid(Manifest, MANIFEST)
        self.settings = self._valid(RunSettings, SETTINGS, whole)
        if self._broken():
            return None
        self._check_files()
        self._check_texts()
        self._check_method()
        for task in self.settings.task:
            name = f"{task}/{SCORES}"
            found = check_submitted(self.parsed[name], task) if name in self.files else ["missing"]
            self.findings.error(name, *found)
            self._check_recipe(task)
            self._check_manifest(task)
        judges = {task: self._judges(task) for task in self.settings.task}
        if self._broken():
            return None
        reports = {task: ScoreReport.model_validate(self.parsed[f"{task}/{SCORES}"]) for task in judges}
        if self.card.verified and (why := self._not_verified(reports)):
            self.findings.warn(CARD, f"[verified] does not count: {why}; hlvbench check --write verifies again")
            self.card = self.card.model_copy(update={"verified": None})
        shown = ", ".join(report.task for report in reports.values())
        self.findings.ok(".", f"{len(self.files)} files match their hashes; {shown}")
        return Submission(self.folder, self.card, self.parsed[SETTINGS], reports, judges)

    def _broken(self) -> bool:
        return len(self.findings.errors()) > self.before

    def _read(self, name: str) -> Any:
        try:
            return read_untrusted(self.files[name])
        except DataError as error:
            self.findings.error(name, str(error))
            return None

    def _valid(self, model: Any, name: str, hint: str = "") -> Any:
        """A document as its type, or None."""
        try:
            return model.model_validate(self.parsed[name])
        except ValidationError as error:
            self.findings.error(name, *(f"{problem}{hint}" for problem in validation_problems(error)))
            return None

    def _check_files(self) -> None:
        """The folder's name, the hashes of its files and the tasks are those of the card and the settings."""
        card, tasks, error = self.card, self.settings.task, self.findings.error
        if self.folder.resolve().name != card.folder:
            error(CARD, f"date and name make {card.folder}, but the folder is {self.folder.resolve().name!r:.100}")
        for name in sorted({*card.files, *self.files} - {CARD, README}):
            if name not in self.files:
                error(name, f"listed in {CARD} and not here")
            elif name not in card.files:
                error(name, f"here and not listed in {CARD}")
            elif sha256_bytes(self.files[name].read_bytes()) != card.files[name]:
                error(name, f"its sha256 is not the one in {CARD}: changed after it was submitted")
            if "/" in name and name.split("/")[0] not in ("train", *tasks):
                error(name, f"the settings name the tasks {', '.join(tasks)} only")
        if set(card.generations) != set(tasks):
            error(CARD, f"generations: the tasks {', '.join(tasks)} were expected")

    def _check_texts(self) -> None:
        """No hidden character and no local path in any text that a reader may see."""
        if why := unsafe(self.parsed[README].replace("\t", " ").replace("\r\n", "\n")):
            self.findings.error(README, why)
        for name, value in self.parsed.items():
            if name in (SETTINGS, MANIFEST) or name.startswith("train/") or "/judge/" in name:
                self.findings.error(
                    name, *(f"{where} {why}" for where, text in strings(value) if (why := unsafe(text)))
                )

    def _check_method(self) -> None:
        """The method and the training that the card states agree with the settings and the training configurations."""
        card, settings, recorded = self.card, self.settings, asked_by(self.parsed[SETTINGS])
        method, splits, adapted = card.method, card.training.splits, bool(settings.adapter_dir or settings.model_map)
        trained = {by for name, value in self.parsed.items() if name.startswith("train/") and (by := trained_by(value))}
        model = f"the run's model is {settings.model!r:.60}"
        had = f"the run had the prompt {settings.prompt!r:.20}{' and adapters' * adapted}"
        rule = "reference is the method of reference: and attack: models, and of no other"
        files = f"the configurations in train/ say {', '.join(sorted(trained))}"
        seen = splits or card.training.note
        prompted, tuned = method in ("base", "icl", "vp", "vp-icl"), method in ("sft", "capo")
        wrong = {
            f"method is {method}, but {model}: {rule}": (method == "reference") != is_baseline(settings.model),
            f"method is {method}, but {had}": prompted and (settings.prompt != method or adapted),
            f"asked is {card.asked!r:.80}, but the run's settings say {recorded!r:.80}": card.asked != recorded,
            f"the recipe is {card.recipe}, but {model}": card.recipe not in (None, settings.model),
            f"training: {method} without a split; name it, or say in note what was read": tuned and not seen,
            "training.splits lacks train, which the configurations in train/ read": trained and "train" not in splits,
            f"method is {method}, but {files}": tuned and trained and trained != {method},
        }
        self.findings.error(CARD, *(why for why, is_wrong in wrong.items() if is_wrong))

    def _check_recipe(self, task: str) -> None:
        """Raw answers are there and are those of the card, except a baseline's, which are dataset text."""
        name, recipe, error = f"{task}/{GENERATIONS}", self.card.recipe, self.findings.error
        if recipe:
            if name in self.files or any(n.startswith(f"{task}/judge/") for n in self.files):
                error(name, "a recipe holds no answers and no judge's replies: its answers are dataset text")
        elif publishes_dataset_text(self.settings.model):
            error(name, f"{self.settings.model} answers with dataset text, which is not published: submit a recipe")
        elif name not in self.files:
            error(name, "missing")
        elif self.card.files.get(name) != self.card.generations.get(task):
            error(CARD, f"generations.{task} is not the hash of {name}")

    def _check_manifest(self, task: str) -> None:
        """The hashes of answers, base model, adapters and data are those of the run's manifest."""
        card, model, error = self.card, self.settings.model, self.findings.error
        facts = self.manifest.tasks.get(task)
        if self.manifest.settings != self.parsed[SETTINGS]:
            error(MANIFEST, f"its settings are not those of {SETTINGS}")
        if facts is None:
            return error(MANIFEST, f"no facts about {task}")
        if facts.generations_sha256 != card.generations.get(task):
            error(MANIFEST, f"{task}: generations_sha256 is not that of {CARD}")
        if card.base and not is_baseline(model):
            wrong = [key for key, value in base_of(facts.model, model).items() if getattr(card.base, key) != value]
            error(CARD, *(f"base: {key} is not what {MANIFEST} says of {task}" for key in wrong))
        if facts.model.get("adapters", {}) != {a.annotator: a.sha256 for a in card.adapters if a.task == task}:
            error(CARD, f"adapters: the hashes of {task} are not those of {MANIFEST}")
        spec = load_spec(task) if task in task_names() else None
        for file in spec.upstream.files if isinstance(spec, PinnedSpec) else ():
            if (got := facts.data_sha256.get(file.name)) != file.sha256:
                error(MANIFEST, f"{task}: made with another {file.name} ({got!r:.20}, pinned {file.sha256:.12})")

    def _judges(self, task: str) -> list[JudgeResult]:
        names = [name for name in self.parsed if is_judge_result(name, task)]
        found = {name: result for name in names if (result := self._valid(JudgeResult, name))}
        for name, result in found.items():
            if result.task.partition("@")[0] != task:
                self.findings.error(name, f"the result of a judge on {result.task!r:.60}")
        return list(found.values())

    def _not_verified(self, reports: Mapping[str, ScoreReport]) -> str:
        """Why the record of a verification does not hold for this submission; else empty."""
        verified, versions = self.card.verified, {report.version for report in reports.values()}
        if verified is None or verified.card_sha256 != card_digest(read_text(self.files[CARD])):
            return f"{CARD} or a file was changed after it"
        if versions != {verified.hlvbench}:
            return f"it was done by hlvbench {verified.hlvbench}, the scores are of {', '.join(sorted(versions))}"
        if verified.date < self.card.date:
            return f"its date {verified.date} is before the submission's"
        return "" if verified.largest_difference <= EQUAL else f"its largest difference is above {EQUAL}"


def is_judge_result(name: str, task: str) -> bool:
    """Whether a file is what a judge found, not its replies (.jsonl) or its settings (.plan.json)."""
    return name.startswith(f"{task}/judge/") and name.endswith(".json") and not name.endswith(".plan.json")
