"""A judge's raw reply -> one letter, or none. A letter is read, never guessed."""

from __future__ import annotations

import re
from dataclasses import replace

from ..prompting.parse import parse
from ..prompting.reasoning import first_turn, without_reasoning
from ..types import Task

_NOUN = "(?i:answer|writer|author|person|letter|choice|option|verdict|decision|conclusion|guess|prediction)"
_OPEN = r"[\s:\"'“‘*_`(\[{<$]{0,20}"
# "A" before a small word is an article; "B or C" names nobody
_LETTER = (
    rf"(?:{_NOUN}\s)?{_OPEN}(A(?!\s+(?!(?:because|since|as|due|given)\b)[a-z])|[B-D])(?![\w'’])"
    rf"(?!\W{{0,3}}\s(?:or|and|nor)\s+(?:{_NOUN}\s)?[A-D]\b|\s?[/&,]\s?[A-D]\b(?!\s[a-z]))"
)
_HEDGE = "(?i:(?:therefore |thus |then |most |very )*(?:likely |probably |clearly |certainly |the )?)"
_DECLARED = re.compile(
    rf"\b{_NOUN}\b[^.\n]{{0,30}}?(?:\b(?:is|was|be)\b|[:=]){_OPEN}{_HEDGE}{_LETTER}"
    rf"|(?<!not )(?<!n't )\b(?i:written by|choose|pick|select|go with) {_LETTER}"
    rf"|\b([A-D])\s(?:(?:is|was)\s{_HEDGE}(?:the )?(?:most likely )?{_NOUN}|wrote (?:it|this))\b"
)
# "A: long sentences" above "B: dashes": what a judge says of each
_OF_EACH = re.compile(rf"^[^\w\n]*(?:{_NOUN} )?([A-D])\W{{0,3}}:.*", re.M)
_LETTER_LINE = re.compile(r"[\W_]*([A-Da-d])[\W_]*")
_LAST_LINE = re.compile(rf"[\W_]*(?:(?:[Tt]he )?{_NOUN}[\W_]+)?([A-Da-d])[\W_]*")


def read_letter(text: str, letters: str, task: Task) -> str | None:
    """The letter that a reply names; None if it names none, several, or one that was not on offer.

    A reply names a letter by a field, JSON or its opening, which are read as in answers (`parse`: "Answer: B",
    {"answer": "B"}, "B) because ..."), by a sentence ("The writer is B.") and by a first or last line that holds
    nothing else ("B"; "Writer B" as the last). What stands in a reasoning block does not count.
    """
    said = first_turn(without_reasoning(text)[0] or "")
    if len(set(_OF_EACH.findall(said))) > 1:
        said = _OF_EACH.sub("", said)
    lines = [line for line in said.splitlines() if line.strip()]
    alone = [_LETTER_LINE.fullmatch(line) for line in lines[:1]] + [_LAST_LINE.fullmatch(line) for line in lines[-1:]]
    named = {match[1].upper() for match in alone if match}
    named |= {letter for found in _DECLARED.findall(said) for letter in found if letter}
    label = parse(said, replace(task, kind="nominal", labels=tuple(letters))).label
    named |= {str(label)} if label is not None else set()
    (only,) = named if len(named) == 1 else (None,)
    return only if only is not None and only in letters else None
