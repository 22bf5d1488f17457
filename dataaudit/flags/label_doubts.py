"""Doubts: what must hold for a number of wrong labels to be believed, and whether it does."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, chi2_contingency, hypergeom, ks_2samp, mannwhitneyu, rankdata

from dataaudit.flags.inputs import References, Unseen, View
from dataaudit.flags.probabilities import Labels, Table, Values, pick
from dataaudit.flags.results import Interval

Counts = NDArray[np.int64]
CONFIDENCE = 0.95
USEFUL = 2.5
"""Standard errors by which the views must tell the classes of trusted samples apart: one useless
model in 150 does."""
UNLIKE = 1e-4
"""p-value below which rows and trusted samples are not alike."""
UNLIKE_BY = 0.05
"""Share of the samples by which they must differ, too: in large sets trifles are significant."""
WIDE = 0.1
"""An interval is too wide to be told where it is wider than this and than the estimate, and its
ends are more than `APART` times apart: "6 to 18 %" says that some are wrong, and of what order."""
APART = 3.0
MOST_BELIEVED = 0.5
"""Share of wrong labels above which it is more likely that the trusted samples are off."""
CONTRADICTED = (
    "more than half of the given labels contradict the trusted samples; these may be of other "
    "data, or name the classes in another order"
)
TAUGHT = 3.0
"""Standard errors by which fits to rows must agree with more given labels than trusted samples
account for, so that these labels have taught them errors."""
LUCK = 0.01
"""How probable it may be that right labels are taken for contradicted."""
FEWEST_TRUSTED = 40
"""With fewer, nothing is measured on them."""
MOST_COMPARED = 20_000


@dataclass(frozen=True)
class Doubts:
    """Why a number of wrong labels cannot be told.

    Attributes
    ----------
    reasons : sequence of str
        In words; empty where there is no doubt.
    least : float
        Share of wrong labels that is proven nevertheless, 0 to 1.
    most : float
        Share of wrong labels that is possible.
    flags_hold : bool
        Whether single rows may be flagged all the same.
    parts_hold : bool
        Whether the rates of classes and groups span what is in doubt as they are.
    """

    reasons: tuple[str, ...] = ()
    least: float = 0.0
    most: float = 1.0
    flags_hold: bool = True
    parts_hold: bool = False

    def applied(self, rate: Interval) -> Interval:
        """Return what can be said of a rate: what is proven, and no more where there is doubt."""
        if not self.reasons:
            return rate
        return Interval(max(rate.estimate, self.least), self.least, self.most)

    def applied_to_part(self, rate: Interval) -> Interval:
        """Return what can be said of the rate of a class or a group of the rows.

        What is proven of all rows, or possible, is not of each part of them.
        """
        if not self.reasons or self.parts_hold:
            return rate
        return Interval(rate.estimate, 0.0, 1.0)


def too_few(trusted: int, fewest: int) -> Doubts:
    """Return the doubt about labels that too few trusted samples, or none, were compared with."""
    found = f"only {trusted} samples are trusted" if trusted else "no sample is trusted"
    return Doubts(
        (f"{found}; {fewest} or more are needed to tell how many of the labels are wrong",)
    )


def doubts_about(
    given: Labels, unseen: Unseen, rate: Interval, seed: int = 0, *, as_sure: bool = True
) -> Doubts:
    """Check what a judgement by unseen views rests on.

    Parameters
    ----------
    given : int64 `[rows]`
    unseen : Unseen
    rate : Interval
        What it found.
    seed : int
        Of the draws behind the checks.
    as_sure : bool
        Whether models that judge rows and trusted samples were fitted to as many of either, so that
        how sure they are must be alike, too.
    """
    first, right = unseen.views[0], unseen.trusted_labels
    differ = unlikeness(first, seed) if as_sure else classes_differ(first, seed)
    alike = differ[0] >= UNLIKE or differ[1] < UNLIKE_BY
    beyond = agrees_beyond(given, first, right) if alike else 0.0
    least = least_wrong(given, first, right) if beyond > 0 else 0.0
    reasons = []
    useful = usefulness(unseen) > USEFUL
    believed = max(least, rate.estimate) <= MOST_BELIEVED
    if not useful:
        reasons.append(
            "fitted anew, the model does not tell the classes of trusted samples better than "
            "their frequencies do"
        )
    elif not believed:
        reasons.append(CONTRADICTED)
        least = 0.0
    elif beyond > 0:
        reasons.append(_by_a_rule(least, beyond))
    if not alike:
        reasons.append(
            f"the trusted samples are not like the training rows (what the model says of the two "
            f"differs by {differ[1]:.0%})"
        )
    width = rate.high - rate.low
    apart = rate.high > APART * rate.low
    if not reasons and width > max(WIDE, rate.estimate) and apart:
        reason = (
            f"the rows do not tell how their labels go wrong: anything from {rate.low:.1%} to "
            f"{rate.high:.1%} of them may be wrong"
        )
        return Doubts((reason,), rate.low, rate.high, parts_hold=True)
    return Doubts(tuple(reasons), least, flags_hold=useful and believed)


def taught_errors(given: Labels, unseen: Unseen) -> bool:
    """Tell whether given labels err in a way that models fitted to them have learned, as by a rule.

    These then agree with more given labels than a model that was fitted to trusted samples alone,
    and are not right on trusted samples by as much more often. Labels that err at random are agreed
    with less by both, which brings the two nearer to each other but does not change their order.

    Parameters
    ----------
    given : int64 `[rows]`
    unseen : Unseen
        Without a view of trusted samples alone, nothing can be said: False.
    """
    first = unseen.views[0]
    alone = next((view for view in unseen.views if view.alone), None)
    if alone is None:
        return False
    more, more_right = (
        (tables[0].argmax(axis=1) == labels).astype(np.float64)
        - (tables[1].argmax(axis=1) == labels)
        for tables, labels in (
            ((first.rows, alone.rows), given),
            ((first.trusted, alone.trusted), unseen.trusted_labels),
        )
    )
    count, of_rows = len(more_right), more.var() / len(given)
    of_both = of_rows + max(more_right.var(), 1 / count) / count
    apart = more.mean() - more_right.mean()
    return bool(more.mean() > TAUGHT * np.sqrt(of_rows) and apart > TAUGHT * np.sqrt(of_both))


def contradicts(given: Labels, unseen: Unseen) -> bool:
    """Tell whether rows look to a view as of another class more often than trusted samples do.

    Were all labels right, they would do so as often, but for chance. Each view has an exact test
    (R. Fisher, 1934) of all rows, and one of each pair of classes, since errors of one pair are few
    among all rows. That any of them takes chance for more has a probability of `LUCK` at most
    (Bonferroni, half of it for either kind). Nothing is fitted, and no kind of error assumed.

    Parameters
    ----------
    given : int64 `[rows]`
    unseen : Unseen
    """
    classes, views = unseen.views[0].rows.shape[1], len(unseen.views)
    other = ~np.eye(classes, dtype=bool)
    for view in unseen.views:
        rows, trusted = (
            np.bincount(labels * classes + table.argmax(axis=1), minlength=classes**2)
            for table, labels in ((view.rows, given), (view.trusted, unseen.trusted_labels))
        )
        rows, trusted = (counts.reshape(classes, classes) for counts in (rows, trusted))
        pairs = _more_often(rows, trusted, *(c.sum(axis=1, keepdims=True) for c in (rows, trusted)))
        of_all = _more_often(rows[other].sum(), trusted[other].sum(), rows.sum(), trusted.sum())
        seen = pairs[other & (rows > 0)]
        if min(of_all, seen.min(initial=1.0) * max(len(seen), 1)) * 2 * views < LUCK:
            return True
    return False


def _more_often(rows: Counts, trusted: Counts, all_rows: Counts, all_trusted: Counts) -> Values:
    """Return the chance of at least so many `rows` of `all_rows`, at the trusted samples' share."""
    return np.asarray(hypergeom.sf(rows - 1, all_rows + all_trusted, rows + trusted, all_rows))


