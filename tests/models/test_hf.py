from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hlvbench.errors import ModelError
from hlvbench.generation.generate import generate
from hlvbench.models import Completion, OutOfMemory, Query
from hlvbench.models.gumbel import GumbelSampler, seed_of
from hlvbench.models.hf import load_hf
from hlvbench.models.loading import _model_arguments
from hlvbench.settings import Settings
from tests.tiny import edit_json, tiny_adapter, tiny_model
from tests.toy import toy_task

TASK = toy_task(annotators=3, items=(4, 2, 6))
NEW = 10


def content(item: str, annotator: str) -> str:
    return f"You are annotator {annotator[-1]}. Premise: {TASK.items[item].text['premise']}"


QUERIES = [Query(i, a, 0, content(i, a)) for i, a in TASK.questions("test")]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("hf") / "base")


def load(base: Path, **settings: Any) -> Any:
    return load_hf(Settings(str(base), **{"task": ("toy",), "max_new_tokens": NEW, **settings}), [TASK])["toy"]


def adapters(folder: Path, base: Path, kind: str = "lora") -> str:
    for seed, name in enumerate(TASK.annotators):
        tiny_adapter(folder / name, base, kind, seed)
    return str(folder)


def one_by_one(model: Any, queries: list[Query]) -> list[Completion]:
    return [model.answer([q])[0] for q in queries]


@pytest.mark.parametrize("kind", ["lora", "dora", "ia3", "prompt", "prefix"])
def test_every_annotator_is_answered_as_by_peft_with_that_adapter_alone(tmp_path: Path, base: Path, kind: str) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = adapters(tmp_path, base, kind)
    answers = load(base, adapter_dir=folder).answer(QUERIES)
    tokenizer = AutoTokenizer.from_pretrained(base)
    assert len({a.text for a in answers}) > len(QUERIES) // 2
    for query, answer in list(zip(QUERIES, answers, strict=True))[::4]:
        plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        alone = PeftModel.from_pretrained(plain, f"{folder}/{query.annotator}").eval()
        ids = tokenizer(f"<|user|> {query.content} <|end|><|assistant|>", return_tensors="pt").input_ids
        mask = torch.ones_like(ids)
        out = alone.generate(input_ids=ids, attention_mask=mask, max_new_tokens=NEW, do_sample=False)[0, ids.shape[1] :]
        assert answer.text == tokenizer.decode(out, skip_special_tokens=True)
        assert answer.new_tokens == len(out)
        assert answer.finish == ("stop" if out[-1] == tokenizer.eos_token_id else "length")


def test_answers_do_not_depend_on_their_batch(tmp_path: Path, base: Path) -> None:
    model = load(base, adapter_dir=adapters(tmp_path, base))
    together = model.answer(QUERIES)
    assert one_by_one(model, QUERIES) == together
    assert model.answer(QUERIES[::-1])[::-1] == together


def test_both_ends_of_a_text_occur_and_are_counted(base: Path) -> None:
    found = load(base, temperature=2.0).answer([Query("i", "Ann1", s, "dog runs") for s in range(60)])
    assert {c.finish for c in found} == {"stop", "length"}
    assert all(c.new_tokens == NEW for c in found if c.finish == "length")
    assert all(1 <= c.new_tokens <= NEW for c in found if c.finish == "stop")
    assert not any("<|" in c.text for c in found)


def test_any_of_several_end_tokens_ends_the_text(tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "base")
    words = [load(base).answer([q])[0].text.split()[1] for q in QUERIES[:1]]
    vocabulary = json.loads((base / "tokenizer.json").read_text())["model"]["vocab"]
    edit_json(base / "generation_config.json", eos_token_id=[2, vocabulary[words[0]]])
    answer = load(base).answer(QUERIES[:1])[0]
    assert (answer.finish, answer.new_tokens) == ("stop", 2)


def test_sampled_texts_depend_on_question_sample_and_seed_but_not_on_the_batch(base: Path) -> None:
    model = load(base, temperature=1.0, seed=3)
    queries = [Query(q.item, q.annotator, s, q.content) for q in QUERIES[:6] for s in (0, 1)]
    together = model.answer(queries)
    assert one_by_one(model, queries) == together
    assert model.answer(queries[::-1])[::-1] == together
    assert load(base, temperature=1.0, seed=3).answer(queries) == together
    assert load(base, temperature=1.0, seed=4).answer(queries) != together
    assert [c.text for c in together[::2]] != [c.text for c in together[1::2]]


