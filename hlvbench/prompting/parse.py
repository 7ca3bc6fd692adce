"""Raw text -> label and explanation, or the reason why not. A label is read, never guessed.

What is read: two lines (`Label: neutral`, `Explanation: ...`) in either order or one, their forms as headings, tags or
JSON, a label in `\\boxed{}`, or a reply that opens with the bare label.

* The first label field decides. One that holds anything but exactly one allowed label makes the answer unreadable.
* The answer ends at a special token, and at a line that opens with a shown field name of the task, with the prompt's
  first words or with a chat role. Before any label or explanation such lines are an echo of the question if nothing
  stands before them, if a line that ends in a colon introduces them, or if they repeat an input text outside train.
  Otherwise they open an invented example, and nothing of it is read.
* Reasoning blocks are dropped and marked; an unfinished one makes the answer unreadable.

Structure is matched on a folded copy of the text (`_fold`); the explanation is cut from the text itself.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

from ..text import raw
from ..types import Annotation, Label, Task
from .reasoning import first_turn, without_reasoning

LABEL_KEYS = ("label", "score", "answer", "rating")
EXPLANATION_KEYS = ("explanation", "reason", "reasoning", "rationale", "justification")
PROMPT_OPENING = "You are annotator"
"""The first words of every instruction."""
EXAMPLES_OPENING = "Examples of how this annotator answered:"
"""Stands above the worked examples of a prompt."""

_DROPPED = re.compile(
    rf"</(?:{'|'.join((*LABEL_KEYS, *EXPLANATION_KEYS))}|response|output|solution)>|^[ \t]*(?:```|~~~)[\w-]*[ \t]*$",
    re.I | re.M,
)
# for folded text; alternatives never overlap, so that every search is linear
_MARKS = r"(?:[^\w\n]|_)*"
_SEPARATORS = r'(?:[\s"*_`.,;:!()\[\]{}<>$|-]|\\[n)\]])*'
_QUALIFIED = r'(?P<quoted>")?[ \t]*(?:\([^()\n]{0,60}\)|\[[^\[\]\n]{0,60}\])?[ \t*_`"]*(?:is[ \t*_`"]*)?'
_GIVEN = r"[:=][*_`]*|[>\])]"
_BECAUSE = r"\s+(?:because|since|as|due|given)\b"
_ALTERNATIVE = re.compile(r"(?:or|and|to|of|out of|vs)\b")
_REPEATED = re.compile(rf"\W*(?:(?:user|human|system)\b\W*)?{PROMPT_OPENING}\b", re.I)
_SEPARATED, _EXPLAINED = re.compile(_SEPARATORS), re.compile(_BECAUSE)


@dataclass(frozen=True)
class Parsed:
    """label None: no answer, and `reason` says why ("empty", "no label", "out of range", "unfinished reasoning").

    thought: did the text hold a reasoning block (dropped before parsing)?
    """

    label: Label | None
    explanation: str
    reason: str = ""
    thought: bool = False


def parse(text: str, task: Task) -> Parsed:
    """Read one answer. Of a reasoning block that the prompt opened, a run's text begins with the tag."""
    kept, thought = without_reasoning(text)
    if kept is None:
        return Parsed(None, "", "unfinished reasoning", True)
    body = _without_examples(first_turn(_DROPPED.sub("\n", kept)), task)
    if not body:
        return Parsed(None, "", "empty", thought)
    answer = _Answer(body, task)
    label, explanation = answer.read()
    return Parsed(label, explanation, "" if label is not None else answer.reason, thought)


def _without_examples(body: str, task: Task) -> str:
    """A reply that repeats a prompt with worked examples, from the question on: its first text is no train input."""
    if EXAMPLES_OPENING not in body or not _REPEATED.match(body):
        return body
    name, shown = next(iter(task.fields.items()))
    train = set(task.splits.get("train", ()))
    asked = {f"{shown}: {raw(i.text[name])}".partition("\n")[0] for i in task.items.values() if i.id not in train}
    lines = body[body.index(EXAMPLES_OPENING) :].splitlines(keepends=True)
    start = next((n for n, line in enumerate(lines) if line.strip() in asked), len(lines))
    return "".join(lines[start:]).strip()


