"""Reference systems answer with dataset text, which is never published: their texts are made again where data are."""

from __future__ import annotations

from ..baselines.baseline_registry import PREFIXES, open_baseline
from ..io import sha256_text
from ..metrics.predictions import Embedder
from ..models import Query
from ..prompting.prompt import Prompter
from ..types import Generation, Task


def regenerate(recipe: str, task: Task, embedder: Embedder, seed: int = 0) -> list[Generation]:
    """The answers of `reference:NAME` or `attack:NAME` to the test split, as `hlvbench run` writes them."""
    task = task.asking()
    model = open_baseline(recipe, task, "test", embedder, seed)
    prompter, rows = Prompter(task), []
    for item, annotator in task.questions("test"):
        content = prompter.content(item, annotator)
        (found,) = model.answer([Query(item, annotator, 0, content)])
        prompt = sha256_text(model.prompt_text(content))
        rows.append(Generation(item, annotator, 0, **vars(found), prompt_sha256=prompt))
    return rows


def publishes_dataset_text(model: str) -> bool:
    """Whether a run's texts are dataset text by construction: all references and attacks but `majority`."""
    return model.startswith(PREFIXES) and model not in ("reference:majority", "attack:majority")