def test_the_noise_draws_from_the_softmax_at_the_temperature() -> None:
    import torch

    # softmax of (log 1, log 2, log 5) / 1 is (1, 2, 5) / 8; at temperature 1/2 it is (1, 4, 25) / 30
    logits, draws = torch.tensor([1.0, 2.0, 5.0]).log(), 6000
    for temperature, shares in ((1.0, (1 / 8, 2 / 8, 5 / 8)), (0.5, (1 / 30, 4 / 30, 25 / 30))):
        seeds = [seed_of(0, Query(str(n), "Ann1", 0, "")) for n in range(draws)]
        scores = GumbelSampler(seeds, temperature, 4)(torch.zeros(draws, 7), logits.repeat(draws, 1))
        counts = torch.bincount(scores.argmax(dim=1), minlength=3)
        for count, share in zip(counts.tolist(), shares, strict=True):
            assert abs(count / draws - share) < 4 * (share * (1 - share) / draws) ** 0.5


def test_noise_of_one_row_differs_from_step_to_step() -> None:
    import torch

    noise = GumbelSampler([17], 1.0, 2)
    first, second = (noise(torch.zeros(1, length), torch.zeros(1, 50)) for length in (2, 3))
    assert not torch.equal(first, second)
    assert torch.equal(first, GumbelSampler([17], 1.0, 9)(torch.zeros(1, 9), torch.zeros(1, 50)))


def test_greedy_is_greedy_whatever_the_checkpoint_suggests(tmp_path: Path, base: Path) -> None:
    other = tiny_model(tmp_path / "base")
    edit_json(other / "generation_config.json", do_sample=True, temperature=3.0, top_k=2, repetition_penalty=9.0)
    assert load(other).answer(QUERIES) == load(base).answer(QUERIES)


def test_a_model_without_template_gets_plain_text_and_its_special_tokens(tmp_path: Path) -> None:
    model = load(tiny_model(tmp_path / "base", chat=False))
    assert model.prompt_text("dog runs") == "dog runs\n"
    assert model.count_tokens("dog runs") == 2
    assert len(model.answer(QUERIES[:2])) == 2


def test_with_a_template_the_prompt_is_rendered_and_counted_with_it(base: Path) -> None:
    model = load(base)
    assert model.prompt_text("dog runs") == "<|user|> dog runs <|end|><|assistant|>"
    assert model.count_tokens("dog runs") == 5


def test_a_tokenizer_without_padding_is_padded_with_the_end_token(tmp_path: Path, base: Path) -> None:
    other = tiny_model(tmp_path / "base")
    config = json.loads((other / "tokenizer_config.json").read_text())
    del config["pad_token"]
    (other / "tokenizer_config.json").write_text(json.dumps(config))
    assert load(other).answer(QUERIES) == load(base).answer(QUERIES)


def test_virtual_tokens_take_their_share_of_the_context(tmp_path: Path, base: Path) -> None:
    assert load(base).context == 256
    assert load(base, adapter_dir=adapters(tmp_path, base, "prompt")).context == 251


def test_adapters_of_two_types_answer_in_one_run(tmp_path: Path, base: Path) -> None:
    for seed, (name, kind) in enumerate(zip(TASK.annotators, ("lora", "prompt", "lora"), strict=True)):
        tiny_adapter(tmp_path / name, base, kind, seed)
    model = load(base, adapter_dir=str(tmp_path))
    answers = model.answer(QUERIES)
    assert one_by_one(model, QUERIES[:4]) == answers[:4]
    lora = load(base, adapter_dir=adapters(tmp_path / "all", base))
    # Ann1's adapter is the same in both
    assert answers[0] == lora.answer(QUERIES[:1])[0]


CHANGES_ITS_BASE = {
    "pissa": {"init_lora_weights": "pissa"},
    "olora": {"init_lora_weights": "olora"},
    "layers replicated": {"layer_replication": [(0, 2), (1, 2)]},
    "all biases": {"bias": "all"},
    "biases of its layers": {"bias": "lora_only"},
    "tokens": {"trainable_token_indices": [6, 7]},
    "a parameter": {"targets": ["q_proj"], "target_parameters": ["mlp.down_proj.weight"]},
    "KaSA": {"kasa_config": {}},
    "a head of its own": {"modules_to_save": ["lm_head"]},
}


