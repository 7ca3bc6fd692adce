"""Adapter validation: an adapter is put on its base, and what peft would only warn about is a problem.

An adapter is untrusted input. It must fit the base without a key missing or unexpected, change the logits of a probe
prompt, leave the base and the other adapters as they are, and have been trained with the base's chat template.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import first_lines
from .adapters import WEIGHTS

PROBE = "Decide the label and explain your decision. Context: A man sleeps. Statement: The man is awake."
# relative to the largest logit; rounding alone stays below it in float32
EFFECT = 1e-4
_WHOLE_LAYERS = ("embed_tokens", "lm_head", "wte", "embed_in", "embed_out", "word_embeddings")


def load_adapters(
    base: Any, folders: Sequence[Path], encoded: Sequence[int], tokenizer: Any
) -> tuple[Any, dict[Path, str], list[str]]:
    """Put adapters on a base and validate them.

    Args:
        base: A causal model in evaluation mode, wrapped in place.
        folders: Adapters of one `seat`.
        encoded: Token ids of the rendered `PROBE`.
        tokenizer: The base's.

    Returns:
        The model with all adapters, folder -> adapter name in it, and the problems; with any, the model is not to be
        used.
    """
    model, names, problems, alone = None, {}, [], {}
    plain = _logits(base, encoded)
    # what peft warns about is checked here and by `AdapterPlan.check_files`
    with warnings.catch_warnings(action="ignore"):
        for number, folder in enumerate(folders):
            # no name is part of another: peft finds an adapter's keys by substring
            name = f"adapter{number:04d}"
            try:
                model = _inject(base if model is None else model, folder, name, first=model is None)
                names[folder] = name
                found = list(_key_problems(model, folder, name))
            except Exception as error:  # peft and torch raise a dozen kinds on a config or a shape that does not fit
                # torch puts a heading above the first size mismatch
                found = [f"{folder}: does not fit the base: {first_lines(error, 2)}"]
            if not found:
                alone[folder] = _logits(model, encoded, name)
                if not alone[folder].isfinite().all():
                    found.append(f"{folder}: the model's logits are not finite with this adapter")
                elif not _differ(alone[folder], plain):
                    found.append(
                        f"{folder}: no effect on the logits of a probe prompt; it would answer as the base model does"
                    )
            problems += [*found, *_template_problems(folder, tokenizer)]
        if not problems and len(names) > 1:
            problems += _disturbances(model, names, alone, plain, encoded)
    return model, names, problems


def _inject(model: Any, folder: Path, name: str, first: bool) -> Any:
    from peft import PeftConfig, get_peft_model

    config = PeftConfig.from_pretrained(str(folder))
    config.inference_mode = True
    if first:
        return get_peft_model(model, config, adapter_name=name).eval()
    model.add_adapter(name, config)
    return model.eval()


def _key_problems(model: Any, folder: Path, name: str) -> Iterator[str]:
    """Load the weights; whole layers of the base, and keys that are missing or unexpected."""
    from safetensors import safe_open

    with safe_open(folder / WEIGHTS, framework="pt") as stream:
        keys = set(stream.keys())
    saved = model.peft_config[name].to_dict().get("modules_to_save") or ()
    whole = [k for k in keys if any(f".{w}.weight" in k for w in _WHOLE_LAYERS if w not in saved) and ".lora_" not in k]
    if whole:
        yield (
            f"{folder}: carries whole layers of the base ({', '.join(sorted(whole))}), as after a resized vocabulary; "
            f"such an adapter cannot share its base: merge it and give it by --model-map"
        )
        return
    result = model.load_adapter(str(folder), adapter_name=name, torch_device="cpu")
    model.eval()
    unexpected = set(result.unexpected_keys)
    if model.peft_config[name].is_prompt_learning:
        # loaded by the prompt encoder, which the module's own loading knows nothing of
        unexpected -= {"prompt_embeddings"}
    parameters = dict(model.named_parameters(remove_duplicate=False))
    # what several layers share is loaded under one of its names
    loaded = {id(p) for key, p in parameters.items() if key not in result.missing_keys}
    missing = {key for key in result.missing_keys if id(parameters.get(key)) not in loaded}
    for what, found in (("missing", missing), ("unexpected", unexpected)):
        if found:
            yield f"{folder}: {len(found)} {what} keys, the first is {sorted(found)[0]}; it does not fit the base"


def _disturbances(
    model: Any, names: Mapping[Path, str], alone: Mapping[Path, Any], plain: Any, encoded: Sequence[int]
) -> Iterator[str]:
    """Adapters that answer otherwise once the others are on the base, and a base that they changed."""
    with model.disable_adapter():
        changed = _differ(_logits(model, encoded), plain)
    for folder, name in names.items():
        if changed or _differ(_logits(model, encoded, name), alone[folder]):
            yield (
                f"{folder}: on one base with the other adapters it answers otherwise than alone; merge it into a copy "
                f"of the base and give that by --model-map"
            )


def _differ(logits: Any, plain: Any) -> bool:
    return bool((logits - plain).abs().max() > EFFECT * plain.abs().max())


def _logits(model: Any, encoded: Sequence[int], adapter: str = "") -> Any:
    """The float32 logits, on the CPU, after the last of the `encoded` tokens."""
    import torch

    with torch.inference_mode():
        if adapter:
            model.set_adapter(adapter)
        ids = torch.tensor([list(encoded)], device=model.device)
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -1].float().cpu()


def _template_problems(folder: Path, tokenizer: Any) -> Iterator[str]:
    """A chat template saved beside the adapter must render as the base's does: it is what training used."""
    template = _chat_template(folder)
    if template is None:
        return
    messages = [{"role": "user", "content": PROBE}]
    options: Mapping[str, Any] = {"tokenize": False, "add_generation_prompt": True, "enable_thinking": False}
    try:
        theirs = tokenizer.apply_chat_template(messages, chat_template=template, **options)
        ours = tokenizer.apply_chat_template(messages, **options) if tokenizer.chat_template else None
    except Exception as error:  # templates raise whatever they like
        yield f"{folder}: the chat template saved beside the adapter cannot be rendered: {first_lines(error)}"
        return
    if theirs != ours:
        yield (
            f"{folder}: a chat template is saved beside the adapter that renders prompts otherwise than the base's; "
            f"give --model with the tokenizer of its training, or delete the template there if it was never used"
        )


def _chat_template(folder: Path) -> str | None:
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    try:
        found = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("chat_template")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, str) else None
