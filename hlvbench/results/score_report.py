"""scores.json as a typed document: the one place that reads, writes and searches it."""

from __future__ import annotations

import inspect
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..bootstrap import decode
from ..errors import MetricError, RunError, all_problems, validation_problems
from ..io import dump_json, read_json, write_atomic
from ..metrics import Metric, parse_metric, parse_signature
from ..metrics.index import FACTORS, left_out
from ..text import in_brackets, number

INDEX = "hlv_index"
Count = Annotated[int, Field(ge=0, le=10**7)]
Share = Annotated[float, Field(ge=0, le=1)]
Matrix = list[list[Share | None]]
Tally = Annotated[dict[str, Count], Field(max_length=50)]


class Document(BaseModel):
    """A part of scores.json: exact types, no unknown keys, no infinities."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Score(Document):
    """One number with what is needed to read it."""

    metric: str = Field(max_length=500, description="Short name with the group size, imitation_score@10 say.")
    signature: str = Field(max_length=500, description="The metric with all its parameters, and the conditions.")
    annotator: str | None = Field(description="Null: over all annotators.")
    value: float | None = Field(description="Null: cannot be given; the note says why.")
    low: float | None = Field(default=None, description="Lower end of the 95 % interval.")
    high: float | None = Field(default=None, description="Upper end of the 95 % interval.")
    floor: float | None = Field(default=None, description="The baseline: the annotator-blind reference, or chance.")
    ceiling: float | None = Field(default=None, description="The human annotators' own value.")
    n: Count = Field(default=0, description="Questions (or items) that the value rests on.")
    note: str = ""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not all(self.signature.partition("|")[::2]):
            raise ValueError(f"{self.signature!r:.120} is not a signature: no task")
        if (self.low is None) != (self.high is None) or (self.low or 0.0) > (self.high or 0.0):
            raise ValueError(f"{self.signature:.120}: {self.low} to {self.high} is no interval")
        return self

    @cached_property
    def bound(self) -> Metric | None:
        """The metric with its parameters; None where this version does not know it."""
        return _bound(self.signature)

    @property
    def name(self) -> str:
        """The metric with all its parameters: the signature's first part."""
        return self.signature.partition("|")[0]

    @property
    def conditions(self) -> str:
        """What the number was computed under: the signature without the metric."""
        return self.signature.partition("|")[2]

    @property
    def compact(self) -> str:
        """The metric without the parameters that are defaults, the view excepted; parses back to the same."""
        if self.bound is None:
            return self.name
        known = self.bound.spec.parameters
        kept = tuple((k, v) for k, v in self.bound.arguments if k in ("view", "m") or v != known[k].default)
        return str(Metric(self.bound.name, kept))

    @property
    def meaning(self) -> str:
        """The first line of the metric's documentation."""
        found = (inspect.getdoc(self.bound.spec.function) or "") if self.bound else ""
        return found.partition("\n")[0]

    @property
    def better(self) -> str:
        """ "higher", "lower" or "ideal"; "higher" where the metric is unknown."""
        return self.bound.spec.better if self.bound else "higher"

    def __str__(self) -> str:
        """Value and interval, or why there is no value."""
        if self.value is None:
            return f"– ({self.note})" if self.note else "–"
        return number(self.value) + in_brackets(self.low, self.high)


@lru_cache(maxsize=50_000)
def _bound(signature: str) -> Metric | None:
    try:
        return parse_signature(signature).metric
    except MetricError:
        pass
    try:
        return parse_metric(signature.partition("|")[0])
    except MetricError:
        return None


class KeptReplicates(Document):
    """The first bootstrap replicates of one score, encoded as `bootstrap.encode` does."""

    signature: str
    estimate: float | None
    scale: float
    offset: float
    data: str = Field(description="Little-endian int16 in base64: replicate = offset + scale * code; -32768 is NaN.")

    @property
    def values(self) -> np.ndarray:
        """The replicates (R,), NaN where there is none."""
        return decode(self.offset, self.scale, self.data)


class Replicates(Document):
    """The kept replicates of the index and its factors."""

    count: Count
    values: dict[str, KeptReplicates] = Field(description="Short name of the metric -> its replicates.")

    @model_validator(mode="after")
    def _counted(self) -> Self:
        for name, kept in self.values.items():
            try:
                found = len(kept.values)
            except ValueError as error:
                raise ValueError(f"{name:.60}: data: {error}") from None
            if found != self.count:
                raise ValueError(f"{name:.60}: {found} replicates, {self.count} were expected")
        return self


class SwapTable(Document):
    """Row i, column j: the mean probability that groups of m answers given as annotator i are annotator j's."""

    view: str = Field(pattern="^(raw|norm)$")
    m: Count
    system: Matrix | None
    human: Matrix | None
    note: str


class Confusion(Document):
    """Counts per annotator: rows the annotator's label, columns the predicted one, the last one missing answers."""

    labels: list[str]
    counts: dict[str, list[list[Count]]]


class FeatureHistogram(Document):
    """Counts per bin of one feature of the explanations."""

    name: str
    cuts: list[float] = Field(description="The lower ends of all bins but the first.")
    human: dict[str, list[Count]]
    system: dict[str, list[Count]]


class Details(Document):
    """The tables that a report draws."""

    annotators: list[str]
    swap: list[SwapTable] = Field(max_length=20)
    confusion: Confusion
    features: list[FeatureHistogram]

    @model_validator(mode="after")
    def _square(self) -> Self:
        size = len(self.annotators)
        for table in self.swap:
            for side in (table.system, table.human):
                if side is not None and [len(row) for row in side] != [size] * size:
                    raise ValueError(f"a swap matrix is not {size} × {size}")
        return self


