"""Sentences about single rows and pairs, made from what the page shows of them."""

from __future__ import annotations

from collections.abc import Sequence

from dataaudit.report import formats
from dataaudit.report.data import NO_LABEL, FlaggedRow, LeakPair, Sample

KIND_TITLES = {
    "exact": "exact copy",
    "near": "near copy",
    "near, no influence seen": "near copy",
    "influence only": "linked by the model only",
    "none": "no clear match",
}


def reason_of(row: FlaggedRow) -> str:
    """Return in one sentence why the label of a row is doubted.

    It counts the trusted samples most alike, whatever their labels are; where there are none, it
    says what the model takes the row for.
    """
    given, suggested = formats.label(row.given_label), formats.label(row.suggested_label)
    if row.note:
        return row.note
    if row.look_alikes:
        return _look_alikes(row.look_alikes, given, suggested)
    if row.likeliest:
        first = row.likeliest[0]
        return (
            f"The model, taught again by the trusted samples, takes it for "
            f"“{formats.label(first.label)}” ({formats.percent(first.probability)})."
        )
    return ""


def kind_title(pair: LeakPair, suspect: Sample | None, row: Sample | None) -> str:
    """Return the kind of a pair in words that fit what the page shows of it.

    The audit takes texts for the same up to case and punctuation, and pictures for the same at the
    size at which it compares them.
    """
    if pair.kind == "exact" and suspect is not None and row is not None:
        if suspect.text != row.text:
            return "same text but for case or punctuation"
        if suspect.image != row.image:
            return "same picture, stored differently"
    return KIND_TITLES[pair.kind]


def difference_note(pair: LeakPair, suspect: Sample | None, row: Sample | None) -> str:
    """Return in words what the two samples of a pair have in common and what not.

    Where the audit found them identical, a difference in what is shown of them is said, too.
    """
    if suspect is None or row is None:
        return "Left out, to keep this file small."
    labels = (
        "the evaluation sample has no label"
        if suspect.label == NO_LABEL
        else "the training row has no label"
        if row.label == NO_LABEL
        else f"their labels differ: “{suspect.label}” and “{row.label}”"
        if suspect.label != row.label
        else f"both are labelled “{row.label}”"
    )
    if pair.kind == "exact":
        return f"The same content; {labels}."
    if pair.kind == "influence only":
        return f"They do not look alike, but the model gives them away; {labels}."
    return f"Alike, not the same; {labels}."


def _look_alikes(look_alikes: Sequence[str], given: str, suggested: str) -> str:
    total = len(look_alikes)
    for_suggested, for_given = look_alikes.count(suggested), look_alikes.count(given)
    ones = "look-alike" if total == 1 else "look-alikes"
    if not for_suggested and not for_given:
        others = " and ".join(f"“{label}”" for label in dict.fromkeys(look_alikes))
        return (
            f"None of {total} trusted {ones} is “{suggested}” or “{given}”; "
            f"{'it is' if total == 1 else 'they are'} {others}."
        )
    sentence = (
        f"{for_suggested or 'None'} of {total} trusted {ones} "
        f"{'is' if for_suggested <= 1 else 'are'} “{suggested}”"
    )
    if for_given:
        sentence += f", {for_given} {'is' if for_given == 1 else 'are'} “{given}” as given"
    return sentence + "."
