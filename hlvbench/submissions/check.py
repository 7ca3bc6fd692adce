"""`hlvbench check`: is a submission what it says, and do its numbers follow from its raw answers?"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from .. import __version__
from ..data.task import describe_task, load_spec, load_task
from ..embeddings import load_embedder
from ..errors import DataError, HlvbenchError, UsageError
from ..io import dump_json, generation_lines, read_json, read_text, sha256_text, write_atomic
from ..metrics.predictions import Embedder
from ..results import side_by_side
from ..results.score_check import EQUAL
from ..results.score_report import ScoreReport
from ..results.scorecard import score_task
from ..settings import asked_by
from ..types import Generation, Task
from .answers import answer_problems, to_generations
from .card import Verified, card_digest, in_future, to_toml
from .copies import STRETCH, Originals
from .folder import Findings, Submission, read_submission
from .rescore import check_judges, compare_reports, regenerate
from .safe_reading import CARD, GENERATIONS, MANIFEST, README, SCORES, SETTINGS, read_untrusted, strings


class CheckContext:
    """What checks share: tasks, their texts and the encoder are loaded once for any number of submissions."""

    def __init__(self, data_dir: Path | None = None, tasks_dir: Path | None = None) -> None:
        self.data_dir, self.tasks_dir = data_dir, tasks_dir
        self._tasks: dict[str, Task | str] = {}
        self._originals: dict[str, Originals] = {}

    def task(self, name: str) -> Task | str:
        """The task, or why it is not at hand; nothing is downloaded."""
        if name not in self._tasks:
            row = describe_task(name, self.data_dir, self.tasks_dir)
            try:
                if row["problem"] or row["data"] == "not here":
                    raise DataError(row["problem"] or "the data are not at hand")
                self._tasks[name] = load_task(name, self.data_dir, self.tasks_dir)
            except HlvbenchError as error:
                self._tasks[name] = str(error)
        return self._tasks[name]

    def originals(self, task: Task) -> Originals:
        if task.name not in self._originals:
            self._originals[task.name] = Originals(task)
        return self._originals[task.name]

    def synthetic(self, task: Task) -> bool:
        """Whether the task's texts are generated: equal sentences are then no copies, and anyone may publish them."""
        try:
            return load_spec(task.name, self.tasks_dir).source == "synthetic"
        except HlvbenchError:
            return False

    def holds_dataset_text(self, path: Path, task: Task) -> bool:
        """Whether any string of a file is dataset text; DataError if the file cannot be read."""
        if self.synthetic(task):
            return False
        texts = (text for _, text in strings(read_untrusted(path)))
        # the names of the data files are no dataset text, even where one repeats a field
        return self.originals(task).quoted(t for t in texts if t.removeprefix("data ") not in task.data_sha256)

    @cached_property
    def embedder(self) -> Embedder:
        return load_embedder()


