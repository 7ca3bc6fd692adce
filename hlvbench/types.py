"""The core types. Frozen, without behaviour beyond lookups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

Label = str | int
Pair = tuple[str, str]
"""(item id, annotator): a question."""


@dataclass(frozen=True)
class Item:
    """One thing to annotate: its id and its named input texts, in the task's field order; "" for one it lacks.

    `group`: items of one group are resampled together; None: items that share an input text are.
    """

    id: str
    text: Mapping[str, str]
    group: str | None = None

    @property
    def joined(self) -> str:
        """The input texts joined by a space."""
        return " ".join(filter(None, self.text.values()))


@dataclass(frozen=True)
class Annotation:
    """A label and an explanation: a person's record and a model's answer alike.

    The explanation may be "": such a record counts in label metrics alone.
    """

    item: str
    annotator: str
    label: Label
    explanation: str


@dataclass(frozen=True)
class Generation:
    """A model's raw text for one question, untouched.

    `finish` is "stop" (the model ended), "length" (cut at the token limit) or "error".
    """

    item: str
    annotator: str
    sample: int
    text: str
    finish: str
    new_tokens: int
    prompt_sha256: str


@dataclass(frozen=True)
class Task:
    """A dataset with its splits, ready to ask and to score.

    kind: "nominal" or "ordinal" (integer labels). `labels` are all labels allowed (an ordinal task
    lists every integer of its range). `priority` orders labels for pairs with several records.
    `fields` maps field names to the names shown in prompts. `meanings` says what labels mean, as prompts show it
    (all of a nominal task, some scores of an ordinal one, or none). `skipped` counts what is never asked.
    `licence` says how the data may be used and whom to name; "" where nothing is stated. `index_without` names the
    factors of `hlv_index` that are left out on this task.
    """

    name: str
    version: str
    kind: str
    labels: tuple[Label, ...]
    priority: tuple[Label, ...]
    instruction: str
    fields: Mapping[str, str]
    annotators: tuple[str, ...]
    items: Mapping[str, Item]
    records: tuple[Annotation, ...]
    splits: Mapping[str, tuple[str, ...]]
    subsets: Mapping[str, frozenset[str]] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    min_records: int = 10
    data_sha256: Mapping[str, str] = field(default_factory=dict)
    majority_sentence: str = "This is my decision."
    meanings: Mapping[Label, str] = field(default_factory=dict)
    licence: str = ""
    index_without: tuple[str, ...] = ()

    @cached_property
    def by_pair(self) -> Mapping[Pair, tuple[Annotation, ...]]:
        """The records of every (item, annotator) pair, the priority record first."""
        rank = {label: position for position, label in enumerate(self.priority)}
        pairs: dict[Pair, list[Annotation]] = {}
        for record in self.records:
            pairs.setdefault((record.item, record.annotator), []).append(record)
        # a stable sort: equal ranks keep the order of the source
        return {
            pair: tuple(sorted(found, key=lambda r: (rank[r.label], not r.explanation)))
            for pair, found in pairs.items()
        }

    def human(self, pair: Pair) -> Annotation:
        """What the annotator answers: the priority record, with the next explanation there is if it has none."""
        first, *_ = found = self.by_pair[pair]
        text = next((r.explanation for r in found if r.explanation), "")
        return first if first.explanation == text else replace(first, explanation=text)

    @cached_property
    def explained(self) -> frozenset[Pair]:
        """The pairs with an explanation; the others count in label metrics alone."""
        return frozenset(pair for pair, found in self.by_pair.items() if any(r.explanation for r in found))

    @cached_property
    def by_item(self) -> Mapping[str, tuple[str, ...]]:
        """The annotators with a record of each item, in the task's order."""
        place = {annotator: position for position, annotator in enumerate(self.annotators)}
        found: dict[str, list[str]] = {}
        for item, annotator in self.by_pair:
            if annotator in place:
                found.setdefault(item, []).append(annotator)
        return {item: tuple(sorted(own, key=place.__getitem__)) for item, own in found.items()}

    @cached_property
    def scored_annotators(self) -> tuple[str, ...]:
        """The annotators with a record of at least `min_records` test items; the others stay out of every metric."""
        counts = Counter(a for _, a in self.questions("test"))
        return tuple(a for a in self.annotators if counts[a] >= self.min_records)

    def asked(self, names: Collection[str] | None = None) -> tuple[str, ...]:
        """Whom systems answer for: the annotators of these names, by default those who are scored."""
        kept = set(names or self.scored_annotators)
        return tuple(a for a in self.annotators if a in kept)

    def asking(self, names: Collection[str] | None = None) -> Task:
        """The task as systems see it: its annotators are the scored ones and those of these names, who are scored, too.

        The records of the others stay, and nobody needs anything of them.
        """
        kept = self.asked({*self.scored_annotators, *(names or ())})
        return (
            self if kept == self.scored_annotators == self.annotators else replace(self, annotators=kept, min_records=0)
        )

    def questions(
        self, split: str, limit: int | None = None, annotators: Collection[str] | None = None
    ) -> tuple[Pair, ...]:
        """The questions of a split (of its first `limit` items), of all annotators or some: split order of items, then
        annotators."""
        kept = None if annotators is None else set(self.asked(annotators))
        return tuple(
            (item, annotator)
            for item in self.splits[split][:limit]
            for annotator in self.by_item.get(item, ())
            if kept is None or annotator in kept
        )

    def records_of(
        self, split: str, annotator: str | None = None, *, label_only: bool = False
    ) -> tuple[Annotation, ...]:
        """The records of a split in question order; of one annotator if named. Those without an explanation, which
        nothing can be learned from but a label, with `label_only` alone."""
        store: dict[tuple[str, bool], dict[str, tuple[Annotation, ...]]] = self.__dict__.setdefault("_records_of", {})
        if (split, label_only) not in store:
            by: dict[str, list[Annotation]] = {}
            for pair in self.questions(split):
                by.setdefault(pair[1], []).extend(r for r in self.by_pair[pair] if label_only or r.explanation)
            store[split, label_only] = {who: tuple(found) for who, found in by.items()}
        if annotator is not None:
            return store[split, label_only].get(annotator, ())
        found = (r for pair in self.questions(split) for r in self.by_pair[pair])
        return tuple(r for r in found if label_only or r.explanation)
