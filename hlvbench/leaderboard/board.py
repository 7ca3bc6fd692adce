"""submissions/ -> the leaderboard as one document: rows, ranks, comparisons, history."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, cast

from ..errors import DataError, RunError, all_problems
from ..metrics import parse_metric
from ..metrics.index import FACTORS, factor_metrics
from ..results.compare import LEVEL, OVERALL, Part, compare_values, mean_values, part_of
from ..results.score_report import INDEX, ScoreReport
from ..results.score_report import Score as ReportScore
from ..submissions import Findings, Submission, read_submission
from ..submissions.answers import to_generations
from ..submissions.card import role
from ..submissions.safe_reading import GENERATIONS, read_untrusted
from ..text import legible
from .board_types import Against, Board, Example, Interval, Overall, Row, Score, Step, System, Table, TaskRow
from .task_card import task_card

_HERE = Path(__file__).parent
TITLES = {"varierr": "VariErr NLI", "r2": "R2 paraphrase", "convarg": "UKPConvArg1 arguments"}
INDEX_1 = json.loads((_HERE / "index_1.json").read_text("utf-8"))
"""Task -> submission -> the index that the releases 0.1 gave it; shown until release 0.3."""
REPORTED = json.loads((_HERE / "reported.json").read_text("utf-8"))
"""What the paper reports and nobody could check here (arXiv 2605.28802): shown apart, never ranked.

name: the task; ours_by: the metric of ours under each column, null where there is none alike."""
BASELINES = ("nearest", "label-guess")
"""The reference systems that every system is compared with."""
MOST_BESIDE, LONGEST_ANSWER = 12, 400
"""Rows beside the figures of the paper; characters of an example answer."""
MOST_COMPARED = 60
"""Rows of a table, the best ones, that the page compares pairwise; `hlvbench compare` compares any."""
BESIDE: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("own_match_skill", {"view": "norm", "sim": "embed"}),
    ("feature_kl_excess", {"view": "norm"}),
    ("c2st", {"view": "norm"}),
    ("label_support", {}),
    ("copy_rate", {}),
    ("distinct", {}),
)
"""Shown beside the headline metrics; systems are never ranked by them."""
_CURVES = {"imitation": "imitation_score", "confidence": "group_confidence"}
_ENDS = ("value", "low", "high", "floor", "ceiling")
_JUDGED = ("judge", "accuracy", "low", "high", "ceiling", "floor", "unreadable", "n")
Systems = Mapping[str, System]
Parts = Mapping[str, Part]


def read_all(root: Path) -> list[Submission]:
    """Every submission below `root`, by name; RunError with everything that is wrong with any of them."""
    if not root.is_dir():
        raise RunError(f"{root}: no such folder of submissions")
    found, problems = [], list[str]()
    for folder in sorted(p for p in root.iterdir() if not p.name.startswith(".")):
        if not folder.is_dir():
            if folder.name != "README.md":
                problems.append(f"{folder}: not the folder of a submission")
            continue
        findings = Findings()
        submission = read_submission(folder, findings)
        problems += [f"{folder.name}: {finding}" for finding in findings.errors()]
        found += [submission] if submission else []
    if problems:
        raise RunError(
            all_problems("no leaderboard is made from broken submissions; hlvbench check tells more:", problems)
        )
    if not found:
        raise RunError(f"{root} holds no submission; hlvbench submit makes one")
    return found


def make_board(submissions: Sequence[Submission]) -> Board:
    """The leaderboard document, as schema.json describes it."""
    systems = {s.folder.name: _system(s) for s in submissions}
    grouped: dict[tuple[str, str], dict[str, Submission]] = {}
    for submission in submissions:
        for report in submission.reports.values():
            grouped.setdefault((report.task, report.version), {})[submission.folder.name] = submission
    newest, tables, parts = _newest(grouped), dict[tuple[str, str], Table](), dict[tuple[str, str], Parts]()
    for key in sorted(grouped, key=lambda k: (_place(k[0]), k not in newest, _natural(k[0]), _natural(k[1]))):
        task, version = key
        parts[key] = {name: part_of(s.reports[_name(task)]) for name, s in grouped[key].items()}
        card = task_card(task)
        rows = {name: _task_row(s, _name(task), card["examples"] if card else []) for name, s in grouped[key].items()}
        about = {
            "id": _id(task, version, key in newest),
            "title": TITLES.get(_name(task), _name(task)),
            "task": task,
            "current": key in newest,
            "index_version": _index_version(version),
            "hlvbench": version,
            "metrics": {INDEX: _index_of(rows.values()), **{f: m.short for f, m in factor_metrics().items()}},
            "card": card,
        }
        tables[key] = cast(Table, {**about, **_compared(rows, parts[key], systems)})
    chosen = [key for task in OVERALL for key in newest if _name(key[0]) == task]
    overall = _overall([parts[key] for key in chosen], [tables[key] for key in chosen], systems)
    beside = [key for key in newest if _name(key[0]) == REPORTED["name"]]
    ours = [row for key in beside for row in _ours(tables[key], grouped[key], systems)]
    shown = [*([overall] if overall else []), *tables.values()]
    return {
        "format": 2,
        "systems": systems,
        "overall": overall,
        "tables": list(tables.values()),
        "reported": {**REPORTED, "ours": ours},
        "history": {table["id"]: _history(cast(Any, table["rows"]), systems) for table in shown},
    }


def _name(task: str) -> str:
    """A task without its version."""
    return task.rpartition("@")[0]


def _newest(keys: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of each task the newest version, as the newest hlvbench scored it."""
    best = {_name(k[0]): k for k in sorted(keys, key=lambda k: (_natural(k[0]), _natural(k[1])))}
    return list(best.values())


