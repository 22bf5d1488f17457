"""The page in a real Chromium: decisions are made in it, nothing leaks out, axe finds nothing."""

import csv
import json
import re
from dataclasses import replace
from importlib import resources

import numpy as np
import pandas as pd
import pytest
from conftest import go_to
from playwright.sync_api import expect
from report_examples import (
    evidence_for,
    example_report,
    hostile_report,
    mislabel_flags,
    photographs,
    wide_table,
)
from sister_examples import comparison, memorization, traced, verification

from dataaudit.report import render
from dataaudit.review.comparison.build import render_comparison
from dataaudit.studies.memorization.page import render_memorization
from dataaudit.studies.verification.page import render_verification

pytestmark = pytest.mark.browser

DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
INTERNALS = re.compile(r"\b(mirror\w*|signals?|nan|quer(y|ies)|log.odds)\b", re.IGNORECASE)
LONG_FRACTION = re.compile(r"\d\.\d{5,}")


def thousand_classes():
    classes = [f"class {number:04}" for number in range(1000)]
    flags = mislabel_flags(rows=3000, flagged=60, classes=classes)
    composition = pd.DataFrame({"split": "train", "class": classes, "rows": 3})
    evidence = replace(evidence_for("text", flags, None), composition=composition)
    return example_report("text", 3000, 60, 0, mislabels=flags, evidence=evidence)


def with_text(evidence, text):
    """Return evidence in which every training row reads the same."""
    rows = {
        row_id: replace(
            item,
            row=replace(item.row, text=text),
            neighbours=[replace(other, text=text) for other in item.neighbours],
        )
        for row_id, item in evidence.rows.items()
    }
    return replace(evidence, rows=rows)


def right_to_left():
    classes = ["תקין", "דואר זבל"]
    flags = mislabel_flags(rows=60, flagged=9, classes=classes)
    evidence = evidence_for("text", flags, None)
    evidence = with_text(evidence, "זכית בפרס! התקשר עכשיו 1-800")
    return example_report("text", 60, 9, 0, mislabels=flags, evidence=evidence)


def few(modality):
    return example_report(modality, rows=80, flagged=8, suspects=20, leaked=2)


def regression():
    flags = mislabel_flags(rows=60, flagged=6)
    values = np.linspace(-3, 3, 60)
    flags = replace(
        flags,
        table=flags.table.assign(given_label=values, suggested_label=values[::-1]),
        noise_per_class=flags.noise_per_class.iloc[:0],
        noise_table=pd.DataFrame(),
    )
    evidence = evidence_for("table", flags, None)
    return example_report("table", 60, 6, 0, mislabels=flags, evidence=evidence, task="regression")


def tagged():
    """Sentences of 200 tokens, of which one tag is doubted."""
    flags = mislabel_flags(rows=30, flagged=4)
    given = " ".join(["O"] * 200)
    suggested = " ".join(["O"] * 120 + ["B-PER"] + ["O"] * 79)
    flags = replace(flags, table=flags.table.assign(given_label=given, suggested_label=suggested))
    evidence = evidence_for("text", flags, None)
    evidence = with_text(evidence, " ".join(f"word{number}" for number in range(200)))
    return example_report(
        "text", 30, 4, 0, mislabels=flags, evidence=evidence, task="token-classification"
    )


def label_sets():
    flags = mislabel_flags(rows=30, flagged=4)
    table = flags.table.assign(given_label="rock|live", suggested_label="rock|studio")
    flags = replace(flags, table=table)
    evidence = evidence_for("text", flags, None)
    return example_report("text", 30, 4, 0, mislabels=flags, evidence=evidence, task="multi-label")