def least_wrong(given: Labels, view: View, right: Labels) -> float:
    """Return the share of given labels that differ from right ones at least, 0 to 1.

    An unseen prediction agrees with at most as many right labels among the rows as among the
    trusted samples, where inputs are alike. Where it agrees with more given labels, these are not
    the right ones. But of trusted samples that were picked class by class more may be of the
    classes that are hard to predict, and then it agrees with more right labels, too. So the samples
    are asked twice: as they are, and weighed to the classes that are given (post-stratification).
    What both prove is proven. Where a rule has changed the classes that are given, that is less
    than the samples as they are would prove.

    Parameters
    ----------
    given : int64 `[rows]`
    view : View
    right : int64 `[trusted]`
    """
    classes = view.rows.shape[1]
    of_rows, of_trusted = (np.bincount(labels, minlength=classes) for labels in (given, right))
    weights = (of_rows / len(given))[right] / (of_trusted / len(right))[right]
    none_trusted = float(of_rows[of_trusted == 0].sum()) / len(given)
    return min(
        agrees_beyond(given, view, right),
        agrees_beyond(given, view, right, weights, none_trusted),
    )


def agrees_beyond(
    given: Labels,
    view: View,
    right: Labels,
    weights: Values | None = None,
    untold: float = 0.0,
) -> float:
    """Return how many more given labels than right ones of trusted samples a view agrees with.

    At least so many, as a share, 0 to 1, with 95 % confidence, on either count alone with 97.5 %
    (Clopper and Pearson, Biometrika 1934); weighed samples count as their effective number (Korn
    and Graubard, Survey Methodology 1998).

    Parameters
    ----------
    given : int64 `[rows]`
    view : View
    right : int64 `[trusted]`
    weights : `[trusted]` or None
        How much each trusted sample counts; None: all alike.
    untold : float
        Share of the rows that no trusted sample stands for; the view may be right on all of them.
    """
    weights = np.ones(len(right)) if weights is None else weights
    agreed = int((view.rows.argmax(axis=1) == given).sum())
    number = float(weights.sum() ** 2 / (weights**2).sum())
    wrongly = weights[view.trusted.argmax(axis=1) != right].sum()
    missed = number * float(wrongly / weights.sum())
    tail = (1 - CONFIDENCE) / 2
    low = beta.ppf(tail, agreed, len(given) - agreed + 1) if agreed else 0.0
    high = beta.ppf(1 - tail, number - missed + 1, missed) if missed else 1.0
    return max(0.0, float(low - (untold + (1 - untold) * high)))


