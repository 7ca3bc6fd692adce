"""Constrained answers: the label by its likelihood, the text to the end of its line, whatever the model."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hlvbench.errors import ModelError
from hlvbench.models import Query, constrained
from hlvbench.models.constrained import Choice, choose, heads_of
from hlvbench.models.gumbel import seed_of
from hlvbench.models.hf import load_hf
from hlvbench.prompting.parse import parse
from hlvbench.prompting.prompt import Prompter
from hlvbench.settings import Settings
from tests.tiny import tiny_adapter, tiny_model
from tests.toy import toy_task

NOMINAL, ORDINAL = toy_task(annotators=3, items=(4, 2, 6)), toy_task("ordinal", annotators=3, items=(4, 2, 6))
# the scores that the word tokenizer knows
FEW = replace(ORDINAL, labels=(1, 2, 3, 4))


def queries(task: Any, split: str = "test", samples: int = 1) -> list[Query]:
    prompter = Prompter(task)
    return [Query(i, a, s, prompter.content(i, a)) for i, a in task.questions(split) for s in range(samples)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("constrained") / "base")


@pytest.fixture
def brute(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Switches the shared cache off: every label is scored by whole passes of its own."""

    def switch() -> None:
        monkeypatch.setattr(constrained, "shares_prefixes", lambda model: False)
        monkeypatch.setattr("hlvbench.models.decode.shares_prefixes", lambda model: False)
        monkeypatch.setattr("hlvbench.models.logprobs.shares_prefixes", lambda model: False)

    return switch


def load(folder: Path, task: Any, **settings: Any) -> Any:
    chosen = {"answers": "constrained", "max_new_tokens": 24, **settings}
    return load_hf(Settings(str(folder), (task.name,), **chosen), [task])[task.name]


@pytest.mark.slow
@pytest.mark.parametrize("task", [NOMINAL, ORDINAL], ids=["nominal", "ordinal"])
def test_the_label_is_the_likeliest_by_the_sum_over_its_tokens(test_model: str, task: Any) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(test_model, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(test_model)
    asked = queries(task)[:4]
    found = load(Path(test_model), task, max_new_tokens=40).answer(asked)
    word = "Score" if task.kind == "ordinal" else "Label"
    for query, answer in zip(asked, found, strict=True):
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": query.content}], tokenize=False, add_generation_prompt=True
        )
        prompt = tokenizer(text, add_special_tokens=False).input_ids
        sums = {}
        for label in task.labels:
            # token by token from the library's own loss: no cache, no batch
            own = tokenizer(f"{word}: {label}\n", add_special_tokens=False).input_ids
            ids = torch.tensor([prompt + own])
            goal = torch.tensor([[-100] * len(prompt) + own])
            with torch.inference_mode():
                sums[label] = -float(model(input_ids=ids, labels=goal).loss) * len(own)
        assert parse(answer.text, task).label == max(sums, key=sums.__getitem__)


@pytest.mark.parametrize("task", [NOMINAL, FEW], ids=["nominal", "ordinal"])
def test_every_answer_can_be_read_and_is_the_same_without_the_shared_cache(
    tmp_path: Path, base: Path, task: Any, brute: Any
) -> None:
    for seed, name in enumerate(task.annotators):
        tiny_adapter(tmp_path / name, base, seed=seed)
    model = load(base, task, adapter_dir=str(tmp_path))
    asked = queries(task)
    answers = model.answer(asked)
    assert all(parse(a.text, task).label in task.labels for a in answers)
    assert all(len(a.text.splitlines()) == 2 and parse(a.text, task).explanation for a in answers)
    assert len({a.text for a in answers}) > len(task.annotators)
    assert [model.answer([q])[0] for q in asked[:6]] == answers[:6]
    brute()
    assert model.answer(asked) == answers


@pytest.mark.parametrize("kind", ["prompt", "ia3"])
def test_other_kinds_of_adapters_answer_constrained_too(tmp_path: Path, base: Path, kind: str) -> None:
    for seed, name in enumerate(NOMINAL.annotators):
        tiny_adapter(tmp_path / name, base, kind, seed)
    answers = load(base, NOMINAL, adapter_dir=str(tmp_path)).answer(queries(NOMINAL))
    assert all(parse(a.text, NOMINAL).label for a in answers)


