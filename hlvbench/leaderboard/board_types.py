"""The types of leaderboard.json; schema.json is generated from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

Number = float | None
Role = Literal["system", "ceiling", "floor", "attack"]
_forbid = with_config(ConfigDict(extra="forbid"))


def _note(text: str) -> Any:
    return Field(description=text)


class Interval(TypedDict):
    """A value with its 95 % interval; a value that is null has a note that says why."""

    value: Number
    low: Number
    high: Number
    note: str


class Against(TypedDict):
    """A system less a baseline on the index, paired; p is not adjusted."""

    difference: float
    low: Number
    high: Number
    p: float
    beyond_resolution: bool
    beats: bool


class System(TypedDict):
    """What a submission.toml says about its system."""

    system: Annotated[str, _note("Its name on the page.")]
    date: str
    method: str
    role: Annotated[Role, _note("Only a system is ranked.")]
    reference: Annotated[str | None, _note("The name of the reference system that this row is, if it is one.")]
    answers: Annotated[Literal["free", "constrained"] | None, _note("Null for baselines, which read no prompt.")]
    prompt_version: Annotated[int | None, _note("Of the prompts' wording.")]
    authors: list[str]
    description: str
    links: dict[str, str]
    base: str | None
    revision: str | None
    distributed: Annotated[bool | None, _note("False: others cannot get the model.")]
    training: dict[str, Any]
    marks: Annotated[list[str], _note("What a reader must know before comparing.")]
    cost: dict[str, Any]
    commands: Annotated[list[str], _note("How the run was made.")]
    recipe: Annotated[str | None, _note("A baseline whose answers are dataset text: made again, not stored.")]
    overlap: Annotated[dict[str, dict[str, int]], _note("Task -> counts of memorised text.")]
    verified: Annotated[dict[str, Any] | None, _note("When the raw answers were scored again, and how equally.")]


class Row(TypedDict):
    """The numbers of one submission in one table.

    rank: 1 + the number of ranked systems that beat it (paired, Holm, p < .05); null for baselines and attacks.
    """

    submission: str
    rank: Annotated[int, Field(ge=1)] | None
    index: Interval
    index_1: Annotated[Number, _note("Its index as the releases 0.1 defined it; kept until release 0.3.")]
    factors: dict[str, Interval]
    missing: Annotated[int | None, _note("Missing or unreadable answers; they stay in every denominator.")]
    against: Annotated[dict[str, Against], _note("Baseline -> comparison: nearest and label-guess.")]


class Score(TypedDict):
    metric: str
    value: Number
    low: Number
    high: Number
    floor: Number
    ceiling: Number
    n: int
    note: str
    by: Annotated[list[Number] | None, _note("Of each annotator, in the order of annotators.")]


class Example(TypedDict):
    """A test item and what its annotators answered: texts of the data set, shown where its licence permits it."""

    item: str
    text: Annotated[dict[str, str], _note("Shown name of a field -> its text.")]
    humans: Annotated[list[dict[str, str]], _note("annotator, label and explanation.")]


class TaskCard(TypedDict):
    """What tasks/ says about a task."""

    items: Annotated[dict[str, int], _note("Split -> number of items.")]
    annotators: int
    licence: Annotated[str, _note("Empty where none is stated.")]
    source: Annotated[str, _note("The repository of the data at the pinned revision.")]
    bytes: Annotated[int, _note("Size of the data files.")]
    examples: list[Example]


class TaskRow(Row):
    """A row of a task's table."""

    questions: int
    samples: int
    majority: Number
    conditions: Annotated[str, _note("A score's signature is its metric, a bar, and this.")]
    annotators: list[str]
    scores: list[Score]
    curves: Annotated[dict[str, dict[str, list[Number]]], _note("Metric -> size -> value, low, high, floor, human.")]
    swap: Annotated[dict[str, Any] | None, _note("K x K mean probabilities, of the system and of humans.")]
    judges: list[dict[str, Any]]
    examples: Annotated[list[list[str]], _note("Raw answers to the card's examples, per item and human.")]


class _Comparable(TypedDict):
    id: str
    task: Annotated[str, _note("Name and version.")]
    title: str
    index_version: Annotated[int, _note("1 of the releases 0.1, 2 since 0.2.")]
    current: Annotated[bool, _note("False: the task or the scores have a newer version.")]
    resolution: Annotated[float, _note("The smallest p that counting replicates can give; smaller ones are normal.")]
    compared: Annotated[int, _note("How many rows, the first ones, pairs compares.")]
    pairs: dict[str, list[list[Number]]]


@_forbid
class Table(_Comparable):
    """One per task version and scoring version. Only rows of one table are compared.

    pairs: metric -> comparison of every two of the first rows, in the order (0, 1), (0, 2), ..., first less second:
    difference, low, high, p (two-sided, paired) and, between ranked systems on the index, Holm's adjusted p.
    """

    hlvbench: Annotated[str, _note("The version that computed the scores.")]
    metrics: Annotated[dict[str, str], _note("Factor -> metric.")]
    card: Annotated[TaskCard | None, _note("Null for a task, or a version of it, that tasks/ does not hold.")]
    rows: list[TaskRow]


@_forbid
class Overall(_Comparable):
    """The mean of the default set, varierr and r2, of the systems that have both."""

    of: Annotated[list[str], _note("Ids of the tables whose mean this is.")]
    rows: list[Row]


class Step(TypedDict):
    date: str
    submission: str
    value: float
    best: Annotated[float, _note("The best index up to then.")]


@_forbid
class Board(TypedDict):
    """The numbers of the hlvbench leaderboard, as docs/metrics.md defines them."""

    format: Literal[2]
    systems: Annotated[dict[str, System], _note("Folder of submissions/ -> its system.")]
    overall: Overall | None
    tables: list[Table]
    reported: Annotated[dict[str, Any], _note("Figures of the source paper, not verified, and ours.")]
    history: Annotated[dict[str, list[Step]], _note("Id of a table -> its ranked systems by date.")]


def board_schema() -> dict[str, Any]:
    """The JSON schema of leaderboard.json."""
    schema = TypeAdapter(Board).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "leaderboard.json"}
