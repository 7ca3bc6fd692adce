"""Every number hlvbench prints. Importing this package registers all metrics."""

# in the order of docs/metrics.md, which is the order of a scorecard
# isort: off
from . import decisions, soft_labels, similarity, grounding, group, own_match, own_gain  # noqa: F401
from . import style, c2st, coherence, index, attribution  # noqa: F401

# isort: on
from .predictions import Answers, blind_answers
from .registry import (
    REGISTRY,
    Estimate,
    Metric,
    Signature,
    Spec,
    bind,
    bind_for,
    headline_names,
    metric,
    parse_metric,
    parse_signature,
    scorecard,
)

__all__ = [
    "REGISTRY", "Answers", "Estimate", "Metric", "Signature", "Spec", "bind", "bind_for", "blind_answers",
    "headline_names", "metric", "parse_metric", "parse_signature", "scorecard",
]  # fmt: skip
