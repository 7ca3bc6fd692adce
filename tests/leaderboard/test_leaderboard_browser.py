"""The page in a real Chromium: it sorts, filters, compares and shows, on any screen, and nothing from outside runs."""

from __future__ import annotations

import copy
import csv
import datetime
import io
import json
import re

import pytest

from hlvbench.leaderboard import make_board, page, read_all
from hlvbench.results.compare import compare
from tests.boards import builtin, reference, scored, submission

pytestmark = pytest.mark.slow
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&</td></script><b>"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(submissions/, index.html) of two systems and two references."""
    root = tmp_path_factory.mktemp("page")
    place = root / "submissions"
    place.mkdir()
    submission(place, "alpha", "random-own", date=datetime.date(2026, 1, 2))
    submission(place, "beta", "label-guess", date=datetime.date(2026, 3, 4), base={"name": "org/other"},
               run_model="org/other")  # fmt: skip
    reference(place, "human")
    reference(place, "nearest")
    path = root / "index.html"
    path.write_text(page(make_board(read_all(place))), "utf-8")
    return place, path


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """index.html of two tables: a task in two versions, a system in each."""
    root = tmp_path_factory.mktemp("versions")
    second = json.loads(json.dumps(scored("nearest")).replace("toy@1", "toy@2"))
    submission(root, "one")
    submission(root, "two", document=second)
    path = root / "index.html"
    path.write_text(page(make_board(read_all(root))), "utf-8")
    return path


def names(tab):
    rows = tab.query_selector_all("section.tab:not([hidden]) table.board tbody tr")
    return [row.query_selector("a.open").inner_text() for row in rows if row.is_visible()]


def test_it_loads_one_file_sorts_and_filters(visit, made):
    tab, trouble, asked = visit(made[1])
    assert asked == [made[1].as_uri()]
    index = [float(c.get_attribute("data-v")) for c in tab.query_selector_all("tbody td.index")]
    assert index == sorted(index, reverse=True)
    button = tab.query_selector("th.who[data-sort] button")
    for direction, reverse in (("ascending", False), ("descending", True)):
        button.focus()
        tab.keyboard.press("Enter")
        assert tab.query_selector("th.who[data-sort]").get_attribute("aria-sort") == direction
        assert names(tab) == sorted(names(tab), reverse=reverse)
    tab.fill("#find", "beta")
    assert names(tab) == ["System beta"]
    assert "1 of 4 rows" in tab.inner_text("#said")
    tab.fill("#find", "")
    assert not tab.is_visible(".none")
    tab.check("#verified")
    assert len(names(tab)) == 2
    assert tab.inner_text("section.tab:not([hidden]) .none") == "No system fits these filters."
    tab.uncheck("#verified")
    tab.uncheck("#floors")
    assert sorted(names(tab)) == ["System alpha", "System beta"]
    tab.select_option("#base", "org/other")
    assert names(tab) == ["System beta"]
    tab.check("#verified")
    assert names(tab) == []
    assert tab.inner_text("section.tab:not([hidden]) .none") == "No row fits these filters."
    assert trouble == []


def test_answers_prompt_and_index_version_are_filters(visit, made, tmp_path):
    board = copy.deepcopy(make_board(read_all(made[0])))
    alpha, beta = (board["systems"][name] for name in ("20260102_alpha", "20260304_beta"))
    alpha.update(answers="constrained", prompt_version=2)
    assert [beta["answers"], beta["prompt_version"]] == ["free", 1]
    path = tmp_path / "index.html"
    path.write_text(page(board), "utf-8")
    tab, trouble, _ = visit(path)
    tab.uncheck("#floors")
    for key, value in (("answers", "constrained"), ("prompt", "2")):
        tab.select_option(f"#{key}", value)
        assert names(tab) == ["System alpha"]
        tab.select_option(f"#{key}", "")
    tab.select_option("#index", "2")
    assert sorted(names(tab)) == ["System alpha", "System beta"]
    tab.click("tr[data-id$=_alpha] a.open")
    shown = tab.inner_text("dialog")
    assert "Answers\nconstrained\nPrompt version\n2" in re.sub(r"\n+", "\n", shown)
    assert "Index 2." in shown
    assert trouble == []


def test_the_panel_shows_answers_beside_those_of_the_annotators(visit, tmp_path):
    builtin(tmp_path, "one", ["varierr", "convarg"], answers=f"Label: a1\nExplanation: {EVIL}")
    path = tmp_path / "index.html"
    board = make_board(read_all(tmp_path))
    path.write_text(page(board), "utf-8")
    tab, trouble, _ = visit(path, 390)
    tab.click("tr[data-id$=_one] a.open")
    (shown,) = tab.query_selector_all("dialog .examples")
    card = next(table["card"] for table in board["tables"] if table["task"] == "convarg@1")
    cells = [[c.inner_text() for c in r.query_selector_all("th, td")] for r in shown.query_selector_all("tbody tr")]
    humans = [human for example in card["examples"] for human in example["humans"]]
    assert [row[:2] for row in cells] == [
        [h["annotator"], f"Label: {h['label']}\nExplanation: {h['explanation']}"] for h in humans
    ]
    assert cells[0][2] == f"Label: a1\nExplanation: {EVIL}"
    assert cells[-1][2] == "–"
    assert card["licence"] in shown.inner_text()
    assert shown.query_selector("a").get_attribute("href") == card["source"]
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    assert trouble == []


