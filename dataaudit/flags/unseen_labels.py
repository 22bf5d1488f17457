"""Label errors from views that have not seen the labels they judge.

Rows and trusted samples are exchangeable here: each is judged by models that were fitted without
it. So what the trusted samples say of the right class, given the views, holds of the rows. The
kinds of errors are then fitted to the rows' given labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataaudit.flags.beside_right import BesideRight, as_shown
from dataaudit.flags.flagged_precision import precision_of
from dataaudit.flags.inputs import Unseen, View
from dataaudit.flags.joint_fit import FitKind, Joint, Seen, first_fits, fitted_again
from dataaudit.flags.kinds_of_error import ByClass, ByDoubt, ByLikeness, ByUnlikeness, with_slips
from dataaudit.flags.label_errors import LabelJudgement, dealt, order_of, ranks
from dataaudit.flags.label_evidence import suspicion
from dataaudit.flags.parts import CONFIDENCE, METHOD_ERROR, Parts
from dataaudit.flags.probabilities import Labels, Table, Values, pick, row_blocks
from dataaudit.flags.results import Interval
from dataaudit.flags.right_classes import RightClasses, Scale, targets

KINDS: tuple[FitKind, ...] = (ByClass.even, ByClass.free, ByDoubt.fit)
KINDS_OF_MANY = (*KINDS, ByClass.one_pair, ByClass.into_one, ByLikeness.fit, ByUnlikeness.fit)
"""Of more than two classes; of two, the first three say the same."""
LEAST_SHARE = 0.001
"""Kinds of errors that are less probable than this are not looked at again."""
REDRAWS = 20
ROUNDS_AGAIN = 3
MOST_ROWS_REDRAWN = 3000
CELLS_AT_ONCE = 400_000
"""Of tables `[rows, C]` that are read at once."""
POSSIBLE = 0.05
"""Posterior share from which on a kind of error counts as possible, for the interval."""
HIDDEN = 0.5
"""Share of the rate that is added above, less where many labels are wrong. Where the class is in
doubt and people give the one that a row looks like, right labels that look wrong turn into wrong
ones that look right: such errors hide each other, and up to 40 % of them were not counted on the
data that the method was developed on, more with weak models (docs/measurements/calibration.md)."""
MOST_CERTAIN = 1e-12


@dataclass(frozen=True)
class Fit:
    """What one redraw of the trusted samples and the rows led to.

    Attributes
    ----------
    kinds : sequence of Joint
        One for each kind of errors that is possible.
    alone : sequence of Joint
        The same, with right classes from trusted samples alone: the interval spans both, since
        rows that err by a rule make the views look surer than they are.
    shares : sequence of float
        How probable each kind is.
    """

    kinds: tuple[Joint, ...]
    alone: tuple[Joint, ...]
    shares: tuple[float, ...]


def judge_unseen(
    given: Labels,
    unseen: Unseen,
    *,
    target_precision: float = 0.5,
    budget: int | None = None,
    further: Sequence[NDArray[np.bool_]] = (),
    repeats: int = REDRAWS,
    seed: int = 0,
    hold_back: bool = True,
) -> LabelJudgement:
    """Judge every row's given label by what unseen views say of its right class.

    Parameters
    ----------
    given : int64 `[rows]`
    unseen : Unseen
    target_precision, budget, further, seed
        As for `judge_labels`.
    repeats : int
        Redraws, whose probabilities are averaged.
    hold_back : bool
        Whether what right labels account for is held back; see `flags.beside_right`.
    """
    scale, fits = fit_redraws(given, unseen, repeats, seed)
    classes = unseen.views[0].rows.shape[1]
    parts = Parts(len(given), given, classes, further)
    probability, suspected = np.empty(len(given)), np.empty(len(given))
    suggested = np.empty_like(given)
    noise_table = np.zeros((classes, classes))
    wrong = np.zeros((repeats, 2 * len(fits[0].kinds), len(parts.sizes)))
    for rows in row_blocks(len(given), classes, CELLS_AT_ONCE):
        logs = scale.read(_tables(unseen.views, rows))
        mean, kind_wrong, suspected[rows] = _posteriors(fits, logs, given[rows])
        own = np.arange(len(mean)), given[rows]
        probability[rows] = np.clip(1 - mean[own], MOST_CERTAIN, 1 - MOST_CERTAIN)
        for place, fit_wrong in enumerate(kind_wrong):
            wrong[place] += [parts.sums(of_kind, rows) for of_kind in fit_wrong]
        np.add.at(noise_table, given[rows], mean)
        mean[own] = -1.0
        suggested[rows] = mean.argmax(axis=1)
    shares = np.array([fit.shares * 2 for fit in fits])
    rates = _intervals(parts, probability, wrong / np.maximum(parts.sizes, 1), shares)
    # Ranked with room for other errors, which count in no rate: how many there are is not shown.
    probability = dealt(probability, order_of(suspected))
    rank = ranks(probability)
    flagged = probability >= target_precision if budget is None else rank <= budget
    judgement = LabelJudgement(
        score=np.log(probability) - np.log1p(-probability),
        probability=probability,
        flagged=flagged,
        rank=rank,
        noise_rate=rates[0],
        noise_rate_per_part=tuple(rates[1 + classes :]),
        shares=(0.0, 1.0),
        reference_rows=len(unseen.trusted_labels),
        suggested_label=suggested,
        noise_rate_per_class=tuple(rates[1 : 1 + classes]),
        noise_table=noise_table,
        untold=np.zeros(classes, dtype=bool),
        precision_flagged=precision_of(
            probability[flagged],
            _means(np.flatnonzero(flagged), given, unseen.views, scale, fits)[shares >= POSSIBLE],
        ),
    )
    if not hold_back:
        return judgement
    right_wrong = _that_trusted_are_wrong(unseen, scale, fits)
    beside = BesideRight(
        int((probability >= target_precision).sum()),
        len(given),
        int((right_wrong >= target_precision).sum()),
        len(right_wrong),
    )
    return as_shown(judgement, beside, target_precision if budget is None else None)


def _that_trusted_are_wrong(unseen: Unseen, scale: Scale, fits: Sequence[Fit]) -> Values:
    """Return how wrong each trusted label would be taken for, were it a row's, `[trusted]`."""
    labels = unseen.trusted_labels
    result = np.empty(len(labels))
    for some in row_blocks(len(labels), unseen.views[0].trusted.shape[1], CELLS_AT_ONCE):
        tables = [np.asarray(view.trusted[some], dtype=np.float64) for view in unseen.views]
        right = _posteriors(fits, scale.read(tables), labels[some])[0]
        result[some] = 1 - pick(right, labels[some])
    return result


