"""How far mirrored influence can be trusted, in a plain sentence."""

from __future__ import annotations

from collections.abc import Sequence

from dataaudit.report import formats
from dataaudit.report.data import Estimate
from dataaudit.studies.verification.data import MirrorAgreement, Trust

STRONG, FAIR, WEAK = 0.8, 0.5, 0.2
"""Least Spearman correlations for these words."""


def conclusion(agreements: Sequence[MirrorAgreement]) -> tuple[Trust, str]:
    """Return how far mirrored influence can be trusted, and the sentence that says so.

    The mirror in question is the one that can be afforded: steps on queries among training rows.
    It is judged by the weakest test that leaves no easy way: random groups, which hold wrong
    labels in equal shares; and by the lower end of the interval, not by the estimate.
    """
    mirrored = {item.design: item for item in agreements if item.mirror == "rehearsed"}
    random = mirrored["random"].spearman
    if random is None:
        return "none", (
            "Nothing can be said: leaving groups of rows out, or learning the samples, changed "
            "nothing measurable."
        )
    trust: Trust = (
        "strong"
        if random.low >= STRONG
        else "fair"
        if random.low >= FAIR
        else "weak"
        if random.low >= WEAK
        else "none"
    )
    said = {
        "strong": "Influence ranks groups of rows here almost as training again does",
        "fair": "Influence is a fair guide here to which rows matter for which held-out samples",
        "weak": "Influence is a weak hint here: use it to choose what to look at, and "
        "draw no conclusion about single rows from it",
        "none": "Influence did not show here which of several like groups of rows matters for "
        "which held-out samples",
    }[trust]
    graded = mirrored["graded"].spearman
    text = f"{said} (Spearman over random groups {_interval(random)}"
    if graded is not None:
        text += f"; over groups from the most helpful to the most harmful {_interval(graded)}"
    return trust, f"{text}).{_noise(mirrored['random'])}"


def _noise(random: MirrorAgreement) -> str:
    if random.ceiling is None or random.ceiling >= FAIR:
        return ""
    return (
        " Training again is itself so noisy here that no prediction could reach more than about "
        f"{formats.number(random.ceiling)} over random groups: ask for more repeats or larger "
        "groups before you blame influence."
    )


def _interval(estimate: Estimate) -> str:
    return (
        f"{estimate.estimate:.2f}, 95% interval {estimate.low:.2f} to {estimate.high:.2f}"
    ).replace("-", "−")
