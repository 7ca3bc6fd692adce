"""Every number hlvbench prints. Importing this package registers all metrics."""

# in the order of docs/metrics.md, which is the order of a scorecard
# isort: off
from . import decisions, soft_labels
from . import similarity
from .grounding import grounding, grounding_skill
from . import group, own_match, own_gain
from . import style, c2st, coherence
from . import index
from . import attribution

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
    "REGISTRY",
    "Answers",
    "Estimate",
    "Metric",
    "Signature",
    "Spec",
    "attribution",
    "bind",
    "bind_for",
    "blind_answers",
    "c2st",
    "coherence",
    "decisions",
    "grounding",
    "grounding_skill",
    "group",
    "headline_names",
    "index",
    "metric",
    "own_gain",
    "own_match",
    "parse_metric",
    "parse_signature",
    "scorecard",
    "similarity",
    "soft_labels",
    "style",
]  # fmt: skip
