"""The last compressed file that was unpacked, kept for its next image."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import BinaryIO

__all__ = ["unpacked"]

_Key = tuple[int, int, int, int, str]

# One file, of at most `MAX_BYTES`: a data set is read file by file, each from its first image to
# its last. The lock makes the second thread wait for what the first unpacks.
_lock = threading.Lock()
_kept: dict[_Key, bytes] = {}


def unpacked(file: BinaryIO, part: str, unpack: Callable[[], bytes]) -> bytes:
    """Unpack a part of a file, unless it was the last that was unpacked and has not changed.

    Parameters
    ----------
    file : BinaryIO
        An open file.
    part : str
        Which part of it.
    unpack : callable
        Unpacks it.

    Returns
    -------
    bytes
        What `unpack` gives.
    """
    state = os.fstat(file.fileno())
    key = (state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size, part)
    with _lock:
        if key not in _kept:
            _kept.clear()  # before, not after: two of them would not fit the bound
            _kept[key] = unpack()
        return _kept[key]
