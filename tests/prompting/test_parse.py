"""Raw text to labels: what is read, what is refused, and that nothing is invented."""

import dataclasses
import string
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlvbench.prompting.parse import EXAMPLES_OPENING, Parsed, parse
from hlvbench.prompting.prompt import render_answer

from ..toy import toy_task

NOMINAL, ORDINAL = toy_task(), toy_task("ordinal")


@pytest.mark.parametrize(
    ("text", "label", "explanation"),
    [
        ("Label: neutral\nExplanation: because", "neutral", "because"),
        ("label : **Neutral**.\n\n**Explanation:** x y", "neutral", "x y"),
        ('Sure!\n```json\n{"Label": "Entailment", "explanation": "a"}\n```', "entailment", "a"),
        ('{"explanation": "a {b}", "label": "neutral"}', "neutral", "a {b}"),
        ("Explanation: foo\nbar\nLabel: contradiction", "contradiction", "foo\nbar"),
        ("neutral. The context", "neutral", "The context"),
        ("Neutral\nbecause it is", "neutral", "because it is"),
        ("**Label**: neutral - since it is", "neutral", "since it is"),
        ("- Label: neutral\n- Explanation: yes. it", "neutral", "yes. it"),
        ("Label: neutral\nExplanation: a\n\nLabel: entailment\nExplanation: b", "neutral", "a"),
        ("```\nLabel: neutral\nExplanation: a\n```", "neutral", "a"),
        ("Label: neutral", "neutral", ""),
        ('Label: neutral\nExplanation: a, "reason: b_', "neutral", 'a, "reason: b_'),
        ("Label: neutral\nExplanation: **a** and _b_", "neutral", "**a** and _b_"),
        ("Explanation: it is so. Label: neutral", "neutral", "it is so."),
        ("Explanation: the label: neutral. **Label**: entailment.", "entailment", "the label: neutral."),
        ("neutral\nExplanation: a. Label: entailment", "neutral", "a. Label: entailment"),
    ],
)
def test_one_nominal_label_is_read_whatever_surrounds_it(text, label, explanation):
    found = parse(text, NOMINAL)
    assert (found.label, found.explanation) == (label, explanation)


@pytest.mark.parametrize(
    ("text", "score", "explanation"),
    [
        ("Score: -3\nExplanation: different", -3, "different"),
        ("Score: 3.0\nx", 3, "x"),
        ("Score: +2, because", 2, "because"),
        ("Score: 2 (similar)\nExplanation: f", 2, "f"),
        ('{"score": 4, "explanation": "g"}', 4, "g"),
        ('{"score": "-4", "reason": "g"}', -4, "g"),
        ("-4\nfoo", -4, "foo"),
        ("Score (-5 to 5): 1\nExplanation: k", 1, "k"),
        ("Score: 4 because they ask the same", 4, "because they ask the same"),
        ("Score: 2 (similar) *because* they ask the same", 2, "(similar) *because* they ask the same"),
        *((f"Score: {dash}3", -3, "") for dash in "-‐‑‒–—―−⁻﹣－➖˗"),
        ("4 because they ask the same", 4, "because they ask the same"),
        ("Score: ４。\n说明：k", 4, "说明：k"),
        ("**Score**: $\\boxed{\\text{-3}}$\nExplanation: k", -3, "k"),
        ("The score is \\boxed{3}.", 3, ""),
        ("Score:\n\n4\nExplanation: k", 4, "k"),
        ('{"explanation": "k", "score": 2.0}', 2, "k"),
        ("Explanation: k. Score: -2", -2, "k."),
        ("Score: 4️⃣\nReasoning: k", 4, "k"),
    ],
)
def test_one_score_is_read_whatever_surrounds_it(text, score, explanation):
    found = parse(text, ORDINAL)
    assert (found.label, found.explanation) == (score, explanation)


