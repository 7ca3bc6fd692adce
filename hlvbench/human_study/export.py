"""`hlvbench human-study export`: a folder with a page and a table per rater, and the key that stays at home."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

from .. import __version__
from ..bootstrap import clusters
from ..errors import RunError, UsageError, all_problems
from ..io import dump_json, read_json, sha256_text, write_atomic
from ..judging.questions import LONGEST, SHOTS, Question, attribution_questions
from ..types import Task
from .design import Cell, Sample, Unit, choose, sheet_units
from .sheet import Material, Sheet, letters_of, make_sheet
from .study_page import sheet_page
from .study_runs import Answered, read_runs
from .study_table import sheet_csv
from .wording import NOT_PUBLIC, PART, instructions

KEY = "key.json"
KEY_FORMAT = "hlvbench human study 1"
FOR_RATERS, RATINGS = "for-raters", "ratings"


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
    """Write a study of these runs into `out` and say what it holds; the same call writes the same files.

    Refused: an `out` in a git work tree that does not ignore it (the sheets hold dataset texts), and one that
    holds anything but this very study.
    """
    _check(runs, samples, raters, repeats, shots)
    refuse_tracked(out)
    answered, loaded, split, notes = read_runs(runs, tasks, data_dir, tasks_dir)
    material, cut = _material(answered, loaded, split, samples, shots, seed)
    systems = [run.name for run in answered]
    alike = _alike(material, systems)
    settings = {"samples": samples, "raters": raters, "repeats": repeats, "shots": shots, "seed": seed, "split": split}
    study = sha256_text(dump_json([KEY_FORMAT, settings, systems, _content(material)]))[:12]
    sheets = []
    for rater in range(raters):
        units = sheet_units(material.samples, systems, alike, rater, repeats, seed)
        sheets.append(make_sheet(study, rater, units, material))
    key = _key(study, settings, answered, material, sheets, alike)
    _claim(out, study)
    # the key first: an export that is cut off is known for what it is, and the same command completes it
    write_atomic(out / KEY, dump_json(key))
    write_atomic(out / "README.md", _readme(study, sheets))
    (out / RATINGS).mkdir(exist_ok=True)
    write_atomic(out / FOR_RATERS / "instructions.txt", instructions())
    for sheet in sheets:
        write_atomic(out / FOR_RATERS / f"{sheet.id}.html", sheet_page(sheet))
        write_atomic(out / FOR_RATERS / f"{sheet.id}.csv", sheet_csv(sheet))
    if cut:
        notes.append(f"{cut} answers are longer than {LONGEST} characters and shown up to there")
    return _summary(out, study, systems, material, sheets, alike, notes)


def _check(runs: Sequence[Path], samples: int, raters: int, repeats: int, shots: int) -> None:
    problems = [f"--{name} {value}: {least} or more" for name, value, least in (
        ("samples", samples, 1), ("raters", raters, 1), ("repeats", repeats, 0), ("shots", shots, 1),
    ) if value < least]  # fmt: skip
    if not runs:
        problems.append("no run named: hlvbench human-study export RUN [RUN ...]")
    if problems:
        raise UsageError(all_problems("these options do not make sense:", problems))


def refuse_tracked(out: Path) -> None:
    """UsageError if `out` lies in a git work tree that would take its files in."""
    place = out.absolute()
    parent = next(p for p in (place, *place.parents) if p.is_dir())
    tree = next((p for p in (parent, *parent.parents) if (p / ".git").exists()), None)
    if tree is None:
        return
    remedy = f"choose an --out outside of {tree}, or add it to {tree / '.gitignore'}"
    why = f"--out {out}: lies in the git work tree {tree}; the sheets hold dataset texts, which must not be published"
    if shutil.which("git") is None:
        raise UsageError(f"{why}, and without git it cannot be told whether they are ignored; {remedy}")
    asked = subprocess.run(["git", "check-ignore", "-q", "--", str(place / KEY)], cwd=parent, capture_output=True)
    if asked.returncode != 0:
        raise UsageError(f"{why}; {remedy}")


def _material(
    runs: Sequence[Answered], tasks: Sequence[Task], split: str, count: int, shots: int, seed: int
) -> tuple[Material, int]:
    """Everything that is shown, and how many answers are shown cut."""
    eligible: dict[Cell, list[Sample]] = {}
    found: dict[tuple[str, str, str, str], Question] = {}
    before = 0
    for task in tasks:
        items = [task.items[i] for i in task.splits[split]]
        groups = clusters(items)
        block = {items[i].id: before + n for n, group in enumerate(groups) for i in group}
        before += len(groups)
        for run in runs:
            asked = attribution_questions(task, split, run.answers[task.name], shots=shots, seed=seed).asked
            found |= {(run.name, task.name, *question.pair): question for question in asked}
        for item, annotator in task.questions(split):
            if all((run.name, task.name, item, annotator) in found for run in runs):
                sample = Sample(task.name, item, annotator, block[item])
                eligible.setdefault(sample.cell, []).append(sample)
    samples = choose(eligible, count, seed)
    questions = {
        (n, run.name): found[run.name, s.task, s.item, s.annotator] for n, s in enumerate(samples) for run in runs
    }
    cut = sum(len(q.answer.explanation) >= LONGEST for q in questions.values())
    return Material({task.name: task for task in tasks}, samples, questions), cut


def _alike(material: Material, systems: Sequence[str]) -> set[tuple[int, str, str]]:
    """Pairs of systems that answer a sample in the same words."""
    said = {k: (q.answer.label, q.answer.explanation) for k, q in material.questions.items()}
    return {
        (n, a, b) for n in range(len(material.samples)) for a, b in combinations(systems, 2) if said[n, a] == said[n, b]
    }


def _content(material: Material) -> list[Any]:
    """What makes two studies different, apart from their settings."""
    data = [[t.name, t.version, dict(t.data_sha256)] for t in material.tasks.values()]
    said = [[str(q.answer.label), q.answer.explanation] for q in material.questions.values()]
    return [data, [asdict(sample) for sample in material.samples], said]


def _key(
    study: str,
    settings: Mapping[str, Any],
    runs: Sequence[Answered],
    material: Material,
    sheets: Sequence[Sheet],
    alike: set[tuple[int, str, str]],
) -> dict[str, Any]:
    return {
        "format": KEY_FORMAT,
        "hlvbench": __version__,
        "study": study,
        "settings": dict(settings),
        "tasks": {t.name: t.version for t in material.tasks.values()},
        "systems": [{"name": run.name, "run": str(run.folder.absolute())} for run in runs],
        "samples": [asdict(sample) for sample in material.samples],
        "alike": sorted(map(list, alike)),
        "sheets": {sheet.id: {"sha256": sheet.sha256, "screens": _screen_keys(sheet, material)} for sheet in sheets},
    }


def _screen_keys(sheet: Sheet, material: Material) -> dict[str, Any]:
    found = {}
    for unit, screen in zip(sheet.units, sheet.screens, strict=True):
        row: dict[str, Any] = {"part": unit.part, "sample": unit.sample, "systems": list(unit.systems)}
        row |= {"repeats": None if unit.repeats is None else str(unit.repeats + 1), "sha256": screen["sha256"]}
        if unit.part == "attribution":
            right, candidates = letters_of(unit, material)
            row |= {"right": right, "candidates": list(candidates)}
        found[screen["id"]] = row
    return found


def _claim(out: Path, study: str) -> None:
    if (out / KEY).exists():
        there = read_json(out / KEY)
        there = there.get("study") if isinstance(there, dict) else None
        if there != study:
            raise RunError(f"{out} holds another study ({there}); this one would be {study}; choose another --out")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out} exists and is not a study; choose another --out")


def minutes(units: Sequence[Unit]) -> int:
    """About how long a sheet takes a rater."""
    return round(sum(PART[unit.part].seconds for unit in units) / 60)


def _summary(
    out: Path,
    study: str,
    systems: Sequence[str],
    material: Material,
    sheets: Sequence[Sheet],
    alike: set[tuple[int, str, str]],
    notes: Sequence[str],
) -> dict[str, Any]:
    per: dict[str, int] = {}
    for sample in material.samples:
        per[" ".join(sample.cell)] = per.get(" ".join(sample.cell), 0) + 1
    parts = {key: sum(unit.part == key for unit in sheets[0].units) for key in PART}
    return {
        "out": str(out), "study": study, "systems": list(systems), "samples": per, "screens": parts,
        "minutes": minutes(sheets[0].units), "equal_answers": len(alike), "sheets": [s.id for s in sheets],
        "notes": list(notes),
    }  # fmt: skip


def _readme(study: str, sheets: Sequence[Sheet]) -> str:
    return f"""# Human study {study}

