"""Logs of lm-eval and inspect -> generations.jsonl, which score, compare and submit read.

Logs of lm-eval say neither why an answer ended nor how many tokens it has: `finish` is "stop", or "error" where the
backend gave no text, and `new_tokens` is 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from ..errors import DataError, HlvbenchError, RunError, UsageError, all_problems, first_lines
from ..io import generation_lines, read_jsonl, sha256_text, write_atomic
from ..models.endpoint import finish_of, joined_parts
from ..types import Generation, Pair
from .harness import in_question_order, task_of

LoggedAnswer = tuple[tuple[str, str], Generation]
"""((task_ref, split), answer); task_ref: the task's name, or the path of its folder."""


def import_logs(kind: str, files: Sequence[Path], out: Path) -> dict[str, Path]:
    """Write `out`/<task>/generations.jsonl from logs of the tasks hlv_* or hlvbench/*, answers in question order.

    Logs of one task are joined, so four runs of one annotator each make one file.

    Args:
        kind: "lm-eval" (samples_*.jsonl, or folders of them) or "inspect" (.eval or .json, or folders of .eval).
        files: The logs.
        out: The folder to write to.

    Returns:
        Task -> its file.

    Raises:
        DataError: Logs that cannot be read, questions answered twice, several tasks of one name or splits of one task.
        UsageError: Another kind, an unknown task, or answers to no question of the task.
        RunError: A file is there with other answers.
    """
    readers = {"lm-eval": (_lm_eval, ("samples_*.jsonl",)), "inspect": (_inspect, ("*.eval",))}
    if kind not in readers:
        raise UsageError(f"logs of {kind!r} are not known; there are {' and '.join(readers)}")
    reader, patterns = readers[kind]
    rows, problems = list[LoggedAnswer](), list[str]()
    for path in _log_files(files, patterns):
        try:
            rows += reader(path)
        except HlvbenchError as error:
            problems.append(str(error))
    problems += _conflicts(rows)
    if problems:
        raise DataError(all_problems("these logs cannot be imported:", problems))
    return _write(rows, out)


def _log_files(files: Sequence[Path], patterns: Sequence[str]) -> list[Path]:
    """The logs, those in folders included, each once."""
    found, problems = list[Path](), list[str]()
    for path in files:
        inner = sorted(p for pattern in patterns for p in path.rglob(pattern)) if path.is_dir() else [path]
        if not inner or not path.exists():
            problems.append(f"{path}: {'no ' + ' or '.join(patterns) + ' in it' if path.is_dir() else 'no such file'}")
        found += inner
    if problems:
        raise DataError(all_problems("these logs cannot be imported:", problems))
    return list(dict.fromkeys(found))


def _lm_eval(path: Path) -> Iterator[LoggedAnswer]:
    """The answers in a samples file; the hash of a prompt is that of a run, also through an endpoint.

    A backend that gave no text left null, or nothing, or (API models) the word "None".
    """
    problems = []
    number = 0
    for number, row in read_jsonl(path):
        try:
            doc, asked = row["doc"], row["arguments"]["gen_args_0"]["arg_0"]
        except (KeyError, TypeError):
            doc = asked = None
        answers = row.get("resps")
        found = answers[0] if answers and isinstance(answers, list) else None
        texts = found if found and isinstance(found, list) else [None]
        prompt, chat = _prompt(asked)
        if not _is_ours(doc) or not all(isinstance(text, str | None) for text in texts) or prompt is None:
            problems.append(f"line {number}: no answer to a task hlv_*")
            continue
        for sample, text in enumerate(texts):
            null = text is None or (chat and text == "None" and "None" not in map(str, task_of(doc["task"]).labels))
            yield (doc["task"], doc["split"]), Generation(
                doc["item"], doc["annotator"], sample, "" if null else text, "error" if null else "stop", 0,
                sha256_text(prompt),
            )  # fmt: skip
    if not number:
        raise DataError(f"{path}: no samples in it; was lm-eval stopped, or run without --log_samples?")
    if problems:
        raise DataError(all_problems(f"{path}: {len(problems)} lines cannot be read:", problems, most=5))


