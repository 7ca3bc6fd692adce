"""The rating page in a real browser: by keyboard alone, across a reload, and whatever the answers say."""

from __future__ import annotations

import json

import pytest

from hlvbench.cli import main
from hlvbench.data.task import load_task
from hlvbench.human_study import export_study

from .test_human_study import EVIL, write_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chromium(browser):
    from playwright.sync_api import sync_playwright

    quiet = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
    ]
    with sync_playwright() as tool:
        running = tool.chromium.launch(executable_path=browser, args=quiet)
        yield running
        running.close()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Ten questions, people and a hostile system, two raters."""
    folder, task = tmp_path_factory.mktemp("study"), load_task("demo")
    runs = [
        write_run(folder / "people", task, "people", lambda r: r.explanation),
        write_run(folder / "evil", task, "evil", lambda r: f"{r.item} {EVIL}"),
    ]
    export_study(runs, folder / "s", samples=10, raters=2, repeats=2, shots=2)
    return folder / "s"


@pytest.fixture
def visit(chromium, study):
    """Open a rater's page in a fresh browser: (tab, what went wrong, what was asked for)."""
    contexts = []

    def go(rater=1, width=1200, path=None, **options):
        context = chromium.new_context(viewport={"width": width, "height": 800}, accept_downloads=True, **options)
        contexts.append(context)
        tab, trouble, asked = context.new_page(), [], []
        tab.on("console", lambda message: trouble.append(message.text))
        tab.on("pageerror", lambda error: trouble.append(str(error)))
        tab.on("dialog", lambda dialog: (trouble.append(dialog.message), dialog.dismiss()))
        tab.on("request", lambda request: asked.append(request.url))
        (found,) = (study / "for-raters").glob(f"*-{rater}.html")
        tab.goto((path or found).as_uri())
        return tab, trouble, asked

    yield go
    for context in contexts:
        context.close()


def heading(tab) -> str:
    return tab.inner_text("h1")


def answer_screen(tab) -> bool:
    """Answer the screen at hand with keys, and go on; False at the end."""
    title = heading(tab)
    if title == "The end":
        return False
    if "Who wrote it" in title and " of 22" in title:
        tab.keyboard.press("b")
    elif "How good" in title and " of 22" in title:
        for key in "453":
            tab.keyboard.press(key)
    elif "Which of the two" in title and " of 12" in title:
        tab.keyboard.press("0" if tab.evaluate("state.position") % 3 else "1")
    tab.keyboard.press("Enter")
    return True


def test_ten_samples_by_keyboard_across_a_reload_to_a_score(visit, study, capsys):
    tab, trouble, asked = visit()
    for _ in range(30):
        assert answer_screen(tab)
    where, kept = heading(tab), tab.inner_text("#place")
    assert kept.startswith("28 of 56")  # 22 of part 1, two introductions, 6 of part 2
    tab.reload()
    assert (heading(tab), tab.inner_text("#place")) == (where, kept)
    while answer_screen(tab):
        pass
    assert "Every screen is answered" in tab.inner_text("main")
    with tab.expect_download() as caught:
        tab.keyboard.press("Enter")
    name = caught.value.suggested_filename
    caught.value.save_as(study / "ratings" / name)
    assert trouble == []
    assert {url for url in asked if not url.startswith("blob:")} == {tab.url}
    exported = json.loads((study / "ratings" / name).read_text())
    assert exported["page_sha256"] == exported["sheet_sha256"]  # the browser measured what it showed
    assert main(["human-study", "score", str(study), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    (rater,) = result["raters"]
    # 22 + 3 · 22 + 12
    assert (rater["answered"], rater["asked"]) == (100, 100)
    assert {r["value"] for r in result["means"]} == {4.0, 5.0, 3.0}
    assert {r["question"]: r["same"] for r in result["consistency"]}["coherence"] == 1.0


def test_a_hostile_answer_is_a_text_on_every_screen(visit):
    tab, trouble, asked = visit()
    seen = 0
    for position in range(tab.evaluate("steps.length")):
        tab.evaluate(f"state.position = {position}; show()")
        seen += "<img src=x onerror=alert(1)>" in tab.inner_text("main")
        assert tab.query_selector("main img, main script, main a") is None
        assert "\u202e" not in tab.inner_text("main")
        assert tab.title().endswith(tab.inner_text("header .kind").removeprefix("Rating sheet "))
    assert seen > 20
    assert trouble == []
    assert len(asked) == 1


def test_an_open_question_is_told_once_and_a_finished_part_stays_closed(visit):
    tab, _, _ = visit()
    tab.keyboard.press("Enter")
    tab.keyboard.press("Enter")
    assert "Not everything here is answered" in tab.inner_text("#status")
    assert " 1 of 22" in heading(tab)
    tab.keyboard.press("Enter")
    assert " 2 of 22" in heading(tab)
    tab.keyboard.press("Backspace")
    assert " 1 of 22" in heading(tab)
    tab.evaluate("go(23)")
    assert heading(tab).startswith("Part 2 of 3")
    assert "22 screens of part 1 are not answered yet" in tab.inner_text("main")
    tab.keyboard.press("Enter")
    tab.keyboard.press("Backspace")
    tab.keyboard.press("Backspace")
    assert heading(tab).startswith("Part 2 of 3")
    assert tab.query_selector("nav button:not(.main)").is_disabled()


def test_single_keys_can_be_switched_off_and_every_control_has_a_name(visit):
    tab, _, _ = visit()
    tab.keyboard.press("Enter")
    tab.get_by_label("Single keys answer").uncheck()
    tab.keyboard.press("b")
    assert tab.query_selector("input[type=radio]:checked") is None
    group = tab.get_by_role("group", name="Who wrote the explanation?")
    assert group.get_by_role("radio").count() == 4
    group.get_by_role("radio", name="B: person B").check()
    assert tab.inner_text("#place").startswith("1 of 56")
    assert tab.get_by_role("heading", level=1).count() == 1
    assert tab.get_by_role("button", name="Next").count() == 1
    assert tab.get_by_role("progressbar", name="Progress").count() == 1


def test_a_page_that_was_changed_refuses_to_be_rated(visit, study, tmp_path):
    (page,) = (study / "for-raters").glob("*-1.html")
    changed = tmp_path / page.name
    changed.write_text(page.read_text("utf-8").replace("How good is it?", "How bad is it?"), "utf-8")
    tab, _, _ = visit(path=changed)
    tab.wait_for_function("!trusted")
    assert heading(tab) == "This sheet was changed"


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1200, "light")])
def test_it_fits_phones_and_desks_light_and_dark(visit, width, scheme):
    tab, trouble, _ = visit(width=width, color_scheme=scheme)
    for position in (0, 1, 24, 48, 60):
        tab.evaluate(f"state.position = Math.min({position}, steps.length - 1); show()")
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        assert all(b.bounding_box()["height"] >= 44 for b in tab.query_selector_all("button, .options label"))
    paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, paper[4:-1].split(","))) < 64) == (scheme == "dark")
    assert trouble == []
