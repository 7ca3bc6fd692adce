"""From a folder to a transformers model and its tokenizer in memory; safetensors only."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..errors import ModelError, first_lines
from ..io import read_json
from ..processes import process_rank
from ..settings import Settings, json_or_text
from . import OutOfMemory
from .adapters import CONFIG, Base, identify

T = TypeVar("T")
CPU_BATCH, GPU_BATCH = 32, 64
PLANNED = 2048
"""Tokens of prompt and answer that a batch size is planned for."""


def identified(name: str, folder: Path) -> Base:
    """What the folder is, or a ModelError if it is no model that can be loaded."""
    check_kind(name, folder)
    return identify(name, folder)


def check_kind(name: str, folder: Path) -> None:
    """ModelError for a folder that holds no model that writes text, as far as its small files tell."""
    if (folder / CONFIG).is_file():
        raise ModelError(f"--model {name} is an adapter; give its base as --model and the folder as --adapter-dir")
    if not (folder / "config.json").is_file():
        raise ModelError(f"--model {name}: no config.json in {folder}; it is no transformers model")
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"--model {name}: no safetensors in {folder}; pickled weights can run any code and are never loaded"
        )
    config = read_json(folder / "config.json")
    kinds = [str(kind) for kind in config.get("architectures") or ()]
    wanted = "give a causal language model (its config.json names an architecture such as LlamaForCausalLM)"
    if config.get("is_encoder_decoder"):
        raise ModelError(f"--model {name}: encoder-decoder models ({', '.join(kinds)}) are not supported; {wanted}")
    if (folder / "modules.json").is_file():
        raise ModelError(f"--model {name}: modules.json says that it is an embedding model; {wanted}")
    if kinds and not any(map(_writes, kinds)) and "AutoModelForCausalLM" not in (config.get("auto_map") or {}):
        raise ModelError(f"--model {name}: {', '.join(kinds)} does not write text; {wanted}")


def _writes(architecture: str) -> bool:
    """Whether a class of transformers is a causal language model."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as known

    named = {name for names in known.values() for name in ([names] if isinstance(names, str) else names)}
    return architecture.endswith("ForCausalLM") or architecture in named


def load_tokenizer(folder: Path, settings: Settings) -> Any:
    """The tokenizer, or a ModelError."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            str(folder), padding_side="left", trust_remote_code=settings.trust_remote_code
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder}: its tokenizer cannot be loaded: {first_lines(error)}") from error


def load_model(folder: Path, settings: Settings, device: str) -> Any:
    """The causal model in eval mode on its device; dtype "auto" is the checkpoint's, on a CPU float32."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    arguments = {"trust_remote_code": settings.trust_remote_code, **_model_arguments(settings.model_arg)}
    stored = read_json(folder / "config.json").get("quantization_config") or {}
    if device == "cpu" and ("quantization_config" in arguments or stored.get("quant_method") == "bitsandbytes"):
        raise ModelError(
            f"{folder}: 4-bit and 8-bit weights of bitsandbytes need a GPU, and the device is cpu; give the model in "
            f"its full precision, without load_in_4bit or load_in_8bit"
        )
    dtype: Any = settings.dtype
    if dtype == "auto" and device == "cpu":
        # half precision is slow or missing on most CPUs
        dtype = torch.float32
    elif dtype != "auto":
        dtype = getattr(torch, dtype, None)
        if not isinstance(dtype, torch.dtype):
            raise ModelError(f"--dtype {settings.dtype}: auto, float32, bfloat16 or float16")
    logging.disable_progress_bar()
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=dtype, use_safetensors=True, output_loading_info=True, **arguments
        )
    except (OSError, ValueError, KeyError, ImportError, TypeError, RuntimeError) as error:
        raise ModelError(f"{folder}: cannot be loaded: {first_lines(error)}") from error
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise ModelError(
            f"{folder}: the checkpoint lacks {len(missing)} of the model's weights, the first is {missing[0]}"
        )
    if info["unexpected_keys"]:
        unexpected = sorted(info["unexpected_keys"])
        raise ModelError(
            f"{folder}: the checkpoint holds {len(unexpected)} weights that a causal language model has no place for, "
            f"the first is {unexpected[0]}: is it a classifier, a reward or an embedding model?"
        )
    if "device_map" not in arguments and "quantization_config" not in arguments:
        model = model.to(device)
    return model.eval()


def _model_arguments(words: Mapping[str, str]) -> dict[str, Any]:
    """`--model-arg` values read as JSON where they are JSON; bitsandbytes' options become its config."""
    found = {key: json_or_text(word) for key, word in words.items()}
    quantised = {k: found.pop(k) for k in list(found) if k.startswith(("load_in_", "bnb_"))}
    if quantised:
        from transformers import BitsAndBytesConfig

        found["quantization_config"] = BitsAndBytesConfig(**quantised)
    return found


def pick_device(asked: str) -> str:
    """The device asked for if it works; "auto" takes the fastest there is."""
    import torch

    if asked in ("auto", "cuda") and torch.cuda.is_available():
        # of several processes on a machine each takes its own GPU, which is "cuda" to it from here on
        torch.cuda.set_device(process_rank().local % torch.cuda.device_count())
    if asked != "auto":
        try:
            torch.empty(1, device=asked)
        except (RuntimeError, AssertionError) as error:
            raise ModelError(f"--device {asked}: not usable here: {first_lines(error)}") from None
        return asked
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def context_of(model: Any) -> int | None:
    """The positions of prompt and answer together; None where the configuration does not say."""
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return None if positions is None else int(positions)


def fitting_batch(model: Any, device: str) -> int:
    """How many questions to answer at a time: a power of two, at most 32 on a CPU and 64 elsewhere.

    Measured on two cores (SmolLM2-135M, VariErr): 32 answers at a time cost 40 % of what single batches of 4 cost, and
    more gain little. As many as keys and values of `PLANNED` tokens a row fit into an eighth of the memory; whatever is
    too large after all is halved when memory runs out.
    """
    import torch

    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or getattr(config, "num_attention_heads", 1)
    width = getattr(config, "head_dim", None) or config.hidden_size // getattr(config, "num_attention_heads", 1)
    row = 2 * config.num_hidden_layers * heads * width * model.dtype.itemsize * PLANNED
    if device.startswith("cuda"):
        memory = torch.cuda.get_device_properties(device).total_memory
    else:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 8 * 2**30
    most = CPU_BATCH if device == "cpu" else GPU_BATCH
    rows = max(1, min(most, memory // 8 // row))
    return int(2 ** (int(rows).bit_length() - 1))


def free_memory() -> None:
    """Give back what dropped tensors held."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether memory did not suffice, in the words of any device."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error).lower() for words in ("out of memory", "can't allocate memory", "not enough memory")
    )


def call_model(name: str, make: Callable[[], T]) -> T:
    """`make()`, where a failure of the model `name` is an OutOfMemory or a ModelError."""
    # raised outside the handler: an exception in flight would keep the failed batch's tensors alive
    try:
        return make()
    except RuntimeError as error:
        failure = first_lines(error)
        if not is_out_of_memory(error):
            raise ModelError(f"{name}: generation failed: {failure}") from error
    free_memory()
    raise OutOfMemory(failure)