@pytest.mark.parametrize(
    ("task", "text", "reason"),
    [
        (NOMINAL, "", "empty"),
        (NOMINAL, "Explanation: it is so. Label: neutral or entailment", "no label"),
        (NOMINAL, "Explanation: I would say label: neutral", "no label"),
        (ORDINAL, "Explanation: k. Score: 8", "out of range"),
        (NOMINAL, "```\n```", "empty"),
        (NOMINAL, "Label: not entailment\nExplanation: z", "no label"),
        (NOMINAL, "Label: neutral or entailment", "no label"),
        (NOMINAL, "Label: neutral, entailment", "no label"),
        (NOMINAL, "Label: neutral/entailment", "no label"),
        (NOMINAL, "Label: neutrality", "no label"),
        (NOMINAL, "I think it is neutral", "no label"),
        (NOMINAL, "The label is neutral because it is", "no label"),
        (NOMINAL, "Neutral/Contradiction", "no label"),
        (NOMINAL, "Neutral – Contradiction", "no label"),
        (NOMINAL, "Label: Entailed\nLabel: entailment", "no label"),
        (NOMINAL, "Label: entailment|neutral\nLabel: neutral\nExplanation: q", "no label"),
        (NOMINAL, '{"label": "Entailed"}\n{"label": "neutral"}', "no label"),
        (NOMINAL, "Label:\nExplanation: z\nLabel: neutral", "no label"),
        (NOMINAL, "Label: <neutral, entailment or contradiction>\nLabel: neutral", "no label"),
        (NOMINAL, '{"label": ["neutral"]}', "no label"),
        (ORDINAL, "Score: 3/5", "no label"),
        (ORDINAL, "Score: 3.5", "no label"),
        (ORDINAL, "Score: 2 to 3", "no label"),
        (ORDINAL, "Score: 5 out of 5", "no label"),
        (ORDINAL, "Score: 10%", "no label"),
        (ORDINAL, "3. something", "no label"),
        (ORDINAL, "Score: 1,000", "no label"),
        (ORDINAL, '{"score": true}', "no label"),
        (ORDINAL, "3-4", "no label"),
        (ORDINAL, "Score: 3–4", "no label"),
        (ORDINAL, "8/10", "no label"),
        (ORDINAL, "Score: 4,9", "no label"),
        (ORDINAL, "Score: 4²", "no label"),
        (ORDINAL, "Score: <4", "no label"),
        (ORDINAL, "Score: ~4", "no label"),
        (ORDINAL, "Score: 3 – 4", "no label"),
        (ORDINAL, "Score:\n- 4 because", "no label"),
        (ORDINAL, "Score: 3.5\nScore: 3", "no label"),
        (ORDINAL, "Score: 8\nExplanation: a\n\nScore: 3", "out of range"),
        (ORDINAL, "8", "out of range"),
        (ORDINAL, "Score: 7", "out of range"),
        (ORDINAL, "Score: 99999999999999999999", "out of range"),
    ],
)
def test_anything_but_exactly_one_label_is_no_answer_and_says_why(task, text, reason):
    found = parse(text, task)
    assert (found.label, found.explanation, found.reason) == (None, "", reason)


FORMS = [
    "Label:\nneutral\nExplanation: a b",
    "## Label\nneutral\n\n## Explanation\na b",
    "## Label\n- **neutral**\n## Explanation:\na b",
    "Label: \\boxed{neutral}\nExplanation: a b",
    "$\\boxed{\\text{Neutral}}$\n\nExplanation: a b",
    "<neutral>\nExplanation: a b",
    "Label: <neutral>\nExplanation: <a b>",
    "Label: [neutral]\nExplanation: [a b]",
    "Label: （neutral）\nExplanation： a b",
    "Label: “neutral”\nExplanation: a b",
    "\u200bLabel: neutral\nExplanation: a b\u200b",
    "\ufeffLa\u00adbel:\u2060 neutral\nExplanation: \ufeffa b",
    "Ｌａｂｅｌ：ｎｅｕｔｒａｌ\r\nExplanation: a b\r\n",
    "1. Label: neutral\n2. Explanation: a b",
    "(a) Label = neutral\n(b) Explanation = a b",
    "• Label: neutral\n• Explanation: a b",
    "— Label: neutral\n— Explanation: a b",
    "> Label: neutral\n> Explanation: a b",
    "Label: neutral. Explanation: a b",
    "Label: neutral | Explanation: a b",
    "Label: neutral; reason: a b",
    "Label: neutral Explanation: a b",
    "**Label: neutral. Explanation: a b**",
    "**Label: neutral**\n**Explanation: a b**",
    "**Label:** neutral\n**Explanation:** a b **",
    "Label: neutral\nExplanation: a b\n\n---",
    "Label: neutral\nExplanation: a b```",
    "Final label: neutral\nMy explanation: a b",
    "The answer is: neutral\nExplanation: a b",
    "Answer:\nLabel: neutral\nExplanation: a b",
    "Assistant: Label: neutral\nExplanation: a b",
    'Answer:\n{"label": "neutral", "explanation": "a b"}',
    '{"answer": {"label": "neutral", "explanation": "a b"}}',
    '{"label": "neutral",\n"explanation": "a b",\n}',
    '{"label": "neutral", "explanation": "a b"',
    '{"explanation": "a b", "label": neutral}',
    "{'label': 'neutral', 'explanation': 'a b'}",
    "<label>neutral</label>\n<explanation>a b</explanation>",
    "<answer>\nLabel: neutral\nExplanation: a b\n</answer>",
    "<explanation>\na b\n</explanation>\n<label>\nneutral\n</label>",
    "<reason>a b</reason><label>neutral</label>",
    "【Label】neutral\n【Explanation】a b",
    "Label: (b) neutral\nExplanation: a b",
    "Label: \\(\\text{neutral}\\)\nExplanation: a b",
    "Label: neutral\\nExplanation: a b",
    "Label: neutral—a b",
    "Label: neutral (a b)",
    "\\boxed{neutral}\na b",
]


