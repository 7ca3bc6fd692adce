"""transformers models with peft adapters: the base is loaded once and answers for every annotator.

Annotators take turns (one adapter is active per batch) instead of sharing batches: measured, that is at least as
fast, and it serves every peft type.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from ..errors import ModelError, all_problems
from ..io import read_json, sha256_file
from ..settings import Settings
from ..types import Pair, Task
from . import Completion, Query
from .adapter_validation import PROBE, load_adapters
from .adapters import (
    CONFIG,
    WEIGHTS,
    AdapterPlan,
    file_problems,
    find_adapters,
    identify,
    local_folder,
    others_of,
    parse_model_map,
    seat,
)
from .decode import Decoder
from .loading import (
    check_kind,
    fitting_batch,
    free_memory,
    identified,
    load_model,
    load_tokenizer,
    pick_device,
)
from .smollm2 import source_of

T = TypeVar("T")


@dataclass(frozen=True)
class _Voice:
    """Who answers for an annotator: a model folder, and the adapter on it."""

    model: Path
    adapter: Path | None


class HfModel:
    """The model of one task; the models of one run share what is loaded (see `Model`)."""

    def __init__(self, host: _Host, task: Task) -> None:
        self.host, self.task = host, task
        self.name, self.context, self.batch_size = host.settings.model, host.context, host.batch_size

    def describe(self) -> dict[str, Any]:
        return self.host.describe(self.task.name)

    def group(self, annotator: str) -> str:
        voice = self.host.voices[self.task.name, annotator]
        return f"{voice.model} {voice.adapter}"

    def prompt_text(self, content: str) -> str:
        return self.host.decoder.prompt_text(content)

    def count_tokens(self, content: str) -> int:
        return len(self.host.decoder.encode(content))

    def answer(self, batch: Sequence[Query]) -> list[Completion]:
        task = self.task if self.host.settings.answers == "constrained" else None
        return self._by_voice(batch, lambda voice, queries: self.host.answer(voice, queries, task))

    def next_words(self, batch: Sequence[Query], words: Sequence[str]) -> list[list[float]]:
        """Per query the log-probability that its prompt goes on with each of `words`, one token each.

        One forward pass per prompt; a word that is no single token there is a ModelError.
        """
        return self._by_voice(batch, lambda voice, queries: self.host.next_words(voice, queries, words))

    def _by_voice(self, batch: Sequence[Query], ask: Callable[[_Voice, list[Query]], Sequence[T]]) -> list[T]:
        by_voice: dict[_Voice, list[int]] = {}
        for position, query in enumerate(batch):
            # a question put to no annotator of the task is the base's to answer
            voice = self.host.voices.get((self.task.name, query.annotator)) or next(iter(self.host.voices.values()))
            by_voice.setdefault(voice, []).append(position)
        found: dict[int, T] = {}
        for voice, positions in by_voice.items():
            # whatever --batch-size says: such a model cannot be asked otherwise
            size = 1 if self.host.minds_padding else len(positions)
            for start in range(0, len(positions), size):
                piece = positions[start : start + size]
                found |= zip(piece, ask(voice, [batch[i] for i in piece]), strict=True)
        return [found[i] for i in range(len(batch))]


def load_hf(settings: Settings, tasks: Sequence[Task]) -> dict[str, HfModel]:
    """One model per task name. Whatever is wrong with models or adapters is raised here, before any generation."""
    host = _Host(settings, {task.name: task.asked(settings.annotator) for task in tasks}, others_of(tasks))
    return {task.name: HfModel(host, task) for task in tasks}


class _Host:
    """What is in memory: one model at a time, with all adapters of one seat on it."""

    def __init__(
        self, settings: Settings, annotators: Mapping[str, Sequence[str]], others: Mapping[str, Collection[str]]
    ) -> None:
        self.settings, self.others = settings, others
        self.folder = local_folder(settings.model, "--model", settings.revision, ModelError)
        self.base = identified(settings.model, self.folder)
        self.plan, self.voices = self._cast(annotators)
        self._loaded: tuple[Path, str] | None = None
        self._model: Any = None
        self._names: dict[Path, str] = {}
        self.decoder = Decoder(load_tokenizer(self.folder, settings), settings)
        self._check_mapped_tokenizers()
        self.device = pick_device(settings.device)
        self.minds_padding = False
        self._pass_gate()
        self.batch_size = 1 if self.minds_padding else fitting_batch(self._model, self.device)
        self.context = self._context()

    def _cast(self, annotators: Mapping[str, Sequence[str]]) -> tuple[AdapterPlan, dict[Pair, _Voice]]:
        pairs = [(task, a) for task, names in annotators.items() for a in names]
        if self.settings.model_map:
            if self.settings.adapter_dir:
                raise ModelError("--model-map and --adapter-dir both say who answers; give one of them")
            plan, voices = AdapterPlan(), {}
            for pair, place in parse_model_map(self.settings.model_map, annotators).items():
                folder = local_folder(place, f"--model-map {pair[1]}", error=ModelError)
                if (folder / CONFIG).is_file():
                    plan.folders[pair] = folder
                    voices[pair] = _Voice(self.folder, folder)
                else:
                    check_kind(place, folder)
                    voices[pair] = _Voice(folder, None)
            return plan, voices
        if self.settings.adapter_dir:
            plan = find_adapters(self.settings.adapter_dir, annotators, others=self.others)
            return plan, {pair: _Voice(self.folder, folder) for pair, folder in plan.folders.items()}
        return AdapterPlan(), {pair: _Voice(self.folder, None) for pair in pairs}

    def _pass_gate(self) -> None:
        """Load everything that will answer once, so that all problems come before any generation."""
        sound = []
        for folder in self._adapters():
            speaks_for = [pair for pair, f in self.plan.folders.items() if f == folder]
            found = list(file_problems(folder, speaks_for, self.base, self.plan.shared, self.settings.base_matches))
            self.plan.problems += found
            sound += [folder] * (not found)
        for kind in sorted({self._kind(f) for f in sound}):
            self._load(self.folder, kind, [f for f in sound if self._kind(f) == kind])
        self.plan.raise_problems()
        for voice in dict.fromkeys(self.voices.values()):
            if voice.adapter is None:
                self._ready(voice)

    def _adapters(self) -> list[Path]:
        return list(dict.fromkeys(self.plan.folders.values()))

    @staticmethod
    def _kind(adapter: Path | None) -> str:
        return seat(adapter) if adapter else ""

    def _load(self, folder: Path, kind: str, adapters: Sequence[Path]) -> None:
        if self._loaded == (folder, kind):
            return
        self._model, self._names, self._loaded = None, {}, None
        free_memory()
        self._model = load_model(folder, self.settings, self.device)
        self.dtype = str(self._model.dtype).removeprefix("torch.")
        self.decoder.configure(self._model)
        if not self.minds_padding and self.decoder.minds_padding(self._model, PROBE):
            self.minds_padding = True
            print(f"{folder}: its answers depend on padding, so questions are asked one by one", file=sys.stderr)
        if adapters:
            self._model, self._names, problems = load_adapters(
                self._model, adapters, self.decoder.encode(PROBE), self.decoder.tokenizer
            )
            self.plan.problems += problems
        self._loaded = folder, kind

    def _ready(self, voice: _Voice) -> Any:
        """The model with the voice's adapter active."""
        kind = self._kind(voice.adapter)
        self._load(voice.model, kind, [f for f in self._adapters() if self._kind(f) == kind] if kind else [])
        if voice.adapter is not None:
            self._model.set_adapter(self._names[voice.adapter])
        return self._model

    def answer(self, voice: _Voice, queries: Sequence[Query], task: Task | None) -> list[Completion]:
        """Greedy or sampled completions of one left-padded batch; task: of constrained answers."""
        return self.decoder.answer(self._ready(voice), queries, task, self._ends(voice.adapter))

    def _ends(self, adapter: Path | None) -> list[int]:
        """The end token that the tokenizer beside an adapter names, where the base's names another."""
        path = adapter / "tokenizer_config.json" if adapter else None
        named = read_json(path).get("eos_token") if path and path.is_file() else None
        token = named.get("content") if isinstance(named, dict) else named
        found = self.decoder.tokenizer.convert_tokens_to_ids(token) if isinstance(token, str) else None
        return [] if found is None or found == self.decoder.tokenizer.unk_token_id else [int(found)]

    def next_words(self, voice: _Voice, queries: Sequence[Query], words: Sequence[str]) -> list[list[float]]:
        """Log-probabilities of `words` after each prompt of one left-padded batch."""
        return self.decoder.next_words(self._ready(voice), queries, words)

    def _context(self) -> int | None:
        """The positions left to prompt and answer; an adapter's virtual tokens take their share."""
        positions = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        if positions is None:
            return None
        virtual = [int(read_json(f / CONFIG).get("num_virtual_tokens") or 0) for f in self._adapters()]
        return int(positions) - max(virtual, default=0)

    def _check_mapped_tokenizers(self) -> None:
        """Prompts are counted and hashed once, so models of one run must read them alike."""
        problems = []
        for folder in sorted({v.model for v in self.voices.values()} - {self.folder}):
            other = Decoder(load_tokenizer(folder, self.settings), self.settings)
            if other.encode(PROBE) != self.decoder.encode(PROBE):
                problems.append(f"{folder}: renders or encodes a prompt otherwise than {self.settings.model} does")
        if problems:
            raise ModelError(all_problems("models of one run must share tokenizer and chat template:", problems))

    def describe(self, task: str) -> dict[str, Any]:
        own = {a: voice for (t, a), voice in self.voices.items() if t == task}
        return {
            "kind": "transformers",
            **vars(self.base),
            **({"source": source} if (source := source_of(self.folder)) else {}),
            "revision": self.folder.name if self.folder.parent.name == "snapshots" else None,
            "adapters": {a: self._sha256[v.adapter] for a, v in own.items() if v.adapter},
            "models": {a: self._sha256[v.model] for a, v in own.items() if v.model != self.folder},
            "device": self.device,
            "dtype": self.dtype,
        }

    @cached_property
    def _sha256(self) -> dict[Path, str]:
        found = {f: sha256_file(f / WEIGHTS) for f in self._adapters()}
        for folder in {v.model for v in self.voices.values()} - {self.folder}:
            found[folder] = identify(str(folder), folder).weights_sha256
        return found
