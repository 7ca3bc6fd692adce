"""Similarity to the annotator's own explanation, by hand and against the reference packages."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hlvbench.bootstrap import every_item_once, item_draws
from hlvbench.data.task import load_task
from hlvbench.metrics import Answers, bind, similarity
from hlvbench.text import norm, raw
from hlvbench.types import Annotation
from tests.toy import ToyEmbedder, toy_task


def _answers(texts: list[str | None], records: list[list[str]]) -> Answers:
    """One annotator; `records` are the explanations of each item, `texts` the answers (None: missing)."""
    task = toy_task(annotators=1, items=(1, 1, len(texts)))
    ids = task.splits["test"]
    own = [Annotation(i, "Ann1", "neutral", x) for i, found in zip(ids, records, strict=True) for x in found]
    given = {(i, "Ann1"): Annotation(i, "Ann1", "neutral", x) for i, x in zip(ids, texts, strict=True) if x is not None}
    return Answers(replace(task, records=tuple(own)), "test", given, ToyEmbedder())


def test_rouge_l_by_hand() -> None:
    answers = _answers(["the dog runs fast"], [["The dogs ran, fast!"]])
    # tokens after stemming: the dog run fast / the dog ran fast; longest common subsequence 3 of 4 and 4: F1 3/4
    assert similarity.rouge_l_values(answers) == pytest.approx([0.75])


@pytest.mark.parametrize(
    ("said", "record", "value"),
    [
        # words: यह सही है / यह बात सही है, 3 of 3 and of 4: 2·3 / 7
        ("यह सही है।", "यह बात सही है", 6 / 7),
        ("Он спит.", "Он не спит", 4 / 5),
        # characters: 他 在 睡 觉 / 他 没 睡, 2 of 4 and of 3
        ("他在睡觉。", "他没睡", 4 / 7),
        # ไ ม่ ใ ช่ / ใ ช่, 2 of 4 and of 2
        ("ไม่ใช่", "ใช่", 4 / 6),
        # English stays as the package has it, whatever a quotation holds
        ("a “他” cat", "the cat", 2 * 1 / (2 + 2)),
    ],
)
def test_rouge_l_of_other_scripts_by_hand(said: str, record: str, value: float) -> None:
    assert similarity.rouge_l_values(_answers([said], [[record]])) == pytest.approx([value])


def test_rouge_l_equals_the_reference_program_on_every_question() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    task = toy_task(doubles=0.3)
    answers = Answers(task, "test", {p: task.by_pair[p][-1] for p in task.questions("dev")}, ToyEmbedder())
    blind = Answers(task, "test", answers.blind.predictions, ToyEmbedder())
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    for pair, value in zip(blind.questions, similarity.rouge_l_values(blind), strict=True):
        said = blind.predictions[pair].explanation
        best = max(scorer.score(r.explanation, said)["rougeL"].fmeasure for r in task.by_pair[pair])
        assert value == pytest.approx(best)


@pytest.mark.parametrize("name", ["rouge_l", "bertscore", "embedding_cosine"])
@pytest.mark.parametrize("view", ["raw", "norm"])
def test_the_best_record_counts_and_missing_or_empty_is_zero(name: str, view: str) -> None:
    answers = _answers(
        ["red house", None, "  ", "blue tree", "old river"],
        [["new bridge", "red house"], ["a"], ["b"], ["blue tree"], [" "]],
    )
    values = getattr(similarity, f"{name}_values")(answers, view)
    assert values == pytest.approx([1, 0, 0, 1, 0], abs=1e-6)
    assert bind(name, view=view)(answers, every_item_once(5)).overall[0] == pytest.approx(2 / 5)


def test_negative_similarities_are_kept() -> None:
    opposite = similarity.best_of_records(_answers(["a"], [["b", "c"]]), "raw", lambda c, r: np.array([-0.5, -0.2]))
    assert list(opposite) == [-0.2]


def test_the_norm_view_does_not_see_orthography() -> None:
    answers = _answers(["Red House."], [["red, house"]])
    assert similarity.embedding_cosine_values(answers, "norm") == pytest.approx([1.0])
    assert similarity.embedding_cosine_values(answers, "raw")[0] < 0.9


def test_bertscore_hands_model_and_layer_to_the_encoder() -> None:
    asked = []

    class Recording(ToyEmbedder):
        def bertscore(self, candidates: object, references: object, model: str, layer: int) -> np.ndarray:
            asked.append((candidates, references, model, layer))
            return np.array([0.25, 0.5])

    answers = replace(_answers(["x"], [["y", "z"]]), embedder=Recording())
    found = bind("bertscore", model="some/model", layer=3)(answers, every_item_once(1))
    assert found.overall[0] == 0.5
    assert asked == [(["x", "x"], ["y", "z"], "some/model", 3)]


def test_values_are_computed_once_and_shared_by_all_replicates() -> None:
    calls = []

    class Counting(ToyEmbedder):
        def encode(self, texts):  # type: ignore[no-untyped-def]
            calls.append(len(texts))
            return super().encode(texts)

    task = toy_task()
    answers = Answers(task, "test", {p: task.by_pair[p][0] for p in task.questions("test")}, Counting())
    for draws in (every_item_once(20), item_draws(answers.items, "toy@1", "test", replicates=10)):
        bind("embedding_cosine")(answers, draws)
    assert len(calls) == 2  # candidates and references


@pytest.mark.slow
def test_another_persons_text_on_the_real_data(data_dir: Path) -> None:
    from hlvbench.data.task import load_task
    from hlvbench.embeddings import load_embedder

    task = load_task("varierr", data_dir=data_dir)
    given = {}
    for item, annotator in task.questions("test"):
        others = [(item, a) for a in task.annotators if a != annotator and (item, a) in task.by_pair]
        if others:
            given[item, annotator] = task.by_pair[others[0]][0]
    answers = Answers(task, "test", given, load_embedder(), limit=25)
    once = every_item_once(len(answers.items))
    for name in ("rouge_l", "bertscore", "embedding_cosine"):
        assert bind(name)(answers.human, once).overall[0] == pytest.approx(1.0, abs=1e-6)
        # two people's words on one item share content and differ in form
        assert 0.1 < bind(name)(answers, once).overall[0] < 0.7


@pytest.mark.parametrize("name", ["varierr", "r2"])
def test_texts_of_the_datasets_have_the_tokens_and_the_norm_view_they_had(name: str, data_dir: Path) -> None:
    from rouge_score.tokenizers import DefaultTokenizer

    task, theirs, ours = load_task(name, data_dir), DefaultTokenizer(use_stemmer=True), similarity._CachedTokens()
    for text in [r.explanation for r in task.records] + [t for i in task.items.values() for t in i.text.values()]:
        assert norm(text) == re.sub(r"\W+", " ", unicodedata.normalize("NFC", text).lower()).strip()
        assert ours.tokenize(raw(text)) == theirs.tokenize(raw(text))
