"""What to do next, the most useful step first, and how far each step has come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dataaudit.about import NOT_PROVIDED, About
from dataaudit.report import formats
from dataaudit.report.data import (
    AuditReport,
    BudgetPoint,
    Decision,
    Drawn,
    LabelFindings,
    Leakage,
    ReviewedSample,
    Tracing,
)
from dataaudit.report.flagged_words import wrong_of_flagged
from dataaudit.report.interpolation import expected_found, rows_to_find

CORRECTING = ("relabel", "drop")


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes
    ----------
    kind : str
        `rows`, `twins`, `leaks`, or what else it is about.
    text : str
        In the imperative.
    target : str
        Where on the page it is done; empty where it is done elsewhere.
    done : bool
    state : str
        How far it has come, in words; empty where nothing was done yet.
    """

    kind: str
    text: str
    target: str
    done: bool = False
    state: str = ""


def build_steps(
    labels: LabelFindings | None,
    leakage: Leakage | None,
    about: About,
    tracing: Tracing | None,
    decisions: Sequence[Decision],
    drawn: Drawn | None,
    reviewed: ReviewedSample | None,
) -> list[Step]:
    """Return the steps, those first that a reviewer can take on the page."""
    steps = _sample_steps(drawn, reviewed, decisions)
    if tracing is not None:
        steps.append(
            Step(
                "tracing",
                "Read the rows behind what should not have been generated; correct or remove "
                "them, retrain, and trace again.",
                "#tracing",
            )
        )
    elif labels is None:
        steps.append(
            Step(
                "held_out",
                "Give the trained model and trusted held-out samples, so that label errors can be "
                "found.",
                "",
            )
        )
    else:
        steps += _label_steps(labels, decisions)
    steps += _twin_steps(leakage, decisions)
    if tracing is None:
        steps += _leak_steps(leakage, decisions)
    if labels is not None and labels.confusions and round(labels.confusions[0].rows) > 1:
        most = labels.confusions[0]
        steps.append(
            Step(
                "instructions",
                f"Look at the labelling instructions for “{formats.label(most.given)}” and "
                f"“{formats.label(most.true)}”.",
                "",
            )
        )
    facts = about.model_dump().values()
    missing = sum(value == NOT_PROVIDED for value in facts)
    if missing:
        steps.append(
            Step("facts", f"Say what is missing: {missing} of {len(facts)} facts.", "#people")
        )
    if (labels and labels.rows_flagged) or (leakage and leakage.suspects_flagged):
        steps.append(Step("again", "Correct, retrain, and audit again with the same settings.", ""))
    return steps


def open_steps(report: AuditReport) -> list[str]:
    """Return the steps that are left to do, in words."""
    steps = build_steps(
        report.labels,
        report.leakage,
        report.identity.about,
        report.tracing,
        report.remediation,
        report.drawn,
        report.reviewed_sample,
    )
    return [step.text for step in steps if not step.done]


def decided_rows(decisions: Sequence[Decision]) -> dict[str, str]:
    """Return the decision about each row, by id as text; to be unsure gives way to any other."""
    return _by_id(decisions, "label")


def decided_leaks(decisions: Sequence[Decision]) -> dict[str, str]:
    """Return the decision about each suspect, by id as text."""
    return _by_id(decisions, "leak")