def may_be_wrong(given: Labels, unseen: Unseen, flagged: bool = True) -> float:
    """Return the share of given labels that may be wrong by what has learned none of them, 0 to 1.

    Errors that follow a rule are learned by every other model, and show here alone.

    Parameters
    ----------
    given : int64 `[rows]`
    unseen : Unseen
        Without a view of trusted samples alone, nothing can be said: 0.
    flagged : bool
        Whether any label is flagged. If none is, the labels may be right, or what was fitted to
        them may have learned their errors: then it is not asked for help in excluding these.
    """
    first = unseen.views[0] if flagged else None
    alone = next((view for view in unseen.views if view.alone), None)
    return 0.0 if alone is None else not_excluded(given, alone, unseen.trusted_labels, first)


def not_excluded(given: Labels, view: View, right: Labels, beside: View | None = None) -> float:
    """Return the share of given labels of which a view cannot say that they are right, 0 to 1.

    Were all labels right, a model that has not seen them would agree with them as often as it is
    right on trusted samples that it has not seen. It agrees less where labels are wrong, and more
    where they err by a rule that it has learned from others. What differs may be wrong, and one
    standard error more.

    How often two models say the same is known of all rows, and goes along with being right. So it
    says how far the trusted samples happen to be easier or harder than the rows (a control variate;
    A. Angelopoulos et al., "PPI++: efficient prediction-powered inference", 2023): 50 of them tell
    more where the other model is good.

    Parameters
    ----------
    given : int64 `[rows]`
    view : View
    right : int64 `[trusted]`
    beside : View or None
        Another one of the same samples; what it has learned does not matter, as it is asked of rows
        and trusted samples alike.
    """
    agreed = (view.rows.argmax(axis=1) == given).astype(np.float64)
    correct = (view.trusted.argmax(axis=1) == right).astype(np.float64)
    count, of_rows = len(right), 0.0
    if beside is not None:
        same_rows, same = (
            (one.argmax(axis=1) == other.argmax(axis=1)).astype(np.float64)
            for one, other in ((view.rows, beside.rows), (view.trusted, beside.trusted))
        )
        together = float(((correct - correct.mean()) * (same - same.mean())).mean())
        weight = min(1.0, max(0.0, together / max(float(same.var()), 1 / count)))
        agreed -= weight * same_rows
        correct -= weight * same
        of_rows = float(agreed.var()) / len(given)
    error = np.sqrt(max(float(correct.var()), 1 / count) / count + of_rows)
    return float(min(1.0, abs(correct.mean() - agreed.mean()) + error))


