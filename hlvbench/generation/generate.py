"""Resumable generation: the questions of a task through a model into generations.jsonl.

The batch is the unit of durability (docs/cli.md, Behaviour). Batches are cut from the whole question list before
resuming or sharing it among processes; a finished batch is one line of a process's journal, appended in one write and
synced.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelError, RunError
from ..io import dump_json, generation_lines, locked, progress_bar, sha256_file, sha256_text, write_atomic
from ..models import Model, Query, Refused
from ..processes import ALONE, ProcessRank
from ..types import Generation, Task
from .batches import ReadableCheck, answer_batch, answer_within_memory, as_completed
from .journal import STEM, AnswerFiles, Journal, refuse_other_settings
from .prompted_questions import Prompts, Question, check_context, cut_batches, prompted, queries_of

Watch = Callable[[Sequence[Mapping[str, Any]]], None]
REFUSED_IN_A_ROW, REFUSED_ITEMS = 5, 3
"""So many different questions about so many items without an answer, and none with one in between, end a run."""


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
    process: ProcessRank = ALONE,
) -> dict[str, Any]:
    """Answer the questions of a split into `out`/generations.jsonl, or the part of them that is missing.

    Args:
        task: The task.
        model: The model of this task.
        out: The run's folder of this task.
        prompts: The user message of (item, annotator).
        split: Name of the split.
        limit: Only questions about the first `limit` items.
        annotators: Only questions to these.
        samples: Answers per question.
        batch_size: Questions per batch; "auto" takes the model's.
        settings: What decided the answers, for the manifest and for the check that a folder belongs to them.
        resume: False deletes the answers in `out` and starts again.
        quiet: No progress.
        process: Takes the batches whose number is its rank modulo the number of processes. The last one to end writes
            the finished file.

    Returns:
        {"finished": False, "batches_missing"} while batches of other processes are missing; else "finished" True with
        batches, batch_size, batch_size_after_out_of_memory (None if it was kept), prompt_tokens, generation_seconds
        and generations_sha256.

    Raises:
        RunError: The folder holds answers of other settings, prompts or another model (the difference is named), or a
            prompt does not fit the model's context.
        ModelError: The model failed; the answers so far are kept.
    """
    queries = queries_of(task, prompts, split, limit, annotators, samples)
    about = {"task": task.name, "version": task.version, "split": split, "limit": limit, "samples": samples}
    free = dict(settings or {}).get("answers") == "free" and not quiet
    return answer_queries(
        model,
        queries,
        out,
        about,
        batch_size=batch_size,
        settings=settings,
        resume=resume,
        quiet=quiet,
        process=process,
        watch=ReadableCheck(task) if free else None,
    )


def answer_queries(
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
    process: ProcessRank = ALONE,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """`generate` for any list of queries: their answers, in their order, in `out`/`stem`.jsonl.

    Args:
        about: What the queries were made from, "task" at least; part of what a folder must agree with to be continued.
        stem: The name of the files.
        watch: Called with the rows of every batch that is answered now.
    """
    settings = dict(settings or {})
    questions = prompted(model, queries)
    check_context(about["task"], model, questions, int(settings.get("max_new_tokens", 0)))
    out.mkdir(parents=True, exist_ok=True)
    files = AnswerFiles(out, stem)
    journal = files.journal(process.rank)
    with locked(files.lock(process.rank), "another process is writing this run"):
        with locked(files.lock("plan"), wait=True):
            plan = _open_plan(files, _plan(model, questions, settings, about, batch_size), resume)
            if "finished" in plan:
                return {**plan["finished"], "finished": True}
            batches = cut_batches(model, questions, plan["batch_size"])
            done = _done(files, batches)
            journal.repair()
        own = range(process.rank, len(batches), process.world)
        again = "the same command" if resume else "the same command without --no-resume"
        _answer(model, {n: batches[n] for n in own}, done, journal, quiet, watch, again)
        with locked(files.lock("plan"), wait=True):
            return _finish(files, plan, questions, batches)


def _plan(
    model: Model,
    questions: Sequence[Question],
    settings: Mapping[str, Any],
    about: Mapping[str, Any],
    batch_size: int | str,
) -> dict[str, Any]:
    """All that decides the answers and how they are cut into batches, as JSON keeps it."""
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
    }
    return dict(json.loads(dump_json(plan)))


def _open_plan(files: AnswerFiles, plan: dict[str, Any], resume: bool) -> dict[str, Any]:
    """The plan to continue: the folder's own where it agrees with this one, else this one, written."""
    for torn in files.torn():
        # all atomic writes happen under the lock that is held here
        torn.unlink()
    old = [journal.path for journal in files.journals()]
    if not resume:
        for path in (*old, files.plan, files.finished):
            path.unlink(missing_ok=True)
    elif files.plan.exists():
        before = files.read_plan()
        try:
            _check_same(files, before, plan)
        except RunError:
            # nothing was answered under a plan that failed; another may take its place
            if old or files.finished.exists():
                raise
            before = plan
        if "finished" not in before:
            write_atomic(files.plan, dump_json(before))
            return before
        if files.finished.exists():
            if sha256_file(files.finished) != before["finished"]["generations_sha256"]:
                raise RunError(
                    f"{files.finished} was changed after it was finished; restore it, or start anew by --no-resume"
                )
            for path in old:
                path.unlink()
            return before
    elif files.finished.exists():
        raise RunError(
            f"{files.finished} was not written by this command (no {files.plan.name} beside it); choose another --out"
        )
    write_atomic(files.plan, dump_json(plan))
    return plan


