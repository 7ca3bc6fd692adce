"""The judge's job on a run: ask about its answers, about people's and about the blind system's; keep, count, compare.

Replies are kept in RUN/<task>/judge/<judge>.jsonl (people's and the blind system's in <judge>.people.jsonl and
<judge>.blind.jsonl), made and continued by the machinery of all other answers; RUN/<task>/judge/<judge>.json is
computed from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bootstrap import REPLICATES, item_draws
from ..data.task import load_tasks
from ..errors import ModelError, RunError
from ..generation.generate import collect
from ..generation.journal import Place
from ..generation.run import SETTINGS
from ..io import dump_json, locked, read_generations, read_json, write_atomic
from ..metrics import Metric, bind, blind_answers
from ..results.scorecard import answers_of
from ..settings import Service
from ..types import Annotation, Pair, Task
from .judge_settings import STYLOMETRIC, JudgeSettings, recorded_settings
from .judges import Panel, queries
from .prices import Meter, Metered, estimate, price_needed, price_of
from .questions import Answered, Questionnaire, attribution_questions
from .stylometric import fitted_on
from .verdict import Judged, document, judged, signature

FOLDER = "judge"
SETS = ("system", "people", "blind")


@dataclass(frozen=True)
class Subject:
    """The answers of one task of a run, to be judged."""

    task: Task
    run: Path
    system: str
    split: str
    limit: int | None
    answers: Sequence[Mapping[Pair, Annotation]]

    @property
    def folder(self) -> Path:
        return self.run / self.task.name / FOLDER

    def sets(self, settings: JudgeSettings) -> dict[str, Questionnaire]:
        """The same questions about three sets of answers: the system's, people's, the blind reference's."""
        people = {p: self.task.human(p) for p in self.task.questions(self.split, self.limit)}
        answers: dict[str, Answered] = {
            "system": self.answers,
            "people": people,
            "blind": blind_answers(self.task, self.split),
        }
        return {
            name: attribution_questions(
                self.task, self.split, given, limit=self.limit, shots=settings.shots, seed=settings.seed,
                orders=settings.orders, show=settings.show, view=settings.view,  # type: ignore[arg-type]
            )
            for name, given in answers.items()
        }  # fmt: skip


def subjects(run: Path, data_dir: Path | None = None, tasks_dir: Path | None = None) -> list[Subject]:
    """What a run folder holds to be judged."""
    if not (run / SETTINGS).exists():
        raise RunError(f"{run} is no run folder: it has no {SETTINGS}")
    recorded = read_json(run / SETTINGS)
    names = list(recorded["task"])
    if recorded.get("annotator"):
        raise RunError(f"{run} answers for {', '.join(recorded['annotator'])} only; a judge is asked about all")
    unfinished = [n for n in names if not (run / n / "generations.jsonl").exists()]
    if unfinished:
        raise RunError(f"{run}: {', '.join(unfinished)} has no generations.jsonl; finish the run by its own command")
    found = []
    for task in load_tasks(names, data_dir, tasks_dir):
        rows = read_generations(run / task.name / "generations.jsonl")
        answers = answers_of(task, rows, recorded["split"], recorded["limit"])
        found.append(Subject(task, run, str(recorded["model"]), recorded["split"], recorded["limit"], answers))
    return found


def stem(settings: JudgeSettings, name: str) -> str:
    return settings.stem() if name == "system" else f"{settings.stem()}.{name}"


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
    """Ask the judge all questions of a run that have no reply yet; the documents of `<judge>.json`, one per task.

    budget: US dollars that all judges of the run may cost together, over all commands; the call that could pass it is
    not made, a ModelError says how many questions remain. prices: another table than `prices.toml`.
    """
    settings = settings.resolved()
    found = subjects(run, data_dir, tasks_dir)
    panel = Panel(settings, [s.task for s in found], service)
    how = {"batch_size": batch_size, "resume": resume, "quiet": quiet}
    if budget is None or not settings.judge.startswith("endpoint:"):
        _ask(panel, settings, found, None, how)
    else:
        price = price_needed(settings, prices)
        with locked(run / ".lock.budget", "another command spends this run's budget"):
            _ask(panel, settings, found, Meter(run, price, budget, settings.max_new_tokens), how)
    return rescore(run, found, [settings], replicates)


def _ask(
    panel: Panel, settings: JudgeSettings, found: Sequence[Subject], meter: Meter | None, how: Mapping[str, Any]
) -> None:
    """Collect the replies to all three sets of answers."""
    # people's texts first: the licence is the first thing that a budget buys
    todo = [(name, one, one.sets(settings)[name]) for name in ("people", "blind", "system") for one in found]
    for position, (name, subject, asked) in enumerate(todo, start=1):
        model = panel.judge(subject.task, subject.split, asked.asked)
        try:
            collect(
                Metered(model.model, meter) if meter else model,  # type: ignore[attr-defined]
                queries(subject.task, asked.asked), subject.folder, _about(subject, name),
                stem=stem(settings, name), settings=settings.recorded(), **how,
            )  # fmt: skip
        except ModelError as error:
            later = sum(len(asked.asked) for _, _, asked in todo[position:])
            raise type(error)(
                f"{error} (these were the {name} answers of {subject.task.name}; {later} questions come after them)"
            ) from error


