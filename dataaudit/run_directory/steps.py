"""Finished steps of an audit, kept so that an interrupted audit goes on where it stopped.

A step is one file: a line that names its kind, its checksum and what it was made from (its tie),
then the content. It is renamed into place when it is complete. A step that is cut short, damaged
or made from something else is taken for missing, with a note; it is then made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dataaudit.errors import writing
from dataaudit.run_directory.atomic import remove, write_atomically

ENDING = ".step"
_KIND = "dataaudit-step-1"


@dataclass(frozen=True)
class Steps:
    """The finished steps in a folder.

    Attributes
    ----------
    folder : Path
        Created with the first step.
    tie : str
        Hash of all that the steps are made from; steps with another tie are not used.
    notes : list of str
        What had to be made again, for the report; shared by all folders of an audit.
    """

    folder: Path
    tie: str
    notes: list[str] = field(default_factory=list)

    def within(self, name: str, made_from: str) -> Steps:
        """Return the steps of a folder inside, made from all this and `made_from` besides."""
        tie = hashlib.sha256(f"{self.tie} {name} {made_from}".encode()).hexdigest()
        return Steps(self.folder / name, tie, self.notes)

    def write(self, name: str, content: bytes) -> None:
        """Store a finished step.

        Raises
        ------
        RunDirectoryError
            It cannot be written: a full disk, say.
        """
        checksum = hashlib.sha256(content).hexdigest()
        header = f"{_KIND} {checksum} {self._tie_of(name)}\n".encode("ascii")
        target = self._path(name)

        def fill(path: Path) -> None:
            with path.open("wb") as file:
                file.write(header)
                file.write(content)

        with writing(target):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(target, fill)

    def read(self, name: str) -> bytes | None:
        """Return the content of a step, or None where it has to be made."""
        path = self._path(name)
        try:
            header, _, content = path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            self.discard(name, f"cannot be read ({error.strerror})")
            return None
        kind, _, rest = header.decode("ascii", "replace").partition(" ")
        checksum, _, tie = rest.partition(" ")
        if kind != _KIND or hashlib.sha256(content).hexdigest() != checksum:
            self.discard(name, "is damaged")
            return None
        if tie != self._tie_of(name):
            self.discard(name, "was made from something else")
            return None
        return content

    def holds(self, name: str) -> bool:
        """Tell whether a step is there; it may turn out damaged."""
        return self._path(name).is_file()

    def discard(self, name: str, reason: str) -> None:
        """Remove a step that cannot be used, with a note."""
        path = self._path(name)
        self.notes.append(f"{path.parent.name}/{path.name} {reason}; it was made again")
        with writing(path, deed="removed"):
            remove(path)

    def names(self) -> Iterator[str]:
        """Yield the names of the steps that are there, sorted; they may turn out damaged."""
        for path in sorted(self.folder.glob(f"*{ENDING}")):
            yield path.name.removesuffix(ENDING)

    def _tie_of(self, name: str) -> str:
        # With its name, so that no step passes for another one.
        return hashlib.sha256(f"{self.tie} {name}".encode()).hexdigest()

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}{ENDING}"
