"""transformers models with peft adapters: the base is loaded once and answers for every annotator.

Annotators take turns (one adapter is active per batch) instead of sharing batches: measured, that is at least as
fast, and it serves every peft type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from ..errors import ModelError, all_problems
from ..io import read_json, say, sha256_file
from ..settings import Settings
from ..types import Pair, Task
from . import Completion, Model, Query
from .adapter_validation import PROBE, load_adapters
from .adapters import (
    CONFIG,
    WEIGHTS,
    AdapterPlan,
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
    context_of,
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
class Assignment:
    """What answers for an annotator: a model folder, and the adapter on it."""

    model: Path
    adapter: Path | None


class HfModel(Model):
    """The model of one task; the models of one run share what is loaded."""

    def __init__(self, loaded: LoadedModels, task: Task) -> None:
        self.loaded, self.task = loaded, task
        self.name, self.context, self.batch_size = loaded.settings.model, loaded.context, loaded.batch_size

    def describe(self) -> dict[str, Any]:
        return self.loaded.describe(self.task.name)

    def group(self, annotator: str) -> str:
        chosen = self.loaded.assigned[self.task.name, annotator]
        return f"{chosen.model} {chosen.adapter}"

    def prompt_text(self, content: str) -> str:
        return self.loaded.decoder.prompt_text(content)

    def count_tokens(self, content: str) -> int:
        return len(self.loaded.decoder.encode(content))

    def answer(self, batch: Sequence[Query]) -> list[Completion]:
        task = self.task if self.loaded.settings.answers == "constrained" else None

        def ask(chosen: Assignment, queries: list[Query]) -> list[Completion]:
            model = self.loaded.activate(chosen)
            return self.loaded.decoder.answer(model, queries, task, self.loaded.end_tokens(chosen.adapter))

        return self._in_turn(batch, ask)

    def next_words(self, batch: Sequence[Query], words: Sequence[str]) -> list[list[float]]:
        """One forward pass per prompt; a word that is no single token there is a ModelError."""
        return self._in_turn(
            batch, lambda chosen, qs: self.loaded.decoder.next_words(self.loaded.activate(chosen), qs, words)
        )

    def _in_turn(self, batch: Sequence[Query], ask: Callable[[Assignment, list[Query]], Sequence[T]]) -> list[T]:
        """`ask` for the questions of each chosen model, in the order of the batch."""
        turns: dict[Assignment, list[int]] = {}
        assigned = self.loaded.assigned
        for position, query in enumerate(batch):
            # a question put to no annotator of the task is the base's to answer
            chosen = assigned.get((self.task.name, query.annotator)) or next(iter(assigned.values()))
            turns.setdefault(chosen, []).append(position)
        found: dict[int, T] = {}
        for chosen, positions in turns.items():
            # whatever --batch-size says: such a model cannot be asked otherwise
            size = 1 if self.loaded.minds_padding else len(positions)
            for start in range(0, len(positions), size):
                piece = positions[start : start + size]
                found |= zip(piece, ask(chosen, [batch[i] for i in piece]), strict=True)
        return [found[i] for i in range(len(batch))]


def load_hf(settings: Settings, tasks: Sequence[Task]) -> Mapping[str, Model]:
    """One model per task name. Whatever is wrong with models or adapters is raised here, before any generation."""
    loaded = LoadedModels(settings, tasks)
    return {task.name: HfModel(loaded, task) for task in tasks}


class LoadedModels:
    """What is in memory: one model at a time, with all adapters on it that can share it."""

    def __init__(self, settings: Settings, tasks: Sequence[Task]) -> None:
        self.settings = settings
        self.folder = local_folder(settings.model, "--model", settings.revision, ModelError)
        self.base = identified(settings.model, self.folder)
        self.plan, self.assigned = self._resolve(tasks)
        self._in_memory: tuple[Path, str] | None = None
        self.model: Any = None
        self._names: dict[Path, str] = {}
        self.decoder = Decoder(load_tokenizer(self.folder, settings), settings)
        self._check_tokenizers()
        self.device = pick_device(settings.device)
        self.minds_padding = False
        self._load_all()
        self.batch_size = 1 if self.minds_padding else fitting_batch(self.model, self.device)
        # an adapter's virtual tokens take their share
        virtual = [int(read_json(f / CONFIG).get("num_virtual_tokens") or 0) for f in self.plan.adapters]
        positions = context_of(self.model)
        self.context = None if positions is None else positions - max(virtual, default=0)

    def _resolve(self, tasks: Sequence[Task]) -> tuple[AdapterPlan, dict[Pair, Assignment]]:
        """Which model and adapter answers for each annotator."""
        settings, annotators = self.settings, {task.name: task.asked(self.settings.annotator) for task in tasks}
        if settings.model_map and settings.adapter_dir:
            raise ModelError("--model-map and --adapter-dir both say who answers; give one of them")
        if settings.adapter_dir:
            plan = find_adapters(settings.adapter_dir, annotators, others=others_of(tasks))
            return plan, {pair: Assignment(self.folder, folder) for pair, folder in plan.folders.items()}
        plan = AdapterPlan()
        assigned = {(task, a): Assignment(self.folder, None) for task, names in annotators.items() for a in names}
        for pair, place in parse_model_map(settings.model_map, annotators).items():
            folder = local_folder(place, f"--model-map {pair[1]}", error=ModelError)
            if (folder / CONFIG).is_file():
                plan.folders[pair] = folder
                assigned[pair] = Assignment(self.folder, folder)
            else:
                check_kind(place, folder)
                assigned[pair] = Assignment(folder, None)
        return plan, assigned

    def _load_all(self) -> None:
        """Load everything that will answer once, so that all problems come before any generation."""
        sound = self.plan.check_files(self.base, self.settings.base_matches)
        for kind in sorted({seat(folder) for folder in sound}):
            self._load(self.folder, kind, [folder for folder in sound if seat(folder) == kind])
        self.plan.raise_problems()
        for chosen in dict.fromkeys(self.assigned.values()):
            if chosen.adapter is None:
                self.activate(chosen)

    def _load(self, folder: Path, kind: str, adapters: Sequence[Path]) -> None:
        """Have a model in memory, with these adapters of one `seat` (kind) on it."""
        if self._in_memory == (folder, kind):
            return
        self.model, self._names, self._in_memory = None, {}, None
        free_memory()
        self.model = load_model(folder, self.settings, self.device)
        self.decoder.configure(self.model)
        self.dtype = str(self.model.dtype).removeprefix("torch.")
        if not self.minds_padding and self.decoder.minds_padding(self.model, PROBE):
            self.minds_padding = True
            say(f"{folder}: its answers depend on padding, so questions are asked one by one")
        if adapters:
            self.model, self._names, problems = load_adapters(
                self.model, adapters, self.decoder.encode(PROBE), self.decoder.tokenizer
            )
            self.plan.problems += problems
        self._in_memory = folder, kind

    def activate(self, chosen: Assignment) -> Any:
        """The transformers model, with the adapter active."""
        kind = self._seats[chosen.adapter] if chosen.adapter else ""
        self._load(chosen.model, kind, [f for f, own in self._seats.items() if own == kind] if kind else [])
        if chosen.adapter is not None:
            self.model.set_adapter(self._names[chosen.adapter])
        return self.model

    @cached_property
    def _seats(self) -> dict[Path, str]:
        return {folder: seat(folder) for folder in self.plan.adapters}

    def end_tokens(self, adapter: Path | None) -> list[int]:
        """The end token that the tokenizer beside an adapter names, where the base's names another."""
        path = adapter / "tokenizer_config.json" if adapter else None
        named = read_json(path).get("eos_token") if path and path.is_file() else None
        token = named.get("content") if isinstance(named, dict) else named
        found = self.decoder.tokenizer.convert_tokens_to_ids(token) if isinstance(token, str) else None
        return [] if found is None or found == self.decoder.tokenizer.unk_token_id else [int(found)]

    def _check_tokenizers(self) -> None:
        """Prompts are counted and hashed once, so models of one run must read them alike."""
        problems = []
        for folder in sorted({chosen.model for chosen in self.assigned.values()} - {self.folder}):
            other = Decoder(load_tokenizer(folder, self.settings), self.settings)
            if other.encode(PROBE) != self.decoder.encode(PROBE):
                problems.append(f"{folder}: renders or encodes a prompt otherwise than {self.settings.model} does")
        if problems:
            raise ModelError(all_problems("models of one run must share tokenizer and chat template:", problems))

    def describe(self, task: str) -> dict[str, Any]:
        """The manifest's entry of a task."""
        own = {a: chosen for (t, a), chosen in self.assigned.items() if t == task}
        return {
            "kind": "transformers",
            **vars(self.base),
            **({"source": source} if (source := source_of(self.folder)) else {}),
            "revision": self.folder.name if self.folder.parent.name == "snapshots" else None,
            "adapters": {a: self._sha256[chosen.adapter] for a, chosen in own.items() if chosen.adapter},
            "models": {a: self._sha256[chosen.model] for a, chosen in own.items() if chosen.model != self.folder},
            "device": self.device,
            "dtype": self.dtype,
        }

    @cached_property
    def _sha256(self) -> dict[Path, str]:
        models = {chosen.model for chosen in self.assigned.values()} - {self.folder}
        return {f: sha256_file(f / WEIGHTS) for f in self.plan.adapters} | {
            folder: identify(str(folder), folder).weights_sha256 for folder in models
        }
