"""`hlvbench check`: is a submission what it says, and do its numbers follow from its raw text?"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..data.task import describe_tasks, load_spec, load_task
from ..embeddings import load_embedder
from ..errors import DataError, HlvbenchError, UsageError
from ..io import dump_json, generation_lines, read_json, read_text, sha256_bytes, sha256_text, write_atomic
from ..metrics.predictions import Embedder
from ..results import side_by_side
from ..results.score_check import EQUAL
from ..results.score_report import ScoreReport
from ..results.scorecard import score_task
from ..settings import asked_by
from ..types import Generation, Task
from . import safe_reading as intake
from .answer_files import Asked, answer_problems, to_generations
from .card import card_digest, in_future, to_toml
from .copies import STRETCH, Originals, Overlap
from .findings import Findings
from .folder import Submission, read_submission
from .judged_task import check_judges
from .recipe import regenerate
from .rescore import compare_documents
from .safe_reading import CARD, GENERATIONS, MANIFEST, README, SCORES, SETTINGS

MOST_COPIES = 0.02
"""Of all answers; beyond it the text is the test records', not a coincidence."""
MOST_DATASET_TEXT = 0.25
"""Beyond it a submission would publish the dataset, for which no licence is stated."""


@dataclass(frozen=True)
class Rescored:
    """What scoring again gave: the largest difference and the new documents of tasks scored by an older version."""

    largest: float
    tasks: tuple[str, ...]
    renewed: Mapping[str, Mapping[str, Any]]


class Desk:
    """What checks share: tasks, originals and the encoder are loaded once for any number of submissions."""

    def __init__(self, data_dir: Path | None = None, tasks_dir: Path | None = None) -> None:
        self.data_dir, self.tasks_dir = data_dir, tasks_dir
        self._tasks: dict[str, Task | str] = {}
        self._originals: dict[str, Originals] = {}
        self._embedder: Embedder | None = None

    def task(self, name: str) -> Task | str:
        """The task, or why it is not at hand; nothing is downloaded."""
        if name not in self._tasks:
            rows = {r["name"]: r for r in describe_tasks(self.data_dir, self.tasks_dir)}
            row = rows.get(name, {"data": "not here", "problem": f"no task {name} here"})
            if row["problem"] or not str(row["data"]).startswith("here"):
                self._tasks[name] = str(row["problem"] or "the data are not at hand")
            else:
                try:
                    self._tasks[name] = load_task(name, self.data_dir, self.tasks_dir)
                except HlvbenchError as error:
                    self._tasks[name] = str(error)
        return self._tasks[name]

    def annotators(self, tasks: Iterable[str]) -> int:
        """How many the largest of the tasks has; 0 where none is at hand."""
        return max((len(t.annotators) for name in tasks if isinstance(t := self.task(name), Task)), default=0)

    def originals(self, task: Task) -> Originals:
        if task.name not in self._originals:
            self._originals[task.name] = Originals(task)
        return self._originals[task.name]

    def synthetic(self, task: Task) -> bool:
        """Whether the task's texts are generated: habits then make equal sentences, and there is no licence to keep."""
        try:
            return load_spec(task.name, self.tasks_dir).source == "synthetic"
        except HlvbenchError:
            return False

    def quoted(self, path: Path, task: Task) -> bool:
        """Whether a file must stay behind, because it holds dataset text."""
        scale = intake.room(len(task.annotators))
        return not self.synthetic(task) and quotes_dataset(path, self.originals(task), scale)

    @property
    def embedder(self) -> Embedder:
        if self._embedder is None:
            self._embedder = load_embedder()
        return self._embedder


def check(
    folder: Path, *, desk: Desk | None = None, write: bool = False, rescore: bool = True, new: bool = False
) -> Findings:
    """Everything that is wrong with, or worth knowing about, one submission.

    write: where nothing is wrong and everything was scored again, record that as [verified] in submission.toml;
    scores of an older hlvbench are then replaced by those of this one. rescore: False leaves that part out.
    new: the submitter's own state, in which [verified], a maintainer's record, is an error.
    """
    findings, desk = Findings(), desk or Desk()
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; name a folder of submissions/")
    if not (folder / CARD).exists() and (folder / SETTINGS).exists():
        raise UsageError(f"{folder} is a run, not a submission; make one of it: hlvbench submit {folder} --name NAME")
    submission = read_submission(folder, findings, desk.annotators(p.name for p in folder.iterdir() if p.is_dir()))
    if submission is None:
        return findings
    if why := in_future(submission.card["date"]):
        findings.error(CARD, f"date: {why}")
    if new and "verified" in submission.card:
        findings.error(CARD, "[verified] is what a maintainer writes, by check --write; leave it out")
    answers = {task: _answers(submission, task, desk, findings) for task in submission.documents}
    _quotes(submission, desk, findings)
    _disclosures(submission.card, findings)
    if findings.errors() or not rescore:
        return findings
    done = _rescore(submission, answers, desk, findings, new)
    for task, rows in answers.items():
        check_judges(submission, task, desk.task(task), rows, findings)
    if write:
        _record(submission, answers, done, findings)
    elif "verified" not in submission.card and not any("[verified]" in f.text for f in findings):
        findings.warn(CARD, "not verified yet: hlvbench check --write records it")
    return findings


