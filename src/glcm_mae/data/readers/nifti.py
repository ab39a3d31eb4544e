"""NIfTI-1 and NIfTI-2, plain or gzipped, through nibabel."""

from __future__ import annotations

import gzip
import io
import math
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np

from .facts import Facts
from .grid import Grid, Plane
from .limits import MAX_BYTES
from .refusal import Refusal
from .shown import opaque
from .unpacked import unpacked
from .volume import NO_VOLUME, Volume
from .voxels import Voxels

_GZIP = b"\x1f\x8b"
_MAGICS = (b"n+1\0", b"ni1\0")
_HEADERS = {348: "Nifti1Header", 540: "Nifti2Header"}
_LONGEST = max(_HEADERS)
_MM = {"mm": 1.0, "meter": 1000.0, "micron": 0.001}


def is_nifti(head: bytes) -> bool:
    """Tell a NIfTI file, or a gzipped file, by its first bytes."""
    if head.startswith(_GZIP):
        return True
    return head[344:348] in _MAGICS or head[4:12] == b"n+2\0\r\n\x1a\n"


def read(file: BinaryIO, frame: int | None, plane: Plane = "axial") -> tuple[np.ndarray, Facts]:
    """Take one slice: stored values (H, W, samples), and what the header says about them."""
    header, volume, voxels = _opened(file)
    pixels, facts = volume.read(lambda: np.moveaxis(voxels.stored(), 0, -1), frame, plane)
    slope, intercept = _slope_intercept(header)
    return (
        opaque(pixels) if volume.samples > 1 else pixels,
        replace(facts, slope=slope, intercept=intercept),
    )


def frames(file: BinaryIO, plane: Plane = "axial") -> int:
    """Count the slices."""
    return _opened(file)[1].frames(plane)


def grid(file: BinaryIO) -> Grid | None:
    """Tell where the voxels lie, by the header: of a packed file nothing more is unpacked."""
    return _volume_of(_header_of(_head(file))).grid()


def _opened(file: BinaryIO) -> tuple[Any, Volume, Voxels]:
    """Read the header, and check that what it describes is there and not too large."""
    source = _source(file)
    header = _header_of(source.read(_LONGEST))
    volume = _volume_of(header)
    offset = int(header["vox_offset"])
    if offset < 348:
        raise Refusal("is truncated or damaged: export or copy it again.")
    return header, volume, Voxels(source, offset, (volume.samples, *volume.shape), volume.dtype)


def _volume_of(header: Any) -> Volume:
    shape = tuple(int(length) for length in header.get_data_shape())
    if not 2 <= len(shape) <= 7 or math.prod(shape[4:]) != 1 or min(shape) < 1:
        raise Refusal(NO_VOLUME)
    x, y, z, t = (*shape[:4], 1, 1)[:4]
    dtype = header.get_data_dtype()
    colours = dtype.names or ()  # a record of bytes
    return Volume(
        format="nifti",
        shape=(x, y, z, t),
        samples=len(colours) or 1,
        dtype=np.dtype(np.uint8) if colours else dtype,
        affine=header.get_best_affine(),
        mm=_MM.get(header.get_xyzt_units()[0]),
    )


def _slope_intercept(header: Any) -> tuple[float, float]:
    """Slope and intercept; a slope of 0 means that there are none (NIfTI-1 standard)."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or math.isnan(slope):
        return 1.0, 0.0
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise Refusal("has a slope or intercept that is no number: export it again.")
    return slope, intercept


def _head(file: BinaryIO) -> bytes:
    start = file.read(2)
    file.seek(0)
    if start != _GZIP:
        return file.read(_LONGEST)
    with gzip.GzipFile(fileobj=file) as packed:
        return packed.read(_LONGEST)


def _header_of(head: bytes) -> Any:
    """Read the first bytes of a file, unpacked."""
    import nibabel

    size = min((int.from_bytes(head[:4], order) for order in ("little", "big")), default=0)
    if size not in _HEADERS or not is_nifti(head):
        raise Refusal("is no NIfTI file, or one whose voxels lie in another: save it as .nii.")
    if head[344:348] == b"ni1\0":
        raise Refusal("is half of a pair of .hdr and .img: save it as .nii.")
    # Unchecked, because nibabel writes what it mends to the terminal; checked where it is used.
    header = getattr(nibabel, _HEADERS[size])(head[:size], check=False)
    if header["qform_code"] == 0 and header["sform_code"] == 0:
        raise Refusal(
            "does not say how the patient lies (its qform and sform codes are 0): set one with "
            "your NIfTI tools."
        )
    return header


def _source(file: BinaryIO) -> BinaryIO:
    """Give the file itself, or its content where it is gzipped."""
    start = file.read(2)
    file.seek(0)
    if start != _GZIP:
        return file
    return io.BytesIO(unpacked(file, "", lambda: _gunzipped(file)))


def _gunzipped(file: BinaryIO) -> bytes:
    with gzip.GzipFile(fileobj=file) as packed:
        data = packed.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise Refusal(f"unpacks to more than {MAX_BYTES // 2**20} MiB: gunzip it.")
    return data