def _check_same(files: AnswerFiles, before: dict[str, Any], now: dict[str, Any]) -> None:
    if now["batch_size_asked"] == "auto":
        # "auto" accepts the size that a run was begun with
        now = {**now, "batch_size": before.get("batch_size")}
    before, now = ({k: v for k, v in p.items() if k not in ("finished", "batch_size_asked")} for p in (before, now))
    heading = f"{files.finished} belongs to other settings; choose another --out, or start anew by --no-resume:"
    refuse_other_settings(before, now, heading)


def _done(files: AnswerFiles, batches: Sequence[Sequence[Question]]) -> dict[int, dict[str, Any]]:
    """Batch number -> its entry, of every entry of any process's journal that answers this very batch."""
    found = {}
    for journal in files.journals():
        for entry in journal.entries():
            number, keys = entry["batch"], [_key(row) for row in entry["rows"]]
            if 0 <= number < len(batches) and keys == [q.key for q in batches[number]]:
                found[number] = entry
    return found


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["item"], row["annotator"], row["sample"], row["prompt_sha256"]


@dataclass(frozen=True)
class _Entry:
    """An entry of the journal, when its batch was begun and ended (s), and why the batch was refused."""

    value: dict[str, Any]
    began: float
    ended: float
    refusal: Refused | None


