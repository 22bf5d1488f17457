"""Whether another process, perhaps on another machine, sees the same folder: proven, not assumed.

A folder of the same name on another machine may be another folder. So one process lays down a
file that only it can have made, the other says what is in it and lays an answer beside it, and the
first looks for that.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from dataaudit.run_directory.atomic import temporary_beside, write_atomically


@dataclass(frozen=True)
class Token:
    """A file that proves that a folder is the same one.

    Attributes
    ----------
    path : Path
    content : str
        Random.
    """

    path: Path
    content: str

    @classmethod
    def lay(cls, folder: Path) -> Token:
        """Lay a token into a folder, which is made where it is missing.

        Raises
        ------
        OSError
            It cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        token = cls(temporary_beside(folder / "token"), secrets.token_hex(16))
        write_atomically(token.path, token._fill)
        return token

    def is_here(self) -> bool:
        """Tell whether this process sees the token."""
        try:
            return self.path.read_text(encoding="ascii") == self.content
        except OSError:
            return False

    def answer(self) -> Path | None:
        """Lay an answer beside the token, and return it; None where that cannot be done."""
        answer = temporary_beside(self.path)
        try:
            if self.is_here():
                write_atomically(answer, self._fill)
                return answer
        except OSError:
            # The folder may be one to read only.
            pass
        return None

    def is_answered(self, answer: Path | None) -> bool:
        """Tell whether the answer of another process is here, and remove it."""
        if answer is None or not Token(answer, self.content).is_here():
            return False
        answer.unlink()
        return True

    def remove(self) -> None:
        """Take the token away."""
        self.path.unlink(missing_ok=True)

    def _fill(self, path: Path) -> None:
        path.write_text(self.content, encoding="ascii")
