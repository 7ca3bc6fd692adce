"""Similarity to the annotator's own explanation (docs/metrics.md section 4).

A pair with several records counts the most similar one. A missing answer and an empty text have similarity 0.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np

from ..bootstrap import Draws
from ..text import UNSPACED, mostly_latin, norm
from .predictions import Answers
from .registry import Estimate, metric, over_annotators

View = Literal["raw", "norm"]
_ROWS = 4096
"""Embeddings that are float64 at a time."""


def best_of_records(
    answers: Answers, view: str, similarity: Callable[[list[str], list[str]], np.ndarray]
) -> np.ndarray:
    """The largest similarity of each prediction to one of the annotator's explanations.

    Args:
        answers: The predictions.
        view: "raw" or "norm".
        similarity: Maps candidates and references, two lists of one length, to one number per pair.

    Returns:
        (Q,); 0 for an empty text.
    """
    texts, references = answers.texts(view), answers.references(view)
    pairs = [(q, text, own) for q, text in enumerate(texts) if text for own in references[q]]
    out = np.zeros(len(texts))
    if pairs:
        questions, candidates, owns = (list(column) for column in zip(*pairs, strict=True))
        best = np.full(len(texts), -np.inf)
        np.maximum.at(best, questions, similarity(candidates, owns))
        out = np.where(np.isfinite(best), best, 0.0)
    return out


def rouge_l_values(answers: Answers, view: str = "raw") -> np.ndarray:
    """(Q,) ROUGE-L F1, 0 to 1."""
    return answers.once(
        ("rouge_l", view),
        lambda: best_of_records(answers, view, lambda c, r: np.array([_rouge_l(*p) for p in zip(c, r, strict=True)])),
    )


def bertscore_values(answers: Answers, view: str = "raw", model: str = "minilm-l6", layer: int = 6) -> np.ndarray:
    """(Q,) BERTScore F1, without rescaling."""
    return answers.once(
        ("bertscore", view, model, layer),
        lambda: best_of_records(answers, view, lambda c, r: answers.embedder.bertscore(c, r, model, layer)),
    )


def embedding_cosine_values(answers: Answers, view: str = "raw") -> np.ndarray:
    """(Q,) cosine of the sentence embeddings."""

    def cosines(candidates: list[str], references: list[str]) -> np.ndarray:
        left, right = map(answers.embedder.encode, (candidates, references))
        parts = [slice(start, start + _ROWS) for start in range(0, len(left), _ROWS)]
        found = [np.einsum("nd,nd->n", left[part].astype(float), right[part].astype(float)) for part in parts]
        return np.clip(np.concatenate(found), -1.0, 1.0)

    return answers.once(("embedding_cosine", view), lambda: best_of_records(answers, view, cosines))


@metric(better="higher", headline=True)
def rouge_l(answers: Answers, draws: Draws, *, view: View = "raw") -> Estimate:
    """ROUGE-L F1 (Lin 2004, package rouge_score with its stemmer), 0 to 1; 1 for the annotator's own words.

    Its tokens are lower-cased runs of a-z and 0-9: both views give nearly the same number. A text mostly in
    another script has the words of its norm view as tokens, or its characters where the script puts no space between
    words (ours; rouge_score itself gives such a text no token).
    """
    return over_annotators(answers.means(rouge_l_values(answers, view), draws), answers.counts)


@metric(better="higher", bounds=(-1.0, 1.0), headline=True)
def bertscore(
    answers: Answers, draws: Draws, *, view: View = "raw", model: str = "minilm-l6", layer: int = 6
) -> Estimate:
    """BERTScore F1 (Zhang et al. 2020), no idf, no rescaling; 1 for the annotator's own words.

    Args:
        view: View of the texts.
        model: "minilm-l6" (the verified all-MiniLM-L6-v2) or a model that transformers can load.
        layer: Hidden layer, counted from 1.
    """
    values = bertscore_values(answers, view, model, layer)
    return over_annotators(answers.means(values, draws), answers.counts)


@metric(better="higher", bounds=(-1.0, 1.0), variants=({"view": "raw"}, {"view": "norm"}), headline={"view": "raw"})
def embedding_cosine(answers: Answers, draws: Draws, *, view: View = "raw") -> Estimate:
    """Cosine of the sentence embeddings of the answer and the annotator's own explanation, -1 to 1."""
    values = embedding_cosine_values(answers, view)
    return over_annotators(answers.means(values, draws), answers.counts)


class _CachedTokens:
    """The tokenizer of rouge_score with its stemmer, which is most of the cost, run once per word."""

    def __init__(self) -> None:
        from rouge_score import tokenize
        from rouge_score.tokenizers import DefaultTokenizer

        self.stem = lru_cache(maxsize=1 << 17)(DefaultTokenizer(use_stemmer=True)._stemmer.stem)
        self._latin = partial(tokenize.tokenize, stemmer=self)
        self.tokenize = lru_cache(maxsize=1 << 17)(self._tokens)

    def _tokens(self, text: str) -> list[str]:
        if mostly_latin(text):
            return list(self._latin(text))
        found = []
        for word in norm(text).split():
            if any(unicodedata.name(c, "").startswith(UNSPACED) for c in word):
                # a character with its marks
                found += re.findall(r"\w\W*", word)
            else:
                found += self._latin(word) if word.isascii() else [word]
        return found


@lru_cache(maxsize=1)
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], tokenizer=_CachedTokens())


@lru_cache(maxsize=1 << 17)
def _rouge_l(candidate: str, reference: str) -> float:
    if candidate == reference:
        return float(bool(_scorer()._tokenizer.tokenize(candidate)))
    return float(_scorer().score(reference, candidate)["rougeL"].fmeasure)
