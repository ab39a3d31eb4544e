"""NumPy's .npy and .npz, among them the sets of MedMNIST. Nothing is ever unpickled."""

from __future__ import annotations

import io
import math
import os
import struct
import zipfile
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np

from .facts import Facts
from .limits import MAX_BYTES, chosen_frame
from .refusal import Refusal
from .stack import count, image_of
from .unpacked import unpacked

_MEDMNIST_SPLITS = ("train", "val", "test")  # in the order in which the images are counted

_NPY = b"\x93NUMPY"
_ZIP_TAIL = 65_535 + 22 + 20 + 56  # comment, end record, and those of large files
_MAX_DIRECTORY = 2**20
_DEFLATED_MEMBER = (
    f"holds a compressed array of more than {MAX_BYTES // 2**20} MiB: save it with numpy.savez in "
    "place of numpy.savez_compressed."
)


def read_npy(file: BinaryIO, frame: int | None) -> tuple[np.ndarray, Facts]:
    """Take one image out of a .npy file."""
    array = _Array.of(file, os.fstat(file.fileno()).st_size)
    return image_of("npy", array.shape, array.dtype, frame, array.take)


def frames_of_npy(file: BinaryIO) -> int:
    """Count the images of a .npy file."""
    array = _Array.of(file, os.fstat(file.fileno()).st_size)
    return count(array.shape, array.dtype)


def read_npz(file: BinaryIO, frame: int | None) -> tuple[np.ndarray, Facts]:
    """Take one image out of a .npz file: of its one array, or of MedMNIST's three in order."""
    arrays, is_stack = _images(file)
    counts = [count(array.shape, array.dtype, is_stack) for array in arrays]
    number = chosen_frame(frame, sum(counts))
    starts = np.cumsum([0, *counts])
    part = int(np.searchsorted(starts, number, side="right")) - 1
    array = arrays[part]
    index = number - int(starts[part])
    pixels, facts = image_of("npz", array.shape, array.dtype, index, array.take, is_stack)
    return pixels, replace(facts, frames=sum(counts))


def frames_of_npz(file: BinaryIO) -> int:
    """Count the images of a .npz file."""
    arrays, is_stack = _images(file)
    return sum(count(array.shape, array.dtype, is_stack) for array in arrays)


def is_medmnist(file: BinaryIO) -> bool:
    """Say whether a .npz has the arrays of a MedMNIST file."""
    return _has_medmnist(_members(file))


def medmnist_labels(file: BinaryIO) -> dict[str, np.ndarray]:
    """Read the labels of a MedMNIST file.

    Parameters
    ----------
    file : BinaryIO
        The open .npz.

    Returns
    -------
    dict of str to np.ndarray
        For each part of train, val and test, labels (n, tasks) of its n images.

    Raises
    ------
    Refusal
        It is no MedMNIST file, or its labels do not fit its images.
    """
    members = _members(file)
    if not _has_medmnist(members):
        raise Refusal(
            "is no MedMNIST file, which has train, val and test images and labels: give a "
            "manifest, or a folder, in which an array of images may be one of the files."
        )
    labels = {}
    for split in _MEDMNIST_SPLITS:
        images = _member(file, members[f"{split}_images"])
        array = _member(file, members[f"{split}_labels"])
        if array.dtype.kind not in "iu" or array.shape[:1] != images.shape[:1]:
            raise Refusal(f"has {split} labels that do not fit its images: download it anew.")
        labels[split] = np.asarray(array.take(None)).reshape(images.shape[0], -1)
    return labels


