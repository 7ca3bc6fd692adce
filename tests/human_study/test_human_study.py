"""Human study: sheets are balanced and blind, ratings are checked, and the numbers are those of hand arithmetic."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hlvbench.data.task import load_task
from hlvbench.errors import DataError, RunError, UsageError
from hlvbench.human_study import export_study, score_study, study_markdown, study_text
from hlvbench.judging.questions import attribution_questions
from hlvbench.prompting.prompt import render_answer

EVIL = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>\u202e=1+1"


@pytest.fixture(scope="module")
def demo():
    return load_task("demo")


def write_run(folder: Path, task, model: str, text) -> Path:
    """A run folder without a model: `text(record)` is the explanation of every answer."""
    (folder / task.name).mkdir(parents=True)
    recorded = {"task": [task.name], "split": "test", "model": model, "prompt": "base", "limit": None, "seed": 0}
    (folder / "settings.json").write_text(json.dumps(recorded))
    rows = []
    for pair in task.questions("test"):
        record = task.by_pair[pair][0]
        answer = render_answer(task, record.label, text(record))
        rows.append(json.dumps({"item": pair[0], "annotator": pair[1], "text": answer}))
    (folder / task.name / "generations.jsonl").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def runs(demo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [
        write_run(folder / "people", demo, "people-secret", lambda r: r.explanation),
        write_run(folder / "other", demo, "model-secret", lambda r: f"Model text on {r.item} by {r.annotator}."),
    ]


SMALL = {"samples": 8, "raters": 2, "repeats": 2, "shots": 2}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Export a study into `out` and give its key; one that was exported before is copied."""
    made = {}

    def export(runs, out, **options):
        asked = (tuple(runs), tuple(sorted(options.items())))
        if asked not in made:
            made[asked] = tmp_path_factory.mktemp("study") / "s"
            export_study(runs, made[asked], **{**SMALL, **options})
        shutil.copytree(made[asked], out)
        return json.loads((out / "key.json").read_text())

    return export


def ratings(key, sheet, values) -> dict:
    """What the page exports if `values(screen's key)` are answered."""
    known = key["sheets"][sheet]
    answers = [
        {"screen": n, "part": s["part"], "sha256": s["sha256"], "values": values(s)}
        for n, s in known["screens"].items()
    ]
    return {
        "format": "hlvbench ratings 1",
        "study": key["study"],
        "sheet": sheet,
        "sheet_sha256": known["sha256"],
        "page_sha256": None,
        "answers": answers,
    }


def put(out, key, rater, values, change=lambda document: None):
    sheet = f"{key['study']}-{rater}"
    document = ratings(key, sheet, values)
    change(document)
    (out / "ratings" / f"{sheet}.json").write_text(json.dumps(document))


def same_for_all(screen, value="3"):
    part = screen["part"]
    if part == "rating":
        return {"coherence": value, "grounding": value, "style": value}
    return {"who": "A"} if part == "attribution" else {"preference": "0"}


# --- what is exported


def sheet_of(path: Path) -> dict:
    source = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', path.read_text("utf-8"), re.S)
    return json.loads(source[1])


def test_sheets_are_blind_and_the_same_call_writes_the_same_files(study, runs, tmp_path):
    key = study(runs, tmp_path / "s")
    for path in (tmp_path / "s" / "for-raters").iterdir():
        content = path.read_text("utf-8")
        assert "secret" not in content
        assert "must not be published" in content or path.suffix == ".csv"
    before = {p: p.read_bytes() for p in (tmp_path / "s").rglob("*") if p.is_file()}
    export_study(runs, tmp_path / "s", **SMALL)
    assert before == {p: p.read_bytes() for p in (tmp_path / "s").rglob("*") if p.is_file()}
    assert [s["name"] for s in key["systems"]] == ["people-secret", "model-secret"]
    with pytest.raises(RunError, match="holds another study"):
        export_study(runs, tmp_path / "s", **SMALL, seed=1)