def usefulness(unseen: Unseen) -> float:
    """Return how well views tell the classes of trusted samples apart, in standard errors.

    A view's probabilities of each class are ranked among the trusted samples. The ranks that their
    right classes get, added up over the views, are held against those that they would get were the
    labels dealt out at random (mean and variance: W. Hoeffding, "A combinatorial central limit
    theorem", Annals of Mathematical Statistics 1951). Nothing is fitted, so 50 samples tell.
    """
    labels = unseen.trusted_labels
    count, classes = unseen.views[0].trusted.shape
    ranks = np.zeros((count, classes))
    for view in unseen.views:
        ranks += rankdata(view.trusted, axis=0)
    shares = np.bincount(labels, minlength=classes) / count
    expected = ranks @ shares
    apart = ranks - ranks.mean(axis=0) - (expected - expected.mean())[:, None]
    variance = count / (count - 1) * float(shares @ (apart**2).sum(axis=0))
    found = pick(ranks, labels).sum() - expected.sum()
    return float(found / np.sqrt(variance)) if variance > 0 else 0.0


def unlikeness(view: View, seed: int = 0) -> tuple[float, float]:
    """Compare what unseen predictions look like on rows and on trusted samples.

    No given label enters, so that wrong ones cannot make the two differ.

    Returns
    -------
    p-value, and the share by which they differ
    """
    p_classes, differ = classes_differ(view, seed)
    sureness = ks_2samp(_some(view, seed).max(axis=1), view.trusted.max(axis=1))
    return min(1.0, 2 * min(p_classes, float(sureness.pvalue))), max(
        differ, float(sureness.statistic)
    )


def classes_differ(view: View, seed: int = 0) -> tuple[float, float]:
    """Compare how often each class is predicted for rows and for trusted samples.

    Returns
    -------
    p-value, and the share by which they differ
    """
    classes = view.rows.shape[1]
    counts = np.stack(
        [
            np.bincount(table.argmax(axis=1), minlength=classes)
            for table in (_some(view, seed), view.trusted)
        ]
    )
    counts = counts[:, counts.sum(axis=0) > 0]
    if counts.shape[1] < 2:
        return 1.0, 0.0
    shares = counts / counts.sum(axis=1, keepdims=True)
    p_value = float(chi2_contingency(counts, correction=False).pvalue)
    return p_value, float(np.abs(shares[0] - shares[1]).sum() / 2)


