"""`hlvbench judge`: ask about a run's answers, the human ones and the blind system's.

Replies are kept in RUN/<task>/judge/<judge>.jsonl (for human answers and the blind system in <judge>.human.jsonl and
<judge>.blind.jsonl), generated and resumed like all other answers; RUN/<task>/judge/<judge>.json is computed from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from ..bootstrap import REPLICATES
from ..data.task import load_tasks
from ..errors import ModelError, RunError
from ..generation.generate import answer_queries
from ..generation.journal import AnswerFiles
from ..io import dump_json, locked, read_generations, write_atomic
from ..metrics import Metric, bind, blind_answers
from ..provenance import read_manifest
from ..results.scorecard import answers_of
from ..settings import SETTINGS, Service, answered_tasks, read_settings
from ..types import Annotation, Pair, Task
from .judge_models import Judge
from .judge_prompt import queries
from .judge_settings import STYLOMETRIC, JudgeSettings, judge_settings
from .prices import Budget, BudgetedJudge, estimate, price_of
from .questions import Predictions, Questionnaire, attribution_questions
from .stylometric import fitted_on
from .verdict import Judged, judge_alpha, judge_report, read_replies

FOLDER = "judge"
SETS = ("system", "human", "blind")


@dataclass(frozen=True)
class JudgedTask:
    """The answers of one task of a run, to be judged. answers: one mapping per sample index."""

    task: Task
    run: Path
    system: str
    split: str
    limit: int | None
    answers: Sequence[Mapping[Pair, Annotation]]

    @property
    def folder(self) -> Path:
        return self.run / self.task.name / FOLDER

    def questionnaires(self, settings: JudgeSettings) -> dict[str, Questionnaire]:
        """The same questions about three sets of answers: the system's, the human ones, the blind reference's."""
        answers: dict[str, Predictions] = {
            "system": self.answers,
            "human": human_answers(self.task, self.split, self.limit),
            "blind": blind_answers(self.task, self.split),
        }
        return {
            name: attribution_questions(self.task, self.split, own, limit=self.limit, **settings.conditions)
            for name, own in answers.items()
        }

    def replies(self, settings: JudgeSettings, name: str) -> AnswerFiles:
        """The files with a judge's replies to one of the sets of answers."""
        return AnswerFiles(self.folder, settings.stem() + ("" if name == "system" else f".{name}"))

    def judged(self, settings: JudgeSettings) -> dict[str, Judged]:
        """A judge's replies to the three sets of answers, read."""
        return {
            name: read_replies(self.task, questions, read_generations(self.replies(settings, name).finished))
            for name, questions in self.questionnaires(settings).items()
        }


def human_answers(task: Task, split: str, limit: int | None) -> dict[Pair, Annotation]:
    """The human annotation of every pair of a split."""
    return {pair: task.human(pair) for pair in task.questions(split, limit)}


def judged_tasks(
    run: Path,
    data_dir: Path | None = None,
    tasks_dir: Path | None = None,
    *,
    names: Sequence[str] | None = None,
    partial: bool = False,
) -> list[JudgedTask]:
    """The answers of a finished run folder.

    Args:
        names: names of tasks; default: all of the run.
        partial: accept a run that answers for some annotators only.

    Raises:
        RunError: the folder is no run, is unfinished, has no such task, answers for some annotators only, or was made
            with other data.
    """
    if not (run / SETTINGS).exists():
        raise RunError(f"{run} is no run folder: it has no {SETTINGS}")
    recorded = read_settings(run)
    has, split, limit = answered_tasks(run), recorded["split"], recorded["limit"]
    files = {name: run / name / "generations.jsonl" for name in names or has}
    problems = [f"{run} has no task {name}; it has {', '.join(has)}" for name in files if name not in has]
    problems += [
        f"{run}: {name} has no generations.jsonl; finish the run by its own command"
        for name, path in files.items()
        if name in has and not path.exists()
    ]
    if recorded.get("annotator") and not partial:
        problems.append(f"{run} answers for {', '.join(recorded['annotator'])} only; a judge is asked about all")
    if problems:
        raise RunError("\n".join(problems))
    tasks = []
    for task in load_tasks(list(files), data_dir, tasks_dir):
        _check_data(run, task)
        answers = answers_of(task, read_generations(files[task.name]), split, limit)
        tasks.append(JudgedTask(task, run, str(recorded["model"]), split, limit, answers))
    return tasks