def _natural(text: str) -> list[tuple[int, str]]:
    """Numbers by value: 0.10 after 0.9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def _place(task: str) -> tuple[int, str]:
    name = _name(task)
    return (OVERALL.index(name), "") if name in OVERALL else (len(OVERALL), name)


def _id(task: str, version: str, newest: bool) -> str:
    """Of a table, fit for a link: varierr-1, an older one with the hlvbench version that scored it."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", task if newest else f"{task}-{version}")


def _system(submission: Submission) -> System:
    """What a row says about its system, beside numbers."""
    card, model, base = submission.card, str(submission.settings["model"]), submission.card.base
    kind, _, name = model.partition(":")
    is_baseline, training = card.method == "reference", card.training
    marks = ["contaminated"] if training.contaminated or {"dev", "test"} & set(training.splits) else []
    marks += ["LeWiDi data"] if training.lewidi else []
    marks += ["not distributed"] if base and base.distributed is False else []
    return {
        "system": card.system,
        "date": card.date.isoformat(),
        "method": card.method,
        "role": cast(Any, role(card, model)),
        "reference": name if is_baseline and kind == "reference" else None,
        # runs of 0.1 recorded neither, and knew one of each
        "answers": None if is_baseline else submission.settings.get("answers", "free"),
        "prompt_version": None if is_baseline else submission.settings.get("prompt_version", 1),
        "authors": card.authors,
        "description": card.description,
        "links": {str(kind): link for kind, link in card.links.items()},
        "base": base.name if base else None,
        "revision": base.revision if base else None,
        "distributed": base.distributed if base else None,
        "training": training.model_dump(exclude={"contaminated"}),
        "marks": marks,
        "cost": card.cost.model_dump(exclude_none=True),
        "commands": card.reproduce.commands,
        "recipe": card.recipe,
        "overlap": cast(Any, card.overlap),
        "verified": card.verified.model_dump(mode="json") if card.verified else None,
    }


def _index_version(version: str) -> int:
    """Of the index that a release of hlvbench computes."""
    return 1 if _natural(version) < _natural("0.2") else 2


def _ours(table: Table, submissions: Mapping[str, Submission], systems: Systems) -> list[dict[str, Any]]:
    """The nearest of our figures to the paper's, of the humans and of the best systems."""
    shown = [name for row in table["rows"] if systems[name := row["submission"]]["role"] in ("system", "ceiling")]
    rows = []
    for name in shown[:MOST_BESIDE]:
        scores = {score.compact: score.value for score in submissions[name].reports[REPORTED["name"]].overall}
        rows.append({"submission": name, "values": [scores.get(metric) for metric in REPORTED["ours_by"]]})
    return rows


