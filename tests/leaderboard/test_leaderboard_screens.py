"""The page of the repository's own submissions on screens of any width and on paper, and a system's panel."""

from __future__ import annotations

from pathlib import Path

import pytest

from hlvbench.leaderboard import make_board, page, read_all

pytestmark = pytest.mark.slow
SUBMISSIONS = Path(__file__).resolve().parents[2] / "submissions"


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """index.html of the repository's submissions, one of them with the longest name; skipped without a checkout."""
    if not SUBMISSIONS.is_dir():
        pytest.skip("not a checkout: no submissions/")
    board = make_board(read_all(SUBMISSIONS))
    system = next(s for s in board["systems"].values() if s["role"] == "system")
    system.update(system="A" * 80, base="b" * 80, verified=None)
    path = tmp_path_factory.mktemp("real") / "index.html"
    path.write_text(page(board), "utf-8")
    return path


def boxes(tab):
    """[width of the content, width] of the board's boxes, a tab after the other."""
    out = []
    for name in tab.evaluate("[...document.querySelectorAll('section.tab')].map((s) => s.id)"):
        tab.evaluate("(name) => { location.hash = name; }", name)
        box = tab.wait_for_selector(f"#{name}:not([hidden]) .scroll")
        out.append(box.evaluate("(node) => [node.scrollWidth, node.clientWidth]"))
    return out


@pytest.mark.parametrize("width", [1265, 1280, 1300, 1399, 1400, 1481, 1920])
def test_all_columns_fit_a_wide_screen_whatever_the_names(visit, real, width):
    tab, trouble, _ = visit(real, width)
    found = boxes(tab)
    assert len(found) >= 3
    assert all(content <= box for content, box in found)
    assert all(tab.is_visible(f"section.tab:not([hidden]) td.{kind}") for kind in ("factor", "beats"))
    assert not tab.is_visible(".slide")
    assert trouble == []


def test_attacks_are_asked_for_where_there_is_script_and_seen_where_there_is_none(visit, real):
    for script in (True, False):
        tab, _, _ = visit(real, java_script_enabled=script)
        assert tab.is_visible("section.tab tr.attack") is not script


@pytest.mark.parametrize("width", [320, 390, 820])
def test_a_narrow_table_scrolls_by_itself_beside_the_names_and_says_so(visit, real, width):
    tab, trouble, _ = visit(real, width)
    assert all(content > box + 100 for content, box in boxes(tab))
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    tab.evaluate("location.hash = 'overall'")
    section = tab.wait_for_selector("#overall:not([hidden])")
    assert section.query_selector(".slide").is_visible()
    box, row = section.query_selector(".scroll"), section.query_selector("tbody tr.system")
    left, right = box.bounding_box()["x"], box.bounding_box()["x"] + box.bounding_box()["width"]
    index = row.query_selector("td.index").bounding_box()
    assert index["x"] + index["width"] <= right
    ticks = [t.text_content() for t in section.query_selector_all(".axis-head .tick") if t.is_visible()]
    assert [ticks[0], ticks[-1]] == ["0", "1"]
    for factor in row.query_selector_all("td.factor"):
        factor.scroll_into_view_if_needed()
        place, name = factor.bounding_box(), row.query_selector("th.who").bounding_box()
        assert left <= name["x"] < name["x"] + name["width"] <= place["x"] + 1
        assert place["x"] + place["width"] <= right + 1
    assert trouble == []


def test_a_phone_compares_two_systems(visit, real):
    tab, trouble, _ = visit(real, 390)
    tab.click("#compare")
    assert tab.is_visible("#compared td[data-metric=hlv_index]")
    assert trouble == []


def test_on_paper_tables_stand_and_controls_do_not(visit, real):
    # A4 less the usual margins of 1 cm: 190 mm at 96 dots per inch
    tab, _, _ = visit(real, 718, color_scheme="dark")
    tab.emulate_media(media="print")
    assert tab.evaluate("document.documentElement.scrollWidth") == 718
    assert not tab.is_visible(".tools")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.is_visible("table.board td.beats")


def test_on_paper_a_table_keeps_its_titles_and_shades_and_starts_a_page(visit, real):
    tab, _, _ = visit(real, 718)
    tab.emulate_media(media="print")

    def style(selector, key):
        return tab.evaluate("([s, k]) => getComputedStyle(document.querySelector(s))[k]", [selector, key])

    # Chromium repeats a table's head on the next page without the boxes of its buttons
    assert style("table.board thead button", "display") == "contents"
    assert style("table.board td.factor", "printColorAdjust") == "exact"
    assert style("section.tab ~ section.tab", "breakBefore") == "page"


@pytest.mark.parametrize("width", [320, 390, 1400])
def test_the_panel_shows_the_mean_of_both_tasks_and_one_scale(visit, real, width):
    tab, trouble, _ = visit(real, width)
    tab.click("section.tab:not([hidden]) tr.system[data-id*=smollm2] a.open")
    parts = tab.query_selector_all("dialog section[data-part]")
    assert [part.get_attribute("data-part") for part in parts] == ["overall", "varierr-1", "r2-1"]
    assert "nearest: " in parts[0].inner_text()
    for part in parts:
        marks = part.query_selector_all("table.factors tbody .zero")
        assert len({mark.get_attribute("x1") for mark in marks}) == 2
        picture = part.query_selector("table.factors tbody svg").bounding_box()
        assert picture["x"] + picture["width"] <= width
    lines = tab.evaluate("[...document.querySelectorAll('dialog .ends')].map((n) => n.getClientRects().length)")
    assert set(lines) == {1}
    assert trouble == []


def test_the_panel_says_which_way_a_metric_is_better(visit, real):
    tab, _, _ = visit(real)
    tab.click("section.tab:not([hidden]) tr.system a.open")
    ways = {
        row.query_selector("code").inner_text().partition("(")[0]: row.query_selector(".way").get_attribute("title")
        for row in tab.query_selector_all("dialog table.scores tbody tr")
    }
    assert ways["label_kappa"] == "higher is better"
    assert ways["feature_kl_excess"] == ways["label_error"] == "lower is better"
    assert ways["copy_rate"] == "nearest to humans is best"


def test_long_facts_span_their_row_and_a_heat_map_is_named_once(visit, real):
    tab, _, _ = visit(real, 1400)
    tab.click("section.tab:not([hidden]) tr.system a.open")
    box, long = (tab.query_selector(f"dialog {s}").bounding_box() for s in (".facts", ".facts .long"))
    assert long["width"] > 0.9 * box["width"]
    heat = tab.query_selector("dialog table.heatmap")
    assert heat.query_selector("caption").bounding_box()["height"] > 10
    assert heat.evaluate("(node) => node.closest('figure')") is None
