"""From the words of `--model` to a model of each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..embed import load_embedder
from ..settings import Service, Settings
from ..types import Task
from . import Model


def open_models(settings: Settings, tasks: Sequence[Task], service: Service | None = None) -> Mapping[str, Model]:
    """One model per task name; what is loaded from disk is loaded once. service: how an endpoint is asked."""
    kind, colon, rest = settings.model.partition(":")
    if colon and kind == "reference":
        from .reference import Reference

        embedder = load_embedder()
        return {t.name: Reference(rest, t, settings.split, embedder, settings.seed) for t in tasks}
    if colon and kind == "replay":
        from .replay import load_replay

        return load_replay(rest, tasks)
    if colon and kind == "endpoint":
        from .endpoint import load_endpoints

        return load_endpoints(settings, tasks, service or Service())
    if colon and kind == "lm-eval":
        from .lm_eval import load_lm_eval

        return load_lm_eval(settings, tasks)
    from .hf import load_hf

    return load_hf(settings, tasks)