@pytest.fixture(scope="session")
def pages(tmp_path_factory):
    """Return the paths of rendered reports by name; each is made once."""
    folder = tmp_path_factory.mktemp("reports")
    makers = {
        "few images": lambda: few("image"),
        "few texts": lambda: few("text"),
        "few tables": lambda: few("table"),
        "image": lambda: example_report("image"),
        "text": lambda: example_report("text"),
        "table": lambda: example_report("table"),
        "99 rows": lambda: example_report("text", rows=1100, flagged=99, suspects=300, leaked=30),
        "no parts": lambda: example_report("text", rows=0, suspects=0, gates=[]),
        "zero flags": lambda: example_report("text", rows=300, flagged=0, suspects=0),
        "hostile text": lambda: hostile_report("text"),
        "hostile table": lambda: hostile_report("table"),
        "photographs": lambda: photographs(60),
        "wide table": wide_table,
        "1,000 classes": thousand_classes,
        "right to left": right_to_left,
        "regression": regression,
        "tags": tagged,
        "sets": label_sets,
        "5,000 images": lambda: example_report("image", rows=6000, flagged=5000),
        "5,000 photographs": lambda: photographs(5000),
        "100,000 flagged": lambda: example_report("text", rows=120_000, flagged=100_000),
        "trace": traced,
        "compare": lambda: render_comparison(comparison()),
        "verify": lambda: render_verification(*verification()),
        "memorization": lambda: render_memorization(memorization()),
    }

    def path(name):
        file = folder / f"{name}.html"
        if not file.exists():
            made = makers[name]()
            page = made if isinstance(made, str) else render(made)
            file.write_text(page, encoding="utf-8")
        return file

    return path


