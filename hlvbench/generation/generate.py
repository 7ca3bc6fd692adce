"""Resumable generation: the questions of a task through a model into generations.jsonl.

The batch is the unit of durability (docs/cli.md, Behaviour). Batches are cut from the whole question list before
resuming or sharding; a finished batch is one line of a partial file, appended in one write and synced.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelError, RunError, all_problems
from ..io import dump_json, generation_lines, locked, progress_bar, read_json, sha256_file, sha256_text, write_atomic
from ..models import Completion, Model, Query, Refused
from ..models.batching import Readable, willing, within_memory
from ..types import Generation, Task
from .journal import STEM, Partial, Place
from .parallel import as_they_come

Prompts = Callable[[str, str], str]
Watch = Callable[[Sequence[Mapping[str, Any]]], None]
REFUSED_IN_A_ROW, REFUSED_ITEMS = 5, 3
"""So many different questions about so many items without an answer, and none with one in between, end a run."""


@dataclass(frozen=True)
class _Question:
    """A query with what is known of its prompt; `prompt_tokens` is -1 for a model without a tokenizer."""

    query: Query
    prompt_sha256: str
    prompt_tokens: int

    def answered(self, completion: Completion) -> Generation:
        q = self.query
        return Generation(q.item, q.annotator, q.sample, **vars(completion), prompt_sha256=self.prompt_sha256)


def generate(
    task: Task,
    model: Model,
    out: Path,
    prompts: Prompts,
    *,
    split: str = "test",
    limit: int | None = None,
    annotators: Collection[str] | None = None,
    samples: int = 1,
    batch_size: int | str = "auto",
    settings: Mapping[str, Any] | None = None,
    resume: bool = True,
    quiet: bool = False,
    rank: int = 0,
    world: int = 1,
) -> dict[str, Any]:
    """Write `out`/generations.jsonl, or what is missing of it; returns facts for the manifest.

    prompts: the user message of (item, annotator). annotators: only questions to these. settings: what decided the
    answers; a folder that holds answers of other settings, prompts or another model is a RunError naming the
    difference. `resume=False` starts anew. Process `rank` of `world` takes the batches whose number is `rank` modulo
    `world`; whoever ends last writes the finished file, and the others return facts with `finished` false.
    """
    queries = _queries(task, prompts, split, limit, annotators, samples)
    about = {"task": task.name, "version": task.version, "split": split, "limit": limit, "samples": samples}
    free = dict(settings or {}).get("answers") == "free" and not quiet
    return collect(
        model, queries, out, about, batch_size=batch_size, settings=settings, resume=resume, quiet=quiet, rank=rank,
        world=world, watch=Readable(task) if free else None,
    )  # fmt: skip


def collect(
    model: Model,
    queries: Sequence[Query],
    out: Path,
    about: Mapping[str, Any],
    *,
    stem: str = STEM,
    batch_size: int | str = "auto",
    settings: Mapping[str, Any] | None = None,
    resume: bool = True,
    quiet: bool = False,
    rank: int = 0,
    world: int = 1,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """The same for any list of queries: their answers, in their order, in `out`/`stem`.jsonl.

    about: what the queries were made from, "task" at least; part of what a folder must agree with to be continued.
    watch: called with the rows of every batch that is answered now.
    """
    settings = dict(settings or {})
    questions = _questions(model, queries)
    _check_room(about["task"], model, questions, int(settings.get("max_new_tokens", 0)))
    out.mkdir(parents=True, exist_ok=True)
    place = Place(out, stem)
    with locked(place.lock(rank), "another process is writing this run"):
        with locked(place.lock("plan"), wait=True):
            plan = _claim(place, _plan(model, questions, settings, about, batch_size), resume)
            if "finished" in plan:
                return {**plan["finished"], "finished": True}
            batches = _cut(model, questions, plan["batch_size"])
            mine = Partial(place.partial(rank))
            done = _done(place, questions, batches)
            mine.repair()
        _answer(model, questions, batches, done, mine, rank, world, quiet, watch)
        with locked(place.lock("plan"), wait=True):
            return _finish(place, plan, questions, batches)


def _queries(
    task: Task, prompts: Prompts, split: str, limit: int | None, annotators: Collection[str] | None, samples: int
) -> list[Query]:
    found = []
    for item, annotator in task.questions(split, limit, annotators):
        content = prompts(item, annotator)
        found += [Query(item, annotator, s, content) for s in range(samples)]
    return found


def _questions(model: Model, queries: Sequence[Query]) -> list[_Question]:
    known: dict[str, tuple[str, int]] = {}
    found = []
    for query in queries:
        if (content := query.content) not in known:
            # the samples of a question share their prompt
            known = {content: (sha256_text(model.prompt_text(content)), model.count_tokens(content))}
        found.append(_Question(query, *known[content]))
    return found


def _check_room(task: str, model: Model, questions: Sequence[_Question], new_tokens: int) -> None:
    """A prompt is never truncated: all that are too long are named before any is answered."""
    if model.context is None:
        return
    room = model.context - new_tokens
    if room < 1:
        raise RunError(
            f"--max-new-tokens {new_tokens} leaves no room for a prompt in the {model.context} positions of "
            f"{model.name}; lower it"
        )
    # samples of a question share their prompt
    long = list(
        {(q.query.item, q.query.annotator, q.prompt_sha256): q for q in questions if q.prompt_tokens > room}.values()
    )
    if long:
        raise RunError(all_problems(
            f"{task}: {len(long)} prompts are longer than the {room} tokens that {model.name} has room for "
            f"({model.context} positions less {new_tokens} new tokens); use fewer --shots, a smaller "
            f"--max-new-tokens or a model with more context:",
            [f"item {q.query.item}, annotator {q.query.annotator}: {q.prompt_tokens} tokens" for q in long],
        ))  # fmt: skip


def _plan(
    model: Model, questions: Sequence[_Question], settings: Mapping[str, Any], about: Mapping[str, Any],
    batch_size: int | str,
) -> dict[str, Any]:  # fmt: skip
    """All that decides the answers and how they are cut into batches."""
    if batch_size != "auto" and (not isinstance(batch_size, int) or batch_size < 1):
        raise RunError(f"--batch-size {batch_size}: a number of 1 or more, or auto")
    plan = {
        **about,
        "questions": len(questions),
        "prompts_sha256": sha256_text("".join(q.prompt_sha256 for q in questions)),
        "batch_size": model.batch_size if batch_size == "auto" else batch_size,
        "batch_size_asked": batch_size,
        "settings": dict(settings),
        "model": model.describe(),
    }  # fmt: skip
    return dict(json.loads(dump_json(plan)))


def _claim(place: Place, plan: dict[str, Any], resume: bool) -> dict[str, Any]:
    """The plan to go on with: the folder's own where it agrees with this one, else this one, written."""
    for torn in place.torn():
        # all atomic writes happen under the lock that is held here
        torn.unlink()
    if not resume:
        for old in (*place.partials(), place.plan, place.finished):
            old.unlink(missing_ok=True)
    elif place.plan.exists():
        there = read_json(place.plan)
        _compare(place, there, plan)
        if "finished" not in there:
            return dict(there)
        if place.finished.exists():
            if sha256_file(place.finished) != there["finished"]["generations_sha256"]:
                raise RunError(
                    f"{place.finished} was changed after it was finished; restore it, or start anew by --no-resume"
                )
            for old in place.partials():
                old.unlink()
            return dict(there)
    elif place.finished.exists():
        raise RunError(
            f"{place.finished} was not written by this command (no {place.plan.name} beside it); choose another --out"
        )
    write_atomic(place.plan, dump_json(plan))
    return plan


