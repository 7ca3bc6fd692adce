"""Raw text -> label and explanation, or the reason why not. A label is read, never guessed.

Accepted: the line format (`Label: neutral` / `Explanation: ...`, either order, any case, Markdown marks,
code fences, prose around it), one JSON object with the same keys, or a reply that opens with a bare label.
A label field that holds anything but exactly one allowed label is passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from .types import Annotation, Label, Task

LABEL_KEYS = ("label", "score", "answer", "rating")
EXPLANATION_KEYS = ("explanation", "reason", "rationale", "justification")

_MARK = r"[ \t*_`#>\"'-]*"  # stays on its line, so that a search is linear
_LABEL_LINE = re.compile(rf"^{_MARK}(?:{'|'.join(LABEL_KEYS)}){_MARK}[:=](?P<value>.*)$", re.I | re.M)
_EXPLANATION_LINE = re.compile(rf"^{_MARK}(?:{'|'.join(EXPLANATION_KEYS)})\b{_MARK}?[:=][ \t]*[*_]*", re.I | re.M)
_THINK = re.compile(r"<think>.*?(?:</think>|\Z)", re.S | re.I)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[\w-]*[ \t]*$", re.M)
_INTEGER = re.compile(r"(?P<sign>[+−–-]?)\s?(?P<digits>\d+)(?:\.0+(?!\d))?(?![\w/%]|\.\d)")
_AFTER = re.compile(r"\s*(?:$|[.,;:(\n]|[-–—]\s|\*|_|`|\"|')")
_OUTER = " \t\"'`*_“”‘’[]"


@dataclass(frozen=True)
class Parsed:
    """label None: no answer, and `reason` says why ("empty", "no label", "out of range").

    thought: did the text hold a think block (dropped before parsing)?
    """

    label: Label | None
    explanation: str
    reason: str = ""
    thought: bool = False


def parse(text: str, task: Task) -> Parsed:
    """Read one answer."""
    without = _THINK.sub("", text)
    thought = without != text
    # a template may open the block in the prompt, so that only its end is in the text
    _head, mark, tail = without.rpartition("</think>")
    if mark:
        without, thought = tail, True
    body = _FENCE.sub("", without)
    if not body.strip():
        return Parsed(None, "", "empty", thought)
    reader = _Reader(task)
    found = reader.from_json(body) or reader.from_lines(body) or reader.from_opening(body)
    if found is None:
        return Parsed(None, "", "out of range" if reader.out_of_range else "no label", thought)
    label, explanation = found
    return Parsed(label, explanation.strip(), "", thought)


def to_annotation(item: str, annotator: str, parsed: Parsed) -> Annotation | None:
    """The answer as an annotation; None where there is none."""
    return None if parsed.label is None else Annotation(item, annotator, parsed.label, parsed.explanation)


class _Reader:
    def __init__(self, task: Task) -> None:
        self.task = task
        self.out_of_range = False
        # longest first: "not offensive" before "not"
        self.names = {str(label).casefold(): label for label in sorted(task.labels, key=lambda x: -len(str(x)))}

    def from_json(self, body: str) -> tuple[Label, str] | None:
        for fields in _objects(body):
            for key in LABEL_KEYS:
                label = self._json_label(fields.get(key))
                if label is not None:
                    texts = [v for k in EXPLANATION_KEYS if isinstance(v := fields.get(k), str)]
                    return label, texts[0] if texts else ""
        return None

    def _json_label(self, value: object) -> Label | None:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return None
        whole = isinstance(value, float) and value.is_integer()
        found = self._label(str(int(value)) if whole else str(value))
        return found[0] if found and not found[1].strip(" .") else None

    def from_lines(self, body: str) -> tuple[Label, str] | None:
        for match in _LABEL_LINE.finditer(body):
            found = self._label(match["value"])
            if found is None:
                continue
            label, rest = found
            return label, _explanation(body, match.start(), match.end(), rest)
        return None

    def from_opening(self, body: str) -> tuple[Label, str] | None:
        """A reply that starts with nothing but the label, or with the label and a stop."""
        first, _, _rest = body.strip().partition("\n")
        found = self._label(first)
        if found is None or (self.task.kind == "ordinal" and found[1].strip(_OUTER + ".")):
            return None
        return found[0], _explanation(body, body.index(first), body.index(first) + len(first), found[1])

    def _label(self, value: str) -> tuple[Label, str] | None:
        """The label that `value` opens with and what follows it on the line; None if that is not one label."""
        value = value.strip(_OUTER)
        label, rest = self._integer(value) if self.task.kind == "ordinal" else self._name(value)
        if label is None or not _AFTER.match(rest):
            return None
        rest = rest.lstrip(_OUTER + ".,;:-–—()")
        again = self._integer(rest) if self.task.kind == "ordinal" else self._name(rest)
        alternative = re.match(r"(?:or|and|to|/|\|)\b", rest, re.I)
        if (again[0] is not None and _AFTER.match(again[1])) or alternative:
            return None
        return label, rest

    def _name(self, value: str) -> tuple[Label | None, str]:
        folded = value.casefold()
        for name, label in self.names.items():
            if folded.startswith(name):
                return label, value[len(name) :]
        return None, value

    def _integer(self, value: str) -> tuple[Label | None, str]:
        match = _INTEGER.match(value)
        if not match:
            return None, value
        if len(match["digits"]) > 9:
            self.out_of_range = True
            return None, value
        number = int(match["digits"]) * (-1 if match["sign"] in ("-", "−", "–") and match["sign"] else 1)
        if number not in self.task.labels:
            self.out_of_range = True
            return None, value
        return number, value[match.end() :]


def _explanation(body: str, start: int, end: int, rest: str) -> str:
    """The explanation field, up to the next label field; without one, the prose after the label."""
    match = _EXPLANATION_LINE.search(body, end) or _EXPLANATION_LINE.search(body, 0, start)
    if match is None:
        following = _LABEL_LINE.search(body, end)
        tail = body[end : following.start() if following else len(body)]
        return f"{rest}\n{tail}" if rest.strip() else tail
    if match.start() < start:
        return body[match.end() : start]
    following = _LABEL_LINE.search(body, match.end()) or _EXPLANATION_LINE.search(body, match.end())
    return body[match.end() : following.start() if following else len(body)]


def _objects(body: str) -> Iterable[dict[str, object]]:
    """Every JSON object in the text that has a label key, keys lower-cased, in order."""
    decoder = json.JSONDecoder()
    position = body.find("{")
    tries = 0
    while position >= 0 and tries < 50:
        tries += 1
        try:
            value, end = decoder.raw_decode(body, position)
        except (ValueError, RecursionError):
            end = position + 1
        else:
            if isinstance(value, dict):
                fields = {str(k).strip().casefold(): v for k, v in value.items()}
                if any(k in fields for k in LABEL_KEYS):
                    yield fields
        position = body.find("{", end)
