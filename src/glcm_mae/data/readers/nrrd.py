"""NRRD with its header attached, raw or packed: 3D Slicer's volumes and segmentations.

The format is defined at https://teem.sourceforge.net/nrrd/format.html. Where a file tells no unit,
lengths are taken for millimetres, as 3D Slicer and ITK take them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

import numpy as np

from .facts import Facts
from .grid import Grid, Plane
from .headers import UNIT_MM, lines_of, numbers, whole_numbers
from .refusal import Refusal
from .volume import NO_VOLUME, Volume, as_stored
from .voxels import Packing, Voxels

_NEEDED = {"type", "dimension", "sizes", "encoding"}
_TYPES = {
    name: dtype
    for dtype, names in {
        "i1": ("signed char", "int8", "int8_t"),
        "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
        "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
        "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
        "i4": ("int", "signed int", "int32", "int32_t"),
        "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
        "i8": ("longlong", "long long", "long long int", "signed long long",
               "signed long long int", "int64", "int64_t"),
        "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
        "f4": ("float",),
        "f8": ("double",),
    }.items()
    for name in names
}  # fmt: skip
_PACKINGS: dict[str, Packing | None] = {
    "raw": None,
    **dict.fromkeys(("gzip", "gz"), "gzip"),
    **dict.fromkeys(("bzip2", "bz2"), "bzip2"),
}
_ENDS = {"little": "<", "big": ">"}
# Whether x, y and z run to the right, forward and up in the spaces that are a patient's.
_SIGNS = {"ras": (1, 1, 1), "las": (-1, 1, 1), "lps": (-1, -1, 1)}


def is_nrrd(head: bytes) -> bool:
    """Tell an NRRD file by its first bytes."""
    return head.startswith(b"NRRD000")


def read(file: BinaryIO, frame: int | None, plane: Plane = "axial") -> tuple[np.ndarray, Facts]:
    """Take one slice: stored values (H, W, samples), and what the header says about them."""
    axes, volume, voxels = _opened(file)
    return volume.read(lambda: axes.arranged(voxels.stored()), frame, plane)


def frames(file: BinaryIO, plane: Plane = "axial") -> int:
    """Count the slices, of a packed file by its header."""
    return _opened(file)[1].frames(plane)


def grid(file: BinaryIO) -> Grid | None:
    """Tell where the voxels of a volume lie, by the header."""
    return _opened(file)[1].grid()


class _Axes(NamedTuple):
    """Which axes of a file are those of space, count volumes, and count samples."""

    space: list[int]  # 2 or 3
    series: list[int]  # 0 or 1
    samples: list[int]  # 0 or 1

    def arranged(self, stored: np.ndarray) -> np.ndarray:
        """Bring voxels, in the file's order of axes, to (x, y, z, t, samples)."""
        ordered = stored.transpose(*self.space, *self.series, *self.samples)
        return ordered.reshape(self.lengths(stored.shape))

    def lengths(self, sizes: Sequence[int]) -> tuple[int, int, int, int, int]:
        """Order the lengths of the file's axes as x, y, z, t, samples."""
        x, y, z = (*(sizes[axis] for axis in self.space), 1)[:3]
        (t,), (samples,) = ([sizes[axis] for axis in found] or [1] for found in self[1:])
        return x, y, z, t, samples


def _opened(file: BinaryIO) -> tuple[_Axes, Volume, Voxels]:
    """Read the header, and check that what it describes is there and not too large."""
    fields, keys = _header_of(file)
    if _NEEDED - fields.keys():
        raise Refusal("has a header without type, dimension, sizes or encoding: export it again.")
    sizes = whole_numbers(fields["sizes"])
    if (len(sizes),) != whole_numbers(fields["dimension"]) or min(sizes) < 1:
        raise Refusal("is truncated or damaged: export or copy it again.")
    dtype = _dtype_of(fields)
    directions = _vectors(fields.get("space directions", "")) or [None] * len(sizes)
    axes = _axes_of(fields, directions, len(sizes))
    x, y, z, t, samples = axes.lengths(sizes)
    if t > 1 and any(key.startswith("Segment0_") for key in keys):
        raise Refusal(
            f"is a segmentation in {t} layers: save each segment as a file of its own (in 3D "
            "Slicer, Segmentations, Export to files)."
        )
    is_flat = len(axes.space) == 2
    affine, mm = (_place_flat if is_flat else _place)(fields, directions, axes.space)
    volume = Volume("nrrd", (x, y, z, t), samples, dtype, affine, mm, is_flat)
    return axes, volume, Voxels(file, file.tell(), sizes, dtype, _packing_of(fields))