def to_annotation(item: str, annotator: str, parsed: Parsed) -> Annotation | None:
    """The answer as an annotation; None where there is none."""
    return None if parsed.label is None else Annotation(item, annotator, parsed.label, parsed.explanation)


@cache
def _fold(char: str) -> str:
    """One character as structure sees it: NFKD, no case, one dash, quote, bracket and bullet, no format characters."""
    category = unicodedata.category(char)
    if char in "\r\x0b\x0c\x85\u2028\u2029":
        return "\n"
    if category in ("Cf", "Cs", "Me") or (category == "Cc" and char not in "\n\t") or "\ufe00" <= char <= "\ufe0f":
        return ""
    if char.isnumeric() and not char.isdecimal():
        # "4²" is not 42
        return char
    return "".join(map(_unified, unicodedata.normalize("NFKD", char).casefold()))


def _unified(char: str) -> str:
    category, name = unicodedata.category(char), unicodedata.name(char, "")
    if category == "Pd" or name.endswith(("MINUS SIGN", "SWUNG DASH")):
        # dashes that part sentences stand without spaces
        return " - " if char in "—―⸺" else "-"
    if category in ("Pi", "Pf") or char == "'":
        return '"'
    if "BULLET" in name or "MIDDLE DOT" in name or "\u25a0" <= char <= "\u25ff":
        return "*"
    bracket = {"Ps": "(", "Pe": ")"}.get(category, char) if char > "\x7f" else char
    return {"。": ".", "।": ".", "、": ",", "،": ","}.get(char, bracket)


def _folded(text: str) -> str:
    return " ".join("".join(map(_fold, text)).split())


class _Words:
    """The regular expressions of a task, for folded text."""

    def __init__(self, kind: str, labels: tuple[Label, ...], shown: tuple[str, ...]) -> None:
        self.own = "score" if kind == "ordinal" else "label"
        self.names = {_folded(str(label)): label for label in labels}
        fields = {_folded(name) for name in shown} - {self.own}
        keys = {
            "label": [k for k in LABEL_KEYS if k not in fields],
            "why": [k for k in EXPLANATION_KEYS if k not in fields],
            "field": sorted(fields, key=len, reverse=True),
        }
        groups = "|".join(f"(?P<{name}>{'|'.join(map(re.escape, words))})" for name, words in keys.items() if words)
        mark = rf"(?:\d{{1,2}}|[a-z]|answer|response|output|assistant)[.):>]{_MARKS}"
        words = "(?:(?:my|the|your|final|predicted|overall|chosen|assigned|similarity) )*"
        self.field = re.compile(
            rf'(?:^{_MARKS}(?:{mark})?{words}|(?P<inner>[{{,][ \t\n]{{0,40}}"))(?:{groups})'
            rf'(?(inner)(?=")){_QUALIFIED}(?:{_GIVEN}|$)'
            rf"|(?P<boxed>\\f?box(?:ed)?\s?\{{)|^{_MARKS}(?P<turn>{re.escape(_folded(PROMPT_OPENING))}\b"
            rf"|(?:user|human|assistant|instruction){_MARKS}(?::|$)|system{_MARKS}$)",
            re.M,
        )
        why = rf"{_SEPARATORS}(?:{'|'.join(keys['why']) or '(?!)'}){_QUALIFIED}(?:{_GIVEN})"
        self.inline = re.compile(why)
        self.closing = re.compile(rf'(?<=[.!?;"*)\]|])\s+{_MARKS}{self.own}[ \t*_`"]*[:=][*_`]*')
        name, listed = r"[+-]?\s?\d+(?:\.0+(?!\d))?(?![\w%/])", ""
        if kind != "ordinal":
            longest_first = sorted(self.names, key=len, reverse=True)
            name = "|".join(r"[^\S\n]+".join(map(re.escape, n.split(" "))) for n in longest_first)
            listed = r"|-\s|\d{1,2}[.)]\s|[a-z]\)\s"
        follows = rf'\s*(?:$|[.,;:!()\]}}>*_`$]|"(?!\w)|-\s|\\[)\]])|{_BECAUSE}|{why.replace("?P<quoted>", "?:")}'
        self.label = re.compile(
            rf'(?P<lead>(?:[\s"(*_`$\[{{<#]|\\[a-z]{{0,12}}\s?[({{\[]|{self.own}\s?:{listed})*?)'
            rf"(?P<name>{name})(?![.,:]\d)(?={follows})"
        )


