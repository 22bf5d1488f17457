"""Mislabel flags: the judgement of every given label, as the tables that people work with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.flags.flagged_precision import carried_over
from dataaudit.flags.inputs import LabelledRows, References
from dataaudit.flags.label_doubts import Doubts
from dataaudit.flags.label_errors import LabelJudgement, ranks
from dataaudit.flags.parts import Parts
from dataaudit.flags.probabilities import Labels, Table, Values, pick, row_blocks
from dataaudit.flags.results import Interval, MislabelFlags
from dataaudit.flags.tables import DEFAULTS, FlagSettings, flagged_table, flags_of, largest_groups
from dataaudit.flags.whose_word import judged
from dataaudit.storage.on_disk import Growing

SMALLEST = 1e-12
MOST_NAMED = 5
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
    verdict = judged(rows, references, settings, list(groups.values()))
    doubts = verdict.doubts
    judgement = verdict.judgement.with_parts(doubts.applied_to_part)
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
    return replace(
        flags,
        noise_table=noise_table,
        noise_rate=doubts.applied(judgement.noise_rate),
        doubts=doubts.reasons,
        untold=[*_untold(judgement, titles), *verdict.notes],
        method=verdict.method or flags.method,
        # Where it is in doubt how many of all rows are wrong, that is no bound.
        precision_flagged=judgement.precision_flagged
        if doubts.reasons
        else flags.precision_flagged,
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