def _answers(submission: Submission, task: str, desk: Desk, findings: Findings) -> list[Generation]:
    """The raw answers of a task, held against its questions and its texts; [] where they cannot be used."""
    document, where = submission.documents[task], f"{task}/{GENERATIONS}"
    loaded = desk.task(task)
    if isinstance(loaded, Task) and f"{task}@{loaded.version}" != document["task"]:
        loaded = f"version {loaded.version} of the task is at hand, the row is of {document['task']}"
    if "recipe" in submission.card:
        return _regenerated(submission, task, loaded, desk, findings)
    try:
        rows = to_generations(intake.read_rows(submission.folder / task / GENERATIONS, submission.scale))
    except DataError as error:
        findings.error(where, str(error))
        return []
    asked = Asked.of(loaded) if isinstance(loaded, Task) else Asked.without_data(task)
    if asked is None:
        findings.warn(where, f"its questions cannot be checked: {loaded}")
        return rows
    problems = answer_problems(rows, asked, document["questions"], document["samples"])
    for problem in problems[:20]:
        findings.error(where, problem)
    if len(problems) > 20:
        findings.error(where, f"and {len(problems) - 20} more")
    if problems:
        return []
    findings.ok(where, f"{len(rows)} answers, each question once")
    if not isinstance(loaded, Task):
        findings.warn(where, f"not compared with people's texts: {loaded}")
    elif desk.synthetic(loaded):
        findings.ok(where, "not compared with the records: they are synthetic")
    else:
        found = desk.originals(loaded).overlap(rows)
        judge_overlap(found, where, findings)
        judge_counts(found, submission.card.get("overlap", {}).get(task), where, findings)
    return rows


def _regenerated(
    submission: Submission, task: str, loaded: Task | str, desk: Desk, findings: Findings
) -> list[Generation]:
    recipe, seed = submission.card["recipe"], submission.card.get("seed", 0)
    if not isinstance(loaded, Task):
        findings.warn(f"{task}/{SCORES}", f"not re-scored: {loaded}")
        return []
    rows = regenerate(recipe, loaded, desk.embedder, seed)
    if sha256_text(generation_lines(rows)) == submission.card["generations"][task]:
        findings.ok(task, f"{recipe} makes the same {len(rows)} answers again")
    else:
        # an embedding's last digit may decide which neighbour is nearest; the scores then tell how much it matters
        findings.warn(task, f"{recipe} makes other answers here: not the hash of {CARD}")
    return rows


def judge_overlap(found: Overlap, where: str, findings: Findings) -> None:
    """Copies of test records are refused, what was memorised is counted, a republished dataset is refused."""
    copies = found.test_exact + found.test_near
    if found.share(copies) > MOST_COPIES:
        findings.error(where, f"{copies} of {found.answers} answers are copies of test records ({found.test_exact} "
                       f"exact, {found.test_near} near): the test references were seen")  # fmt: skip
    elif copies:
        findings.warn(where, f"{copies} of {found.answers} answers equal a test record, or nearly")
    else:
        findings.ok(where, "no answer copies a test record")
    if found.share(found.dataset_text) > MOST_DATASET_TEXT:
        findings.error(where, f"{found.dataset_text} of {found.answers} answers hold long stretches of dataset "
                       "text: no licence is stated for it, so it is not published; see CONTRIBUTING.md")  # fmt: skip
    elif found.train_copies or found.dataset_text:
        findings.warn(where, f"memorised: {found.train_copies} of {found.answers} answers equal a train or dev record, "
                      f"{found.dataset_text} hold a long stretch of dataset text")  # fmt: skip


def judge_counts(found: Overlap, declared: Mapping[str, int] | None, where: str, findings: Findings) -> None:
    """The counts of memorised text are on the card, where there is any."""
    if declared != found.told and (declared or found.train_copies or found.dataset_text):
        said = f"says {dict(declared)}" if declared else "says nothing"
        findings.error(where, f"overlap: {CARD} {said}, counted {found.told}")


def _quotes(submission: Submission, desk: Desk, findings: Findings) -> None:
    """No file but the raw answers carries dataset text into the repository."""
    tasks = [t for name in submission.documents if isinstance(t := desk.task(name), Task)]
    for name in (CARD, README, *submission.card["files"]):
        answers = name.endswith(f"/{GENERATIONS}")
        if not answers and any(desk.quoted(submission.folder / name, task) for task in tasks):
            findings.error(name, f"holds a stretch of {STRETCH} characters or more of dataset text; take it out")


def quotes_dataset(path: Path, originals: Originals, scale: float = 1.0) -> bool:
    """Whether a file of JSON, JSONL, TOML or prose holds dataset text in any string."""
    try:
        if path.suffix == ".md":
            return originals.quoted([intake.read_text(path, scale)])
        kinds = {".jsonl": intake.read_rows, ".toml": intake.read_toml}
        value: Any = kinds.get(path.suffix, intake.read_json)(path, scale)
    except DataError:
        return True
    return originals.quoted(text for _, text in intake.strings(value))


