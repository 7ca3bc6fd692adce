"""Any backend of lm-eval (hf, vllm, sglang, gguf, ...) as a model: `lm-eval:BACKEND,argument=value,...`.

lm-eval returns texts alone: whether the token limit cut one, and how many tokens it has, is told from the text
through the backend's tokenizer, where it has one.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..errors import ModelError, UsageError, first_lines
from ..settings import Settings
from ..types import Task
from . import Completion, Model, Query
from .adapter_validation import PROBE
from .adapters import identify
from .loading import CPU_BATCH, GPU_BATCH, call_model, pick_device
from .smollm2 import NAME as EMBEDDED
from .smollm2 import fetch_embedded

WHOLE = 512
"""Questions per call where the backend makes its own batches."""


class LmEval(Model):
    """A backend that answers every question of a task."""

    def __init__(self, settings: Settings, backend: str, arguments: Mapping[str, Any], lm: Any, size: int) -> None:
        self.name, self.settings, self.lm, self.batch_size = settings.model, settings, lm, size
        self.backend, self.arguments = backend, arguments
        self.templated = False
        self.templated = self._render(PROBE) is not None
        self.countable = self._tokens(PROBE) is not None
        longest = getattr(lm, "max_length", None)
        self.context: int | None = int(longest) if self.countable and longest else None

    def describe(self) -> dict[str, Any]:
        folder = Path(str(self.arguments.get("pretrained", "")))
        return {
            "kind": "lm-eval",
            "backend": self.backend,
            "arguments": {key: str(value) for key, value in self.arguments.items()},
            "lm_eval": version("lm_eval"),
            "chat_template": self.templated,
            **(vars(identify(str(folder), folder)) if (folder / "config.json").is_file() else {}),
        }

    def prompt_text(self, content: str) -> str:
        """Through the backend's chat template if it has one; else as `prompt.render` does."""
        rendered = self._render(content) if self.templated else None
        return content + "\n" if rendered is None else rendered

    def count_tokens(self, content: str) -> int:
        tokens = self._tokens(self.prompt_text(content), special=not self.templated) if self.countable else None
        return super().count_tokens(content) if tokens is None else tokens

    def answer(self, batch: Sequence[Query]) -> list[Completion]:
        from lm_eval.api.instance import Instance

        # what tasks/lm_eval asks for: greedy, and nothing but the model's own end stops it
        options = {"until": [], "do_sample": False, "max_gen_toks": self.settings.max_new_tokens}
        requests = [
            Instance("generate_until", {}, (self.prompt_text(q.content), dict(options)), 0, ("hlvbench", number, 1))
            for number, q in enumerate(batch)
        ]
        texts = call_model(self.name, lambda: self.lm.generate_until(requests, disable_tqdm=True))
        return [self._completion(text) for text in texts]

    def _completion(self, text: str) -> Completion:
        tokens = self._tokens(text) if self.countable else None
        if tokens is None:
            return Completion(text, "stop", 0)
        cut = tokens >= self.settings.max_new_tokens
        # the token that ended the text is counted, and not part of it
        return Completion(text, "length" if cut else "stop", tokens + (not cut))

    def _render(self, content: str) -> str | None:
        """The prompt through the chat template; None for a backend that has none."""
        tokenizer = getattr(self.lm, "tokenizer", None)
        if tokenizer is not None and hasattr(tokenizer, "chat_template") and not tokenizer.chat_template:
            return None
        try:
            return str(self.lm.apply_chat_template([{"role": "user", "content": content}]))
        except Exception as error:  # a template is a program and raises what it likes
            if isinstance(error, NotImplementedError | AttributeError) and not self.templated:
                return None
            raise ModelError(f"{self.name}: its chat template cannot be used: {first_lines(error)}") from error

    def _tokens(self, text: str, special: bool = False) -> int | None:
        try:
            return len(self.lm.tok_encode(text, add_special_tokens=special))
        except (NotImplementedError, AttributeError, TypeError, ValueError):
            return None


def load_lm_eval(settings: Settings, tasks: Sequence[Task]) -> Mapping[str, Model]:
    """The same model for every task. A ModelError where the backend is unknown, not installed or does not load."""
    _check(settings)
    backend, _, rest = settings.model.partition(":")[2].partition(",")
    try:
        from lm_eval.api.registry import get_model
        from lm_eval.utils import simple_parse_args_string
    except ImportError:
        raise ModelError(
            "--model lm-eval: needs the package lm-eval; install hlvbench with its extra `lm-eval`"
        ) from None
    try:
        kind = get_model(backend)
        arguments = {**_defaults(backend, kind, settings), **simple_parse_args_string(rest)}
        if arguments.get("pretrained") == EMBEDDED:
            arguments["pretrained"] = str(fetch_embedded())
        size = arguments.get("batch_size")
        lm = kind.create_from_arg_obj(arguments)
    except Exception as error:  # every backend raises what it likes
        raise ModelError(f"--model lm-eval:{backend}: cannot be loaded: {first_lines(error)}") from error
    own = int(str(size)) if str(size).isdigit() else WHOLE
    model = LmEval(settings, backend, arguments, lm, own)
    return {task.name: model for task in tasks}


def _check(settings: Settings) -> None:
    names = ("adapter_dir", "model_map", "revision", "temperature", "model_arg", "trust_remote_code")
    moot = [f"--{name.replace('_', '-')}" for name in names if vars(settings)[name]]
    if moot:
        raise UsageError(
            f"--model lm-eval: answers greedily by one model, whose arguments stand behind the backend's name "
            f"(lm-eval:hf,pretrained=PATH,peft=ADAPTER); it does not take {', '.join(moot)}"
        )


def _defaults(backend: str, kind: Any, settings: Settings) -> dict[str, Any]:
    """What `hlvbench run` would choose, as far as the backend's constructor takes it by name."""
    taken = inspect.signature(kind.__init__).parameters
    found: dict[str, Any] = {"enable_thinking": settings.think}
    if "device" in taken:
        found["device"] = pick_device(settings.device)
        own = CPU_BATCH if found["device"] == "cpu" else GPU_BATCH
        # the other backends schedule by themselves; told a number they would wait for every such batch
        found["batch_size"] = own if backend.startswith("hf") else "auto"
    if settings.dtype != "auto":
        found["dtype"] = settings.dtype
    elif found.get("device") == "cpu":
        found["dtype"] = "float32"
    return {name: value for name, value in found.items() if name in taken}