def _answers(submission: Submission, task: str, examples: Sequence[Example]) -> list[list[str]]:
    """The raw answers to the examples; none of a baseline, whose answers are not published."""
    path = submission.folder / task / GENERATIONS
    if not examples or not path.is_file():
        return []
    try:
        rows = to_generations(read_untrusted(path))
    except DataError as error:
        raise RunError(f"{path}: {error}") from None
    texts = {(row.item, row.annotator): row.text for row in rows if row.sample == 0}
    return [[_cut(texts.get((e["item"], h["annotator"]), "")) for h in e["humans"]] for e in examples]


def _cut(text: str) -> str:
    text = legible(text.strip())
    return text if len(text) <= LONGEST_ANSWER else f"{text[:LONGEST_ANSWER]}…"


def _task_row(submission: Submission, task: str, examples: Sequence[Example]) -> TaskRow:
    """The numbers of one submission on one task; ranks and comparisons are added by the table."""
    report, name = submission.reports[task], submission.folder.name
    beside = [score for metric, chosen in BESIDE for score in report.find(metric, **chosen)]
    swap = next((table for table in report.swaps() if table.system is not None), None)
    return {
        "submission": name,
        "rank": None,
        "index": _interval(report.index()),
        "index_1": INDEX_1.get(report.task, {}).get(name),
        "factors": {factor: _interval(score) for factor, score in report.factors().items()},
        "missing": report.missing,
        "against": {},
        "questions": report.questions,
        "samples": report.samples,
        "majority": report.majority.get("mean"),
        "conditions": report.conditions[0],
        "annotators": report.annotators,
        "scores": [_score(score, report) for score in [*report.headline(), *beside]],
        "curves": {
            label: {str(m): [getattr(s, e) for e in _ENDS] for m, s in report.curve(metric, "norm").items()}
            for label, metric in _CURVES.items()
        },
        "swap": swap.model_dump(exclude={"note"}) if swap else None,
        "judges": [result.model_dump(include=set(_JUDGED)) for result in submission.judges.get(task, ())],
        "examples": _answers(submission, task, examples),
    }


def _interval(score: ReportScore | None) -> Interval:
    if score is None:
        return {"value": None, "low": None, "high": None, "note": "not computed"}
    return cast(Interval, score.model_dump(include={"value", "low", "high", "note"}))


def _score(score: ReportScore, report: ScoreReport) -> Score:
    by = [report.by_annotator.get((score.signature, annotator)) for annotator in report.annotators]
    own = [one and one.value for one in by] if by[0] else None
    values = {key: getattr(score, key) for key in (*_ENDS, "n", "note")}
    return cast(Score, {"metric": score.name, **values, "by": own})


def _index_of(rows: Iterable[TaskRow]) -> str:
    """The index of a task, with what it leaves out."""
    found = (parse_metric(s["metric"]) for row in rows for s in row["scores"])
    without = next((dict(m.arguments)["without"] for m in found if m.name == INDEX), "")
    return f"{INDEX}(without={without})" if without else INDEX


def _compared(rows: Mapping[str, Row], parts: Parts, systems: Systems) -> dict[str, Any]:
    """The rows by their index, with ranks and the comparisons with baselines, and the first rows compared pairwise."""
    order = sorted(rows, key=lambda n: (rows[n]["index"]["value"] is None, -(rows[n]["index"]["value"] or 0.0), n))
    ranked = [name for name in order if systems[name]["role"] == "system"]
    tests = _on_index(parts, ranked)
    for found in tests["systems"]:
        rows[found["system"]]["rank"] = found["rank"]
    adjusted = {(pair["a"], pair["b"]): pair["p_holm"] for pair in tests["pairs"]}
    for baseline in BASELINES:
        # of two rows of one baseline the first by folder, so by date, counts
        same = (n for n in sorted(rows) if systems[n]["reference"] == baseline and n not in ranked)
        other = next(same, None)
        for name in ranked if other else ():
            for pair in _on_index(parts, [name, str(other)])["pairs"]:
                if pair["p"] is not None:
                    rows[name]["against"][baseline] = _against(pair)
    first = order[:MOST_COMPARED]
    all_metrics = compare_values({name: parts[name].values for name in first}, _items(parts))
    listed = {}
    for metric, table in all_metrics["metrics"].items():
        pairs = {(pair["a"], pair["b"]): pair for pair in table["pairs"]}
        holm = adjusted if metric == INDEX else {}
        listed[metric] = [_numbers(pairs.get(both), holm.get(both)) for both in combinations(first, 2)]
    rows_ = [rows[name] for name in order]
    return {"resolution": all_metrics["resolution"], "compared": len(first), "pairs": listed, "rows": rows_}


