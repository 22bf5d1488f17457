"""The page in a real Chromium: every control works, nothing leaks out, axe finds nothing."""

import time
from dataclasses import replace
from importlib import resources

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import expect
from report_examples import evidence_for, example_report, hostile_report, mislabel_flags

from dataaudit.report import render

pytestmark = pytest.mark.browser

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="session")
def pages(tmp_path_factory):
    """Return the paths of rendered reports by name; each is made once."""
    folder = tmp_path_factory.mktemp("reports")
    makers = {
        "image": lambda: example_report("image"),
        "text": lambda: example_report("text"),
        "table": lambda: example_report("table"),
        "no parts": lambda: example_report("text", rows=0, suspects=0, gates=[]),
        "only labels": lambda: example_report("text", suspects=0),
        "hostile text": lambda: hostile_report("text"),
        "hostile table": lambda: hostile_report("table"),
        "5,000 images": lambda: example_report("image", rows=6000, flagged=5000),
        "100,000 flagged": lambda: example_report("text", rows=120_000, flagged=100_000),
    }

    def path(name):
        file = folder / f"{name}.html"
        if not file.exists():
            file.write_text(render(makers[name]()), encoding="utf-8")
        return file

    return path


@pytest.fixture
def visit(browser, pages):
    """Return a function that opens a report; at the end the page must have been silent."""
    said, requested, contexts = [], [], []

    def open_page(name, **options):
        context = browser.new_context(**({"viewport": DESKTOP} | options))
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: requested.append(request.url))
        page.goto(pages(name).as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert [url for url in requested if not url.startswith(("file:", "data:"))] == []


def lines(page):
    return page.locator("#rows-table > tbody > tr:not(.detail)")


def column(page, number):
    return lines(page).locator(f"td:nth-child({number})").all_inner_texts()


def test_columns_sort_both_ways_and_say_so(visit):
    page = visit("text")
    headers = page.locator("#rows-table th")
    assert column(page, 1) == [str(rank) for rank in range(1, 26)]
    expect(headers.nth(0)).to_have_attribute("aria-sort", "ascending")

    for number, name in enumerate(["Rank", "Row", "Given", "Suggested", "Probability wrong"]):
        button = page.get_by_role("button", name=name, exact=True)
        button.click()
        first = headers.nth(number).get_attribute("aria-sort")
        top = column(page, number + 1)[0]
        button.click()
        second = headers.nth(number).get_attribute("aria-sort")
        assert {first, second} == {"ascending", "descending"}
        assert column(page, number + 1)[0] != top
        assert page.locator("#rows-table th[aria-sort]").count() == 1
    page.get_by_role("button", name="Row", exact=True).click()
    ids = [text.split("\n")[0] for text in column(page, 2)]
    numbers = [int(text.removeprefix("row-")) for text in ids]
    assert numbers == sorted(numbers)


def test_filters_and_search_narrow_the_rows_together(visit):
    page = visit("text")
    status = page.locator("#rows-status")
    expect(status).to_have_text("Rows 1 to 25 of 240 that match (490 on this page).")
    page.get_by_label("Rows", exact=True).select_option("kept")
    expect(status).to_contain_text("of 250 that match")
    assert set(column(page, 6)) == {"kept"}
    page.get_by_label("Rows", exact=True).select_option("all")
    expect(status).to_contain_text("of 490 that match")
    page.get_by_label("Given label").select_option("coat")
    assert set(column(page, 3)) == {"coat"}
    page.get_by_label("Suggested label").select_option("dress")
    assert set(column(page, 4)) == {"dress"}
    page.get_by_label("Search").fill("PARCEL")
    assert lines(page).count() > 0
    assert all("parcel" in text for text in column(page, 2))
    page.get_by_label("Search").fill("no row says this")
    expect(status).to_have_text("No row matches (490 on this page).")
    page.get_by_role("button", name="Reset").click()
    expect(status).to_have_text("Rows 1 to 25 of 240 that match (490 on this page).")
    page.get_by_label("Search").press("Enter")
    assert page.url.endswith(".html")


def test_pages_turn_and_the_keyboard_keeps_its_place(visit):
    page = visit("text")
    rows = page.get_by_role("navigation", name="Pages of rows")
    expect(rows.get_by_role("button", name="Previous")).to_be_disabled()
    following = rows.get_by_role("button", name="Next")
    for number in range(2, 11):
        following.press("Enter")
        expect(page.locator("#page-number")).to_have_text(f"Page {number} of 10")
    assert lines(page).count() == 15
    expect(following).to_be_disabled()
    expect(rows.get_by_role("button", name="Previous")).to_be_focused()


@pytest.mark.parametrize("modality", ["image", "text", "table"])
def test_a_row_opens_to_show_its_evidence_by_mouse_and_keyboard(visit, modality):
    page = visit(modality)
    button = page.locator(".open").nth(2)
    button.click()
    expect(button).to_have_attribute("aria-expanded", "true")
    detail = page.locator(f"#{button.get_attribute('aria-controls')}")
    for heading in ("Held-out samples that speak against it", "Most alike in training", "Signals"):
        expect(detail.get_by_role("heading", name=heading)).to_be_visible()
    expect(detail.get_by_text("speaks against it, +0.42 nats")).to_be_visible()
    assert detail.locator(".exhibits li").count() == 6
    assert detail.locator(".signals tbody tr").count() == 4
    if modality == "image":
        assert detail.locator("img").count() == 7
        sizes = detail.locator("img").evaluate_all("images => images.map(i => i.naturalWidth)")
        assert sizes == [48] * 7
    button.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "false")
    expect(page.locator(".detail")).to_have_count(0)