def check(
    folder: Path,
    *,
    context: CheckContext | None = None,
    write: bool = False,
    rescore: bool = True,
    from_submitter: bool = False,
) -> Findings:
    """Check one submission against itself, the data and its raw answers.

    Args:
        folder: The submission.
        context: What several checks share.
        write: Record [verified] in submission.toml if nothing is wrong and everything was scored again; scores of an
            older hlvbench are then replaced by those of this one.
        rescore: Score the raw answers again.
        from_submitter: The submission comes from its submitter: a [verified], which a maintainer writes, is an error.

    Returns:
        Everything that is wrong or worth knowing.

    Raises:
        UsageError: If the folder is no submission.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; name a folder of submissions/")
    if not (folder / CARD).exists() and (folder / SETTINGS).exists():
        raise UsageError(f"{folder} is a run, not a submission; make one of it: hlvbench submit {folder} --name NAME")
    findings, context = Findings(), context or CheckContext()
    if submission := read_submission(folder, findings):
        _Check(submission, context, findings, from_submitter).run(rescore, write)
    return findings


def _release(version: str) -> list[int]:
    """0.10.0 after 0.9.0; what is not a number counts as newer than any release."""
    return [int(part) if part.isdigit() else 10**9 for part in version.split(".")]


class _Check:
    """One submission, compared with the data and with what its raw answers give."""

    def __init__(self, submission: Submission, context: CheckContext, findings: Findings, from_submitter: bool) -> None:
        self.submission, self.context, self.findings = submission, context, findings
        self.from_submitter, self.card, self.folder = from_submitter, submission.card, submission.folder
        self.tasks, self.answers = dict[str, Task](), dict[str, list[Generation]]()
        self.largest_difference, self.renewed = 0.0, dict[str, ScoreReport]()
        for name, report in submission.reports.items():
            task = context.task(name)
            if isinstance(task, str):
                why = f"{task} (hlvbench fetch, or HLVBENCH_DATA)"
            elif f"{name}@{task.version}" != report.task:
                why = f"the submission is of {report.task}, this hlvbench has version {task.version}: check it with a "
                why += "release that has the same, or run the task again and submit that"
            else:
                self.tasks[name] = task
                continue
            findings.warn(name, f"questions and texts not checked, nothing re-scored: {why}")

    def run(self, rescore: bool, write: bool) -> None:
        findings, card = self.findings, self.card
        if why := in_future(card.date):
            findings.error(CARD, f"date: {why}")
        if self.from_submitter and card.verified:
            findings.error(CARD, "[verified] is written by a maintainer's check --write; leave it out")
        self.answers = {name: self._read_answers(name) for name in self.submission.reports}
        self._check_texts()
        if findings.errors() or not rescore:
            return
        for name, task in self.tasks.items():
            self._rescore(name, task)
            check_judges(self.submission, task, self.answers[name], findings)
        missing = [name for name in self.submission.reports if name not in self.tasks]
        if write and (missing or findings.errors()):
            why = f"{', '.join(missing)} could not be re-scored here" if missing else "because of the errors above"
            findings.error(CARD, f"not verified: {why}")
        elif write:
            self._record()
        elif not card.verified and not any("[verified]" in f.text for f in findings):
            findings.warn(CARD, "not verified yet: hlvbench check --write records it")

    def _read_answers(self, name: str) -> list[Generation]:
        """The raw answers to a task, checked against its questions and texts; [] if they cannot be used."""
        where, findings, recipe, task = f"{name}/{GENERATIONS}", self.findings, self.card.recipe, self.tasks.get(name)
        if recipe and task:
            rows = regenerate(recipe, task, self.context.embedder, self.card.seed or 0)
            if sha256_text(generation_lines(rows)) == self.card.generations[name]:
                findings.ok(name, f"{recipe} gives the same {len(rows)} answers again")
            else:
                # an embedding's last digit may decide which neighbour is nearest; the scores tell how much it matters
                findings.warn(name, f"{recipe} gives other answers here: not the hash of {CARD}")
            return rows
        if recipe:
            return []
        try:
            rows = to_generations(read_untrusted(self.folder / where))
        except DataError as error:
            findings.error(where, str(error))
            return []
        if task is None:
            return []
        problems = answer_problems(rows, task, self.submission.reports[name].samples)
        findings.error(where, *problems)
        if problems:
            return []
        findings.ok(where, f"{len(rows)} answers, each question once")
        check_copies(rows, where, task, self.context, findings, dict(self.card.overlap.get(name, {})))
        return rows

    def _check_texts(self) -> None:
        """No file but the raw answers holds dataset text; what training saw is repeated as a warning."""
        for name in (CARD, README, *self.card.files):
            if name.endswith(f"/{GENERATIONS}"):
                continue
            try:
                if any(self.context.holds_dataset_text(self.folder / name, task) for task in self.tasks.values()):
                    stretch = f"a stretch of {STRETCH} characters or more"
                    self.findings.error(name, f"holds {stretch} of dataset text; take it out")
            except DataError as error:
                self.findings.error(name, str(error))
        training = self.card.training
        seen = [split for split in training.splits if split != "train"]
        if seen or training.contaminated:
            self.findings.warn(CARD, f"disclosed: trained on {', '.join(seen) or 'test material'}; the row is marked")
        if training.lewidi:
            self.findings.warn(CARD, "disclosed: trained on LeWiDi data, whose splits cross ours; the row is marked")

    def _rescore(self, name: str, task: Task) -> None:
        """Compare a scores.json with one made from the raw answers; that of an older release is renewed."""
        report, where, findings = self.submission.reports[name], f"{name}/{SCORES}", self.findings
        asked, system = asked_by(self.submission.settings), report.system
        rows, embedder = self.answers[name], self.context.embedder
        fresh = score_task(task, rows, embedder, system=system, per_answer=False, asked=asked).report
        found, version = compare_reports(report, fresh), report.version
        whose = f" ({found.whose})" if found.whose else ""
        if version == __version__:
            self.largest_difference = max(self.largest_difference, found.largest)
            findings.error(where, *found.problems)
            if not found.problems:
                count = len(fresh.scores)
                findings.ok(where, f"re-scored: all {count} scores, largest difference {found.largest:g}{whose}")
        elif self.from_submitter or _release(version) > _release(__version__):
            remedy = "score it with this release (hlvbench score RUN) and submit it again"
            findings.error(where, f"scored by hlvbench {version}, this is {__version__}: {remedy}")
        else:
            self.renewed[name] = fresh
            change = f"by {__version__} the largest change is {found.largest:.6f}{whose}"
            findings.warn(where, f"scored by hlvbench {version}; {change}")

    def _record(self) -> None:
        """Write [verified], and this version's scores where an older one scored."""
        folder, card, renewed, reports = self.folder, self.card, self.renewed, self.submission.reports
        written = {f"{name}/{SCORES}": dump_json(report.to_dict()) for name, report in renewed.items()}
        generations = dict(card.generations)
        if renewed and card.recipe:
            # the prompts' hashes are part of the answers, so that a new wording gives another hash
            manifest = read_json(folder / MANIFEST)
            for name in renewed:
                generations[name] = sha256_text(generation_lines(self.answers[name]))
                manifest["tasks"][name]["generations_sha256"] = generations[name]
            written[MANIFEST] = dump_json(manifest)
        if renewed:
            newest = {**reports, **renewed}
            old, fresh = (side_by_side({card.system: list(found.values())}) for found in (reports, newest))
            readme = read_text(folder / README)
            if old not in readme:
                self.findings.warn(README, "does not hold the replaced table as submit wrote it: edit it by hand")
            write_atomic(folder / README, readme.replace(old, fresh))
        for name, text in written.items():
            write_atomic(folder / name, text)
        files = {**card.files, **{name: sha256_text(text) for name, text in written.items()}}
        card = card.model_copy(update={"files": files, "generations": generations, "verified": None})
        verified = Verified(
            # a date that is a day ahead of Greenwich is not before its verification
            date=max(datetime.datetime.now(datetime.UTC).date(), card.date),
            hlvbench=__version__,
            largest_difference=round(self.largest_difference, 6),
            card_sha256=card_digest(to_toml(card)),
        )
        write_atomic(folder / CARD, to_toml(card.model_copy(update={"verified": verified})))
        self.findings.ok(CARD, f"verified: within {EQUAL} everywhere, recorded")


def check_copies(
    rows: Sequence[Generation],
    where: str,
    task: Task,
    context: CheckContext,
    findings: Findings,
    declared: Mapping[Any, int] | None = None,
) -> dict[str, int]:
    """Refuse copies of test annotations and a republished dataset, and count memorised text.

    Args:
        rows: The raw answers to a task.
        where: Their file, which findings name.
        task: The task, whose annotations and inputs they are compared with.
        context: What several checks share.
        findings: Receives what is wrong.
        declared: The counts on the card. Other counts are an error, unless none are declared and no text is memorised.
            None while the card is being made.

    Returns:
        `Overlap.counts`, which go on the card; {} for a task whose texts are generated.
    """
    if context.synthetic(task):
        findings.ok(where, "not compared with the annotations: they are synthetic")
        return {}
    overlap = context.originals(task).overlap(rows)
    overlap.judge(where, findings)
    memorised = overlap.train_copies or overlap.dataset_text
    if declared is not None and declared != overlap.counts and (declared or memorised):
        stated = f"says {declared}" if declared else "says nothing"
        findings.error(where, f"overlap: {CARD} {stated}, counted {overlap.counts}")
    return overlap.counts