def _disclosures(card: Mapping[str, Any], findings: Findings) -> None:
    training = card["training"]
    seen = [s for s in training["splits"] if s != "train"]
    if seen or training.get("contaminated"):
        findings.warn(CARD, f"disclosed: trained on {', '.join(seen) or 'test material'}; the row is marked")
    if training["lewidi"]:
        findings.warn(CARD, "disclosed: trained on LeWiDi data, whose splits cross ours; the row is marked")


def _release(version: str) -> list[int]:
    """0.10.0 after 0.9.0; what is no number counts as the newest, which nobody has."""
    return [int(part) if part.isdigit() else 10**9 for part in version.split(".")]


def _rescore(
    submission: Submission, answers: Mapping[str, Sequence[Generation]], desk: Desk, findings: Findings, new: bool
) -> Rescored:
    largest, done, renewed = 0.0, list[str](), {}
    for task, rows in answers.items():
        loaded, document, where = desk.task(task), submission.documents[task], f"{task}/{SCORES}"
        if not isinstance(loaded, Task) or document["task"] != f"{task}@{loaded.version}":
            if "recipe" not in submission.card:
                findings.warn(where, "not re-scored: its data are not at hand (hlvbench fetch, or HLVBENCH_DATA)")
            continue
        fresh = score_task(
            loaded, rows, desk.embedder, system=document["system"], per_answer=False,
            asked=asked_by(submission.settings),
        ).report.to_dict()  # fmt: skip
        found, version = compare_documents(document, fresh), ScoreReport.model_validate(document).version
        if version != __version__ and (new or _release(version) > _release(__version__)):
            findings.error(where, f"scored by hlvbench {version}, this is {__version__}: score it with this release "
                           "(hlvbench score RUN) and submit it anew")  # fmt: skip
        elif version != __version__:
            renewed[task] = fresh
            findings.warn(where, f"scored by hlvbench {version}; by {__version__} the largest change is "
                          f"{found.largest:.6f} ({found.whose or 'none'})")  # fmt: skip
        else:
            for problem in found.problems[:20]:
                findings.error(where, problem)
            if len(found.problems) > 20:
                findings.error(where, f"and {len(found.problems) - 20} more")
            if not found.problems:
                whose = f" ({found.whose})" if found.whose else ""
                findings.ok(
                    where, f"re-scored: all {len(fresh['scores'])} scores, largest difference {found.largest:g}{whose}"
                )
        largest, done = max(largest, found.largest if version == __version__ else 0.0), [*done, task]
    return Rescored(largest, tuple(done), renewed)


def _record(
    submission: Submission, answers: Mapping[str, Sequence[Generation]], done: Rescored, findings: Findings
) -> None:
    """Write [verified], and the scores of this version where an older one scored."""
    if findings.errors():
        findings.error(CARD, "not verified, because of the errors above")
        return
    lacking = [task for task in submission.documents if task not in done.tasks]
    if lacking:
        findings.error(CARD, f"not verified: {', '.join(lacking)} could not be re-scored here")
        return
    card = dict(submission.card)
    files = dict(card["files"])
    generations = dict(card["generations"])
    if done.renewed:
        _renew_table(submission, {**submission.documents, **done.renewed})
    for task, document in done.renewed.items():
        if "recipe" in card:
            generations[task] = sha256_text(generation_lines(answers[task]))
        text = dump_json(document)
        write_atomic(submission.folder / task / SCORES, text)
        files[f"{task}/{SCORES}"] = sha256_bytes(text.encode())
    if generations != card["generations"]:
        # prompts' hashes are part of what a recipe makes, so that a new wording makes another file
        manifest = read_json(submission.folder / MANIFEST)
        for task, digest in generations.items():
            manifest["tasks"][task]["generations_sha256"] = digest
        text = dump_json(manifest)
        write_atomic(submission.folder / MANIFEST, text)
        files[MANIFEST] = sha256_bytes(text.encode())
    # of a date that is a day ahead of Greenwich the verification is not before it
    today = max(datetime.datetime.now(datetime.UTC).date(), card["date"])
    card = {**card, "files": files, "generations": generations}
    verified = {"date": today, "hlvbench": __version__, "largest_difference": round(done.largest, 6),
                "card_sha256": card_digest(card)}  # fmt: skip
    write_atomic(submission.folder / CARD, to_toml({**card, "verified": verified}))
    findings.ok(CARD, f"verified: within {EQUAL} everywhere, recorded")


def _renew_table(submission: Submission, documents: Mapping[str, Mapping[str, Any]]) -> None:
    """Put the new scores where the README has those that it was made with; what else it says stays."""
    path, name = submission.folder / README, str(submission.card["system"])
    old, new = (
        side_by_side({name: [ScoreReport.model_validate(document) for document in found.values()]})
        for found in (submission.documents, documents)
    )
    write_atomic(path, read_text(path).replace(old, new))