def test_the_slider_tells_what_a_review_finds(visit):
    page = visit("text")
    slider = page.get_by_role("slider")
    words = page.locator("#budget-words")
    marker = page.locator("#expected-found-marker")
    expect(words).to_contain_text("Reviewing the first 240 rows finds about 212 wrong labels")
    before = float(marker.get_attribute("cx"))
    slider.press("End")
    expect(words).to_contain_text("Reviewing the first 2,000 rows finds about 294 wrong labels")
    expect(words).to_contain_text("100% of all that are wrong")
    expect(slider).to_have_attribute("aria-valuetext", "2,000 rows, about 294 wrong")
    assert float(marker.get_attribute("cx")) > before
    slider.press("Home")
    expect(words).to_contain_text("Reviewing the first 1 rows")


def test_the_theme_follows_the_system_and_the_button(visit):
    page = visit("text", color_scheme="dark")

    def ground():
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    button = page.get_by_role("button", name="Dark")
    expect(button).to_have_attribute("aria-pressed", "true")
    dark = ground()
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    light = ground()
    assert light != dark
    button.click()
    assert ground() == dark
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_all_rows_that_match_are_printed_and_gone_afterwards(visit):
    page = visit("text")
    page.get_by_role("button", name="Next").first.click()
    page.locator(".open").nth(2).click()
    opened = page.locator(".detail h4").first.inner_text()
    status = page.locator("#rows-status")
    before = status.inner_text()
    pairs = page.locator(".pair:visible").count()
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert lines(page).count() == 240
    assert column(page, 1) == [str(rank) for rank in range(1, 241)]
    assert page.locator(".detail h4").first.inner_text() == opened
    expect(status).to_have_text("240 rows match.")
    assert page.locator(".pair:visible").count() == page.locator(".pair").count() > pairs
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert column(page, 1) == [str(rank) for rank in range(26, 51)]
    assert page.locator(".detail h4").first.inner_text() == opened
    expect(status).to_have_text(before)
    assert page.locator(".pair:visible").count() == pairs


def test_of_very_many_rows_the_first_thousand_are_printed(visit):
    page = visit("5,000 images")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert lines(page).count() == 1000
    expect(page.locator("#rows-status")).to_have_text(
        "5,000 rows match; 4,000 of them are not printed: mislabels.parquet holds every row."
    )


def test_print_opens_the_dialog_and_makes_a_pdf(visit):
    page = visit("text")
    page.evaluate("window.print = () => { window.printed = true; }")
    page.get_by_role("button", name="Print").click()
    assert page.evaluate("window.printed")
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.emulate_media(media="print")
    for hidden in (".top", ".controls", ".pager"):
        expect(page.locator(hidden).first).to_be_hidden()


def test_the_managers_page_fits_one_sheet(visit):
    page = visit("text", viewport={"width": 695, "height": 1000})
    page.emulate_media(media="print")
    millimetres = page.locator("#summary").evaluate("e => e.getBoundingClientRect().height") / 3.78
    assert millimetres < 297 - 28


def test_leaked_pairs_filter_and_page(visit):
    page = visit("text")
    status = page.locator("#pairs-status")
    visible = page.locator(".pair:visible")
    expect(status).to_have_text("23 of 23 pairs.")
    assert visible.count() == 10
    pager = page.get_by_role("navigation", name="Pages of pairs")
    pager.get_by_role("button", name="Next").click()
    pager.get_by_role("button", name="Next").click()
    assert visible.count() == 3
    page.get_by_label("Kind", exact=True).select_option("influence only")
    expect(status).to_have_text("5 of 23 pairs.")
    assert visible.count() == 5
    expect(pager).to_be_hidden()
    assert visible.first.locator("mark").all_inner_texts() != []


def test_leaked_pictures_show_their_difference(visit):
    page = visit("image")
    pair = page.locator(".pair:visible").first
    assert pair.locator("img").count() == 4
    mode = pair.locator(".overlay img").nth(1).evaluate("e => getComputedStyle(e).mixBlendMode")
    assert mode == "difference"


