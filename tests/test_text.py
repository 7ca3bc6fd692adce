"""The two views of a text."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlvbench.text import norm


@pytest.mark.parametrize(
    "word",
    ["प्रधानमन्त्री", "வணக்கம்", "ไม่ใช่", "مُحَمَّد", "שָׁלוֹם", "ọ̀rọ̀", "x̌y", "മലയാളം", "ខ្មែរ", "မြန်မာ", "দুঃখ"],
)
def test_a_word_with_combining_marks_is_one_word(word: str) -> None:
    composed = unicodedata.normalize("NFC", word)
    assert norm(word) == composed
    assert norm(f"{word}, {word}।") == f"{composed} {composed}"


def test_joiners_inside_a_word_go_and_marks_of_symbols_do_not_stay() -> None:
    assert norm("می\u200cخواهم") == "میخواهم"
    assert norm("क्\u200dष") == "क्ष"
    assert norm("\u2764\ufe0f love it 1\ufe0f\u20e3") == "love it 1"
    assert norm("a \u0301b\u200d c") == "a b c"


def test_a_hindi_word_in_an_english_sentence_is_whole() -> None:
    assert norm("The word “प्रधानमन्त्री” is long.") == "the word प्रधानमन्त्री is long"


@given(st.text(st.characters(exclude_categories=["Mn", "Mc", "Cs"], exclude_characters="\u200c\u200d")))
def test_without_marks_every_run_of_other_characters_is_one_space(text: str) -> None:
    composed = unicodedata.normalize("NFC", text).lower()
    if not any(unicodedata.category(c) in ("Mn", "Mc") for c in composed):
        assert norm(text) == re.sub(r"\W+", " ", composed).strip()
