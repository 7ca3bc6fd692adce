"""index.html and README.md of the leaderboard: what the template and the script show."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from .. import __version__
from ..metrics import parse_metric
from ..metrics.index import FACTORS, factor_metrics
from ..results.compare import LEVEL
from ..results.markdown import plain
from ..results.markup import tag
from ..results.report_page import page_head
from ..text import as_cell, legible, number, with_interval
from .board import Systems
from .board_types import Against, Board, Step, System, TaskCard

_HERE = Path(__file__).parent
SCRIPTS = ("draw.js", "detail.js", "table.js")
BASELINES = {"nearest": "nearest", "guess": "label-guess"}
"""Column title -> the reference system that rows are compared with."""
UNDER = {"decision": "κ", "grounding": "skill", "imitation": "NIS@10", "distinctness": "own gain"}
_VERBS = {"beats it": "beats", "is behind": "is behind", "not beaten": "does not beat"}
STEPS = 20
"""Lengths of the bar behind a factor; the style sheet has a class for each."""
_SCORE = ("value", "low", "high", "floor", "ceiling", "n", "note", "by")


def page(board: Board) -> str:
    """The leaderboard as an HTML page: one file, which asks for nothing outside."""
    report = _HERE.parent / "results"
    style = "".join(path.read_text("utf-8") for path in (report / "report.css", _HERE / "leaderboard.css"))
    parts = "\n".join((_HERE / name).read_text("utf-8") for name in SCRIPTS)
    script = f"{(report / 'report.js').read_text('utf-8')}(() => {{\n{parts}}})();\n"
    about = tag("meta", name="description", content="hlvbench: can a model learn how one annotator decides?")
    older = [table for table in board["tables"] if not table["current"]]
    tables = [*_current(board), *older]
    histories = [(t["title"], s, _history(s)) for t in _current(board) if (s := board["history"][t["id"]])]
    template = _environment().get_template("board_page.html")
    return template.render(
        board=board,
        tables=tables,
        page_head=Markup(page_head("hlvbench leaderboard", style, script, about)),
        script=Markup(script),
        data=_data(board, tables),
        ranked=[s for s in board["systems"].values() if s["role"] == "system"],
        factors=UNDER,
        baselines=BASELINES,
        histories=histories,
        version=__version__,
    )


def _environment(markdown: bool = False) -> Environment:
    """Escapes every text for HTML, or leaves that to the filter `plain`; hidden characters become U+FFFD."""
    environment = Environment(
        autoescape=not markdown,
        trim_blocks=markdown,
        loader=FileSystemLoader(_HERE),
        keep_trailing_newline=True,
        finalize=lambda value: legible(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
    environment.filters |= {
        "number": number,
        "plain": plain,
        "along": lambda value: round(6 + min(1.0, max(0.0, value)) * 156, 1),
        "level": lambda value: max(0, min(STEPS, round(STEPS * value))),
        "p": small_p,
        "verdict": verdict,
        "interval": with_interval,
        "lead": lead,
        "tab": lambda t: t["title"] if t["current"] else f"{t['task']}, hlvbench {t['hlvbench']}",
        "column": lambda systems, key: sorted({s[key] for s in systems if s[key]}),
        "card": lambda table: _card(table["card"], table["rows"][0]["questions"]).items(),
        "source": lambda link: link.removeprefix("https://github.com/").partition("/tree/")[0],
        "of_overall": lambda tables, table: [t for t in tables if t["id"] in table.get("of", ())],
        "index_in": lambda t, name: next((r["index"]["value"] for r in t["rows"] if r["submission"] == name), None),
        "accuracy": lambda r: next((s["value"] for s in r["scores"] if s["metric"].startswith("label_accuracy")), None),
    }
    return environment


def _card(card: TaskCard, questions: int) -> dict[str, Any]:
    """What a task is, as its own files say it."""
    items = ", ".join(f"{count:,} {split}" for split, count in card["items"].items())
    return {
        "Items": items,
        "Annotators": card["annotators"],
        "Test questions": f"{questions:,}",
        "Data": f"{card['bytes'] / 1e6:.1f} MB",
        "Licence": card["licence"] or "none stated; no text of it is shown or redistributed here",
    }


def _current(board: Board) -> list[Any]:
    """The overall table and those of the newest versions."""
    return [*([board["overall"]] if board["overall"] else []), *(t for t in board["tables"] if t["current"])]


def small_p(p: float, beyond: bool = False) -> str:
    """p as text, with ~ before one that is smaller than the replicates resolve."""
    return ("~" if beyond else "") + ("<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0"))


def verdict(found: Against) -> tuple[str, str, str, float]:
    """Of a comparison with a baseline: its sign, what it says, its class, and a key that sorts the surest win first."""
    key = round(found["p"] if found["difference"] > 0 else 2 - found["p"], 6)
    if found["beats"]:
        return "▲", "beats it", "ahead", key
    return ("▼", "is behind", "behind", key) if found["p"] < LEVEL else ("=", "not beaten", "even", key)


def lead(table: Mapping[str, Any], systems: Systems) -> str:
    """Who is best, how sure that is, and whether it beats copying, in a few sentences."""
    ranked = [row for row in table["rows"] if row["rank"] is not None]
    if not ranked:
        return "No ranked system yet."
    best, shared = ranked[0], sum(row["rank"] == 1 for row in ranked) - 1
    said = f"Best of {len(ranked)}: {systems[best['submission']]['system']}, index {with_interval(best['index'])}."
    if len(ranked) > 1:
        said += (
            f" Rank 1, shared with {shared} other{'s' * (shared > 1)}." if shared else " Rank 1, ahead of all others."
        )
    for baseline, about in (("nearest", "the nearest training answer"), ("label-guess", "a classifier with retrieval")):
        if found := best["against"].get(baseline):
            said += f" It {_VERBS[verdict(found)[1]]} {about} ({_difference(found)})."
    return said


def _difference(found: Against) -> str:
    """A comparison as text: difference, interval and p."""
    shown = f"{with_interval(found, 'difference')}, paired p {small_p(found['p'], found['beyond_resolution'])}"
    return shown.replace("-", "−")


def _history(steps: Sequence[Step]) -> dict[str, Any]:
    """Where the chart of the best index over time has its lines, points and dates."""
    days = [datetime.date.fromisoformat(step["date"]).toordinal() for step in steps]
    first, span = min(days), max(days) - min(days)
    highest = max(step["best"] for step in steps)
    top = next((t for t in (0.05, 0.1, 0.25, 0.5) if highest <= 0.9 * t), 1.0)
    xs = [round(52 + 326 * ((day - first) / span if span else 0.5), 1) for day in days]

    def y(value: float) -> float:
        return round(12 + 138 * (1 - min(1.0, max(0.0, value / top))), 1)

    corners = [f"H{x}V{y(step['best'])}" for x, step in zip(xs[1:], steps[1:], strict=True)]
    ends = {steps[0]["date"]: (xs[0], "start"), steps[-1]["date"]: (xs[-1], "end")}
    return {
        "levels": [(level, y(level)) for level in (0.0, 0.5 * top, top)],
        "path": f"M{xs[0]} {y(steps[0]['best'])}{''.join(corners)}H388",
        "points": [(x, y(step["value"])) for x, step in zip(xs, steps, strict=True)],
        "days": [(day, x, anchor if span else "middle") for day, (x, anchor) in ends.items()],
    }


def _data(board: Board, tables: Sequence[Any]) -> Markup:
    """What the script shows on request, as JSON that no HTML parser reads as anything but text."""
    systems = {name: _system(name, system) for name, system in board["systems"].items()}
    kept = {"systems": systems, "tables": [_packed(table, board["systems"]) for table in tables]}
    return htmlsafe_json_dumps(kept, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _system(name: str, system: System) -> dict[str, Any]:
    """A system as its panel shows it."""
    training, verified, overlap = system["training"], system["verified"], system["overlap"]
    ranked = system["role"] == "system"
    revision = f" @ {system['revision']}" if system["revision"] else ""
    recipe = f" (recipe {system['recipe']})" if system["recipe"] else ""
    splits = (
        f"{', '.join(training['splits'])}: {training['annotators']}" if training["splits"] else "none of these tasks"
    )
    facts = {
        "Method": system["method"] if ranked else f"{system['role']}, unranked{recipe}",
        "Base model": f"{system['base']}{revision}" if system["base"] else "",
        "Answers": system["answers"],
        "Prompt version": system["prompt_version"],
        "Authors": ", ".join(system["authors"]),
        "Submitted": system["date"],
        "Verified": "{date}, hlvbench {hlvbench}, largest difference {largest_difference}".format(**verified)
        if verified
        else "not yet",
        "Trained on": splits if ranked else "",
        "Training note": training["note"],
        "Answers that equal a train annotation": ", ".join(
            f"{counts['train_copies']} of {counts['answers']} ({task})" for task, counts in overlap.items()
        ),
        "Marks": ", ".join(system["marks"]),
        "Cost": ", ".join(f"{key} {value}" for key, value in system["cost"].items()),
    }
    return {
        "system": system["system"],
        "description": system["description"],
        "links": system["links"],
        "facts": {term: str(text) for term, text in facts.items() if text},
        "commands": "\n".join([*system["commands"], f"hlvbench check submissions/{name}"]),
        "bibtex": _bibtex(name, system),
    }


def _bibtex(name: str, system: System) -> str:
    escape = str.maketrans({"\\": "/", "{": "", "}": "", "~": " ", "^": " ", **{c: f"\\{c}" for c in "&%$#_"}})
    authors = " and ".join(f"{{{author.translate(escape)}}}" for author in system["authors"])
    fields = {
        "title": system["system"].translate(escape),
        "author": authors,
        "year": system["date"][:4],
        "note": f"hlvbench submission {name}".translate(escape),
    }
    inner = ",\n".join(f"  {key} = {{{value}}}" for key, value in fields.items())
    return f"@misc{{hlvbench:{name},\n{inner}\n}}"


def _packed(table: Mapping[str, Any], systems: Systems) -> dict[str, Any]:
    """A table as its panels show it: scores as lists, metrics by number, which matters with hundreds of rows."""
    metrics = list(dict.fromkeys(s["metric"] for row in table["rows"] for s in row.get("scores", ())))
    at = {name: position for position, name in enumerate(metrics)}
    kept = ("submission", "index", "factors", "annotators", "curves", "swap", "judges", "conditions", "examples")
    rows = []
    for row in table["rows"]:
        shown = {key: row[key] for key in kept if key in row}
        if "scores" in row:
            shown["scores"] = [[at[s["metric"]], *(s[key] for key in _SCORE)] for s in row["scores"]]
        line = _csv_line(_csv_row(row, systems[row["submission"]]))
        rows.append({**shown, "note": _row_note(row, table), "csv": line})
    about = {key: table.get(key) for key in ("id", "task", "title", "resolution", "compared", "pairs", "card")}
    ways = [parse_metric(name).spec.better for name in metrics]
    under = {factor: metric.short for factor, metric in factor_metrics().items()}
    return {**about, "head": _csv_line(_CSV), "names": metrics, "ways": ways, "under": under, "rows": rows}


def _row_note(row: Mapping[str, Any], table: Mapping[str, Any]) -> str:
    """What a panel says above the numbers of one task."""
    said = [f"The {table['task']}."]
    if "questions" in row:
        said = [
            f"{row['questions']} questions, {row['missing']} missing or unreadable answers; "
            f"each annotator’s majority label is right for {number(row['majority'])}."
        ]
    said.append(f"Index {table['index_version']}.")
    if row["index_1"] is not None:
        said.append(f"Index 1, that of the releases 0.1: {number(row['index_1'])}.")
    said += [f"It {_VERBS[verdict(a)[1]]} {name}: {_difference(a)}." for name, a in row["against"].items()]
    return " ".join(said)


_CSV = (
    "submission system method base role rank hlv_index low high decision grounding imitation distinctness missing "
    "verified date less_nearest p_nearest less_label_guess p_label_guess"
).split()


def _csv_row(row: Mapping[str, Any], system: System) -> list[Any]:
    about = [row["submission"], *(system[key] for key in ("system", "method", "base", "role"))]
    index = [row["rank"], *(row["index"][key] for key in ("value", "low", "high"))]
    factors = [row["factors"].get(factor, {}).get("value") for factor in FACTORS]
    verified = system["verified"]["date"] if system["verified"] else None
    against = [row["against"].get(b, {}).get(key) for b in BASELINES.values() for key in ("difference", "p")]
    return [*about, *index, *factors, row["missing"], verified, system["date"], *against]


def _csv_line(cells: Sequence[Any]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow([as_cell(cell) if isinstance(cell, str) else cell for cell in cells])
    return line.getvalue()


def readme(board: Board) -> str:
    """The current tables as Markdown, for those who read the repository and not the page."""
    template = _environment(markdown=True).get_template("board_readme.md")
    return template.render(board=board, tables=_current(board), factors=FACTORS, baselines=BASELINES)
