"""The report of a run: right numbers, nothing from outside alive, readable in a real browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from hlvbench import results
from hlvbench.metrics import parse_metric, scorecard
from hlvbench.results import TaskResult, summary
from hlvbench.results.answer_items import extremes, item_scores
from hlvbench.results.report_sections import pooled
from hlvbench.results.score_report import Score, ScoreReport
from hlvbench.results.swap_section import rows_apart, swap_reading
from hlvbench.text import number
from tests.toy import toy_task

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>|`[a](javascript:alert(1))\u202e\ud800\n# x"
TAIL = "|toy@1|seed:0|boot:9|missing:1|hlvbench:0.1.0"
NAMES = ("Ann1", "Ann2", "Ann3")


def row(metric, value, annotator=None, note="", **bounds):
    bound = parse_metric(metric)
    known = {"low": None, "high": None, "floor": 0.1, "ceiling": 1.0, "n": 12, **bounds}
    return {"metric": bound.short, "signature": f"{bound}{TAIL}", "annotator": annotator, "value": value,
            "note": note, **known}  # fmt: skip


def document(names=NAMES, system="toy", value=0.5, note=""):
    """A small hand-made scores.json; value None: nothing can be given."""
    metrics = ["label_accuracy", "label_kappa", "agreement_error", "grounding_skill(view=raw)", "own_gain(view=norm)",
               "hlv_index", "feature_kl(view=raw,feature=words)"]  # fmt: skip
    metrics += [f"{m}(view={v})@{size}" for m in ("group_confidence", "imitation_score") for v in ("raw", "norm")
                for size in (1, 5, 10)]  # fmt: skip
    ends = {} if value is None else {"low": value - 0.125, "high": value + 0.25}
    scores = [row(m, value, note=note, **ends) for m in metrics]
    scores += [row("label_accuracy", value, a, note) for a in names]
    count = len(names)
    even = [[round(1 / count, 4)] * count for _ in names]
    own = [[0.8 if i == j else 0.2 / max(1, count - 1) for j in range(count)] for i in range(count)]
    matrices = {"system": even, "human": own, "note": ""}
    details = {
        "annotators": list(names),
        "swap": [{"view": v, "m": m, **matrices} for v in ("raw", "norm") for m in (1, 10)],
        "confusion": {"labels": ["neutral", "entailment"], "counts": {a: [[3, 1, 0], [0, 2, 1]] for a in names}},
        "features": [{"name": "words", "cuts": [4.0, 9.5], "human": {a: [1, 2, 4] for a in names},
                      "system": {a: [7, 0, 0] for a in names}}],
    }  # fmt: skip
    if value is None:
        details["swap"] = [{"view": v, "m": 1, "system": None, "human": None, "note": note} for v in ("raw", "norm")]
    return {
        "task": "toy@1", "split": "test", "system": system, "questions": 12, "samples": 1, "missing": 1,
        "missing_reasons": {"no label": 1}, "without_explanation": 0, "thought": 0, "skipped": {"idk": 3},
        "unscored_annotators": [], "majority": {"mean": 0.4375}, "scores": scores, "details": details,
        "replicates": {"count": 0, "values": {}},
    }  # fmt: skip


def report(doc):
    return ScoreReport.model_validate(doc)


def page(docs, items=(), settings=None):
    return results.page([TaskResult(report(doc), items) for doc in docs], settings)


def markdown(docs, items=(), settings=None):
    return results.markdown([TaskResult(report(doc), items) for doc in docs], settings)


def answer(item, annotator, correct, cosine, missing=""):
    return {"item": item, "annotator": annotator, "sample": 0, "label": "neutral", "missing": missing,
            "correct": correct, "embedding_cosine_raw": cosine, "reciprocal_rank_raw": 0.5}  # fmt: skip


def write_run(folder, doc, answers=()):
    (folder / "toy").mkdir(parents=True)
    (folder / "toy" / "answers.jsonl").write_text("".join(json.dumps(a) + "\n" for a in answers))
    results.write_report(folder, [report(doc)])
    return folder / "report.html"


class Outline(HTMLParser):
    """What a browser would build: elements with attributes, texts; complains about tags that do not match."""

    VOID = ("meta", "link", "wbr")

    def __init__(self, source):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))


@pytest.mark.parametrize("kind", ["nominal", "ordinal"])
def test_a_shortened_name_parses_back_to_the_same_metric(kind):
    for metric in scorecard(toy_task(kind)):
        assert parse_metric(Score.model_validate(row(str(metric), None)).compact) == metric


def test_a_shortened_name_keeps_the_view_and_what_is_no_default():
    for said, short in (
        ("imitation_score(view=norm,reduce=self)@10", "imitation_score(view=norm)@10"),
        ("imitation_score(view=norm,reduce=item)@10", "imitation_score(view=norm,reduce=item)@10"),
    ):
        assert Score.model_validate(row(said, 1.0)).compact == short
    unknown = {**row("label_kappa", 1.0), "signature": "metric_of_tomorrow(x=1)|toy@1"}
    assert Score.model_validate(unknown).compact == "metric_of_tomorrow(x=1)"


def test_numbers_have_no_negative_zero_and_a_dash_for_none():
    assert [number(v) for v in (None, -0.0004, 0.12345, -2.0)] == ["–", "0.000", "0.123", "-2.000"]


def test_a_value_that_cannot_be_given_says_why():
    none = Score.model_validate(row("label_kappa", None, note="needs 50 answers, 12 given"))
    assert str(none) == "– (needs 50 answers, 12 given)"
    assert str(Score.model_validate(row("label_kappa", 0.5, low=0.25, high=0.75))) == "0.500 [0.250, 0.750]"


def test_the_summary_has_one_aligned_line_per_headline_metric():
    lines = summary([report(document())]).splitlines()
    assert lines[0] == "toy@1 test: toy; 12 questions, 1 missing (no label 1); majority label accuracy 0.438"
    (accuracy,) = [line for line in lines if line.startswith("label_accuracy ")]
    assert accuracy.split() == ["label_accuracy", "0.500", "[0.375,", "0.750]", "0.100", "1.000", "12"]
    assert len({line.index("0.500") for line in lines[2:]}) == 1


def test_a_long_reason_stands_below_the_table_of_the_terminal():
    why = "needs 10 answers, 0 given; 60 items with one question left out, as nobody else has any"
    shown = document()
    shown["scores"] = [row("label_accuracy", 0.5, low=0.375, high=0.75), row("label_kappa", None, note=why)]
    *lines, last = summary([report(shown)]).splitlines()
    assert last == f"[1] {why}"
    (kappa,) = [line for line in lines if line.startswith("label_kappa ")]
    assert kappa.split()[:3] == ["label_kappa", "–", "[1]"]


def test_items_are_ranked_by_right_labels_then_by_closeness(tmp_path):
    # means: a (1+0)/2 = .5 and (.2+.4)/2 = .3; b 0 and .9; c .5 and .1
    rows = [answer("a", "Ann1", 1, 0.2), answer("a", "Ann2", 0, 0.4), answer("b", "Ann1", 0, 0.9),
            answer("c", "Ann1", 1, 0.2), answer("c", "Ann2", 0, 0.0, missing="no label")]  # fmt: skip
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    found = item_scores(path)
    assert [(s.item, s.right, s.answers, s.missing) for s in found] == [
        ("b", 0, 1, 0),
        ("c", 0.5, 2, 1),
        ("a", 0.5, 2, 0),
    ]
    assert [s.closeness for s in found] == pytest.approx([0.9, 0.1, 0.3])
    assert [[s.item for s in chosen] for chosen in extremes(found).values()] == [["b", "c"], ["a"]]
    assert item_scores(tmp_path / "absent.jsonl") == []
    assert extremes([]) == {}


def test_rows_apart_is_the_largest_total_variation_distance():
    # |.7-.2| + |.3-.8| = 1, halved .5
    assert rows_apart([[0.7, 0.3], [0.2, 0.8], [0.6, 0.4]]) == pytest.approx(0.5)
    assert rows_apart([[0.5, 0.5], [None, None]]) is None


def test_one_writer_under_all_names_is_said_in_words():
    own = [[0.9, 0.1], [0.1, 0.9]]
    assert swap_reading([[0.4, 0.6], [0.4, 0.6]], own).startswith("All rows are alike")
    assert swap_reading(own, own).startswith("Mean on the diagonal 0.900 (humans 0.900, chance 0.500)")


def test_tables_are_pooled_cell_by_cell():
    assert pooled([[[1, 2], [3, 4]], [[10, 20], [30, 40]]]) == [[11, 22], [33, 44]]


def test_the_markdown_report_says_what_the_page_says():
    found = markdown([document()])
    for line in ("- Missing answers: 1 (8.3%)", "- Why missing: no label 1", "- Majority line (label accuracy): 0.438",
                 "| imitation | `imitation_score(view=norm)@10` | 0.500 \\[0.375, 0.750\\] |",
                 "| 10 | 0.500 \\[0.375, 0.750\\] | 1.000 | 0.100 | 0.500 \\[0.375, 0.750\\] |",
                 "| Ann2 | .33 | .33 | .33 |", "| neutral | 9 | 3 | 0 |", "| entailment | 0 | 6 | 3 |",
                 f"A number's signature is its metric followed by `{TAIL}`."):  # fmt: skip
        assert line in found.splitlines()


def test_settings_that_are_zero_are_shown_and_empty_ones_are_not():
    settings = {"seed": 0, "temperature": 0.0, "think": False, "annotator": [], "limit": None, "model_arg": {}}
    assert "\n\nSettings: seed 0, temperature 0.0.\n\n" in markdown([document()], settings=settings)
    assert '<ul class="settings"><li>seed <b><bdi>0</bdi></b></li><li>temperature' in page(
        [document()], settings=settings
    )


def test_every_row_of_a_markdown_table_has_the_columns_of_its_head():
    evil = EVIL.replace("\ud800", "")
    doc = document(names=(evil, "b|c"), system=evil, note=evil)
    width = None
    for line in markdown([doc]).splitlines():
        cells = line.replace("\\|", "").count("|")
        if not line.startswith("|"):
            width = None
        elif width is None:
            width = cells
        else:
            assert cells == width


@pytest.mark.parametrize("names", [NAMES, ("only",), tuple(f"w{k}" for k in range(40))], ids=len)
def test_the_page_is_one_well_formed_file_without_outside_resources(names):
    outline = Outline(page([document(names)]))
    for tag, attributes in outline.elements:
        links = [v for k, v in attributes.items() if k in ("src", "href", "srcset", "action", "data")]
        assert all(link == "data:," or link.startswith("#task-") for link in links)
        assert "style" not in attributes
        assert tag not in ("img", "iframe", "object", "form", "base")
    ids = [a["id"] for _, a in outline.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert all(a.get("aria-label") or a.get("aria-hidden") for t, a in outline.elements if t == "svg")


def test_the_policy_allows_this_pages_style_and_script_alone():
    outline = Outline(page([document()]))
    (policy,) = [a["content"] for _, a in outline.elements if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        (source,) = ["".join(t for where, t in outline.texts if where == tag)]
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def test_names_from_outside_are_text_wherever_they_stand(tmp_path):
    doc = document(names=(EVIL, "b"), system=EVIL, note=EVIL)
    doc |= {"task": EVIL.replace("/", "") + "@1", "missing_reasons": {EVIL: 1}, "skipped": {EVIL: 1}}
    doc |= {"unscored_annotators": [EVIL], "split": EVIL}
    doc["details"]["confusion"]["labels"] = [EVIL, "b"]
    doc["details"]["features"][0]["name"] = EVIL
    doc["scores"].append({**doc["scores"][0], "signature": EVIL, "metric": EVIL})
    doc = json.loads(json.dumps(doc).replace("\\ud800", ""))  # no scores.json holds half of a character
    (tmp_path / "answers.jsonl").write_text(json.dumps(answer(EVIL, EVIL, 1, 0.5)) + "\n")
    items = item_scores(tmp_path / "answers.jsonl")
    source = page([doc], items, {"model": EVIL, "adapter_dir": EVIL})
    source.encode()
    outline = Outline(source)
    assert [tag for tag, _ in outline.elements].count("script") == 1
    assert not [tag for tag, _ in outline.elements if tag in ("img", "a[")]
    assert not [a for _, a in outline.elements if any(key.startswith("on") for key in a)]
    assert "\u202e" not in source
    assert sum("<script>alert(1)" in text for where, text in outline.texts if where != "script") > 10
    text = markdown([doc], items, {"model": EVIL, "adapter_dir": EVIL})
    text.encode()
    outside_code = "".join(re.sub(r"\\.", "", text).split("`")[::2])
    assert "<script" not in outside_code
    assert "](java" not in outside_code
    assert "\u202e" not in text
    assert "\n# x" not in text


def test_a_run_without_any_value_still_has_its_report(tmp_path):
    doc = document(value=None, note="needs 10 answers, 5 given")
    source = write_run(tmp_path / "run", doc).read_text("utf-8")
    texts = " ".join(text for where, text in Outline(source).texts if where not in ("script", "style"))
    assert "Values that cannot be given" in source
    assert "needs 10 answers, 5 given" in source
    assert not re.search(r"\b(nan|None)\b", texts)
    assert "needs 10 answers, 5 given" in (tmp_path / "run" / "report.md").read_text("utf-8")


def test_scores_of_before_the_details_are_still_shown(tmp_path):
    doc = document()
    del doc["details"]
    Outline(write_run(tmp_path / "run", doc).read_text("utf-8"))
    results.write_report(tmp_path / "empty", [])


def test_a_report_is_a_function_of_its_files(tmp_path):
    answers = [answer(f"i{k}", a, k % 2, k / 9) for k in range(9) for a in NAMES]
    first, second = (write_run(tmp_path / name, document(), answers) for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()
    assert first.with_suffix(".md").read_bytes() == second.with_suffix(".md").read_bytes()