@pytest.mark.parametrize("text", FORMS)
def test_every_form_of_an_answer_gives_the_label_and_an_explanation_without_residue(text):
    found = parse(text, NOMINAL)
    assert (found.label, found.explanation) == ("neutral", "a b")


SPECIAL = [
    "</s>",
    "<|im_end|>",
    "<|eot_id|>",
    "<end_of_turn>",
    "<eos>",
    "<|endoftext|>",
    "<｜end▁of▁sentence｜>",
    "[/INST]",
]
NEXT = ["", "\n<|im_start|>user\nLabel: contradiction\n<think>so", "\nPremise: c\nLabel: contradiction"]


@pytest.mark.parametrize("special", SPECIAL)
@pytest.mark.parametrize("after", NEXT)
def test_a_special_token_ends_an_answer(special, after):
    found = parse(f"Label: neutral\nExplanation: a b{special}{after}", NOMINAL)
    assert (found.label, found.explanation, found.thought) == ("neutral", "a b", False)
    assert parse(f"Label: Neutrally{special}{after}", NOMINAL).label is None


@pytest.mark.parametrize("start", ["<s>", "<|im_start|>assistant\n", "<start_of_turn>model\n", "assistant\n\n"])
def test_special_tokens_before_an_answer_do_not_hide_it(start):
    assert parse(f"{start}neutral\na b", NOMINAL).explanation == "a b"


@pytest.mark.parametrize(
    "ending",
    [
        "Premise: c\nHypothesis: d\nLabel: contradiction\nExplanation: e",
        "**Hypothesis:** d",
        "## Premise\nc",
        "You are annotator 2. Decide the label.",
        "user\nDecide the label.",
        "### Instruction:\nDecide",
        "Label: contradiction",
        "Now annotate:\nPremise: c",
    ],
)
def test_what_ends_an_answer(ending):
    found = parse(f"Label: neutral\nExplanation: a\nb\n\n{ending}", NOMINAL)
    assert (found.label, found.explanation) == ("neutral", "a\nb")
    found = parse(f"Label: neutral\n\n{ending}", NOMINAL)
    assert (found.label, found.explanation) == ("neutral", "")


INVENTED = "Premise: c\nHypothesis: d\nLabel: contradiction\nExplanation: e"


@pytest.mark.parametrize(
    "said",
    ["Label: Entailed\nExplanation: a", "Entailed.", "It follows, so entailed.\nYes.", "Explanation: a", "Label:"],
)
def test_the_label_of_an_invented_example_is_never_read(said):
    assert parse(f"{said}\n\n{INVENTED}", NOMINAL).label is None
    # after an echo of the question, too
    assert parse(f"Premise: a\nHypothesis: b\n{said}\n\n{INVENTED}", NOMINAL).label is None


def test_an_echo_of_the_question_before_the_answer_is_passed_over():
    asked, shown = (NOMINAL.items[i].text for i in ("test3", "train3"))
    for before in ("", "The question is:\n", "assistant\n", "You are annotator 1. Decide.\n\n"):
        assert parse(f"{before}{INVENTED}", NOMINAL).label == "contradiction"
    thinking = "Let me look at both texts.\n\nPremise: {premise}\nHypothesis: {hypothesis}\n\nSo:\nLabel: neutral"
    assert parse(thinking.format(**asked), NOMINAL).label == "neutral"
    # an example of the prompt, copied
    assert parse(thinking.format(**shown), NOMINAL).label is None


def test_a_repeated_prompt_with_examples_is_read_from_its_question_on():
    from hlvbench.prompting.prompt import Prompter

    prompt = Prompter(NOMINAL, "icl", shots=3).content("test3", "Ann1")
    assert "Label: " in prompt.partition(EXAMPLES_OPENING)[2]
    for before in ("", "user\n"):
        for label in NOMINAL.labels:
            found = parse(f"{before}{prompt}\n\nLabel: {label}\nExplanation: a\n\n{INVENTED}", NOMINAL)
            assert (found.label, found.explanation) == (label, "a")
        assert parse(f"{before}{prompt}\n\nEntailed.", NOMINAL).label is None
    # the next prompt, invented after the answer, is none of it
    assert parse(f"Label: neutral\nExplanation: a\n\n{prompt}", NOMINAL) == Parsed("neutral", "a")


