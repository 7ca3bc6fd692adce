"""Prompts: what stands in them, what fits, and that training and inference share them."""

import json
from dataclasses import replace

import jsonschema
import pytest

from hlvbench.data.task import load_spec
from hlvbench.errors import ModelError, UsageError
from hlvbench.prompting.parse import PROMPT_OPENING, parse
from hlvbench.prompting.prompt import (
    Prompter,
    answer_schema,
    instruction,
    render,
    render_answer,
    shown_id,
)
from hlvbench.prompting.reasoning import closed_reasoning, opened_reasoning
from hlvbench.prompting.value_profile import counted_profile, profile_request

from ..toy import ToyEmbedder, toy_task

TASK = toy_task()
ITEM = TASK.splits["test"][0]


def test_the_base_prompt_is_instruction_and_item_word_for_word():
    item = TASK.items[ITEM]
    assert Prompter(TASK).content(ITEM, "Ann2") == (
        "You are annotator 2. Decide the label (neutral, entailment, contradiction) and explain your decision.\n"
        "Answer in two lines. The first line is `Label:` and one of neutral, entailment, contradiction. "
        "The second line is `Explanation:` and the reason in one sentence.\n\n"
        f"Premise: {item.text['premise']}\nHypothesis: {item.text['hypothesis']}"
    )


def test_an_annotator_with_another_id_is_named_by_it():
    assert (shown_id("Ann12"), shown_id("w13")) == ("12", "w13")


def test_an_instruction_opens_as_the_parser_expects_of_an_echoed_prompt():
    assert instruction(TASK, "Ann12").startswith(f"{PROMPT_OPENING} 12. ")


def test_shots_are_the_target_annotators_train_records_and_nobody_elses():
    content = Prompter(TASK, "icl", shots=5).content(ITEM, "Ann3")
    body = content.split("Examples of how this annotator answered:\n\n")[1]
    shots = body.split("\n\n")[:-1]
    rendered = {render_answer(TASK, r.label, r.explanation) for r in TASK.records_of("train", "Ann3")}
    assert len(shots) == 5
    assert all("\n".join(shot.splitlines()[2:]) in rendered for shot in shots)


def test_random_shots_depend_on_the_seed_alone():
    first, again = (Prompter(TASK, "icl", shots=4, seed=1).content(ITEM, "Ann1") for _ in range(2))
    other = Prompter(TASK, "icl", shots=4, seed=2).content(ITEM, "Ann1")
    assert first == again != other


def test_the_nearest_shot_stands_last_and_shares_most_words():
    embedder = ToyEmbedder()
    content = Prompter(TASK, "icl", shots=3, pick="nearest", embedder=embedder).content(ITEM, "Ann1")
    items = {r.item for r in TASK.records_of("train", "Ann1")}
    vector = embedder.encode([TASK.items[ITEM].joined])[0]
    best = max(items, key=lambda i: float(vector @ embedder.encode([TASK.items[i].joined])[0]))
    assert content.split("\n\n")[-2].startswith(f"Premise: {TASK.items[best].text['premise']}")


def test_as_many_shots_are_given_as_fit():
    prompter = Prompter(TASK, "icl", shots=10, fits=lambda content: len(content) < 900)
    content = prompter.content(ITEM, "Ann1")
    assert len(content) < 900
    assert 0 < prompter.shots_given[0] < 10
    longer = Prompter(TASK, "icl", shots=prompter.shots_given[0] + 1).content(ITEM, "Ann1")
    assert len(longer) >= 900


def test_a_counted_profile_is_deterministic_and_quotes_no_explanation():
    profile = counted_profile(TASK, "Ann1")
    assert profile == counted_profile(TASK, "Ann1")
    assert "Labels: " in profile
    own = [r.explanation for r in TASK.records_of("train", "Ann1")]
    assert not any(" ".join(text.split()[k : k + 4]) in profile for text in own for k in range(len(text.split()) - 3))


def test_an_ordinal_profile_tells_the_scores():
    assert counted_profile(toy_task("ordinal"), "Ann1").startswith("Scores: median ")


def test_the_profile_stands_before_the_examples():
    content = Prompter(TASK, "vp-icl", shots=2, profiles={"Ann1": "Writes short."}).content(ITEM, "Ann1")
    assert content.index("Annotator profile:\nWrites short.") < content.index(
        "Examples of how this annotator answered:"
    )


def test_a_model_is_asked_for_a_profile_from_the_annotators_own_records():
    request = profile_request(TASK, "Ann2", records=3)
    assert request.count("Explanation: ") == 3
    assert "annotator 2" in request