def _about(subject: Subject, name: str) -> dict[str, Any]:
    task = subject.task
    return {
        "task": task.name, "version": task.version, "split": subject.split, "limit": subject.limit, "answers": name,
        "data_sha256": dict(task.data_sha256),
    }  # fmt: skip


def plan(
    run: Path,
    settings: JudgeSettings,
    *,
    data_dir: Path | None = None,
    tasks_dir: Path | None = None,
    service: Service | None = None,
    prices: Path | None = None,
) -> list[dict[str, Any]]:
    """What the job would ask and cost, without a call: a row per task and set of answers, less what is kept."""
    settings = settings.resolved()
    found = subjects(run, data_dir, tasks_dir)
    panel, price = Panel(settings, [s.task for s in found], service), price_of(settings, prices)
    rows = []
    for subject in found:
        for name, asked in subject.sets(settings).items():
            model = panel.judge(subject.task, subject.split, asked.asked)
            left = queries(subject.task, asked.asked)
            if Place(subject.folder, stem(settings, name)).finished.exists():
                left = []
            rows.append({"task": subject.task.name, "answers": name, **estimate(model, left, settings, price)})
    return rows


def rescore(
    run: Path, found: Sequence[Subject], judges: Sequence[JudgeSettings] | None = None, replicates: int = REPLICATES
) -> list[dict[str, Any]]:
    """Compute `<judge>.json` from the replies that are there, of all judges or of these; nobody is asked anything."""
    documents = []
    for subject in found:
        for settings in judges if judges is not None else judges_of(subject.folder):
            result = _scored(subject, settings, replicates)
            write_atomic(subject.folder / f"{settings.stem()}.json", dump_json(result))
            documents.append(result)
    if not documents:
        raise RunError(f"{run}: no judge has judged it yet; hlvbench judge {run}")
    return documents


def again(subject: Subject, settings: JudgeSettings, replicates: int = REPLICATES) -> dict[str, Any]:
    """`<judge>.json` made anew from the replies in `subject.folder`; a DataError where they are not to these answers.

    The stylometric judge, which needs nobody, is asked anew.
    """
    if settings.judge == STYLOMETRIC:
        for place in (Place(subject.folder, stem(settings, name)) for name in SETS):
            for path in (place.finished, place.plan):
                path.unlink(missing_ok=True)
        how = {"batch_size": "auto", "resume": True, "quiet": True}
        _ask(Panel(settings, [subject.task], None), settings, [subject], None, how)
    return _scored(subject, settings, replicates)


def judges_of(folder: Path) -> Iterator[JudgeSettings]:
    """The judges whose replies to all questions are in RUN/<task>/judge/."""
    for path in sorted(folder.glob("*.plan.json")):
        recorded = read_json(path)
        settings = recorded_settings(recorded["settings"])
        if recorded.get("answers") == "system" and all(
            Place(folder, stem(settings, name)).finished.exists() for name in SETS
        ):
            yield settings


def read_judged(subject: Subject, settings: JudgeSettings) -> dict[str, Judged]:
    """The replies of a judge to the three sets of answers, read."""
    found = {}
    for name, asked in subject.sets(settings).items():
        rows = read_generations(Place(subject.folder, stem(settings, name)).finished)
        found[name] = judged(subject.task, asked, rows)
    return found


def _scored(subject: Subject, settings: JudgeSettings, replicates: int) -> dict[str, Any]:
    replies = read_judged(subject, settings)
    task, system = subject.task, replies["system"]
    draws = item_draws(
        system.verdicts.items, f"{task.name}@{task.version}", subject.split, settings.seed, replicates
    )  # fmt: skip
    described = read_json(Place(subject.folder, settings.stem()).plan)["model"]
    metric = metric_of(task, subject.split, settings, described)
    head = {
        "task": f"{task.name}@{task.version}", "split": subject.split, "system": subject.system,
        "judge": settings.title,
        "signature": signature(metric, task, len(system.asked.missing), settings.seed, replicates, subject.split,
                               subject.limit, len(subject.answers)),
    }  # fmt: skip
    return document(system, replies["people"], replies["blind"], metric, draws, head)


def metric_of(task: Task, split: str, settings: JudgeSettings, described: Mapping[str, Any]) -> Metric:
    """The metric bound to what the judge is (name and first digits of its weights' hash) and how it was asked."""
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