def test_two_submissions_of_one_name_are_told_apart(visit, made, tmp_path):
    board = copy.deepcopy(make_board(read_all(made[0])))
    for system in board["systems"].values():
        system["system"] = "Twin"
    path = tmp_path / "index.html"
    path.write_text(page(board), "utf-8")
    tab, _, _ = visit(path)
    tab.click("#compare")
    shown = [option.inner_text() for option in tab.query_selector("dialog select").query_selector_all("option")]
    assert len(set(shown)) == len(board["systems"])


def test_two_systems_are_compared_as_the_command_does(visit, made):
    place, path = made
    tab, trouble, _ = visit(path)
    for name in ("alpha", "beta"):
        tab.check(f"tr[data-id$=_{name}] input.pick")
    tab.click("#compare")
    shown = {
        cell.get_attribute("data-metric"): [
            float(cell.get_attribute(f"data-{k}")) for k in ("difference", "low", "high", "p")
        ]
        for cell in tab.query_selector_all("#compared td[data-metric]")
    }
    found = compare([place / "20260102_alpha", place / "20260304_beta"])["tasks"]["toy"]["metrics"]
    told = {name: [table["pairs"][0][k] for k in ("difference", "low", "high", "p")] for name, table in found.items()}
    assert shown.keys() == told.keys()
    assert "hlv_index" in shown
    for name, values in told.items():
        # the page keeps four decimals, p three digits
        assert shown[name][:3] == pytest.approx(values[:3], abs=5.1e-5)
        assert shown[name][3] == pytest.approx(values[3], rel=5.1e-3)
    tab.click("dialog .close")
    for name in ("alpha", "beta"):
        tab.uncheck(f"tr[data-id$=_{name}] input.pick")
    for name in ("beta", "alpha"):
        tab.check(f"tr[data-id$=_{name}] input.pick")
    tab.click("#compare")
    turned = tab.query_selector("#compared td[data-metric=hlv_index]")
    difference, low, high, p = shown["hlv_index"]
    assert [float(turned.get_attribute(f"data-{k}")) for k in ("difference", "low", "high", "p")] == [
        -difference, -high, -low, p
    ]  # fmt: skip
    assert trouble == []


def test_rows_that_a_filter_hides_are_not_chosen_for_a_comparison(visit, made):
    tab, _, _ = visit(made[1])
    tab.select_option("#base", "org/other")
    visible = {row.get_attribute("data-id") for row in tab.query_selector_all("tbody tr") if row.is_visible()}
    tab.click("#compare")
    first, second = tab.evaluate("[...document.querySelectorAll('.choose select')].map((s) => s.value)")
    assert first == "20260304_beta"
    assert second in visible


def test_a_system_is_shown_and_closed_by_keyboard(visit, made):
    tab, trouble, _ = visit(made[1])
    tab.focus("tr[data-id$=_beta] a.open")
    tab.keyboard.press("Enter")
    panel = tab.query_selector("dialog[open]")
    assert panel.get_attribute("aria-label") == "System beta"
    text = panel.inner_text()
    assert all(f"Ann{k}" in text for k in (1, 2, 3, 4))
    assert f"majority label is right for {scored('random-own')['majority']['mean']:.3f}" in text
    assert "hlvbench run --model org/base" in text
    assert len(panel.query_selector_all("svg.chart")) == 2
    assert len(panel.query_selector_all("table.heatmap")) == 2
    panel.query_selector("summary").click()
    assert "label_kappa|toy@1|seed:0|boot:1000" in panel.inner_text()
    tab.keyboard.press("Escape")
    assert tab.query_selector("dialog[open]") is None
    assert tab.evaluate("document.activeElement.textContent") == "System beta"
    assert trouble == []


def test_the_panel_shows_every_score_of_the_board(visit, made):
    board = make_board(read_all(made[0]))
    (table,) = board["tables"]
    row = next(r for r in table["rows"] if r["submission"] == "20260304_beta")
    tab, _, _ = visit(made[1])
    tab.click("tr[data-id$=_beta] a.open")
    shown = [[cell.inner_text() for cell in r.query_selector_all("th code, td")]
             for r in tab.query_selector_all("dialog table.scores tbody tr")]  # fmt: skip

    def written(value, digits):
        return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")

    assert [r[0] for r in shown] == [s["metric"] for s in row["scores"]]
    for cells, score in zip(shown, row["scores"], strict=True):
        value = written(score["value"], 3)
        assert cells[1].startswith(value) or (score["value"] is None and score["note"] in cells[1])
        assert cells[-1] == written(score["ceiling"], 2)
    assert len({r[1] for r in shown}) > 5