@pytest.mark.parametrize("name", ["hostile text", "hostile table"])
def test_no_text_from_the_data_runs(visit, name):
    page = visit(name)
    page.locator(".open").first.click()
    page.get_by_label("Search").fill("<script>")
    assert lines(page).count() == 6
    page.locator(".open").last.click()
    page.get_by_role("slider").press("End")
    assert page.evaluate("window.pwned") is None
    assert page.locator("main script, main iframe").count() == 0
    assert page.locator("img[src=x]").count() == 0


def test_the_policy_stops_what_is_not_the_pages_own(browser, pages):
    context = browser.new_context()
    page = context.new_page()
    refused = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto(pages("text").as_uri())
    page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.pwned = 1";
            document.body.append(script);
            const picture = document.createElement("img");
            picture.src = "https://example.org/pixel.png";
            document.body.append(picture);
        }"""
    )
    page.wait_for_timeout(200)
    assert page.evaluate("window.pwned") is None
    assert len([text for text in refused if "Content Security Policy" in text]) == 2
    context.close()


@pytest.mark.parametrize("name", ["image", "text", "table", "no parts", "only labels"])
@pytest.mark.parametrize(
    "options",
    [{}, {"viewport": PHONE}, {"color_scheme": "dark"}],
    ids=["desktop", "phone", "dark"],
)
def test_axe_finds_no_violation(visit, name, options):
    page = visit(name, **options)
    if page.locator(".open").count():
        page.locator(".open").nth(1).click()
    for summary in page.locator("summary").all():
        summary.click()
    axe = resources.files("axe_playwright_python").joinpath("axe.min.js")
    page.evaluate(axe.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    assert [
        f"{violation['id']}: {node['html'][:120]}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ] == []


@pytest.mark.parametrize("name", ["image", "text", "table", "no parts"])
def test_a_phone_shows_the_page_without_scrolling_sideways(visit, name):
    page = visit(name, viewport=PHONE)
    if page.locator(".open").count():
        page.locator(".open").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_the_page_is_read_without_script(visit):
    page = visit("text", java_script_enabled=False)
    expect(page.get_by_text("Sorting, filtering and opening rows needs JavaScript")).to_be_visible()
    expect(page.get_by_role("button", name="Print")).to_be_hidden()
    assert page.locator(".pair").count() == 23


@pytest.mark.parametrize(
    ("name", "flagged"), [("5,000 images", "5,000"), ("100,000 flagged", "5,000")]
)
def test_a_large_report_is_small_and_quick(visit, pages, name, flagged):
    assert pages(name).stat().st_size <= 5_000_000
    started = time.perf_counter()
    page = visit(name)
    page.locator(".open").first.wait_for()
    ready = time.perf_counter() - started
    expect(page.locator("#rows-status")).to_contain_text(f"of {flagged} that match")
    started = time.perf_counter()
    page.get_by_role("button", name="Probability wrong").click()
    page.get_by_label("Search").fill("row-12")
    expect(page.locator("#rows-status")).not_to_contain_text(f"of {flagged} that match")
    used = time.perf_counter() - started
    assert ready <= 2, f"ready after {ready:.1f} s"
    assert used <= 2, f"sorted and searched in {used:.1f} s"


def test_what_a_large_report_leaves_out_is_said(visit):
    page = visit("100,000 flagged")
    expect(page.get_by_text("95,000 further flagged rows not on this page")).to_be_visible()


def test_every_thumbnail_of_5000_rows_and_the_evidence_of_the_first_are_there(visit):
    page = visit("5,000 images")
    with_picture = page.evaluate(
        """() => {
            const data = JSON.parse(document.getElementById("data").textContent);
            return data.rows.filter((row) => row[7] >= 0).length;
        }"""
    )
    assert with_picture == 5000
    page.locator(".open").first.click()
    assert page.locator(".detail .exhibits li").count() == 6


def test_targets_of_a_regression_are_not_filters(browser, tmp_path):
    flags = mislabel_flags(rows=60, flagged=6)
    values = np.linspace(-3, 3, 60)
    flags = replace(
        flags,
        table=flags.table.assign(given_label=values, suggested_label=values[::-1]),
        noise_per_class=flags.noise_per_class.iloc[:0],
        noise_table=pd.DataFrame(),
    )
    evidence = evidence_for("table", flags, None)
    report = example_report("table", 60, 6, 0, mislabels=flags, evidence=evidence)
    path = tmp_path / "regression.html"
    path.write_text(render(report), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    assert page.locator("#given").count() == 0
    page.get_by_role("button", name="Given").click()
    shown = [float(text.replace("−", "-")) for text in column(page, 3)]
    assert shown == sorted(shown)
    page.close()