def _some(view: View, seed: int) -> Table:
    count = min(len(view.rows), MOST_COMPARED)
    chosen = np.random.default_rng(seed).choice(len(view.rows), count, replace=False)
    return np.asarray(view.rows[np.sort(chosen)])


def doubts_about_two(
    given: Labels, second: Unseen, first_rate: Interval, second_rate: Interval, seed: int = 0
) -> Doubts | None:
    """Check whether a judgement by references and one by unseen views agree.

    Parameters
    ----------
    given : int64 `[sampled rows]`
    second : Unseen
        Of these rows.
    first_rate, second_rate : Interval
        What either found.
    seed : int
        Of the draws behind the checks.

    Returns
    -------
    None where the views say nothing: they are no better than guessing, rows and trusted samples are
    not alike to them, or they hold most labels for wrong.
    """
    if not may_be_heard(second, second_rate, seed):
        return None
    view = second.views[0]
    low, high = min(first_rate.low, second_rate.low), max(first_rate.high, second_rate.high)
    beyond = agrees_beyond(given, view, second.trusted_labels)
    if beyond > 0:
        least = least_wrong(given, view, second.trusted_labels)
        return Doubts((_by_a_rule(least, beyond),), least, max(high, beyond))
    if second_rate.low <= first_rate.high and first_rate.low <= second_rate.high:
        return Doubts()
    return Doubts(
        (
            f"two independent ways to judge disagree: {first_rate.low:.1%} to "
            f"{first_rate.high:.1%} of the labels are wrong by what the model learned again, "
            f"{second_rate.low:.1%} to {second_rate.high:.1%} by {view.name}",
        ),
        low,
        high,
    )


def may_be_heard(second: Unseen, rate: Interval, seed: int = 0) -> bool:
    """Tell whether a second opinion says anything of the labels; see `doubts_about_two`."""
    # Not how sure they are: trusted samples are judged by probes of slightly fewer of their kind.
    differ = classes_differ(second.views[0], seed)
    alike = differ[0] >= UNLIKE or differ[1] < UNLIKE_BY
    return alike and rate.estimate <= MOST_BELIEVED and usefulness(second) > USEFUL


def _by_a_rule(least: float, beyond: float) -> str:
    if least == 0:
        return (
            f"unseen predictions agree with at least {beyond:.1%} more of the given labels than "
            "they get right among trusted samples: either labels err in a way that can be learned, "
            "as if by a rule, or the trusted samples are of other classes than the rows"
        )
    return (
        f"at least {least:.1%} of the given labels differ from what trusted samples say, and "
        "in a way that can be learned, as if by a rule; how many more do cannot be told"
    )


def doubts_about_references(
    references: References | None, rate: Interval, trusted: int = 0
) -> Doubts:
    """Check what a judgement by references rests on.

    Parameters
    ----------
    references : References or None
        None or too few: rates rest on assumptions.
    rate : Interval
        What was found.
    trusted : int
        How many trusted samples there are beside references.
    """
    if references is None or not references.are_enough:
        trusted = max(trusted, 0 if references is None else len(references.planted))
        return replace(too_few(trusted, FEWEST_TRUSTED), flags_hold=rate.estimate <= MOST_BELIEVED)
    given = np.asarray(references.given_labels)
    against = -np.log(pick(np.maximum(references.mirrored, 1e-12), given))
    found = mannwhitneyu(
        against[references.planted], against[~references.planted], alternative="greater"
    )
    if found.pvalue > 1 - CONFIDENCE:
        return Doubts(
            (
                "after it learned again, the model finds wrong labels of trusted samples no less "
                "plausible than right ones",
            ),
            flags_hold=False,
        )
    if rate.estimate > MOST_BELIEVED:
        return Doubts((CONTRADICTED,), flags_hold=False)
    return Doubts()
