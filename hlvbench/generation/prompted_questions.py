"""The questions of a run with their prompts, and how they are cut into batches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..embeddings import load_embedder
from ..errors import DataError, RunError, all_problems
from ..io import dump_json, locked, read_document, sha256_text, write_atomic
from ..models import Model, Query
from ..prompting.prompt import Prompter
from ..prompting.value_profile import counted_profile, profile_request
from ..settings import Settings
from ..types import Task

Prompts = Callable[[str, str], str]
"""The user message of (item, annotator)."""


@dataclass(frozen=True)
class Question:
    """A query with what is known of its prompt; `prompt_tokens` is -1 for a model without a tokenizer."""

    query: Query
    prompt_sha256: str
    prompt_tokens: int

    @property
    def key(self) -> tuple[str, str, int, str]:
        return self.query.item, self.query.annotator, self.query.sample, self.prompt_sha256


def queries_of(
    task: Task, prompts: Prompts, split: str, limit: int | None, annotators: Collection[str] | None, samples: int
) -> list[Query]:
    """The questions of a split, each `samples` times."""
    found = []
    for item, annotator in task.questions(split, limit, annotators):
        content = prompts(item, annotator)
        found += [Query(item, annotator, s, content) for s in range(samples)]
    return found


def prompted(model: Model, queries: Sequence[Query]) -> list[Question]:
    """The queries with the hash and length of their prompts."""
    known: dict[str, tuple[str, int]] = {}
    found = []
    for query in queries:
        content = query.content
        if content not in known:
            # the samples of a question share their prompt
            known = {content: (sha256_text(model.prompt_text(content)), model.count_tokens(content))}
        found.append(Question(query, *known[content]))
    return found


def check_context(task: str, model: Model, questions: Sequence[Question], new_tokens: int) -> None:
    """A prompt is never truncated: all that are too long are named before any is answered."""
    if model.context is None:
        return
    room = model.context - new_tokens
    if room < 1:
        raise RunError(
            f"--max-new-tokens {new_tokens} leaves no room for a prompt in the {model.context} positions of "
            f"{model.name}; lower it"
        )
    long = {q.key[:2]: q.prompt_tokens for q in questions if q.prompt_tokens > room}
    if long:
        heading = (
            f"{task}: {len(long)} prompts are longer than the {room} tokens that {model.name} has room for "
            f"({model.context} positions less {new_tokens} new tokens); use fewer --shots, a smaller "
            f"--max-new-tokens or a model with more context:"
        )
        lines = [f"item {item}, annotator {annotator}: {tokens} tokens" for (item, annotator), tokens in long.items()]
        raise RunError(all_problems(heading, lines))


def cut_batches(model: Model, questions: Sequence[Question], size: int) -> list[list[Question]]:
    """Batches: within a group the longest prompts first, so that memory fails early."""
    groups: dict[str, list[Question]] = {}
    for question in questions:
        groups.setdefault(model.group(question.query.annotator), []).append(question)
    batches = []
    for members in groups.values():
        members.sort(key=lambda q: -q.prompt_tokens)
        batches += [members[start : start + size] for start in range(0, len(members), size)]
    return batches


def make_prompter(task: Task, model: Model, settings: Settings, folder: Path) -> Prompter:
    """The prompts of a run; profiles are saved in the run and read back by a resumed one."""
    profiles = _profiles(task, model, settings, folder) if "vp" in settings.prompt else None
    nearest = "icl" in settings.prompt and settings.shot_pick == "nearest"
    return Prompter(
        task,
        settings.prompt,
        shots=settings.shots,
        pick=settings.shot_pick,
        seed=settings.seed,
        profiles=profiles,
        embedder=load_embedder() if nearest else None,
        fits=lambda content: _fits(model, content, settings),
    )


def _fits(model: Model, content: str, settings: Settings) -> bool:
    """Whether a message has room in the model's context, beside its answer."""
    return model.context is None or model.count_tokens(content) <= model.context - settings.max_new_tokens


def _profiles(task: Task, model: Model, settings: Settings, folder: Path) -> dict[str, str]:
    path = folder / "profiles.json"
    folder.mkdir(parents=True, exist_ok=True)
    # of several processes one writes the profiles, and the others read the same
    with locked(folder / ".lock.profiles", wait=True):
        if path.exists():
            known: dict[str, str] = read_document(path, dict[str, str])
            if lacking := [a for a in task.asked(settings.annotator) if a not in known]:
                raise DataError(f"{path}: no profile of {', '.join(lacking)}; remove the file, and it is made again")
            return known
        found = {
            a: counted_profile(task, a) if settings.profile == "counted" else _written_profile(task, a, model, settings)
            for a in task.asked(settings.annotator)
        }
        write_atomic(path, dump_json(found))
        return found


def _written_profile(task: Task, annotator: str, model: Model, settings: Settings) -> str:
    """Ask the model; as many records as fit its context stand in the request."""
    for records in range(settings.shots, 0, -1):
        request = profile_request(task, annotator, settings.seed, records)
        if _fits(model, request, settings):
            text = model.answer([Query("profile", annotator, 0, request)])[0].text.strip()
            if not text:
                raise RunError(f"{task.name}: the model wrote an empty profile for {annotator}; use --profile counted")
            return text
    raise RunError(f"{task.name}: no record of {annotator} fits the model's context; use --profile counted")
