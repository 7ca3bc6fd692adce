"""The default judge: character n-grams and naive Bayes, offline and deterministic (docs/metrics.md section 8).

It is fitted on human *dev* annotations: on the train split it would recognise the very sentences that a system copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..bootstrap import halves, seeded
from ..errors import UsageError
from ..models import Completion, Model, Query
from ..text import in_view
from ..types import Annotation, Task
from .questions import AttributionQuestion

GRAMS = (1, 4)
SMOOTHING = 0.1
"""With the weights below the best of four by ten-fold cross-validation within dev, on both tasks."""


class Stylometric(Model):
    """The judge of one task: a Model that reads the question, not its prompt.

    It names the candidate with the highest likelihood of the answer; ties are broken at random, by seed.

    Args:
        view: view of the explanations that it is fitted on, "raw" or "norm".
        questions: the questions by their keys.
    """

    name = "stylometric"

    def __init__(
        self, task: Task, split: str, view: str, seed: int, questions: Mapping[Any, AttributionQuestion]
    ) -> None:
        self.task, self.split, self.view, self.seed, self.questions = task, split, view, seed, questions
        self.fit = fitted_on(task, split)

    def describe(self) -> dict[str, Any]:
        return {"kind": "stylometric", "grams": list(GRAMS), "smoothing": SMOOTHING, "fit": self.fit}

    def count_tokens(self, content: str) -> int:
        return 0

    def answer(self, batch: Sequence[Query]) -> list[Completion]:
        questions = [self.questions[q.item, q.annotator, q.sample] for q in batch]
        chosen: dict[Any, str] = {}
        for half, (grams, classes) in self._models.items():
            own = [q for q in questions if self._half.get(q.item.id, 0) == half]
            if own:
                logprobs = classes.predict_joint_log_proba(grams.transform([q.answer.explanation for q in own]))
                chosen |= {
                    q.key: self._choose(q, dict(zip(classes.classes_, row, strict=True)))
                    for q, row in zip(own, logprobs, strict=True)
                }
        return [Completion(chosen[q.key], "stop", 0) for q in questions]

    def _choose(self, question: AttributionQuestion, known: Mapping[str, float]) -> str:
        """The letter of the candidate with the highest log probability in `known`."""
        scores = [float(known.get(a, -np.inf)) for a in question.candidates]
        best = [letter for letter, s in zip(question.letters, scores, strict=True) if s >= max(scores) - 1e-9]
        return best[int(seeded("tie", self.seed, *question.key).integers(len(best)))]

    @cached_property
    def _half(self) -> dict[str, int]:
        """The half of each item of a split that judges itself; empty where dev judges another split."""
        return {} if self.fit == "dev" else halves([self.task.items[i] for i in self.task.splits[self.split]])

    @cached_property
    def _models(self) -> dict[int, tuple[Any, Any]]:
        """Per half the vocabulary and the classifier that judge it: fitted on dev, or on the other half."""
        scored = set(self.task.scored_annotators)
        split = "dev" if self.fit == "dev" else self.split
        records = [record for record in self.task.records_of(split) if record.annotator in scored]
        if self.fit == "dev":
            return {0: self._fitted(records)}
        return {h: self._fitted([r for r in records if self._half[r.item] != h]) for h in (0, 1)}

    def _fitted(self, records: Sequence[Annotation]) -> tuple[Any, Any]:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.naive_bayes import MultinomialNB

        texts = [in_view(r.explanation, self.view) for r in records]
        if not any(texts):
            raise UsageError(
                f"task {self.task.name}: the stylometric judge is fitted on human explanations in dev (or the other "
                f"half of {self.split}), and there are none"
            )
        grams = TfidfVectorizer(analyzer="char", ngram_range=GRAMS, lowercase=False, sublinear_tf=True)
        # a uniform prior: annotators are equally likely however much they wrote
        classes = MultinomialNB(alpha=SMOOTHING, fit_prior=False)
        return grams, classes.fit(grams.fit_transform(texts), [r.annotator for r in records])


def fitted_on(task: Task, split: str) -> str:
    """ "dev", or "halves" where the judged split is dev itself or there is no dev: each half judges the other."""
    return "dev" if split != "dev" and task.records_of("dev") else "halves"
