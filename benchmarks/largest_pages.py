"""How long the largest review pages take to use, as a multiple of a page of 240 flagged rows.

    python benchmarks/largest_pages.py [--times 5]

Each page is opened in Chromium, in a fresh context, and its first row is decided; from the address
to the decision is timed, one page after the other, over and over. Printed is the shortest time of
each, and what it is of the small page's in the same run. Needs Chromium, and what
`pip install -e '.[dev]'` brings.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # The made-up audits of the tests.
from conftest import CHROMIUM_ARGUMENTS, chromium
from report_examples import example_report, photographs

from dataaudit.report import render

PAGES = {
    "240 drawings": lambda: example_report("image"),
    "5,000 drawings": lambda: example_report("image", rows=6000, flagged=5000),
    "5,000 photographs": lambda: photographs(5000),
    "100,000 texts": lambda: example_report("text", rows=120_000, flagged=100_000),
}
SMALL = "240 drawings"


def seconds_to_decide(browser: Browser, page_file: Path) -> float:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    started = time.perf_counter()
    page.goto(f"{page_file.as_uri()}#decide")
    page.locator(".tile").first.wait_for()
    page.keyboard.press("a")
    expect(page.locator("#progress")).to_contain_text("1 of ")
    passed = time.perf_counter() - started
    context.close()
    return passed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=5, help="how often each page is opened")
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        files = {name: Path(folder) / f"{number}.html" for number, name in enumerate(PAGES)}
        for name, file in files.items():
            file.write_text(render(PAGES[name]()), encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGUMENTS)
        taken: dict[str, list[float]] = {name: [] for name in files}
        for _ in range(times):
            for name, file in files.items():
                taken[name].append(seconds_to_decide(browser, file))
        print("| flagged rows | MB | seconds | of the small page |\n|---|---|---|---|")
        for name, file in files.items():
            best = min(taken[name])
            ratio = best / min(taken[SMALL])
            print(f"| {name} | {file.stat().st_size / 1e6:.1f} | {best:.2f} | {ratio:.2f} |")
        browser.close()


if __name__ == "__main__":
    main()
