"""A random-weight Llama with a word tokenizer, and random adapters for it: small enough to make in every test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WORDS = "you are annotator 1 2 3 4 label score explanation neutral entailment contradiction decide the and your".split()
WORDS += "premise hypothesis dog cat runs sleeps red blue house tree because so is for in of : . , ( ) answer".split()
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|> {{ m['content'] }} <|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tiny_model(
    folder: Path, chat: bool = True, context: int = 256, seed: int = 0, hidden: int = 32, biased: bool = False
) -> Path:
    """Save the model and its tokenizer in `folder`; the same arguments give the same weights."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<|pad|>", "<|bos|>", "<|end|>", "<|user|>", "<|assistant|>", "<|unk|>"]
    vocabulary = {word: i for i, word in enumerate([*special, *dict.fromkeys(WORDS)])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<|unk|>"))
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<|pad|>", bos_token="<|bos|>", eos_token="<|end|>", unk_token="<|unk|>",
        additional_special_tokens=["<|user|>", "<|assistant|>"], padding_side="left",
    )  # fmt: skip
    if chat:
        tokenizer.chat_template = TEMPLATE
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(vocabulary), hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=context, pad_token_id=0,
            bos_token_id=1, eos_token_id=2, tie_word_embeddings=False, initializer_range=0.5, attention_bias=biased,
        )
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_adapter(
    folder: Path,
    base: Path,
    kind: str = "lora",
    seed: int = 1,
    train: bool = True,
    targets: Any = None,
    scale: float = 0.5,
    **options: Any,
) -> Path:
    """Save an adapter of `base` in `folder`, its weights moved at random by `scale` (`train`) or as peft starts them.

    kind: lora, dora, ia3, prompt, prefix. options: more of a LoRA.
    """
    import torch
    from peft import IA3Config, LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    wanted = targets or ["q_proj", "v_proj", "down_proj"]
    config: Any = {
        "lora": lambda: LoraConfig(r=4, target_modules=wanted, task_type="CAUSAL_LM", **options),
        "dora": lambda: LoraConfig(r=4, target_modules=wanted, task_type="CAUSAL_LM", use_dora=True),
        "ia3": lambda: IA3Config(target_modules=wanted, feedforward_modules=["down_proj"], task_type="CAUSAL_LM"),
        "prompt": lambda: PromptTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM"),
        "prefix": lambda: PrefixTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM"),
    }[kind]()
    torch.manual_seed(seed)
    wrapped = get_peft_model(model, config)
    if train:
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.data.add_(torch.randn_like(parameter) * scale)
    wrapped.save_pretrained(folder)
    return folder


def edit_json(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file in place."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
