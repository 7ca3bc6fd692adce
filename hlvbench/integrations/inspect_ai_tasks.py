"""The tasks as inspect-ai sees them: `inspect eval hlvbench/varierr`, `/r2`, `/convarg`, `/own`, `/attribution`,
`/judges`.

inspect renders, generates, logs and shows; prompts, parsing and numbers are ours.
"""

from __future__ import annotations

from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.scorer import CORRECT, INCORRECT, Metric, SampleScore, Score, Scorer, Target, metric, scorer
from inspect_ai.solver import TaskState

# absolute: inspect also loads this file by its path, outside the package
from hlvbench.integrations.attribution_tasks import WRONG, attribution_numbers, human_questions
from hlvbench.integrations.harness import numbers, questions, task_of
from hlvbench.judging.judge_prompt import read_letter, render_question
from hlvbench.judging.judge_settings import JudgeSettings
from hlvbench.judging.questions import attribution_questions
from hlvbench.prompting.parse import parse, to_annotation
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
def convarg(split: str = "test", prompt: str = "base", shots: int = SHOTS, annotator: str | None = None) -> Task:
    """UKPConvArg1: say which of two arguments is more convincing, and why, as each of twelve annotators does."""
    return _task("convarg", split, prompt, shots, annotator)


@task
def own(
    folder: str, split: str = "test", prompt: str = "base", shots: int = SHOTS, annotator: str | None = None
) -> Task:
    """A task of your own: `folder` holds its task.toml, items.jsonl and annotations.jsonl."""
    return _task(f"./{folder}" if "/" not in folder else folder, split, prompt, shots, annotator)


@task
def attribution(of: str = "varierr", split: str = "test", prompt: str = "base", shots: int = SHOTS) -> Task:
    """The model answers as each annotator; the model in the role `grader` (required) tells who of four wrote it."""
    return _task(of, split, prompt, shots, None, attributed())


@task
def judges(of: str = "varierr", split: str = "test") -> Task:
    """The model tells who of four annotators wrote a person's own explanation: ranks judges, not systems."""
    found = task_of(of)
    samples = [
        Sample(
            id=f"{q.item.id}-{q.annotator}", input=render_question(found, q), target=q.right,
            # what the model says here is no annotator's answer: such logs are not imported as answers
            metadata={"task": of, "split": split, "item": q.item.id, "annotator": q.annotator, "asks": "writer"},
        )
        for q in human_questions(of, split).values()
    ]  # fmt: skip
    return Task(
        dataset=MemoryDataset(samples, name=f"{found.name}@{found.version}"),
        scorer=letter(),
        config=GenerateConfig(temperature=0.0, max_tokens=JudgeSettings.max_new_tokens),
        version=found.version,
    )


def _task(
    place: str, split: str, prompt: str, shots: int, annotator: str | None, scoring: Scorer | None = None
) -> Task:
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
        scorer=scoring or annotator_answer(),
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


@metric(scores="unreduced")
def attribution_accuracy(blame: bool = False) -> Metric:
    """How often the writer is named, with its interval, chance, and the number of unreadable replies.

    blame: an unreadable reply is wrong (judges are ranked) instead of left out (systems are).
    """

    def compute(scores: list[SampleScore]) -> dict[str, Any]:
        about = [s.sample_metadata or {} for s in scores]
        said = [s.score.metadata or {} for s in scores]
        named = [(a["item"], a["annotator"], m["epoch"] - 1, m["named"]) for a, m in zip(about, said, strict=True)]
        chosen = tuple(sorted(named, key=lambda n: n[:3]))
        found = attribution_numbers(about[0]["task"], about[0]["split"], chosen, blame)
        return {name: value for name, value in found.items() if value is not None}

    return compute


@scorer(metrics=[attribution_accuracy()])
def attributed() -> Scorer:
    """Whom the grader takes for the writer of the model's answer; an answer that cannot be read is not attributed.

    The grader is a model of its own: without one bound to the role (`--model-role grader=MODEL`) nothing runs.
    """

    async def score(state: TaskState, target: Target) -> Score:
        about, found = state.metadata, task_of(state.metadata["task"])
        answer = to_annotation(about["item"], about["annotator"], parse(state.output.completion, found))
        if answer is None:
            return _verdict(state, WRONG, "", "invalid_response_format")
        asked = attribution_questions(found, about["split"], {(answer.item, answer.annotator): answer}).questions
        if not asked:
            return Score.unscored(reason="scoring_failed", explanation="fewer than two people have records to show")
        (question,) = asked
        grader = get_model(role="grader", required=True)
        config = GenerateConfig(max_tokens=JudgeSettings.max_new_tokens)
        reply = (await grader.generate(render_question(found, question), config=config)).completion
        chosen = read_letter(reply, question.letters, found)
        return _verdict(state, None if chosen is None else question.candidates[question.letters.index(chosen)], reply)

    return score


@scorer(metrics=[attribution_accuracy(blame=True)])
def letter() -> Scorer:
    """Whom the model itself takes for the writer."""

    async def score(state: TaskState, target: Target) -> Score:
        about = state.metadata
        question = human_questions(about["task"], about["split"])[about["item"], about["annotator"]]
        chosen = read_letter(state.output.completion, question.letters, task_of(about["task"]))
        named = None if chosen is None else question.candidates[question.letters.index(chosen)]
        return _verdict(state, named, state.output.completion)

    return score


def _verdict(state: TaskState, named: str | None, reply: str, reason: str | None = None) -> Score:
    """inspect leaves a score out whose value is NaN, so an unreadable reply keeps a value and names nobody."""
    return Score(
        value=CORRECT if named == state.metadata["annotator"] else INCORRECT,
        answer=named,
        explanation=reply,
        reason=reason or ("grader_failed" if named is None else None),
        metadata={"named": named, "epoch": state.epoch},
    )
