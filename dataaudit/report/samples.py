"""The samples that the page shows, kept within a budget of bytes.

A page that embeds everything cannot be opened. Samples are stored once, however many rows refer
to them, and what does not fit is left out and counted, least important last.
"""

from __future__ import annotations

from dataaudit.evidence import Exhibit
from dataaudit.report.data import Reference, Role, Sample, SampleId, sample_key

ROLES: dict[str, Role] = {"train": "train", "held_out": "held_out", "suspects": "suspects"}


def plain_id(value: object) -> SampleId:
    """Return an id as JSON has it; NumPy's integers become Python's."""
    item = getattr(value, "item", None)
    plain = item() if callable(item) else value
    return plain if isinstance(plain, int) else clean_text(str(plain))


def clean_text(text: str) -> str:
    """Return the text without lone surrogates, which JSON files may carry and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


class SamplePool:
    """Samples taken in until a budget of characters is spent.

    Parameters
    ----------
    budget : int
        Characters of JSON that all samples together may take.
    """

    def __init__(self, budget: int) -> None:
        self.samples: dict[str, Sample] = {}
        self._left = budget

    def add(self, exhibit: Exhibit) -> str | None:
        """Take in a sample and return its key, or None where the budget does not allow it."""
        sample_id = plain_id(exhibit.sample_id)
        key = sample_key(exhibit.role, sample_id)
        if key in self.samples:
            return key
        sample = Sample(
            sample_id=sample_id,
            role=ROLES[exhibit.role],
            label=clean_text(exhibit.label),
            text=None if exhibit.text is None else clean_text(exhibit.text),
            image=exhibit.image,
            fields={clean_text(k): clean_text(v) for k, v in exhibit.fields.items()},
        )
        cost = len(sample.model_dump_json())
        if cost > self._left:
            return None
        self._left -= cost
        self.samples[key] = sample
        return key

    def refer(self, exhibits: list[Exhibit]) -> list[Reference]:
        """Take in several samples as evidence; those that do not fit are left out."""
        references = []
        for exhibit in exhibits:
            key = self.add(exhibit)
            if key is not None:
                references.append(Reference(sample=key, note=clean_text(exhibit.note)))
        return references
