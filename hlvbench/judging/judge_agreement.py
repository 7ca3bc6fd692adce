"""Several judges on one run: do they name the same people? (Krippendorff's alpha, beside each judge's licence)"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..io import dump_json, write_atomic
from ..metrics.krippendorff import krippendorff_alpha
from .judge_run import Subject, judges_of, read_judged
from .verdict import Judged


def agreement(subject: Subject) -> dict[str, Any] | None:
    """The agreement of all judges that have judged a task's answers; None with fewer than two.

    alpha: nominal, over the annotators named in each question's balanced order; an unreadable reply is no code. Of the
    system's answers and of people's; of all judges, and of each pair.
    """
    found = {s.stem(): read_judged(subject, s) for s in judges_of(subject.folder)}
    if len(found) < 2:
        return None
    pairs = [
        {"judges": list(pair), "alpha": _alpha([found[name]["system"] for name in pair])}
        for pair in itertools.combinations(found, 2)
    ]
    return {
        "task": f"{subject.task.name}@{subject.task.version}",
        "judges": list(found),
        "alpha": {name: _alpha([own[name] for own in found.values()]) for name in ("system", "people")},
        "pairs": pairs,
    }


def write_agreement(found: Sequence[Subject]) -> list[dict[str, Any]]:
    """RUN/<task>/judges.json of every task that several judges have judged."""
    agreements = []
    for subject in found:
        result = agreement(subject)
        if result is not None:
            write_atomic(subject.run / subject.task.name / "judges.json", dump_json(result))
            agreements.append(result)
    return agreements


def _alpha(judges: Sequence[Judged]) -> float | None:
    codes = [_codes(j) for j in judges]
    units = sorted({unit for own in codes for unit in own})
    table = np.array([[own.get(unit, -1) for own in codes] for unit in units], dtype=int).reshape(-1, len(codes))
    value = float(krippendorff_alpha(table)[0])
    return None if math.isnan(value) else round(value, 6)


def _codes(found: Judged) -> Mapping[tuple[str, str, int], int]:
    names = found.task.scored_annotators
    return {
        (q.item.id, q.annotator, q.sample): names.index(name)
        for q in found.asked.asked
        if q.order == 0 and (name := found.named[q.key]) is not None
    }
