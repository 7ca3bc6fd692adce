"""The tables of the page: a row per submission, readable and sorted without script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..metrics.index import FACTORS
from ..results.compare import LEVEL
from ..results.markup import Html, Part, join, name_of, scroll, tag
from ..text import number

_AXIS = (168.0, 20.0, 6.0)
"""Width, height and margin of an interval's picture; the index goes from 0 to 1."""
STEPS = 20
"""Lengths of the bar behind a factor; the style sheet has a class for each."""
UNDER = {"decision": "κ", "grounding": "skill", "imitation": "NIS@10", "distinctness": "own gain"}
REFERENCES = {"nearest": "nearest", "guess": "label-guess"}
"""Under which title a row is held against which reference."""
Systems = Mapping[str, Mapping[str, Any]]


def board_table(table: Mapping[str, Any], systems: Systems, others: Sequence[Mapping[str, Any]] = ()) -> Html:
    """A table of the board. others: for the overall table, those of its tasks, whose index stands in a column each."""
    by_task = [{r["submission"]: r for r in other["rows"]} for other in others]
    head = tag("tr", [_head(*column) for column in _columns(others)])
    body = [_row(row, systems[row["submission"]], by_task) for row in table["rows"]]
    caption = f"{table['title']}: systems by hlv_index, with 95 % intervals and rank groups"
    inner = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", body), class_="board",
                data_table=table["id"])  # fmt: skip
    return scroll(inner, caption)


def _columns(others: Sequence[Mapping[str, Any]]) -> list[tuple[Part, str, str, str]]:
    """(title, what is small below it, class, how it sorts: "text", "up" or "down" first) of every column."""
    task_columns = [
        ("accuracy", "label", "num", "down"),
        ("missing", "answers", "num", "up"),
    ] if not others else [(o["title"], "index", "num task", "down") for o in others]  # fmt: skip
    return [
        (tag("span", "compare", class_="unseen"), "", "pick", ""),
        ("rank", "", "num", "up"),
        ("system", "", "who", "text"),
        ("hlv_index", "95 % interval", "num", "down"),
        (axis(), "", "drawn", ""),
        *((factor, UNDER[factor], "num", "down") for factor in FACTORS),
        *task_columns,
        *((f"vs {shown}", "paired p", "beats", "up") for shown in REFERENCES),
        ("index 1", "0.1", "num old", "down"),
        ("answers", "", "answers", "text"),
        ("date", "", "date", "text"),
    ]


def _head(title: Part, under: str, class_: str, sorts: str) -> Html:
    inner = [tag("span", title, class_="t"), tag("small", under) if under else None]
    sort = {"data_sort": sorts} if sorts else {}
    return tag("th", inner, scope="col", class_=class_, **sort)


def _row(row: Mapping[str, Any], system: Mapping[str, Any], by_task: Sequence[Mapping[str, Mapping[str, Any]]]) -> Html:
    who = row["submission"]
    index, role = row["index"], system["role"]
    rank = str(row["rank"]) if row["rank"] else "–"
    cells = [
        tag("td", tag("input", type="checkbox", class_="pick", aria_label=f"compare {system['system']}"),
            class_="pick"),
        tag("td", rank, class_="num rank", data_v=row["rank"]),
        tag("th", _who(who, system), scope="row", class_="who", data_v=system["system"]),
        tag("td", _index(index), class_="num index", data_v=index["value"]),
        tag("td", interval_picture(index, role), class_="drawn"),
        *(_factor(row["factors"].get(name, {"value": None})) for name in FACTORS),
    ]  # fmt: skip
    if by_task:
        cells += [_plain(rows.get(who, {}).get("index", {}).get("value")) for rows in by_task]
    else:
        accuracy = next((s["value"] for s in row["scores"] if s["metric"].startswith("label_accuracy")), None)
        cells += [_plain(accuracy), tag("td", str(row["missing"]), class_="num", data_v=row["missing"])]
    cells += [_against(row["against"].get(name), role) for name in REFERENCES.values()]
    cells.append(tag("td", number(row["index_1"]), class_="num old", data_v=row["index_1"]))
    cells.append(tag("td", system["answers"] or "–", class_="answers", data_v=system["answers"]))
    cells.append(tag("td", system["date"], class_="date", data_v=system["date"]))
    return tag(
        "tr", cells, class_=role, data_id=who, data_method=system["method"], data_base=system["base"] or "",
        data_answers=system["answers"] or "",
        data_verified="1" if system["verified"] else None, data_role=role, hidden=role == "attack",
    )  # fmt: skip


