"""One number to sort by (docs/metrics.md section 9). "Ours." """

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..bootstrap import Draws
from ..errors import MetricError
from ..types import Task
from .own_gain import Within
from .predictions import Answers
from .projections import EMBED
from .registry import REGISTRY, Estimate, Metric, Value, bind, bind_for, metric

_ZERO = 1e-9
"""What rounding leaves of a skill of 0."""
FACTORS: Mapping[str, tuple[str, Mapping[str, Value]]] = {
    "decision": ("label_kappa", {}),
    "grounding": ("grounding_skill", {"view": "raw"}),
    "imitation": ("imitation_score", {"view": "norm", "reduce": "self", "fit": "dev", "m": 10}),
    "distinctness": ("own_gain", {"view": "norm", "sim": "embed"}),
}


def left_out(without: str) -> tuple[str, ...]:
    """The factors that `hlv_index(without=...)` names, joined by "+".

    Raises:
        MetricError: For an unknown name, or if all factors are named.
    """
    names = tuple(filter(None, without.split("+")))
    if not set(names) < set(FACTORS):
        raise MetricError(f"hlv_index: without={without} must name some of {', '.join(FACTORS)}")
    return names


def index_metric(task: Task, embed: str = EMBED) -> Metric:
    """The bound index of a task, without the factors that its task.toml leaves out."""
    return bind("hlv_index", embed=embed, without="+".join(task.index_without))


def factor_metrics(embed: str = EMBED, within: Within = "label", task: Task | None = None) -> dict[str, Metric]:
    """The four bound metrics of the index; task: as its scorecard binds them (`bind_for`), None: as of a small task."""
    out = {}
    for factor, (name, settings) in FACTORS.items():
        takes = REGISTRY[name].parameters.keys()
        bound = {**settings, **{k: v for k, v in (("embed", embed), ("within", within)) if k in takes}}
        out[factor] = bind_for(task, name, **bound) if task else bind(name, **bound)
    return out


def harmonic_index(factors: Mapping[str, np.ndarray]) -> np.ndarray:
    """Harmonic mean of the factors clipped to [0, 1].

    Args:
        factors: Name to (R,) values.

    Returns:
        (R,); 0 where a factor is 0, NaN where one is NaN.
    """
    table = np.clip(np.stack(list(factors.values())), 0.0, 1.0)
    positive = (table > _ZERO).all(axis=0)
    inverse = (1.0 / np.where(positive, table, 1.0)).sum(axis=0)
    return np.where(np.isnan(table).any(axis=0), np.nan, np.where(positive, len(table) / inverse, 0.0))


@metric(
    better="higher",
    variants=lambda task: ({"without": "+".join(task.index_without)},),
    texts=False,
    headline=True,
    all_annotators=True,
)
def hlv_index(
    answers: Answers, draws: Draws, *, within: Within = "label", embed: str = EMBED, without: str = ""
) -> Estimate:
    """Harmonic mean of label_kappa, grounding_skill, imitation_score@10 and own_gain, each clipped to [0, 1].

    0 if any of them is 0: no skill makes up for another. Humans have 1. NaN with a note where a factor cannot be
    computed. On a large task the factors have the parameters that its scorecard prints (`candidates`, `inputs`).

    Args:
        within: Of own_gain; "all" is index 1, that of the releases 0.1.
        embed: Name of the encoder.
        without: Factors that are left out, joined by "+" (`index_without` in task.toml: those whose human value on
            dev lies less than .05 above its baseline).
    """
    left = left_out(without)
    bound = factor_metrics(embed, within, answers.task)
    found = {factor: one(answers, draws) for factor, one in bound.items() if factor not in left}
    values = harmonic_index({factor: estimate.overall for factor, estimate in found.items()})
    lacking = [
        f"no {factor}: {estimate.note or 'not defined on these answers'}"
        for factor, estimate in found.items()
        if np.isnan(estimate.overall).any()
    ]
    lacking += [f"without {factor}, in which people hardly exceed chance on this task" for factor in left]
    return Estimate(values, len(answers.questions), note="; ".join(lacking))
