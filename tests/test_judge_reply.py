"""A judge's reply names one letter or none; nothing is guessed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlvbench.judge.reply import read_letter
from tests.toy import toy_task

TASK = toy_task(items=(3, 1, 1))


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        (" b.\n", "B"),
        ("**C**", "C"),
        ("(D)", "D"),
        ("Answer: A", "A"),
        ('{"answer": "C"}', "C"),
        ("A\nA 0.9085 B 0.0613 C 0.0254 D 0.0048", "A"),
        ("B - the dashes are theirs", "B"),
        ("The writer is B.", "B"),
        ("I think the answer is (C), as C is terse.", "C"),
        ("<think>A? No, surely D.</think>B", "B"),
        ("Surely A. The writer is A</think>The writer is D.", "D"),
        ("", None),
        ("E", None),
        ("A or B", None),
        ("A, B", None),
        ("A dog is mentioned", None),
        ("The writer is a careful person", None),
        ("The writer is B. Or the writer is C.", None),
        ("<think>The writer is B", None),
        ("Label: neutral\nExplanation: Because", None),
        ("I cannot tell.", None),
    ],
)
def test_a_letter_is_read_or_nothing_is(text: str, letter: str | None) -> None:
    assert read_letter(text, "ABCD", TASK) == letter


@pytest.mark.parametrize("text", ["C", "Answer: C", "The writer is C."])
def test_a_letter_that_was_not_on_offer_is_none(text: str) -> None:
    assert read_letter(text, "AB", TASK) is None


@settings(deadline=None)
@given(st.text(), st.integers(2, 4))
def test_any_text_gives_a_letter_on_offer_or_none(text: str, letters: int) -> None:
    offered = "ABCD"[:letters]
    assert read_letter(text, offered, TASK) in {*offered, None}
