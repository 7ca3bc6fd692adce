"""Style features of an explanation, given its item (docs/metrics.md section 7; the list and the word lists are ours).

Words are the tokens of the norm view in both views ("don't" is `don t`), so the word features of a text are the
same in raw and norm; `characters` counts what the view shows. The view "raw" has the orthographic features too.
The word lists are English: on explanations in another language those four features are near zero for everybody
and say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ..errors import MetricError
from ..text import in_view, norm
from ..types import Item, Task
from .predictions import Answers, once_per_task

WORD_FEATURES = (
    "words", "characters", "mean_word_length", "type_token_ratio",
    "modal_rate", "negation_rate", "causal_rate", "first_person_rate",
)  # fmt: skip
"""In both views, then `reused_1`, `reused_2`, ...: one per input text, in the task's field order."""
ORTHOGRAPHIC = ("sentences", "quote_rate", "punctuation_rate", "final_period", "initial_capital")
"""Need punctuation or case: in the raw view alone."""

MODALS = frozenset(
    "may might can could would should must will shall maybe perhaps possibly probably likely unlikely presumably "
    "apparently seemingly seem seems seemed appear appears appeared suggest suggests suggested imply implies implied "
    "assume assumes assumed suppose supposedly possible probable necessarily unclear uncertain".split()
)
NEGATIONS = frozenset(
    "no not none nothing nobody nowhere never neither nor without cannot cant dont doesnt didnt isnt arent wasnt "
    "werent wont wouldnt couldnt shouldnt hasnt havent hadnt".split()
)
CAUSALS = frozenset("because since as so thus therefore hence due given cause causes caused why consequently".split())
FIRST_PERSON = frozenset("i me my mine myself we us our ours ourselves".split())

_SENTENCE_END = re.compile(r"[.!?…]+(?=\s|$|[\"”’')\]])")
_CLOSED = re.compile(r"[.!?…][\"”’')\]]*$")
_QUOTE = re.compile(r"[\"“”„‟«»]")
_PUNCTUATION = re.compile(r"[^\w\s]")


def feature_names(fields: int, view: str) -> tuple[str, ...]:
    """The features of a task with `fields` input texts, in the order of the columns of `features`."""
    reused = tuple(f"reused_{number}" for number in range(1, fields + 1))
    return WORD_FEATURES + reused + (ORTHOGRAPHIC if view == "raw" else ())


def _share(words: list[str], found: frozenset[str]) -> float:
    return sum(map(found.__contains__, words)) / len(words) if words else 0.0


def _negations(words: list[str]) -> float:
    """Share of negations; the `t` of a contraction (`don t`, `can t`) is one."""
    contracted = sum(word == "t" and before.endswith("n") for before, word in pairwise(words))
    return _share(words, NEGATIONS) + (contracted / len(words) if words else 0.0)


def _orthography(text: str) -> list[float]:
    ends = len(_SENTENCE_END.findall(text))
    open_end = bool(text) and not _CLOSED.search(text)
    return [
        float(ends + open_end),
        len(_QUOTE.findall(text)) / max(1, len(text)),
        len(_PUNCTUATION.findall(text)) / max(1, len(text)),
        float(text.endswith(".")),
        float(text[:1].isupper()),
    ]


def features(texts: Sequence[str], items: Sequence[Item], view: str) -> np.ndarray:
    """The feature values of explanations already in `view`, each beside its item: (n, F), float64.

    words and characters are counts; mean_word_length is in characters; type_token_ratio = different words / words;
    modal, negation, causal and first-person rates are shares of the words in the lists above; reused_k is the
    share of the words that stand in the item's k-th input text. sentences counts closing marks, and an end without
    one; quote_rate and punctuation_rate are shares of the characters; final_period and initial_capital are 0 or 1.
    The empty text (a missing answer) is 0 in every feature.
    """
    sources: dict[str, list[frozenset[str]]] = {}
    rows = []
    for text, item in zip(texts, items, strict=True):
        if item.id not in sources:
            sources[item.id] = [frozenset(norm(given).split()) for given in item.text.values()]
        words = norm(text).split()
        rows.append(
            [
                float(len(words)),
                float(len(text)),
                sum(map(len, words)) / max(1, len(words)),
                len(set(words)) / max(1, len(words)),
                _share(words, MODALS),
                _negations(words),
                _share(words, CAUSALS),
                _share(words, FIRST_PERSON),
                *(_share(words, source) for source in sources[item.id]),
                *(_orthography(text) if view == "raw" else ()),
            ]
        )
    return np.array(rows)


def columns(feature: str, fields: int, view: str) -> list[int]:
    """The columns that `feature` names, all of them for "mean"; any other name is a MetricError."""
    names = feature_names(fields, view)
    if feature == "mean":
        return list(range(len(names)))
    if feature in names:
        return [names.index(feature)]
    raise MetricError(f"no feature {feature!r} in the {view} view; there are mean, {', '.join(names)}")


def answer_features(answers: Answers, view: str) -> np.ndarray:
    """The features of all answers, (Q, F); computed once per view."""
    items = [answers.task.items[item] for item, _ in answers.questions]
    shape = (len(items), len(feature_names(len(answers.task.fields), view)))
    return answers.once(f"features {view}", lambda: features(answers.texts(view), items, view).reshape(shape))


def cut_points(values: np.ndarray, bins: int = 10) -> np.ndarray:
    """Lower ends of all bins but the first, (B - 1,): quantile bins whose ties stay together.

    A value belongs to the quantile in which its mid-rank lies (share below + half the share equal); a quantile
    without a value is no bin. So a frequent value (0 of a rare habit, 1 of a common one) has a bin of its own,
    whichever end it stands at. A constant feature, or no values, gives one bin.
    """
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) < 2:
        return np.zeros(0)
    middle = (np.cumsum(counts) - counts / 2) / counts.sum()
    quantile = np.minimum((middle * bins).astype(int), bins - 1)
    return distinct[1:][np.diff(quantile) > 0]


def train_cuts(task: Task, view: str) -> list[np.ndarray]:
    """The cut points of every feature on the pooled train records of the scored annotators; once per task and view."""

    def make() -> list[np.ndarray]:
        kept = set(task.scored_annotators)
        records = [r for r in task.records_of("train") if r.annotator in kept]
        texts = [in_view(r.explanation, view) for r in records]
        values = features(texts, [task.items[r.item] for r in records], view)
        return [cut_points(column) for column in values.T]

    return once_per_task(task, f"cuts {view}", make)