def _means(
    positions: NDArray[np.int64],
    given: Labels,
    views: Sequence[View],
    scale: Scale,
    fits: Sequence[Fit],
) -> Values:
    """Return the share of some rows that is wrong by each fit and kind, `[fits, 2 kinds]`."""
    sums = np.zeros((len(fits), 2 * len(fits[0].kinds)))
    for block in row_blocks(len(positions), views[0].rows.shape[1], CELLS_AT_ONCE):
        rows = positions[block]
        sums += _posteriors(fits, scale.read(_tables(views, rows)), given[rows])[1].sum(axis=2)
    return sums / max(len(positions), 1)


def fit_redraws(given: Labels, unseen: Unseen, repeats: int, seed: int) -> tuple[Scale, list[Fit]]:
    """Fit right classes and kinds of errors to redraws of the trusted samples and of the rows.

    Trusted samples are weighed anew each time (Rubin's Bayesian bootstrap, 1981), and so is the
    share of errors that they happen not to show. The scale is that on which views are read.
    """
    generator = np.random.default_rng(seed)
    trusted, classes = unseen.trusted_labels, unseen.views[0].rows.shape[1]
    rows = np.sort(generator.permutation(len(given))[:MOST_ROWS_REDRAWN])
    tables = _tables(unseen.views, rows)
    scale = Scale.of(tables)
    row_logs = scale.read(tables)
    trusted_logs = scale.read([np.asarray(view.trusted, dtype=np.float64) for view in unseen.views])
    whole = Seen(
        trusted_logs, targets(trusted, classes), np.ones(len(trusted)), row_logs, given[rows]
    )
    known = first_fits(whole, KINDS if classes == 2 else KINDS_OF_MANY)
    shares = np.array(_shares([joint for _, joint in known], whole))
    first = [pair for pair, share in zip(known, shares, strict=True) if share >= LEAST_SHARE]
    result = []
    for _ in range(repeats):
        drawn = generator.integers(0, len(rows), len(rows))
        redrawn = Seen(
            trusted_logs,
            targets(trusted, classes, float(generator.beta(1, len(trusted)))),
            len(trusted) * generator.dirichlet(np.ones(len(trusted))),
            row_logs[:, :, drawn],
            given[rows][drawn],
        )
        kinds = tuple(
            fitted_again(redrawn, fit, joint.right_classes, joint.row_share, ROUNDS_AGAIN)
            for fit, joint in first
        )
        # The same right classes, whatever the kind of error: rows have no say in them.
        found = RightClasses.fit(
            trusted_logs, redrawn.trusted_right, redrawn.trusted_times, first[0][1].right_classes
        )
        sources = found.probabilities_of(redrawn.row_logs)
        alone = tuple(Joint(found, fit(sources, redrawn.given), 0.0) for fit, _ in first)
        result.append(Fit(kinds, alone, _shares(kinds, redrawn)))
    return scale, result


def _tables(views: Sequence[View], rows: slice | NDArray[np.int64]) -> list[Values]:
    return [np.asarray(view.rows[rows], dtype=np.float64) for view in views]


def _shares(kinds: Sequence[Joint], seen: Seen) -> tuple[float, ...]:
    fits = np.array([kind.evidence(seen) for kind in kinds])
    shares = np.exp(fits - fits.max())
    return tuple((shares / shares.sum()).tolist())


