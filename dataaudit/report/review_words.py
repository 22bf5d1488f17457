"""What review measured, in words: for the terminal and for the page."""

from __future__ import annotations

from dataaudit.report import formats
from dataaudit.report.data import Review


def review_lines(review: Review) -> list[str]:
    """Return the measurement in words, a finding a line."""
    lines = []
    if review.precision is not None and review.precision_claimed is not None:
        claimed = formats.percent(review.precision_claimed)
        inside = review.precision.low <= review.precision_claimed <= review.precision.high
        lines.append(
            f"precision reached: {formats.percent(review.precision.estimate)} "
            f"({review.flagged_wrong:,} of {formats.rows(review.flagged_reviewed, 'flagged row')} "
            f"reviewed were wrong; 95% interval {formats.share_interval(review.precision)})"
        )
        lines.append(
            f"precision claimed for these rows: {claimed}, "
            f"{'inside' if inside else 'outside'} that interval"
        )
        if review.flagged_wrong:
            lines.append(
                f"suggested label right: {review.suggestions_right:,} of {review.flagged_wrong:,}"
            )
    if review.kept_reviewed:
        lines.append(
            f"not flagged but wrong: {review.kept_wrong:,} of "
            f"{formats.rows(review.kept_reviewed, 'such row')} reviewed"
        )
    if review.unsure:
        lines.append(f"reviewer unsure: {formats.rows(review.unsure)}")
    return lines
