"""What an adapter learns from: training annotations or preference pairs, as tokens under the prompt of inference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bootstrap import seeded
from ..errors import ModelError
from ..metrics.predictions import Embedder
from ..models.decode import Decoder
from ..models.logprobs import Example
from ..prompting.prompt import Prompter, render_answer
from ..prompting.value_profile import counted_profile
from ..settings import SHOTS
from ..types import Annotation, Task
from .pairs import Preference, pair_counts, preferences
from .training_config import Config


@dataclass(frozen=True)
class Job:
    """One adapter to train: for one annotator, or shared by all of a task (`annotator` None)."""

    task: Task
    annotator: str | None
    folder: Path

    @property
    def annotators(self) -> tuple[str, ...]:
        return self.task.annotators if self.annotator is None else (self.annotator,)

    @property
    def key(self) -> tuple[str, str]:
        return self.task.name, self.annotator or "shared"

    @property
    def name(self) -> str:
        return "/".join(self.key)

    @property
    def work(self) -> Path:
        """Where an unfinished training is kept."""
        return self.folder.with_name(f".{self.folder.name}.unfinished")


@dataclass(frozen=True)
class EncodedPair:
    """Two answers to one prompt.

    `chosen_logp` and `rejected_logp` are log π_ref(y|x), the reference's log-probabilities of the whole answers, once
    they are computed.
    """

    chosen: Example
    rejected: Example
    chosen_logp: float | None = None
    rejected_logp: float | None = None

    @property
    def tokens(self) -> int:
        return self.chosen.tokens + self.rejected.tokens


class Encoder:
    """Turns annotations into examples: the prompt is the one of `hlvbench run`, the answer ends as a model's does.

    Args:
        longest: The most tokens an example may have; longer ones are left out whole and counted in `too_long`.
        prompter: How questions are asked (default: the prompt base).
    """

    def __init__(self, task: Task, decoder: Decoder, longest: int | None, prompter: Prompter | None = None) -> None:
        self.task, self.decoder, self.longest = task, decoder, longest
        self.prompter, self.too_long = prompter or Prompter(task), 0
        end = decoder.tokenizer.eos_token_id
        if end is None:
            raise ModelError(f"{decoder.settings.model}: its tokenizer has no end token, so answers could not end")
        self.end = int(end)

    def example(self, record: Annotation, question: Annotation | None = None) -> Example:
        """The annotation as the answer to its own question, or to that of another annotation."""
        asked = question or record
        text = render_answer(self.task, record.label, record.explanation)
        answer = self.decoder.tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        prompt = self.decoder.encode(self.prompter.content(asked.item, asked.annotator))
        return Example(tuple(prompt), (*answer, self.end))

    def examples(self, records: Sequence[Annotation]) -> list[Example]:
        return [e for e in map(self.example, records) if self._fits(e)]

    def pairs(self, found: Sequence[Preference]) -> list[EncodedPair]:
        made = [EncodedPair(self.example(p.chosen), self.example(p.rejected, p.chosen)) for p in found]
        return [pair for pair in made if self._fits(pair.chosen, pair.rejected)]

    def _fits(self, *examples: Example) -> bool:
        fits = self.longest is None or max(e.tokens for e in examples) <= self.longest
        self.too_long += not fits
        return fits


@dataclass(frozen=True)
class TrainingData:
    """`source`: annotations (SFT) or preference pairs (CAPO); `rows`: those that fit the model, as tokens."""

    source: Sequence[Any]
    rows: Sequence[Any]
    too_long: int

    def counts(self, method: str) -> dict[str, Any]:
        """What the manifest says of the data."""
        if method == "sft":
            return {"examples": len(self.rows), "too_long": self.too_long}
        return {"pairs": len(self.rows), "rejected_by": pair_counts(self.source), "too_long": self.too_long}


def train_items(task: Task, config: Config) -> tuple[str, ...]:
    """The train items to learn from: all, or the first `train_items` of an order drawn by seed, for all annotators."""
    items = task.splits["train"]
    if config.train_items is None or config.train_items >= len(items):
        return items
    drawn = seeded("train items", task.name, config.seed).permutation(len(items))[: config.train_items]
    return tuple(items[i] for i in sorted(drawn))


def annotations_of(job: Job, config: Config) -> list[Annotation]:
    """The train annotations that SFT learns from."""
    kept = set(train_items(job.task, config))
    learned = [a for a in job.annotators if a not in config.leave_out]
    return [r for a in learned for r in job.task.records_of("train", a) if r.item in kept]


def preferences_of(job: Job, config: Config, embedder: Embedder | None = None) -> list[Preference]:
    """The pairs that CAPO learns from. `embedder` is needed where rejected texts come from nearest items."""
    items = train_items(job.task, config)
    return [p for a in job.annotators for p in preferences(job.task, a, config, items, embedder)]


def training_data(
    job: Job, decoder: Decoder, longest: int | None, config: Config, embedder: Embedder | None
) -> TrainingData:
    """What a job learns from, with the prompt of the settings and at most `longest` tokens an example."""
    kind = config.prompt or "base"
    profiles = {a: counted_profile(job.task, a) for a in job.annotators} if "vp" in kind else None
    prompter = Prompter(job.task, kind, shots=config.shots or SHOTS, seed=config.seed, profiles=profiles)
    encoder = Encoder(job.task, decoder, longest, prompter)
    if config.method == "sft":
        records = annotations_of(job, config)
        return TrainingData(records, encoder.examples(records), encoder.too_long)
    found = preferences_of(job, config, embedder)
    return TrainingData(found, encoder.pairs(found), encoder.too_long)