def other_architecture(folder: Path, base: Path, kind: str) -> Path:
    """A model without a cache that can be shared, with the tokenizer of `base`."""
    import torch
    from transformers import AutoTokenizer, MambaConfig, MambaForCausalLM, MistralConfig, MistralForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = None
    torch.manual_seed(3)
    common = {"vocab_size": len(tokenizer), "hidden_size": 32, "num_hidden_layers": 2, "pad_token_id": 0}
    model: Any = (
        MambaForCausalLM(MambaConfig(**common, state_size=4, eos_token_id=2, initializer_range=0.5))
        if kind == "mamba"
        else MistralForCausalLM(MistralConfig(
            **common, intermediate_size=64, num_attention_heads=2, num_key_value_heads=2, sliding_window=12,
            eos_token_id=2, initializer_range=0.5, max_position_embeddings=256,
        ))
    )  # fmt: skip
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["mamba", "mistral"])
def test_recurrent_and_sliding_models_answer_constrained(tmp_path: Path, base: Path, kind: str) -> None:
    model = load(other_architecture(tmp_path / kind, base, kind), NOMINAL)
    asked = queries(NOMINAL)[:6]
    alone = [model.answer([q])[0] for q in asked]
    assert all(parse(a.text, NOMINAL).label for a in alone)
    if kind == "mistral":
        assert model.answer(asked) == alone


def test_a_sampled_label_is_drawn_from_the_softmax_of_the_scores() -> None:
    import torch

    scores, warmth, draws = torch.tensor([[-1.0, -2.0, -0.5]]), 0.7, 4000
    seeds = [seed_of(0, Query("i", "Ann1", s, "")) for s in range(draws)]
    chosen = choose(scores.expand(draws, 3), warmth, seeds)
    weights = [math.exp(s / warmth) for s in scores[0].tolist()]
    for k in range(3):
        # four standard errors
        share = weights[k] / sum(weights)
        assert abs(chosen.count(k) / draws - share) < 4 * math.sqrt(share * (1 - share) / draws)
    assert choose(scores, 0.0, seeds[:1]) == [2]


def test_sampled_answers_are_a_function_of_the_question_and_not_of_the_batch(base: Path) -> None:
    model = load(base, NOMINAL, temperature=1.5)
    asked = queries(NOMINAL, samples=3)
    together = model.answer(asked)
    assert model.answer(asked[::-1])[::-1] == together
    assert len({a.text for a in together[:9]}) > 3


@pytest.mark.slow
def test_labels_end_with_their_line_break(test_model: str) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(test_model)
    task = replace(ORDINAL, labels=tuple(range(11)), priority=tuple(range(11)))
    heads = heads_of(task, tokenizer)
    for label, tokens, end in zip(task.labels, heads.tokens, heads.ends, strict=True):
        assert tokenizer.decode(tokens[:end]) == f"Score: {label}\n"
        assert tokenizer.decode(tokens) == f"Score: {label}\nExplanation:"


def test_too_few_new_tokens_for_a_label_are_refused(base: Path) -> None:
    with pytest.raises(ModelError, match="--max-new-tokens 4"):
        load(base, NOMINAL, max_new_tokens=4).answer(queries(NOMINAL)[:1])


def test_labels_that_the_tokenizer_cannot_tell_apart_are_refused(base: Path) -> None:
    from transformers import AutoTokenizer

    # the word tokenizer knows neither
    task = replace(NOMINAL, labels=("alpha", "beta"), priority=("alpha", "beta"))
    with pytest.raises(ModelError, match="tell the task's labels apart"):
        heads_of(task, AutoTokenizer.from_pretrained(base))


def test_the_scores_of_a_batch_are_those_of_its_rows(base: Path) -> None:
    import torch

    model = load(base, NOMINAL)
    decoder, heads = model.loaded.decoder, heads_of(NOMINAL, model.loaded.decoder.tokenizer)
    prompts = [decoder.encode(q.content) for q in queries(NOMINAL)[:5]]
    with torch.inference_mode():
        together = Choice(model.loaded.model, prompts, heads, decoder.pad).scores()
        alone = [Choice(model.loaded.model, [p], heads, decoder.pad).scores()[0] for p in prompts]
    assert torch.allclose(together, torch.stack(alone), atol=1e-4)
