"""How long does the leaderboard page take with 500 submissions? In Chromium, from a file, with an empty cache.

The rows are those of submissions/, copied under other names with their indexes and replicates moved at random; the page
is the real one. Exits with 1 where drawing takes longer than a second.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from hlvbench.leaderboard import make_board, page, read_all
from hlvbench.results.score_report import ScoreReport
from hlvbench.submissions import Submission

LIMIT = 1.0


def many(known: list[Submission], count: int) -> list[Submission]:
    """`count` submissions, the copies ranked systems of their own."""
    systems = [s for s in known if s.card.method != "reference"]
    rng, out = np.random.default_rng(0), list(known)
    for number in range(count - len(known)):
        source = systems[number % len(systems)]
        reports = {}
        for task, report in source.reports.items():
            document = report.to_dict()
            moved = round(float(rng.uniform(0, 0.4)), 6)
            stored = document["replicates"]["values"]["hlv_index"]
            stored.update(estimate=moved, offset=moved, scale=float(rng.uniform(1e-7, 2e-6)))
            for score in document["scores"]:
                if score["metric"] == "hlv_index" and score["annotator"] is None:
                    score.update(value=moved, low=max(0.0, moved - 0.05), high=moved + 0.05)
            reports[task] = ScoreReport.model_validate(document)
        card = source.card.model_copy(update={"name": f"copy-{number}", "system": f"System number {number}"})
        out.append(
            replace(source, folder=source.folder.with_name(f"20261124_copy-{number}"), card=card, reports=reports)
        )
    return out


def measure(path: Path, chromium: str) -> dict[str, float]:
    """Seconds until the page is drawn and its script has run, and of what a reader then does."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport={"width": 1400, "height": 900})
        tab.goto(path.as_uri())
        # two frames after the load event the first screen is on the glass
        tab.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        found = tab.evaluate(
            """() => {
              const entry = performance.getEntriesByType("navigation")[0];
              const paint = performance.getEntriesByName("first-contentful-paint")[0];
              return {
                "first paint": paint.startTime / 1e3, "loaded": entry.loadEventEnd / 1e3,
                "drawn": performance.now() / 1e3,
              };
            }"""
        )
        for what, action in (
            ("sort", "document.querySelector('section.tab:not([hidden]) th[data-sort=text] button').click()"),
            ("filter", "document.getElementById('attacks').click()"),
            ("compare (parses the data)", "document.getElementById('compare').click()"),
        ):
            found[what] = tab.evaluate(
                f"() => {{ const at = performance.now(); {action}; document.body.offsetHeight; "
                "return (performance.now() - at) / 1e3; }"
            )
        browser.close()
    return dict(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--keep", type=Path, metavar="FILE", help="leave the page there")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no chromium on the PATH")
    submissions = many(read_all(Path("submissions")), arguments.count)
    started = time.monotonic()
    source = page(make_board(submissions))
    size, seconds = len(source.encode()) / 1e6, time.monotonic() - started
    print(f"{len(submissions)} submissions, {size:.1f} MB, built in {seconds:.0f} s")
    with tempfile.TemporaryDirectory() as scratch:
        path = arguments.keep or Path(scratch) / "index.html"
        path.write_text(source, "utf-8")
        runs = [measure(path.resolve(), chromium) for _ in range(arguments.runs)]
    for what in runs[0]:
        print(f"{what}: median {np.median([r[what] for r in runs]):.2f} s, worst {max(r[what] for r in runs):.2f} s")
    drawn = float(np.median([r["drawn"] for r in runs]))
    print(f"{'ok' if drawn <= LIMIT else 'TOO SLOW'}: drawn in {drawn:.2f} s, target {LIMIT} s")
    return 0 if drawn <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
