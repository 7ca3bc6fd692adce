"""The tasks as inspect-ai sees them: `inspect eval hlvbench/varierr`, `hlvbench/r2`, `hlvbench/own`.

inspect renders, generates, logs and shows; prompts, parsing and numbers are ours.
"""

from __future__ import annotations

from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import CORRECT, INCORRECT, Metric, SampleScore, Score, Scorer, Target, metric, scorer
from inspect_ai.solver import TaskState

# absolute: inspect also loads this file by its path, outside the package
from hlvbench.integrations.doors import numbers, questions, task_of
from hlvbench.parse import parse
from hlvbench.settings import SHOTS, Settings


@task
def varierr(split: str = "test", prompt: str = "base", shots: int = SHOTS, annotator: str | None = None) -> Task:
    """VariErr NLI: decide and explain as each of four annotators does. prompt: base, icl, vp or vp-icl."""
    return _task("varierr", split, prompt, shots, annotator)


@task
def r2(split: str = "test", prompt: str = "base", shots: int = SHOTS, annotator: str | None = None) -> Task:
    """R2 paraphrase judgment: score from -5 to 5 and explain as each of four annotators does."""
    return _task("r2", split, prompt, shots, annotator)


@task
def own(
    folder: str, split: str = "test", prompt: str = "base", shots: int = SHOTS, annotator: str | None = None
) -> Task:
    """A task of your own: `folder` holds its task.toml, items.jsonl and annotations.jsonl."""
    return _task(f"./{folder}" if "/" not in folder else folder, split, prompt, shots, annotator)


def _task(place: str, split: str, prompt: str, shots: int, annotator: str | None) -> Task:
    rows = questions(place, split=split, prompt=prompt, shots=int(shots), annotator=annotator)
    kept = ("task", "split", "item", "annotator")
    samples = [
        Sample(
            id=f"{row['item']}-{row['annotator']}", input=row["prompt"], target=row["target"],
            metadata={key: row[key] for key in kept},
        )
        for row in rows
    ]  # fmt: skip
    found = task_of(place)
    return Task(
        dataset=MemoryDataset(samples, name=f"{found.name}@{found.version}"),
        scorer=annotator_answer(),
        # what `hlvbench run` does: greedy, and as many new tokens
        config=GenerateConfig(temperature=0.0, max_tokens=Settings.max_new_tokens),
        version=found.version,
    )


@metric(scores="unreduced")
def whole_set() -> Metric:
    """The headline numbers over all answers, each with the bounds of its interval; epochs are samples.

    A number that cannot be given (fewer answers than it needs) is left out.
    """

    def compute(scores: list[SampleScore]) -> dict[str, Any]:
        about = [s.sample_metadata or {} for s in scores]
        said = [s.score.metadata or {} for s in scores]
        texts = tuple((a["item"], a["annotator"], s["epoch"] - 1, s["text"]) for a, s in zip(about, said, strict=True))
        one = len({a["annotator"] for a in about}) == 1
        found = numbers(about[0]["task"], about[0]["split"], tuple(sorted(texts)), one)
        given = {name: value for name, value in found.items() if value is not None}
        # inspect shows the first number as the eval's own
        return dict(sorted(given.items(), key=lambda n: not n[0].startswith("hlv_index")))

    return compute


@scorer(metrics=[whole_set()])
def annotator_answer() -> Scorer:
    """Correct where the label is one that this annotator gave; the text is kept for the whole-set numbers."""

    async def score(state: TaskState, target: Target) -> Score:
        found, text = task_of(state.metadata["task"]), state.output.completion
        answer = parse(text, found)
        gold = {r.label for r in found.by_pair[state.metadata["item"], state.metadata["annotator"]]}
        return Score(
            value=CORRECT if answer.label in gold else INCORRECT,
            answer=None if answer.label is None else str(answer.label),
            explanation=answer.explanation or answer.reason,
            reason={"": None, "empty": "no_response"}.get(answer.reason, "invalid_response_format"),
            metadata={"text": text, "epoch": state.epoch},
        )

    return score
