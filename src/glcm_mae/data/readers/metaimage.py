"""MetaImage with its voxels inside (.mha), plain or packed: ITK's own format.

The format is described at https://itk.org/Wiki/ITK/MetaIO/Documentation. Its directions and places
are to the patient's left, back and head. AnatomicalOrientation repeats in letters what
TransformMatrix says, which ITK goes by, too. Where a file tells no unit, lengths are millimetres.
"""

from __future__ import annotations

import re
from typing import BinaryIO

import numpy as np

from .facts import Facts
from .grid import Grid, Plane
from .headers import UNIT_MM, lines_of, numbers, whole_numbers
from .refusal import Refusal
from .volume import NO_VOLUME, Volume, as_stored
from .voxels import Packing, Voxels

_NEEDED = {"NDims", "DimSize", "ElementType"}
_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",  # of 4 bytes on every machine
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_MATRIX = ("TransformMatrix", "Rotation", "Orientation")  # one field, by three names
_ORIGIN = ("Offset", "Position", "Origin")


def is_metaimage(head: bytes) -> bool:
    """Tell a MetaImage file by its first words."""
    return re.match(rb"(ObjectType|NDims|Comment)\s*=", head) is not None


def read(file: BinaryIO, frame: int | None, plane: Plane = "axial") -> tuple[np.ndarray, Facts]:
    """Take one slice: stored values (H, W, samples), and what the header says about them."""
    volume, voxels = _opened(file)
    return volume.read(lambda: np.moveaxis(voxels.stored(), 0, -1), frame, plane)


def frames(file: BinaryIO, plane: Plane = "axial") -> int:
    """Count the slices, of a packed file by its header."""
    return _opened(file)[0].frames(plane)


def grid(file: BinaryIO) -> Grid | None:
    """Tell where the voxels of a volume lie, by the header."""
    return _opened(file)[0].grid()


def _opened(file: BinaryIO) -> tuple[Volume, Voxels]:
    """Read the header, and check that what it describes is there and not too large."""
    fields = _header_of(file)
    if _NEEDED - fields.keys():
        raise Refusal("has a header without NDims, DimSize or ElementType: export it again.")
    sizes = whole_numbers(fields["DimSize"])
    samples = int(fields.get("ElementNumberOfChannels", "1"))
    if (len(sizes),) != whole_numbers(fields["NDims"]) or min(*sizes, samples) < 1:
        raise Refusal("is truncated or damaged: export or copy it again.")
    if not 2 <= len(sizes) <= 4:
        raise Refusal(NO_VOLUME)
    if not _is_true(fields.get("BinaryData", "True")):
        raise Refusal("holds its voxels as text: save it in binary.")
    if fields.get("HeaderSize", "0") != "0":
        raise Refusal("skips what stands before its voxels: save it as .mha anew.")
    affine = _affine_of(fields, len(sizes))
    has_sides = "ElementSpacing" in fields
    mm = UNIT_MM.get(fields.get("DistanceUnits", "mm").lower()) if has_sides else None
    x, y, z, t = (*sizes, 1, 1)[:4]
    dtype = _dtype_of(fields)
    volume = Volume("metaimage", (x, y, z, t), samples, dtype, affine, mm, len(sizes) == 2)
    packing: Packing | None = "zlib" if _is_true(fields.get("CompressedData", "False")) else None
    return volume, Voxels(file, file.tell(), (samples, x, y, z, t), dtype, packing)


def _header_of(file: BinaryIO) -> dict[str, str]:
    fields = {}
    for line in lines_of(file):
        name, _, value = line.partition("=")
        fields[name.strip()] = value.strip()
        if name.strip() == "ElementDataFile":
            break
    if fields["ElementDataFile"].upper() != "LOCAL":
        raise Refusal(
            "keeps its voxels in another file: save it as .mha, which holds both, with ITK or 3D "
            "Slicer."
        )
    return fields


def _dtype_of(fields: dict[str, str]) -> np.dtype:
    name = _TYPES.get(fields["ElementType"].removesuffix("_ARRAY"))
    if name is None:
        raise Refusal(
            "stores values of an unknown type: save it as integers of 8 to 32 bits or "
            "floating-point."
        )
    is_big = any(
        _is_true(fields.get(name, "False"))
        for name in ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
    )
    return np.dtype((">" if is_big else "<") + name)


def _is_true(word: str) -> bool:
    return word[:1] in ("T", "t", "1")


def _affine_of(fields: dict[str, str], dimension: int) -> np.ndarray:
    """Find the affine of a volume, or of an image of two axes, which needs no directions."""
    sides = numbers(fields.get("ElementSpacing", "1 " * dimension).split())
    if min(sides[:3], default=1) <= 0:
        raise Refusal("has an ElementSpacing that is no length: export it again.")
    if dimension == 2:
        across, down = sides
        return as_stored(across, down)
    matrix = next((fields[name] for name in _MATRIX if name in fields), None)
    if matrix is None:
        raise Refusal(
            "does not say how the patient lies (it has no TransformMatrix): save it with 3D "
            "Slicer, or as NIfTI."
        )
    # One row for each axis of the file: where it runs to, left, back and up.
    directions = np.array(numbers(matrix.split())).reshape(dimension, dimension)
    origin = next((fields[name] for name in _ORIGIN if name in fields), "0 " * dimension)
    affine = np.eye(4)
    affine[:3, :3] = (directions * np.array(sides)[:, None])[:3, :3].T
    affine[:3, 3] = np.array(numbers(origin.split()))[:3]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
