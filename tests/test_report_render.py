"""The page: one file, safe whatever the data holds, the same as the gold page."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import pandas as pd
import pytest
from report_examples import (
    contamination_flags,
    evidence_for,
    example_report,
    hostile_report,
    mislabel_flags,
)

from dataaudit.report import render
from dataaudit.report.data import Estimate
from dataaudit.report.evidence import Evidence, RowEvidence
from dataaudit.report.page_data import island
from dataaudit.report.page_evidence import view_evidence
from dataaudit.report.render import _environment
from dataaudit.resources import resource_folder

GOLD = Path(__file__).with_name("gold") / "report.html"


class Elements(HTMLParser):
    """Collects the elements of a page with their attributes, and the text of scripts."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.found = []
        self.scripts = []
        self.styles = []
        self._inside = None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._inside = {"script": self.scripts, "style": self.styles}.get(tag)

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside is not None:
            self._inside.append(data)


@pytest.fixture(scope="module", params=["text", "image", "table"])
def hostile(request):
    report = hostile_report(request.param)
    return report, Elements(render(report))


def test_text_from_the_data_stays_text(hostile):
    _, page = hostile
    tags = Counter(tag for tag, _ in page.found)
    assert tags["script"] == 2
    assert tags["style"] == 1
    assert not set(tags) & {"iframe", "object", "embed", "base", "link", "template"}
    for tag, attributes in page.found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        if "href" in attributes:
            assert attributes["href"].startswith("#")
        if "src" in attributes:
            assert tag == "img"
            assert attributes["src"].startswith("data:image/")


def test_the_data_island_cannot_be_left(hostile):
    report, page = hostile
    text = page.scripts[0]
    assert not set(text) & set("<>&\u2028\u2029")
    data = json.loads(text)
    assert data["rows"][0][0] == report.labels.rows[0].row_id
    assert data["leaks"][0][0] == report.leakage.pairs[0].query_id
    assert "</script>" in data["rows"][0][0]


def test_islands_escape_what_html_or_old_scripts_would_read():
    text = "</script><!--&\u2028\u2029"
    assert island({"a": text}) == ('{"a":"\\u003c/script\\u003e\\u003c!--\\u0026\\u2028\\u2029"}')
    assert json.loads(island({"a": text})) == {"a": text}


def test_the_policy_admits_the_style_and_the_script_by_hash_and_nothing_else():
    page = Elements(render(example_report("text", 30, 3)))
    policy = next(
        attributes["content"]
        for tag, attributes in page.found
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )

    def digest(text):
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    assert policy == (
        "default-src 'none'; img-src data:; "
        f"style-src 'sha256-{digest(page.styles[0])}'; "
        f"script-src 'sha256-{digest(page.scripts[1])}'; "
        "base-uri 'none'; form-action 'none'"
    )


def test_nothing_on_the_page_is_loaded_from_elsewhere():
    html = render(example_report("image", 30, 3))
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", html))
    assert addresses <= {"http://www.w3.org"}


@pytest.mark.parametrize("parts", [{}, {"rows": 0}, {"suspects": 0}, {"rows": 0, "suspects": 0}])
def test_every_link_leads_somewhere_and_every_id_is_used_once(parts):
    page = Elements(render(example_report("text", **parts)))
    ids = Counter(attributes["id"] for _, attributes in page.found if "id" in attributes)
    assert max(ids.values()) == 1
    for tag, attributes in page.found:
        if "href" in attributes:
            assert attributes["href"].removeprefix("#").split("&")[0] in ids
        for name in ("aria-labelledby", "for"):
            if tag == "div" and attributes.get("id") == "item":
                # Its heading is made with the item.
                continue
            for target in attributes.get(name, "").split():
                assert target in ids


def test_a_part_that_was_not_audited_is_said_not_to_be():
    html = render(example_report("text", rows=0, suspects=0, gates=[]))
    assert "Label errors were not looked for. Nothing on this page says" in html
    assert "Leaks were not looked for. Nothing on this page says" in html
    assert "No limits set" in html


def test_what_is_left_out_is_said(monkeypatch):
    monkeypatch.setattr("dataaudit.report.label_findings.ROWS_ON_PAGE", 20)
    monkeypatch.setattr("dataaudit.report.leakage.PAIRS_ON_PAGE", 5)
    html = render(example_report("text", rows=300, flagged=70, suspects=40, leaked=10))
    assert "50 further flagged rows not on this page: mislabels.parquet holds every row." in html
    assert "5 further pairs not on this page: contamination.parquet holds them all." in html