def _check_data(run: Path, task: Task) -> None:
    """Answers to other data would be judged beside texts that the system never saw."""
    manifest = read_manifest(run)
    facts = manifest["tasks"].get(task.name) if manifest else None
    recorded = facts.get("data_sha256", {}) if facts else {}
    if other := sorted(k for k, digest in recorded.items() if task.data_sha256.get(k, digest) != digest):
        raise RunError(f"{run}: {task.name} was answered on other data ({', '.join(other)} differ)")


def judge(
    run: Path,
    settings: JudgeSettings,
    *,
    data_dir: Path | None = None,
    tasks_dir: Path | None = None,
    service: Service | None = None,
    batch_size: int | str = "auto",
    resume: bool = True,
    quiet: bool = False,
    budget: float | None = None,
    prices: Path | None = None,
    replicates: int = REPLICATES,
) -> list[dict[str, Any]]:
    """Ask a judge all questions of a run that have no reply yet.

    Args:
        budget: US dollars that all judges of the run may cost together, over all commands. The call that could exceed
            it is not made.
        prices: another table than `prices.toml`.
        replicates: bootstrap replicates of the intervals.

    Returns:
        The content of `<judge>.json`, one per task.

    Raises:
        ModelError: the judge fails or the budget is exhausted; the message says how many questions remain.
    """
    tasks = judged_tasks(run, data_dir, tasks_dir)
    model = Judge(settings, [t.task for t in tasks], service)
    how = {"batch_size": batch_size, "resume": resume, "quiet": quiet}
    if budget is None or not settings.judge.startswith("endpoint:"):
        _ask(model, tasks, None, how)
    else:
        with locked(run / ".lock.budget", "another command spends this run's budget"):
            _ask(model, tasks, Budget(run, settings, prices, budget), how)
    return rescore(run, tasks, [settings], replicates)


def _ask(judge: Judge, tasks: Sequence[JudgedTask], budget: Budget | None, how: Mapping[str, Any]) -> None:
    """Collect the replies to all three sets of answers, human ones first: they decide the validity check."""
    settings = judge.settings
    sets = [(one, one.questionnaires(settings)) for one in tasks]
    todo = [(name, one, questions[name]) for name in ("human", "blind", "system") for one, questions in sets]
    for position, (name, one, questions) in enumerate(todo, start=1):
        model, task = judge.model(one.task, one.split, questions.questions), one.task
        about = {
            "task": task.name,
            "version": task.version,
            "split": one.split,
            "limit": one.limit,
            "answers": name,
            "data_sha256": dict(task.data_sha256),
        }
        place = one.replies(settings, name)
        try:
            answer_queries(
                BudgetedJudge(model.model, budget) if budget else model,
                queries(task, questions.questions),
                place.out,
                about,
                stem=place.stem,
                settings=settings.recorded(),
                **how,
            )
        except ModelError as error:
            later = sum(len(rest.questions) for _, _, rest in todo[position:])
            raise type(error)(
                f"{error} (these were the {name} answers of {task.name}; {later} questions come after them)"
            ) from error


def plan(
    run: Path,
    settings: JudgeSettings,
    *,
    data_dir: Path | None = None,
    tasks_dir: Path | None = None,
    service: Service | None = None,
    prices: Path | None = None,
) -> list[dict[str, Any]]:
    """What the judge would be asked and cost, without a call: a row per task and set of answers that has no replies."""
    tasks = judged_tasks(run, data_dir, tasks_dir)
    judge, price = Judge(settings, [t.task for t in tasks], service), price_of(settings, prices)
    rows = []
    for one in tasks:
        for name, questions in one.questionnaires(settings).items():
            finished = one.replies(settings, name).finished.exists()
            left = [] if finished else queries(one.task, questions.questions)
            model = judge.model(one.task, one.split, questions.questions)
            rows.append({"task": one.task.name, "answers": name, **estimate(model, left, settings, price)})
    return rows


