"""From raw text to scores: counted by hand, nothing dropped, nothing doubled."""

import json
import math
from dataclasses import replace

import pytest

from hlvbench.baselines.baseline_registry import open_baseline
from hlvbench.errors import DataError
from hlvbench.metrics import bind, parse_signature
from hlvbench.models import Query
from hlvbench.prompting.prompt import render_answer
from hlvbench.results.score_report import ScoreReport
from hlvbench.results.scorecard import score_task
from hlvbench.types import Annotation, Generation, Item, Task

from ..toy import ToyEmbedder, toy_task


def tiny() -> Task:
    """Two annotators, three test items; Ann2 did not label item c."""
    gold = {
        ("a", "Ann1"): "yes", ("a", "Ann2"): "no", ("b", "Ann1"): "no", ("b", "Ann2"): "no", ("c", "Ann1"): "yes",
    }  # fmt: skip
    test = tuple(Annotation(i, a, y, f"{a} says {y} of {i}") for (i, a), y in gold.items())
    train = tuple(Annotation("t", a, "no", f"{a} on t") for a in ("Ann1", "Ann2"))
    dev = tuple(Annotation("d", a, "no", f"{a} on d") for a in ("Ann1", "Ann2"))
    return Task(
        name="tiny", version="1", kind="nominal", labels=("yes", "no"), priority=("yes", "no"), instruction="Decide.",
        fields={"text": "Text"}, annotators=("Ann1", "Ann2"),
        items={i: Item(i, {"text": f"text of {i}"}) for i in "tdabc"}, records=train + dev + test,
        splits={"train": ("t",), "dev": ("d",), "test": ("a", "b", "c")}, min_records=1,
    )  # fmt: skip


def rows(task, answers, sample=0):
    return [
        Generation(i, a, sample, render_answer(task, y, "words") if y else "no idea", "stop", 3, "")
        for (i, a), y in answers.items()
    ]


def values(report, metric):
    return {s.annotator: s.value for s in report.scores if s.metric == metric}


ACCURACY = [bind("label_accuracy", multi="any")]


def test_accuracy_counts_a_missing_answer_as_wrong_and_averages_over_annotators():
    task = tiny()
    answers = {
        ("a", "Ann1"): "yes",
        ("b", "Ann1"): "no",
        ("c", "Ann1"): None,
        ("a", "Ann2"): "no",
        ("b", "Ann2"): "yes",
    }
    report = score_task(task, rows(task, answers), ToyEmbedder(), metrics=ACCURACY).report
    # Ann1: right, right, missing = 2/3; Ann2: right, wrong = 1/2; mean = 7/12
    found = values(report, "label_accuracy")
    assert found == pytest.approx({"Ann1": 2 / 3, "Ann2": 1 / 2, None: 7 / 12}, abs=1e-6)
    assert (report.questions, report.missing, report.missing_reasons) == (5, 1, {"no label": 1})
    # both annotators' train mode is "no": right for 1 of Ann1's 3 and 2 of Ann2's 2, mean 2/3
    assert report.majority["mean"] == pytest.approx(2 / 3, abs=1e-6)


def test_a_question_without_a_row_is_missing_and_stays_in_the_denominator():
    task = tiny()
    report = score_task(task, rows(task, {("a", "Ann1"): "yes"}), ToyEmbedder(), metrics=ACCURACY).report
    assert report.missing_reasons == {"no answer": 4}
    assert values(report, "label_accuracy")["Ann1"] == pytest.approx(1 / 3, abs=1e-6)


def test_samples_are_full_sets_and_scores_are_their_mean():
    task = tiny()
    right = {p: task.by_pair[p][0].label for p in task.questions("test")}
    wrong = {p: "no" if y == "yes" else "yes" for p, y in right.items()}
    both = rows(task, right) + rows(task, wrong, 1)
    scored = score_task(task, both, ToyEmbedder(), metrics=ACCURACY)
    assert values(scored.report, "label_accuracy")[None] == 0.5
    assert scored.report.samples == 2
    assert len(scored.answers) == 10
    assert parse_signature(scored.report.scores[0].signature).samples == 2


def test_rows_of_other_questions_and_doubled_rows_are_refused_all_at_once():
    task = tiny()
    strange = rows(task, {("zz", "Ann1"): "yes", ("c", "Ann2"): "yes", ("t", "Ann1"): "no"})
    doubled = rows(task, {("a", "Ann1"): "yes"}) * 2
    with pytest.raises(DataError) as caught:
        score_task(task, strange + doubled, ToyEmbedder(), metrics=ACCURACY)
    text = str(caught.value)
    assert all(word in text for word in ("'zz'", "'c'", "'t'", "stands twice", "4 rows"))


def system_rows(task, name):
    model = open_baseline(f"reference:{name}", task, "test", ToyEmbedder())
    queries = [Query(i, a, 0, "") for i, a in task.questions("test")]
    return [
        Generation(q.item, q.annotator, 0, c.text, c.finish, c.new_tokens, "")
        for q, c in zip(queries, model.answer(queries), strict=True)
    ]


def toy_metrics(task):
    """The label metrics, whose values do not need an encoder by name."""
    names = ["label_accuracy", "label_kappa", "rouge_l", "embedding_cosine", "grounding", "distinct", "copy_rate"]
    names += ["label_error", "within_one"] if task.kind == "ordinal" else ["macro_f1"]
    return [bind(name) for name in names]