def _answer(
    model: Model,
    batches: Mapping[int, Sequence[Question]],
    done: Mapping[int, dict[str, Any]],
    journal: Journal,
    quiet: bool,
    watch: Watch | None,
    again: str,
) -> None:
    """Ask the batches that are not done, and keep their answers as they come. again: what continues after an error."""
    # a size once found too large stays too large for this process, also after a kill
    largest = min(
        (done[n]["at_most"] for n in batches if n in done), default=max(map(len, batches.values()), default=1)
    )
    todo = [n for n in batches if n not in done]
    total = sum(map(len, batches.values()))
    kept = total - sum(len(batches[n]) for n in todo)
    progress, tokens = progress_bar(total, kept, quiet), 0

    def answer(number: int) -> _Entry:
        nonlocal largest
        began, batch = time.monotonic(), batches[number]
        completions, largest, refusal = answer_batch(model, [q.query for q in batch], largest)
        rows = [
            dataclasses.asdict(Generation(*q.key[:3], **vars(c), prompt_sha256=q.prompt_sha256))
            for q, c in zip(batch, completions, strict=True)
        ]
        ended = time.monotonic()
        value = {"batch": number, "at_most": largest, "seconds": round(ended - began, 3), "rows": rows}
        return _Entry(value, began, ended, refusal)

    def keep(entries: Sequence[_Entry]) -> None:
        nonlocal kept, tokens
        for entry in entries:
            rows = entry.value["rows"]
            journal.append(entry.value)
            if watch:
                watch(rows)
            kept += len(rows)
            tokens += sum(r["new_tokens"] for r in rows)
            progress.set_postfix_str(f"{tokens / (progress.format_dict['elapsed'] or 1):.0f} tokens/s", refresh=False)
            progress.update(len(rows))

    refused = list[_Entry]()
    try:
        for entry in as_completed(answer, todo, model.parallel):
            if entry.refusal is None:
                # the server still answers: what it refused before is for good
                keep([entry, *(r for r in refused if r.ended <= entry.began)])
                refused = [r for r in refused if r.ended > entry.began]
            else:
                refused.append(entry)
                pairs = {_key(row)[:2] for r in refused for row in r.value["rows"] if row["finish"] == "error"}
                if len(pairs) >= REFUSED_IN_A_ROW and len({item for item, _ in pairs}) >= REFUSED_ITEMS:
                    raise type(entry.refusal)(f"{entry.refusal}; {len(pairs)} different questions in a row failed")
        if refused and refused[-1].refusal and kept == 0:
            raise refused[-1].refusal
        keep(refused)
    except ModelError as error:
        raise type(error)(
            f"{error}\n{kept} of {total} answers are kept, {total - kept} remain; {again} continues"
        ) from error
    finally:
        progress.close()


def _finish(
    files: AnswerFiles,
    plan: dict[str, Any],
    questions: Sequence[Question],
    batches: Sequence[Sequence[Question]],
) -> dict[str, Any]:
    """Put all rows in question order once every batch is there; the mark in the plan comes after the file."""
    done = _done(files, batches)
    if len(done) < len(batches):
        return {"finished": False, "batches_missing": len(batches) - len(done)}
    rows = {_key(row): Generation(**row) for entry in done.values() for row in entry["rows"]}
    write_atomic(files.finished, generation_lines(rows[q.key] for q in questions))
    at_most = min((entry["at_most"] for entry in done.values()), default=plan["batch_size"])
    facts = {
        "batches": len(batches),
        "batch_size": plan["batch_size"],
        "batch_size_after_out_of_memory": at_most if at_most < max(map(len, batches), default=1) else None,
        "prompt_tokens": sum(q.prompt_tokens for q in questions),
        "generation_seconds": round(sum(entry["seconds"] for entry in done.values()), 1),
        "generations_sha256": sha256_file(files.finished),
    }
    write_atomic(files.plan, dump_json({**plan, "finished": facts}))
    for journal in files.journals():
        journal.path.unlink()
    return {**facts, "finished": True}


def finished_facts(out: Path) -> dict[str, Any] | None:
    """What `generate` returned, or would return, for a folder whose answers are all there; else None."""
    files = AnswerFiles(out)
    plan = files.read_plan() if files.plan.exists() else {}
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
    """What a run would ask, without keeping an answer; arguments not listed are those of `generate`.

    Args:
        max_new_tokens: Token limit of an answer.
        time_one: Answer the middle batch once to estimate the time.

    Returns:
        Counts (questions, answers, batches), prompt tokens (sum, median, longest), new_tokens_at_most, seconds (time of
        one batch × batches; None without `time_one`), and an example prompt per annotator.
    """
    questions = prompted(model, queries_of(task, prompts, split, limit, annotators, samples))
    check_context(task.name, model, questions, max_new_tokens)
    batches = cut_batches(model, questions, model.batch_size if batch_size == "auto" else int(batch_size))
    tokens = sorted(q.prompt_tokens for q in questions)
    first = {q.query.annotator: q.query for q in reversed(questions)}
    seconds = None
    if time_one and batches:
        started = time.monotonic()
        answer_within_memory(model, [q.query for q in batches[len(batches) // 2]], len(questions))
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
