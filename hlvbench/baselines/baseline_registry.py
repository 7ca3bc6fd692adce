"""The registry of baselines: references and attacks, opened by `--model reference:NAME` or `--model attack:NAME`.

`run`, the audit, submissions and the documentation read this one table (docs/metrics.md section 9).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from ..metrics.predictions import Embedder
from ..models import Completion, Model, Query
from ..prompting.prompt import render_answer
from ..types import Generation, Label, Pair, Task
from . import attacks, references
from .knowledge import Knowledge
from .references import Answer

ROLES: Mapping[str, str] = {
    "human": "the ceiling: index and every factor 1",
    "zero": "index below .3, and 0 within its interval or a factor's",
    "attack": "index below .3",
    "gold": "is given the gold labels: reported, not tested",
}
"""What the audit expects of a baseline of each kind."""
LABELS: Mapping[str, Callable[[Knowledge, Pair], Label]] = {
    "mode": lambda known, pair: known.modes[pair[1]],
    "nearest": lambda known, pair: known.nearest(pair).label,
    "guess": lambda known, pair: known.predicted_labels[pair],
    "gold": lambda known, pair: known.task.by_pair[pair][0].label,
}
"""Where an attack takes its labels from: the most frequent one, the nearest train input's, a classifier's on the input,
the scored split's."""
PREFIXES = ("reference:", "attack:")


@dataclass(frozen=True)
class Baseline:
    """A reference: a function of what is known, the question and the sample.

    Attributes:
        name: As in `reference:NAME` or `attack:NAME`.
        kind: A key of `ROLES`; "gold" is given the gold labels of the scored split.
        labels: A key of `LABELS`, or "own" for a rule of its own.
        make: The function, whose docstring describes the baseline.
    """

    name: str
    kind: str
    labels: str
    make: Callable[..., Any]

    @property
    def description(self) -> str:
        """One sentence for tables."""
        return " ".join(str(inspect.getdoc(self.make)).split())

    def answer(self, known: Knowledge, pair: Pair, sample: int = 0) -> Answer:
        """The label and explanation for one question."""
        answer: Answer = self.make(known, pair, sample)
        return answer


@dataclass(frozen=True)
class Attack(Baseline):
    """A label from one of `LABELS`, and an explanation that `make` gives; every sample is answered alike.

    Attributes:
        by_label: Whether it is made from the train annotations with the answered label alone.
    """

    by_label: bool = False

    @property
    def description(self) -> str:
        return super().description + (" Only explanations of the answered label are used." if self.by_label else "")

    def answer(self, known: Knowledge, pair: Pair, sample: int = 0) -> Answer:
        label = LABELS[self.labels](known, pair)
        return label, self.make(known, pair, label if self.by_label else None)


BASELINES: Mapping[str, Baseline] = {
    baseline.name: baseline
    for baseline in (
        Baseline("human", "human", "own", references.human),
        Baseline("blind", "zero", "own", references.blind),
        Baseline("random-own", "zero", "own", references.random_own),
        Baseline("other", "zero", "own", references.other),
        Baseline("echo", "zero", "mode", references.echo),
        Attack("constant", "zero", "mode", attacks.constant),
        Baseline("majority", "attack", "mode", references.majority),
        Baseline("orthography", "attack", "own", references.orthography),
        Baseline("nearest", "attack", "nearest", references.nearest),
        Baseline("label-guess", "attack", "guess", references.label_guess),
        Attack("majority+template", "attack", "mode", attacks.template),
        Attack("constant+echo", "attack", "mode", attacks.constant_echo),
        Attack("splice", "attack", "nearest", attacks.nearest_splice),
        Attack("template+splice", "attack", "mode", attacks.frame_splice),
        Attack("markov", "attack", "mode", attacks.markov),
        Attack("nearest+guess", "attack", "guess", attacks.nearest),
        Attack("constant+echo+guess", "attack", "guess", attacks.constant_echo),
        Attack("splice+guess", "attack", "guess", attacks.nearest_splice),
        Attack("template+splice+guess", "attack", "guess", attacks.frame_splice, by_label=True),
        Attack("markov+guess", "attack", "guess", attacks.markov, by_label=True),
        Attack("restyled-other", "attack", "guess", attacks.restyled, by_label=True),
        Attack("label-splice", "attack", "guess", attacks.nearest_splice, by_label=True),
        Attack("chosen-splice", "attack", "guess", attacks.chosen_splice, by_label=True),
        Attack("expected", "attack", "guess", attacks.expected),
        Attack("collage", "attack", "guess", attacks.collage),
        Attack("beyond-label", "attack", "guess", attacks.beyond_label),
        Attack("beyond-label-splice", "attack", "guess", attacks.beyond_label_splice),
        Attack("clustered", "attack", "guess", attacks.clustered),
        Attack("nearest+gold", "gold", "gold", attacks.nearest, by_label=True),
        Attack("splice+gold", "gold", "gold", attacks.nearest_splice, by_label=True),
        Attack("expected+gold", "gold", "gold", attacks.expected),
    )
}
REFERENCES = tuple(name for name, baseline in BASELINES.items() if not isinstance(baseline, Attack))
"""The names that `reference:` takes; `attack:` takes all of them, and answers every sample alike."""


def find_baseline(model: str) -> Baseline:
    """The baseline that `reference:NAME` or `attack:NAME` names; a UsageError that lists the known ones."""
    prefix, _, name = model.partition(":")
    known = REFERENCES if prefix == "reference" else tuple(BASELINES)
    if f"{prefix}:" not in PREFIXES or name not in known:
        raise UsageError(f"--model {model}: no such {prefix}; there are {', '.join(known)}")
    return BASELINES[name]


class BaselineModel(Model):
    """A baseline as the model of one task; it needs no prompt."""

    def __init__(self, model: str, known: Knowledge) -> None:
        self.baseline, self.known = find_baseline(model), known
        self.kind, self.name = model.partition(":")[0], self.baseline.name

    def describe(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name, "seed": self.known.seed}

    def answer(self, batch: Sequence[Query]) -> list[Completion]:
        out = []
        for query in batch:
            sample = 0 if self.kind == "attack" else query.sample
            answer = self.baseline.answer(self.known, (query.item, query.annotator), sample)
            text = render_answer(self.known.task, *answer)
            out.append(Completion(text, "stop", len(text.split())))
        return out


def open_baseline(model: str, task: Task, split: str, embedder: Embedder, seed: int = 0) -> BaselineModel:
    """The model that `reference:NAME` or `attack:NAME` names, for one split of a task."""
    return BaselineModel(model, Knowledge(task, split, embedder, seed))


def generations(baseline: Baseline, known: Knowledge) -> list[Generation]:
    """The baseline's answer to every question of the split, as raw text."""
    model = BaselineModel(f"attack:{baseline.name}", known)
    pairs = known.task.questions(known.split)
    answers = model.answer([Query(*pair, 0, "") for pair in pairs])
    return [Generation(*p, 0, **vars(a), prompt_sha256="") for p, a in zip(pairs, answers, strict=True)]
