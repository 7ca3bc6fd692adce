"""What ends an answer, and what stands before it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.models.test_hf import QUERIES, adapters, load
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("ends") / "base")


def test_an_end_token_that_only_the_adapters_tokenizer_names_ends_its_answers(tmp_path: Path, base: Path) -> None:
    folder = Path(adapters(tmp_path, base))
    before = load(base, adapter_dir=str(folder), max_new_tokens=40).answer(QUERIES)
    # the first word of an answer of Ann1 that is no end token yet
    word = next(a.text.split()[1] for q, a in zip(QUERIES, before, strict=True) if q.annotator == "Ann1")
    (folder / "Ann1" / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": word}}))
    after = load(base, adapter_dir=str(folder), max_new_tokens=40).answer(QUERIES)
    for query, then, now in zip(QUERIES, before, after, strict=True):
        cut = query.annotator == "Ann1" and word in then.text.split()
        assert now.text.split() == (then.text.split()[: then.text.split().index(word)] if cut else then.text.split())
        assert now.finish == ("stop" if cut else then.finish)


def test_a_pad_token_beyond_the_embedding_does_no_harm(tmp_path: Path, base: Path) -> None:
    from transformers import AutoTokenizer

    expected = load(base).answer(QUERIES)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_special_tokens({"pad_token": "<|beyond|>"})
    shutil.copytree(base, tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    assert load(tmp_path / "model").answer(QUERIES) == expected


def test_a_reasoning_block_that_the_template_opened_stands_in_the_text(tmp_path: Path, base: Path) -> None:
    from transformers import AutoTokenizer

    shutil.copytree(base, tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = f"{tokenizer.chat_template}<think>\n"
    tokenizer.save_pretrained(tmp_path / "model")
    free = load(tmp_path / "model").answer(QUERIES[:2])
    held = load(tmp_path / "model", max_new_tokens=24, answers="constrained").answer(QUERIES[:2])
    assert all(a.text.startswith("<think>") for a in free)
    assert all(a.text.startswith("Label: ") for a in held)
