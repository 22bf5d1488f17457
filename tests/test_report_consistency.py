"""No number on a page contradicts another: relations between all of audit.json and the page."""

import json
import re
from dataclasses import replace
from html import unescape
from urllib.parse import unquote

import pytest
from report_examples import contamination_flags, evidence_for, example_report, mislabel_flags
from sister_examples import traced

from dataaudit.flags.results import Interval
from dataaudit.report import formats, render
from dataaudit.report.data import LARGEST_EXACT, AuditReport, Decision
from dataaudit.report.gates import counted, make_gate
from dataaudit.report.page_tracing import view_tracing
from dataaudit.report.steps import open_steps


def with_repeats():
    """Training rows that repeat each other, contradicting pairs, and an undecided limit."""
    leaks = replace(contamination_flags(40, 10), rows_repeated=46)
    flags = replace(mislabel_flags(400, 20), noise_rate=Interval(0.04, 0.01, 0.08))
    gates = [
        make_gate("mislabel_rate", 0.05, flags.noise_rate, (), "fail"),
        make_gate("contaminated", 0, counted(10), (), "fail"),
    ]
    return example_report(
        "text", 400, 20, 40, 10, gates=gates, mislabels=flags,
        contamination=leaks,
    )  # fmt: skip


def decided():
    report = example_report("text", 300, 9, 20, 2)
    rows = [row for row in report.labels.rows if row.flagged]
    decisions = [
        Decision(
            what="label", row_id=row.row_id, decision="relabel" if place < 7 else "keep",
            reviewer="Ada", date="2026-11-23", before=row.given_label, after=None, comment="",
        )
        for place, row in enumerate(rows)
    ] + [
        Decision(
            what="leak", row_id=number, decision="copy", reviewer="Ada", date="2026-11-23",
            before="", after=None, comment="",
        )
        for number in range(2)
    ]  # fmt: skip
    report = report.model_copy(update={"remediation": decisions})
    return report.model_copy(update={"next_steps": open_steps(report)})


MAKERS = {
    "usual": lambda: example_report("text"),
    "repeats": with_repeats,
    "nothing flagged": lambda: example_report("text", 300, 0, 50, 0),
    "one of each": lambda: example_report("text", 300, 1, 50, 1),
    "only labels": lambda: example_report("table", 300, 97, 0, 0),
    "only leaks": lambda: example_report("text", 0, 0, 50, 7),
    "decided": decided,
}


@pytest.fixture(scope="module", params=MAKERS)
def both(request):
    """Return what audit.json holds, read again from its text, and the page."""
    report = AuditReport.model_validate_json(MAKERS[request.param]().model_dump_json())
    return report, render(report)


def data_of(html):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)<', html)[1])


def words_of(html):
    body = html[html.index("<main>") : html.index('<script type="application/json"')]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", body)))


def test_counts_of_rows_agree(both):
    report, html = both
    labels, data, words = report.labels, data_of(html), words_of(html)
    if labels is None:
        assert report.counts.rows_flagged is None
        assert data["totals"]["rows"] == 0
        return
    shown = [row for row in labels.rows if row.flagged]
    assert len(shown) + labels.rows_left_out == labels.rows_flagged
    assert report.counts.rows_flagged == labels.rows_flagged == data["totals"]["rows"]
    assert sum(row[5] for row in data["rows"]) == len(shown)
    assert sum(item.flagged for item in labels.per_class) == labels.rows_flagged
    for histogram in labels.histograms:
        assert sum(histogram.flagged) == labels.rows_flagged
    assert ("No label stands out as wrong" in words) == (labels.outcome == "clear")
    assert [row.rank for row in labels.rows] == sorted(row.rank for row in labels.rows)
    for item, row in zip(labels.rows, data["rows"], strict=True):
        assert row[4] == formats.percent(item.probability)
        assert data["labels"][row[1]][1] == str(item.given_label)
        assert data["labels"][row[2]][1] == str(item.suggested_label)


