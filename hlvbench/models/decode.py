"""One batch of questions through a transformers model in memory: tokens in, text out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ModelError
from ..prompt import render
from ..settings import Settings
from . import Completion, OutOfMemory, Query
from .load import free_memory, is_out_of_memory
from .noise import GumbelNoise, seed_of


class Decoder:
    """Renders, encodes, generates and decodes; the model is given with every call."""

    def __init__(self, tokenizer: Any, settings: Settings) -> None:
        self.tokenizer, self.settings = tokenizer, settings
        self.eos: list[int] = []
        self.pad = 0

    def configure(self, model: Any) -> None:
        """Greedy and nothing else: a checkpoint's own sampling options and penalties do not apply."""
        from transformers import GenerationConfig

        given = [model.generation_config.eos_token_id, model.config.get_text_config().eos_token_id]
        listed = [i for one in given if one is not None for i in (one if isinstance(one, list) else [one])]
        self.eos = sorted({*listed, self.tokenizer.eos_token_id} - {None})
        pad = self.tokenizer.pad_token_id
        self.pad = pad if pad is not None else (self.eos[0] if self.eos else 0)
        model.generation_config = GenerationConfig(
            do_sample=False, max_new_tokens=self.settings.max_new_tokens, eos_token_id=self.eos or None,
            pad_token_id=self.pad, bos_token_id=self.tokenizer.bos_token_id,
        )  # fmt: skip

    def prompt_text(self, content: str) -> str:
        """What the model sees, chat template included."""
        return render(content, self.tokenizer, self.settings.think)

    def encode(self, content: str) -> list[int]:
        """Token ids of the rendered prompt; a chat template has written the special tokens itself."""
        whole = self.tokenizer.chat_template is None
        # not verbose: prompts that are too long are refused in our own words
        return list(self.tokenizer(self.prompt_text(content), add_special_tokens=whole, verbose=False).input_ids)

    def answer(self, model: Any, queries: Sequence[Query]) -> list[Completion]:
        """Greedy or sampled completions of one left-padded batch; OutOfMemory where it does not fit."""
        prompts = [self.encode(q.content) for q in queries]
        width = max(map(len, prompts))
        noise: list[Any] = []
        if self.settings.temperature > 0:
            seeds = [seed_of(self.settings.seed, q) for q in queries]
            noise = [GumbelNoise(seeds, self.settings.temperature, width)]
        # raised outside the handler: an exception in flight would keep the failed batch's tensors alive
        failure = None
        try:
            rows = self._generate(model, prompts, width, noise)
        except RuntimeError as error:
            failure = str(error).splitlines()[0]
            if not is_out_of_memory(error):
                raise ModelError(f"{self.settings.model}: generation failed: {failure}") from error
        if failure is not None:
            free_memory()
            raise OutOfMemory(failure)
        return [self._completion(row) for row in rows]

    def _generate(self, model: Any, prompts: Sequence[list[int]], width: int, noise: list[Any]) -> list[list[int]]:
        import torch

        ids = [[self.pad] * (width - len(p)) + p for p in prompts]
        mask = [[0] * (width - len(p)) + [1] * len(p) for p in prompts]
        with torch.inference_mode():
            output = model.generate(
                input_ids=torch.tensor(ids, device=model.device),
                attention_mask=torch.tensor(mask, device=model.device),
                generation_config=model.generation_config,
                logits_processor=noise,
            )
        new: list[list[int]] = output[:, width:].tolist()
        return new

    def _completion(self, row: Sequence[int]) -> Completion:
        end = next((i for i, token in enumerate(row) if token in self.eos), None)
        kept = row if end is None else row[:end]
        text = self.tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Completion(text, "length" if end is None else "stop", len(row) if end is None else end + 1)
