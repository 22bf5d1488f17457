"""What review measured, in words: for the terminal and for the page."""

from __future__ import annotations

from dataaudit.report import formats
from dataaudit.report.data import Review, ReviewedSample


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


def sample_lines(sample: ReviewedSample) -> list[str]:
    """Return what rows drawn at random say, beside what was claimed, a finding a line."""
    rate = sample.noise_rate
    lines = [
        f"reviewed: {sample.reviewed:,} of {formats.rows(sample.drawn)} drawn at random, "
        f"{sample.wrong:,} of them wrong",
        f"wrong labels among all rows: {formats.percent(rate.estimate)} "
        f"(95% interval {formats.share_interval(rate)})",
    ]
    if sample.noise_rate_claimed is not None:
        claimed = formats.percent(sample.noise_rate_claimed.estimate)
        lines[-1] += f"; claimed before the review: {claimed}"
    if sample.precision_flagged is not None and sample.precision_claimed is not None:
        precision = sample.precision_flagged
        lines.append(
            f"wrong labels among the flagged rows: {formats.percent(precision.estimate)} "
            f"(95% interval {formats.share_interval(precision)}); claimed before the review: "
            f"{formats.percent(sample.precision_claimed)}"
        )
    if sample.unsure:
        lines.append(f"reviewer unsure: {formats.rows(sample.unsure)}, taken for missing at random")
    if sample.reviewed + sample.unsure < sample.drawn:
        missing = sample.drawn - sample.reviewed - sample.unsure
        lines.append(f"not decided yet: {formats.rows(missing)}, taken for missing at random")
    doubtful = sample.noise_rate_if_reviewers_err
    lines.append(
        f"if reviewers err in up to {formats.set_percent(sample.reviewer_error)} of the rows: "
        f"{formats.share_interval(doubtful)} of all labels are wrong"
    )
    return lines