def _items(parts: Parts) -> int:
    return min(part.items for part in parts.values())


def _on_index(parts: Parts, names: Sequence[str]) -> dict[str, Any]:
    """These systems compared on the index; the rows and pairs of `compare_values`."""
    values = {name: {INDEX: parts[name].values[INDEX]} for name in names if INDEX in parts[name].values}
    return cast(Any, compare_values(values, _items(parts))["metrics"].get(INDEX, {"systems": [], "pairs": []}))


def _numbers(pair: Mapping[str, Any] | None, p_holm: float | None) -> list[float | None]:
    """A comparison to four decimals, p to three digits; [] where one of the two has no value."""
    if pair is None:
        return []
    ends = [None if pair[k] is None else round(pair[k], 4) + 0.0 for k in ("difference", "low", "high")]
    return [*ends, *(float(f"{p:.3g}") for p in (pair["p"], p_holm) if p is not None)]


def _against(pair: Mapping[str, Any]) -> Against:
    kept = {k: pair[k] for k in ("difference", "low", "high", "p", "beyond_resolution")}
    return cast(Against, {**kept, "beats": pair["p"] < LEVEL and pair["difference"] > 0})


def overall_parts(tables: Sequence[Parts]) -> dict[str, Part]:
    """The rows that every table has, as the mean of their values and replicates."""
    out = {}
    for name in (name for name in tables[0] if all(name in table for table in tables)):
        parts = [table[name] for table in tables]
        questions, items = sum(p.questions for p in parts), sum(p.items for p in parts)
        out[name] = Part("overall", {}, questions, items, 1, None, mean_values([p.values for p in parts]), {})
    return out


def _overall(found: Sequence[Parts], tables: Sequence[Table], systems: Systems) -> Overall | None:
    """The mean over the default set of the systems that have all of it."""
    parts = overall_parts(found) if len(found) == len(OVERALL) else {}
    if not parts:
        return None
    short = {factor: metric.short for factor, metric in factor_metrics().items()}
    rows: dict[str, Row] = {}
    for name, part in parts.items():
        kept = [INDEX_1.get(f"{task}@1", {}).get(name) for task in OVERALL]
        rows[name] = {
            "submission": name,
            "rank": None,
            "index": _mean_interval(part, INDEX),
            "index_1": None if None in kept else round(sum(kept) / len(kept), 6),
            "factors": {factor: _mean_interval(part, short[factor]) for factor in FACTORS},
            "missing": None,
            "against": {},
        }
    about = {
        "id": "overall",
        "title": "Overall",
        "task": f"mean of {' and '.join(OVERALL)}",
        "current": True,
        "index_version": tables[0]["index_version"],
        "of": [table["id"] for table in tables],
    }
    return cast(Overall, {**about, **_compared(rows, parts, systems)})


def _mean_interval(part: Part, name: str) -> Interval:
    value = part.values.get(name)
    if value is None:
        return {"value": None, "low": None, "high": None, "note": "not on all of its tasks"}
    low, high = (round(end, 6) for end in value.interval) if value.interval else (None, None)
    return {"value": round(value.estimate, 6), "low": low, "high": high, "note": ""}


def _history(rows: Sequence[Row], systems: Systems) -> list[Step]:
    """Ranked systems by date, each with the best index up to then."""
    dated = [
        (systems[r["submission"]]["date"], r["submission"], r["index"]["value"])
        for r in rows
        if systems[r["submission"]]["role"] == "system" and r["index"]["value"] is not None
    ]
    steps, best = list[Step](), float("-inf")
    for date, name, value in sorted(dated):
        best = max(best, value)
        steps.append({"date": date, "submission": name, "value": value, "best": best})
    return steps