@dataclass(frozen=True)
class _Array:
    """An array that lies in a file or in memory, of which only what is asked for is read."""

    source: BinaryIO
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype
    is_fortran: bool

    @classmethod
    def of(cls, source: BinaryIO, end: int) -> _Array:
        """Read the header of a .npy that begins here and must be over at `end`."""
        version = np.lib.format.read_magic(source)
        reads = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if version not in reads:
            raise Refusal("is a .npy file of an unknown version: save it anew.")
        shape, is_fortran, dtype = reads[version](source)
        if dtype.hasobject:
            raise Refusal("holds pickled objects, which could run code: save plain numbers.")
        array = cls(source, source.tell(), shape, dtype, is_fortran)
        if min(shape, default=1) < 1 or array.offset + array.nbytes > end:
            raise Refusal("is truncated or holds nothing: export or copy it again.")
        return array

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def take(self, index: int | None) -> np.ndarray:
        """Read one element of the first axis, or all."""
        if self.is_fortran:
            if self.nbytes > MAX_BYTES:
                raise Refusal("is a large array in Fortran order: save it in C order.")
            whole = self._read(0, self.shape[::-1]).T
            return whole if index is None else whole[index]
        if index is None:
            return self._read(0, self.shape)
        shape = self.shape[1:]
        return self._read(index * math.prod(shape) * self.dtype.itemsize, shape)

    def _read(self, start: int, shape: tuple[int, ...]) -> np.ndarray:
        size = math.prod(shape) * self.dtype.itemsize
        if size > MAX_BYTES:
            raise Refusal(f"holds a piece larger than {MAX_BYTES // 2**20} MiB: save it smaller.")
        self.source.seek(self.offset + start)
        return np.frombuffer(self.source.read(size), self.dtype).reshape(shape)


def _images(file: BinaryIO) -> tuple[list[_Array], bool]:
    """Open the arrays of images, and tell whether their first axis is known to count them."""
    members = _members(file)
    if _has_medmnist(members):
        return [_member(file, members[f"{split}_images"]) for split in _MEDMNIST_SPLITS], True
    if len(members) != 1:
        raise Refusal(
            f"holds {len(members)} arrays and is no MedMNIST file: keep the one with the images."
        )
    return [_member(file, member) for member in members.values()], False


def _has_medmnist(members: dict[str, zipfile.ZipInfo]) -> bool:
    kinds = ("images", "labels")
    return all(f"{split}_{kind}" in members for split in _MEDMNIST_SPLITS for kind in kinds)


def _members(file: BinaryIO) -> dict[str, zipfile.ZipInfo]:
    """List the arrays of a .npz by name. They are read in place: no path is ever written to."""
    _check_directory(file)
    with zipfile.ZipFile(file) as archive:
        return {
            info.filename.removesuffix(".npy"): info
            for info in archive.infolist()
            if info.filename.endswith(".npy")
        }


def _check_directory(file: BinaryIO) -> None:
    """Refuse an archive whose list of members would fill the memory."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _ZIP_TAIL))
    tail = file.read(_ZIP_TAIL)
    end, large = tail.rfind(b"PK\5\6"), tail.rfind(b"PK\6\6")
    if end < 0 or len(tail) < end + 22:
        raise Refusal("is a truncated .npz file: copy it again.")
    sizes = struct.unpack("<L", tail[end + 12 : end + 16])
    if large >= 0:
        sizes += struct.unpack("<Q", tail[large + 40 : large + 48].ljust(8, b"\xff"))
    if min(sizes) > _MAX_DIRECTORY:
        raise Refusal("is an archive of very many members: keep the array with the images.")


def _member(file: BinaryIO, info: zipfile.ZipInfo) -> _Array:
    """Open an array of a .npz: in place where it is stored plainly, else unpacked in memory."""
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Refusal("is encrypted or packed in another way than NumPy's: save it with NumPy.")
    if info.compress_type == zipfile.ZIP_STORED:
        start = _start(file, info)
        file.seek(start)
        return _Array.of(file, start + info.file_size)
    if info.file_size > MAX_BYTES:
        raise Refusal(_DEFLATED_MEMBER)
    data = unpacked(file, info.filename, lambda: _inflated(file, info))
    return _Array.of(io.BytesIO(data), len(data))


def _start(file: BinaryIO, info: zipfile.ZipInfo) -> int:
    """Find where the bytes of a stored member begin: behind its own header (APPNOTE 4.3.7)."""
    file.seek(info.header_offset)
    header = file.read(30)
    if len(header) < 30 or header[:4] != b"PK\3\4":
        raise Refusal("is a damaged .npz file: copy it again.")
    name, extra = struct.unpack("<HH", header[26:30])
    return info.header_offset + 30 + name + extra


def _inflated(file: BinaryIO, info: zipfile.ZipInfo) -> bytes:
    with zipfile.ZipFile(file) as archive, archive.open(info) as member:
        data = member.read(info.file_size)  # and not a byte more, whatever is packed
    if len(data) < info.file_size:
        raise Refusal("is a truncated .npz file: copy it again.")
    return data
