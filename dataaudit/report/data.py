"""The report as typed data: what `audit.json` holds, field by field.

`audit.json` is one `AuditReport`; its JSON schema is `audit.schema.json` beside this file. The
page is rendered from this and nothing else, so it can be rendered again from `audit.json`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    model_validator,
)

from dataaudit.about import About


def _begins_with_a_day(text: str) -> str:
    date.fromisoformat(text[:10])
    return text


Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}"), AfterValidator(_begins_with_a_day)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Share = Annotated[float, Field(ge=0, le=1)]
Label = str | int | float | bool

LARGEST_EXACT = 2**53 - 1
"""JavaScript's numbers hold whole numbers up to here exactly."""


def exact_id(sample_id: str | int) -> str | int:
    """Return an id as readers of JSON can hold it: large numbers as text."""
    if isinstance(sample_id, int) and abs(sample_id) > LARGEST_EXACT:
        return str(sample_id)
    return sample_id


SampleId = Annotated[str | int, PlainSerializer(exact_id, when_used="json")]
"""Read back from JSON, a large number is text: ids are joined as text."""
Role = Literal["train", "held_out", "suspects"]
Kind = Literal["exact", "near", "near, no influence seen", "influence only", "none"]


NO_LABEL = "none given"
"""Shown in place of the label of a suspect that has none."""