def test_attribution_is_the_judges_own_question(study, demo, runs, tmp_path):
    key = study(runs, tmp_path / "s")
    answers = {pair: demo.by_pair[pair][0] for pair in demo.questions("test")}
    asked = {q.pair: q for q in attribution_questions(demo, "test", answers, shots=2, seed=0).questions}
    name = f"{key['study']}-1"
    shown = {s["id"]: s for s in sheet_of(tmp_path / "s" / "for-raters" / f"{name}.html")["screens"]}
    compared = 0
    for screen, known in key["sheets"][name]["screens"].items():
        sample = key["samples"][known["sample"]]
        question = asked[sample["item"], sample["annotator"]]
        if known["part"] == "attribution":
            assert (known["right"], tuple(known["candidates"])) == (question.right, question.candidates)
            texts = [[r.explanation for r in own] for own in question.references]
            assert [own for _, own in shown[screen]["people"]] == texts
            assert "label" not in str(shown[screen].keys())
            compared += 1
        elif known["part"] == "rating":
            own = question.references["ABCD".index(question.right)]
            assert [e["explanation"] for e in shown[screen]["examples"]] == [r.explanation for r in own]
    assert compared == 8 * 2 + 2


def test_git_tracks_nothing_of_a_study(runs, tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    export_study(runs, tmp_path / "deep" / "s", **SMALL)
    (tmp_path / "other").write_text("")
    subprocess.run(["git", "add", "-A"], cwd=tmp_path, check=True)
    tracked = subprocess.run(["git", "ls-files"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert tracked.stdout == "other\n"
    # the same command again completes the folder
    (tmp_path / "deep" / "s" / ".gitignore").unlink()
    export_study(runs, tmp_path / "deep" / "s", **SMALL)
    assert (tmp_path / "deep" / "s" / ".gitignore").read_text() == "*\n"


def test_what_cannot_be_studied_is_told_all_at_once(runs, tmp_path):
    with pytest.raises(UsageError, match=r"--raters 1000000: 1 to 1000"):
        export_study(runs, tmp_path / "s", raters=10**6)
    with pytest.raises(UsageError, match=r"(?s)--samples 0.*--raters 0.*--repeats -1"):
        export_study(runs, tmp_path / "s", samples=0, raters=0, repeats=-1)
    with pytest.raises(RunError, match=r"(?s)nowhere is no run folder.*neither is no run folder"):
        export_study([tmp_path / "nowhere", tmp_path / "neither"], tmp_path / "s")
    with pytest.raises(UsageError, match="more than once"):
        export_study([runs[0], runs[0]], tmp_path / "s")
    with pytest.raises(UsageError, match=r"--samples 900: all runs answered, with an explanation, only \d+ questions"):
        export_study(runs, tmp_path / "s", samples=900)
    assert not (tmp_path / "s").exists()


def test_hostile_texts_are_texts_in_page_and_table(study, demo, tmp_path):
    evil = [write_run(tmp_path / n, demo, n, lambda r, n=n: f"={n} {EVIL}") for n in ("a", "b")]
    key = study(evil, tmp_path / "s")
    page = (tmp_path / "s" / "for-raters" / f"{key['study']}-1.html").read_text("utf-8")
    assert page.count("<script") == 2
    assert "<img" not in page
    assert "\u202e" not in page
    table = (tmp_path / "s" / "for-raters" / f"{key['study']}-1.csv").read_text("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(table)))
    assert any("owned" in row["answer"] for row in rows)
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "@", "\t"))]


# --- what comes back


def by_csv(out, key, rater, values, delimiter=",", change=lambda rows: None):
    name = f"{key['study']}-{rater}"
    text = (out / "for-raters" / f"{name}.csv").read_text("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    for row in rows:
        row.update(values(key["sheets"][name]["screens"][row["screen"]]))
    change(rows)
    sink = io.StringIO()
    writer = csv.DictWriter(sink, rows[0], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    (out / "ratings" / f"{name}.csv").write_text(sink.getvalue(), encoding="utf-8-sig")


def test_page_and_table_say_the_same(study, runs, tmp_path):
    found = []
    for way in (put, lambda *a: by_csv(*a, delimiter=";")):
        out = tmp_path / str(len(found))
        key = study(runs, out)
        for rater in (1, 2):
            way(out, key, rater, same_for_all)
        result = score_study(out, replicates=20)
        assert all(r["asked"] == r["answered"] for r in result["raters"])
        found.append({k: v for k, v in result.items() if k != "raters"})
    assert found[0] == found[1]


def test_tampered_and_mixed_sheets_are_refused_all_problems_at_once(study, runs, tmp_path):
    key, strange = study(runs, tmp_path / "s"), study(runs, tmp_path / "t", seed=5)

    def break_it(document):
        first, second, third = document["answers"][:3]
        first["values"] = {"who": "E"}
        second["sha256"] = "0" * 64
        document["answers"] += [third]
        del document["answers"][4]

    put(tmp_path / "s", key, 1, same_for_all, break_it)
    put(tmp_path / "s", key, 2, same_for_all)
    copy = (tmp_path / "s" / "ratings" / f"{key['study']}-2.json").read_text()
    (tmp_path / "s" / "ratings" / "again.json").write_text(copy)
    alien = json.dumps(ratings(strange, f"{strange['study']}-1", same_for_all))
    (tmp_path / "s" / "ratings" / "alien.json").write_text(alien)
    (tmp_path / "s" / "ratings" / "broken.json").write_text("{")
    with pytest.raises(DataError) as caught:
        score_study(tmp_path / "s")
    message = str(caught.value)
    for part in (
        "who 'E' is not one of A, B, C, D",
        "screen 2: its texts are not those",
        "screen 3 occurs twice",
        "screens missing: 5",
        "a second file of sheet",
        f"belongs to study {strange['study']!r}",
        "broken.json: ",
    ):
        assert part in message
    assert not (tmp_path / "s" / "result.json").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d.update(sheet_sha256="f" * 64), "another version"),
        (lambda d: d.update(page_sha256="f" * 64), "changed before they were rated"),
        (
            lambda d: d["answers"][0].update(values={"who": 7}),
            r"answers\[0\]\.values\.who: Input should be .*, got 7",
        ),
        (lambda d: d["answers"][0].update(values={"style": "3"}), "was not asked there"),
        (lambda d: d.update(sheet="x-9"), "not of this study"),
        (lambda d: d.update(format="?"), r"format: Input should be 'hlvbench ratings 1', got '\?'"),
    ],
)
def test_each_kind_of_tampering_is_named(study, runs, tmp_path, change, told):
    key = study(runs, tmp_path / "s", samples=2, repeats=0)
    put(tmp_path / "s", key, 1, same_for_all, change)
    with pytest.raises(DataError, match=told):
        score_study(tmp_path / "s")


