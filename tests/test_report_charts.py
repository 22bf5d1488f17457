"""Charts: well-formed, named for those who cannot see them, and true to their numbers."""

from xml.etree import ElementTree

import pytest

from dataaudit.report.charts.bars import count_bars
from dataaudit.report.charts.drawing import NARROW, SMALL, ticks
from dataaudit.report.charts.heat import noise_heat
from dataaudit.report.charts.histogram import score_distribution
from dataaudit.report.charts.intervals import metric_comparison, noise_rates
from dataaudit.report.charts.limits import limit_line
from dataaudit.report.charts.review import expected_found
from dataaudit.report.data import Estimate

HOSTILE = "<script>alert(1)</script>&\"'"
SVG = "{http://www.w3.org/2000/svg}"


def parsed(markup):
    return ElementTree.fromstring(
        str(markup).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    )


def all_charts():
    estimate = Estimate(estimate=0.2, low=0.1, high=0.3)
    return {
        "distribution": score_distribution(
            "a", HOSTILE, [0, 0.5, 1], [3, 1], [0, 2], threshold=0.5
        ),
        "heat": noise_heat("b", HOSTILE, [HOSTILE, "x"], [HOSTILE, "x"], [[9.0, 2.0], [0.0, 7.0]]),
        "per class": noise_rates("c", HOSTILE, [HOSTILE, "x"], [estimate, None], estimate),
        "metric": metric_comparison("d", HOSTILE, HOSTILE, estimate, estimate),
        "found": expected_found("e", HOSTILE, [10, 20], [8.0, 9.0], 12)[0],
        "limit": limit_line("g", HOSTILE, 1, 2, (1.5, 2.5), str, str),
        "counts": count_bars("f", HOSTILE, [HOSTILE], [3], [HOSTILE], "leak"),
    }


@pytest.mark.parametrize(("kind", "markup"), all_charts().items())
def test_every_chart_is_a_named_image_that_escapes_its_words(kind, markup):
    svg = parsed(markup)
    assert svg.get("role") == "img"
    ids = {element.get("id") for element in svg.iter() if element.get("id")}
    assert set(svg.get("aria-labelledby").split()) <= ids
    assert svg.find(f"{SVG}title").text == HOSTILE
    assert svg.find(f"{SVG}desc").text
    assert not list(svg.iter(f"{SVG}script"))
    assert "style=" not in markup


def test_each_group_is_drawn_to_the_same_total():
    markup = score_distribution("a", "t", [0, 1, 2], [500, 500], [1, 1])
    paths = [path.get("d") for path in parsed(markup).iter(f"{SVG}path")]
    assert len(paths) == 2
    assert paths[0] == paths[1]


def test_the_threshold_lies_where_the_axis_says():
    svg = parsed(score_distribution("a", "t", [0, 1], [1], [1], threshold=0.25))
    line = next(e for e in svg.iter(f"{SVG}line") if e.get("class") == "threshold")
    assert float(line.get("x1")) == pytest.approx(10 + 0.25 * (NARROW - 20))


def test_cells_darken_with_their_share_of_the_line_on_a_scale_of_their_own():
    svg = parsed(noise_heat("a", "t", ["x", "y"], ["x", "y"], [[50, 50], [1, 99]]))
    styles = [cell.get("class") for cell in svg.iter(f"{SVG}rect")]
    assert styles == ["right", "heat-6", "heat-2", "right"]


def test_a_limit_is_drawn_to_the_scale_of_what_was_found():
    def form(value):
        return f"{value:g}"

    svg = parsed(limit_line("a", "t", 0.05, 0.1, (0.02, 0.2), form, form))
    interval, limit = (
        next(line for line in svg.iter(f"{SVG}line") if line.get("class") == style)
        for style in ("interval", "limit")
    )
    dot = next(svg.iter(f"{SVG}circle"))
    start, per_unit = 8, (SMALL - 16) / 0.23
    for x, value in [
        (interval.get("x1"), 0.02),
        (interval.get("x2"), 0.2),
        (limit.get("x1"), 0.05),
        (dot.get("cx"), 0.1),
    ]:
        assert float(x) == pytest.approx(start + per_unit * value, abs=0.06)
    assert svg.find(f"{SVG}desc").text == "found 0.1, 95% interval 0.02 to 0.2; limit 0.05."


def test_the_marker_places_follow_the_curve():
    _, places = expected_found("a", "t", [0, 50, 100], [0.0, 40.0, 40.0], 50)
    assert places == [(50, 192), (238, 34), (426, 34)]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0, 2000, [0, 500, 1000, 1500, 2000]), (3, 3, [3])],
)
def test_ticks_are_round(low, high, expected):
    assert ticks(low, high) == expected


def test_numbers_without_spread_still_draw():
    same = Estimate(estimate=1.0, low=1.0, high=1.0)
    assert parsed(metric_comparison("a", "t", "accuracy", same, same)) is not None
    assert parsed(noise_heat("b", "t", ["x"], ["x"], [[0.0]])) is not None
    assert parsed(expected_found("c", "t", [1], [0.0], 0)[0]) is not None
