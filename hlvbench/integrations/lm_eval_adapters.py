"""An lm-eval model with an adapter per annotator on one base: one run instead of one per annotator.

    python -m hlvbench.integrations.lm_eval run --model hlvbench \\
        --model_args pretrained=BASE,adapter_dir=ADAPTERS --tasks hlv_varierr ...

It is lm-eval's own hf model: every argument of that (but `peft`) works, and every other model of lm-eval, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lm_eval.api.registry import register_model
from lm_eval.models.huggingface import HFLM

from ..errors import AdapterError, ModelError, UsageError
from ..models.adapter_validation import PROBE, load_adapters
from ..models.adapters import AdapterPlan, find_adapters, local_folder, others_of, seat
from ..models.loading import identified
from ..prompting.prompt import render
from ..types import Pair
from .harness import task_of


@register_model("hlvbench")
class AnnotatorAdapters(HFLM):
    """lm-eval's hf model whose adapter is, for every document, that of the annotator it asks.

    adapter_dir: of any shape that `hlvbench run --adapter-dir` takes. The adapters pass the same validation before the
    first answer is generated; an AdapterError names everything that is wrong with them.
    """

    _model: Any

    def __init__(self, pretrained: str, adapter_dir: str, **arguments: Any) -> None:
        if "peft" in arguments:
            raise UsageError("--model_args: adapter_dir and peft both name adapters; give one of them")
        folder = local_folder(pretrained, "pretrained", error=ModelError)
        super().__init__(pretrained=str(folder), **arguments)
        self.base = identified(pretrained, folder)
        self.adapter_dir = adapter_dir
        self._names: dict[Path, str] = {}

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """The texts in the order of the requests; annotators take turns, as in `hlvbench run`."""
        pairs = [_asked(request) for request in requests]
        tasks = [task_of(place) for place in dict.fromkeys(place for place, _ in pairs)]
        plan = self._ready({task.name: task.asked() for task in tasks}, others_of(tasks))
        turns: dict[Path, list[int]] = {}
        for position, (place, annotator) in enumerate(pairs):
            turns.setdefault(plan.folders[task_of(place).name, annotator], []).append(position)
        found: dict[int, str] = {}
        for folder, positions in turns.items():
            self._model.set_adapter(self._names[folder])
            texts = super().generate_until([requests[i] for i in positions], disable_tqdm=disable_tqdm)
            found |= zip(positions, texts, strict=True)
        return [found[i] for i in range(len(requests))]

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        raise UsageError("--model hlvbench generates answers; for multiple choice use lm-eval's own hf model")

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        raise UsageError("--model hlvbench generates answers; for likelihoods use lm-eval's own hf model")

    def _ready(self, tasks: dict[str, tuple[str, ...]], others: dict[str, set[str]]) -> AdapterPlan:
        """The adapters of these tasks on the model; those of another call's tasks stay there."""
        plan = find_adapters(self.adapter_dir, tasks, others=others)
        folders = [f for f in plan.adapters if f not in self._names]
        plan.check_files(self.base)
        plan.raise_problems()
        seats = sorted({seat(folder) for folder in plan.adapters})
        if len(seats) > 1:
            raise AdapterError(
                f"these adapters cannot share a base ({', '.join(seats)}); `hlvbench run` loads them in turn"
            )
        if folders:
            if self._names:
                raise UsageError("give all tasks of an adapter_dir to one run of lm-eval")
            encoded = self.tokenizer(render(PROBE, self.tokenizer), add_special_tokens=False).input_ids
            self._model, self._names, problems = load_adapters(self._model, folders, encoded, self.tokenizer)
            plan.problems += problems
            plan.raise_problems()
        return plan


def _asked(request: Any) -> Pair:
    doc = request.doc
    if not {"task", "annotator"} <= doc.keys():
        raise UsageError(f"--model hlvbench answers the tasks hlv_*, and {request.task_name} is none of them")
    return doc["task"], doc["annotator"]


def main() -> None:
    """lm-eval's command line, with the model `hlvbench` beside its own."""
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