def test_what_review_finds_is_said_alike_everywhere(both):
    report, html = both
    labels = report.labels
    if labels is None or not labels.rows_flagged:
        return
    at_flagged = [
        point for point in labels.expected_precision if point.budget == labels.rows_flagged
    ]
    assert len(at_flagged) == 1
    found = formats.count(at_flagged[0].expected_found)
    words = words_of(html)
    assert f"about {found} of them truly wrong" in words
    assert f"about {found} will be wrong" in words
    stops = data_of(html)["budgets"]
    assert formats.rows(labels.rows_flagged) in [stop[2] for stop in stops]
    assert f"Reviewing the first {formats.rows(labels.rows_flagged)} finds" in words


def test_counts_of_leaks_agree(both):
    report, html = both
    leakage, data, words = report.leakage, data_of(html), words_of(html)
    if leakage is None:
        assert data["totals"]["leaks"] == 0
        return
    assert sum(item.suspects for item in leakage.kinds) == leakage.suspects_flagged
    assert report.counts.suspects_flagged == leakage.suspects_flagged == data["totals"]["leaks"]
    suspects = {pair.query_id for pair in leakage.pairs}
    assert len(data["leaks"]) == len(suspects)
    if not leakage.pairs_left_out:
        assert len(suspects) == leakage.suspects_flagged
    exact = sum(item.suspects for item in leakage.kinds if item.kind == "exact")
    assert leakage.exact_copies == exact
    if exact > 1:
        assert f"{exact} of {leakage.suspects} suspects are identical to a training row" in words
    for gate in report.verdict.gates:
        if gate.name == "contaminated":
            assert gate.found == leakage.suspects_flagged
    if leakage.suspects_flagged and leakage.metric_clean:
        clean = formats.metric(leakage.metric_clean.estimate)
        assert words.count(f"without them {leakage.metric_name} is {clean}") >= 1
        assert f"{clean} {leakage.metric_name} you may report" in words


def test_contradicting_pairs_are_never_hidden_behind_a_clean_verdict(both):
    report, html = both
    pairs = len(report.leakage.disagreeing_rows) if report.leakage else 0
    words = words_of(html)
    if pairs and report.labels is not None:
        assert f"Settle {formats.rows(pairs, 'pair')}" in words
        assert "No training label stands out as wrong That" not in words
        assert len(data_of(html)["contradictions"]) == pairs


def test_the_verdict_follows_from_its_limits(both):
    report, html = both
    word = {
        "passed": "Ready", "failed": "Not ready", "cannot tell": "Cannot tell",
        "no gates": "No limits set",
    }[report.verdict.outcome]  # fmt: skip
    assert html.count(f'<p class="verdict-word">{word}</p>') == 2
    outcomes = {gate.outcome for gate in report.verdict.gates}
    expected = (
        "no gates" if not outcomes
        else "failed" if "not met" in outcomes
        else "cannot tell" if "cannot tell" in outcomes
        else "passed"
    )  # fmt: skip
    assert report.verdict.outcome == expected
    for gate in report.verdict.gates:
        if gate.outcome == "met" and gate.high is not None:
            assert gate.high <= gate.limit


def test_steps_and_decisions_agree(both):
    report, html = both
    words = words_of(html)
    for step in report.next_steps:
        assert step in words
    if report.remediation:
        # On the first screen (figures, limits, steps) and in the record.
        assert words.count("9 of 9 decided, 7 corrected") == 6
        assert words.count("2 of 2 decided, 2 copies") == 6
        assert words.count("; since then 9 of 9 decided, 7 corrected") == 2
        assert 'class="step done" data-step="rows"' in html
        assert not any(step.startswith("Decide") for step in report.next_steps)
        assert "Decided by Ada." in words


def test_lines_of_confusions_open_rows_that_have_them(both):
    report, html = both
    links = re.findall(r'href="#decide&amp;pair=([^"]*?):([^"]*?)"', html)
    if report.labels is None or not report.labels.rows_flagged:
        assert not links
        return
    pairs = {
        (str(row.given_label), str(row.suggested_label))
        for row in report.labels.rows
        if row.flagged
    }
    assert links
    assert {(unquote(given), unquote(suggested)) for given, suggested in links} <= pairs


