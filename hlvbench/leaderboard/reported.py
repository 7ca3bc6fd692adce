"""What the paper reports and nobody could check here (arXiv 2605.28802): shown apart, never ranked."""

from __future__ import annotations

from typing import Any

_COLUMNS = ("label accuracy", "feature KL", "group confidence", "NIS", "judge")
_ROWS: tuple[tuple[str, tuple[float | None, ...]], ...] = (
    ("Qwen3-4B, base", (0.472, None, None, None, None)),
    ("Qwen3-4B, SFT", (0.638, 0.084, 0.845, 0.859, None)),
    ("Qwen3-4B, CAPO", (0.627, 0.081, 0.867, 0.888, 0.328)),
    ("Llama-3.2-3B, base", (0.315, None, None, None, None)),
    ("Llama-3.2-3B, SFT", (0.512, 0.113, 0.909, 0.946, None)),
    ("Llama-3.2-3B, CAPO", (0.512, 0.121, 0.924, 0.964, None)),
)
REPORTED: dict[str, Any] = {
    "task": "VariErr NLI",
    "source": "arXiv 2605.28802",
    "url": "https://arxiv.org/abs/2605.28802",
    "columns": list(_COLUMNS),
    "rows": [{"system": name, "values": list(values)} for name, values in _ROWS],
    "not_comparable": [
        "The split is another: the paper's 100 test items are not public, ours are drawn anew.",
        "The formulas of feature KL, group confidence and NIS are not public. Ours bear the same names, are defined in "
        "the open, and give other numbers on the same text.",
        "Confidence and NIS are for groups of about 50 answers; there both saturate: a random training explanation of "
        "the same annotator, which says nothing about its item, has an NIS near 1 here.",
        "Feature KL has a noise floor: a person against the same person has about .06 at 95 answers, .12 at 50.",
        "The judge is a language model whose prompt is not public, on CAPO's outputs only (about .328; chance .25).",
        "Label accuracy has a majority line: always answering an annotator's most frequent label is right for .505 of "
        "our test answers.",
        "No raw text of these systems is public, so nothing of this table can be re-scored.",
    ],
}
"""The paper's VariErr table as far as it is known, and why its numbers do not stand beside ours."""
