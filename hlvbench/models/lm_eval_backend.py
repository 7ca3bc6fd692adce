"""Any backend of lm-eval (hf, vllm, sglang, gguf, ...) as a model: `lm-eval:BACKEND,argument=value,...`.

lm-eval returns text only. Length and truncation are estimated by tokenising the returned text; a backend without a
tokenizer reports every answer as finished, with 0 tokens.
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

CALL_SIZE = 512
"""Questions per call of a backend that makes its own batches."""


class LmEval(Model):
    """A backend of lm-eval as a model.

    Args:
        settings: Of the run.
        backend: Its name in lm-eval.
        arguments: What its constructor was given.
        lm: The `lm_eval.api.model.LM`.
        batch_size: Questions per call.
    """

    def __init__(
        self, settings: Settings, backend: str, arguments: Mapping[str, Any], lm: Any, batch_size: int
    ) -> None:
        self.name, self.settings, self.lm, self.batch_size = settings.model, settings, lm, batch_size
        self.backend, self.arguments = backend, arguments
        self.templated = False
        self.templated = self._chat(PROBE) is not None
        self.countable = self._tokens(PROBE) is not None
        max_length = getattr(lm, "max_length", None)
        self.context: int | None = int(max_length) if self.countable and max_length else None

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
        """Through the backend's chat template if it has one; else as `prompt.render` does.

        A server that takes messages renders them itself: the content.
        """
        request = self._request(content)
        return request if isinstance(request, str) else content

    def count_tokens(self, content: str) -> int:
        tokens = self._tokens(self.prompt_text(content), special=not self.templated) if self.countable else None
        return super().count_tokens(content) if tokens is None else tokens

    def answer(self, batch: Sequence[Query]) -> list[Completion]:
        from lm_eval.api.instance import Instance

        # as in tasks/lm_eval: greedy, and without stop strings, so that only the model's end token ends an answer
        options = {"until": [], "do_sample": False, "max_gen_toks": self.settings.max_new_tokens}
        requests = [
            Instance("generate_until", {}, (self._request(q.content), dict(options)), 0, ("hlvbench", number, 1))
            for number, q in enumerate(batch)
        ]
        texts = call_model(self.name, lambda: self.lm.generate_until(requests, disable_tqdm=True))
        return [self._completion(text) for text in texts]

    def _completion(self, text: str) -> Completion:
        tokens = self._tokens(text) if self.countable else None
        if tokens is None:
            return Completion(text, "stop", 0)
        truncated = tokens >= self.settings.max_new_tokens
        # the end token counts as a new token, but the text lacks it
        return Completion(text, "length" if truncated else "stop", tokens + (not truncated))

    def _request(self, content: str) -> Any:
        """What the backend is given: text, or for a server the messages in lm-eval's own wrapper."""
        chat = self._chat(content) if self.templated else None
        return content + "\n" if chat is None else chat

    def _chat(self, content: str) -> Any:
        """The content through the backend's `apply_chat_template`; None for a backend that has none."""
        tokenizer = getattr(self.lm, "tokenizer", None)
        if tokenizer is not None and hasattr(tokenizer, "chat_template") and not tokenizer.chat_template:
            return None
        try:
            chat = self.lm.apply_chat_template([{"role": "user", "content": content}])
        except Exception as error:  # a template is a program and raises what it likes
            if isinstance(error, NotImplementedError | AttributeError) and not self.templated:
                return None
            raise ModelError(f"{self.name}: its chat template cannot be used: {first_lines(error)}") from error
        # lm-eval wraps messages for every server; one of plain completions takes text alone
        return chat if isinstance(chat, str) or "chat" in self.backend else None

    def _tokens(self, text: str, special: bool = False) -> int | None:
        """The number of tokens; None for a backend without a tokenizer that can be asked."""
        try:
            return len(self.lm.tok_encode(text, add_special_tokens=special))
        except (NotImplementedError, AttributeError, TypeError, ValueError):
            return None


def load_lm_eval(settings: Settings, tasks: Sequence[Task]) -> Mapping[str, Model]:
    """The same model for every task. A ModelError where the backend is unknown, not installed or does not load."""
    _refuse_unsupported(settings)
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
        arguments = {**_default_arguments(backend, kind, settings), **simple_parse_args_string(rest)}
        if arguments.get("pretrained") == EMBEDDED:
            arguments["pretrained"] = str(fetch_embedded())
        lm = kind.create_from_arg_obj(arguments)
    except Exception as error:  # backends have no common class of errors
        raise ModelError(f"--model lm-eval:{backend}: cannot be loaded: {first_lines(error)}") from error
    # "auto", "auto:N" or nothing: the backend makes its own batches
    batch_size = str(arguments.get("batch_size"))
    model = LmEval(settings, backend, arguments, lm, int(batch_size) if batch_size.isdigit() else CALL_SIZE)
    return {task.name: model for task in tasks}


def _refuse_unsupported(settings: Settings) -> None:
    """UsageError for options that have no meaning for a backend of lm-eval."""
    names = ("adapter_dir", "model_map", "revision", "temperature", "model_arg", "trust_remote_code")
    unsupported = [f"--{name.replace('_', '-')}" for name in names if vars(settings)[name]]
    if unsupported:
        raise UsageError(
            f"--model lm-eval: answers greedily by one model, whose arguments stand behind the backend's name "
            f"(lm-eval:hf,pretrained=PATH,peft=ADAPTER); it does not take {', '.join(unsupported)}"
        )


def _default_arguments(backend: str, kind: Any, settings: Settings) -> dict[str, Any]:
    """What `hlvbench run` would choose, as far as the backend's constructor takes it by name."""
    parameters = inspect.signature(kind.__init__).parameters
    defaults: dict[str, Any] = {"enable_thinking": settings.think}
    if "device" in parameters:
        defaults["device"] = pick_device(settings.device)
        batch_size = CPU_BATCH if defaults["device"] == "cpu" else GPU_BATCH
        # with a number, backends other than hf would wait for every batch of that size instead of scheduling freely
        defaults["batch_size"] = batch_size if backend.startswith("hf") else "auto"
    if settings.dtype != "auto":
        defaults["dtype"] = settings.dtype
    elif defaults.get("device") == "cpu":
        defaults["dtype"] = "float32"
    return {name: value for name, value in defaults.items() if name in parameters}