def test_a_changed_text_in_a_table_is_seen_and_a_changed_line_break_is_not(study, runs, tmp_path):
    key = study(runs, tmp_path / "s", samples=2, repeats=0)
    by_csv(
        tmp_path / "s",
        key,
        1,
        same_for_all,
        change=lambda rows: [row.update(texts=row["texts"].replace("\n", "\r\n ")) for row in rows],
    )
    assert score_study(tmp_path / "s", replicates=5)["raters"][0]["answered"] > 0
    by_csv(tmp_path / "s", key, 1, same_for_all, change=lambda rows: rows[0].update(answer="Another answer."))
    with pytest.raises(DataError, match="screen 1: its texts are not those"):
        score_study(tmp_path / "s")


# --- the numbers


def test_the_numbers_are_those_of_hand_arithmetic(study, runs, tmp_path):
    out = tmp_path / "s"
    key = study(runs, out, samples=10, repeats=1)
    people, model = (s["name"] for s in key["systems"])

    def rater(coherence, right_for, disliked):
        def values(screen):
            mine = screen["systems"][0] == people
            if screen["part"] == "rating":
                return {"coherence": coherence if mine else "2", "grounding": "5", "style": None}
            if screen["part"] == "attribution":
                wrong = next(x for x in "ABCD" if x != screen["right"])
                return {"who": screen["right"] if mine and screen["sample"] in right_for else wrong}
            return {"preference": "12"[screen["systems"].index(model if screen["sample"] in disliked else people)]}

        return values

    put(out, key, 1, rater("5", range(10), [0]))
    put(out, key, 2, rater("4", range(5), [0, 1]))
    result = score_study(out, replicates=50)
    means = {(r["question"], r["system"]): r for r in result["means"]}
    assert means["coherence", people]["value"] == 4.5  # ten times 5, ten times 4
    assert means["coherence", people]["n"] == 20
    assert (means["coherence", people]["low"], means["coherence", people]["high"]) == (4.5, 4.5)  # alike in every item
    assert means["coherence", model]["value"] == 2
    assert means["grounding", model]["value"] == 5
    assert means["style", people]["value"] is None
    who = {r["system"]: r for r in result["attribution"]}
    assert who[people]["value"] == 15 / 20
    assert who[people]["low"] < 0.75 < who[people]["high"]
    assert who[model]["value"] == 0
    assert who[people]["chance"] == pytest.approx(1 / 4)
    (row,) = result["preference"]
    # sample 0: both for the model; sample 1: one each, undecided; the other eight: both for people
    assert (row["items_a"], row["items_b"], row["items_undecided"]) == (8, 1, 1)
    assert (row["ratings_a"], row["ratings_b"], row["ratings_tie"]) == (17, 3, 0)
    assert row["p"] == pytest.approx(2 * (1 + 9) / 2**9)  # of 9 fair coins at most one on the rarer side, twice
    assert row["p_holm"] == row["p"]
    agreement = {r["question"]: r for r in result["agreement"]}
    assert agreement["coherence"]["raw"] == 0.5  # the model's ten answers alike, people's ten never
    assert agreement["coherence"]["within_one"] == 1.0
    assert agreement["preference"]["raw"] == 0.9
    # quadratic kappa: 1 - observed 10 · 1 / (chance: over all 20 · 20 pairs (5-4)² · 100 + (5-2)² · 100 + (2-4)² · 100
    # + 0 = 1400, a 20th of it 70)
    assert agreement["coherence"]["kappa"] == pytest.approx(1 - 10 / 70)
    assert (agreement["grounding"]["kappa"], agreement["grounding"]["alpha"]) == (None, None)  # 5 throughout
    assert "style" not in agreement
    assert all(r["same"] == 1 for r in result["consistency"])
    assert {r["question"]: r["n"] for r in result["consistency"]} == dict.fromkeys(
        ("who", "coherence", "grounding", "preference"), 2
    )
    assert people in study_text(result)
    assert (out / "result.md").read_text() == study_markdown(result)
    assert json.loads((out / "result.json").read_text()) == json.loads(json.dumps(result))