def test_the_csv_holds_the_rows_that_are_shown_and_no_formula(visit, made, tmp_path):
    board = make_board(read_all(made[0]))
    board["systems"]["20260304_beta"]["system"] = '=HYPERLINK("x"), "y"'
    path = tmp_path / "index.html"
    path.write_text(page(board), "utf-8")
    tab, _, _ = visit(path)
    tab.uncheck("#floors")
    with tab.expect_download() as download:
        tab.click("#csv")
    rows = list(csv.DictReader(io.StringIO(open(download.value.path(), newline="").read())))  # noqa: SIM115
    assert {r["submission"] for r in rows} == {"20260102_alpha", "20260304_beta"}
    assert next(r["system"] for r in rows if r["submission"].endswith("beta")) == '\'=HYPERLINK("x"), "y"'
    assert all(float(r["hlv_index"]) >= 0 for r in rows)
    told = {row["submission"]: row["against"]["nearest"] for row in board["tables"][0]["rows"] if row["against"]}
    for r in rows:
        found = told[r["submission"]]
        assert float(r["less_nearest"]) == pytest.approx(found["difference"])
        assert float(r["p_nearest"]) == pytest.approx(found["p"])


def test_no_text_of_a_submission_runs_or_becomes_markup(visit, made, tmp_path):
    board = copy.deepcopy(make_board(read_all(made[0])))
    for system in board["systems"].values():
        system.update(
            system=EVIL, authors=[EVIL], description=EVIL, base=EVIL, marks=[EVIL], commands=[EVIL], method=EVIL
        )
        system["links"] = {"paper": "javascript:alert(3)", EVIL: "https://example.org/"}
        system["training"]["note"] = EVIL
    for table in board["tables"]:
        table["title"] = EVIL
        for row in table["rows"]:
            row["annotators"] = [EVIL] * len(row["annotators"])
            row["judges"] = [
                {
                    "judge": EVIL,
                    "accuracy": 0.5,
                    "low": 0.4,
                    "high": 0.6,
                    "ceiling": 1,
                    "floor": 0,
                    "unreadable": 0,
                    "n": 5,
                }
            ]
    path = tmp_path / "index.html"
    path.write_text(page(board), "utf-8")
    tab, trouble, asked = visit(path)
    tab.click("a.open")
    tab.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    tab.keyboard.press("Escape")
    tab.click("#compare")
    assert trouble == []
    assert asked == [path.as_uri()]
    assert tab.query_selector_all("img") == []
    assert tab.evaluate("document.scripts.length") == 2
    assert tab.evaluate("[...document.links].filter((a) => a.protocol === 'javascript:').length") == 0
    # the policy alone stops what would get past the escaping
    tab.evaluate(
        "const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s)"
    )
    assert tab.evaluate("window.ran") is None
    assert any("Content Security Policy" in said for said in trouble)


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (390, "dark"), (820, "light"), (1400, "dark")])
def test_no_screen_scrolls_sideways_and_dark_is_dark(visit, made, width, scheme):
    tab, trouble, _ = visit(made[1], width, color_scheme=scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    tab.click("a.open")
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    body = tab.query_selector("dialog .panel-body")
    assert body.evaluate("(node) => node.scrollWidth <= node.clientWidth")
    shade = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    light = max(int(part) for part in shade.removeprefix("rgb(").removesuffix(")").split(","))
    assert (light < 64) is (scheme == "dark")
    assert trouble == []


def visible_tables(tab):
    return [section.get_attribute("id") for section in tab.query_selector_all("section.tab") if section.is_visible()]


def test_a_tab_shows_its_table_and_paper_all_of_them(visit, versions):
    tab, trouble, _ = visit(versions)
    first, second = (section.get_attribute("id") for section in tab.query_selector_all("section.tab"))
    assert visible_tables(tab) == [first]
    tab.click(f"[data-tab='{second}']")
    assert visible_tables(tab) == [second]
    tab.emulate_media(media="print")
    assert visible_tables(tab) == [first, second]
    assert trouble == []


def test_without_script_all_tables_are_readable_and_links_lead_to_the_files(visit, made, versions):
    tab, trouble, _ = visit(versions, java_script_enabled=False)
    assert len(visible_tables(tab)) == 2
    assert re.search(r"\d\.\d{3}\s+\d\.\d{3}–", tab.inner_text("td.index"))
    tab, more, _ = visit(made[1], java_script_enabled=False)
    trouble += more
    assert not tab.is_visible(".tools")
    link = tab.query_selector("tr[data-id$=_beta] a").get_attribute("href")
    assert (made[0].parent / "leaderboard" / link).resolve() == (made[0] / "20260304_beta").resolve()
    assert trouble == []