def rescore(
    run: Path, tasks: Sequence[JudgedTask], judges: Sequence[JudgeSettings] | None = None, replicates: int = REPLICATES
) -> list[dict[str, Any]]:
    """Write `<judge>.json` from the replies that are there, of all judges or of these; no judge is asked."""
    reports = []
    for one in tasks:
        for settings in judges_of(one.folder) if judges is None else judges:
            report = _report(one, settings, replicates)
            write_atomic(one.folder / f"{settings.stem()}.json", dump_json(report))
            reports.append(report)
    if not reports:
        raise RunError(f"{run}: no judge has judged it yet; hlvbench judge {run}")
    return reports


def recomputed(one: JudgedTask, settings: JudgeSettings) -> dict[str, Any]:
    """`<judge>.json` from the replies in `one.folder`; the stylometric judge, which needs no model, is asked again.

    Raises:
        DataError: the replies do not belong to these answers.
    """
    if settings.judge == STYLOMETRIC:
        _ask(Judge(settings, [one.task]), [one], None, {"batch_size": "auto", "resume": False, "quiet": True})
    return _report(one, settings, REPLICATES)


def judges_of(folder: Path) -> Iterator[JudgeSettings]:
    """The judges whose replies to all questions are in RUN/<task>/judge/."""
    for path in sorted(folder.glob("*.plan.json")):
        recorded = AnswerFiles(folder, path.name.removesuffix(".plan.json")).read_plan()
        if recorded.get("answers") == "system":
            settings = judge_settings(**recorded["settings"])
            stems = (settings.stem(), *(f"{settings.stem()}.{name}" for name in SETS[1:]))
            if all(AnswerFiles(folder, stem).finished.exists() for stem in stems):
                yield settings


def _report(one: JudgedTask, settings: JudgeSettings, replicates: int) -> dict[str, Any]:
    described = one.replies(settings, "system").read_plan()["model"]
    metric = metric_of(one.task, one.split, settings, described)
    version = f"{one.task.name}@{one.task.version}"
    head = {"task": version, "split": one.split, "system": one.system, "judge": settings.title}
    conditions = {"limit": one.limit, "seed": settings.seed, "replicates": replicates, "samples": len(one.answers)}
    return judge_report(one.judged(settings), metric, one.split, head, **conditions)


def metric_of(task: Task, split: str, settings: JudgeSettings, described: Mapping[str, Any]) -> Metric:
    """The metric bound to the judge (its name and the first digits of its weights' hash) and its conditions."""
    weights = str(described.get("weights_sha256") or "")[:7]
    return bind(
        "attribution",
        judge=settings.shown_name + (f"@{weights}" if weights else ""),
        by=settings.by,
        fit=fitted_on(task, split) if settings.judge == STYLOMETRIC else "none",
        view=settings.view,
        show="+".join(settings.show) or "none",
        shots=settings.shots,
        orders=settings.orders,
    )


def write_agreement(tasks: Sequence[JudgedTask]) -> list[dict[str, Any]]:
    """Write RUN/<task>/judges.json for every task with two judges or more: Krippendorff's alpha of all and each pair.

    Of all judges, alpha is given on the system's answers and on the human ones; of each pair on the system's.
    """
    results = []
    for one in tasks:
        judged = {settings.stem(): one.judged(settings) for settings in judges_of(one.folder)}
        if len(judged) < 2:
            continue
        pairs = [
            {"judges": list(pair), "alpha": judge_alpha([judged[name]["system"] for name in pair])}
            for pair in combinations(judged, 2)
        ]
        alpha = {name: judge_alpha([sets[name] for sets in judged.values()]) for name in ("system", "human")}
        results.append(
            {"task": f"{one.task.name}@{one.task.version}", "judges": list(judged), "alpha": alpha, "pairs": pairs}
        )
        write_atomic(one.run / one.task.name / "judges.json", dump_json(results[-1]))
    return results
