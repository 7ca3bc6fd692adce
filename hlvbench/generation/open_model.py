"""From the words of `--model` to a model of each task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points

from ..embeddings import load_embedder
from ..errors import ModelError
from ..models import Model
from ..settings import Service, Settings
from ..types import Task

Loader = Callable[[str, Settings, Sequence[Task]], Mapping[str, Model]]
"""(what stands behind the colon, the run's settings, its tasks) -> one model per task name."""
KINDS = ("reference", "replay", "endpoint", "lm-eval")
EXTENSIONS = "hlvbench.models"
_REGISTERED: dict[str, Loader] = {}


def open_models(settings: Settings, tasks: Sequence[Task], service: Service | None = None) -> Mapping[str, Model]:
    """One model per task name; what is loaded from disk is loaded once. service: how an endpoint is asked."""
    kind, colon, rest = settings.model.partition(":")
    if colon and kind == "reference":
        from ..baselines.references import Reference

        embedder = load_embedder()
        return {t.name: Reference(rest, t, settings.split, embedder, settings.seed) for t in tasks}
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
    """Make `--model KIND:REST` call `loader(REST, settings, tasks)`; a ModelError where the kind is taken.

    A package does the same for its users by an entry point KIND in the group `hlvbench.models`.
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
