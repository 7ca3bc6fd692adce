"""A judge's reply names one letter or none; nothing is guessed."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlvbench.judging.judge_prompt import read_letter
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
        ("Final answer: B", "B"),
        ("**Final Answer:** **(B)**", "B"),
        ("My final verdict is: B.", "B"),
        ("Writer B", "B"),
        ("The author: b", "B"),
        ("B) because it is terse", "B"),
        ("B because A is longer", "B"),
        ("[[B]]", "B"),
        ("\\boxed{B}", "B"),
        ("<answer>B</answer>", "B"),
        ("### Answer\nB", "B"),
        ("Ａｎｓｗｅｒ：Ｂ", "B"),
        ("\ufeffB<|im_end|>", "B"),
        ("Writer A likes dashes, writer C is terse. A quotes; so does this one, but for B.\n\nB", "B"),
        ("A: long sentences\nB: dashes\n\nThis has dashes.\n\n**B**", "B"),
        ("It has dashes like those of B, so I choose B.", "B"),
        ("The most likely writer is therefore B, not A.", "B"),
        ("It was most likely written by writer B.", "B"),
        ("B is the most likely writer, since A is terse.", "B"),
        ("Answer: B\nA is too terse, C too formal.", "B"),
        ("[THINK]A[/THINK]B", "B"),
        ("analysisThe writer is A.assistantfinalB", "B"),
        ("Answer: A\n\nOn second thought.\n\nFinal answer: B", None),
        ("A\n\nNo, wait.\n\nB", None),
        ("The writer is A.\n\nB", None),
        ("Answer: A or B", None),
        ("Final answer: A/B", None),
        ("The writer is B or C.", None),
        ("Answer: A, B", None),
        ("Writer A likes dashes, writer B does not.", None),
        ("The answer is A dog", None),
        ("The writer is not B.", None),
        ("It was not written by B.", None),
        ("[THINK]The writer is B.", None),
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


@pytest.mark.parametrize("piece", ["\n", " ", "*\n", "A: \n", "answer is ", "answer: ", "B, ", "the writer\n", "("])
def test_hostile_replies_are_read_in_linear_time(piece: str) -> None:
    def seconds(size: int) -> float:
        started = time.process_time()
        read_letter("answer is" + piece * (size // len(piece)) + "x", "ABCD", TASK)
        return time.process_time() - started

    seconds(1000)
    # twenty times the text: 20 in linear time, 400 in quadratic; short times are noise
    assert seconds(60_000) < max(100 * seconds(3000), 0.6)
