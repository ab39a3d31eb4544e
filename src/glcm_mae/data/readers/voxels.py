"""The voxels of a file: in place, or unpacked as far as they are claimed."""

from __future__ import annotations

import bz2
import gzip
import io
import math
import os
import zlib
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

import numpy as np

from .limits import MAX_BYTES
from .refusal import Refusal
from .unpacked import unpacked

__all__ = ["Packing", "Voxels"]

Packing = Literal["gzip", "bzip2", "zlib"]

_PIECE = 2**20


@dataclass(frozen=True)
class Voxels:
    """Where voxels lie, and what they are.

    Parameters
    ----------
    source : BinaryIO
        An open file, or its unpacked content (io.BytesIO).
    offset : int
        Where they begin.
    shape : tuple of int
        How many there are along each axis, of which the first runs fastest.
    dtype : np.dtype
        Of one of them.
    packing : {"gzip", "bzip2", "zlib"}, optional
        How they are packed from there on. Default: not at all.

    Raises
    ------
    Refusal
        They are not all there, or packed and too many to be unpacked.

    Examples
    --------
    >>> file = io.BytesIO(b"head" + bytes(range(6)))
    >>> Voxels(file, 4, (2, 3), np.dtype("u1")).stored().tolist()
    [[0, 2, 4], [1, 3, 5]]
    """

    source: BinaryIO
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype
    packing: Packing | None = None

    def __post_init__(self) -> None:
        needed = self._size
        if self.packing is None:
            if self.offset + needed > self.source.seek(0, os.SEEK_END):
                raise Refusal("is truncated or damaged: export or copy it again.")
        elif needed > MAX_BYTES:
            raise Refusal(
                f"unpacks to more than {MAX_BYTES // 2**20} MiB: save it without compression."
            )

    @property
    def _size(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def stored(self) -> np.ndarray:
        """Give the voxels, of which only what is touched is read if they are not packed."""
        if self.packing is not None:
            data = unpacked(self.source, "", self._unpack)
            return np.ndarray(self.shape, self.dtype, data, order="F")
        place: Any = self.source
        if isinstance(place, io.BytesIO):
            return np.ndarray(self.shape, self.dtype, place.getvalue(), self.offset, order="F")
        return np.memmap(place, self.dtype, "r", self.offset, self.shape, order="F")

    def _unpack(self) -> bytes:
        wanted = self._size + 1  # one more: so the end is reached, and with it the checksum
        self.source.seek(self.offset)
        if self.packing == "gzip":
            with gzip.GzipFile(fileobj=self.source) as packed:
                data = packed.read(wanted)
        elif self.packing == "bzip2":
            with bz2.BZ2File(self.source) as packed:
                data = packed.read(wanted)
        else:
            data = _inflated(self.source, wanted)
        if len(data) < self._size:
            raise Refusal("is truncated or damaged: export or copy it again.")
        return data


def _inflated(file: BinaryIO, wanted: int) -> bytes:
    """Inflate a zlib or gzip stream, and no more of it than is wanted."""
    stream = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)
    pieces: list[bytes] = []
    while wanted > 0 and (packed := stream.unconsumed_tail or file.read(_PIECE)):
        pieces.append(stream.decompress(packed, wanted))
        wanted -= len(pieces[-1])
        if stream.eof:
            break
    return b"".join(pieces)
