"""What the page says about a task, and human answers that its licence lets the page show; all from tasks/."""

from __future__ import annotations

from collections import defaultdict

from ..data.download import PinnedSpec
from ..data.splits import given_splits
from ..data.task import load_spec, load_task, task_names
from ..io import dump_json, read_json, write_atomic
from ..types import Annotation, Task
from .board_types import Example, TaskCard

EXAMPLES = "examples.json"
LEAST_ANSWERS = 3


def task_card(task: str) -> TaskCard | None:
    """The card of a built-in task, named with its version; None where tasks/ has no such task or version."""
    name, _, version = task.rpartition("@")
    spec = load_spec(name) if name in task_names() else None
    if not isinstance(spec, PinnedSpec) or spec.version != version or not spec.annotators:
        return None
    upstream, file = spec.upstream, spec.folder / EXAMPLES
    return {
        "items": {split: len(ids) for split, ids in given_splits(spec).ids.items()},
        "annotators": len(spec.annotators),
        "licence": spec.licence or "",
        "source": f"https://github.com/{upstream.repo}/tree/{upstream.revision}",
        "bytes": sum(remote.bytes for remote in upstream.files),
        "examples": read_json(file) if file.is_file() else [],
    }


def examples_of(task: Task) -> list[Example]:
    """The shortest test item of each debate of convarg on which at least three annotators disagree."""
    answers = defaultdict[str, list[Annotation]](list)
    for record in task.records_of("test"):
        answers[record.item].append(record)
    chosen = dict[str, Example]()
    for item in sorted(answers, key=lambda i: (sum(map(len, task.items[i].text.values())), i)):
        own, text = answers[item], task.items[item].text
        if len(own) < LEAST_ANSWERS or len({r.label for r in own}) == 1:
            continue
        humans = [{"annotator": r.annotator, "label": str(r.label), "explanation": r.explanation} for r in own]
        shown = {task.fields[field]: value for field, value in text.items()}
        chosen.setdefault(item.partition("_")[0], {"item": item, "text": shown, "humans": humans})
    return list(chosen.values())


def write_examples() -> None:
    """Write tasks/convarg/examples.json from the data; VariErr and R2 have no licence that permits it."""
    write_atomic(load_spec("convarg").folder / EXAMPLES, dump_json(examples_of(load_task("convarg"))))