def test_a_field_of_the_task_may_be_named_like_one_of_the_answer():
    task = dataclasses.replace(NOMINAL, fields={"q": "Question", "a": "Answer"})
    assert (
        parse("Question: q\nAnswer: contradiction\nLabel: neutral\nExplanation: x\nQuestion: r", task).label
        == "neutral"
    )


BLOCKS = [
    "<think>{}</think>", "<thinking>{}</thinking>", "<Thought>{}</Thought>", "<reasoning>{}</reasoning>",
    "<reflection>{}</reflection>", "<thinking>{}<reflection>no</reflection>{}</thinking>", "[THINK]{}[/THINK]",
    "<seed:think>{}</seed:think>", "◁think▷{}◁/think▷", "<|begin_of_thought|>{}<|end_of_thought|>\n",
    "<|START_THINKING|>{}<|END_THINKING|><|START_RESPONSE|>", "<|channel>thought\n{}<channel|>",
    "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>",
    "analysis… {} assistantfinal", "analysisWe see. {}assistantcommentary{}assistantfinal",
    "<|inner_prefix|>{}<|inner_suffix|>",
    "<unused94>thought\n{}<unused95>", "Here is my thought process: {}\nHere is my response: ",
    '<details type="reasoning" done="true">{}</details>', "&lt;think&gt;{}&lt;/think&gt;",
    '<think time="3">{}</think>', "<think></think><think>{}</think>",
]  # fmt: skip


@pytest.mark.parametrize("block", BLOCKS)
def test_reasoning_is_dropped_and_marked_and_unfinished_it_is_no_answer(block):
    thoughts = "\nLabel: neutral\nExplanation: a\n"
    found = parse(block.replace("{}", thoughts) + "Label: entailment\nExplanation: b<|return|>", NOMINAL)
    assert (found.label, found.explanation, found.thought) == ("entailment", "b", True)
    opening = block[: block.rindex("{}") + 2].replace("{}", thoughts)
    found = parse(opening, NOMINAL)
    assert (found.label, found.reason, found.thought) == (None, "unfinished reasoning", True)


@pytest.mark.parametrize("closing", ["</think>", "[/THINK]", "◁/think▷", "<|end_of_thought|>", "<|END_THINKING|>"])
def test_a_block_that_the_prompt_opened_ends_at_its_closing_tag(closing):
    text = f"Label: neutral\n{closing}\n\nLabel: entailment"
    found = parse(text, NOMINAL)
    assert (found.label, found.thought) == ("entailment", True)


WORDS = st.text(alphabet=string.ascii_letters + " .,;:{}[]\"'*`#-\n", max_size=60)


@settings(max_examples=400)
@given(st.one_of(st.text(), WORDS, st.builds("{}Label:{}\n{}".format, WORDS, WORDS, WORDS)))
def test_whatever_comes_a_nominal_label_is_only_given_if_it_stands_in_the_text(text):
    found = parse(text, NOMINAL)
    assert found.label is None or str(found.label) in unicodedata.normalize("NFKD", text).casefold()


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
    from hlvbench.data.task import load_task
    from hlvbench.text import raw

    for name in ("varierr", "r2"):
        task = load_task(name, data_dir=data_dir)
        for record in task.records:
            found = parse(render_answer(task, record.label, record.explanation), task)
            assert (found.label, raw(found.explanation)) == (record.label, raw(record.explanation))


HOSTILE = [
    "\n", " ", "(", "{", "<", "*_", "- ", '"', "\\boxed{", '{"a":', '{"label":', "Label:", "Label: ", "Label:\n",
    "Explanation", "Premise:\n", "<think>", "</think>", "<|a|>", "my the ", "neutral ", "neutral, ", "1. ", ", ",
    "\u200b", "…", "\\n", "<think ", "[", "is ", "Label: neutral ", "---\n", "}", "a**",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "Label:{}",
        "Label: neutral{}",
        "Label: neutral\nExplanation: a{}",
        "Label: neutral\n{}.",
        "{}Label: neutral",
    ],
)
def test_hostile_text_is_parsed_in_linear_time(piece, around):
    def seconds(size):
        started = time.process_time()
        parse(around.format(piece * (size // len(piece))), NOMINAL)
        return time.process_time() - started

    seconds(1000)
    # twenty times the text: 20 in linear time, 400 in quadratic; short times are noise, and so is a busy machine's once
    assert any(seconds(60_000) < max(100 * seconds(3000), 0.6) for _ in range(3))


def test_a_hundred_thousand_line_breaks_are_no_matter():
    assert parse("\n" * 100_000 + "Label: neutral", NOMINAL).label == "neutral"