**Not to be published.** {NOT_PUBLIC}

- `{FOR_RATERS}/`: give each rater one sheet, either the page (`{sheets[0].id}.html`, opens in any browser, offline) or
  the table (`{sheets[0].id}.csv` with `instructions.txt`). One sheet per rater, {len(sheets)} in all.
- `{KEY}`: which system wrote what. No rater may see it.
- `{RATINGS}/`: put what comes back here (`.json` from the page, `.csv` from the table), then

      hlvbench human-study score THIS_FOLDER
"""


def export_text(found: Mapping[str, Any]) -> str:
    """What was exported, for a terminal."""
    parts = ", ".join(f"{count} {key}" for key, count in found["screens"].items())
    lines = [
        f"study {found['study']}: {sum(found['samples'].values())} questions, {len(found['systems'])} systems "
        f"({', '.join(found['systems'])})",
        "questions per task and annotator: " + ", ".join(f"{cell} {n}" for cell, n in found["samples"].items()),
        f"screens per rater: {parts}; about {found['minutes']} minutes",
    ]
    if found["equal_answers"]:
        lines.append(
            f"{found['equal_answers']} pairs of answers are the same text: not shown, counted as no difference"
        )
    lines += [f"note: {note}" for note in found["notes"]]
    lines += [f"sheets: {Path(found['out']) / FOR_RATERS}", f"key, for no rater's eyes: {Path(found['out']) / KEY}"]
    return "\n".join([*lines, "The sheets hold dataset texts: they must not be published."])