_words = lru_cache(maxsize=64)(_Words)


class _Answer:
    """One text with its folded copy: `plain`, up to the answer's end, where `at` leads back to the text."""

    def __init__(self, body: str, task: Task) -> None:
        self.body, self.task, self.reason = body, task, "no label"
        self.words = _words(task.kind, task.labels, tuple(task.fields.values()))
        folded = [(c, i) for i, char in enumerate(body) for c in _fold(char)]
        self.plain = "".join(c for c, _ in folded)
        self.at = [i for _, i in folded] + [len(body)]
        self.fields = list(self._fields())

    def _fields(self) -> Iterator[re.Match[str]]:
        """Label and explanation fields in order."""
        answered, echoed = 0, set[str]()
        for match in self.words.field.finditer(self.plain):
            name = match["field"] or match["turn"]
            if not name:
                answered = match.end()
                yield match
            elif answered or name in echoed or not (echoed or self._echoes(match)):
                self.plain = self.plain[: match.start()].rstrip()
                before, _, last = self.plain.rpartition("\n")
                if last.endswith(":") and len(before) >= answered > 0:
                    # "Now annotate:"
                    self.plain = before
                return
            else:
                echoed.add(name)

    def _echoes(self, match: re.Match[str]) -> bool:
        before = self.plain[: match.start()].rstrip()
        if before.endswith(":") or not re.search(r"\w", before):
            return True

        def first_line(text: str) -> str:
            return text.strip(" \t\n*_`\"'“”").partition("\n")[0].rstrip(" \t*_`\"'“”")

        train = set(self.task.splits.get("train", ()))
        texts = (t for item in self.task.items.values() if item.id not in train for t in item.text.values())
        return first_line(self.body[self.at[match.end()] :]) in map(first_line, texts)

    def read(self) -> tuple[Label | None, str]:
        """The label and the explanation; None and "" where there is no label to read, and `reason` says why."""
        labels = [f for f in self.fields if not f["why"]]
        if len(labels) > 1 and not self.plain[labels[0].end() : labels[1].start()].strip():
            # "Answer:" may stand above the label field, and any word above JSON
            del labels[: labels[0]["label"] != self.words.own or self.plain[labels[1].start()] == "{"]
        first = labels[0] if labels else None
        position, found = _object(self.body[: self.at[len(self.plain)]])
        if found and (first is None or position < self.at[first.end() - 1]):
            return self._json(found)
        start = first.end() if first else 0
        label = self._label(start, opening=first is None)
        if label is None:
            return self._closing(self.fields[0].end()) if self.fields and first is None else (None, "")
        return label[0], self._explanation(start, label[1])

    def _closing(self, start: int) -> tuple[Label | None, str]:
        """The label that closes an explanation on its own line, as in "Explanation: it says so. Label: neutral"."""
        match = self.words.closing.search(self.plain, start)
        label = match and self._label(match.end(), opening=False)
        if not match or not label or re.search(r"\w", self.plain[label[1] :]):
            return None, ""
        return label[0], self._text(start, match.start(), self.fields[0])

    def _label(self, start: int, opening: bool) -> tuple[Label, int] | None:
        """The label at `start`, or on the next line that is not blank, and where it ends."""
        value = len(self.plain) - len(self.plain[start:].lstrip())
        later = [f.start() for f in self.fields if f.start() >= value and not f["boxed"]]
        end = min(p for p in (self.plain.find("\n", value), *later, len(self.plain)) if p >= 0)
        match = self.words.label.match(self.plain, value, end)
        if match is None or ("<" in match["lead"] and ">" not in self.plain[match.end() : match.end() + 3]):
            return None
        name, after = " ".join(match["name"].split()), match.end()
        rest = _SEPARATED.match(self.plain, after, end).end()  # type: ignore[union-attr]
        if self.words.label.match(self.plain, rest, end) or _ALTERNATIVE.match(self.plain, rest, end):
            return None
        numeric = self.task.kind == "ordinal"
        if opening and (numeric or name.isdecimal()) and rest < end and not _EXPLAINED.match(self.plain, after, end):
            # "3. something" is a list
            return None
        if not numeric:
            return self.words.names[name], after
        if name[1:2] == " " and (value == 0 or "\n" in self.plain[start:value]):
            # a list mark or a sign
            return None
        digits = name.replace(" ", "").partition(".")[0]
        label = int(digits) if len(digits) < 10 else None
        if label not in self.task.labels:
            self.reason = "out of range"
            return None
        return label, after

    def _explanation(self, start: int, end: int) -> str:
        """The explanation of the label field that starts at `start`, and whose label ends at `end`.

        Without an explanation field it is the text after the label, up to the next label field.
        """
        later = [f for f in self.fields if f.start() >= end]
        field = self.words.inline.match(self.plain, end) or next((f for f in later if f["why"]), None)
        cut = next((f.start() for f in later if not f["why"]), len(self.plain))
        if field and cut < field.start() and re.search(r"\w", self.plain[end:cut]):
            # it belongs to another label
            field = None
        elif field is None:
            field = next((f for f in self.fields if f["why"] and f.end() <= start), None)
        if field:
            end = field.end()
            return self._text(end, min([f.start() for f in self.fields if f.start() >= end] + [len(self.plain)]), field)
        after = _SEPARATED.match(self.plain, end, cut).end()  # type: ignore[union-attr]
        while after > end and self.plain[after - 1] in '*_`"(':
            after -= 1
        return _bare(self._text(after, cut), "()")

    def _text(self, start: int, end: int, field: re.Match[str] | None = None) -> str:
        """The text between two positions of `plain`, without what is left over of its form."""
        folded = self.plain[start:end]
        start, end = end - len(folded.lstrip()), start + len(folded.rstrip())
        text = self.body[self.at[start] : self.at[end - 1] + 1] if start < end else ""
        if field and field["quoted"]:
            # JSON that could not be read as such
            text = text.rstrip(" \t\r\n,}]")
            text = re.sub(r"\A[\"'](.*?)[\"']?\Z", r"\1", text, flags=re.S).replace('\\"', '"').replace("\\n", "\n")
        return _tidy(text)

    def _json(self, found: dict[str, object]) -> tuple[Label | None, str]:
        value = next(found[key] for key in (self.words.own, *LABEL_KEYS) if key in found)
        if not isinstance(value, str | int | float):
            return None, ""
        inner = _Answer(str(value), self.task)
        label = inner._label(0, opening=True)
        self.reason = inner.reason
        if label is None or re.search(r"\w", inner.plain[label[1] :]):
            return None, ""
        return label[0], next((_tidy(v) for k in EXPLANATION_KEYS if isinstance(v := found.get(k), str)), "")


