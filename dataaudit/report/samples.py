"""The samples that the page shows, kept within a budget of bytes.

A page that embeds everything cannot be opened. Samples are stored once, however many rows refer
to them, and what does not fit is left out and counted, least important last.
"""

from __future__ import annotations

from dataaudit.report.data import Reference, Role, Sample, SampleId, sample_key
from dataaudit.report.evidence import Exhibit
from dataaudit.report.page_data import compact_sample, island

REFERENCE_BYTES = 12
ROLES: dict[str, Role] = {"train": "train", "held_out": "held_out", "suspects": "suspects"}


def plain_id(value: object) -> SampleId:
    """Return an id as JSON has it; NumPy's integers become Python's."""
    item = getattr(value, "item", None)
    plain = item() if callable(item) else value
    return plain if isinstance(plain, int) else clean_text(str(plain))


def clean_text(text: str) -> str:
    """Return the text without lone surrogates, which JSON files may carry and UTF-8 cannot."""
    # Most text is, and a page has a million of them.
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode("utf-8")


class SamplePool:
    """Samples taken in until a budget of bytes is spent.

    Parameters
    ----------
    budget : int
        Bytes that all samples, and what refers to them, may take on the page.
    pictures : int
        Bytes that pictures larger than thumbnails may take beyond that.
    """

    def __init__(self, budget: int, pictures: int = 0) -> None:
        self.samples: dict[str, Sample] = {}
        self._budget = self._left = budget
        self._pictures = self._pictures_left = pictures
        self._notes: set[str] = set()

    @property
    def spent(self) -> int:
        """Bytes taken off the budget so far."""
        return self._budget - self._left

    @property
    def spent_on_pictures(self) -> int:
        """Bytes that pictures larger than thumbnails have taken."""
        return self._pictures - self._pictures_left

    def reserve(self, size: int) -> None:
        """Take bytes off the budget for what must stand on the page in any case."""
        self._left -= size

    def add(self, exhibit: Exhibit) -> str | None:
        """Take in a sample and return its key, or None where the budget does not allow it."""
        sample_id = plain_id(exhibit.sample_id)
        key = sample_key(exhibit.role, sample_id)
        if key in self.samples:
            return key
        large = len(exhibit.picture or "")
        enlarged = 0 < large <= self._pictures_left
        sample = Sample(
            sample_id=sample_id,
            role=ROLES[exhibit.role],
            label=clean_text(exhibit.label),
            text=None if exhibit.text is None else clean_text(exhibit.text),
            image=exhibit.picture if enlarged else exhibit.image,
            fields={clean_text(k): clean_text(v) for k, v in exhibit.fields.items()},
        )
        cost = len(island(compact_sample(sample)).encode()) - (large if enlarged else 0)
        if cost > self._left:
            return None
        self._left -= cost
        if enlarged:
            self._pictures_left -= large
        self.samples[key] = sample
        return key

    def refer(self, exhibits: list[Exhibit]) -> list[Reference]:
        """Take in several samples as evidence; those that do not fit are left out."""
        references = []
        for exhibit in exhibits:
            key = self.add(exhibit)
            if key is not None:
                note = clean_text(exhibit.note)
                self.reserve(REFERENCE_BYTES + (0 if note in self._notes else len(island(note))))
                self._notes.add(note)
                references.append(Reference(sample=key, note=note))
        return references