def test_words_are_counted_in_their_number(both):
    _, html = both
    plurals = r"(?<![\d,.])1 (rows|pairs|leaks|copies|classes|samples)\b"
    assert not re.search(plurals, words_of(html))
    assert "classs" not in html
    assert "batchs" not in html


def test_what_nobody_measured_is_not_claimed():
    report = example_report("text", 30, 3)
    plain = report.model_copy(
        update={"coverage": report.coverage.model_copy(update={"missing_values": None})}
    )
    words = words_of(render(plain))
    for claim in ("Missing values", "Truncation", "Sampling", "Failed batches", "no batch failed"):
        assert claim not in words


def test_ids_beyond_what_numbers_of_a_browser_hold_are_text():
    flags = mislabel_flags(rows=30, flagged=3)
    large = [LARGEST_EXACT + 2 * number for number in range(30)]
    flags = replace(flags, table=flags.table.assign(row_id=large))
    report = example_report(
        "text", 30, 3, 0, 0, mislabels=flags, evidence=evidence_for("text", flags, None)
    )
    ids = [row[0] for row in data_of(render(report))["rows"]]
    assert [str(value) for value in ids] == [str(row.row_id) for row in report.labels.rows]
    assert all(isinstance(value, str) or value <= LARGEST_EXACT for value in ids)


def test_no_path_of_the_machine_stands_on_the_page():
    report = example_report("text", 30, 3)
    splits = [
        split.model_copy(update={"source": f"{folder}{split.source}"})
        for split, folder in zip(
            report.identity.splits, ("/home/ann/data/", "C:\\Users\\ann\\", ""), strict=True
        )
    ]
    settings = {"train": {"path": "/home/ann/data/train.parquet"}}
    report = report.model_copy(
        update={
            "identity": report.identity.model_copy(update={"splits": splits}),
            "method": report.method.model_copy(update={"settings": settings}),
        }
    )
    html = render(report)
    assert not re.search(r"/home|Users|\bann\b", words_of(html))
    for name in ("train.parquet", "val.parquet", "test.parquet"):
        assert name in words_of(html)


def test_what_is_called_a_copy_shows_no_difference():
    data = data_of(render(example_report("text", 30, 3, 40, 12)))
    for leak in data["leaks"]:
        for match in leak[2]:
            marked = len(match[5]) > 1 or len(match[6]) > 1
            assert not (match[2] == "exact copy" and marked)
    assert any(match[2] == "same text but for case or punctuation" for leak in data["leaks"]
               for match in leak[2])  # fmt: skip
    # The audit's own name for a near copy says what it did not measure.
    assert "no influence seen" not in render(example_report("text", 30, 3, 40, 12))


def test_shades_of_tokens_have_one_scale_on_the_page():
    report = traced(2)
    small = [token.model_copy(update={"after": token.before + 0.01}) for token in
             report.tracing.shown[0].rows[0].sample.tokens]  # fmt: skip
    first = report.tracing.shown[0]
    quiet = first.rows[0].sample.model_copy(update={"tokens": small})
    rows = [first.rows[0].model_copy(update={"sample": quiet}), *first.rows[1:]]
    shown = [first.model_copy(update={"rows": rows}), report.tracing.shown[1]]
    view = view_tracing(report.tracing.model_copy(update={"shown": shown}))
    assert {token.shade for token in view.queries[0].rows[0].sample.tokens} == {0}
    assert max(token.shade for token in view.queries[1].rows[0].sample.tokens) == 5


def test_a_trace_begins_with_ranks():
    html = render(traced())
    words = words_of(html)
    assert words.index("rank 1") < words.index("Generated sample prompt-0")
    assert "Read the rows behind 11 generated samples" in words
    assert not re.search(r"\b0 of 11", words)
    assert 'href="#decide"' not in html


def test_no_step_would_need_training_to_be_true(both):
    _, html = both
    words = words_of(html)
    assert "out of training" not in words
    assert "stand in the training set" not in words
    assert "[ ]" not in words
    assert "☐" not in words