def _compare(place: Place, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    if here["batch_size_asked"] == "auto":
        # "auto" accepts the size that a run was started with
        here = {**here, "batch_size": there.get("batch_size")}
    before, now = (_flat({k: v for k, v in p.items() if k not in _FREE}) for p in (there, here))
    differing = sorted(k for k in {*before, *now} if before.get(k) != now.get(k))
    if differing:
        raise RunError(all_problems(
            f"{place.finished} belongs to other settings; choose another --out, or start anew by --no-resume:",
            [f"{k}: there {before.get(k)!r}, now {now.get(k)!r}" for k in differing],
        ))  # fmt: skip


_FREE = ("finished", "batch_size_asked")


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    return {k: v for key in value for k, v in _flat(value[key], f"{name}.{key}" if name else key).items()}


def _cut(model: Model, questions: Sequence[_Question], size: int) -> list[list[int]]:
    """Batches of positions in `questions`: within a group the longest prompts first, so that memory fails early."""
    groups: dict[str, list[int]] = {}
    for position, question in enumerate(questions):
        groups.setdefault(model.group(question.query.annotator), []).append(position)
    batches = []
    for members in groups.values():
        members.sort(key=lambda i: (-questions[i].prompt_tokens, i))
        batches += [members[start : start + size] for start in range(0, len(members), size)]
    return batches


def _done(place: Place, questions: Sequence[_Question], batches: Sequence[Sequence[int]]) -> dict[int, dict[str, Any]]:
    """Batch number -> its line, of every whole line of any process that answers this very batch."""
    found = {}
    for path in place.partials():
        for line in Partial(path).lines():
            number = line["batch"]
            if 0 <= number < len(batches) and _keys(line["rows"]) == [_key(questions[i]) for i in batches[number]]:
                found[number] = line
    return found


def _key(question: _Question) -> tuple[str, str, int, str]:
    return question.query.item, question.query.annotator, question.query.sample, question.prompt_sha256


def _keys(rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return [(r["item"], r["annotator"], r["sample"], r["prompt_sha256"]) for r in rows]


def _answer(
    model: Model, questions: Sequence[_Question], batches: Sequence[Sequence[int]], done: Mapping[int, dict[str, Any]],
    mine: Partial, rank: int, world: int, quiet: bool, watch: Watch | None,
) -> None:  # fmt: skip
    own = [n for n in range(len(batches)) if n % world == rank]
    # a size once found too large stays too large for this process, also after a kill
    largest = min((done[n]["at_most"] for n in own if n in done), default=max(map(len, batches), default=1))
    total, answered = sum(len(batches[n]) for n in own), sum(len(batches[n]) for n in own if n in done)
    progress, tokens = progress_bar(total, answered, quiet), 0
    todo = [n for n in own if n not in done]

    def line(number: int) -> _Made:
        nonlocal largest
        began = time.monotonic()
        batch = [questions[i] for i in batches[number]]
        completions, largest, refusal = willing(model, [q.query for q in batch], largest)
        rows = [dataclasses.asdict(q.answered(c)) for q, c in zip(batch, completions, strict=True)]
        ended = time.monotonic()
        row = {"batch": number, "at_most": largest, "seconds": round(ended - began, 3), "rows": rows}
        return _Made(row, began, ended, refusal)

    def keep(kept: Sequence[_Made]) -> None:
        nonlocal answered, tokens
        for made in kept:
            mine.append(made.line)
            if watch:
                watch(made.line["rows"])
            answered += len(made.line["rows"])
            tokens += sum(r["new_tokens"] for r in made.line["rows"])
            progress.set_postfix_str(f"{tokens / (progress.format_dict['elapsed'] or 1):.0f} tokens/s", refresh=False)
            progress.update(len(made.line["rows"]))

    held = list[_Made]()
    try:
        for made in as_they_come(line, todo, getattr(model, "parallel", 1)):
            if made.refusal is None:
                # the server still answers: what it refused before is for good
                keep([made, *(h for h in held if h.ended <= made.began)])
                held = [h for h in held if h.ended > made.began]
            else:
                held.append(made)
                refused = {(r["item"], r["annotator"]) for h in held for r in h.line["rows"] if r["finish"] == "error"}
                if len(refused) >= REFUSED_IN_A_ROW and len({item for item, _ in refused}) >= REFUSED_ITEMS:
                    raise type(made.refusal)(f"{made.refusal}; {len(refused)} different questions in a row failed")
        if held and held[-1].refusal and answered == 0:
            raise held[-1].refusal
        keep(held)
    except ModelError as error:
        raise type(error)(
            f"{error}\n{answered} of {total} answers are kept, {total - answered} remain; the same command continues"
        ) from error
    finally:
        progress.close()


@dataclass(frozen=True)
class _Made:
    """A line of the partial file, when it was begun and ended (s), and why a question in it was refused."""

    line: dict[str, Any]
    began: float
    ended: float
    refusal: Refused | None


def _finish(
    place: Place, plan: dict[str, Any], questions: Sequence[_Question], batches: Sequence[Sequence[int]]
) -> dict[str, Any]:
    """Put all rows in question order once every batch is there; the mark in the plan comes after the file."""
    done = _done(place, questions, batches)
    if len(done) < len(batches):
        return {"finished": False, "batches_missing": len(batches) - len(done)}
    rows: dict[int, Generation] = {}
    for number, positions in enumerate(batches):
        rows |= {i: Generation(**row) for i, row in zip(positions, done[number]["rows"], strict=True)}
    write_atomic(place.finished, generation_lines(rows[i] for i in range(len(questions))))
    at_most = min((line["at_most"] for line in done.values()), default=plan["batch_size"])
    reduced = at_most < max(map(len, batches), default=1)
    facts = {
        "batches": len(batches),
        "batch_size": plan["batch_size"],
        "batch_size_after_out_of_memory": at_most if reduced else None,
        "prompt_tokens": sum(q.prompt_tokens for q in questions),
        "generation_seconds": round(sum(line["seconds"] for line in done.values()), 1),
        "generations_sha256": sha256_file(place.finished),
    }
    write_atomic(place.plan, dump_json({**plan, "finished": facts}))
    for path in place.partials():
        path.unlink()
    return {**facts, "finished": True}


def finished_facts(out: Path) -> dict[str, Any] | None:
    """What `generate` returned, or would return, for a folder whose answers are all there; else None."""
    path = Place(out).plan
    plan = read_json(path) if path.exists() else {}
    return {**plan["finished"], "finished": True} if "finished" in plan else None


def plan_summary(
    task: Task,
    model: Model,
    prompts: Prompts,
    *,
    split: str = "test",
    limit: int | None = None,
    annotators: Collection[str] | None = None,
    samples: int = 1,
    batch_size: int | str = "auto",
    max_new_tokens: int = 128,
    time_one: bool = True,
) -> dict[str, Any]:
    """What a run would ask, without keeping an answer: counts, tokens, an example prompt per annotator.

    `time_one` answers the median batch once; `seconds` is that time times the number of batches, else None.
    """
    questions = _questions(model, _queries(task, prompts, split, limit, annotators, samples))
    _check_room(task.name, model, questions, max_new_tokens)
    batches = _cut(model, questions, model.batch_size if batch_size == "auto" else int(batch_size))
    tokens = sorted(q.prompt_tokens for q in questions)
    first = {q.query.annotator: q.query for q in reversed(questions)}
    seconds = None
    if time_one and batches:
        started = time.monotonic()
        within_memory(model, [questions[i].query for i in batches[len(batches) // 2]], len(questions))
        seconds = round((time.monotonic() - started) * len(batches), 1)
    return {
        "task": task.name,
        "questions": len(questions) // samples,
        "answers": len(questions),
        "batches": len(batches),
        "prompt_tokens": sum(tokens),
        "prompt_tokens_median": tokens[len(tokens) // 2] if tokens else 0,
        "prompt_tokens_longest": tokens[-1] if tokens else 0,
        "new_tokens_at_most": len(questions) * max_new_tokens,
        "seconds": seconds,
        "examples": [
            {"item": q.item, "annotator": a, "prompt": model.prompt_text(q.content)} for a, q in sorted(first.items())
        ],
    }
