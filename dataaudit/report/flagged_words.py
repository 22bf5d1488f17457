"""How many of the flagged rows are wrong, in words, alike wherever the page says it."""

from __future__ import annotations

from dataaudit.report import formats
from dataaudit.report.data import LabelFindings
from dataaudit.report.interpolation import expected_found

HARDLY_KNOWN = 0.5
"""Width of the interval of the share of flagged rows that are wrong, beyond which no number inside
it is put forward."""


def hardly_known(labels: LabelFindings) -> bool:
    """Tell whether nearly any share of the flagged rows may be wrong."""
    precision = labels.precision_flagged
    return precision is not None and precision.high - precision.low > HARDLY_KNOWN


def wrong_of_flagged(labels: LabelFindings) -> str:
    """Return `about 4`, or `0 to 2` where no number can be put forward; there must be flags."""
    if labels.precision_flagged is not None and hardly_known(labels):
        return formats.of_rows(labels.precision_flagged, labels.rows_flagged)
    return f"about {formats.count(expected_found(labels.expected_precision, labels.rows_flagged))}"
