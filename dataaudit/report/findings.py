"""The findings in words: what a manager reads, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence

from dataaudit.report import formats
from dataaudit.report.data import (
    CheckSection,
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
    "near, no influence seen": ("near copy", "near copies"),
    "influence only": ("linked by the model only", "linked by the model only"),
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
    tracing: Tracing | None,
    checks: Sequence[CheckSection],
) -> list[Finding]:
    """Return the three findings that matter most."""
    if tracing is not None:
        return [_tracing_finding(tracing), _coverage_finding(coverage)]
    findings = [
        _label_finding(labels, contradictions(leakage)),
        _leakage_finding(leakage),
        *_contradiction_finding(contradictions(leakage)),
        *_check_findings(checks),
        *_pattern_findings(labels),
    ]
    if labels is not None or leakage is not None:
        findings.append(_coverage_finding(coverage))
    return most_important(findings)


def kinds_in_words(kinds: Sequence[KindCount]) -> str:
    """Return counts of kinds as a phrase: `12 exact copies and 1 near copy`."""
    totals: dict[tuple[str, str], int] = {}
    for item in kinds:
        words = KIND_WORDS[item.kind]
        totals[words] = totals.get(words, 0) + item.suspects
    parts = [f"{formats.count(count)} {words[count != 1]}" for words, count in totals.items()]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _tracing_finding(tracing: Tracing) -> Finding:
    queries = formats.rows(tracing.queries, "generated sample")
    if not tracing.can_tell:
        return Finding(
            title="Rows are ranked; which of them stand out beyond chance cannot be told",
            text=f"The rows that {queries} {'owes' if tracing.queries == 1 else 'owe'} most to "
            "are listed, best first. There were too few unrelated samples to compare them with "
            "(more rows, held_out samples or a larger trace.calibration would do), so that none "
            "is flagged.",
            section="tracing",
            severity="notable",
        )
    if not tracing.queries_flagged:
        return Finding(
            title="Rows are ranked; no single one stands out beyond chance",
            text=f"The rows that {queries} {'owes' if tracing.queries == 1 else 'owe'} most to "
            "are listed, best first. None moves more than rows do under unrelated samples, at a "
            f"false discovery rate of {formats.set_percent(tracing.false_discovery_rate)}.",
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


def contradictions(leakage: Leakage | None) -> int:
    """Return how many pairs of training rows have the same content and two labels."""
    if leakage is None:
        return 0
    return len(leakage.disagreeing_rows) + leakage.disagreeing_rows_left_out


def _contradiction_finding(pairs: int) -> list[Finding]:
    if not pairs:
        return []
    return [
        Finding(
            title=f"{formats.rows(pairs, 'pair')} of training rows "
            f"{'has' if pairs == 1 else 'have'} the same content and two labels",
            text="One label of each pair is wrong, whatever the estimates say.",
            section="leakage",
            severity="serious",
        )
    ]


def _check_findings(checks: Sequence[CheckSection]) -> list[Finding]:
    """Return a finding for each check that is serious, and one for all others."""
    found = [check for check in checks if check.outcome == "found"]
    findings = [
        Finding(title=check.title, text=check.text, section="checks", severity="serious")
        for check in found
        if check.serious
    ]
    others = [check for check in found if not check.serious]
    if others:
        names = ", ".join(check.title[:1].lower() + check.title[1:] for check in others)
        findings.append(
            Finding(
                title=f"{formats.rows(len(others), 'further check')} found something",
                text=f"{names[:1].upper()}{names[1:]}.",
                section="checks",
                severity="notable",
            )
        )
    return findings


def _label_finding(labels: LabelFindings | None, pairs: int) -> Finding:
    if labels is None:
        return Finding(
            title="Label errors were not looked for",
            text="That needs the trained model, and trusted held-out samples to check labels "
            "against.",
            section="labels",
            severity="notable",
        )
    if labels.outcome == "cannot tell":
        return Finding(
            title="How many training labels are wrong cannot be told",
            text=formats.sentences(labels.reasons),
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
            title="No training label stands out as wrong"
            + (" beside the pairs with two labels" if pairs else ""),
            text=f"None of {formats.rows(labels.rows_scored)} reaches a probability of "
            f"{threshold}. The share of wrong labels is estimated at "
            f"{formats.percent(labels.noise_rate.estimate)} "
            f"(95% interval {formats.share_interval(labels.noise_rate)}).",
            section="labels",
            severity="clear",
        )
    if formats.may_be_all(labels.noise_rate):
        # What is flagged is found; the estimate stands for the errors that can be seen alone.
        least = labels.noise_rate.low
        return Finding(
            title=f"At least {formats.percent(least)} of the training labels are wrong"
            if least > 0
            else f"{formats.rows(labels.rows_flagged)} with a doubtful label",
            text=f"{flagged} {formats.sentences(labels.reasons[1:])}".rstrip(),
            section="labels",
            severity="serious" if least >= SERIOUS_NOISE_RATE else "notable",
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
            text="That needs suspects: samples, such as the public test set, that must not be in "
            "the training set.",
            section="leakage",
            severity="notable",
        )
    if leakage.outcome == "cannot tell":
        return Finding(
            title="Whether evaluation samples leaked cannot be told",
            text=formats.sentences(leakage.reasons),
            section="leakage",
            severity="notable",
        )
    if not leakage.suspects_flagged:
        return Finding(
            title="No evaluation sample was taken for a leak",
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
    words.append(formats.sentences(leakage.reasons[1:]))
    return Finding(
        title=leaks_in_words(leakage),
        text=" ".join(word for word in (*words, _metric_sentence(leakage)) if word),
        section="leakage",
        severity="serious",
    )


def leaks_in_words(leakage: Leakage) -> str:
    """Say how many samples are in the training set, too, and how many only resemble a row of it."""
    same = leakage.exact_copies
    alike = leakage.suspects_flagged - same
    samples = formats.rows(leakage.suspects, "evaluation sample")
    resemble = f"{'resembles' if alike == 1 else 'resemble'} a training row"
    if not same:
        return f"{formats.count(alike)} of {samples} {resemble}"
    same_as = "is also a training row" if same == 1 else "are also training rows"
    title = f"{formats.count(same)} of {samples} {same_as}"
    return f"{title}, {formats.count(alike)} more {resemble}" if alike else title


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
    if labels is None or not labels.rows_flagged or labels.outcome == "cannot tell":
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
    if missed:
        return Finding(
            title="The audit did not see everything",
            text=f"{formats.rows(missed)} {'was' if missed == 1 else 'were'} set aside.",
            section="evidence",
            severity="notable",
        )
    return Finding(
        title="Every row was looked at",
        text="No row was left out.",
        section="evidence",
        severity="clear",
    )
