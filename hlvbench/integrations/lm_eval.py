"""The functions that tasks/lm_eval/*.yaml name. lm-eval renders, generates and logs; the numbers are ours.

    lm-eval run --include_path "$(hlvbench tasks --lm-eval-path)" --tasks hlv_varierr --apply_chat_template ...

`python -m hlvbench.integrations.lm_eval run --model hlvbench ...` is lm-eval with one more model: an adapter per
annotator on one base (see `lm_eval_adapters`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..judging.judge_prompt import render_question
from ..settings import SHOTS
from .attribution_tasks import NUMBERS, attribution_numbers, human_questions
from .harness import names, numbers, questions, task_of


def documents(
    hlv_task: str,
    hlv_annotator: str | None = None,
    hlv_split: str = "test",
    hlv_prompt: str = "base",
    hlv_shots: int = SHOTS,
    hlv_seed: int = 0,
    **_other_metadata: Any,
) -> dict[str, Any]:
    """`custom_dataset`: one document per question, under the split name "test" whichever split is asked.

    A YAML names task and annotator; `--metadata hlv_prompt=icl` and so on give the rest. lm-eval also passes
    here what it knows of the model, which changes no question.
    """
    from datasets import Dataset

    rows = questions(
        hlv_task, split=hlv_split, annotator=hlv_annotator, prompt=hlv_prompt, shots=hlv_shots, seed=hlv_seed
    )
    return {"test": Dataset.from_list([dict(row) for row in rows])}


def process_all(doc: Mapping[str, str], results: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`process_results` of a task that asks every annotator; see `aggregate`."""
    return _payloads(doc, results, one=False)


def process_one(doc: Mapping[str, str], results: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`process_results` of a task that asks one annotator."""
    return _payloads(doc, results, one=True)


def _payloads(doc: Mapping[str, str], results: Sequence[str], one: bool) -> dict[str, dict[str, Any]]:
    # a number is one of the whole set: each metric gets what it needs to make it, and nothing of the document's texts
    answer = {k: doc[k] for k in ("task", "split", "item", "annotator")} | {"text": results[0], "one": one}
    return {name: {"metric": name, **answer} for name in names(task_of(doc["task"]).kind, one)}


def aggregate(items: Sequence[Mapping[str, Any]]) -> float:
    """`aggregation` of every metric: the number that its payloads name, over all answers; NaN where there is none.

    lm-eval calls it once per metric; the scoring behind it is done once.
    """
    first = items[0]
    texts = tuple((i["item"], i["annotator"], 0, i["text"]) for i in items)
    found = numbers(first["task"], first["split"], texts, first["one"])[first["metric"]]
    return math.nan if found is None else found


def attribution_documents(hlv_task: str, hlv_split: str = "test", **_other_metadata: Any) -> dict[str, Any]:
    """`custom_dataset` of multiple choice: who wrote this explanation? About the humans' own answers; ranks judges."""
    from datasets import Dataset

    rows = [
        {"task": hlv_task, "split": hlv_split, "item": q.item.id, "annotator": q.annotator,
         "prompt": render_question(task_of(hlv_task), q), "letters": list(q.letters), "candidates": list(q.candidates),
         "target": q.letters.index(q.right)}
        for q in human_questions(hlv_task, hlv_split).values()
    ]  # fmt: skip
    return {"test": Dataset.from_list(rows)}


def process_attribution(doc: Mapping[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, dict[str, Any]]:
    """`process_results` of multiple choice: the likeliest letter is the reply; the first of equal ones."""
    likelihoods = [float(result[0]) for result in results]
    named = doc["candidates"][likelihoods.index(max(likelihoods))]
    answer = {k: doc[k] for k in ("task", "split", "item", "annotator")} | {"named": named}
    return {name: {"metric": name, **answer} for name in NUMBERS}


def aggregate_attribution(items: Sequence[Mapping[str, Any]]) -> float:
    """`aggregation` of these; see `aggregate`."""
    first = items[0]
    named = tuple((i["item"], i["annotator"], 0, i["named"]) for i in items)
    found = attribution_numbers(first["task"], first["split"], named, True)[first["metric"]]
    return math.nan if found is None else found


if __name__ == "__main__":
    from .lm_eval_adapters import main

    main()