def _by_id(decisions: Sequence[Decision], what: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in decisions:
        if item.what == what and found.get(str(item.row_id), "unsure") == "unsure":
            found[str(item.row_id)] = item.decision
    return found


def progress_words(labels: LabelFindings, decisions: Sequence[Decision]) -> tuple[int, str]:
    """Return how many flagged rows on the page were decided, and that in words."""
    known = decided_rows(decisions)
    verdicts = [known.get(str(row.row_id)) for row in labels.rows if row.flagged]
    done = sum(verdict is not None for verdict in verdicts)
    corrected = sum(verdict in CORRECTING for verdict in verdicts)
    if not done:
        return 0, ""
    return done, (
        f"{formats.count(done)} of {formats.count(labels.rows_flagged)} decided, "
        f"{formats.count(corrected)} corrected"
    )


def leak_progress_words(leakage: Leakage, decisions: Sequence[Decision]) -> tuple[int, str]:
    """Return how many leaked suspects were decided, and that in words."""
    known = decided_leaks(decisions)
    suspects = dict.fromkeys(str(pair.query_id) for pair in leakage.pairs)
    done = [known[suspect] for suspect in suspects if suspect in known]
    if not done:
        return 0, ""
    return len(done), (
        f"{formats.count(len(done))} of {formats.count(leakage.suspects_flagged)} decided, "
        f"{formats.rows(done.count('copy'), 'copy', 'copies')}"
    )


def _sample_steps(
    drawn: Drawn | None, reviewed: ReviewedSample | None, decisions: Sequence[Decision]
) -> list[Step]:
    if drawn is None:
        return []
    ids = [str(row_id) for part in drawn.parts for row_id in part.drawn]
    done = len(decided_rows(decisions).keys() & set(ids))
    if reviewed is not None and reviewed.seed == drawn.seed:
        # `estimate` takes decisions that are not logged.
        done = max(done, reviewed.reviewed + reviewed.unsure)
    return [
        Step(
            "sample",
            f"Decide {formats.rows(len(ids))} drawn at random: they tell how many labels are "
            "wrong, whatever the model says.",
            "#decide&show=drawn",
            done >= len(ids),
            f"{formats.count(done)} of {formats.count(len(ids))} decided" if done else "",
        )
    ]


def _label_steps(labels: LabelFindings, decisions: Sequence[Decision]) -> list[Step]:
    flagged = labels.rows_flagged
    if not flagged:
        return []
    text, left = f"Decide {formats.rows(flagged)}", ""
    if labels.expected_precision:
        text += f": {wrong_of_flagged(labels)} will be wrong"
        text += _of_the_first(labels.expected_precision, flagged)
        left = _left_below(labels.expected_precision, flagged)
    done, state = progress_words(labels, decisions)
    return [Step("rows", f"{text}.{left}", "#decide", done >= flagged, state)]


def _of_the_first(points: Sequence[BudgetPoint], flagged: int) -> str:
    if flagged < 200:
        return ""
    return f" (of the first 100, about {formats.count(expected_found(points, 100))})"


def _left_below(points: Sequence[BudgetPoint], flagged: int) -> str:
    """Return what the flagged rows leave: how many errors, and where half of them are."""
    found = expected_found(points, flagged)
    left = points[-1].expected_found - found
    # As the reader subtracts: both numbers stand on the page, rounded.
    told = round(points[-1].expected_found) - round(found)
    if left < 1 or told < 1:
        return ""
    further = rows_to_find(points, found + left / 2) - flagged
    return (
        f" About {formats.count(told)} more are expected below the line, half of them in the next "
        f"{formats.rows(round(further))}."
    )


def _twin_steps(leakage: Leakage | None, decisions: Sequence[Decision]) -> list[Step]:
    if leakage is None or not leakage.disagreeing_rows:
        return []
    known = decided_rows(decisions)
    pairs = leakage.disagreeing_rows
    settled = sum(str(pair.row_id) in known and str(pair.other_row_id) in known for pair in pairs)
    total = len(pairs) + leakage.disagreeing_rows_left_out
    return [
        Step(
            "twins",
            f"Settle {formats.rows(total, 'pair')} of rows with the same content and two labels.",
            "#decide&what=twins",
            settled >= total,
            f"{formats.count(settled)} of {formats.count(total)} settled" if settled else "",
        )
    ]


def _leak_steps(leakage: Leakage | None, decisions: Sequence[Decision]) -> list[Step]:
    if leakage is None:
        return [
            Step(
                "suspects",
                "Give the samples the model is evaluated on as suspects, so that leaks can be "
                "found.",
                "",
            )
        ]
    if not leakage.suspects_flagged:
        return []
    done, state = leak_progress_words(leakage, decisions)
    text = f"Decide {formats.rows(leakage.suspects_flagged, 'leak')}, and take the copies out"
    text += " of the evaluation set"
    if leakage.metric_clean is not None:
        clean = formats.metric(leakage.metric_clean.estimate)
        text += f"; without them {leakage.metric_name} is {clean}"
    return [Step("leaks", text + ".", "#decide&what=leak", done >= leakage.suspects_flagged, state)]