class Section(BaseModel):
    """Base of every part: cannot be changed, refuses unknown fields and numbers JSON lacks."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=()
    )


class Split(Section):
    """One of the data sets that went into the audit, told apart by its content hash."""

    role: Role
    source: str
    rows: Count
    sha256: str
    id_column: str | None
    label_column: str | None


class Identity(Section):
    """What was audited, when, and what people said about it."""

    name: str
    task: str
    date: Day = Field(description="ISO 8601 date or time of the audit")
    splits: list[Split]
    about: About


class Estimate(Section):
    """An estimate with its 95 % interval."""

    estimate: float
    low: float
    high: float


class Gate(Section):
    """A limit set beforehand, and what the audit found."""

    name: str
    limit: float
    found: float | None = Field(description="null where the audit could not measure it")
    low: float | None = Field(description="lower end of the 95% interval of `found`")
    high: float | None = Field(description="upper end of the 95% interval of `found`")
    outcome: Literal["met", "not met", "cannot tell"]
    passed: bool = Field(description="met, or cannot tell where `gates.undecided` is `pass`")


class Verdict(Section):
    """The outcome against the gates."""

    outcome: Literal["passed", "failed", "cannot tell", "no gates"]
    headline: str
    gates: list[Gate]


class Finding(Section):
    """One thing the audit found, in words."""

    title: str
    text: str
    section: Literal["labels", "leakage", "tracing", "checks", "evidence"]
    severity: Literal["serious", "notable", "clear"]


class Counts(Section):
    """How many rows went in and how many were flagged."""

    train: Count
    held_out: Count
    suspects: Count
    rows_flagged: Count | None
    suspects_flagged: Count | None


class ClassCount(Section):
    """How many rows one split holds of one class."""

    split: str
    label: Label
    rows: Count
    share: Share


class Composition(Section):
    """Rows per split and class, and how uneven the classes are."""

    counts: list[ClassCount]
    imbalance: dict[str, float] = Field(
        description="per split: rows of the largest class for each row of the smallest"
    )


class Sample(Section):
    """One sample as a person can look at it; shared by all rows and pairs that refer to it."""

    sample_id: SampleId
    role: Role
    label: str
    text: str | None
    image: str | None = Field(pattern=r"^data:image/(webp|png|jpeg|gif);base64,[A-Za-z0-9+/]+=*$")
    fields: dict[str, str]


class Reference(Section):
    """A sample shown as evidence: its key in `samples`, and why it stands there."""

    sample: str
    note: str


class SignalValue(Section):
    """One signal of one row: its value, and the share of all rows that lie below it."""

    value: float
    percentile: float


class LikelyLabel(Section):
    """A class that a row may belong to, and how probable the model finds it."""

    label: Label
    probability: float = Field(
        description="by the model that learned again from the trusted samples"
    )


class FlaggedRow(Section):
    """A training row on the page: flagged, or kept but close to being flagged."""

    row_id: SampleId
    given_label: Label
    suggested_label: Label
    note: str = Field(description="what is wrong, where the labels alone do not say it")
    score: float
    probability: float
    flagged: bool
    rank: Count
    signals: dict[str, SignalValue]
    sample: str | None = Field(description="key in `samples`; null where left out for size")
    against: list[Reference]
    neighbours: list[Reference]
    likeliest: list[LikelyLabel] = Field(
        description="the likeliest classes, best first, where labels are classes"
    )
    look_alikes: list[str] = Field(
        description="labels of the trusted samples most alike, nearest first"
    )


class ClassNoise(Section):
    """The estimated share of wrong labels among the rows of one given class."""

    label: Label
    rows: Count
    flagged: Count
    noise_rate: Estimate | None


class NoiseTable(Section):
    """Expected rows by given class (lines) and true class (columns)."""

    given: list[Label]
    true: list[Label]
    rows: list[list[float]] = Field(description="a line for each of `given`, a cell for `true`")
    classes_left_out: Count

    @model_validator(mode="after")
    def _one_number_a_cell(self) -> NoiseTable:
        if len(self.rows) != len(self.given) or {*map(len, self.rows)} - {len(self.true)}:
            raise ValueError("expected a line for each of `given` and a cell for each of `true`")
        return self


class Confusion(Section):
    """One kind of label error: rows labelled `given` that are expected to be `true`."""

    given: Label
    true: Label
    rows: float


class TargetPoint(Section):
    """A training row of a regression: what its target is, and what the model expects."""

    expected: float
    given: float
    flagged: bool


class BudgetPoint(Section):
    """What reviewing the first `budget` rows is expected to find."""

    budget: Count
    expected_found: float
    expected_precision: float


class Histogram(Section):
    """Rows per bin of one score, flagged and kept apart; the outer bins hold all beyond them."""

    name: str
    edges: list[float] = Field(min_length=2, description="ascending, one more than there are bins")
    kept: list[Count]
    flagged: list[Count]
    threshold: float | None

    @model_validator(mode="after")
    def _one_number_a_bin(self) -> Histogram:
        if not len(self.edges) - 1 == len(self.kept) == len(self.flagged):
            raise ValueError("expected one number for each bin")
        return self


class Annotator(Section):
    """Somebody who gave labels."""

    name: str
    labels: Count = Field(description="that they gave")
    quality: float = Field(description="expected share of their labels that is right")
    agreement: float | None = Field(description="share of their labels that is the consensus")


class Annotators(Section):
    """Who gave the labels, and how far they agree."""

    alpha: float | None = Field(description="Krippendorff's; null where nothing can be compared")
    believed: float = Field(description="exponent on what the models say; 0 = not believed")
    annotators: list[Annotator] = Field(description="the worst first")
    left_out: Count = Field(description="annotators that only annotators.parquet holds")
    once_more: list[SampleId] = Field(description="the rows whose consensus is the least sure")


class LabelFindings(Section):
    """Which training rows are probably mislabeled, and how many there are in all."""

    outcome: Literal["found", "clear", "cannot tell"]
    reasons: list[str] = Field(description="why the outcome is what it is")
    rows_scored: Count
    rows_flagged: Count
    noise_rate: Estimate | None
    expected_wrong_rows: float | None
    probability_threshold: float
    precision_flagged: Estimate | None = Field(
        description="share of the flagged rows that is wrong; null where that is not known"
    )
    per_class: list[ClassNoise]
    per_group: list[ClassNoise] = Field(
        description="of the largest groups, where a group column is named"
    )
    noise_table: NoiseTable | None
    confusions: list[Confusion]
    expected_precision: list[BudgetPoint]
    histograms: list[Histogram]
    targets: list[TargetPoint] = Field(
        description="of a regression: flagged rows and an even choice of the others"
    )
    rows: list[FlaggedRow]
    rows_left_out: Count = Field(description="flagged rows that only mislabels.parquet holds")
    rows_without_evidence: Count
    method: str
    annotators: Annotators | None = Field(description="null where no annotators are named")


class LeakPair(Section):
    """A suspect and the training row it is probably a copy of."""

    query_id: SampleId
    row_id: SampleId
    rank: Count
    score: float
    p_value: float | None
    kind: Kind
    content_score: float | None
    influence_score: float | None
    suspect: str | None = Field(description="key in `samples`; null where left out for size")
    row: str | None = Field(description="key in `samples`; null where left out for size")


class KindCount(Section):
    """Flagged suspects whose best match is of one kind."""

    kind: Kind
    suspects: Count


class ClassHits(Section):
    """Flagged suspects of one class."""

    label: Label
    suspects: Count
    flagged: Count


class DisagreeingRows(Section):
    """Two training rows of the same content whose labels differ."""

    row_id: SampleId
    other_row_id: SampleId
    label: Label
    other_label: Label
    similarity: float = Field(description="at most 1, the same content")
    sample: str | None = Field(description="key in `samples` of the first row")
    other_sample: str | None = Field(description="key in `samples` of the other")


class SharedGroup(Section):
    """A group (patient, user, document) that stands on both sides."""

    group: str
    suspects: Count
    rows: Count


class Leakage(Section):
    """Which suspects are probably copies of training rows, and what that does to the metric."""

    outcome: Literal["found", "clear", "cannot tell"]
    reasons: list[str] = Field(description="why the outcome is what it is")
    suspects: Count
    suspects_flagged: Count
    false_discovery_rate: Share
    kinds: list[KindCount]
    metric_name: str
    metric_all: Estimate | None
    metric_clean: Estimate | None
    metric_difference: Estimate | None
    hits_per_class: list[ClassHits]
    pairs: list[LeakPair]
    pairs_left_out: Count = Field(description="flagged pairs that only contamination.parquet holds")
    exact_copies: Count = Field(description="suspects identical to a training row; all are flagged")
    rows_repeated: Count = Field(
        description="training rows identical to another one: repeats by nature"
    )
    disagreeing_rows: list[DisagreeingRows]
    disagreeing_rows_left_out: Count
    shared_groups: list[SharedGroup] | None = Field(
        description="largest first; null where no group column is named"
    )
    shared_groups_left_out: Count
    suspects_in_shared_groups: Count
    method: str


class CheckSection(Section):
    """What one check found beside wrong labels and leaks: its section of the page."""

    name: str = Field(description="in `checks:` of audit.yaml, and in issues.parquet")
    title: str
    outcome: Literal["found", "clear", "cannot tell", "not run"]
    text: str
    count: Count | None = Field(description="lines in issues.parquet; null where it cannot tell")
    serious: bool = Field(description="whether what it finds leads the findings")
    header: list[str]
    lines: list[list[str]] = Field(description="the first lines; issues.parquet has all")


class TokenChange(Section):
    """A piece of text, and how hard it was to predict, in nats."""

    text: str
    before: float
    after: float = Field(description="after the query was learned or unlearned")


class TracedSample(Section):
    """A query, or a training row behind it, as a person can look at it."""

    sample_id: SampleId
    text: str | None
    image: str | None = Field(pattern=r"^data:image/(webp|png|jpeg|gif);base64,[A-Za-z0-9+/]+=*$")
    tokens: list[TokenChange] = Field(
        description="the text in pieces; of a long one, the stretch that changed most"
    )
    loss_before: float | None
    loss_after: float | None


class TracedRow(Section):
    """A training row behind a query."""

    rank: Count
    score: float = Field(
        description="standard deviations of the row's own background, or the change itself"
    )
    change: float = Field(description="of the row's loss, in nats")
    p_value: float | None
    flagged: bool
    sample: TracedSample


class TracedQuery(Section):
    """A generated sample and the training rows it owes most to, best first."""

    query: TracedSample
    rows: list[TracedRow]


class Tracing(Section):
    """Which training rows are behind generated samples."""

    direction: Literal["learn", "unlearn"]
    queries: Count
    queries_flagged: Count
    can_tell: bool = Field(
        description="false where there were too few unrelated samples to flag any row"
    )
    false_discovery_rate: Share
    shown: list[TracedQuery]
    queries_left_out: Count = Field(description="queries that only contamination.parquet holds")
    method: str


class Threshold(Section):
    """A decision threshold and why it stands where it stands."""

    name: str
    value: float
    reason: str


class Method(Section):
    """How the audit was made: enough to repeat it."""

    model_sha256: str | None
    device: str | None
    settings: dict[str, JsonValue]
    seeds: dict[str, int]
    versions: dict[str, str]
    timings_seconds: dict[str, float]
    thresholds: list[Threshold]


class Coverage(Section):
    """What the audit did not look at."""

    rows_not_scored: Count
    suspects_not_scored: Count
    sampling: str | None = Field(description="null where nothing is known of it")
    truncation: str | None = Field(description="null where nobody looked")
    missing_values: dict[str, Count] | None = Field(
        description="per column: training rows without a value; null: not counted"
    )
    notes: list[str]


class Decision(Section):
    """What a reviewer decided about a training row, or about a suspect that may be a leak."""

    what: Literal["label", "leak"]
    row_id: SampleId = Field(description="of the training row; of a leak, the suspect's id")
    decision: str
    reviewer: str
    date: str
    before: Label
    after: Label | None
    comment: str


class Review(Section):
    """What reviewers found, against what the audit had claimed."""

    flagged_reviewed: Count = Field(description="flagged rows decided about, those unsure left out")
    flagged_wrong: Count
    precision: Estimate | None = Field(
        description="share of reviewed flagged rows that were wrong, with Wilson's 95% interval"
    )
    precision_claimed: float | None = Field(
        description="mean probability that the audit gave these rows"
    )
    suggestions_right: Count = Field(
        description="relabeled flagged rows whose new label is the suggested one"
    )
    kept_reviewed: Count = Field(description="rows decided about that were not flagged")
    kept_wrong: Count
    unsure: Count


class BudgetEstimate(Section):
    """The precision of the first `budget` rows, from reviewed rows alone."""

    budget: Count
    precision: Estimate


class ReviewedSample(Section):
    """What rows drawn at random and reviewed say of all rows, whatever the model did.

    `estimate.json` holds one.
    """

    seed: int = Field(description="of the draw")
    drawn: Count = Field(description="rows drawn")
    reviewed: Count = Field(description="of these, rows decided about for sure")
    unsure: Count = Field(description="of these, rows that reviewers could not decide")
    wrong: Count = Field(description="of the reviewed ones")
    noise_rate: Estimate = Field(description="share of wrong labels among all rows")
    noise_rate_claimed: Estimate | None = Field(description="before the review, by the model")
    precision_flagged: Estimate | None = Field(
        description="of the rows that were flagged when the sample was drawn; null if none was"
    )
    precision_claimed: float | None = Field(description="of the same rows, before the review")
    precision_at_budget: list[BudgetEstimate]
    reviewer_error: float = Field(description="assumed in `noise_rate_if_reviewers_err`")
    noise_rate_if_reviewers_err: Estimate = Field(
        description="where it may lie if reviewers err in up to so many of the rows"
    )


class DrawnPart(Section):
    """Rows of neighbouring ranks, and which of them were drawn at random."""

    flagged: bool
    rows: Count
    drawn: list[SampleId]


class Drawn(Section):
    """The latest draw of rows to review, so that they can be decided in the page."""

    seed: int
    parts: list[DrawnPart]
    shown: list[FlaggedRow] = Field(description="of the drawn rows, those not in `labels.rows`")
    left_out: Count = Field(description="drawn rows that only the file of the draw holds")


class CrosswalkEntry(Section):
    """Where a reader who works by some framework finds the evidence it asks for."""

    framework: str
    reference: str
    asks_for: str
    sections: list[str] = Field(min_length=1, description="ids of sections of the page")


class AuditReport(Section):
    """The machine-readable whole of an audit: what `audit.json` holds."""

    schema_version: Literal["1.0"] = "1.0"
    identity: Identity
    verdict: Verdict
    findings: list[Finding] = Field(max_length=3)
    next_steps: list[str]
    counts: Counts
    composition: Composition
    labels: LabelFindings | None = Field(description="null where labels were not judged")
    leakage: Leakage | None = Field(description="null where leaks were not looked for")
    tracing: Tracing | None = Field(
        description="of generative models: training rows behind the suspects"
    )
    checks: list[CheckSection]
    method: Method
    coverage: Coverage
    limits: list[str]
    remediation: list[Decision]
    review: Review | None = Field(description="null until reviewers have decided")
    reviewed_sample: ReviewedSample | None = Field(
        description="null until rows drawn at random have been reviewed"
    )
    drawn: Drawn | None = Field(description="null until `dataaudit sample` has drawn rows")
    crosswalk: list[CrosswalkEntry]
    samples: dict[str, Sample]


def sample_key(role: str, sample_id: SampleId) -> str:
    """Return the key of a sample in `AuditReport.samples`; "1" and 1 have different keys."""
    return f"{role}:{sample_id!r}"


def most_important(findings: Sequence[Finding]) -> list[Finding]:
    """Return the three findings that matter most, in the order given within each severity."""
    order = {"serious": 0, "notable": 1, "clear": 2}
    return sorted(findings, key=lambda finding: order[finding.severity])[:3]
