"""Raw text to labels: what is read, what is refused, and that nothing is invented."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlvbench.parse import parse
from hlvbench.prompt import render_answer

from .toy import toy_task

NOMINAL, ORDINAL = toy_task(), toy_task("ordinal")


@pytest.mark.parametrize(
    ("text", "label", "explanation"),
    [
        ("Label: neutral\nExplanation: because", "neutral", "because"),
        ("label : **Neutral**.\n\n**Explanation:** x y", "neutral", "x y"),
        ('Sure!\n```json\n{"Label": "Entailment", "explanation": "a"}\n```', "entailment", "a"),
        ('{"explanation": "a {b}", "label": "neutral"}', "neutral", "a {b}"),
        ("Explanation: foo\nbar\nLabel: contradiction", "contradiction", "foo\nbar"),
        ("Label: entailment|neutral\nLabel: neutral\nExplanation: q", "neutral", "q"),
        ("neutral. The context", "neutral", "The context"),
        ("Neutral\nbecause it is", "neutral", "because it is"),
        ("**Label**: neutral - since it is", "neutral", "since it is"),
        ("- Label: neutral\n- Explanation: yes. it", "neutral", "yes. it"),
        ("Label: neutral\nExplanation: a\n\nLabel: entailment\nExplanation: b", "neutral", "a"),
        ("```\nLabel: neutral\nExplanation: a\n```", "neutral", "a"),
        ("Label: neutral", "neutral", ""),
    ],
)
def test_one_nominal_label_is_read_whatever_surrounds_it(text, label, explanation):
    found = parse(text, NOMINAL)
    assert (found.label, found.explanation) == (label, explanation)


@pytest.mark.parametrize(
    ("text", "score", "explanation"),
    [
        ("Score: -3\nExplanation: different", -3, "different"),
        ("Score: −3.", -3, ""),
        ("Score: 3.0\nx", 3, "x"),
        ("Score: +2, because", 2, "because"),
        ("Score: 2 (similar)\nExplanation: f", 2, "f"),
        ('{"score": 4, "explanation": "g"}', 4, "g"),
        ('{"score": "-4", "reason": "g"}', -4, "g"),
        ("-4\nfoo", -4, "foo"),
        ("Score: -5 to 5\nScore: 1\nExplanation: k", 1, "k"),
    ],
)
def test_one_score_is_read_whatever_surrounds_it(text, score, explanation):
    found = parse(text, ORDINAL)
    assert (found.label, found.explanation) == (score, explanation)


@pytest.mark.parametrize(
    ("task", "text", "reason"),
    [
        (NOMINAL, "", "empty"),
        (NOMINAL, "```\n```", "empty"),
        (NOMINAL, "Label: not entailment\nExplanation: z", "no label"),
        (NOMINAL, "Label: neutral or entailment", "no label"),
        (NOMINAL, "Label: neutral, entailment", "no label"),
        (NOMINAL, "Label: neutral/entailment", "no label"),
        (NOMINAL, "Label: neutrality", "no label"),
        (NOMINAL, "I think it is neutral", "no label"),
        (NOMINAL, '{"label": ["neutral"]}', "no label"),
        (ORDINAL, "Score: 3/5", "no label"),
        (ORDINAL, "Score: 3.5", "no label"),
        (ORDINAL, "Score: 2 to 3", "no label"),
        (ORDINAL, "Score: 5 out of 5", "no label"),
        (ORDINAL, "Score: 10%", "no label"),
        (ORDINAL, "3. something", "no label"),
        (ORDINAL, "Score: 1,000", "no label"),
        (ORDINAL, '{"score": true}', "no label"),
        (ORDINAL, "Score: 7", "out of range"),
        (ORDINAL, "Score: 99999999999999999999", "out of range"),
    ],
)
def test_anything_but_exactly_one_label_is_no_answer_and_says_why(task, text, reason):
    found = parse(text, task)
    assert (found.label, found.explanation, found.reason) == (None, "", reason)


@pytest.mark.parametrize(
    "text", ["<think>Label: neutral</think>Label: entailment", "hm, neutral</think>\nLabel: entailment"]
)
def test_a_think_block_is_dropped_and_marked(text):
    found = parse(text, NOMINAL)
    assert (found.label, found.thought) == ("entailment", True)


def test_an_unclosed_think_block_hides_all_that_follows():
    assert parse("<think>Label: neutral\nExplanation: a", NOMINAL).label is None


WORDS = st.text(alphabet=string.ascii_letters + " .,;:{}[]\"'*`#-\n", max_size=60)


@settings(max_examples=400)
@given(st.one_of(st.text(), WORDS, st.builds("{}Label:{}\n{}".format, WORDS, WORDS, WORDS)))
def test_whatever_comes_a_nominal_label_is_only_given_if_it_stands_in_the_text(text):
    found = parse(text, NOMINAL)
    assert found.label is None or str(found.label) in text.casefold()


@settings(max_examples=400)
@given(st.one_of(st.text(), WORDS, st.builds("{}Score:{}{}".format, WORDS, st.integers(), WORDS)))
def test_whatever_comes_a_score_is_only_given_if_its_digits_stand_in_the_text(text):
    found = parse(text, ORDINAL)
    assert found.label is None or str(abs(int(found.label))) in text


PROSE = st.text(alphabet=string.ascii_letters + " .,'\"()-", min_size=1).map(str.strip).filter(bool)


@given(st.sampled_from(NOMINAL.labels), PROSE)
def test_a_rendered_answer_parses_back(label, explanation):
    found = parse(render_answer(NOMINAL, label, explanation), NOMINAL)
    assert (found.label, found.explanation) == (label, explanation)


def test_every_real_record_parses_back_from_the_line_format(data_dir):
    from hlvbench.task import load_task
    from hlvbench.text import raw

    for name in ("varierr", "r2"):
        task = load_task(name, data_dir=data_dir)
        for record in task.records:
            found = parse(render_answer(task, record.label, record.explanation), task)
            assert (found.label, raw(found.explanation)) == (record.label, raw(record.explanation))


def test_a_hundred_thousand_line_breaks_are_parsed_in_linear_time():
    assert parse("\n" * 100_000 + "Label: neutral", NOMINAL).label == "neutral"
