"""What flagging returns: tables and the estimates that go with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class AnnotatorFacts:
    """What several annotators, and the models, say of the rows and of each other.

    Attributes
    ----------
    annotators : pandas.DataFrame, the worst first
        `annotator`; `labels` (how many they gave); `quality` (expected share of them that is right,
        0 to 1); `agreement` (share of them that is the consensus, NaN where they gave none).
    consensus : pandas.DataFrame, one line for every row
        `row_id`; `consensus_label`; `probability` (that it is right, 0 to 1); `labels` (how many
        were given); `agreeing` (how many of them are the consensus); `once_more` (rank of the rows
        to be annotated once more, 1 = the least sure).
    alpha : float or None
        Krippendorff's; None where no row was labelled twice, or all labels are the same.
    believed : float
        Exponent on what the models say, fitted with the rest; 0 = not believed.
    """

    annotators: pd.DataFrame
    consensus: pd.DataFrame
    alpha: float | None
    believed: float


@dataclass(frozen=True)
class MislabelFlags:
    """Which training rows are probably mislabeled.

    Attributes
    ----------
    table : pandas.DataFrame, one line for every training row, in the order of the training set
        `row_id`; `given_label`, `suggested_label` (class values, or targets for regression);
        `score` (higher = more suspicious); `probability` (that the label is wrong, 0 to 1);
        `flagged` (bool); `rank` (int64, 1 = most suspicious, no ties).
    signals : pandas.DataFrame, aligned with `table`
        One column per signal, each oriented so that higher = more suspicious, for example
        `mirrored_influence` (nats), `loss` (nats), `margin`, `cleanlab`.
    noise_rate : Interval
        Estimated share of wrong labels among all rows.
    noise_per_class : pandas.DataFrame
        `class`, `rows`, `flagged`, `noise_rate`, `low`, `high`; one line per given class. Of label
        sets, one for each label, among the rows that carry it; none for regression.
    noise_table : pandas.DataFrame, index = given class, columns = suggested class
        Expected number of rows (float) with that given label whose true label is the column's;
        the diagonal holds the rows expected to be right. Empty where labels are no classes.
    expected_precision : pandas.DataFrame
        `budget` (rows reviewed, best first), `expected_found` (of them truly wrong),
        `expected_precision`; strictly increasing budgets, the last one = number of rows.
    probability_threshold : float
        A row is flagged when its probability reaches this.
    method : str
        One paragraph for the report: what the probability is made of.
    noise_per_group : pandas.DataFrame or None
        As `noise_per_class`, with the column `group`, for the largest groups; None where no group
        column is named.
    notes : sequence of str, aligned with `table`, or None
        What is wrong with each row's label, in words; where the suggested label does not say it.
    predicted : float64 `[rows]` or None
        For regression, the target that the model expects after it learned again.
    annotators : AnnotatorFacts or None
        Where several annotators gave labels.
    doubts : sequence of str
        Why the number of wrong labels cannot be told, in words; empty where what it rests on was
        checked and holds. `noise_rate.low` holds even where there are doubts.
    untold : sequence of str
        What cannot be told of single classes, in words. What is flagged stays flagged.
    precision_flagged : Interval or None
        Share of the flagged rows whose label is wrong; None where no row is flagged, and for kinds
        of labels whose flags are not redrawn.
    """

    table: pd.DataFrame
    signals: pd.DataFrame
    noise_rate: Interval
    noise_per_class: pd.DataFrame
    noise_table: pd.DataFrame
    expected_precision: pd.DataFrame
    probability_threshold: float
    method: str
    noise_per_group: pd.DataFrame | None
    notes: Sequence[str] | None
    predicted: NDArray[np.float64] | None
    annotators: AnnotatorFacts | None
    doubts: Sequence[str]
    untold: Sequence[str]
    precision_flagged: Interval | None


@dataclass(frozen=True)
class ContaminationFlags:
    """Which suspects are probably copies of training rows.

    Attributes
    ----------
    table : pandas.DataFrame, one or more lines for each suspect, best match first
        `query_id`; `row_id`; `rank` (int64, 1 = best match of that suspect);
        `score` (higher = more alike and more influential); `p_value` (of the suspect's best
        match under the hypothesis of no leak); `flagged` (bool).
    evidence : pandas.DataFrame, aligned with `table`
        `content_score`, `influence_score` (NaN where not computed) and `kind`, one of
        "exact", "near", "near, no influence seen", "influence only", "none". A suspect that is
        identical to a training row is "exact", and always flagged.
    false_discovery_rate : float
        The level at which suspects are flagged (Benjamini–Hochberg).
    metric_name : str
        For example "accuracy".
    metric_all, metric_clean : Interval
        The model's metric on all suspects, and without the flagged ones.
    metric_difference : Interval
        Paired bootstrap of `metric_all - metric_clean`.
    hits_per_class : pandas.DataFrame
        `class`, `suspects`, `flagged`.
    method : str
        One paragraph for the report.
    disagreeing_duplicates : pandas.DataFrame or None
        Training rows that repeat each other under different labels: `row_id`, `other_row_id`,
        `label`, `other_label`, `similarity`; identical rows first. None where not looked for.
    shared_groups : pandas.DataFrame or None
        Groups (patients, users, documents) found among suspects and training rows: `group`,
        `suspects`, `rows`. None where no group column is named.
    doubts : sequence of str
        Why some leaks cannot be told, in words; empty where what the flags rest on was checked and
        holds. What is flagged stays flagged.
    rows_repeated : int
        Training rows that are identical to another one: how often that comes by nature.
    """

    table: pd.DataFrame
    evidence: pd.DataFrame
    false_discovery_rate: float
    metric_name: str
    metric_all: Interval
    metric_clean: Interval
    metric_difference: Interval
    hits_per_class: pd.DataFrame
    method: str
    disagreeing_duplicates: pd.DataFrame | None
    shared_groups: pd.DataFrame | None
    doubts: Sequence[str]
    rows_repeated: int