def test_many_classes_do_not_make_an_endless_page():
    classes = [f"class {number:04}" for number in range(1000)]
    flags = mislabel_flags(rows=5000, flagged=50, classes=classes)
    composition = pd.DataFrame({"split": "train", "class": classes, "rows": 5})
    evidence = replace(evidence_for("text", flags, None), composition=composition)
    html = render(example_report("text", 5000, 50, 0, mislabels=flags, evidence=evidence))
    assert "the first 60 of 1000 classes, audit.json holds all" in html
    assert "the 200 worst of 1000, audit.json holds all" in html
    assert "980 classes with fewer errors left out" in html
    assert len(html) < 900_000


def test_whatever_the_samples_the_page_stays_below_five_megabytes():
    flags, leaks = mislabel_flags(rows=6000, flagged=5000), contamination_flags(400, 400)
    evidence = evidence_for("text", flags, leaks, against=5, neighbours=5)
    long = "<é\u2028" * 400

    def lengthened(item):
        return replace(item, text=long, note=f"{item.note} {item.sample_id}")

    evidence = Evidence(
        rows={
            row_id: RowEvidence(
                lengthened(item.row),
                [lengthened(other) for other in item.against],
                [lengthened(other) for other in item.neighbours],
            )
            for row_id, item in evidence.rows.items()
        },
        pairs={key: (lengthened(a), lengthened(b)) for key, (a, b) in evidence.pairs.items()},
        composition=evidence.composition,
    )
    report = example_report(
        "text", 6000, 5000, 400, 400, mislabels=flags, contamination=leaks, evidence=evidence
    )
    size = len(render(report).encode())
    assert 3_000_000 < size <= 5_000_000
    assert report.labels.rows_without_evidence > 4000


def test_the_report_is_made_without_torch():
    code = "import dataaudit.report, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_facts_nobody_supplied_read_not_provided():
    html = render(example_report("text", 30, 3))
    assert html.count('<dd class="missing">not provided</dd>') == 17


def test_a_name_the_page_lacks_is_an_error_not_a_gap():
    with pytest.raises(jinja2.UndefinedError, match="no_such_field"):
        _environment().from_string("{{ page.no_such_field }}").render(page=object())


def test_templates_are_found_beside_the_package():
    assert (resource_folder("templates") / "report.html.j2").is_file()


def test_templates_compute_nothing():
    for template in resource_folder("templates").glob("*.j2"):
        text = template.read_text(encoding="utf-8")
        assert not re.search(r"\{[{%][^}]*\|", text), f"a filter in {template.name}"
        assert not re.search(r"\{\{[^}]*[*/+-]\s*\w", text), f"arithmetic in {template.name}"


def scrubbed(html):
    """Return the page without what changes with every edit of style or script."""
    html = re.sub(r"<style>.*?</style>", "<style></style>", html, flags=re.DOTALL)
    html = re.sub(r"<script>.*?</script>", "<script></script>", html, flags=re.DOTALL)
    return re.sub(r"sha256-[\w+/=]+", "sha256-…", html)


def test_the_page_is_the_gold_page():
    html = scrubbed(render(example_report("text", rows=60, flagged=5, suspects=20, leaked=4)))
    if os.environ.get("DATAAUDIT_WRITE_GOLD"):
        GOLD.write_text(html, encoding="utf-8")
    assert html == GOLD.read_text(encoding="utf-8"), (
        "look at the difference; if it is meant, run again with DATAAUDIT_WRITE_GOLD=1"
    )


def test_the_page_says_where_hardly_anything_is_known_of_the_flagged_rows():
    report = example_report("text", rows=60, flagged=2)
    assert "can hardly be told" not in render(report)
    unsure = Estimate(estimate=0.6, low=0.0, high=1.0)
    labels = report.labels.model_copy(update={"precision_flagged": unsure})
    html = render(report.model_copy(update={"labels": labels}))
    assert "How many of them are wrong can hardly be told: 0 to 2." in html
    # No number inside such an interval is put forward, neither on top nor among the steps.
    assert "0 to 2 of them truly wrong" in html
    assert "Decide 2 rows: 0 to 2 will be wrong" in html
    assert "about 1 of them" not in html


def test_measures_of_data_quality_stand_with_their_values():
    report = example_report("table", rows=120, flagged=9, suspects=20, leaked=4)
    values = {line[0]: line[1] for line in view_evidence(report).measures.rows}
    # 12 of 120 prices are missing; 4 of 20 suspects leaked.
    assert values["completeness"] == "90.0%"
    assert values["independence of test data"] == "80.0%"
    assert values["accuracy of labels"] == "89.0% (87.9% to 90.1%)"
    assert values["balance"] == "1"
    assert "Measures of data quality" in render(report)
