"""The section on tracing: generated samples beside the training rows they owe most to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dataaudit.report import formats
from dataaudit.report.data import TracedQuery, TracedRow, TracedSample, Tracing
from dataaudit.report.page_parts import Fact, Table

SHADES = 5
"""Steps of shading for tokens, besides none."""
LONGEST_TEXT = 1200
"""Characters of a text that is shown without its tokens."""


@dataclass(frozen=True)
class TokenView:
    """A piece of text; `shade` 0 to `SHADES`, `title` says the losses."""

    text: str
    shade: int
    fell: bool
    title: str


@dataclass(frozen=True)
class SampleView:
    """A query or a row."""

    title: str
    image: str | None
    text: str
    tokens: list[TokenView]


@dataclass(frozen=True)
class RowView:
    """A training row behind a query."""

    sample: SampleView
    flagged: bool
    facts: list[Fact]


@dataclass(frozen=True)
class QueryView:
    """A query with its rows."""

    sample: SampleView
    rows: list[RowView]


@dataclass(frozen=True)
class TracingView:
    """The section on tracing."""

    title: str
    introduction: str
    ranks: Table
    legend: str
    queries: list[QueryView]
    left_out: str


def view_tracing(tracing: Tracing) -> TracingView:
    """Return the section on tracing."""
    verb = "unlearned" if tracing.direction == "unlearn" else "learned"
    left = tracing.queries_left_out
    has_tokens = any(query.query.tokens for query in tracing.shown)
    return TracingView(
        title="Training rows behind what was generated",
        introduction=(
            f"The model {verb} each generated sample by itself; the training rows whose loss then "
            f"{'rose' if verb == 'unlearned' else 'fell'} most are those it owes most "
            "to; For engineers says how they are compared. Flagged rows react more than rows do to "
            "unrelated samples."
        ),
        legend=(
            f"Shaded words became harder to predict once the sample was {verb}, dotted ones "
            "easier; the darker, the more."
            if has_tokens
            else ""
        ),
        ranks=_ranks(tracing),
        queries=[_query(query, _largest(tracing.shown)) for query in tracing.shown],
        left_out=f"{formats.rows(left, 'further sample')} not on this page: contamination.parquet "
        "holds them all."
        if left
        else "",
    )


def _ranks(tracing: Tracing) -> Table:
    """Return the ids of the rows behind each sample; a star marks those beyond chance."""
    most = max((len(query.rows) for query in tracing.shown), default=0)
    return Table(
        "Training rows behind each generated sample, by rank; * beyond chance",
        ["generated sample", *(f"rank {place + 1}" for place in range(most))],
        [
            [
                str(query.query.sample_id),
                *(f"{row.sample.sample_id}{' *' if row.flagged else ''}" for row in query.rows),
                *[""] * (most - len(query.rows)),
            ]
            for query in tracing.shown
        ],
    )


def _largest(queries: Sequence[TracedQuery]) -> float:
    """Return the largest change of a token on the page: one scale, as the legend says."""
    samples = [query.query for query in queries]
    samples += [row.sample for query in queries for row in query.rows]
    return max(
        (abs(token.after - token.before) for sample in samples for token in sample.tokens),
        default=0.0,
    )


def _query(query: TracedQuery, largest: float) -> QueryView:
    return QueryView(
        _sample(query.query, f"Generated sample {query.query.sample_id}", largest),
        [_row(row, largest) for row in query.rows],
    )


def _row(row: TracedRow, largest: float) -> RowView:
    facts = [
        Fact("score", formats.number(row.score)),
        Fact("p-value", formats.p_value(row.p_value)),
        Fact("change of loss", f"{formats.number(row.change)} nats"),
    ]
    title = f"{row.rank}. Training row {row.sample.sample_id}"
    return RowView(_sample(row.sample, title, largest), row.flagged, facts)


def _sample(sample: TracedSample, title: str, largest: float) -> SampleView:
    text = sample.text or ""
    if len(text) > LONGEST_TEXT:
        text = text[: LONGEST_TEXT - 1] + "…"
    tokens = []
    for token in sample.tokens:
        change = token.after - token.before
        # Half the largest change and more stands out; a square root would shade everything.
        shade = math.floor(SHADES * abs(change) / largest + 0.5) if largest > 0 else 0
        words = f"{formats.number(token.before)} → {formats.number(token.after)} nats"
        tokens.append(TokenView(token.text, shade, change < 0, words))
    return SampleView(title, sample.image, text, tokens)