@pytest.mark.parametrize(("kind", "pick"), [("fancy", "random"), ("icl", "best"), ("vp", "random")])
def test_an_unknown_prompt_or_pick_or_a_missing_profile_is_one_clear_error(kind, pick):
    with pytest.raises(UsageError):
        Prompter(TASK, kind, pick=pick)


class Templated:
    chat_template = "x"

    def apply_chat_template(self, messages, tokenize, add_generation_prompt, enable_thinking, **_):
        assert not tokenize
        assert add_generation_prompt
        return f"<{messages[0]['content']}|{enable_thinking}>"


def test_the_chat_template_is_used_where_there_is_one():
    assert render("hi", Templated()) == "<hi|False>"
    assert render("hi", object()) == "hi\n"


def chat_tokenizer(template: str):
    """A real tokenizer with a chat template, rendered by transformers."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
    tokenizer.chat_template = template
    return tokenizer


def test_the_meanings_of_labels_are_said_in_one_clause_each():
    task = replace(TASK, meanings={"entailment": "it follows", "neutral": "it may be", "contradiction": "it cannot be"})
    head = instruction(task, "Ann2").splitlines()
    assert head[1] == "What the labels mean: entailment: it follows; neutral: it may be; contradiction: it cannot be."
    assert "one of entailment, neutral, contradiction" in head[2]
    scores = replace(toy_task("ordinal"), meanings={-5: "unlike", 5: "alike"})
    head = instruction(scores, "Ann2").splitlines()
    assert head[1] == "What scores mean: -5: unlike; 5: alike."
    assert "The first line is `Score:` and an integer from -5 to 5." in head[2]


@pytest.mark.parametrize("name", ["varierr", "r2", "demo"])
def test_the_built_in_tasks_say_what_their_labels_mean(name):
    spec = load_spec(name)
    assert set(spec.meanings) == ({-5, 0, 5} if spec.kind == "ordinal" else set(spec.labels))


LISTED = "{% for m in messages %}{% for part in m.content %}<u>{{ part.text }}</u>{% endfor %}{% endfor %}"
REFUSING = (
    "{% for m in messages %}{% if m.content is string %}{{ raise_exception('parts only') }}{% endif %}{% endfor %}"
)


@pytest.mark.parametrize("template", [LISTED, REFUSING + LISTED])
def test_a_template_that_wants_parts_gets_them(template):
    assert "<u>the question</u>" in render("the question", chat_tokenizer(template))


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ raise_exception('only tools') }}", "only tools"),
        ("always the same text", "leaves the question out"),
        ("{{ messages[0].content | upper }}", "leaves the question out"),
        ("{% for %}", "Expected"),
        ("{{ messages[0].content.nothing.more }}", "undefined|has no attribute"),
    ],
)
def test_a_template_that_fails_or_drops_the_question_is_one_clear_error(template, why):
    with pytest.raises(ModelError, match=f"(?i)chat template of .* cannot be used: .*({why})"):
        render("the question", chat_tokenizer(template))


@pytest.mark.parametrize(
    "template",
    [
        # Llama 3.2's way, and gpt-oss's
        "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
        "Today Date: {{ date_string }} {{ messages[0].content }}",
        "Today Date: {{ strftime_now('%d %b %Y') }} {{ messages[0].content }}",
    ],
)
def test_a_template_that_prints_the_date_prints_the_same_every_day(template):
    assert render("q", chat_tokenizer(template)) == "Today Date: 26 Jul 2024 q"


def test_an_opened_reasoning_block_is_seen_and_can_be_closed():
    assert opened_reasoning("<|assistant|><think>\n") == "<think>\n"
    assert opened_reasoning("<think></think>\n\n") == ""
    assert closed_reasoning("<|assistant|><think>\n") == "<|assistant|><think>\n\n</think>\n\n"
    assert closed_reasoning("x [THINK]") == "x [THINK]\n\n[/THINK]\n\n"
    assert closed_reasoning("plain") == "plain"


@pytest.mark.parametrize("kind", ["nominal", "ordinal"])
def test_the_schema_of_an_answer_accepts_what_the_parser_reads_and_nothing_else(kind):
    task = toy_task(kind)
    schema = answer_schema(task)["json_schema"]["schema"]
    word = "score" if kind == "ordinal" else "label"
    for label in task.labels:
        answer = {word: label, "explanation": "Because."}
        jsonschema.validate(answer, schema)
        assert parse(json.dumps(answer), task).label == label
    for wrong in (
        {word: "other", "explanation": "x"},
        {word: task.labels[0]},
        {word: task.labels[0], "explanation": ""},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)