@pytest.fixture
def visit(browser, pages):
    """Return a function that opens a report; at the end the page must have been silent."""
    said, requested, contexts = [], [], []

    def open_page(name, address="", **options):
        context = browser.new_context(**({"viewport": DESKTOP} | options))
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: requested.append(request.url))
        page.goto(pages(name).as_uri() + address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    allowed = ("file:", "data:", "blob:")
    assert [url for url in requested if not url.startswith(allowed)] == []


def downloaded(page):
    """Press the button, and return the records of the file."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Download decisions").click()
    assert download.value.suggested_filename == "decisions.csv"
    with download.value.path().open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def island(page):
    return json.loads(page.locator("#data").text_content())


def heading(page):
    return page.locator("#item-title")


def press(page, keys):
    for key in keys:
        page.keyboard.press(key)


def test_99_rows_take_a_key_each_with_reload_and_undo(visit):
    page = visit("99 rows", "#decide")
    data = island(page)
    press(page, "a" * 40)
    page.reload()
    expect(page.locator("#progress")).to_contain_text("40 of 99 decided")
    press(page, "a" * 40 + "zk" + "u" + "x" * 2 + "1" * 16)
    keys = 40 + 1 + 40 + 2 + 1 + 2 + 16
    assert keys <= 104
    expect(page.locator("#progress")).to_contain_text("99 of 99 decided")
    records = downloaded(page)
    flagged = [row for row in data["rows"] if row[5]]
    assert [record["row_id"] for record in records] == [row[0] for row in flagged]
    kinds = [record["decision"] for record in records]
    assert kinds == ["relabel"] * 79 + ["keep", "unsure"] + ["drop"] * 2 + ["relabel"] * 16
    for record, row in zip(records, flagged, strict=True):
        given, suggested = data["labels"][row[1]][1], data["labels"][row[2]][1]
        assert (record["given_label"], record["suggested_label"]) == (given, suggested)
        assert record["what"] == "label"
        assert record["train_sha256"] == ("a1" * 32)[:12]
        if record["decision"] == "relabel":
            assert record["new_label"] != given
    accepted = [(record["new_label"], record["suggested_label"]) for record in records[:79]]
    assert all(new == suggested for new, suggested in accepted)
    assert all(record["new_label"] != record["suggested_label"] for record in records[-16:])


def test_leaks_are_decided_in_the_same_frame(visit):
    page = visit("99 rows", "#decide&what=leak")
    expect(heading(page)).to_have_text("Evaluation sample 0")
    assert page.locator("#content mark").count() > 0
    page.keyboard.press(" ")
    expect(page.locator(".blinked")).to_be_visible()
    page.keyboard.press(" ")
    expect(page.locator(".blinked")).to_be_hidden()
    press(page, "c" * 20 + "s" * 9 + "u")
    expect(page.locator("#progress")).to_contain_text("30 of 30 leaks")
    records = downloaded(page)
    assert {record["what"] for record in records} == {"leak"}
    assert [record["row_id"] for record in records] == [str(number) for number in range(30)]
    kinds = [record["decision"] for record in records]
    assert kinds == ["copy"] * 20 + ["similar"] * 9 + ["unsure"]


def test_two_rows_of_the_same_content_take_one_key(visit):
    page = visit("text", "#decide&what=twins")
    expect(heading(page)).to_have_text("Rows row-1 and row-3")
    page.keyboard.press("2")
    records = {record["row_id"]: record for record in downloaded(page)}
    assert records["row-1"]["decision"] == "relabel"
    assert records["row-1"]["new_label"] == "coat"
    assert records["row-3"]["decision"] == "keep"
    go_to(page, "#read")
    expect(page.locator('[data-step="twins"]')).to_contain_text("1 of 1 settled")


def test_undo_goes_back_row_by_row_and_survives_a_reload(visit):
    page = visit("text", "#decide")
    first = heading(page).inner_text()
    press(page, "ak")
    page.reload()
    press(page, "zz")
    expect(heading(page)).to_have_text(first)
    expect(page.locator("#progress")).to_contain_text("0 of 240 decided")
    page.keyboard.press("z")
    expect(page.locator("#said")).to_have_text("Nothing to undo.")


def test_arrows_move_and_a_note_is_written_down(visit):
    page = visit("text", "#decide")
    first = heading(page).inner_text()
    page.keyboard.press("ArrowRight")
    assert heading(page).inner_text() != first
    page.keyboard.press("ArrowLeft")
    expect(heading(page)).to_have_text(first)
    page.get_by_label("Your name").fill("Ada")
    page.locator("#item").focus()
    page.keyboard.press("n")
    page.keyboard.type('=looks, like "spam" & ham')
    page.keyboard.press("Enter")
    page.keyboard.press("a")
    (record,) = downloaded(page)
    assert record["comment"] == '\'=looks, like "spam" & ham'
    assert record["reviewer"] == "Ada"


def test_an_address_opens_a_row_and_a_filter(visit):
    page = visit("text", "#decide")
    last = island(page)["rows"][-1][0]
    go_to(page, f"#row={last}")
    expect(heading(page)).to_have_text(f"Row {last}")
    row = next(row for row in island(page)["rows"] if row[5])
    labels = island(page)["labels"]
    pair = f"{labels[row[1]][1]}:{labels[row[2]][1]}"
    go_to(page, "#read")
    page.locator(f'.confusions a[href="#decide&pair={pair}"]').click()
    expect(heading(page)).to_have_text(f"Row {row[0]}")
    assert f"pair={pair}" in page.url
    shown = page.locator(".tile-change").all_inner_texts()
    assert set(shown) == {pair.replace(":", " → ")}
    go_to(page, "#row=nobody")
    expect(page.locator("#said")).to_contain_text("Row nobody is not on this page")


def test_the_next_page_of_the_queue_begins_in_sight_and_keeps_the_focus(visit):
    page = visit("text", "#decide")
    later = page.get_by_role("button", name="Later")
    later.click()
    expect(page.locator("#queue-place")).to_have_text("61 to 120 of 240")
    expect(page.locator(".tile[aria-current]")).to_be_in_viewport()
    expect(later).to_be_focused()
    go_to(page, "#read")
    page.mouse.wheel(0, 2000)
    page.wait_for_timeout(300)
    expect(page.locator(".top")).to_be_in_viewport()


def test_the_help_names_the_keys(visit):
    page = visit("text", "#decide")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_contain_text("accept the suggested label")
    page.keyboard.press("a")
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    expect(page.locator("#progress")).to_contain_text("0 of 240 decided")
    page.get_by_role("button", name="Help").click()
    assert violations(page) == []


def test_two_tabs_of_one_page_share_what_was_decided(browser, pages):
    context = browser.new_context()
    first, second = context.new_page(), context.new_page()
    for page in (first, second):
        page.goto(pages("text").as_uri() + "#decide")
    press(first, "ak")
    expect(second.locator("#progress")).to_contain_text("2 of 240 decided")
    press(second, ["ArrowRight", "ArrowRight", "x"])
    expect(first.locator("#progress")).to_contain_text("3 of 240 decided")
    first.reload()
    expect(first.locator("#progress")).to_contain_text("3 of 240 decided")
    assert [record["decision"] for record in downloaded(first)] == ["relabel", "keep", "drop"]
    context.close()


def test_filters_and_search_narrow_the_queue(visit):
    page = visit("text", "#decide")
    place = page.locator(".item-head .quiet")
    expect(place).to_have_text("1 of 240")
    page.get_by_label("Rows", exact=True).select_option("next")
    expect(place).to_have_text("1 of 250")
    page.get_by_label("Rows", exact=True).select_option("all")
    expect(place).to_contain_text("of 490")
    page.get_by_label("Likely wrong").select_option("0.95")
    shares = page.locator(".tile-head .quiet").all_inner_texts()
    assert all(float(share.strip(">%")) >= 95 for share in shares)
    assert "least=0.95" in page.url
    page.get_by_label("Likely wrong").select_option("0")
    page.get_by_label("Search").fill("PARCEL")
    assert all("parcel" in text for text in page.locator(".excerpt").all_inner_texts())
    page.get_by_label("Search").fill("no row says this")
    expect(page.locator("#item")).to_contain_text("Nothing matches these filters.")
    page.get_by_label("Search").fill("")
    page.get_by_label("Order").select_option("random")
    expect(place).to_contain_text("of 490")


def test_a_second_file_merges_and_conflicts_are_shown(visit, tmp_path):
    page = visit("text", "#decide")
    rows = [row for row in island(page)["rows"] if row[5]]
    labels = island(page)["labels"]
    press(page, "aa")
    ids = [row[0] for row in rows[:3]]
    suggested = labels[rows[1][2]][1]
    file = tmp_path / "other.csv"
    file.write_text(
        "row_id,decision,new_label,reviewer\n"
        f"{ids[0]},keep,,Bo\n{ids[1]},relabel,{suggested},Bo\n{ids[2]},drop,,Bo\n",
        encoding="utf-8",
    )
    page.get_by_label("Load decisions").set_input_files(file)
    expect(page.locator("#said")).to_have_text("1 decision loaded, 1 known before, 1 conflict.")
    expect(page.locator(".conflict")).to_contain_text("the loaded file says kept (Bo)")
    page.get_by_role("button", name="Take theirs").click()
    expect(page.locator(".conflict")).to_have_count(0)
    records = {record["row_id"]: record["decision"] for record in downloaded(page)}
    assert records == {ids[0]: "keep", ids[1]: "relabel", ids[2]: "drop"}
    file.write_text("row_id,decision,train_sha256\nrow-1,keep,beef\n", encoding="utf-8")
    page.get_by_label("Load decisions").set_input_files(file)
    expect(page.locator("#said")).to_contain_text("Line 2 is about other data")
    for content, said in (
        ("row_id,decision,what,suspects_sha256\n0,copy,leak,beef\n", "suspects_sha256 is beef"),
        ("row_id,decision,decision\nrow-1,keep,drop\n", "The column decision is there twice"),
        ("row_id,decision,New Label\nrow-1,keep,\n", "did you mean new_label?"),
        (f"row_id,decision,new_label\n{ids[2]},keep,nonsense\n", "the decision is to keep"),
    ):
        file.write_text(content, encoding="utf-8")
        page.get_by_label("Load decisions").set_input_files(file)
        expect(page.locator("#said")).to_contain_text(said)
    file.write_text(f"row_id,new_label\n{rows[3][0]},{labels[rows[3][1]][1]}\n", encoding="utf-8")
    page.get_by_label("Load decisions").set_input_files(file)
    expect(page.locator("#said")).to_contain_text("1 decision loaded")


def test_suspects_of_another_set_have_decisions_of_their_own(visit, tmp_path):
    page = visit("99 rows", "#decide&what=leak")
    press(page, "cc")
    expect(page.locator("#progress")).to_contain_text("2 of 30 leaks")
    report = example_report("text", rows=1100, flagged=99, suspects=300, leaked=30)
    splits = [
        split.model_copy(update={"sha256": "d7" * 32}) if split.role == "suspects" else split
        for split in report.identity.splits
    ]
    identity = report.identity.model_copy(update={"splits": splits})
    other = tmp_path / "other.html"
    other.write_text(render(report.model_copy(update={"identity": identity})), encoding="utf-8")
    page.goto(f"{other.as_uri()}#decide&what=leak")
    expect(page.locator("#progress")).to_contain_text("0 of 30 leaks")


def test_a_run_of_tiles_is_taken_at_once_with_its_number_to_confirm(visit):
    page = visit("text", "#decide")
    page.locator(".tile").nth(3).click(modifiers=["Shift"])
    page.keyboard.press("k")
    expect(page.locator("#confirm-words")).to_contain_text("for 4 rows at once. Type 4")
    page.locator("#confirm-number").fill("3")
    page.get_by_role("button", name="Decide", exact=True).click()
    expect(page.locator("#said")).to_have_text("Nothing was decided.")
    page.keyboard.press("k")
    page.locator("#confirm-number").fill("4")
    page.locator("#confirm-number").press("Enter")
    expect(page.locator("#progress")).to_contain_text("4 of 240 decided")
    page.keyboard.press("z")
    expect(page.locator("#progress")).to_contain_text("0 of 240 decided")


def test_without_storage_it_works_and_warns_before_decisions_are_lost(browser, pages):
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('none'); } })"
    )
    page.goto(pages("text").as_uri() + "#decide")
    leaving = """() => {
        const event = new Event("beforeunload", { cancelable: true });
        window.dispatchEvent(event);
        return event.defaultPrevented;
    }"""
    assert not page.evaluate(leaving)
    page.keyboard.press("a")
    expect(page.locator("#progress")).to_contain_text("1 of 240 decided")
    expect(page.locator("#kept")).to_contain_text("keeps nothing")
    assert page.evaluate(leaving)
    assert len(downloaded(page)) == 1
    assert not page.evaluate(leaving)
    context.close()


def test_the_foot_says_what_is_left_and_how_right_the_audit_was(visit):
    page = visit("text", "#decide")
    foot = page.locator("#foot-words")
    expect(foot).to_contain_text("Still expected among the 240 left: about 212 wrong labels.")
    press(page, "a" * 18 + "kk")
    expect(foot).to_contain_text("Wrong so far: 18 of 20, 90.0% (95% interval 69.9% to 97.2%)")
    expect(foot).to_contain_text("Of the last 20 in the ranking, 18 were wrong")


def test_decisions_that_were_logged_stand_everywhere(browser, tmp_path):
    report = example_report("text", rows=300, flagged=9, suspects=20, leaked=2)
    from dataaudit.report.data import Decision

    flagged = [row for row in report.labels.rows if row.flagged]
    decisions = [
        Decision(
            what="label",
            row_id=row.row_id,
            decision="relabel" if place < 7 else "keep",
            reviewer="Ada",
            date="2026-11-23",
            before=row.given_label,
            after=row.suggested_label if place < 7 else None,
            comment="",
        )
        for place, row in enumerate(flagged)
    ]
    path = tmp_path / "decided.html"
    path.write_text(render(report.model_copy(update={"remediation": decisions})), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    step = page.locator('[data-step="rows"]')
    expect(step).to_have_class(re.compile("done"))
    expect(step).to_contain_text("9 of 9 decided, 7 corrected")
    expect(page.locator("#progress")).to_contain_text("9 of 9 decided")
    go_to(page, "#decide")
    page.keyboard.press("a")
    expect(page.locator("#said")).to_contain_text("remediation.jsonl")
    go_to(page, "#record")
    expect(page.locator("#record-progress")).to_contain_text("9 of 9 flagged rows decided")
    expect(page.locator("#record-reviewers")).to_have_text("Decided by Ada.")
    page.close()


def test_the_slider_tells_what_a_review_finds(visit):
    page = visit("text")
    slider = page.get_by_role("slider")
    words = page.locator("#budget-words")
    marker = page.locator("#expected-found-marker")
    expect(words).to_contain_text("Reviewing the first 240 rows finds about 212 wrong labels")
    before = float(marker.get_attribute("cx"))
    slider.press("End")
    expect(words).to_contain_text("Reviewing the first 715 rows")
    assert float(marker.get_attribute("cx")) > before
    slider.press("Home")
    expect(words).to_contain_text("Reviewing the first 1 row finds")


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


def test_the_first_screen_holds_verdict_limits_and_steps(visit):
    page = visit("text")
    bottom = page.locator(".steps").evaluate("e => e.getBoundingClientRect().bottom")
    assert bottom <= DESKTOP["height"]
    expect(page.locator("#summary .verdict-word")).to_have_text("Not ready")


def test_printed_the_record_is_summary_evidence_and_signature_then_annexes(visit):
    page = visit("text")
    page.evaluate("window.print = () => { window.printed = true; }")
    page.get_by_role("button", name="Print").click()
    assert page.evaluate("window.printed")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 695, "height": 1000})
    for hidden in (".top", "#read", "#decide"):
        expect(page.locator(hidden)).to_be_hidden()
    heights = [
        page.locator(section).evaluate("e => e.getBoundingClientRect().height") / 3.78
        for section in ("#record-summary", "#evidence")
    ]
    printable = 297 - 17 - 16
    assert heights[0] <= printable
    assert heights[1] <= 2 * printable
    assert page.locator("#sheet-rows > li").count() == 240
    assert page.locator("#sheet-leaks > li").count() == 23
    page.evaluate(
        """() => document.querySelectorAll(".annex").forEach(
            (e) => e.style.setProperty("display", "none", "important"))"""
    )
    paper = page.pdf(format="A4", prefer_css_page_size=True)
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", paper)) <= 3


@pytest.mark.parametrize("name", ["hostile text", "hostile table"])
def test_no_text_from_the_data_runs(visit, name):
    page = visit(name, "#decide")
    press(page, "a" * 6)
    page.get_by_label("Search").fill("<script>")
    go_to(page, "#decide&what=leak")
    expect(heading(page)).to_contain_text("Evaluation sample")
    press(page, "c" * 4)
    assert len(downloaded(page)) == 10
    go_to(page, "#record")
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


MODES = ["#read", "#decide", "#decide&what=leak", "#record"]
SISTERS = ["compare", "verify", "memorization", "trace"]


def modes_of(name):
    return {"trace": ["#read", "#record"]}.get(name, [""] if name in SISTERS else MODES)


def violations(page):
    if not page.evaluate("'axe' in window"):
        axe = resources.files("axe_playwright_python").joinpath("axe.min.js")
        page.evaluate(axe.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{violation['id']}: {node['html'][:120]}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


FEW = ["few images", "few texts", "few tables"]
"""axe looks at each element, and a row more brings the same ones once more."""


@pytest.fixture(scope="module")
def seen_by_axe():
    """What axe has seen: the summaries of images, texts and tables are one and the same."""
    return set()


def shown(page):
    """Return all elements that can be seen, with their own text."""
    return page.evaluate(
        """() => [...document.querySelectorAll("body, body *")]
            .filter((e) => e.checkVisibility())
            .map((e) => e.cloneNode(false).outerHTML + [...e.childNodes]
                .filter((n) => n.nodeType === 3).map((n) => n.textContent.trim()).join("|"))
            .join("\\n")"""
    )


@pytest.mark.parametrize("name", [*FEW, "no parts", "tags", *SISTERS])
@pytest.mark.parametrize(
    "options",
    [{}, {"viewport": PHONE, "color_scheme": "dark"}],
    ids=["desktop", "phone-dark"],
)
def test_axe_finds_no_violation(visit, seen_by_axe, name, options):
    page = visit(name, **options)
    for mode in modes_of(name):
        go_to(page, mode)
        page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        content = (len(options), shown(page))
        if content not in seen_by_axe:
            assert violations(page) == [], mode
        seen_by_axe.add(content)


WIDE = ["photographs", "wide table", "text", "tags", "1,000 classes", "right to left", *SISTERS]


@pytest.mark.parametrize("name", WIDE)
def test_no_width_scrolls_sideways_and_chart_text_can_be_read(visit, name):
    page = visit(name, viewport={"width": 320, "height": 844})
    for mode in modes_of(name):
        go_to(page, mode)
        for width in (320, 390, 768, 1440):
            page.set_viewport_size({"width": width, "height": 844})
            found = page.evaluate("document.documentElement.scrollWidth")
            assert found <= width, (mode, width)
            sizes = page.locator("svg.chart:visible").evaluate_all(
                """charts => charts.flatMap((chart) => {
                    const scale = chart.getBoundingClientRect().width / chart.viewBox.baseVal.width;
                    return [...chart.querySelectorAll("text")].map(
                        (text) => scale * parseFloat(getComputedStyle(text).fontSize));
                })"""
            )
            assert all(11 <= size <= 16 for size in sizes), (mode, width, min(sizes), max(sizes))
        page.set_viewport_size({"width": 320, "height": 844})


EVERY_PAGE = [
    "image", "text", "table", "no parts", "zero flags", "photographs", "wide table",
    "1,000 classes", "right to left", "regression", "tags", "sets", *SISTERS,
]  # fmt: skip


@pytest.mark.parametrize("name", EVERY_PAGE)
def test_internals_are_words_for_engineers_only(visit, name):
    page = visit(name)
    for mode in modes_of(name):
        go_to(page, mode)
        text = page.evaluate(
            """() => {
                const copy = document.querySelector("main").cloneNode(true);
                const gone = "details.engineers, [hidden], script, .sample, .exhibits";
                for (const part of copy.querySelectorAll(gone)) part.remove();
                return [...copy.querySelectorAll("*")].flatMap((e) => [...e.childNodes])
                    .filter((n) => n.nodeType === 3).map((n) => n.textContent).join("\\n");
            }"""
        )
        assert len(text) > 200
        assert not INTERNALS.findall(text), mode
        assert not LONG_FRACTION.findall(text), mode


def test_photographs_are_shown_large_and_open_larger(visit):
    page = visit("photographs", "#decide")
    image = page.locator("#content img")
    width, height = image.evaluate("i => [i.naturalWidth, i.naturalHeight]")
    assert (width, height) == (256, 171)
    assert page.locator("#item-evidence img").first.evaluate("i => i.naturalWidth") == 128
    page.locator("#content .picture").click()
    expect(page.locator("#zoom img")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#zoom img")).to_be_hidden()


def test_a_wide_table_shows_what_differs_first_and_says_what_is_missing(visit):
    page = visit("wide table", "#decide")
    first = page.locator(".matrix").first
    assert first.locator("tbody tr").count() < 64
    expect(page.locator(".equal summary")).to_contain_text("fields are the same")
    expect(first).to_contain_text("missing")
    assert not LONG_FRACTION.findall(first.inner_text())


def test_tags_stand_above_their_words_and_the_doubtful_one_is_framed(visit):
    page = visit("tags", "#decide")
    assert page.locator(".token").count() == 200
    doubtful = page.locator(".token.doubtful")
    assert doubtful.count() == 1
    expect(doubtful).to_contain_text("O → B-PER")
    expect(doubtful).to_contain_text("word120")
    expect(doubtful).to_be_in_viewport()
    assert page.locator(".tile-change").first.inner_text() == "O → B-PER"
    # What decides stays in sight however long the row is.
    expect(page.get_by_role("button", name="Accept")).to_be_in_viewport()


def test_sets_say_what_is_added_and_taken_away(visit):
    page = visit("sets", "#decide")
    expect(page.locator(".label.removed")).to_have_text("− live")
    expect(page.locator(".label.added")).to_have_text("+ studio")


def test_another_of_a_thousand_classes_is_typed(visit):
    page = visit("1,000 classes", "#decide")
    page.get_by_label("Another class").fill("class 9999")
    page.get_by_role("button", name="Take it").click()
    expect(page.locator("#said")).to_contain_text("is none of the 1,000 classes")
    page.get_by_label("Another class").fill("class 0777")
    page.get_by_role("button", name="Take it").click()
    (record,) = downloaded(page)
    assert (record["decision"], record["new_label"]) == ("relabel", "class 0777")


def test_a_target_is_typed_and_its_exact_value_downloaded(visit):
    page = visit("regression", "#decide")
    # A dot on the strip of the look-alikes' targets.
    strip = page.locator("#item .strip")
    assert strip.locator("circle").count() == 2
    assert strip.locator(".tick").count() == 6
    page.keyboard.press("a")
    page.get_by_label("Another label").fill("2.5")
    page.get_by_role("button", name="Take it").click()
    records = downloaded(page)
    row = island(page)["rows"][0]
    assert float(records[0]["new_label"]) == float(island(page)["labels"][row[2]][1])
    assert records[1]["new_label"] == "2.5"


def test_where_nothing_is_flagged_the_top_of_the_ranking_is_shown(visit):
    page = visit("zero flags", "#decide")
    expect(page.locator(".item-head .quiet")).to_have_text("1 of 250")


def test_the_page_is_read_without_script(visit):
    page = visit("text", java_script_enabled=False)
    expect(page.get_by_text("To decide here needs JavaScript, which is off.")).to_be_visible()
    expect(page.get_by_role("button", name="Print")).to_be_hidden()
    table = page.get_by_role("table", name="Rows with doubtful labels")
    assert table.locator("tbody tr").count() == 100


@pytest.mark.parametrize(
    ("name", "megabytes"), [("5,000 images", 12), ("5,000 photographs", 12), ("100,000 flagged", 6)]
)
def test_a_large_report_is_small_and_draws_no_more_than_a_small_one(visit, pages, name, megabytes):
    """How long it takes is a question for benchmarks/largest_pages.py."""
    assert pages(name).stat().st_size <= megabytes * 1_000_000
    drawn = {}
    for each in ("image", name):
        page = visit(each, "#decide")
        page.locator(".tile").first.wait_for()
        page.keyboard.press("a")
        expect(page.locator("#progress")).to_contain_text("1 of ")
        drawn[each] = page.locator("*").count()
    print(f"{name}: {pages(name).stat().st_size / 1e6:.1f} MB, elements drawn {drawn}")
    assert drawn[name] <= 1.2 * drawn["image"]


def test_what_a_large_report_leaves_out_is_said(visit):
    page = visit("100,000 flagged")
    expect(page.get_by_text("95,000 further flagged rows not on this page")).to_be_visible()


def test_every_picture_of_5000_rows_and_the_evidence_of_the_first_are_there(visit):
    page = visit("5,000 images", "#decide")
    assert sum(row[7] >= 0 for row in island(page)["rows"]) == 5000
    assert page.locator("#item-evidence .exhibits li").count() == 6
