"""Any server that speaks OpenAI's chat protocol; a key comes from OPENAI_API_KEY and is kept nowhere.

A query is a batch, so every answer is kept as soon as it is there; `concurrency` of them are under way at a time.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ModelError
from ..io import say
from ..prompting.prompt import answer_schema
from ..settings import Service, Settings, json_or_text
from ..types import Task
from . import Completion, Model, Query, Refused
from .adapters import parse_model_map
from .gumbel import seed_of

LONGEST_MESSAGE = 400
LONGEST_PAUSE = 8.0
CHARACTERS_PER_TOKEN = 4
"""Of English text in current tokenizers, about; an endpoint has none that could be asked."""


@dataclass(frozen=True)
class Usage:
    """Tokens that the server counted for one call; None where it does not say."""

    prompt_tokens: int | None
    new_tokens: int | None


class Endpoint(Model):
    """The model of one task behind a server."""

    batch_size = 1

    def __init__(
        self, settings: Settings, service: Service, served: Mapping[str, str], client: ChatClient, task: Task
    ) -> None:
        self.name, self.settings, self.served, self.client = settings.model, settings, served, client
        self.parallel = service.concurrency
        self.fields: dict[str, Any] = {"temperature": settings.temperature, "max_tokens": settings.max_new_tokens}
        if settings.answers == "constrained":
            self.fields["response_format"] = answer_schema(task)
        self.extra = {key: json_or_text(word) for key, word in settings.model_arg.items()}

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "endpoint",
            "base_url": self.settings.base_url,
            "served": dict(self.served) or self.group(""),
            "fields": {**self.fields, **self.extra},
        }

    def group(self, annotator: str) -> str:
        """The name that the server knows the annotator's model by."""
        return self.served.get(annotator) or self.settings.model.partition(":")[2]

    def count_tokens(self, content: str) -> int:
        """An estimate; the server's chat template is not known here."""
        return -(-len(content) // CHARACTERS_PER_TOKEN)

    def answer(self, batch: Sequence[Query]) -> list[Completion]:
        return [self.ask(query)[0] for query in batch]

    def ask(self, query: Query) -> tuple[Completion, Usage]:
        """Make one call.

        Raises:
            ModelError: The question that failed and why; `Refused` where others may be answered.
        """
        body = {
            "model": self.group(query.annotator),
            "messages": [{"role": "user", "content": query.content}],
            # servers take 31 or 63 bits
            "seed": seed_of(self.settings.seed, query) % 2**31,
            **self.fields,
            **self.extra,
        }
        try:
            return self.client.call({key: value for key, value in body.items() if value is not None})
        except ModelError as error:
            where = f"item {query.item}, annotator {query.annotator}"
            if "response_format" in self.fields:
                where += "; not every server takes the JSON schema of --answers constrained: try --answers free"
            raise type(error)(f"{self.name} at {self.settings.base_url}: {error} ({where})") from error


def load_endpoints(settings: Settings, tasks: Sequence[Task], service: Service) -> Mapping[str, Model]:
    """One model per task name, over one connection pool."""
    service.check()
    names = parse_model_map(settings.model_map, {task.name: task.asked(settings.annotator) for task in tasks})
    client = ChatClient(str(settings.base_url), service)
    served = {task.name: {a: n for (t, a), n in names.items() if t == task.name} for task in tasks}
    return {task.name: Endpoint(settings, service, served[task.name], client, task) for task in tasks}


class ChatClient:
    """The connection to a server: the client's retries (Retry-After is honoured), a pace, readable errors."""

    def __init__(self, base_url: str, service: Service) -> None:
        try:
            import openai
        except ImportError:
            raise ModelError(
                "--model endpoint: needs the package openai; install hlvbench with its extra `endpoint`"
            ) from None
        self.service = service
        self._key = os.environ.get("OPENAI_API_KEY") or None
        self._openai = openai
        self._client = openai.OpenAI(
            base_url=base_url, api_key=self._key or "none", timeout=service.timeout, max_retries=service.retries
        )
        self._turn = threading.Lock()
        self._next_call, self._warned = 0.0, False
        self._times = f"asked {service.retries + 1} times"

    def call(self, body: Mapping[str, Any]) -> tuple[Completion, Usage]:
        """One chat completion; replies that are none are asked for again, like the failures that the client retries."""
        for attempt in range(self.service.retries + 1):
            self._wait_for_turn()
            try:
                completion, usage, only_reasoning = _completion(self._post(body))
                if only_reasoning:
                    self._warn_of_reasoning()
                return completion, usage
            except _NoCompletion as error:
                failure = error
            if attempt < self.service.retries:
                time.sleep(min(LONGEST_PAUSE, 0.5 * 2**attempt))
        raise Refused(f"{failure} ({self._times})")

    def _warn_of_reasoning(self) -> None:
        with self._turn:
            warned, self._warned = self._warned, True
        if not warned:
            say(
                "hlvbench: the server gives text as reasoning_content alone, which makes an empty answer. Raise "
                "--max-new-tokens if the reasoning is cut; else turn it off by --model-arg "
                """chat_template_kwargs='{"enable_thinking": false}' or start the server without a reasoning parser"""
            )

    def _post(self, body: Mapping[str, Any]) -> Any:
        openai = self._openai
        try:
            # the raw path: fields of this project's own choosing, and a reply that is read here
            return self._client.post("/chat/completions", body=dict(body), cast_to=object)
        except openai.APITimeoutError:
            raise Refused(f"no reply within {self.service.timeout:g} s, {self._times}; see --timeout") from None
        except openai.APIConnectionError as error:
            raise ModelError(f"cannot be reached, {self._times}: {self._plain(error.__cause__ or error)}") from None
        except openai.APIStatusError as error:
            if error.code == "content_filter":
                return {"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}
            # the key, the model's name and the quota are the same for all questions
            kind = ModelError if error.status_code in (401, 402, 403, 404, 429) else Refused
            raise kind(self._status(error)) from None
        except (ValueError, openai.APIError) as error:
            raise _NoCompletion(f"the reply cannot be read: {self._plain(error)}") from None

    def _status(self, error: Any) -> str:
        code = error.status_code
        message = f"status {code}: {self._plain(error.message.removeprefix(f'Error code: {code} - '))}"
        if code in (401, 403):
            return f"{message}; OPENAI_API_KEY is {'set' if self._key else 'not set'}"
        if code == 404:
            return f"{message}; is the model's name the one the server knows, and does --base-url end in /v1?"
        if code in (408, 409, 429) or code >= 500:
            wait = error.response.headers.get("retry-after")
            return f"{message}; Retry-After: {wait[:40]}" if wait else f"{message}, {self._times}"
        return f"{message}; fields are changed or left out by --model-arg NAME=VALUE or NAME=null"

    def _plain(self, error: object) -> str:
        """One short line that never shows the key."""
        text = " ".join(str(error).split()) or type(error).__name__
        return (text.replace(self._key, "[key]") if self._key else text)[:LONGEST_MESSAGE]

    def _wait_for_turn(self) -> None:
        """Until the pace allows another call."""
        if self.service.requests_per_minute is None:
            return
        with self._turn:
            now = time.monotonic()
            at = max(now, self._next_call)
            self._next_call = at + 60 / self.service.requests_per_minute
        time.sleep(at - now)


class _NoCompletion(Exception):
    """A reply that is not a chat completion."""


def _completion(reply: Any) -> tuple[Completion, Usage, bool]:
    """Read a reply without trusting its shape; does it hold text as reasoning alone?"""
    try:
        choice = reply["choices"][0]
        finish = finish_of(choice.get("finish_reason"))
        message = (choice.get("message") or {}) if finish == "error" else choice["message"]
        text = joined_parts(message.get("content")) or str(message.get("refusal") or "")
        reasoning = message.get("reasoning_content") or message.get("reasoning")
    except (AttributeError, KeyError, IndexError, TypeError):
        shown = " ".join(str(reply).split())[:200]
        raise _NoCompletion(f"the reply is no chat completion: {shown!r}") from None
    counts = reply.get("usage")
    usage = Usage(*(_count(counts, key) for key in ("prompt_tokens", "completion_tokens")))
    # lone surrogates, which no file can hold, become U+FFFD
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return Completion(text, finish, usage.new_tokens or 0), usage, bool(reasoning and not text.strip())


def finish_of(reason: object) -> str:
    """A server's finish reason as `Generation.finish`: "length", "error", else "stop"."""
    word = str(reason).casefold()
    if any(part in word for part in ("length", "max_", "token_limit", "incomplete", "context_window")):
        return "length"
    errors = ("error", "filter", "safety", "abort", "cancel", "block", "prohibited", "recitation", "spii", "malformed")
    return "error" if any(part in word for part in errors) else "stop"


def joined_parts(content: object) -> str:
    """The text of a message: a string, nothing, or a list of parts, of which those that hold reasoning are left out."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise TypeError(f"content of type {type(content).__name__}")
    parts = [{"text": part} if isinstance(part, str) else part for part in content]
    texts = [part.get("text") for part in parts if part.get("type", "text") in ("text", "output_text")]
    return "".join(text for text in texts if isinstance(text, str))


def _count(usage: Any, key: str) -> int | None:
    value = usage.get(key) if isinstance(usage, dict) else None
    return value if type(value) is int and value >= 0 else None