def _posteriors(fits: Sequence[Fit], logs: Values, labels: Labels) -> tuple[Values, Values, Values]:
    """Return the right classes of some rows, given their labels.

    Parameters
    ----------
    fits : sequence of Fit
    logs : float64 `[views, READINGS, rows, C]`
    labels : int64 `[rows]`

    Returns
    -------
    float64 `[rows, C]`, the mean over fits; float64 `[fits, 2 kinds, rows]`, that a label is wrong,
    by kinds with the say of the rows and by those without; float64 `[rows]`, the same to rank by,
    with room for errors that the rows do not show
    """
    own = np.arange(len(labels)), labels
    mean, right_in_doubt = np.zeros(logs.shape[2:]), np.zeros(len(labels))
    wrong = np.zeros((len(fits), 2 * len(fits[0].kinds), len(labels)))
    for place, fit in enumerate(fits):
        shares = (*fit.shares, *np.zeros(len(fit.alone)))
        asked = None
        for number, (kind, share) in enumerate(zip(fit.kinds + fit.alone, shares, strict=True)):
            if kind.right_classes is not asked:
                asked, right = kind.right_classes, kind.right_classes.probabilities_of(logs)
            sources = kind.kind.sources(right, labels)
            joint = sources / sources.sum(axis=1, keepdims=True)
            wrong[place, number] = 1 - joint[own]
            mean += share * joint
            if share:
                slipped = with_slips(sources, right, labels, kind.kind.slips)
                right_in_doubt += share * slipped[own] / slipped.sum(axis=1)
    return mean / len(fits), wrong, 1 - right_in_doubt / len(fits)


def _intervals(parts: Parts, probability: Values, rates: Values, shares: Values) -> list[Interval]:
    """Return the share of wrong labels of each part; it spans redraws and kinds of error.

    Parameters
    ----------
    parts : Parts
    probability : float64 `[rows]`
    rates : float64 `[redraws, kinds, parts]`
    shares : float64 `[redraws, kinds]`
    """
    ends = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    low, high = np.quantile(rates[shares >= POSSIBLE], ends, axis=0)
    values = parts.means(probability)
    # The labels' own scatter comes on top of the fit's: without it small sets look too sure.
    scatter, spread = parts.scatter(probability), values * (1 - values)
    low = np.maximum(np.minimum(low, values) - scatter - METHOD_ERROR * spread, 0.0)
    above = scatter + HIDDEN * spread * (1 - values)
    high = np.minimum(np.maximum(high, values) + above, 1.0)
    nothing = parts.sizes == 0
    low, high = np.where(nothing, 0.0, low), np.where(nothing, 1.0, high)
    return [Interval(*line) for line in np.stack([values, low, high], axis=1).tolist()]


def judge_assumed(
    given: Labels,
    unseen: Table,
    *,
    target_precision: float = 0.5,
    budget: int | None = None,
    further: Sequence[NDArray[np.bool_]] = (),
    seed: int = 0,
) -> LabelJudgement:
    """Judge given labels by unseen predictions alone, where there is nothing to measure them on.

    The predictions are first made to fit the given labels as they are. A label counts as wrong by
    as much as another class is more probable than it: so a model that is in doubt everywhere
    flags nothing. No interval is claimed.

    Parameters
    ----------
    given : int64 `[rows]`
    unseen : `[rows, C]`
        Of models fitted without the row.
    target_precision, budget, further, seed
        As for `judge_labels`.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(given))[:MOST_ROWS_REDRAWN])
    classes = unseen.shape[1]
    known = [np.asarray(unseen[rows], dtype=np.float64)]
    scale = Scale.of(known)
    fitted = RightClasses.fit(scale.read(known), targets(given[rows], classes))
    score, lead = np.empty(len(given)), np.empty(len(given))
    suggested = np.empty_like(given)
    for block in row_blocks(len(given), classes):
        table = fitted.probabilities(scale, [np.asarray(unseen[block], dtype=np.float64)])
        own = np.arange(len(table)), given[block]
        score[block] = suspicion(table, given[block])
        mine = table[own]
        table[own] = -1.0
        suggested[block] = table.argmax(axis=1)
        lead[block] = np.maximum(table.max(axis=1) - mine, 0.0)
    probability = dealt(lead, order_of(score))
    rank = ranks(score)
    flagged = probability >= target_precision if budget is None else rank <= budget
    noise_table = np.zeros((classes, classes))
    np.add.at(noise_table, (given, suggested), probability)
    np.add.at(noise_table, (given, given), 1 - probability)
    parts = Parts(len(given), given, classes, further)
    rates = [Interval(mean, 0.0, 1.0) for mean in parts.means(probability).tolist()]
    return LabelJudgement(
        score=score,
        probability=probability,
        flagged=flagged,
        rank=rank,
        noise_rate=rates[0],
        noise_rate_per_part=tuple(rates[1 + classes :]),
        shares=(0.0, 1.0),
        reference_rows=0,
        suggested_label=suggested,
        noise_rate_per_class=tuple(rates[1 : 1 + classes]),
        noise_table=noise_table,
        untold=np.zeros(classes, dtype=bool),
        precision_flagged=precision_of(probability[flagged], np.zeros(0)),
    )
