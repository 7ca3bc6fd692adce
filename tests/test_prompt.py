"""Prompts: what stands in them, what fits, and that training and inference share them."""

import pytest

from hlvbench.errors import UsageError
from hlvbench.profile import counted_profile, profile_request
from hlvbench.prompt import Prompter, render, render_answer, shown_annotator

from .toy import ToyEmbedder, toy_task

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
    assert (shown_annotator("Ann12"), shown_annotator("w13")) == ("annotator 12", "annotator w13")


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
