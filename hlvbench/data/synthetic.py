"""A task of our own making whose annotators differ by known amounts, for the demo, tests and experiments.

An item is a context with three facts (how many, who, where) and a statement that agrees with each fact,
leaves it open or conflicts with it. `support` in [0, 1] is the mean of the three (1, 1/2, 0). An `AnnotatorProfile`
says how an annotator decides, by two thresholds on the support, and writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations, product
from pathlib import Path

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from ..bootstrap import seeded
from ..errors import TaskError, all_problems
from ..io import dump_line, sha256_text
from ..types import Annotation, Item, Label, Task
from . import Source
from .task_config import TaskSpec


class Spec(TaskSpec):
    """A task of this source: the arguments of `synthetic_task`."""

    annotators: int = Field(default=4, ge=2)
    sizes: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt] = Field(default=(300, 60, 100), strict=False)
    style_distance: float = Field(default=1.0, ge=0, le=1)
    per_item: PositiveInt | None = None
    seed: int = 0


LEVELS = 7
"""Supports are 0/6, 1/6 … 6/6; every split holds them in equal numbers."""
LABELS = ("neutral", "entailment", "contradiction")
SCORES = tuple(range(-5, 6))
FIELDS = {"context": "Context", "statement": "Statement"}
INSTRUCTION = "Decide the label (entailment, neutral, contradiction) and explain your decision."
SCORE_INSTRUCTION = "Decide an integer score between -5 and 5 and explain your decision."

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
NUMBERS = "two three four five six seven eight nine".split()
AGENTS = "nurses farmers painters students sailors bakers teachers drummers clowns gardeners".split()
VERBS = "painted cleaned carried sold moved found measured covered hid repaired".split()
OBJECTS = (
    "boat door table lamp piano wagon tent clock statue fence bench drum kite basket mirror ladder carpet "
    "bicycle cupboard kettle globe mask sledge barrel"
).split()
PLACES = tuple(
    f"{where} the {name}"
    for where, names in {
        "in": "harbour garden library",
        "at": "station market museum",
        "near": "bridge castle river",
    }.items()
    for name in names.split()
)
FACTS = {"number": NUMBERS, "agent": AGENTS, "place": PLACES}
UNSPECIFIED = {"number": "some", "agent": "people", "place": "somewhere"}

OPENINGS = ("I see that", "Clearly,", "To me", "Note that", "As I read it,", "Well,", "Here", "My reason is that")
VERB_SINGULAR = {"number": "counts", "agent": "names", "place": "is set"}
VERB_PLURAL = {"number": "count", "agent": "name", "place": "are set"}
VERDICTS = {
    "entailment": ("so it follows", "so it is true"),
    "neutral": ("so it may be", "so it stays open"),
    "contradiction": ("so it cannot be", "so it is false"),
}


@dataclass(frozen=True)
class AnnotatorProfile:
    """How one annotator decides and writes.

    Attributes:
        low: The label is contradiction if support < low.
        high: The label is entailment if support ≥ high; between the two it is neutral.
        facts: Content: the facts of an item in the order in which this annotator speaks of them.
        opening: Style, as all that follows: the first words.
        length: 1 is one fact, 2 a fact and a verdict, 3 two facts and a verdict.
        quotes: Whether words of the context are quoted.
        hedges: Whether the text ends in "I suppose".
        period: Whether it ends in a period.
        lower: Whether it is in lower case.
    """

    low: float
    high: float
    facts: tuple[str, ...]
    opening: str
    length: int
    quotes: bool
    hedges: bool
    period: bool
    lower: bool


@dataclass(frozen=True)
class Scene:
    """What an item says: the facts of context and statement by name, and what is equal in both."""

    day: str
    verb: str
    thing: str
    context: Mapping[str, str]
    statement: Mapping[str, str]

    def state(self, fact: str) -> int:
        """2 = the statement agrees with the context, 1 = it leaves the fact open, 0 = it conflicts."""
        stated = self.statement[fact]
        return 2 if stated == self.context[fact] else int(stated == UNSPECIFIED[fact])

    @property
    def level(self) -> int:
        """Support in sixths: 0 … 6."""
        return sum(self.state(fact) for fact in FACTS)

    @property
    def text(self) -> dict[str, str]:
        """The two input texts."""
        c, s = self.context, self.statement
        place = s["place"][0].upper() + s["place"][1:]
        return {
            "context": f"On {self.day} {c['number']} {c['agent']} {self.verb} the {self.thing} {c['place']}.",
            "statement": f"{place} {s['number']} {s['agent']} {self.verb} the {self.thing}.",
        }


def annotator_profiles(count: int) -> tuple[AnnotatorProfile, ...]:
    """The profiles of annotators 1 … count; annotator k is the same person however many there are.

    The first 64 write differently from each other, and the first 3 differ in every threshold.
    """
    orders = tuple(permutations(FACTS))
    # halves of sixths, so that no support lies on a threshold
    lows, highs = (1.5 / 6, 0.5 / 6, 2.5 / 6), (3.5 / 6, 5.5 / 6, 4.5 / 6)
    profiles = []
    for k in range(count):
        turn = k // len(OPENINGS)
        profiles.append(
            AnnotatorProfile(
                low=lows[k % 3], high=highs[(k + k // 3) % 3], facts=orders[(2 * k + k // 3) % len(orders)],
                opening=OPENINGS[k % len(OPENINGS)],
                length=(2, 2, 1, 3)[(k + turn) % 4],
                quotes=(k + turn) % 4 in (1, 2),
                hedges=(k % 4 == 2) != (turn % 8 >= 4),
                period=(k + turn) % 2 == 0,
                lower=(k + turn // 2) % 4 == 3,
            )
        )  # fmt: skip
    return tuple(profiles)


def decide(level: int, profile: AnnotatorProfile, kind: str = "nominal") -> Label:
    """The label of an item of this level.

    The score of an ordinal task is 4 (support − midpoint) / (high − low), rounded and cut to −5…5: the thresholds lie
    at −2 and 2. The verdict is read from the rounded score, so it may differ from the nominal label.
    """
    support, low, high = level / (LEVELS - 1), profile.low, profile.high
    if kind == "nominal":
        return "contradiction" if support < low else "entailment" if support >= high else "neutral"
    return int(np.clip(np.rint(4 * (support - (low + high) / 2) / (high - low)), SCORES[0], SCORES[-1]))


def explain(scene: Scene, label: Label, style: AnnotatorProfile, facts: Sequence[str], rng: np.random.Generator) -> str:
    """The explanation of a label.

    Args:
        scene: What the item says.
        label: Decides the verdict, where the style has one.
        style: The profile whose style is written; its thresholds and its own `facts` are not read.
        facts: Names of facts; the first is spoken of, under `length` 3 the first two.
        rng: Draws synonyms, so that nobody always writes the same words.
    """
    clauses = [_clause(scene, fact, style.quotes, rng) for fact in facts[: 2 if style.length == 3 else 1]]
    text = f"{style.opening} for the {scene.thing} {' and '.join(clauses)}"
    if style.length > 1:
        text += f", {VERDICTS[_verdict(label)][rng.integers(2)]}"
    if style.hedges:
        text += ", I suppose"
    if style.period:
        text += "."
    return text.lower() if style.lower else text


def _clause(scene: Scene, fact: str, quotes: bool, rng: np.random.Generator) -> str:
    here, there, second = scene.context[fact], scene.statement[fact], bool(rng.integers(2))
    if quotes:
        same, unsaid, other = f'"{here}" is said twice', f'"{here}" is left out', f'"{here}" is not "{there}"'
        if second:
            same, unsaid, other = f'"{here}" is repeated', f'"{here}" is missing', f'"{here}" became "{there}"'
    else:
        verb = VERB_SINGULAR[fact]
        same = f"{'the two' if second else 'both'} texts {VERB_PLURAL[fact]} {here}"
        unsaid = f"{'just' if second else 'only'} the context {verb} {here}"
        other = f"the context {verb} {here} {'but' if second else 'while'} the statement {verb} {there}"
    return (other, unsaid, same)[scene.state(fact)]


def _verdict(label: Label) -> str:
    if isinstance(label, str):
        return label
    return "contradiction" if label < -1 else "entailment" if label > 1 else "neutral"


def draw_scene(level: int, rng: np.random.Generator) -> Scene:
    """A scene of this level: facts drawn evenly, and the ways to reach the level, too."""
    ways = [states for states in product(range(3), repeat=len(FACTS)) if sum(states) == level]
    states = ways[rng.integers(len(ways))]
    context, statement = {}, {}
    for (fact, words), state in zip(FACTS.items(), states, strict=True):
        true, false = rng.choice(len(words), 2, replace=False)
        context[fact] = words[true]
        statement[fact] = (words[false], UNSPECIFIED[fact], words[true])[state]
    day, verb, thing = (words[rng.integers(len(words))] for words in (DAYS, VERBS, OBJECTS))
    return Scene(day, verb, thing, context, statement)


def draw_scenes(count: int, rng: np.random.Generator, used: set[str]) -> list[Scene]:
    """Scenes with the levels in equal numbers, in random order; no text of `used` (which grows) comes again."""
    scenes: list[Scene] = []
    for level in rng.permutation(np.arange(count) % LEVELS):
        for _ in range(1000):
            scene = draw_scene(int(level), rng)
            if used.isdisjoint(scene.text.values()):
                break
        else:
            raise TaskError(f"synthetic task: no new text after {len(scenes)} items; ask for fewer items")
        used.update(scene.text.values())
        scenes.append(scene)
    return scenes


def synthetic_task(
    annotators: int = 4,
    sizes: tuple[int, int, int] = (300, 60, 100),
    style_distance: float = 1.0,
    per_item: int | None = None,
    kind: str = "nominal",
    seed: int = 0,
    name: str = "synthetic",
) -> Task:
    """A task made from its arguments alone; no text stands in two items.

    Args:
        annotators: Number of annotators, at least 2.
        sizes: Numbers of items in train, dev and test.
        style_distance: d in [0, 1]. The style is the annotator's own with probability d, else that of an annotator
            drawn evenly (perhaps the same one). So, for a given label, the styles of two annotators lie d times as far
            apart (total variation) as at d = 1. The facts are drawn in the same way, independently of the style, so
            that whole texts differ by more than d. Labels differ whatever d is.
        per_item: Annotators drawn for each item; None is all.
        kind: "nominal" or "ordinal".
        seed: Of everything that is drawn.
        name: The task's name.

    Raises:
        TaskError: If the grammar has too few texts for so many items.
    """
    everyone = annotator_profiles(annotators)
    names = tuple(f"Ann{k + 1}" for k in range(len(everyone)))
    rng, used = seeded("synthetic items", seed, sizes), set[str]()
    scenes: dict[str, Scene] = {}
    splits = {}
    for split, size in zip(("train", "dev", "test"), sizes, strict=True):
        ids = [str(len(scenes) + i + 1) for i in range(size)]
        scenes |= zip(ids, draw_scenes(size, rng, used), strict=True)
        splits[split] = tuple(ids)
    records = []
    for item, scene in scenes.items():
        rota = seeded("synthetic annotators", seed, item).permutation(len(names))
        for k in sorted(rota[:per_item].tolist()):
            label = decide(scene.level, everyone[k], kind)
            rng = seeded("record", seed, item, k)
            # each the annotator's own with the probability of its distance, else anybody's
            style, facts = (
                everyone[k if rng.random() < style_distance else int(rng.integers(len(everyone)))] for _ in range(2)
            )
            records.append(Annotation(item, names[k], label, explain(scene, label, style, facts.facts, rng)))
    labels: tuple[Label, ...] = LABELS if kind == "nominal" else SCORES
    return Task(
        name=name, version="1", kind=kind, labels=labels, priority=labels,
        instruction=INSTRUCTION if kind == "nominal" else SCORE_INSTRUCTION,
        fields=FIELDS, annotators=names,
        items={item: Item(item, scene.text) for item, scene in scenes.items()},
        records=tuple(records), splits=splits,
    )  # fmt: skip


def load(spec: Spec, data_dir: Path | None) -> Source:
    """The task that a task.toml describes (see `synthetic_task`); nothing is read from `data_dir`."""
    expected, problems = LABELS if spec.kind == "nominal" else SCORES, []
    if set(spec.labels) != set(expected):
        problems.append(f"labels: a synthetic {spec.kind} task has {', '.join(map(str, expected))}")
    if set(spec.fields) != set(FIELDS):
        problems.append(f"fields: a synthetic task has {', '.join(FIELDS)}, got {', '.join(spec.fields)}")
    if spec.per_item is not None and spec.per_item > spec.annotators:
        problems.append(f"per_item: at most the {spec.annotators} annotators, got {spec.per_item}")
    if problems:
        raise TaskError(all_problems(f"{spec.folder / 'task.toml'}:", problems))
    task = synthetic_task(
        spec.annotators, spec.sizes, spec.style_distance, spec.per_item, spec.kind, spec.seed, name=spec.name
    )  # fmt: skip
    rows = "".join(map(dump_line, [*map(asdict, task.items.values()), *map(asdict, task.records)]))
    return Source(tuple(task.items.values()), task.records, sha256={"made": sha256_text(rows)}, splits=task.splits)
