"""The prompts base, icl, vp and vp-icl; training and inference render them through the same functions.

The wording is version 2 (`settings.PROMPT_VERSION`): the instruction, what the labels mean, the answer's two lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from ..bootstrap import seeded
from ..errors import ModelError, UsageError
from ..metrics.predictions import Embedder
from ..settings import PROMPTS, SHOTS
from ..text import raw
from ..types import Annotation, Item, Label, Task
from .parse import EXAMPLES_OPENING, PROMPT_OPENING

# templates that print today's date print this one, or prompts would change from day to day
FIXED_DATE = datetime(2024, 7, 26)
_NOW = re.compile(r"strftime_now\(\s*(['\"])(.*?)\1\s*\)")


def shown_id(annotator: str) -> str:
    """How a prompt names an annotator: "Ann2" is "2", any other id stands as it is."""
    match = re.fullmatch(r"Ann(\d+)", annotator)
    return match[1] if match else annotator


def label_word(task: Task) -> str:
    return "Score" if task.kind == "ordinal" else "Label"


def render_item(task: Task, item: Item) -> str:
    """The input texts that the item has, a line each, under their shown names."""
    return "\n".join(f"{shown}: {raw(item.text[name])}" for name, shown in task.fields.items() if item.text[name])


def render_answer(task: Task, label: Label, explanation: str) -> str:
    """The answer in the line format: what training teaches, shots show and references reply."""
    return f"{label_word(task)}: {label}\nExplanation: {raw(explanation)}".rstrip()


def answer_heads(task: Task) -> list[str]:
    """How an answer may begin, one text per label in the task's order: all of it but the explanation itself."""
    return [render_answer(task, label, "") for label in task.labels]


def answer_schema(task: Task) -> dict[str, Any]:
    """The `response_format` that holds a server to a task's answers: the label, one of those allowed, then the text."""
    label, text = label_word(task).lower(), {"type": "string", "minLength": 1}
    kind = "integer" if task.kind == "ordinal" else "string"
    schema = {
        "type": "object",
        "properties": {label: {"type": kind, "enum": list(task.labels)}, "explanation": text},
        "required": [label, "explanation"],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def instruction(task: Task, annotator: str) -> str:
    """The head of every prompt: who answers, what is asked, what the labels mean, and the answer's two lines."""
    word = label_word(task)
    ordinal = task.kind == "ordinal"
    meanings = "; ".join(f"{label}: {clause}" for label, clause in task.meanings.items())
    labels = list(map(str, task.meanings if task.meanings and not ordinal else task.labels))
    allowed = f"an integer from {labels[0]} to {labels[-1]}" if ordinal else f"one of {', '.join(labels)}"
    lines = [f"{PROMPT_OPENING} {shown_id(annotator)}. {task.instruction}"]
    if meanings:
        lines.append(f"{'What scores mean' if ordinal else 'What the labels mean'}: {meanings}.")
    lines.append(
        f"Answer in two lines. The first line is `{word}:` and {allowed}. "
        "The second line is `Explanation:` and the reason in one sentence."
    )
    return "\n".join(lines)


def render(content: str, tokenizer: Any, think: bool = False) -> str:
    """The text that the model sees before its answer: through the tokenizer's chat template if it has one.

    Raises:
        ModelError: The template fails, or the text that it makes does not hold `content`.
    """
    template = getattr(tokenizer, "chat_template", None)
    if template is None:
        return content + "\n"
    options: dict[str, Any] = {"enable_thinking": think, "date_string": FIXED_DATE.strftime("%d %b %Y")}
    if isinstance(template, str):
        # a call for today's date becomes a text
        options["chat_template"] = _NOW.sub(lambda call: repr(FIXED_DATE.strftime(call[2])), template)
    failure = "it leaves the question out of the prompt"
    # some templates take the content of a message as a list of parts alone, and drop or refuse plain text
    for shaped in (content, [{"type": "text", "text": content}]):
        messages = [{"role": "user", "content": shaped}]
        try:
            text = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **options))
        except Exception as error:  # a template is a program and raises what it likes
            failure = " ".join(str(error).split()) or type(error).__name__
            continue
        if content in text:
            return text
    raise ModelError(f"the chat template of {tokenizer.name_or_path or 'the model'} cannot be used: {failure}")


class Prompter:
    """Makes the user message of a question.

    Args:
        task: The task.
        kind: One of `PROMPTS`.
        shots: Worked examples per prompt, at most; as many are shown as `fits(content)` allows.
        pick: "random" (by seed, the same for all items of an annotator) or "nearest" (by the embedding of the input,
            the nearest last).
        seed: Of the random examples.
        profiles: Annotator -> text, for vp and vp-icl.
        embedder: For the nearest examples.
        fits: Whether a message has room in the model's context.
    """

    def __init__(
        self,
        task: Task,
        kind: str = "base",
        *,
        shots: int = SHOTS,
        pick: str = "random",
        seed: int = 0,
        profiles: Mapping[str, str] | None = None,
        embedder: Embedder | None = None,
        fits: Callable[[str], bool] = lambda content: True,
    ) -> None:
        if kind not in PROMPTS:
            raise UsageError(f"no prompt {kind!r}; there are {', '.join(PROMPTS)}")
        if pick not in ("random", "nearest"):
            raise UsageError(f"shots are picked random or nearest, not {pick!r}")
        if "vp" in kind and profiles is None:
            raise UsageError(f"the prompt {kind} needs the annotators' profiles")
        self.task, self.kind, self.shots, self.seed, self.fits = task, kind, shots, seed, fits
        self.profiles = profiles or {}
        self.inputs: dict[str, Any] = {}
        if pick == "nearest" and embedder and "icl" in kind:
            self.inputs = dict(zip(task.items, embedder.encode([i.joined for i in task.items.values()]), strict=True))
        self._own = {a: task.records_of("train", a) for a in task.annotators} if "icl" in kind else {}
        self.shots_given: list[int] = []

    def content(self, item: str, annotator: str) -> str:
        """The message for one question."""
        if "icl" not in self.kind:
            return self._compose(item, annotator, [])
        examples = self._examples(item, annotator)
        while examples and not self.fits(self._compose(item, annotator, examples)):
            # random shots lose the last, nearest ones the farthest, which stands first
            examples = examples[1:] if self.inputs else examples[:-1]
        self.shots_given.append(len(examples))
        return self._compose(item, annotator, examples)

    def _examples(self, item: str, annotator: str) -> list[Annotation]:
        own = self._own[annotator]
        # a train item is no example of itself
        if self.inputs:
            # ties in the order of the split
            near = sorted(own, key=lambda r: -float(self.inputs[item] @ self.inputs[r.item]))
            return [r for r in near if r.item != item][: self.shots][::-1]
        order = seeded("shots", self.task.name, self.seed, annotator).permutation(len(own))
        return [own[i] for i in order if own[i].item != item][: self.shots]

    def _compose(self, item: str, annotator: str, examples: list[Annotation]) -> str:
        task = self.task
        parts = [instruction(task, annotator)]
        if "vp" in self.kind:
            parts.append(f"Annotator profile:\n{self.profiles[annotator]}")
        if examples:
            parts.append(EXAMPLES_OPENING)
            parts += [
                f"{render_item(task, task.items[r.item])}\n{render_answer(task, r.label, r.explanation)}"
                for r in examples
            ]
        parts.append(render_item(task, task.items[item]))
        return "\n\n".join(parts)
