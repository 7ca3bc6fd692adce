"""The report page in a real browser."""

from __future__ import annotations

import pytest

from .test_report import EVIL, answer, document, write_run


@pytest.fixture
def evil_page(tmp_path):
    answers = [answer(f"{EVIL}{k}", "b", k % 2, k / 30) for k in range(30)]
    evil = EVIL.replace("\ud800", "")
    doc = document(names=(evil, *(f"writer{k}" for k in range(39))), system=evil)
    return write_run(tmp_path / "run", doc, answers)


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 1200])
def test_a_browser_shows_it_without_a_request_an_error_or_sideways_scrolling(visit, evil_page, width):
    tab, trouble, asked = visit(evil_page, width)
    tab.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    assert asked == [evil_page.as_uri()]
    assert trouble == []
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    for kind, least in (("svg.chart", 4), ("svg.bar", 10), ("svg.histogram", 41), ("table.heatmap", 8)):
        boxes = [box.bounding_box() for box in tab.query_selector_all(kind)]
        assert len(boxes) >= least
        assert all(box and box["width"] > 20 and box["height"] > 10 for box in boxes)
    assert "<script>alert(1)</script>" in tab.inner_text("h1")


@pytest.mark.slow
def test_tables_sort_by_keyboard_and_what_has_no_value_stays_last(visit, tmp_path):
    answers = [answer(f"i{k}", "Ann1", k % 2, None if k == 3 else k / 9) for k in range(10)]
    tab, trouble, _ = visit(write_run(tmp_path / "run", document(), answers))
    table = tab.query_selector("table.sortable")
    column = [head.inner_text().strip() for head in table.query_selector_all("thead th")].index("closeness")

    def cells():
        return [r.query_selector_all("th, td")[column].inner_text() for r in table.query_selector_all("tbody tr")]

    before = cells()
    button = table.query_selector_all("thead button")[column]
    for direction, reverse in (("ascending", False), ("descending", True)):
        button.focus()
        tab.keyboard.press("Enter")
        assert table.query_selector_all("thead th")[column].get_attribute("aria-sort") == direction
        known = sorted((c for c in before if c != "–"), key=float, reverse=reverse)
        assert cells() == known + [c for c in before if c == "–"]
    assert trouble == []


@pytest.mark.slow
def test_it_reads_the_same_without_script(visit, evil_page):
    with_script, _, _ = visit(evil_page)
    without, trouble, _ = visit(evil_page, java_script_enabled=False)
    assert without.inner_text("main") == with_script.inner_text("main")
    assert trouble == []


@pytest.mark.slow
def test_dark_screens_are_dark_and_paper_is_white(visit, evil_page):
    def paper(tab):
        shade = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        return [int(part) for part in shade.removeprefix("rgb(").removesuffix(")").split(",")]

    light, dark = (visit(evil_page, color_scheme=scheme)[0] for scheme in ("light", "dark"))
    assert paper(light) == [255, 255, 255]
    assert max(paper(dark)) < 64
    dark.emulate_media(media="print")
    assert paper(dark) == [255, 255, 255]


@pytest.mark.slow
def test_four_annotators_fit_a_sheet_of_paper(visit, tmp_path):
    # A4 less the usual margins of 1 cm: 190 mm at 96 dots per inch
    tab, _, _ = visit(write_run(tmp_path / "run", document(names=("Ann1", "Ann2", "Ann3", "Ann4"))), 718)
    tab.emulate_media(media="print")
    assert tab.evaluate("document.documentElement.scrollWidth") == 718


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_numbers_on_shaded_cells_have_enough_contrast(visit, tmp_path, scheme):
    """WCAG 2.1 contrast of at least 4.5 between a heat cell's number and its shade, at every level."""
    tab, _, _ = visit(write_run(tmp_path / "run", document()), color_scheme=scheme)
    ratios = tab.evaluate(
        """() => {
          const parse = (text) => text.match(/[\\d.]+/g).map(Number);
          const linear = (c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
          const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
          const paper = parse(getComputedStyle(document.body).backgroundColor);
          const cell = document.querySelector("td.heat");
          return Array.from({ length: 11 }, (_, level) => {
            cell.className = `heat h${level}`;
            const style = getComputedStyle(cell), shade = parse(style.backgroundColor);
            const a = shade[3] ?? 1, seen = shade.slice(0, 3).map((c, i) => a * c + (1 - a) * paper[i]);
            const [x, y] = [light(parse(style.color)), light(seen)].sort((p, q) => q - p);
            return (x + 0.05) / (y + 0.05);
          });
        }"""
    )
    assert len(ratios) == 11
    assert min(ratios) >= 4.5
