"""Raw text -> label and explanation, or the reason why not. A label is read, never guessed.

What is read: two lines (`Label: neutral`, `Explanation: ...`) in either order, their forms as headings, tags or JSON,
a label in `\\boxed{}`, or a reply that opens with the bare label.

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

from .types import Annotation, Label, Task

LABEL_KEYS = ("label", "score", "answer", "rating")
EXPLANATION_KEYS = ("explanation", "reason", "reasoning", "rationale", "justification")
PROMPT_OPENING = "You are annotator"

_THOUGHT = (
    r"(?:think(?:ing)?|thoughts?|reasoning|reflect(?:ion)?|scratch_?pad|analysis|cot|inner_(?:pre|suf)fix|monologue)"
)
_REASONING = re.compile(
    rf"(?P<tag>(?:<[|｜]?|◁)/?(?:[\w-]{{1,16}}[_:-])?(?P<family>{_THOUGHT})(?:[_-]\w{{1,16}})?(?:\s[^<>\n]{{0,99}})?(?:[|｜]?>|▷)"
    r"|(?-i:\[/?(?:BEGIN_|END_)?(?:THINK(?:ING)?|THOUGHT|REASONING)\]))"
    r"|(?P<open><\|channel\|?>\s*(?:analysis|commentary|thought)\b|<unused94>|\[unused16\]"
    r"|\A\s*here(?:'s| is) my thought process:|(?-i:\A\s*analysis(?![a-z:\s])|\A\s*analysis (?=[A-Z])"
    r"|assistant(?:analysis|commentary)))"
    r"|(?P<close><channel\|>|<unused95>|\[unused17\])"
    r"|(?P<final><\|channel\|>\s*final\b[^<\n]{0,40}(?:<\|constrain\|>\w*)?(?:<\|message\|>)?"
    r"|(?-i:assistant\n?final|\A\s*final(?=[A-Z{*#])))"
    r"|(?P<granite>here(?:'s| is) my response:)",
    re.I,
)
_CLOSING = re.compile(r"^\W*/|(?:^|[^a-z])end(?:[^a-z]|$)|suffix", re.I)
_DROPPED = re.compile(
    rf"</(?:{'|'.join((*LABEL_KEYS, *EXPLANATION_KEYS))}|response|output|solution)>"
    r"|<[|｜]\w*(?:box|solution|response|answer|content|message|output)\w*[|｜]>|^[ \t]*(?:```|~~~)[\w-]*[ \t]*$",
    re.I | re.M,
)
_SPECIAL = re.compile(
    r"<[|｜][^<>|｜\n]{1,40}[|｜]>|<\|?(?:turn|eo[sdt]|[bs]os|pad|unk|(?:start|end)_?of_?\w{1,12})\|?>|</?s>|<<?/?SYS>>?"
    r"|\[(?:/?INST|EOS|BOS|PAD|UNK)\]",
    re.I,
)
_ROLE = re.compile(r"\A(?:assistant[ \t]*:|(?:assistant|model)(?:[ \t]*\n|\s*\Z))", re.I)

# on folded text; runs of one class only, so that every search is linear
_MARK = r"(?:[^\w\n]|_)*"
_POST = r'(?P<quoted>")?[ \t]*(?:\([^()\n]{0,60}\)|\[[^\[\]\n]{0,60}\])?[ \t*_`"]*(?:is[ \t*_`"]*)?(?:[:=][*_`]*|[>\]]'
_SEPARATOR = r'(?:[\s"*_`.,;:!()\[\]{}<>$|-]|\\n)*'
_BECAUSE = r"\s+(?:because|since|as|due|given)\b"
_ALTERNATIVE = re.compile(r"(?:or|and|to|of|out of|/|\||~|vs)\b")
_SEPARATORS, _REASON_FOLLOWS = re.compile(_SEPARATOR), re.compile(_BECAUSE)
_TRIMMED = " \t*_`\"'“”"


@dataclass(frozen=True)
class Parsed:
    """label None: no answer, and `reason` says why ("empty", "no label", "out of range", "unfinished reasoning").

    thought: did the text hold a reasoning block (dropped before parsing)?
    """

    label: Label | None
    explanation: str
    reason: str = ""
    thought: bool = False


def parse(text: str, task: Task, opened: bool = False) -> Parsed:
    """Read one answer.

    opened: the prompt ended inside a reasoning block, so that the text begins in it. Where this is not known, a text
    without a closing tag is taken for an answer.
    """
    said, thought = without_reasoning(text, opened)
    if said is None:
        return Parsed(None, "", "unfinished reasoning", True)
    body = next((turn for turn in _turns(_DROPPED.sub("", said)) if turn.strip()), "")
    if not body:
        return Parsed(None, "", "empty", thought)
    answer = _Answer(body, task)
    label, explanation = answer.read()
    return Parsed(label, explanation, "" if label is not None else answer.reason, thought)


def to_annotation(item: str, annotator: str, parsed: Parsed) -> Annotation | None:
    """The answer as an annotation; None where there is none."""
    return None if parsed.label is None else Annotation(item, annotator, parsed.label, parsed.explanation)


def without_reasoning(text: str, opened: bool = False) -> tuple[str | None, bool]:
    """The text without reasoning blocks, None if one is unfinished; and whether there was any.

    A closing tag without an opening one ends a block that the prompt opened: what stands before it is dropped.
    """
    kept, start, thought = list[str](), 0, opened
    # the family of the block that is open ("" is any), None outside
    inside = "" if opened else None
    for match in _REASONING.finditer(text):
        family = (match["family"] or "")[:5].casefold()
        if match["open"] or (match["tag"] and not _CLOSING.search(match["tag"])):
            if inside is not None:
                continue
            kept.append(text[start : match.start()])
            if any(turn.strip() for turn in _turns("".join(kept))[:-1]):
                # the model ran on into its next turn: the answer is whole
                return "".join(kept), thought
            inside, thought = family, True
        elif inside in ("", family) or not (family if inside else match["granite"]):
            thought = thought or bool(match["tag"] or match["close"])
            kept, start, inside = [] if inside is None else kept, match.end(), None
    return (None if inside is not None else "".join([*kept, text[start:]])), thought


def _turns(text: str) -> list[str]:
    """What stands between special tokens, without the names of roles."""
    return [_ROLE.sub("", turn.lstrip()) for turn in _SPECIAL.split(text)]


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
    return "".join(_unified(c) for c in unicodedata.normalize("NFKD", char).casefold())


def _unified(char: str) -> str:
    category = unicodedata.category(char)
    if category == "Pd" or char in "−⁓":
        # dashes that part sentences stand without spaces
        return " - " if char in "—―⸺" else "-"
    if category in ("Pi", "Pf") or char == "'":
        return '"'
    if char > "\x7f" and category in ("Ps", "Pe"):
        return "(" if category == "Ps" else ")"
    if char in "。।、،":
        return "." if char in "。।" else ","
    return "*" if "BULLET" in unicodedata.name(char, "") or char in "·▪■●○◆" else char


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
        before = (
            rf"(?:^{_MARK}(?:(?:\d{{1,2}}|[a-z]|answer|response|output|assistant)[.):>]{_MARK})?"
            rf'(?:(?:my|the|your|final|predicted|overall|chosen|assigned|similarity) )*|[{{,][ \t\n]{{0,40}}")'
        )
        self.event = re.compile(
            rf"{before}(?:{groups}){_POST}|$)|(?P<boxed>\\f?box(?:ed)?\s?\{{)"
            rf"|^{_MARK}(?P<turn>{re.escape(_folded(PROMPT_OPENING))}\b"
            rf"|(?:user|human|assistant|instruction){_MARK}(?::|$)|system{_MARK}$)",
            re.M,
        )
        inline = rf"{_SEPARATOR}(?:{'|'.join(keys['why']) or '(?!)'}){_POST})"
        self.inline = re.compile(inline)
        names = sorted(self.names, key=len, reverse=True)
        name = (
            r"[+-]?\s?\d+(?:\.0+(?!\d))?(?![\w%/])"
            if kind == "ordinal"
            else "|".join(r"[^\S\n]+".join(map(re.escape, n.split())) for n in names)
        )
        follows = rf'\s*(?:$|[.,;:!?()\]}}>*_`$]|"(?!\w)|-\s)|{_BECAUSE}|{inline.replace("(?P<quoted>", "(?:")}'
        self.label = re.compile(
            r'(?P<lead>(?:[\s"(*_`$\[{<#]|\\[a-z]{1,12}\s?\{|-\s)*?)' rf"(?P<name>{name})(?![.,:]\d)(?={follows})"
        )


def _folded(text: str) -> str:
    return "".join(map(_fold, text)).strip()


_words = lru_cache(maxsize=64)(_Words)


class _Answer:
    """One text with its folded copy: `plain`, where `at` leads back to the text, up to the answer's end."""

    def __init__(self, body: str, task: Task) -> None:
        self.body, self.task, self.reason = body, task, "no label"
        self.words = _words(task.kind, task.labels, tuple(task.fields.values()))
        folded = [(c, i) for i, char in enumerate(body) for c in _fold(char)]
        self.plain = "".join(c for c, _ in folded)
        self.at = [i for _, i in folded] + [len(body)]
        self.fields = list(self._fields())

    def _fields(self) -> Iterator[re.Match[str]]:
        """Label and explanation fields, in order."""
        answered, echoed = False, set[str]()
        for match in self.words.event.finditer(self.plain):
            name = match["field"] or match["turn"]
            if not name:
                answered = True
                yield match
            elif answered or name in echoed or not (echoed or self._echoes(match)):
                self.plain = self.plain[: match.start()]
                return
            else:
                echoed.add(name)

    def _echoes(self, match: re.Match[str]) -> bool:
        before = self.plain[: match.start()].rstrip()
        if before.endswith(":") or not re.search(r"\w", before):
            return True
        line = self.body[self.at[match.end()] :].strip().partition("\n")[0].strip(_TRIMMED)
        train = set(self.task.splits.get("train", ()))
        others = (item for item in self.task.items.values() if item.id not in train)
        return any(line == text.strip().partition("\n")[0].strip(_TRIMMED) for i in others for text in i.text.values())

    def read(self) -> tuple[Label | None, str]:
        labels = [f for f in self.fields if not f["why"]]
        while len(labels) > 1 and not self.plain[labels[0].end() : labels[1].start()].strip():
            # a heading over the label field
            del labels[0]
        first = labels[0] if labels else None
        for position, found in _objects(self.body[: self.at[len(self.plain)]]):
            if first is None or position < self.at[first.end() - 1]:
                return self._json(found)
            break
        start = first.end() if first else 0
        label = self._label(start, opening=first is None)
        return (None, "") if label is None else (label[0], self._explanation(start, label[1]))

    def _label(self, start: int, opening: bool = False) -> tuple[Label, int] | None:
        """The label that stands at `start`, or on the next line with text, and where it ends."""
        value = start + len(self.plain[start:]) - len(self.plain[start:].lstrip())
        line = self.plain.find("\n", value)
        end = min(f for f in (line, *self._later(value, "boxed"), len(self.plain)) if f >= 0)
        match = self.words.label.match(self.plain, value, end)
        if match is None or ("<" in match["lead"] and ">" not in self.plain[match.end() : match.end() + 3]):
            return None
        name, numeric = " ".join(match["name"].split()), self.task.kind == "ordinal"
        fresh = value == 0 or "\n" in self.plain[start:value]
        rest = _past(_SEPARATORS, self.plain, match.end(), end)
        if self.words.label.match(self.plain, rest, end) or _ALTERNATIVE.match(self.plain, rest, end):
            return None
        alone = rest == end or _REASON_FOLLOWS.match(self.plain, match.end(), end)
        if opening and not alone and (numeric or name.isdecimal()):
            return None
        if not numeric:
            return self.words.names[name], match.end()
        if fresh and name[1:2] == " ":
            # a list mark or a sign
            return None
        digits = name.replace(" ", "").partition(".")[0]
        label = int(digits) if len(digits) < 10 else None
        if label not in self.task.labels:
            self.reason = "out of range"
            return None
        return label, match.end()

    def _explanation(self, start: int, end: int) -> str:
        """The explanation field; without one, the text after the label (from `end` on), up to the next label field."""
        later = [f for f in self.fields if f.start() >= end]
        inline = self.words.inline.match(self.plain, end)
        why = next((f for f in later if f["why"]), None)
        cut = next((f.start() for f in later if not f["why"]), len(self.plain))
        if why and cut < why.start() and re.search(r"\w", self.plain[end:cut]):
            # the field belongs to another answer
            why = None
        field = inline or why or next((f for f in self.fields if f["why"] and f.end() <= start), None)
        if field:
            return self._clean(field.end(), min([*self._later(field.end()), len(self.plain)]), bool(field["quoted"]))
        return _balanced(self._clean(_past(_SEPARATORS, self.plain, end, cut), cut), "()")

    def _clean(self, start: int, end: int, quoted: bool = False) -> str:
        """The text itself between two positions of `plain`, without what is left over of its form."""
        folded = self.plain[start:end]
        start += len(folded) - len(folded.lstrip())
        end -= len(folded) - len(folded.rstrip())
        text = self.body[self.at[start] : self.at[end - 1] + 1] if start < end else ""
        if quoted:
            text = text.rstrip(" \t\r\n,}]")
            text = text[text[:1] in ("'", '"') : len(text) - (text[-1:] in ("'", '"') and len(text) > 1)]
            text = text.replace('\\"', '"').replace("\\n", "\n")
        shorter = text.rstrip(" \t\r\n*_`~#=|-")
        if "\n" in text[len(shorter) :]:
            # a rule or a heading mark on lines of its own
            text = shorter + text[len(shorter) :].partition("\n")[0]
        for mark in "*_`~":
            without = text.rstrip(mark)
            closing = text[len(without) :]
            if mark not in text.strip(mark):
                text = text.strip(mark)
            elif closing and without.count(closing) % 2 == 0:
                text = without
        if text[:1] + text[-1:] in ("<>", "[]") and text.count(text[0]) == 1:
            text = text[1:-1]
        return _balanced(_balanced(text, "{}"), "[]").strip()

    def _later(self, position: int, but: str = "") -> list[int]:
        return [f.start() for f in self.fields if f.start() >= position and not (but and f[but])]

    def _json(self, found: dict[str, object]) -> tuple[Label | None, str]:
        value = next(found[key] for key in (self.words.own, *LABEL_KEYS) if key in found)
        if not isinstance(value, str | int | float):
            return None, ""
        inner = _Answer(str(value), self.task)
        read = inner._label(0, opening=True)
        self.reason = inner.reason
        if read is None or re.search(r"\w", inner.plain[read[1] :]):
            return None, ""
        return read[0], next((v.strip() for k in EXPLANATION_KEYS if isinstance(v := found.get(k), str)), "")


def _past(pattern: re.Pattern[str], text: str, start: int, end: int) -> int:
    """Where what matches at `start` ends."""
    match = pattern.match(text, start, end)
    return match.end() if match else start


def _balanced(text: str, pair: str) -> str:
    """Without a last closing bracket that nothing opens."""
    return text[:-1] if text.endswith(pair[1]) and text.count(pair[1]) > text.count(pair[0]) else text


def _objects(body: str) -> Iterator[tuple[int, dict[str, object]]]:
    """Every JSON object in the text that has a label key, with its position, keys lower-cased, in order."""
    decoder = json.JSONDecoder()
    position, tries = body.find("{"), 0
    while position >= 0 and tries < 50:
        tries += 1
        end = position + 1
        try:
            value, after = decoder.raw_decode(body, position)
        except (ValueError, RecursionError):
            pass
        else:
            fields = {str(k).strip().casefold(): v for k, v in value.items()}
            if any(k in fields and not isinstance(fields[k], dict) for k in LABEL_KEYS):
                yield position, fields
                end = after
        position = body.find("{", end)
