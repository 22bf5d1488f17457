"""Numbers as the report prints them."""

import pytest

from dataaudit.report import formats
from dataaudit.report.data import Estimate


@pytest.mark.parametrize(
    ("share", "printed"),
    [
        (0, "0%"),
        (0.00004, "<0.1%"),
        (0.118, "11.8%"),
        (0.9994, ">99.9%"),
        (1.0, "100%"),
        (0.05, "5.0%"),
    ],
)
def test_a_share_is_never_rounded_to_nothing_or_to_all(share, printed):
    assert formats.percent(share) == printed


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (0, "0"),
        (0.0123456, "0.0123"),
        (-4.5678, "−4.57"),
        (123.4, "123"),
        (1234.5, "1,234"),
        (1e-7, "1.0e−07"),
    ],
)
def test_a_measured_number_has_three_significant_digits(value, printed):
    assert formats.number(value) == printed


def test_what_a_person_set_is_printed_as_set():
    assert formats.set_percent(0.05) == "5%"
    assert formats.set_percent(0.3472) == "34.7%"
    assert formats.set_percent(0.0005) == "0.05%"
    assert formats.set_number(23.0) == "23"
    assert formats.set_number(10_000) == "10,000"


def test_words():
    assert formats.rows(1) == "1 row"
    assert formats.rows(12_345, "suspect") == "12,345 suspects"
    assert formats.points(-0.035) == "−3.5 points"
    assert formats.share_interval(Estimate(estimate=0.1, low=0.05, high=0.2)) == "5.0% to 20.0%"
    assert formats.p_value(None) == "not computed"
    assert formats.p_value(3e-9) == "<0.0001"
    assert formats.label(3) == "3"
    assert formats.label(3.14159265) == "3.142"
    assert formats.label(True) == "True"
    assert formats.long_date("2026-11-03T10:15:00+00:00") == "3 November 2026"
    assert formats.words("mirrored_influence") == "mirrored influence"
