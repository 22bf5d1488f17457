"""How clean suspects score: a null distribution, learned from calibration suspects.

The null is "this suspect is as alike to the training rows as one training row is to the others":
training rows matched against the rest of the training set (leaving themselves out), or trusted
samples, are the calibration suspects. Real training sets hold duplicates of their own; near ones
are cut out of the calibration set first, since they would hide the leaks that look like them.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import fisher_exact

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

TAIL_START, TAIL_END = 0.70, 0.99
"""The tail is fitted between these quantiles of the calibration scores."""
DUPLICATE_SHARES = np.arange(0, 0.0501, 0.0025)
"""Shares of duplicates among the calibration suspects that the fit considers."""
EXCEEDANCES_NEEDED = 10
"""A p-value is counted where this many calibration suspects score as high, fitted beyond."""
FURTHEST_EXTRAPOLATION = 1 / 50
"""The fitted tail is believed down to this share of the smallest p-value that counting gives."""


@dataclass(frozen=True)
class Tail:
    """How many clean suspects score x or more, fitted so that it can be read beyond the sample.

    ln(share) = level + slope d + curve d**2, where d = x - start. `duplicates` is the share of
    calibration suspects that the fit took for duplicates instead.
    """

    start: float
    level: float
    slope: float
    curve: float
    duplicates: float

    def share_above(self, scores: ArrayLike) -> FloatArray:
        """Return the share of clean suspects that score as high; at most 1."""
        distance = np.maximum(np.asarray(scores, np.float64) - self.start, 0.0)
        log_share = self.level + self.slope * distance + self.curve * distance**2
        return np.asarray(np.exp(np.minimum(log_share, 0.0)))


@dataclass(frozen=True)
class Null:
    """The distribution of a score over clean suspects.

    `calibration` holds the sorted scores kept; `excluded` [calibration suspects given] is true
    where one was cut out as a duplicate itself. Without a `tail`, p-values are counted only.
    """

    calibration: FloatArray
    excluded: BoolArray
    tail: Tail | None

    @property
    def resolution(self) -> float:
        """The smallest p-value that rests on counting alone."""
        return 1.0 / (len(self.calibration) + 1)


def fit_null(
    calibration: ArrayLike, trusted: bool = False, level: float = 0.10, cut_share: float = 1.0
) -> Null:
    """Learn how clean suspects score.

    Parameters
    ----------
    calibration : `[calibration suspects]`
        Largest score of each.
    trusted : bool
        The calibration suspects are known to be clean; none is cut out.
    level : float
        The false discovery rate at which calibration suspects count as duplicates.
    cut_share : float
        The share of those duplicates to cut out, the most extreme first.

    Raises
    ------
    ValueError
        There are fewer than 20 finite scores.
    """
    given = np.asarray(calibration, np.float64)
    usable = np.isfinite(given)
    if given.ndim != 1 or usable.sum() < 20:
        raise ValueError(f"calibration: expected at least 20 finite scores, found {usable.sum()}")
    ordered = np.sort(given[usable])
    excluded = ~usable
    tail = fit_tail(ordered, DUPLICATE_SHARES[:1] if trusted else DUPLICATE_SHARES)
    if not trusted:
        duplicate = np.zeros(len(given), bool)
        duplicate[usable] = benjamini_hochberg(tail.share_above(given[usable]), level)
        return _cut(given, duplicate, tail, cut_share)
    return Null(np.sort(given[~excluded]), excluded, tail)


def _cut(given: FloatArray, duplicate: BoolArray, tail: Tail | None, share: float) -> Null:
    """Return the null without that share of the duplicates, the most extreme first."""
    excluded = ~np.isfinite(given)
    ranked = np.argsort(-np.where(duplicate, given, -np.inf), kind="stable")
    excluded[ranked[: round(share * int(duplicate.sum()))]] = True
    return Null(np.sort(given[~excluded]), excluded, tail)


def choose_null(calibration: ArrayLike, scores: ArrayLike, level: float) -> tuple[Null, str]:
    """Decide how many duplicates to cut out of the calibration set, and say why in words.

    None, if suspects are no more often duplicates than calibration suspects are (Fisher's exact
    test at 5 %): whatever repeats itself in this data set is then no evidence of a leak. Else as
    few as possible, the most extreme first, as long as at least 95 % of the suspects are flagged
    that would be flagged with all of them cut out.

    Parameters
    ----------
    calibration, scores : `[calibration suspects]`, `[suspects]`
        Largest score of each.
    level : float
        The false discovery rate for suspects.
    """
    full = fit_null(calibration)
    given = np.asarray(calibration, np.float64)
    duplicate = full.excluded & np.isfinite(given)
    if not duplicate.any():
        return full, "no duplicates among the calibration samples"
    values = np.asarray(scores, np.float64)
    flagged = benjamini_hochberg(p_values(full, values), level)
    none_cut = _cut(given, duplicate, full.tail, 0.0)
    finite = given[np.isfinite(given)]
    edge = values[flagged].min() if flagged.any() else np.inf
    alike = int((finite >= edge).sum())
    counts = [[int(flagged.sum()), int((~flagged).sum())], [alike, len(finite) - alike]]
    if fisher_exact(counts, alternative="greater").pvalue > 0.05:
        return none_cut, (
            f"{int(flagged.sum())} of {len(values)} suspects are alike to a training row, no more "
            f"often than calibration samples ({alike} of {len(finite)}): not counted as leaks"
        )
    for share in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        null = _cut(given, duplicate, full.tail, share)
        found = benjamini_hochberg(p_values(null, values), level).sum()
        if found >= 0.95 * flagged.sum():
            break
    else:
        null = full
    return null, (
        f"{len(finite) - len(null.calibration)} of {len(finite)} calibration samples repeat "
        "training rows and were left out of the calibration"
    )


def p_values(null: Null, scores: ArrayLike) -> FloatArray:
    """Return the probability that a clean suspect scores as high, in (0, 1].

    Counted against the calibration suspects (a conformal p-value, valid in finite samples:
    V. Vovk et al., "Algorithmic learning in a random world", 2005) where at least ten of them
    score as high; beyond that from the fitted tail, since counting cannot go below
    1 / (calibration + 1) (compare T. Knijnenburg et al., "Fewer permutations, more accurate
    P-values", Bioinformatics 2009).
    """
    values = np.asarray(scores, np.float64)
    total = len(null.calibration)
    above = total - np.searchsorted(null.calibration, values, "left")
    counted = (1.0 + above) / (total + 1.0)
    edge = (1.0 + min(EXCEEDANCES_NEEDED, total)) / (total + 1.0)
    if null.tail is None:
        return np.where(np.isnan(values), 1.0, counted)
    lowest = FURTHEST_EXTRAPOLATION * null.resolution
    beyond = np.clip(null.tail.share_above(values), lowest, edge)
    p = np.where(above >= min(EXCEEDANCES_NEEDED, total), counted, beyond)
    return np.where(np.isnan(values), 1.0, p)


def fit_tail(ordered: FloatArray, duplicate_shares: FloatArray) -> Tail:
    """Fit a two-group model to the share of scores above x: duplicates + (1 - duplicates) clean(x).

    Duplicates are taken to score above the fitted range, so they add a constant; the log of the
    clean share is a parabola, exact for exponential and close for normal tails, and a straight
    line where it would bend upward. The share of duplicates is the one that fits best (weighted
    least squares); the smallest unless a larger one fits at least 2 % better. The two-group view
    is that of B. Efron, "Large-scale inference" (2010), chapter 6.

    Parameters
    ----------
    ordered : `[scores]`
        Ascending.
    duplicate_shares : `[candidates]`
        Ascending.
    """
    total = len(ordered)
    first = int(TAIL_START * total)
    position = np.arange(first, max(int(TAIL_END * total), first + 2))
    share = (total - position - 0.5) / total
    start, distance = float(ordered[first]), ordered[position] - ordered[first]
    if np.ptp(distance) <= 1e-12:
        return Tail(start, 0.0, -1e12, 0.0, 0.0)
    best, smallest_loss = Tail(start, 0.0, 0.0, 0.0, 0.0), np.inf
    for duplicates in duplicate_shares:
        usable = share - duplicates > max(0.004, 5 / total) * (duplicates > 0)
        # Of one and the same score there is no slope.
        if usable.sum() < 5 or np.ptp(distance[usable]) <= 1e-12:
            continue
        tail = _fit_clean_tail(start, distance[usable], share[usable], float(duplicates))
        fitted = duplicates + (1 - duplicates) * tail.share_above(start + distance)
        loss = float(((share - fitted) ** 2 / (share * (1 - share))).mean())
        if loss < 0.98 * smallest_loss:
            best, smallest_loss = tail, loss
    return best


def _fit_clean_tail(
    start: float, distance: FloatArray, share: FloatArray, duplicates: float
) -> Tail:
    clean = share - duplicates
    log_share = np.log(clean / (1 - duplicates))
    weight = clean / np.sqrt(share * (1 - share))
    # On a scale of its own, so that large and small scores are fitted equally well.
    scale = float(distance.max())
    curve = 1.0
    with warnings.catch_warnings():
        # Where points nearly coincide, the line through them is as good as any.
        warnings.simplefilter("ignore", np.exceptions.RankWarning)
        if len(np.unique(distance)) > 2:
            curve, slope, level = np.polyfit(distance / scale, log_share, 2, w=weight)
            curve, slope = curve / scale**2, slope / scale
        if curve > 0:
            slope, level = np.polyfit(distance / scale, log_share, 1, w=weight)
            curve, slope = 0.0, slope / scale
    return Tail(start, float(level), float(min(slope, 0.0)), float(curve), duplicates)


def benjamini_hochberg(p: ArrayLike, level: float) -> BoolArray:
    """Return which hypotheses to reject so that the false discovery rate stays below `level`.

    Y. Benjamini and Y. Hochberg, "Controlling the false discovery rate", JRSS B 1995. Conformal
    p-values share their calibration set; the bound holds all the same (S. Bates et al.,
    "Testing for outliers with conformal p-values", Annals of Statistics 2023).
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    below = values[order] <= level * np.arange(1, len(values) + 1) / max(len(values), 1)
    flagged = np.zeros(len(values), bool)
    if below.any():
        flagged[order[: int(np.flatnonzero(below)[-1]) + 1]] = True
    return flagged
