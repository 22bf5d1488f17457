"""The findings in words: what a manager reads, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dataaudit.about import NOT_PROVIDED, About
from dataaudit.report import formats
from dataaudit.report.data import (
    BudgetPoint,
    ClassNoise,
    Coverage,
    Finding,
    Gate,
    KindCount,
    LabelFindings,
    Leakage,
    Tracing,
    Verdict,
    most_important,
)

SERIOUS_NOISE_RATE = 0.01
"""From one wrong label in a hundred on, label noise leads the findings even without a gate."""
FEW_FLAGGED = 0.02
"""Below this share of flagged rows, and below a serious noise rate, little was found."""
KIND_WORDS = {
    "exact": ("exact copy", "exact copies"),
    "near": ("near copy", "near copies"),
    "near, no influence seen": (
        "near copy whose influence does not exceed a look-alike's",
        "near copies whose influence does not exceed a look-alike's",
    ),
    "influence only": ("linked by influence only", "linked by influence only"),
    "none": ("without a clear match", "without a clear match"),
}


def build_verdict(gates: Sequence[Gate]) -> Verdict:
    """Return the outcome against the gates, with its headline."""
    outcomes = [gate.outcome for gate in gates]
    limits = formats.rows(len(gates), "limit")
    if not gates:
        return Verdict(outcome="no gates", headline="No limits were set for this audit", gates=[])
    if broken := outcomes.count("not met"):
        headline = f"{broken} of {limits} exceeded"
        return Verdict(outcome="failed", headline=headline, gates=list(gates))
    if open_ones := outcomes.count("cannot tell"):
        headline = f"Cannot tell whether {open_ones} of {limits} is met"
        if open_ones > 1:
            headline = f"Cannot tell whether {open_ones} of {limits} are met"
        return Verdict(outcome="cannot tell", headline=headline, gates=list(gates))
    headline = "Within its limit" if len(gates) == 1 else f"Within all {len(gates)} limits"
    return Verdict(outcome="passed", headline=headline, gates=list(gates))


def build_findings(
    labels: LabelFindings | None,
    leakage: Leakage | None,
    coverage: Coverage,
    tracing: Tracing | None = None,
) -> list[Finding]:
    """Return the three findings that matter most."""
    if tracing is not None:
        return [_tracing_finding(tracing), _coverage_finding(coverage)]
    findings = [
        _label_finding(labels),
        _leakage_finding(leakage),
        *_pattern_findings(labels),
    ]
    if labels is not None or leakage is not None:
        findings.append(_coverage_finding(coverage))
    return most_important(findings)


def build_next_steps(
    labels: LabelFindings | None,
    leakage: Leakage | None,
    about: About,
    tracing: Tracing | None = None,
) -> list[str]:
    """Return what to do next, the most useful step first."""
    steps = []
    if tracing is not None:
        steps.append(
            "Read the rows behind what should not have been generated; correct or remove them, "
            "retrain, and trace again."
        )
    elif leakage is None:
        steps.append(
            "Give the samples the model is evaluated on as suspects, so that leaks can be found."
        )
    elif leakage.suspects_flagged:
        copies = formats.rows(leakage.suspects_flagged, "leaked sample")
        step = f"Take the {copies} out of the evaluation set, or their partners out of training"
        if leakage.metric_clean is not None:
            clean = formats.metric(leakage.metric_clean.estimate)
            step += f", and report {leakage.metric_name} as {clean}"
        steps.append(step + ".")
    if labels is None and tracing is None:
        steps.append("Give trusted held-out samples, so that label errors can be found.")
    elif labels is not None and labels.rows_flagged:
        steps.extend(_review_steps(labels))
    missing = sum(value == NOT_PROVIDED for value in about.model_dump().values())
    if missing:
        steps.append(
            f"Complete the description of the data set: {missing} of "
            f"{len(About.model_fields)} facts that only people can supply are missing."
        )
    if (labels and labels.rows_flagged) or (leakage and leakage.suspects_flagged):
        steps.append("Correct, retrain, and audit again with the same settings.")
    return steps


def expected_found(points: Sequence[BudgetPoint], budget: int) -> float:
    """Return how many wrong labels the first `budget` rows are expected to hold."""
    return float(
        np.interp(
            budget,
            [0, *(point.budget for point in points)],
            [0, *(point.expected_found for point in points)],
        )
    )


def kinds_in_words(kinds: Sequence[KindCount]) -> str:
    """Return counts of kinds as a phrase: `12 exact copies and 1 near copy`."""
    parts = [
        f"{formats.count(item.suspects)} {KIND_WORDS[item.kind][item.suspects != 1]}"
        for item in kinds
    ]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _tracing_finding(tracing: Tracing) -> Finding:
    queries = formats.rows(tracing.queries, "generated sample")
    if not tracing.queries_flagged:
        return Finding(
            title="No generated sample stands out as owed to single training rows",
            text=f"None of {queries} moves a training row more than unrelated samples do, at a "
            f"false discovery rate of {formats.set_percent(tracing.false_discovery_rate)}. The "
            "rows that react most are listed all the same.",
            section="tracing",
            severity="clear",
        )
    return Finding(
        title=f"{formats.count(tracing.queries_flagged)} of {queries} traced to training rows",
        text="Their best rows react far more than to unrelated samples. At most "
        f"{formats.set_percent(tracing.false_discovery_rate)} of these are expected to be chance.",
        section="tracing",
        severity="notable",
    )


def _label_finding(labels: LabelFindings | None) -> Finding:
    if labels is None:
        return Finding(
            title="Label errors were not looked for",
            text="No trusted held-out samples were given, and they are what a label is "
            "checked against.",
            section="labels",
            severity="notable",
        )
    if labels.outcome == "cannot tell":
        return Finding(
            title="How many training labels are wrong cannot be told",
            text=_as_sentences(labels.reasons),
            section="labels",
            severity="notable",
        )
    threshold = formats.set_percent(labels.probability_threshold)
    flagged = (
        f"{formats.rows(labels.rows_flagged)} "
        f"{'is' if labels.rows_flagged == 1 else 'are'} flagged, with a probability of "
        f"{threshold} or more that the label is wrong."
    )
    if labels.noise_rate is None or labels.expected_wrong_rows is None:
        return Finding(
            title=f"{formats.rows(labels.rows_flagged)} with a doubtful label",
            text=flagged,
            section="labels",
            severity="notable" if labels.rows_flagged else "clear",
        )
    if labels.outcome == "clear":
        return Finding(
            title="No training label stands out as wrong",
            text=f"None of {formats.rows(labels.rows_scored)} reaches a probability of "
            f"{threshold}. The share of wrong labels is estimated at "
            f"{formats.percent(labels.noise_rate.estimate)} "
            f"(95% interval {formats.share_interval(labels.noise_rate)}).",
            section="labels",
            severity="clear",
        )
    serious = labels.noise_rate.estimate >= SERIOUS_NOISE_RATE
    if not serious and labels.rows_flagged < FEW_FLAGGED * labels.rows_scored:
        return Finding(
            title="Few training labels stand out as wrong",
            text=f"Little was found: of {formats.rows(labels.rows_scored)}, {flagged} "
            "The share of wrong labels is estimated at "
            f"{formats.percent(labels.noise_rate.estimate)} "
            f"(95% interval {formats.share_interval(labels.noise_rate)}).",
            section="labels",
            severity="notable",
        )
    return Finding(
        title=f"About {formats.percent(labels.noise_rate.estimate)} of the training labels "
        "are wrong",
        text=f"That is about {formats.count(labels.expected_wrong_rows)} of "
        f"{formats.rows(labels.rows_scored)} (95% interval "
        f"{formats.share_interval(labels.noise_rate)}). {flagged}",
        section="labels",
        severity="serious" if serious else "notable",
    )


def _leakage_finding(leakage: Leakage | None) -> Finding:
    if leakage is None:
        return Finding(
            title="Leaks were not looked for",
            text="No suspects were given: samples, such as the public test set, that must not "
            "stand in the training set.",
            section="leakage",
            severity="notable",
        )
    if leakage.outcome == "cannot tell":
        return Finding(
            title="Whether evaluation samples leaked cannot be told",
            text=_as_sentences(leakage.reasons),
            section="leakage",
            severity="notable",
        )
    if not leakage.suspects_flagged:
        return Finding(
            title="No evaluation sample was found in the training set",
            text=f"{formats.rows(leakage.suspects, 'suspect')} compared with every training row, "
            f"at a false discovery rate of {formats.set_percent(leakage.false_discovery_rate)}.",
            section="leakage",
            severity="clear",
        )
    words = [f"{kinds_in_words(leakage.kinds)}."]
    if leakage.exact_copies and leakage.rows_repeated:
        words.append(
            f"{formats.rows(leakage.rows_repeated, 'training row')} "
            f"{'is' if leakage.rows_repeated == 1 else 'are'} identical to another one, too."
        )
    # The first reason is the number that the title states.
    words.append(_as_sentences(leakage.reasons[1:]))
    return Finding(
        title=leaks_in_words(leakage),
        text=" ".join(word for word in (*words, _metric_sentence(leakage)) if word),
        section="leakage",
        severity="serious",
    )


def leaks_in_words(leakage: Leakage) -> str:
    """Say how many samples stand in the training set, and how many only resemble a row of it."""
    same = leakage.exact_copies
    alike = leakage.suspects_flagged - same
    samples = formats.rows(leakage.suspects, "evaluation sample")
    resemble = f"{'resembles' if alike == 1 else 'resemble'} a training row"
    if not same:
        return f"{formats.count(alike)} of {samples} {resemble}"
    stand = f"also {'stands' if same == 1 else 'stand'} in the training set"
    title = f"{formats.count(same)} of {samples} {stand}"
    return f"{title}, {formats.count(alike)} more {resemble}" if alike else title


def _as_sentences(reasons: Sequence[str]) -> str:
    """Return reasons, which begin in lower case and have no full stop, as running text."""
    return " ".join(f"{reason[:1].upper()}{reason[1:]}." for reason in reasons)


def _metric_sentence(leakage: Leakage) -> str:
    everything, clean, difference = (
        leakage.metric_all,
        leakage.metric_clean,
        leakage.metric_difference,
    )
    if everything is None or clean is None:
        return ""
    sentence = (
        f"Without them {leakage.metric_name} is {formats.metric(clean.estimate)} "
        f"instead of {formats.metric(everything.estimate)}"
    )
    if difference is not None and difference.low <= 0 <= difference.high:
        return sentence + ", a difference that chance alone could make."
    return sentence + "."


def _pattern_findings(labels: LabelFindings | None) -> list[Finding]:
    """Return what the errors have in common: one kind of confusion, or one class."""
    if labels is None or not labels.rows_flagged:
        return []
    findings = []
    worst = worst_class(labels)
    if worst is not None and worst.noise_rate is not None and labels.noise_rate is not None:
        findings.append(
            Finding(
                title=f"Labels of class “{formats.label(worst.label)}” are worse than the rest",
                text=f"{formats.percent(worst.noise_rate.estimate)} of its "
                f"{formats.rows(worst.rows)} are estimated wrong (95% interval "
                f"{formats.share_interval(worst.noise_rate)}), against "
                f"{formats.percent(labels.noise_rate.estimate)} overall.",
                section="labels",
                severity="notable",
            )
        )
    if labels.confusions and round(labels.confusions[0].rows) > 1:
        most = labels.confusions[0]
        findings.append(
            Finding(
                title=f"The most frequent error: “{formats.label(most.true)}” labelled "
                f"“{formats.label(most.given)}”",
                text=f"About {formats.rows(most.rows)} labelled “{formats.label(most.given)}” "
                f"are expected to be “{formats.label(most.true)}”.",
                section="labels",
                severity="notable",
            )
        )
    return findings


def worst_class(labels: LabelFindings) -> ClassNoise | None:
    """Return the class whose noise lies surely above the overall rate, None if none does."""
    if labels.noise_rate is None:
        return None
    above = [
        item
        for item in labels.per_class
        if item.noise_rate is not None and item.noise_rate.low > labels.noise_rate.high
    ]
    return (
        max(above, key=lambda item: item.noise_rate.estimate if item.noise_rate else 0.0)
        if (above)
        else None
    )


def _coverage_finding(coverage: Coverage) -> Finding:
    missed = coverage.rows_not_scored + coverage.suspects_not_scored
    if missed or coverage.failed_batches:
        return Finding(
            title="The audit did not see everything",
            text=f"{formats.rows(missed)} not scored, "
            f"{formats.rows(coverage.failed_batches, 'batch').replace('batchs', 'batches')} "
            "failed.",
            section="evidence",
            severity="notable",
        )
    return Finding(
        title="Every row was looked at",
        text="No row was left out, no batch failed.",
        section="evidence",
        severity="clear",
    )


def _review_steps(labels: LabelFindings) -> list[str]:
    flagged = labels.rows_flagged
    step = f"Review the {formats.rows(flagged, 'flagged row')}, the most suspicious first"
    if labels.expected_precision:
        found = expected_found(labels.expected_precision, flagged)
        step += f": about {formats.count(found)} of them are expected to be wrong"
        if flagged >= 200:
            short = expected_found(labels.expected_precision, 100)
            step += f" (of the first 100, about {formats.count(short)})"
    steps = [step + "."]
    if labels.confusions and round(labels.confusions[0].rows) > 1:
        most = labels.confusions[0]
        steps.append(
            f"Look at the labelling instructions for “{formats.label(most.given)}” and "
            f"“{formats.label(most.true)}”."
        )
    return steps