def test_partial_sheets_are_scored_and_counted(study, runs, tmp_path):
    key = study(runs, tmp_path / "s", samples=4, repeats=0)
    put(tmp_path / "s", key, 2, lambda s: same_for_all(s) if s["part"] == "rating" else {})
    result = score_study(tmp_path / "s", replicates=5)
    (rater,) = result["raters"]
    assert (rater["answered"], rater["asked"]) == (4 * 2 * 3, 4 * 2 * 4 + 4)
    assert result["agreement"] == []
    assert all(r["value"] is None for r in result["attribution"])


def test_answers_in_the_same_words_need_no_preference(study, demo, runs, tmp_path):
    twin = write_run(tmp_path / "twin", demo, "twin", lambda r: r.explanation)
    key = study([runs[0], twin], tmp_path / "s", samples=4, repeats=0)
    put(tmp_path / "s", key, 1, same_for_all)
    (row,) = score_study(tmp_path / "s", replicates=5)["preference"]
    assert (row["items_same"], row["p"]) == (4, None)


def test_judges_of_the_runs_stand_in_the_same_table(study, demo, tmp_path):
    run = write_run(tmp_path / "run", demo, "m", lambda r: r.explanation)
    (run / "demo" / "judge").mkdir()
    document = {"judge": "stylometric", "accuracy": 0.5, "low": 0.4, "high": 0.6, "n": 80, "chance": 0.25, "note": ""}
    document |= {"ceiling": 0.6, "floor": 0.25, "unreadable": 0}
    (run / "demo" / "judge" / "stylometric.json").write_text(json.dumps(document))
    (run / "demo" / "judge" / "stylometric.plan.json").write_text("{}")
    key = study([run], tmp_path / "s", samples=2, repeats=0)
    put(tmp_path / "s", key, 1, same_for_all)
    rows = {r["judge"]: r for r in score_study(tmp_path / "s", replicates=5)["attribution"]}
    assert (rows["stylometric"]["value"], rows["stylometric"]["n"]) == (0.5, 80)
    assert set(rows) == {"human", "stylometric"}
