"""From the words of `--model` to a model of each task, and models and methods from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any

from ..baselines.baseline_registry import PREFIXES, find_baseline, open_baseline
from ..embeddings import load_embedder
from ..errors import ModelError, UsageError
from ..models import Completion, Model, Query
from ..settings import Service, Settings
from ..types import Task

Loader = Callable[[str, Settings, Sequence[Task]], Mapping[str, Model]]
"""(what stands behind the colon, the run's settings, its tasks) -> one model per task name."""
Method = Callable[[Query], str]
"""The raw text of an answer, best in the format that the prompt asks for (`prompt.render_answer`)."""
KINDS = ("reference", "attack", "replay", "endpoint", "lm-eval")
EXTENSIONS = "hlvbench.models"
_REGISTERED: dict[str, Loader] = {}


def open_models(settings: Settings, tasks: Sequence[Task], service: Service | None = None) -> Mapping[str, Model]:
    """Open the model that `settings.model` names.

    Args:
        settings: The run's settings.
        tasks: The tasks to answer; what is loaded from disk is loaded once for all of them.
        service: How an endpoint is asked.

    Returns:
        One model per task name.

    Raises:
        UsageError, ModelError: What cannot be opened, and why.
    """
    kind, colon, rest = settings.model.partition(":")
    if settings.model.startswith(PREFIXES):
        find_baseline(settings.model)
        embedder = load_embedder()
        return {t.name: open_baseline(settings.model, t, settings.split, embedder, settings.seed) for t in tasks}
    if colon and kind == "replay":
        from ..models.replay import load_replay

        return load_replay(rest, tasks)
    if colon and kind == "endpoint":
        from ..models.endpoint import load_endpoints

        return load_endpoints(settings, tasks, service or Service())
    if colon and kind == "lm-eval":
        from ..models.lm_eval_backend import load_lm_eval

        return load_lm_eval(settings, tasks)
    loader = _extension(kind) if colon else None
    if loader is not None:
        return dict(loader(rest, settings, tasks))
    from ..models.hf import load_hf

    return load_hf(settings, tasks)


def register_model(kind: str, loader: Loader) -> None:
    """Make `--model KIND:REST` call `loader(REST, settings, tasks)`, wherever a model is named; a judge, too.

    A package does the same for its users by an entry point KIND in the group `hlvbench.models`.

    Raises:
        ModelError: The kind is taken.
    """
    if kind in KINDS or kind in _REGISTERED:
        raise ModelError(f"a model of the kind {kind!r} is known already; choose another name")
    _REGISTERED[kind] = loader


def _extension(kind: str) -> Loader | None:
    if kind in _REGISTERED:
        return _REGISTERED[kind]
    for entry in entry_points(group=EXTENSIONS, name=kind):
        try:
            found: Loader = entry.load()
        except Exception as error:
            raise ModelError(
                f"--model {kind}: of an installed package ({entry.value}) cannot be loaded: {error}"
            ) from error
        return found
    return None


def is_local(model: str) -> bool:
    """Whether `--model` is a path or hub id that transformers loads, not KIND:REST of another backend."""
    kind, colon, _ = model.partition(":")
    return not colon or (kind not in KINDS and _extension(kind) is None)


class MethodModel(Model):
    """A function from a question to the text of the answer, as the model of one task. It sees the same prompts as every
    other model."""

    def __init__(self, name: str, method: Method) -> None:
        self.name, self.method = name, method

    def describe(self) -> dict[str, Any]:
        return {"kind": "method", "name": self.name}

    def answer(self, batch: Sequence[Query]) -> list[Completion]:
        texts = [self.method(query) for query in batch]
        return [Completion(text, "stop", len(text.split())) for text in texts]


def register_method(name: str, make: Callable[[Task], Method]) -> None:
    """Make `--model NAME:` (and `Settings("NAME:")`) answer by `make(task)`, called once per task."""

    def load(rest: str, settings: Settings, tasks: Sequence[Task]) -> Mapping[str, Model]:
        if settings.answers == "constrained":
            raise UsageError("--answers constrained: a method writes its own answers; leave the option out")
        return {task.name: MethodModel(settings.model, make(task)) for task in tasks}

    register_model(name, load)
