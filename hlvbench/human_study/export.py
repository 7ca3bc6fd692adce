"""`hlvbench human-study export`: a folder with a page and a table per rater, and the key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

from .. import __version__
from ..bootstrap import clusters
from ..errors import HlvbenchError, RunError, UsageError, all_problems
from ..io import dump_json, sha256_text, write_atomic
from ..judging.judge_run import JudgedTask, judged_tasks
from ..judging.questions import MAX_ANSWER_CHARS, SHOTS, AttributionQuestion, attribution_questions
from ..results.compare import Run, distinct_names
from ..settings import read_settings
from .rating_sheet import Material, make_sheet, sheet_csv, sheet_page
from .study_design import Cell, Sample, choose, sheet_units
from .study_key import FOR_RATERS, KEY, KEY_FORMAT, RATINGS, StudyKey, SystemKey, read_key
from .study_questions import PARTS, instructions, readme

MOST = 1000
"""The largest number that an option of a study takes."""


def export_study(
    runs: Sequence[Path],
    out: Path,
    *,
    samples: int = 50,
    raters: int = 2,
    repeats: int = 5,
    shots: int = SHOTS,
    seed: int = 0,
    tasks: Sequence[str] | None = None,
    data_dir: Path | None = None,
    tasks_dir: Path | None = None,
) -> dict[str, Any]:
    """Write a study of these runs; the same call writes the same files.

    Args:
        runs: run folders with the same split.
        out: the study's folder; new, empty, or with this very study.
        samples: questions, each with every run's answer.
        raters: number of sheets.
        repeats: screens of each part that are shown twice.
        shots: annotations shown per annotator.
        tasks: names of tasks; default: all that every run has.

    Returns:
        Counts for a message: see `export_text`.

    Raises:
        UsageError: options that make no sense.
        RunError: runs that cannot be compared (every problem is listed); `out` holds something else.
    """
    _check(runs, samples, raters, repeats, shots)
    systems, split, notes = _read_runs(runs, tasks, data_dir, tasks_dir)
    material = _material(systems, split, samples, shots, seed)
    answers = {k: (q.answer.label, q.answer.explanation) for k, q in material.questions.items()}
    pairs = [(n, a, b) for n in range(samples) for a, b in combinations(systems, 2)]
    alike = [(n, a, b) for n, a, b in pairs if answers[n, a] == answers[n, b]]
    settings = {"samples": samples, "raters": raters, "repeats": repeats, "shots": shots, "seed": seed, "split": split}
    content = [
        [[t.name, t.version, dict(t.data_sha256)] for t in material.tasks.values()],
        [asdict(sample) for sample in material.samples],
        [[str(label), text] for label, text in answers.values()],
    ]
    study = sha256_text(dump_json([KEY_FORMAT, settings, list(systems), content]))[:12]
    sheets = [
        make_sheet(study, rater, sheet_units(samples, list(systems), set(alike), rater, repeats, seed), material)
        for rater in range(raters)
    ]
    key = StudyKey(
        hlvbench=__version__,
        study=study,
        settings=settings,
        tasks={task.name: task.version for task in material.tasks.values()},
        systems=[
            SystemKey(name=name, run=str(next(iter(own.values())).run.absolute())) for name, own in systems.items()
        ],
        samples=list(material.samples),
        alike=sorted(alike),
        sheets={sheet.id: sheet.key for sheet in sheets},
    )
    _claim(out, study)
    # the key first, so that the same command completes an interrupted export
    write_atomic(out / KEY, dump_json(key.model_dump(mode="json")))
    # the sheets hold dataset texts, which must not be published
    write_atomic(out / ".gitignore", "*\n")
    (out / RATINGS).mkdir(exist_ok=True)
    write_atomic(out / "README.md", readme(study, sheets[0].id, raters))
    write_atomic(out / FOR_RATERS / "instructions.txt", instructions())
    for sheet in sheets:
        write_atomic(out / FOR_RATERS / f"{sheet.id}.html", sheet_page(sheet))
        write_atomic(out / FOR_RATERS / f"{sheet.id}.csv", sheet_csv(sheet))
    if cut := sum(len(text) >= MAX_ANSWER_CHARS for _, text in answers.values()):
        notes.append(f"{cut} answers are longer than {MAX_ANSWER_CHARS} characters and shown up to there")
    screens = Counter(screen["part"] for screen in sheets[0].screens)
    return {
        "out": str(out),
        "study": study,
        "systems": list(systems),
        "samples": Counter(" ".join(sample.cell) for sample in material.samples),
        "screens": {part: screens[part] for part in PARTS},
        "minutes": round(sum(PARTS[part].seconds * n for part, n in screens.items()) / 60),
        "equal_answers": len(alike),
        "sheets": [sheet.id for sheet in sheets],
        "notes": notes,
    }


def _check(runs: Sequence[Path], samples: int, raters: int, repeats: int, shots: int) -> None:
    least = {"samples": (samples, 1), "raters": (raters, 1), "repeats": (repeats, 0), "shots": (shots, 1)}
    problems = [f"--{name} {n}: {low} to {MOST}" for name, (n, low) in least.items() if not low <= n <= MOST]
    if not runs:
        problems.append("no run named: hlvbench human-study export RUN [RUN ...]")
    resolved = [folder.resolve() for folder in runs]
    if twice := sorted({str(f) for f, p in zip(runs, resolved, strict=True) if resolved.count(p) > 1}):
        problems.append(f"the same run is named more than once: {', '.join(twice)}")
    if problems:
        raise UsageError(all_problems("these options do not make sense:", problems))


def _read_runs(
    folders: Sequence[Path], names: Sequence[str] | None, data_dir: Path | None, tasks_dir: Path | None
) -> tuple[dict[str, dict[str, JudgedTask]], str, list[str]]:
    """System -> task -> answers, of the tasks that all runs have or of `names`; the split; notes."""
    problems: list[str] = []
    runs: dict[Path, dict[str, JudgedTask]] = {}
    for folder in folders:
        try:
            tasks = judged_tasks(folder, data_dir, tasks_dir, names=names, partial=True)
            runs[folder] = {one.task.name: one for one in tasks}
        except HlvbenchError as error:
            problems.append(str(error))
    every = dict.fromkeys(task for own in runs.values() for task in own)
    shared = [task for task in every if all(task in own for own in runs.values())]
    if runs and not shared:
        problems.append("they have no task in common")
    splits = {folder: one.split for folder, own in runs.items() for one in own.values()}
    if len(set(splits.values())) > 1:
        problems += [f"{folder}: answers the split {split}" for folder, split in splits.items()]
    if problems:
        raise RunError(all_problems("these runs cannot be studied:", problems))
    left = [task for task in every if task not in shared]
    notes = [f"left out, as not every run has it: {', '.join(left)}"] if left else []
    titles = distinct_names([Run(folder, _title(folder)) for folder in folders])
    systems = {title: {task: own[task] for task in shared} for title, own in zip(titles, runs.values(), strict=True)}
    return systems, splits[folders[0]], notes


def _title(folder: Path) -> str:
    """A system's name in tables: the model's short name, its prompt and adapters."""
    settings = read_settings(folder)
    model = str(settings["model"])
    parts = [model if ":" in model else Path(model).name]
    parts += [str(settings["prompt"])] if settings.get("prompt", "base") != "base" else []
    parts += [Path(str(settings["adapter_dir"])).name] if settings.get("adapter_dir") else []
    return " ".join(parts)


def _material(
    systems: Mapping[str, Mapping[str, JudgedTask]], split: str, count: int, shots: int, seed: int
) -> Material:
    """All that is shown, of the first sample index of every system."""
    tasks = {name: one.task for name, one in next(iter(systems.values())).items()}
    questions: dict[tuple[str, str, str, str], AttributionQuestion] = {}
    for system, own in systems.items():
        for name, one in own.items():
            own_questions = attribution_questions(one.task, split, one.answers[0], shots=shots, seed=seed).questions
            questions |= {(system, name, *question.pair): question for question in own_questions}
    eligible: dict[Cell, list[Sample]] = {}
    before = 0
    for name, task in tasks.items():
        items = [task.items[i] for i in task.splits[split]]
        groups = clusters(items)
        block = {items[i].id: before + n for n, group in enumerate(groups) for i in group}
        before += len(groups)
        for item, annotator in task.questions(split):
            if all((system, name, item, annotator) in questions for system in systems):
                eligible.setdefault((name, annotator), []).append(Sample(name, item, annotator, block[item]))
    samples = choose(eligible, count, seed)
    shown = {(n, y): questions[y, s.task, s.item, s.annotator] for n, s in enumerate(samples) for y in systems}
    return Material(tasks, samples, shown)


def _claim(out: Path, study: str) -> None:
    if (out / KEY).exists():
        there = read_key(out).study
        if there != study:
            raise RunError(f"{out} holds another study ({there}); this one would be {study}; choose another --out")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out} exists and is not a study; choose another --out")


def export_text(result: Mapping[str, Any]) -> str:
    """The result of `export_study` for a terminal."""
    parts = ", ".join(f"{count} {key}" for key, count in result["screens"].items())
    lines = [
        f"study {result['study']}: {sum(result['samples'].values())} questions, {len(result['systems'])} systems "
        f"({', '.join(result['systems'])})",
        "questions per task and annotator: " + ", ".join(f"{cell} {n}" for cell, n in result["samples"].items()),
        f"screens per rater: {parts}; about {result['minutes']} minutes",
    ]
    if result["equal_answers"]:
        lines.append(
            f"{result['equal_answers']} pairs of answers are the same text: not shown, counted as no difference"
        )
    lines += [f"note: {note}" for note in result["notes"]]
    lines += [f"sheets: {Path(result['out']) / FOR_RATERS}", f"key, not for raters: {Path(result['out']) / KEY}"]
    return "\n".join([*lines, "The sheets hold dataset texts: they must not be published."])
