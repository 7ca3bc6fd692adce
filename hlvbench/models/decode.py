"""One batch of questions through a transformers model in memory: tokens in, text out."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from ..errors import ModelError
from ..prompting.prompt import render
from ..prompting.reasoning import closed_reasoning, opened_reasoning
from ..settings import Settings
from ..types import Task
from . import Completion, Query
from .constrained import Choice, Heads, choose, heads_of, line_ends
from .gumbel import GumbelSampler, seed_of
from .loading import call_model
from .logprobs import padded, prefill, shared_prefix, shares_prefixes


class Decoder:
    """Renders, encodes, generates and decodes; the model is given with every call."""

    def __init__(self, tokenizer: Any, settings: Settings) -> None:
        self.tokenizer, self.settings = tokenizer, settings
        self.eos: list[int] = []
        self.pad = 0
        self._known_heads: dict[str, Heads] = {}
        self._line_end_tokens: list[int] | None = None

    def configure(self, model: Any) -> None:
        """Greedy and nothing else: a checkpoint's own sampling options and penalties do not apply."""
        from transformers import GenerationConfig

        given = [model.generation_config.eos_token_id, model.config.get_text_config().eos_token_id]
        listed = [i for one in given if one is not None for i in (one if isinstance(one, list) else [one])]
        self.eos = sorted({*listed, self.tokenizer.eos_token_id} - {None})
        pad = self.tokenizer.pad_token_id
        # padding is masked, so that any token the model knows will do
        known = [i for i in (pad, *self.eos) if i is not None and i < model.config.get_text_config().vocab_size]
        self.pad = known[0] if known else 0
        tokens = {
            "eos_token_id": self.eos or None,
            "pad_token_id": self.pad,
            "bos_token_id": self.tokenizer.bos_token_id,
        }
        model.generation_config = GenerationConfig(
            do_sample=False, max_new_tokens=self.settings.max_new_tokens, **tokens
        )

    def prompt_text(self, content: str) -> str:
        """What the model sees, chat template included."""
        return render(content, self.tokenizer, self.settings.think)

    def encode(self, content: str) -> list[int]:
        """Token ids of the rendered prompt."""
        return self._tokens(self.prompt_text(content))

    def _tokens(self, text: str) -> list[int]:
        """A chat template has written the special tokens itself."""
        whole = self.tokenizer.chat_template is None
        # not verbose: prompts that are too long are refused in our own words
        return list(self.tokenizer(text, add_special_tokens=whole, verbose=False).input_ids)

    def answer(
        self, model: Any, queries: Sequence[Query], task: Task | None = None, ends: Sequence[int] = ()
    ) -> list[Completion]:
        """Greedy or sampled completions of one left-padded batch.

        Args:
            model: In evaluation mode.
            queries: The questions, one row each.
            task: Given, answers are constrained: the likeliest of its labels, then an explanation of one line.
            ends: Tokens that end an answer beside the model's own.

        Raises:
            OutOfMemory: The batch does not fit.
        """
        seeds = [seed_of(self.settings.seed, q) for q in queries]
        if task is not None:
            return call_model(self.settings.model, lambda: self._constrained(model, queries, seeds, task, ends))
        prompts = [self.encode(q.content) for q in queries]
        rows = call_model(self.settings.model, lambda: self._free(model, prompts, seeds, ends))
        opened = [opened_reasoning(self.prompt_text(q.content)) for q in queries]
        return [self._completion(row, ends, before) for row, before in zip(rows, opened, strict=True)]

    def next_words(self, model: Any, queries: Sequence[Query], words: Sequence[str]) -> list[list[float]]:
        """Per query the log-probability that its prompt goes on with each of `words`, one token each.

        One forward pass per prompt; a word that is no single token there is a ModelError.
        """
        tokens = [self._next_token(queries[0].content, word) for word in words]
        prompts = [self.encode(q.content) for q in queries]
        return call_model(self.settings.model, lambda: self._next(model, prompts, tokens))

    def _next_token(self, content: str, word: str) -> int:
        """The token that `word` is after a prompt, which all prompts of a run end alike."""
        text = self.prompt_text(content)
        before, after = self._tokens(text), self._tokens(text + word)
        if after[-1:] == before[-1:] and after[-1] in self.eos and self.tokenizer.chat_template is None:
            # some tokenizers end every text
            before, after = before[:-1], after[:-1]
        if after[:-1] != before:
            raise ModelError(f"{self.settings.model}: {word!r} is not one token after a prompt; use --by reply")
        return after[-1]

    def _free(
        self, model: Any, prompts: Sequence[list[int]], seeds: Sequence[int], ends: Sequence[int]
    ) -> list[list[int]]:
        import torch

        with torch.inference_mode():
            common = shared_prefix(prompts) if shares_prefixes(model) else 0
            inputs = self._padded(model, prompts, common)
            if common:
                inputs["past_key_values"] = prefill(model, prompts[0][:common], len(prompts))
            return self._generate(model, inputs, seeds, eos_token_id=[*self.eos, *ends] or None)

    def _constrained(
        self, model: Any, queries: Sequence[Query], seeds: Sequence[int], task: Task, ends: Sequence[int]
    ) -> list[Completion]:
        """The likeliest label of every row, then its explanation: at least one token, at most one line."""
        import torch

        heads = self._heads(task)
        # an answer is no thought: a block that the template opened is closed
        prompts = [self._tokens(closed_reasoning(self.prompt_text(q.content))) for q in queries]
        with torch.inference_mode():
            choice = Choice(model, prompts, heads, self.pad)
            chosen = choose(choice.scores(), self.settings.temperature, seeds)
            breaks = self._line_ends(model)
            stops = sorted({*self.eos, *ends, *breaks})
            left = {"max_new_tokens": self.settings.max_new_tokens - heads.longest}
            ends_of_line = {"eos_token_id": stops, "begin_suppress_tokens": stops}
            rows = self._generate(model, choice.continued(chosen), seeds, **left, **ends_of_line)
        found = []
        for row, k in zip(rows, chosen, strict=True):
            rest = self._completion(row, stops)
            # a token that ends the line may begin with text of it
            last = [t for t in row[rest.new_tokens - 1 : rest.new_tokens] if t in breaks and t not in ends]
            tail = self.tokenizer.decode(last, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            text = heads.texts[k] + rest.text + tail.partition("\n")[0]
            found.append(Completion(text, rest.finish, len(heads.tokens[k]) + rest.new_tokens))
        return found

    def _heads(self, task: Task) -> Heads:
        if task.name not in self._known_heads:
            heads = heads_of(task, self.tokenizer)
            if heads.longest >= self.settings.max_new_tokens:
                raise ModelError(
                    f"--max-new-tokens {self.settings.max_new_tokens}: the label and the word before the explanation "
                    f"take {heads.longest}; raise it"
                )
            self._known_heads[task.name] = heads
        return self._known_heads[task.name]

    def _line_ends(self, model: Any) -> list[int]:
        if self._line_end_tokens is None:
            size = min(len(self.tokenizer), model.config.get_text_config().vocab_size)
            self._line_end_tokens = line_ends(self.tokenizer, size)
        return self._line_end_tokens

    def _generate(self, model: Any, inputs: dict[str, Any], seeds: Sequence[int], **changes: Any) -> list[list[int]]:
        """New tokens per row; changes: to the generation configuration."""
        width = inputs["input_ids"].shape[1]
        configuration = copy.deepcopy(model.generation_config)
        for name, value in changes.items():
            setattr(configuration, name, value)
        temperature = self.settings.temperature
        sampler = [GumbelSampler(seeds, temperature, width)] if temperature > 0 else []
        output = model.generate(**inputs, generation_config=configuration, logits_processor=sampler)
        new: list[list[int]] = output[:, width:].tolist()
        return new

    def _next(self, model: Any, prompts: Sequence[list[int]], tokens: Sequence[int]) -> list[list[float]]:
        logps = self._next_logits(model, prompts).log_softmax(dim=-1)
        found: list[list[float]] = logps[:, list(tokens)].tolist()
        return found

    def _next_logits(self, model: Any, prompts: Sequence[list[int]]) -> Any:
        """One step of generation, which knows how each architecture wants its padding and its positions."""
        import torch

        step = copy.deepcopy(model.generation_config)
        step.max_new_tokens, step.return_dict_in_generate, step.output_logits = 1, True, True
        with torch.inference_mode():
            output = model.generate(**self._padded(model, prompts), generation_config=step)
        return output.logits[0].float()

    def minds_padding(self, model: Any, content: str) -> bool:
        """Whether a prompt is continued otherwise where it is padded beside a longer one, as by models with a state
        or with positions that count the padding; rounding alone is no difference."""
        import torch

        # a short prompt and much padding, for a state forgets
        prompt = self.encode(content)[-4:]
        alone, padded = (self._next_logits(model, batch)[0] for batch in ([prompt], [prompt, prompt * 12]))
        tolerance = 1e-3 if model.dtype == torch.float32 else 5e-2
        return bool((alone - padded).abs().max() > tolerance * alone.abs().max())

    def _padded(self, model: Any, prompts: Sequence[list[int]], common: int = 0) -> dict[str, Any]:
        """The prompts as one batch, padded on the left, or after the first `common` tokens that they share."""
        import torch

        arrays = zip(("input_ids", "attention_mask"), padded(prompts, self.pad, common), strict=True)
        return {name: torch.tensor(array, device=model.device) for name, array in arrays}

    def _completion(self, row: Sequence[int], ends: Sequence[int] = (), before: str = "") -> Completion:
        """The text up to the first end token; before: a tag that the prompt ends with and the text belongs to."""
        stops = {*self.eos, *ends}
        end = next((i for i, token in enumerate(row) if token in stops), None)
        kept = row if end is None else row[:end]
        text = self.tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Completion(before + text, "length" if end is None else "stop", len(row) if end is None else end + 1)
