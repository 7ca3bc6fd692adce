"""Cross-annotator preference pairs: chosen is the target's record, rejected another person's for the same input.

The rejected answer is valid, only less like the target (the conservative policy of arXiv 2605.28802).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..bootstrap import clusters, seeded
from ..metrics.predictions import Embedder
from ..text import norm, raw
from ..types import Annotation, Label, Task
from .training_config import Config


@dataclass(frozen=True)
class Preference:
    """Two answers to the question (chosen.item, chosen.annotator); `rejected` names who wrote it, and of which item."""

    chosen: Annotation
    rejected: Annotation


def preferences(
    task: Task, annotator: str, config: Config, items: Sequence[str] | None = None, embedder: Embedder | None = None
) -> list[Preference]:
    """The pairs of one target annotator, in question order.

    items: the train items to use (default: all). A rejected text that equals the chosen one (case and punctuation
    aside) is no preference and is left out. embedder: needed by source="nearest" alone.
    """
    chosen_items = set(task.splits["train"] if items is None else items)
    own = [r for r in task.records_of("train", annotator) if r.item in chosen_items]
    others = [r for r in task.records_of("train") if r.annotator != annotator and r.item in chosen_items]
    by_item: dict[str, list[Annotation]] = {}
    for record in others:
        by_item.setdefault(record.item, []).append(record)
    near = _Near(task, others, config.neighbours, embedder) if config.rejected == "nearest" else None
    made: dict[str, list[Preference]] = {}
    for record in own:
        rivals = by_item.get(record.item, []) if near is None else near.records(record, config)
        made.setdefault(record.item, []).extend(
            Preference(record, rival)
            for rival in rivals
            if agree(task, config, record.label, rival.label) and _differ(record.explanation, rival.explanation)
        )
    return [pair for item, pairs in made.items() for pair in _capped(pairs, config, task, annotator, item)]


def agree(task: Task, config: Config, first: Label, second: Label) -> bool:
    """Whether two labels are close enough for their explanations to be set against each other."""
    if config.pairs == "all" or first == second:
        return True
    return config.pairs == "near" and task.kind == "ordinal" and abs(int(first) - int(second)) <= config.tau


def _differ(first: str, second: str) -> bool:
    return bool(norm(second)) and norm(first) != norm(second)


def _capped(pairs: list[Preference], config: Config, task: Task, annotator: str, item: str) -> list[Preference]:
    if config.per_item is None or len(pairs) <= config.per_item:
        return pairs
    drawn = seeded("pairs", task.name, config.seed, annotator, item).permutation(len(pairs))[: config.per_item]
    return [pairs[i] for i in sorted(drawn)]


class _Near:
    """Other people's records of the items whose input is nearest to a record's, one person at a time."""

    def __init__(self, task: Task, others: Sequence[Annotation], neighbours: int, embedder: Embedder | None) -> None:
        if embedder is None:
            raise ValueError("rejected texts of the nearest items need an embedder")
        self.task, self.neighbours = task, neighbours
        self.by_annotator: dict[str, list[Annotation]] = {}
        for record in others:
            self.by_annotator.setdefault(record.annotator, []).append(record)
        train = [task.items[i] for i in task.splits["train"]]
        self.vectors = dict(zip([i.id for i in train], embedder.encode([raw(i.joined) for i in train]), strict=True))
        # an item that shares a text with the target's is the same item in all but name
        self.cluster = {train[p].id: n for n, group in enumerate(clusters(train)) for p in group}

    def records(self, target: Annotation, config: Config) -> list[Annotation]:
        """Per other annotator the agreeing records of the nearest other items; ties in question order."""
        found = []
        for own in self.by_annotator.values():
            candidates = [
                r
                for r in own
                if self.cluster[r.item] != self.cluster[target.item] and agree(self.task, config, target.label, r.label)
            ]
            candidates.sort(key=lambda r: -float(self.vectors[target.item] @ self.vectors[r.item]))
            found += candidates[: self.neighbours]
        return found


def pair_counts(pairs: Sequence[Preference]) -> Mapping[str, int]:
    """Who wrote the rejected texts: annotator -> pairs."""
    return dict(sorted(Counter(pair.rejected.annotator for pair in pairs).items()))