def _header_of(file: BinaryIO) -> tuple[dict[str, str], list[str]]:
    """Read the fields, with names in lower case, and the names of the other keys."""
    fields, keys = {}, []
    for line in lines_of(file):
        if not line:
            break
        found = re.match(r"(.+?)(:=|:\s)(.*)", line)
        if line.startswith("#") or not found:
            continue
        name, mark, value = found.groups()
        if mark == ":=":  # what somebody chose to add, which may have a field's name
            keys.append(name)
            continue
        fields[name.lower()] = value.strip()
        if name.lower() in ("data file", "datafile"):  # now, since such a header need not end
            raise Refusal(
                "keeps its voxels in another file: save it as .nrrd, which holds both, with 3D "
                "Slicer or ITK."
            )
    return fields, keys


def _dtype_of(fields: dict[str, str]) -> np.dtype:
    name = _TYPES.get(" ".join(fields["type"].lower().split()))
    if name is None:
        raise Refusal(
            "stores values of an unknown type: save it as integers of 8 to 32 bits or "
            "floating-point."
        )
    if np.dtype(name).itemsize == 1:
        return np.dtype(name)
    end = _ENDS.get(fields.get("endian", "").lower())
    if end is None:
        raise Refusal("does not say the order of its bytes (endian): export it again.")
    return np.dtype(end + name)


def _packing_of(fields: dict[str, str]) -> Packing | None:
    encoding = fields["encoding"].lower()
    if encoding not in _PACKINGS:
        raise Refusal("holds its voxels as text, or packed in an unknown way: save it with gzip.")
    for name in ("line skip", "lineskip", "byte skip", "byteskip"):
        if fields.get(name, "0") != "0":
            raise Refusal("skips what stands before its voxels: save it as .nrrd anew.")
    return _PACKINGS[encoding]


def _vectors(text: str) -> list[list[float] | None]:
    """Read vectors such as "none (0.7,0,0) (0,0.7,0)"."""
    found = re.finditer(r"none|\(([^()]*)\)", text.lower())
    return [None if one[1] is None else numbers(one[1].split(",")) for one in found]


def _axes_of(fields: dict[str, str], directions: list[list[float] | None], dimension: int) -> _Axes:
    """Tell the axes apart: by their kinds, and by their directions where they have none."""
    axes = _Axes([], [], [])
    kinds = fields.get("kinds", "").lower().split() or ["none"] * dimension
    has_directions = any(direction is not None for direction in directions)
    for axis, (kind, direction) in enumerate(zip(kinds, directions, strict=True)):
        is_timed = direction is not None and len(direction) == 4 and not any(direction[:3])
        is_spatial = kind in ("domain", "space")
        if kind in ("none", "???"):
            if direction is None and has_directions:
                raise Refusal(
                    "does not say what one of its axes is (kinds): save it with 3D Slicer or ITK."
                )
            is_spatial = True
        if kind in ("list", "time") or (is_spatial and is_timed):
            axes.series.append(axis)
        else:
            (axes.space if is_spatial else axes.samples).append(axis)
    if len(axes.space) not in (2, 3) or len(axes.series) > 1 or len(axes.samples) > 1:
        raise Refusal(NO_VOLUME)
    return axes


def _place(
    fields: dict[str, str], directions: list[list[float] | None], space: list[int]
) -> tuple[np.ndarray, float | None]:
    """Find the affine of a volume, and its unit in mm."""
    name = fields.get("space", "").lower()  # "left-posterior-superior", or LPS; -time, or T, behind
    letters = "".join(word[0] for word in name.split("-") if word) if "-" in name else name
    vectors = [direction[:3] for axis in space if (direction := directions[axis]) is not None]
    if letters.removesuffix("t") not in _SIGNS or len(vectors) < 3:
        raise Refusal(
            "does not say how the patient lies (its space is none of a patient's, or it has no "
            "space directions): save it with 3D Slicer, or as NIfTI."
        )
    signs = np.array(_SIGNS[letters.removesuffix("t")])
    affine = np.eye(4)
    affine[:3, :3] = (signs * vectors).T
    for origin in _vectors(fields.get("space origin", "")):
        affine[:3, 3] = signs * (origin or [0.0, 0.0, 0.0])[:3]
    return affine, _mm(fields.get("space units", ""))


def _place_flat(
    fields: dict[str, str], directions: list[list[float] | None], space: list[int]
) -> tuple[np.ndarray, float | None]:
    """Find the affine of an image of two axes, and its unit in mm where its pixels have sides."""
    vectors = [direction for axis in space if (direction := directions[axis]) is not None]
    units = fields.get("space units", "")
    if len(vectors) < 2 and "spacings" in fields:
        words = fields["spacings"].split()
        if all(words[axis].lower() != "nan" for axis in space):
            vectors = [numbers([words[axis]]) for axis in space]
        units = fields.get("units", "")
    if len(vectors) < 2:
        return as_stored(1.0, 1.0), None
    across, down = (float(np.linalg.norm(vector)) for vector in vectors)
    return as_stored(across, down), _mm(units)


def _mm(units: str) -> float | None:
    """Tell the mm in a unit that stands in quotes, once for each axis."""
    named = set(re.findall(r'"([^"]*)"', units.lower())) - {"", "s"}  # those of time are seconds
    if not named:
        return 1.0
    return UNIT_MM.get(named.pop()) if len(named) == 1 else None
