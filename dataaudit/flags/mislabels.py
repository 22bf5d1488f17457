"""Mislabel flags: the judgement of every given label, as the tables that people work with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.flags.class_shares import taken_for_usual, unaccounted_class
from dataaudit.flags.flagged_precision import carried_over
from dataaudit.flags.inputs import LabelledRows, References, SecondOpinion, Unseen
from dataaudit.flags.label_doubts import (
    FEWEST_TRUSTED,
    Doubts,
    doubts_about,
    doubts_about_references,
    doubts_about_two,
    may_be_wrong,
    not_excluded,
    taught_errors,
    too_few,
)
from dataaudit.flags.label_errors import LabelJudgement, judge_labels, ranks
from dataaudit.flags.parts import Parts
from dataaudit.flags.probabilities import Labels, Table, Values, pick, row_blocks
from dataaudit.flags.results import Interval, MislabelFlags
from dataaudit.flags.tables import DEFAULTS, FlagSettings, flagged_table, flags_of, largest_groups
from dataaudit.flags.unseen_labels import judge_assumed, judge_unseen
from dataaudit.storage.on_disk import Growing

SMALLEST = 1e-12
MOST_NAMED = 5
REDRAWS_OF_SECOND = 20
FEWEST_HEARD_ALONE = 200
"""With fewer trusted samples, what was fitted to them alone is too weak to judge by itself."""
TAUGHT_ERRORS = (
    "models fitted to the rows agree with more of their labels than trusted samples account for, "
    "as where labels err by a rule; so only models fitted to trusted samples alone were heard"
)
EVEN = 0.5
"""Probability of being wrong for each of two labels of the same content, at least."""


def flag_mislabels(
    rows: LabelledRows, references: References | None, settings: FlagSettings = DEFAULTS
) -> MislabelFlags:
    """Flag rows whose given label is probably wrong.

    Parameters
    ----------
    rows : LabelledRows
        Labels are int64 class indices `[rows]`, predictions are probabilities `[rows, C]`.
    references : References or None
    settings : FlagSettings
    """
    groups = largest_groups(settings.row_groups)
    judgement, doubts = _judged(rows, references, settings, list(groups.values()))
    judgement = _of_parts(judgement, doubts.applied_to_part)
    titles = [str(name) for name in rows.classes]
    parts = Parts(len(rows.labels), rows.labels, len(titles), list(groups.values()))
    if rows.contradicted is not None and rows.contradicted.any():
        judgement, doubts = _with_facts(judgement, doubts, rows.contradicted, parts, settings)
    if not doubts.flags_hold and settings.budget is None:
        facts = rows.contradicted
        flagged = np.zeros_like(judgement.flagged) if facts is None else facts
        judgement = _with_flags(judgement, flagged)
    suggested = rows.shown(judgement.suggested_label)
    table = flagged_table(rows.ids, rows.shown(rows.labels), suggested, judgement)
    flags = flags_of(
        table,
        _signals(rows.labels, rows.own, rows.mirrored),
        judgement,
        settings,
        titles,
        parts,
        judgement.noise_rate_per_class,
    )
    noise_table = pd.DataFrame(judgement.noise_table, index=titles, columns=titles)
    method, untold = flags.method, _untold(judgement, titles)
    if rows.crosswise is not None:
        heard = _heard_of(rows.crosswise, rows.labels)
        method = _method(heard, judgement)
        if len(heard.views) < len(rows.crosswise.views):
            untold.append(TAUGHT_ERRORS)
    return replace(
        flags,
        noise_table=noise_table,
        noise_rate=doubts.applied(judgement.noise_rate),
        doubts=doubts.reasons,
        untold=untold,
        method=method,
    )


def _untold(judgement: LabelJudgement, titles: Sequence[str]) -> list[str]:
    """Return a sentence about the classes whose wrong labels cannot be told, if there are any."""
    classes = [titles[label] for label in np.flatnonzero(judgement.untold).tolist()]
    if not classes:
        return []
    named = ", ".join(repr(title) for title in classes[:MOST_NAMED])
    more = f" and {len(classes) - MOST_NAMED} more" if len(classes) > MOST_NAMED else ""
    return [
        f"too few trusted samples, or rows, are of {named}{more} to tell how many labels of the "
        "kind are wrong; these rows are ranked by the model as it was trained"
    ]


def _judged(
    rows: LabelledRows,
    references: References | None,
    settings: FlagSettings,
    groups: Sequence[NDArray[np.bool_]],
) -> tuple[LabelJudgement, Doubts]:
    """Judge the labels by what was fitted without them, or else by the models that know them."""
    wishes: dict[str, Any] = {
        "target_precision": settings.target_precision,
        "budget": settings.budget,
        "further": groups,
        "seed": settings.seed,
    }
    if rows.crosswise is None:
        judgement = judge_labels(
            rows.labels, rows.familiar, rows.mirrored, references, unseen=rows.unseen, **wishes
        )
        doubts = doubts_about_references(references, judgement.noise_rate)
        if rows.second_opinion is None or doubts.reasons:
            return judgement, doubts
        return _heard(judgement, rows.labels, rows.second_opinion, settings.seed)
    trusted = len(rows.crosswise.trusted_labels)
    if trusted < FEWEST_TRUSTED:
        judgement = judge_assumed(rows.labels, rows.crosswise.views[0].rows, **wishes)
        return judgement, too_few(trusted, FEWEST_TRUSTED)
    judgement = judge_unseen(rows.labels, _heard_of(rows.crosswise, rows.labels), **wishes)
    flagged = bool(judgement.flagged.any())
    judgement = _raised(judgement, may_be_wrong(rows.labels, rows.crosswise, flagged))
    doubts = doubts_about(rows.labels, rows.crosswise, judgement.noise_rate, settings.seed)
    return judgement, doubts if doubts.reasons else _class_doubts(rows, judgement, settings.seed)


def _class_doubts(rows: LabelledRows, judgement: LabelJudgement, seed: int) -> Doubts:
    """Check that the rows are of the same classes as trusted samples, wrong labels put right."""
    assert rows.crosswise is not None
    rate, expected = judgement.noise_rate, judgement.noise_table.sum(axis=0)
    found = unaccounted_class(
        expected, rows.crosswise.trusted_labels, rate.high - rate.estimate, seed
    )
    usual = taken_for_usual(judgement.noise_table, rows.crosswise.trusted_labels)
    if found is None and usual is not None:
        return Doubts(
            (
                f"nearly all labels that were found wrong are {str(rows.classes[usual])!r}, the "
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
            f"{str(rows.classes[worst])!r}, but {of_rows:.1%} of the rows, the labels that were "
            "found wrong put right: either the two were not drawn alike, or labels are wrong where "
            "no model sees it",
        )
    )


def _heard_of(unseen: Unseen, labels: Labels) -> Unseen:
    """Return the views but those that given labels have taught errors."""
    enough = len(unseen.trusted_labels) >= FEWEST_HEARD_ALONE
    if not enough or not taught_errors(labels, unseen):
        return unseen
    return replace(unseen, views=[view for view in unseen.views if view.alone])


def _heard(
    judgement: LabelJudgement, labels: Labels, second: SecondOpinion, seed: int
) -> tuple[LabelJudgement, Doubts]:
    """Let the interval span what a second opinion holds possible; two that disagree are a doubt."""
    given = labels[second.positions]
    found = judge_unseen(given, second.unseen, repeats=REDRAWS_OF_SECOND, seed=seed).noise_rate
    first = judgement.noise_rate
    doubts = doubts_about_two(given, second.unseen, first, found, seed)
    views, right = second.unseen.views, second.unseen.trusted_labels
    high = max(first.high, *(not_excluded(given, view, right) for view in views))
    if doubts is not None:
        high = max(high, found.high)
    return _raised(judgement, high), doubts or Doubts()


def _raised(judgement: LabelJudgement, high: float) -> LabelJudgement:
    """Let so many labels be possibly wrong; of each class and group as many more, spread evenly."""
    rate = judgement.noise_rate
    if high <= rate.high:
        return judgement

    def raised(part: Interval) -> Interval:
        return Interval(part.estimate, part.low, min(1.0, part.high + high - rate.high))

    whole = Interval(rate.estimate, rate.low, high)
    return _of_parts(replace(judgement, noise_rate=whole), raised)


def _of_parts(judgement: LabelJudgement, changed: Callable[[Interval], Interval]) -> LabelJudgement:
    """Return the judgement with other rates of each class and group."""
    return replace(
        judgement,
        noise_rate_per_class=tuple(map(changed, judgement.noise_rate_per_class)),
        noise_rate_per_part=tuple(map(changed, judgement.noise_rate_per_part)),
    )


def _with_facts(
    judgement: LabelJudgement,
    doubts: Doubts,
    contradicted: NDArray[np.bool_],
    parts: Parts,
    settings: FlagSettings,
) -> tuple[LabelJudgement, Doubts]:
    """Count labels that identical rows contradict: of two labels, one at least is wrong."""
    probability, score = judgement.probability.copy(), judgement.score.copy()
    likely = probability >= EVEN
    raised = contradicted & ~likely
    probability[raised] = EVEN
    bound = score[likely].min() if likely.any() else score.max() + 1.0
    score[raised] = np.nextafter(bound, -np.inf) if likely.any() else bound
    rank = ranks(score)
    least, *shares = parts.means(contradicted).tolist()
    likely = probability >= settings.target_precision
    classes = len(judgement.noise_rate_per_class)
    judgement = replace(
        judgement,
        score=score,
        probability=probability,
        rank=rank,
        noise_rate=_at_least(judgement.noise_rate, least),
        noise_rate_per_class=tuple(
            map(_at_least, judgement.noise_rate_per_class, shares[:classes])
        ),
        noise_rate_per_part=tuple(map(_at_least, judgement.noise_rate_per_part, shares[classes:])),
    )
    judgement = _with_flags(
        judgement, likely if settings.budget is None else rank <= settings.budget
    )
    return judgement, replace(doubts, least=max(doubts.least, least))


def _at_least(rate: Interval, least: float) -> Interval:
    return Interval(max(rate.estimate, least), max(rate.low, least), max(rate.high, least))


def _with_flags(judgement: LabelJudgement, flagged: NDArray[np.bool_]) -> LabelJudgement:
    """Flag other rows; what is known of those that were flagged before is kept."""
    before, known = judgement.flagged, judgement.precision_flagged
    precision = carried_over(known, before, flagged, judgement.probability)
    return replace(judgement, flagged=flagged, precision_flagged=precision)


def _method(unseen: Unseen, judgement: LabelJudgement) -> str:
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
    return (
        "The model was fitted anew, crosswise: each label is judged by models that have not seen "
        f"it ({views}). The score is the log odds that the given label is wrong; {basis}."
    )


def _signals(
    given_labels: Labels, own_probabilities: Table, mirrored_probabilities: Table
) -> pd.DataFrame:
    """Return the parts, each with higher = more suspicious; losses in nats."""
    columns: dict[str, Growing] = defaultdict(Growing)
    for rows in row_blocks(*own_probabilities.shape):
        block = _signals_of_block(
            given_labels[rows], own_probabilities[rows], mirrored_probabilities[rows]
        )
        for name, values in block.items():
            columns[name].add(values)
    whole = {name: column.finished() for name, column in columns.items()}
    return pd.DataFrame(whole, copy=False)


def _signals_of_block(given: Labels, own: Table, mirrored: Table) -> dict[str, Values]:
    # Here, because cleanlab imports Hugging Face datasets where they are installed.
    from cleanlab.rank import get_label_quality_scores

    own_loss = -np.log(np.maximum(pick(own, given), SMALLEST))
    mirrored_loss = -np.log(np.maximum(pick(mirrored, given), SMALLEST))
    quality = get_label_quality_scores(given, _sums_to_one(mirrored), method="normalized_margin")
    return {
        "mirrored_influence": mirrored_loss - own_loss,
        "mirrored_loss": mirrored_loss,
        "loss": own_loss,
        "margin": -_margin(own, given),
        "cleanlab": 1 - quality,
    }


def _sums_to_one(probabilities: Table) -> NDArray[np.float64]:
    values = probabilities.astype(np.float64)
    return values / values.sum(axis=1, keepdims=True)


def _margin(probabilities: Table, labels: Labels) -> NDArray[np.float64]:
    """Return p(given) - the largest p of another class, `[rows]`, -1 to 1."""
    given = pick(probabilities, labels)
    others = probabilities.copy()
    others[np.arange(len(labels)), labels] = -1
    return np.asarray(given - others.max(axis=1), dtype=np.float64)