def _who(folder: str, system: Mapping[str, Any]) -> Html:
    """The name, and under it the method, the base model and what must be known."""
    about = [system["method"], system["base"]] if system["role"] == "system" else [system["role"], system["recipe"]]
    # free answers are the rule; narrow screens leave out the column
    about = [part for part in [*about, system["answers"] if system["answers"] == "constrained" else None] if part]
    chips = [tag("span", mark, class_="chip warn") for mark in system["marks"]]
    if system["verified"]:
        title = _verified(system["verified"])
        chips.insert(0, tag("span", "✓", tag("span", " verified", class_="unseen"), class_="good", title=title))
    elif system["role"] == "system":
        chips.insert(0, tag("span", "not verified", class_="chip"))
    name = tag("a", name_of(system["system"]), href=f"../submissions/{folder}/", class_="open", data_id=folder)
    return join([name, tag("small", [[" · " if n else "", name_of(part)] for n, part in enumerate(about)],
                           [[" ", chip] for chip in chips])])  # fmt: skip


def _verified(found: Mapping[str, Any]) -> str:
    return (
        f"scored again from its raw text on {found['date']} by hlvbench {found['hlvbench']}; "
        f"largest difference {found['largest_difference']:g}"
    )


def _index(index: Mapping[str, Any]) -> Html:
    if index["value"] is None:
        return tag("span", "–", class_="why", title=index["note"])
    span = tag("small", f"{number(index['low'])}–{number(index['high'])}") if index["low"] is not None else None
    return join([tag("b", number(index["value"])), " ", span])


def _factor(factor: Mapping[str, Any]) -> Html:
    value = factor["value"]
    if value is None:
        return tag("td", "–", class_="num factor", title=factor.get("note"))
    level = max(0, min(STEPS, round(STEPS * value)))
    shown = number(value, 2).replace("-", "−")
    return tag("td", shown, class_=f"num factor b{level}", data_v=value, title=_title(factor))


def _title(factor: Mapping[str, Any]) -> str:
    value = f"{number(factor['value'])}"
    return value if factor["low"] is None else f"{value} [{number(factor['low'])}, {number(factor['high'])}]"


def _plain(value: float | None) -> Html:
    return tag("td", number(value), class_="num", data_v=value)


def _against(found: Mapping[str, Any] | None, role: str) -> Html:
    """Whether a system beats a reference; by p, so that sorting puts the surest win first."""
    if found is None:
        return tag("td", "" if role != "system" else "–", class_="beats")
    p = small_p(found)
    sign, said, class_ = verdict(found)
    key = found["p"] if found["difference"] > 0 else 2 - found["p"]
    words = f"difference {found['difference']:+.3f} [{number(found['low'])}, {number(found['high'])}], p {p}"
    shown = [tag("span", sign, aria_hidden="true"), tag("span", said, class_="unseen"), f" {p}"]
    return tag("td", tag("span", shown, class_=class_), class_="beats", data_v=round(key, 6),
               title=f"{said}: {words}")  # fmt: skip


def small_p(found: Mapping[str, Any]) -> str:
    """p, with ~ before one that lies beyond what the replicates resolve."""
    p = "<.001" if found["p"] < 0.001 else f"{found['p']:.3f}".removeprefix("0")
    return "~" + p if found["beyond_resolution"] else p


def verdict(found: Mapping[str, Any]) -> tuple[str, str, str]:
    """Of a paired comparison with a reference: its sign, what it says, its class."""
    if found["beats"]:
        return "▲", "beats it", "ahead"
    return ("▼", "is behind", "behind") if found["p"] < LEVEL else ("=", "not beaten", "even")


def _at(value: float) -> float:
    width, _, margin = _AXIS
    return round(margin + min(1.0, max(0.0, value)) * (width - 2 * margin), 1)


def interval_picture(index: Mapping[str, Any], role: str) -> Html:
    """The index on 0 to 1: a band for its interval, a disc for its value; references have a hollow one."""
    if index["value"] is None:
        return Html("")
    width, height, _ = _AXIS
    middle, parts = height / 2, []
    if index["low"] is not None:
        low, high = _at(index["low"]), _at(index["high"])
        parts.append(
            tag("rect", class_="band", x=low - 0.5, y=middle - 4, width=round(high - low + 1, 1), height=8, rx=2)
        )
    parts.append(tag("circle", class_="dot", cx=_at(index["value"]), cy=middle, r=4))
    said = f"{number(index['value'])} on a scale from 0 to 1"
    return tag("svg", parts, viewBox=f"0 0 {width:g} {height:g}", class_=f"span {role}", role="img", aria_label=said)


def axis() -> Html:
    """The scale above the intervals."""
    width, height, _ = _AXIS
    ticks = [
        tag("text", text, x=_at(at), y=height - 7, text_anchor="middle", class_="tick")
        for at, text in ((0.0, "0"), (0.25, ".25"), (0.5, ".5"), (0.75, ".75"), (1.0, "1"))
    ]
    return tag("svg", ticks, viewBox=f"0 0 {width:g} {height:g}", class_="span axis-head", role="img",
               aria_label="interval, from 0 to 1")  # fmt: skip
