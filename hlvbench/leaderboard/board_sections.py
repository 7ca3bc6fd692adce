"""What stands on the page beside the tables: history, reported figures, how to read and to take part."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from ..results.markup import Html, Part, fold, join, name_of, note, table, tag
from ..text import number

Systems = Mapping[str, Mapping[str, Any]]
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 400.0, 180.0, 42.0, 12.0, 12.0, 30.0


def history_section(board: Mapping[str, Any]) -> Html:
    """How the best index moved over time, a step per table."""
    tables = [*([board["overall"]] if board["overall"] else []), *board["tables"]]
    figures = []
    for one in tables:
        steps = board["history"][one["id"]]
        if not one["current"] or not steps:
            continue
        numbers = table(
            ["date", "system", "index", "best so far"],
            [[s["date"], name_of(board["systems"][s["submission"]]["system"]),
              *(tag("td", number(s[k]), class_="num") for k in ("value", "best"))] for s in steps],
            caption=f"History of {one['title']}",
        )  # fmt: skip
        figures.append(
            tag("figure", tag("figcaption", one["title"]), _steps(one["title"], steps), fold("numbers", numbers))
        )
    if not figures:
        return Html("")
    how = note("Every ranked submission at its date; the line is the best index up to then. References are left out.")
    return tag("section", tag("h2", "History"), how, tag("div", figures, class_="charts"), id="history")


def _steps(title: str, steps: Sequence[Mapping[str, Any]]) -> Html:
    days = [datetime.date.fromisoformat(s["date"]).toordinal() for s in steps]
    first, last = min(days), max(days)
    highest = max(s["best"] for s in steps)
    top = next((t for t in (0.05, 0.1, 0.25, 0.5) if highest <= 0.9 * t), 1.0)

    def x(day: int) -> float:
        inner = _WIDTH - _LEFT - _RIGHT - 20
        return round(_LEFT + 10 + inner * ((day - first) / (last - first) if last > first else 0.5), 1)

    def y(value: float) -> float:
        return round(_TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - min(1.0, max(0.0, value / top))), 1)

    parts: list[Html] = []
    for level in (0.0, 0.5 * top, top):
        parts.append(tag("line", class_="grid", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y(level), y2=y(level)))
        parts.append(tag("text", f"{level:.3g}", class_="tick", x=_LEFT - 6, y=y(level) + 4, text_anchor="end"))
    path = f"M{x(days[0])} {y(steps[0]['best'])}"
    for day, step in zip(days[1:], steps[1:], strict=True):
        path += f"H{x(day)}V{y(step['best'])}"
    parts.append(tag("path", class_="line system", d=path + f"H{_WIDTH - _RIGHT}"))
    parts += [
        tag("circle", class_="mark system", cx=x(d), cy=y(s["value"]), r=3.5) for d, s in zip(days, steps, strict=True)
    ]
    for day, anchor in {
        first: "start" if last > first else "middle",
        last: "end" if last > first else "middle",
    }.items():
        shown = datetime.date.fromordinal(day).isoformat()
        parts.append(tag("text", shown, class_="tick", x=x(day), y=_HEIGHT - 8, text_anchor=anchor))
    said = f"Best index of {title} over time: " + ", ".join(f"{s['date']} {number(s['best'])}" for s in steps[-20:])
    return tag("svg", parts, viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}", class_="chart history", role="img", aria_label=said)


def reported_section(reported: Mapping[str, Any]) -> Html:
    rows = [[row["system"], *(tag("td", number(v), class_="num") for v in row["values"])] for row in reported["rows"]]
    head = ["system", *(tag("span", column, class_="wide-head") for column in reported["columns"])]
    drawn = table(head, rows, caption=f"Figures reported by {reported['source']}", class_="reported")
    lead = [
        "Figures that the paper whose questions we ask (", tag("a", reported["source"], href=reported["url"]),
        f") reports for {reported['task']}. They were not made with this benchmark, cannot be checked, and must not be "
        "read beside the tables above:",
    ]  # fmt: skip
    why = tag("ul", [tag("li", reason) for reason in reported["not_comparable"]])
    return tag(
        "section", tag("h2", "Reported, not verified"), tag("p", lead, class_="prose"), drawn, why, id="reported"
    )


BENCHMARK = """@misc{hlvbench,
  title = {hlvbench: can a model learn how one particular annotator decides and explains?},
  author = {{The hlvbench authors}},
  year = {2026},
  note = {Version 0.1.0}
}