def _prompt(asked: Any) -> tuple[str | None, bool]:
    """The text that was asked, None if there is none, and whether it was put as a chat.

    Chats are a list of messages (older logs) or their JSON, bare or in a list of its own. A lone message is
    what runs of `--model endpoint:` hash; several are joined by a blank line.
    """
    if isinstance(asked, list) and len(asked) == 1 and isinstance(asked[0], str):
        asked = asked[0]
    if isinstance(asked, str):
        try:
            messages = json.loads(asked)
        except (ValueError, RecursionError):
            return asked, False
    else:
        messages = asked
    if not (isinstance(messages, list) and messages and all(isinstance(m, dict) and "content" in m for m in messages)):
        return (asked, False) if isinstance(asked, str) else (None, False)
    try:
        texts = [joined_parts(message["content"]) for message in messages]
    except (AttributeError, TypeError):
        return None, False
    return "\n\n".join(texts), True


def _inspect(path: Path) -> Iterator[LoggedAnswer]:
    """inspect keeps messages and not what a template made of them: the hash is that of the user message."""
    from inspect_ai.log import read_eval_log

    try:
        log = read_eval_log(str(path), resolve_attachments=True)
    except Exception as error:  # zip, JSON and schema errors share no base class
        raise DataError(f"{path}: not a log that inspect can read: {first_lines(error)}") from None
    if not log.samples:
        raise DataError(f"{path}: no samples in it; the eval of {log.eval.task} ended as {log.status!r}")
    if not all(_is_ours(sample.metadata) for sample in log.samples):
        raise DataError(
            f"{path}: {log.eval.task} holds no answers of annotators "
            "(hlvbench/varierr, /r2, /convarg, /own, /attribution)"
        )
    for sample in log.samples:
        about, output = sample.metadata, sample.output
        asked = sample.input if isinstance(sample.input, str) else "\n".join(
            message.text for message in sample.input if message.role == "user"
        )  # fmt: skip
        stopped = output.choices[0].stop_reason if output.choices else "error"
        yield (about["task"], about["split"]), Generation(
            about["item"], about["annotator"], sample.epoch - 1, output.completion,
            "error" if sample.error else finish_of(stopped), output.usage.output_tokens if output.usage else 0,
            sha256_text(asked),
        )  # fmt: skip


def _is_ours(about: Any) -> TypeGuard[Mapping[str, str]]:
    keys = ("task", "split", "item", "annotator")
    return isinstance(about, Mapping) and "asks" not in about and all(isinstance(about.get(k), str) for k in keys)


def _conflicts(rows: Iterable[LoggedAnswer]) -> Iterator[str]:
    """Questions that are answered twice, and tasks or splits that would be written to one file."""
    seen, sources = set[tuple[str, Pair, int]](), dict[str, set[str]]()
    for (task_ref, split), row in rows:
        name = task_of(task_ref).name
        sources.setdefault(name, set()).add(f"{task_ref} ({split})")
        key = (name, (row.item, row.annotator), row.sample)
        if key in seen:
            yield f"{name}: item {row.item}, annotator {row.annotator}, sample {row.sample} is answered twice"
        seen.add(key)
    for name, own in sources.items():
        if len(own) > 1:
            yield f"{name}: answers to {', '.join(sorted(own))}; import the logs one by one, each with its own --out"


def _write(rows: Sequence[LoggedAnswer], out: Path) -> dict[str, Path]:
    files = {}
    for task_ref, split in dict.fromkeys(key for key, _ in rows):
        task = task_of(task_ref)
        ordered = in_question_order(task, split, [row for key, row in rows if key == (task_ref, split)])
        files[task.name] = out / task.name / "generations.jsonl", generation_lines(ordered)
    other = [str(path) for path, text in files.values() if path.exists() and path.read_text("utf-8") != text]
    if other:
        raise RunError(all_problems("other answers are there already; choose another --out:", other))
    for path, text in files.values():
        write_atomic(path, text)
    return {name: path for name, (path, _) in files.items()}
