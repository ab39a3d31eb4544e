"""A file that never gives more at once than there is, or than memory shall hold."""

from __future__ import annotations

import os
from typing import BinaryIO

from .limits import MAX_BYTES
from .refusal import Refusal

__all__ = ["CappedFile"]

_SMALL = 2**16  # may be allocated whether it is there or not


class CappedFile:
    """A file whose `read` allocates what is there, not what a damaged length asks for.

    Parameters
    ----------
    file : BinaryIO
        An open file or buffer.

    Examples
    --------
    >>> import io
    >>> CappedFile(io.BytesIO(b"abc")).read(10**12)
    b'abc'
    """

    def __init__(self, file: BinaryIO) -> None:
        place = file.tell()
        self.size = file.seek(0, os.SEEK_END)
        file.seek(place)
        self._file = file
        self.tell = file.tell
        self.seek = file.seek

    @property
    def left(self) -> int:
        """Bytes between here and the end."""
        return max(0, self.size - self.tell())

    def read(self, count: int = -1) -> bytes:
        """Read as many bytes, or all that are left."""
        if 0 <= count <= _SMALL:
            return self._file.read(count)
        left = self.left
        count = left if count < 0 else min(count, left)
        if count > MAX_BYTES:
            raise Refusal(f"holds a piece larger than {MAX_BYTES // 2**20} MiB: save it smaller.")
        return self._file.read(count)
