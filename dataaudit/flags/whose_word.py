"""Whose word counts about the labels: that of models fitted without them, or of the mirror.

The mirror knows the labels that it judges. It is asked where a model cannot be fitted anew cheaply,
with a second opinion beside it; where that shows that the model has learned wrong labels as if they
were right, the second opinion judges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.flags.class_shares import taken_for_usual, unaccounted_class
from dataaudit.flags.inputs import LabelledRows, References, SecondOpinion, Unseen
from dataaudit.flags.label_doubts import (
    FEWEST_TRUSTED,
    Doubts,
    contradicts,
    doubts_about,
    doubts_about_references,
    doubts_about_two,
    may_be_heard,
    may_be_wrong,
    not_excluded,
    taught_errors,
    too_few,
)
from dataaudit.flags.label_errors import LabelJudgement, judge_labels
from dataaudit.flags.probabilities import Labels
from dataaudit.flags.results import Interval
from dataaudit.flags.tables import FlagSettings
from dataaudit.flags.unseen_labels import judge_assumed, judge_unseen

REDRAWS_OF_SECOND = 20
FEWEST_HEARD_ALONE = 200
"""With fewer trusted samples, what was fitted to them alone is too weak to judge by itself."""
SEES_MOST = 0.5
"""A network that holds so much of what the second opinion flags for wrong has not learned it."""
TAUGHT_ERRORS = (
    "models fitted to the rows agree with more of their labels than trusted samples account for, "
    "as where labels err by a rule; so only models fitted to trusted samples alone were heard"
)
LEARNED_ERRORS = (
    "the model has learned wrong labels as if they were right, as where labels err by a rule, and "
    "finds nothing wrong with them; so simple models of what it saw before training, each fitted "
    "without the row, judged the labels"
)


@dataclass(frozen=True)
class Verdict:
    """What is thought of the labels, and on whose word.

    Attributes
    ----------
    judgement : LabelJudgement
    doubts : Doubts
        What the judgement rests on, and does not hold.
    method : str
        The paragraph of the report; empty where the mirror judged.
    notes : sequence of str
        Why others were not heard.
    """

    judgement: LabelJudgement
    doubts: Doubts
    method: str = ""
    notes: Sequence[str] = ()


def judged(
    rows: LabelledRows,
    references: References | None,
    settings: FlagSettings,
    groups: Sequence[NDArray[np.bool_]],
) -> Verdict:
    """Judge the labels by what was fitted without them, or else by the models that know them.

    Parameters
    ----------
    rows : LabelledRows
    references : References or None
    settings : FlagSettings
    groups : sequence of bool `[rows]`
        Sets of rows to estimate the rate of wrong labels for.
    """
    wishes: dict[str, Any] = {
        "target_precision": settings.target_precision,
        "budget": settings.budget,
        "further": groups,
        "seed": settings.seed,
    }
    if rows.crosswise is not None:
        return _by_unseen(rows, rows.crosswise, wishes)
    judgement = judge_labels(
        rows.labels, rows.familiar, rows.mirrored, references, unseen=rows.unseen, **wishes
    )
    doubts = doubts_about_references(references, judgement.noise_rate, rows.trusted)
    second = rows.second_opinion
    if second is None or doubts.reasons:
        return Verdict(judgement, doubts)
    given, seed = rows.labels[second.positions], settings.seed
    # Whether what it finds may be chance is asked by `contradicts`, and again where it judges.
    found = judge_unseen(
        given, second.unseen, repeats=REDRAWS_OF_SECOND, seed=seed, hold_back=False
    )
    if _has_learned_errors(judgement, found, given, second, seed):
        return _by_unseen(rows, second.whole(), wishes)
    return Verdict(*_heard(judgement, given, second.unseen, found.noise_rate, seed))


def _by_unseen(rows: LabelledRows, unseen: Unseen, wishes: dict[str, Any]) -> Verdict:
    """Let those judge that were fitted without the labels: the model itself, or else probes."""
    fitted_anew, trusted = rows.crosswise is not None, len(unseen.trusted_labels)
    if trusted < FEWEST_TRUSTED:
        judgement = judge_assumed(rows.labels, unseen.views[0].rows, **wishes)
        method = _method(unseen, judgement, fitted_anew=fitted_anew)
        return Verdict(judgement, too_few(trusted, FEWEST_TRUSTED), method)
    heard = _without_taught(unseen, rows.labels)
    judgement = judge_unseen(rows.labels, heard, **wishes)
    high = may_be_wrong(rows.labels, unseen, bool(judgement.flagged.any()))
    if not fitted_anew:
        high = max(high, _not_excluded(rows.labels, unseen))
    judgement, seed, right = _raised(judgement, high), wishes["seed"], unseen.trusted_labels
    doubts = doubts_about(rows.labels, unseen, judgement.noise_rate, seed, as_sure=fitted_anew)
    if not doubts.reasons:
        doubts = _class_doubts(rows.classes, right, judgement, seed)
    notes = [*judgement.notes] if fitted_anew else [LEARNED_ERRORS, *judgement.notes]
    if fitted_anew and len(heard.views) < len(unseen.views):
        notes.append(TAUGHT_ERRORS)
    return Verdict(judgement, doubts, _method(heard, judgement, fitted_anew=fitted_anew), notes)


def _has_learned_errors(
    first: LabelJudgement, found: LabelJudgement, given: Labels, second: SecondOpinion, seed: int
) -> bool:
    """Tell whether a network has learned wrong labels as if they were right, as errors by a rule.

    Then it brings them back as soon as right ones when it learns again, as nothing that references
    show: these err at random. What no label has touched finds them, by their kind; or the labels
    have taught it, too, and what was fitted to trusted samples alone is left. Where the model sees
    most of what the second opinion flags, the two differ in how many more there are.

    Parameters
    ----------
    first : LabelJudgement
        Of all rows, by the model that learned again.
    found : LabelJudgement
        Of the sampled rows, by the second opinion.
    given : int64 `[sampled rows]`
    second : SecondOpinion
    seed : int
    """
    unseen, flagged = second.unseen, second.positions[found.flagged]
    if len(unseen.trusted_labels) < FEWEST_HEARD_ALONE:
        return False
    if not may_be_heard(unseen, found.noise_rate, seed):
        return False
    if len(flagged) and first.probability[flagged].mean() >= SEES_MOST:
        return False
    finds_more = found.noise_rate.low > first.noise_rate.high and contradicts(given, unseen)
    return finds_more or taught_errors(given, unseen)


def _class_doubts(
    classes: Sequence[str | int], right: Labels, judgement: LabelJudgement, seed: int
) -> Doubts:
    """Check that the rows are of the same classes as trusted samples, wrong labels put right."""
    rate, expected = judgement.noise_rate, judgement.noise_table.sum(axis=0)
    found = unaccounted_class(expected, right, rate.high - rate.estimate, seed)
    usual = taken_for_usual(judgement.noise_table, right)
    if found is None and usual is not None:
        return Doubts(
            (
                f"nearly all labels that were found wrong are {str(classes[usual])!r}, the "
                "usual class, in the place of another: what is missed in this way is missed most "
                "where no model sees it, so that how many are cannot be told",
            ),
            rate.low,
        )
    if found is None:
        return Doubts()
    worst, of_trusted, of_rows = found
    return Doubts(
        (
            f"{of_trusted:.1%} of the trusted samples are of the class "
            f"{str(classes[worst])!r}, but {of_rows:.1%} of the rows, the labels that were "
            "found wrong put right: either the two were not drawn alike, or labels are wrong where "
            "no model sees it",
        )
    )


def _without_taught(unseen: Unseen, labels: Labels) -> Unseen:
    """Return the views but those that given labels have taught errors."""
    enough = len(unseen.trusted_labels) >= FEWEST_HEARD_ALONE
    if not enough or not taught_errors(labels, unseen):
        return unseen
    return replace(unseen, views=[view for view in unseen.views if view.alone])


def _heard(
    judgement: LabelJudgement, given: Labels, second: Unseen, found: Interval, seed: int
) -> tuple[LabelJudgement, Doubts]:
    """Let the interval span what a second opinion holds possible; two that disagree are a doubt."""
    first = judgement.noise_rate
    doubts = doubts_about_two(given, second, first, found, seed)
    high = max(first.high, _not_excluded(given, second))
    if doubts is None:
        return _raised(judgement, high), Doubts()
    high = max(high, found.high)
    return _raised(judgement, high), replace(doubts, most=max(doubts.most, high))


def _raised(judgement: LabelJudgement, high: float) -> LabelJudgement:
    """Let so many labels be possibly wrong; of each class and group as many more, spread evenly."""
    rate = judgement.noise_rate
    if high <= rate.high:
        return judgement

    def raised(part: Interval) -> Interval:
        return Interval(part.estimate, part.low, min(1.0, part.high + high - rate.high))

    whole = Interval(rate.estimate, rate.low, high)
    return replace(judgement, noise_rate=whole).with_parts(raised)


def _not_excluded(given: Labels, unseen: Unseen) -> float:
    """Return the share of given labels of which one view or another cannot say they are right."""
    return max(not_excluded(given, view, unseen.trusted_labels) for view in unseen.views)


def _method(unseen: Unseen, judgement: LabelJudgement, *, fitted_anew: bool) -> str:
    """Return the paragraph of the report that says how labels were judged."""
    views = "; ".join(view.name for view in unseen.views)
    basis = (
        f"{judgement.reference_rows} trusted samples, treated just as the rows, set how far each "
        "view is believed; how labels go wrong (alike for all classes, by class, or where the "
        "class is in doubt) was fitted to the rows"
        if judgement.reference_rows
        else "there were too few trusted samples to measure against, so the probabilities rest on "
        "assumptions"
    )
    how = (
        "The model was fitted anew, crosswise: each label is judged by models that have not seen it"
        if fitted_anew
        else "The model brings wrong labels back when it learns again, as if they were right. So "
        "linear probes were fitted crosswise to what it saw before training: each label is judged "
        "by probes that have not seen it. Losses after learning again are the model's"
    )
    return f"{how} ({views}). The score is the log odds that the given label is wrong; {basis}."