@pytest.mark.parametrize("first", [0, 1], ids=["before", "after"])
@pytest.mark.parametrize("what", CHANGES_ITS_BASE)
def test_adapters_beside_one_that_changes_its_base_answer_as_each_does_alone(
    tmp_path: Path, what: str, first: int
) -> None:
    import torch
    from peft import KasaConfig, PeftModel
    from transformers import AutoModelForCausalLM

    options = {k: KasaConfig() if k == "kasa_config" else v for k, v in CHANGES_ITS_BASE[what].items()}
    base, task = tiny_model(tmp_path / "base", biased=True), toy_task(annotators=4, items=(2, 2, 2))
    for seed, name in enumerate(task.annotators):
        tiny_adapter(tmp_path / "a" / name, base, seed=seed, **(options if seed % 2 == first else {}))
    settings = Settings(str(base), ("toy",), str(tmp_path / "a"), max_new_tokens=4)
    model = load_hf(settings, [task])["toy"]
    ids = torch.tensor([model.loaded.decoder.encode("You are annotator 1 . decide the label")])
    with torch.inference_mode():
        for name in [*task.annotators, *task.annotators]:
            plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
            alone = PeftModel.from_pretrained(plain, tmp_path / "a" / name).eval()(ids).logits
            found = model.loaded.activate(model.loaded.assigned["toy", name])(ids).logits
            assert (found - alone).abs().max() <= 1e-5 * alone.abs().max()


def test_a_whole_model_per_annotator(tmp_path: Path, base: Path) -> None:
    others = {a: tiny_model(tmp_path / a, seed=k + 1) for k, a in enumerate(TASK.annotators)}
    model = load(base, model_map={a: str(p) for a, p in others.items()})
    for query, answer in zip(QUERIES[:3], model.answer(QUERIES[:3]), strict=True):
        assert answer == load(others[query.annotator]).answer([query])[0]
    assert len(set(model.describe()["models"].values())) == 3


def test_models_of_one_run_share_their_tokenizer(tmp_path: Path, base: Path) -> None:
    other = tiny_model(tmp_path / "other", chat=False)
    with pytest.raises(ModelError, match="share tokenizer"):
        load(base, model_map=dict.fromkeys(TASK.annotators, str(other)))


def test_two_tasks_share_what_is_loaded_but_not_their_adapters(tmp_path: Path, base: Path) -> None:
    import dataclasses

    more = dataclasses.replace(TASK, name="more")
    for seed, task in enumerate(("toy", "more")):
        for k, name in enumerate(TASK.annotators):
            tiny_adapter(tmp_path / task / name, base, seed=10 * seed + k)
    settings = Settings(str(base), task=("toy", "more"), adapter_dir=str(tmp_path), max_new_tokens=NEW)
    models = load_hf(settings, [TASK, more])
    assert models["toy"].loaded is models["more"].loaded
    assert models["toy"].answer(QUERIES[:3]) != models["more"].answer(QUERIES[:3])


