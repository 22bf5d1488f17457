"""Members of a tar file, one after the other; nothing is ever extracted.

Only what a shard of samples needs is read: plain files, with names of the ustar, GNU and pax
formats. Links, devices, sparse files, absolute paths and paths that climb up are refused, and so is
an archive without an end, or with something behind it: rows would be missing without a word.
The headers are decoded by `tarfile`; what stands between them is bounded here, and a walk can begin
at any member, which `tarfile` has no public way to do.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from dataaudit.datasets.images import MOST_BYTES
from dataaudit.errors import DataError

EXTENDED_BYTES = 64 * 1024
"""A longer name or list of attributes is refused; paths end at 4,096 bytes."""

_BLOCK = tarfile.BLOCKSIZE
_LINKS = (tarfile.LNKTYPE, tarfile.SYMTYPE)
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_PIECE = 1024 * 1024


@dataclass(frozen=True)
class Member:
    """A plain file in an archive.

    Attributes
    ----------
    name : str
        Its path, parts joined by `/`.
    start : int
        Where its first header begins, in bytes; a walk can begin there.
    offset, size : int
        Where its content stands, in bytes.
    """

    name: str
    start: int
    offset: int
    size: int

    @property
    def stop(self) -> int:
        """Where the next member's first header may begin."""
        return self.offset + _padded(self.size)


def members(
    file: BinaryIO, length: int, where: str, start: int = 0, stop: int | None = None
) -> Iterator[Member]:
    """Yield the plain files of an archive, in its order.

    Whoever takes them may move `file` between two of them.

    Parameters
    ----------
    file : binary file
    length : int
        Its length in bytes.
    where : str
        What errors call it.
    start, stop : int, int or None
        Begin at this header and end before that one; without a `stop`, at the end of the archive,
        which has to be there.

    Raises
    ------
    DataError
        The archive is damaged or cut short, or holds something else than files and folders.
    """
    position = first = start
    name: str | None = None
    size: int | None = None
    while stop is None or position < stop:
        file.seek(position)
        header = _header(file.read(_BLOCK), position, where)
        if header is None:
            _refuse_more(file, position, where)
            return
        content = position + _BLOCK
        if header.type in (
            tarfile.XGLTYPE,
            *_PAX,
            tarfile.GNUTYPE_LONGNAME,
            tarfile.GNUTYPE_LONGLINK,
        ):
            extended = _extended(file, header, where, content)
            if header.type in _PAX:
                records = _pax_records(extended, position, where)
                name = _text(records[b"path"], where) if b"path" in records else name
                size = _whole(records[b"size"], position, where) if b"size" in records else size
            elif header.type == tarfile.XGLTYPE:
                if {b"path", b"size"} & _pax_records(extended, position, where).keys():
                    raise DataError(f"{where}: one header gives the path or size of all members")
            elif header.type == tarfile.GNUTYPE_LONGNAME:
                name = _text(extended.partition(b"\0")[0], where)
            position = content + _padded(header.size)
            continue
        path = _path(header.name if name is None else name, where)
        bytes_ = header.size if size is None else size
        if header.type == tarfile.DIRTYPE:
            bytes_ = 0
        else:
            _refuse_other_than_plain(header, path, where)
            if bytes_ > MOST_BYTES:
                raise DataError(
                    f"{where}: {path} has more than {MOST_BYTES // 2**20} MiB ({bytes_} bytes)"
                )
            if content + bytes_ > length:
                raise DataError(
                    f"{where}: is cut short: {path} announces {bytes_} bytes at {content}, the "
                    f"file ends at {length}"
                )
            yield Member(path, first, content, bytes_)
        position = first = content + _padded(bytes_)
        name = size = None


def _header(block: bytes, position: int, where: str) -> tarfile.TarInfo | None:
    """Return the header, or None at the mark that ends an archive."""
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        # tarfile has a class of errors for the end that it documents nowhere.
        if len(block) == _BLOCK and not any(block):
            return None
        if len(block) < _BLOCK:
            raise DataError(
                f"{where}: is cut short: it ends at {position + len(block)} without the mark that "
                "ends an archive"
            ) from error
        raise DataError(f"{where}: cannot be read as a tar file: at {position}: {error}") from error
    if header.size < 0:
        raise DataError(f"{where}: cannot be read as a tar file: at {position}: a negative size")
    return header


def _refuse_more(file: BinaryIO, position: int, where: str) -> None:
    file.seek(position)
    while piece := file.read(_PIECE):
        if piece.count(0) != len(piece):
            raise DataError(
                f"{where}: more stands behind the end of the archive at {position}; archives that "
                "were put together by cat are not read, tar --concatenate does it"
            )


def _extended(file: BinaryIO, header: tarfile.TarInfo, where: str, offset: int) -> bytes:
    if header.size > EXTENDED_BYTES:
        raise DataError(
            f"{where}: a name or attribute at {offset} has {header.size} bytes; expected at most "
            f"{EXTENDED_BYTES}"
        )
    content = file.read(header.size)
    if len(content) < header.size:
        raise DataError(f"{where}: is cut short: the file ends at {offset + len(content)}")
    return content


def _pax_records(content: bytes, position: int, where: str) -> dict[bytes, bytes]:
    """Return the records `LENGTH KEY=VALUE` of a pax header."""
    records = {}
    start = 0
    while start < len(content):
        digits, space, _ = content[start : start + 20].partition(b" ")
        length = int(digits) if space and digits.isdigit() else 0
        key, equals, value = content[start + len(digits) + 1 : start + length].partition(b"=")
        if not equals or not value.endswith(b"\n") or start + length > len(content):
            raise DataError(
                f"{where}: cannot be read as a tar file: at {position}: a bad pax header"
            )
        if key.startswith(b"GNU.sparse"):
            raise DataError(f"{where}: holds a sparse file; expected plain files only")
        records[key] = value[:-1]
        start += length
    return records


def _whole(digits: bytes, position: int, where: str) -> int:
    if not digits.isdigit() or len(digits) > 19:
        raise DataError(f"{where}: cannot be read as a tar file: at {position}: a bad size")
    return int(digits)


def _text(name: bytes, where: str) -> str:
    return name.decode("utf-8", "surrogateescape")


def _path(name: str, where: str) -> str:
    """Return a member's path without empty parts and `.`."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: the name {name!r} is not UTF-8") from error
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise DataError(f"{where}: {name} leads out of the archive")
    return "/".join(parts)


def _refuse_other_than_plain(header: tarfile.TarInfo, path: str, where: str) -> None:
    if header.type in _LINKS:
        raise DataError(f"{where}: {path} is a link; expected plain files only")
    if header.type not in _PLAIN:
        raise DataError(f"{where}: {path} is no plain file (type {header.type!r})")


def _padded(size: int) -> int:
    """Return the bytes that content takes in an archive."""
    return -(-size // _BLOCK) * _BLOCK