def _tidy(text: str) -> str:
    """Without marks and brackets around the whole, or at its end without a beginning."""
    text = text.strip()
    shorter = text.rstrip(" \t\r\n*_`~#=|-")
    # a rule or a heading mark on lines of its own
    text = shorter + text[len(shorter) :].partition("\n")[0].rstrip()
    for mark in "*_`~":
        without = text.rstrip(mark)
        closing = text[len(without) :]
        if mark == "_" != text[:1]:
            # "snake_" is a word
            continue
        if mark not in text.strip(mark):
            text = text.strip(mark)
        elif closing and without.count(closing) % 2 == 0:
            text = without
    return _bare(_bare(_bare(text, "{}", whole=False), "[]"), "<>").strip()


def _bare(text: str, pair: str, whole: bool = True) -> str:
    """Without a pair of brackets around the whole, or a last one that nothing opens."""
    opens, closes = map(text.count, pair)
    if not text.endswith(pair[1]):
        return text
    if opens == closes == 1 and whole and text.startswith(pair[0]):
        return text[1:-1]
    return text[:-1] if closes > opens else text


def _object(body: str) -> tuple[int, dict[str, object]]:
    """The first JSON object in the text that has a label key, keys in lower case, with its position; {} if none."""
    position, decoder = body.find("{"), json.JSONDecoder()
    for _ in range(50):
        if position < 0:
            break
        try:
            value, _end = decoder.raw_decode(body, position)
        except (ValueError, RecursionError):
            value = {}
        fields = {str(key).strip().casefold(): inner for key, inner in value.items()}
        if any(not isinstance(fields.get(key, {}), dict) for key in LABEL_KEYS):
            return position, fields
        position = body.find("{", position + 1)
    return -1, {}
