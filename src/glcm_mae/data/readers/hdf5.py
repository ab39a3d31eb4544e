"""HDF5, through h5py: the one array of images that a file holds."""

from __future__ import annotations

import itertools
import math
import zlib
from typing import Any, BinaryIO

import numpy as np

from .facts import Facts
from .limits import MAX_BYTES
from .refusal import Refusal
from .stack import count, image_of

_MAX_OBJECTS = 1000
_MAX_CHUNKS = 4096
_DEFLATE, _SHUFFLE, _CHECKSUM = 1, 2, 3  # as HDF5 numbers its filters
_CHECKSUM_BYTES = 4


def is_hdf5(head: bytes) -> bool:
    """Tell an HDF5 file: its signature may stand behind a block for the user's own."""
    return any(head[place : place + 8] == b"\x89HDF\r\n\x1a\n" for place in (0, 512, 1024, 2048))


def read(file: BinaryIO, frame: int | None) -> tuple[np.ndarray, Facts]:
    """Take one image out of the file's one array of images."""
    import h5py

    with h5py.File(file.name, "r", locking=False) as opened:
        array = _array(opened)

        def take(index: int | None) -> np.ndarray:
            _check_chunks(array, index)
            return array[()] if index is None else array[index]

        return image_of("hdf5", array.shape, array.dtype, frame, take)


def frames(file: BinaryIO) -> int:
    """Count the images of the file's one array of images."""
    import h5py

    with h5py.File(file.name, "r", locking=False) as opened:
        array = _array(opened)
        return count(array.shape, array.dtype)


def _array(opened: Any) -> Any:
    """Find the one array of two axes or more. Links, which may lead to other files, are left."""
    import h5py

    found = []
    visited = itertools.count(1)

    def visit(_: str, item: Any) -> bool | None:
        if isinstance(item, h5py.Dataset) and len(item.shape or ()) >= 2:
            found.append(item)
        return True if next(visited) > _MAX_OBJECTS else None  # anything but None ends the walk

    if opened.visititems(visit):
        raise Refusal(f"holds more than {_MAX_OBJECTS} objects: keep the array with the images.")
    if len(found) != 1:
        raise Refusal(f"holds {len(found)} arrays of two axes or more: keep the one with images.")
    array = found[0]
    if array.is_virtual or array.external:
        raise Refusal("takes its numbers from other files: copy them into one.")
    kinds = _filters(array)
    if not set(kinds) <= {_DEFLATE, _SHUFFLE, _CHECKSUM} or len(set(kinds)) < len(kinds):
        raise Refusal("is compressed with another filter than gzip: repack it with gzip.")
    if array.chunks and math.prod(array.chunks) * array.dtype.itemsize > MAX_BYTES:
        raise Refusal(f"has chunks of more than {MAX_BYTES // 2**20} MiB: repack it in smaller "
                      "ones.")  # fmt: skip
    return array


def _filters(array: Any) -> list[int]:
    plan = array.id.get_create_plist()
    return [plan.get_filter(number)[0] for number in range(plan.get_nfilters())]


def _check_chunks(array: Any, index: int | None) -> None:
    """Inflate the packed chunks of an image within bounds before HDF5 does so without."""
    if _DEFLATE not in _filters(array):
        return
    size = math.prod(array.chunks) * array.dtype.itemsize
    start, stop = (0, array.shape[0]) if index is None else (index, index + 1)
    start -= start % array.chunks[0]
    ranges = [range(start, stop, array.chunks[0])]
    ranges += [range(0, n, c) for n, c in zip(array.shape[1:], array.chunks[1:], strict=True)]
    if math.prod(len(places) for places in ranges) > _MAX_CHUNKS:
        raise Refusal(f"has more than {_MAX_CHUNKS} chunks an image: repack it in larger ones.")
    for place in itertools.product(*ranges):
        _check_chunk(array, place, size)


def _check_chunk(array: Any, place: tuple[int, ...], size: int) -> None:
    """Refuse a chunk that holds more than it should, packed or unpacked."""
    stored = array.id.get_chunk_info_by_coord(place)
    if stored.byte_offset is None:  # never written: all zeros
        return
    if stored.size > size + size // 100 + 64:  # zlib adds 5 bytes to every 16 KiB at most
        raise Refusal("is damaged: a chunk is larger packed than unpacked; copy it again.")
    skipped, data = array.id.read_direct_chunk(place)
    if skipped >> _filters(array).index(_DEFLATE) & 1:
        return
    inflater = zlib.decompressobj()
    inflater.decompress(data, size + _CHECKSUM_BYTES + 1)
    if not inflater.eof and inflater.unconsumed_tail:
        raise Refusal("is damaged or a decompression bomb: a chunk inflates beyond its size.")