class ScoreReport(Document):
    """All scores of one system on one task: the document scores.json.

    Rows are found by metric and parameters: `report["label_kappa"]`, `report.find("grounding", view="raw")`,
    `report.index()`, `report.factors()`, `report.headline()`.
    """

    task: str = Field(description="Name and version, varierr@1 say.")
    split: str
    system: str
    questions: Count
    clusters: Count | None = Field(default=None, description="Clusters of items, which are resampled together.")
    samples: Count = 1
    missing: Count
    missing_reasons: Tally = {}
    without_explanation: Count = 0
    thought: Count = Field(default=0, description="Answers of which a passage of reasoning was dropped.")
    skipped: Tally = Field(default={}, description="What is never asked, in the whole task.")
    unscored_annotators: list[str] = []
    majority: dict[str, float | None] = Field(
        default={}, description="Accuracy of each annotator's most frequent train label."
    )
    scores: list[Score] = Field(min_length=1)
    replicates: Replicates
    licence: str | None = Field(default=None, max_length=500)
    label_only: Count = Field(default=0, description="Questions whose annotator wrote no explanation.")
    details: Details | None = None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a scores.json.

        Raises:
            DataError: The file is absent or no JSON.
            RunError: It is no scores.json of this version; all problems at once.
        """
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            remedy = f"re-score it: hlvbench score {path.parent.parent}"
            raise RunError(
                all_problems(f"{path}: not a scores.json of this version ({remedy})", validation_problems(error))
            ) from None

    def write(self, path: Path) -> None:
        """Write the document as scores.json."""
        write_atomic(path, dump_json(self.to_dict()))

    def to_dict(self) -> dict[str, Any]:
        """The document as plain JSON values; keys that say nothing are left out."""
        empty = {"clusters": None, "licence": None, "label_only": 0, "details": None}
        return self.model_dump(exclude={key for key, value in empty.items() if getattr(self, key) == value})

    def __getitem__(self, name: str) -> Score:
        """The score over all annotators of a metric, named as in a signature; other parameters have their defaults."""
        return self.of(name)

    def of(self, name: str, annotator: str | None = None) -> Score:
        """The score of one annotator, or over all of them.

        Args:
            name: The metric, `imitation_score(view=norm)@10` say; parameters that are not named have their defaults, so
                the index of a task with `index_without` is found by `index()` alone.
            annotator: None for the score over all annotators.

        Raises:
            KeyError: There is no such score.
        """
        wanted = parse_metric(name)
        for score in self.scores:
            if score.annotator == annotator and score.bound == wanted:
                return score
        raise KeyError(f"{name} (bound: {wanted}), annotator {annotator}: not in this scorecard")

    def find(self, name: str, annotator: str | None = None, **parameters: Any) -> list[Score]:
        """The scores of a metric that have at least these parameters, over all annotators or of one."""
        return [
            score
            for score in self.scores
            if score.annotator == annotator and score.bound is not None and score.bound.matches(name, parameters)
        ]

    def first(self, name: str, **parameters: Any) -> Score | None:
        """The first of `find`, None where there is none."""
        return next(iter(self.find(name, **parameters)), None)

    @cached_property
    def overall(self) -> list[Score]:
        """The scores over all annotators."""
        return [score for score in self.scores if score.annotator is None]

    @cached_property
    def by_annotator(self) -> dict[tuple[str, str], Score]:
        """(signature, annotator) -> the score of that annotator."""
        return {(score.signature, score.annotator): score for score in self.scores if score.annotator is not None}

    def headline(self, annotator: str | None = None) -> list[Score]:
        """The scores that a reader meets first, as the registry says."""
        found = [score for score in self.scores if score.annotator == annotator]
        return [score for score in found if score.bound is not None and score.bound.is_headline]

    def index(self) -> Score | None:
        """The index over all annotators."""
        return self.first(INDEX)

    def factors(self) -> dict[str, Score]:
        """The index's factors that there are: decision, grounding, imitation, distinctness."""
        found = {factor: self.first(name, **parameters) for factor, (name, parameters) in FACTORS.items()}
        return {factor: score for factor, score in found.items() if score is not None}

    def left_out(self) -> tuple[str, ...]:
        """The factors that the index of this task leaves out."""
        index = self.index()
        return left_out(str(dict(index.bound.arguments)["without"])) if index and index.bound else ()

    def curve(self, name: str, view: str) -> dict[int, Score]:
        """Group size -> score of a group metric, with the index's content reduction."""
        found = self.find(name, view=view, reduce=FACTORS["imitation"][1]["reduce"])
        return dict(sorted((int(dict(score.bound.arguments)["m"]), score) for score in found if score.bound))

    def swaps(self) -> list[SwapTable]:
        """The swap matrices, that of the index (its view, the largest group) first."""
        view = FACTORS["imitation"][1]["view"]
        return sorted(self.details.swap if self.details else (), key=lambda table: (table.view != view, -table.m))

    @cached_property
    def annotators(self) -> list[str]:
        """The scored annotators, in the task's order."""
        named = self.details.annotators if self.details else []
        return list(named or dict.fromkeys(s.annotator for s in self.scores if s.annotator is not None))

    @property
    def task_name(self) -> str:
        """The task without its version."""
        return self.task.rsplit("@", 1)[0]

    @property
    def conditions(self) -> list[str]:
        """What the numbers were computed under: one, as a rule."""
        return list(dict.fromkeys(score.conditions for score in self.scores))

    @property
    def version(self) -> str:
        """The hlvbench version that scored."""
        return parse_signature(self.scores[0].signature).version


def schema_text() -> str:
    """docs/scores.schema.json: the JSON schema of scores.json."""
    return dump_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **ScoreReport.model_json_schema()})