def test_lack_of_memory_is_raised_as_such_and_survived(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    model = load(base)
    real, sizes = model.loaded.decoder._generate, []

    def small(loaded: Any, inputs: dict[str, Any], *rest: Any, **changes: Any) -> Any:
        sizes.append(len(inputs["input_ids"]))
        if len(inputs["input_ids"]) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(loaded, inputs, *rest, **changes)

    monkeypatch.setattr(model.loaded.decoder, "_generate", small)
    with pytest.raises(OutOfMemory, match="out of memory"):
        model.answer(QUERIES[:6])
    facts = generate(TASK, model, tmp_path / "run", content, quiet=True, batch_size=16)
    assert facts["batch_size_after_out_of_memory"] == 4
    assert max(sizes[3:]) == 4


def test_a_run_with_two_batch_sizes_writes_the_same_file(tmp_path: Path, base: Path) -> None:
    model = load(base, adapter_dir=adapters(tmp_path / "adapters", base))
    for size in (2, 16):
        generate(TASK, model, tmp_path / str(size), content, quiet=True, batch_size=size)
    one, two = (tmp_path / str(size) / "generations.jsonl" for size in (2, 16))
    assert one.read_bytes() == two.read_bytes()


def test_what_is_no_model_is_refused_with_the_reason(tmp_path: Path, base: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        load(tmp_path / "none")
    with pytest.raises(ModelError, match=r"no config\.json"):
        load(tmp_path)
    tiny_adapter(tmp_path / "adapter", base)
    with pytest.raises(ModelError, match="is an adapter; give its base"):
        load(tmp_path / "adapter")
    pickled = tiny_model(tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(ModelError, match="never loaded"):
        load(pickled)


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = tiny_model(tmp_path / "base") / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 .* model\.layers\.1\.mlp\.up_proj\.weight"):
        load(tmp_path / "base")


def as_kind(folder: Path, **config: Any) -> Path:
    """The tiny model under another name of its kind."""
    edit_json(tiny_model(folder) / "config.json", **config)
    return folder


def test_a_model_that_does_not_write_text_is_refused_by_what_it_says_of_itself(tmp_path: Path) -> None:
    for number, (config, words) in enumerate((
        ({"architectures": ["BartForConditionalGeneration"], "is_encoder_decoder": True}, "encoder-decoder models"),
        ({"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True}, "encoder-decoder models"),
        ({"architectures": ["BertForMaskedLM"]}, "BertForMaskedLM does not write text"),
        ({"architectures": ["XLMRobertaModel"]}, "XLMRobertaModel does not write text"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "LlamaForSequenceClassification does not write"),
        ({"architectures": ["InternLM2ForRewardModel"]}, "InternLM2ForRewardModel does not write text"),
    )):  # fmt: skip
        folder = as_kind(tmp_path / str(number), **config)
        for given in ({}, {"model_map": dict.fromkeys(TASK.annotators, str(folder))}):
            with pytest.raises(ModelError, match=words):
                load(tiny_model(tmp_path / "sound") if given else folder, **given)
    embeds = tiny_model(tmp_path / "embeds")
    (embeds / "modules.json").write_text("[]")
    with pytest.raises(ModelError, match="it is an embedding model"):
        load(embeds)


def test_a_checkpoint_with_weights_too_many_is_refused(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    # a reward model that calls itself a language model
    path = tiny_model(tmp_path / "base") / "model.safetensors"
    save_file({**load_file(path), "score.weight": torch.zeros(1, 32)}, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 weights .* no place for, the first is score\.weight"):
        load(tmp_path / "base")


@pytest.mark.parametrize("how", ["asked", "stored"])
def test_four_bits_on_a_cpu_are_refused(tmp_path: Path, how: str) -> None:
    stored = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    folder = as_kind(tmp_path / "base", **(stored if how == "stored" else {}))
    with pytest.raises(ModelError, match="need a GPU, and the device is cpu"):
        load(folder, device="cpu", model_arg={"load_in_4bit": "true"} if how == "asked" else {})


def test_a_model_that_minds_its_padding_is_asked_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    from transformers import RwkvConfig, RwkvForCausalLM

    folder = tiny_model(tmp_path / "base")
    torch.manual_seed(0)
    size = {"hidden_size": 32, "attention_hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    rwkv = RwkvForCausalLM(RwkvConfig(vocab_size=64, context_length=256, bos_token_id=1, eos_token_id=2, **size))
    for parameter in rwkv.parameters():
        parameter.data.normal_(std=0.3)
    rwkv.save_pretrained(folder)
    model = load(folder)
    assert model.batch_size == 1
    assert capsys.readouterr().err.count("its answers depend on padding") == 1
    # even where a size is asked for; the prompts differ in length
    queries = [Query(str(n), "Ann1", 0, "dog runs " * (n + 1)) for n in range(4)]
    assert model.answer(queries) == one_by_one(model, queries)


def test_models_that_do_not_mind_padding_are_asked_in_batches(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for dtype in ("float32", "bfloat16"):
        assert load(base, dtype=dtype).batch_size > 1
    assert "padding" not in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [{"dtype": "float12"}, {"device": "abacus"}])
def test_a_device_or_dtype_that_is_none_is_refused(base: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(ModelError, match=next(iter(wrong.values()))):
        load(base, **wrong)


def test_model_arguments_are_read_as_json_where_they_are() -> None:
    words = {"attn_implementation": "sdpa", "low": "True", "n": "3", "device_map": "auto"}
    assert _model_arguments(words) == {"attn_implementation": "sdpa", "low": True, "n": 3, "device_map": "auto"}


@pytest.mark.slow
def test_a_real_model_answers_in_its_format_with_an_adapter_per_annotator(tmp_path: Path, test_model: str) -> None:
    for seed, name in enumerate(TASK.annotators):
        tiny_adapter(tmp_path / name, Path(test_model), seed=seed, scale=0.01)
    model = load(Path(test_model), adapter_dir=str(tmp_path), max_new_tokens=48)
    prompt = (
        "You are annotator 2. Decide the label (entailment, neutral, contradiction) and explain your decision. "
        "Format: Label, then Explanation.\n\nContext: A man is playing a guitar.\nStatement: A man is asleep."
    )
    queries = [Query("1", a, 0, prompt) for a in TASK.annotators]
    answers = model.answer(queries)
    assert all(a.text.startswith("Label: ") and "Explanation: " in a.text for a in answers)
    assert one_by_one(model, queries) == answers