@misc{chen2026human,
  title = {Human Label Variation as Stable Signal: Learning Annotator-Specific Explanation Behavior via
           Cross-Annotator Preference Optimization},
  author = {Chen and Hong and Zhang and Roth and Korhonen and Plank},
  year = {2026},
  eprint = {2605.28802},
  archivePrefix = {arXiv}
}"""


def about_section() -> Html:
    """How to read the tables, what a rank is, how rows come and go."""
    read: list[tuple[str, Part]] = [
        ("hlv_index", "The harmonic mean of four skills, each cut to 0–1, and 0 if one of them is 0: a missing skill "
         "cannot be bought by the others. People have 1, by definition; nobody repeats their own words, so 1 is not a "
         "goal (a person's second answer reaches about .42 on VariErr NLI)."),
        ("decision", "Does it decide as this annotator does, beyond chance? Cohen's κ on VariErr NLI, "
         "quadratic-weighted κ on R2, mean over annotators."),
        ("grounding", "Does the explanation speak about its item? Its rank among all inputs; chance 0, people 1."),
        ("imitation", "Do ten explanations together read like the annotator's? Chance 0, people 1, above 1 a "
         "caricature. A random training explanation of the right person has about 1, so it never ranks alone."),
        ("distinctness", "Does it say what this person says about this item, more than what the others say?"),
        ("Intervals, p", "Intervals are 95 %, from 1,000 resamplings of the items, the same for all systems. A p is "
         "two-sided and paired, from the 200 resamplings that a row keeps; ~ marks one that lies beyond what these "
         "resolve and is read off the normal tail."),
        ("Rank", "1 plus the number of ranked systems that beat a system on the index in a paired test (p < .05 after "
         "Holm's adjustment over all pairs). Two systems of equal rank may still differ: compare the two to see."),
        ("Shaded rows", "People (the ceiling), floors and attacks are unranked references: what can be had without "
         "imitating anybody. “vs nearest” and “vs guess” say whether a system beats two cheap tricks: copying the "
         "annotator's nearest training answer, and a small classifier with a retrieved explanation. ▲ it beats the "
         "trick, ▼ it is behind, = neither."),
        ("Verified", "A maintainer scored the raw text again: every number within .002. Texts of references are "
         "dataset text and stay out of the repository; their rows are recipes that are run again."),
        ("Marks", "“contaminated”: the submitter says that training saw dev or test material. “not distributed”: "
         "nobody else can get the model. Both keep their place."),
        ("Versions", "A task's items and splits never change within a version. A new version is a new table, and old "
         "rows stay in the old one; a change of the scores' code is a new release, with which every row is scored "
         "again from its raw text."),
    ]  # fmt: skip
    words = tag("dl", [[tag("dt", term), tag("dd", said)] for term, said in read], class_="words")
    take = tag("p", "Every row is a folder of ", tag("a", "submissions/", href="../submissions/"),
               " with its raw text, its scores and their signatures; the numbers of this page are in ",
               tag("a", "leaderboard.json", href="leaderboard.json"), ", described by ",
               tag("a", "schema.json", href="schema.json"), ". To take part, run ", tag("code", "hlvbench submit"),
               " and open a pull request (CONTRIBUTING.md).", class_="prose")  # fmt: skip
    cite = fold("BibTeX", tag("pre", BENCHMARK))
    return join(tag("section", tag("h2", "How to read this"), words, take, cite, id="about"))