@pytest.mark.parametrize("kind", ["nominal", "ordinal"])
def test_every_row_is_complete_json_and_its_signature_parses_back(kind):
    task = toy_task(kind, absent=0.1)
    scored = score_task(task, system_rows(task, "nearest"), ToyEmbedder(), replicates=50, metrics=toy_metrics(task))
    json.dumps([scored.report.to_dict(), scored.answers], allow_nan=False)
    assert ScoreReport.model_validate(scored.report.to_dict()) == scored.report
    for score in scored.report.scores:
        signature = parse_signature(score.signature)
        assert str(signature) == score.signature
        assert (signature.metric.short, signature.boot) == (score.metric, 50)
        assert score.value is not None or score.note
        if score.low is not None:
            assert score.low <= score.value <= score.high


def test_an_unscored_annotators_rows_are_parsed_but_left_out_by_name():
    task = toy_task(min_records=20)
    kept = tuple(r for r in task.records if r.annotator != "Ann4" or r.item.startswith(("test1", "train1")))
    ragged = Task(**{**{f: getattr(task, f) for f in task.__dataclass_fields__}, "records": kept})
    report = score_task(ragged, system_rows(ragged, "human"), ToyEmbedder(), metrics=ACCURACY, replicates=20).report
    assert report.unscored_annotators == ["Ann4"]
    assert set(values(report, "label_accuracy")) == {None, "Ann1", "Ann2", "Ann3"}


def test_people_score_one_and_their_interval_is_a_point():
    task = toy_task()
    report = score_task(task, system_rows(task, "human"), ToyEmbedder(), metrics=ACCURACY, replicates=20).report
    first = report.scores[0]
    assert (first.value, first.low, first.high, first.ceiling) == (1.0, 1.0, 1.0, 1.0)


def test_answers_hold_every_per_answer_score_and_no_text():
    task = toy_task()
    scored = score_task(task, system_rows(task, "human"), ToyEmbedder(), metrics=ACCURACY, replicates=20)
    assert [(r["item"], r["annotator"]) for r in scored.answers] == list(task.questions("test"))
    per_answer = "correct correct_priority rouge_l_raw bertscore_raw embedding_cosine_raw embedding_cosine_norm"
    names = f"item annotator sample label missing {per_answer} reciprocal_rank_raw reciprocal_rank_norm"
    for row in scored.answers:
        assert " ".join(row) == names
        assert row["correct"] == 1.0
        assert not math.isnan(row["rouge_l_raw"])


def test_only_the_chosen_questions_count_for_the_system_and_for_people():
    task = tiny()
    answers = {("a", "Ann1"): "yes", ("b", "Ann1"): "yes", ("a", "Ann2"): "no"}
    report = score_task(task, rows(task, answers), ToyEmbedder(), only=answers, metrics=ACCURACY).report
    # Ann1: right, wrong = 1/2; Ann2: right = 1; mean = 3/4; c and (b, Ann2) are nobody's concern
    assert values(report, "label_accuracy") == {None: 0.75, "Ann1": 0.5, "Ann2": 1.0}
    assert (report.questions, report.missing) == (3, 0)
    signature = parse_signature(report.scores[0].signature)
    assert signature.only.startswith("3-")
    assert {s.ceiling for s in report.scores} == {1.0}


def test_another_choice_of_as_many_questions_has_another_signature():
    task = tiny()
    answers = {("a", "Ann1"): "yes", ("b", "Ann1"): "yes", ("a", "Ann2"): "no"}
    found = {
        score_task(task, rows(task, answers), ToyEmbedder(), only=chosen, metrics=ACCURACY).report.scores[0].signature
        for chosen in (list(answers)[:2], list(answers)[1:])
    }
    assert len(found) == 2


def test_all_questions_chosen_are_no_choice():
    task = toy_task()
    given = rows(task, {pair: task.by_pair[pair][0].label for pair in task.questions("test")})
    chosen = score_task(task, given, ToyEmbedder(), only=task.questions("test"), replicates=5)
    assert chosen == score_task(task, given, ToyEmbedder(), replicates=5)


def test_a_choice_without_a_question_of_the_split_is_refused():
    with pytest.raises(DataError, match="none of the 1 questions"):
        score_task(tiny(), [], ToyEmbedder(), only=[("d", "Ann1")], metrics=ACCURACY)


def test_a_sample_keeps_its_own_number():
    task = tiny()
    given = dict.fromkeys(task.questions("test"), "yes") | {("c", "Ann1"): None}
    scored = score_task(task, rows(task, given, sample=3), ToyEmbedder(), metrics=ACCURACY)
    assert {row["sample"] for row in scored.answers} == {3}
    assert [row["label"] for row in scored.answers].count("yes") == 4
    assert scored.report.missing_reasons == {"no label": 1}


def test_an_annotator_without_train_labels_has_no_majority():
    task = tiny()
    task = replace(task, records=tuple(r for r in task.records if (r.item, r.annotator) != ("t", "Ann2")))
    # Ann1's train mode is "no": wrong on a and c, right on b
    assert score_task(task, [], ToyEmbedder(), metrics=ACCURACY).report.majority == {
        "Ann1": pytest.approx(1 / 3, abs=1e-6), "Ann2": None, "mean": pytest.approx(1 / 3, abs=1e-6)
    }  # fmt: skip


def test_signatures_name_another_encoder_than_the_default():
    report = score_task(tiny(), [], ToyEmbedder(), metrics=ACCURACY).report
    assert parse_signature(report.scores[0].signature).encoder == "toy"
