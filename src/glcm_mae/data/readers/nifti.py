"""NIfTI-1 and NIfTI-2, plain or gzipped, through nibabel: one slice, the right way up.

The affine says where the patient's right, front and head are. A slice is shown as radiologists see
it and as DICOM scanners write it:

========  =========  ============
plane     up         left
========  =========  ============
axial     anterior   patient's right
coronal   superior   patient's right
sagittal  superior   anterior
========  =========  ============

Oblique volumes are taken along the voxel axes that lie nearest; nothing is interpolated. Slices are
counted from the patient's feet (axial), back (coronal) or left (sagittal); those of a series of
volumes volume by volume.
"""

from __future__ import annotations

import gzip
import io
import math
import os
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from .facts import Facts, full_range
from .grid import Grid, Plane, normal_of
from .limits import MAX_BYTES, MAX_FRAMES, check_size, chosen_frame
from .refusal import Refusal
from .shown import opaque
from .unpacked import unpacked

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
    volume = _Volume.of(file)
    layout = _Layout.of(volume, plane)
    number = chosen_frame(frame, layout.frames)
    pixels = layout.slice(volume.stored, number)
    slope, intercept = volume.slope_intercept
    facts = Facts(
        format="nifti",
        dtype=pixels.dtype.name,
        bits=8 * pixels.dtype.itemsize,
        photometric="RGB" if pixels.shape[2] == 3 else "L",
        value_range=full_range(pixels.dtype),
        frames=layout.frames,
        slope=slope,
        intercept=intercept,
        spacing=layout.spacing,
    )
    return pixels, facts


def frames(file: BinaryIO, plane: Plane = "axial") -> int:
    """Count the slices."""
    return _Layout.of(_Volume.of(file), plane).frames


def grid(file: BinaryIO) -> Grid:
    """Tell where the voxels lie, by the header: of a packed file nothing more is unpacked."""
    from nibabel.orientations import inv_ornt_aff

    header = _header_of(_head(file))
    shape = _shape_of(header)
    found = _orientation(header)
    right, forward, up = (shape[axis] for axis in np.argsort(found[:, 0]))
    scale = _MM.get(header.get_xyzt_units()[0], 1.0)  # mm, where no unit is told
    affine = np.diag([scale, scale, scale, 1.0]) @ header.get_best_affine()
    return Grid((right, forward, up), shape[3], affine @ inv_ornt_aff(found, shape[:3]))


@dataclass(frozen=True)
class _Volume:
    """A header and the bytes behind it."""

    header: Any
    source: BinaryIO
    shape: tuple[int, int, int, int]
    dtype: np.dtype
    offset: int

    @classmethod
    def of(cls, file: BinaryIO) -> _Volume:
        """Read the header, and check that what it describes is there and not too large."""
        source = _source(file)
        header = _header_of(source.read(_LONGEST))
        offset = int(header["vox_offset"])
        volume = cls(header, source, _shape_of(header), header.get_data_dtype(), offset)
        volume._check()
        return volume

    def _check(self) -> None:
        available = self.source.seek(0, os.SEEK_END)
        needed = math.prod(self.shape) * self.dtype.itemsize
        if self.offset < 348 or self.offset + needed > available:
            raise Refusal("is truncated or damaged: export or copy it again.")

    @property
    def stored(self) -> np.ndarray:
        """The voxels (x, y, z, t) as stored, of which only what is touched is read."""
        place: Any = self.source
        if isinstance(place, io.BytesIO):
            return np.ndarray(self.shape, self.dtype, place.getvalue(), self.offset, order="F")
        return np.memmap(place, self.dtype, "r", self.offset, self.shape, order="F")

    @property
    def slope_intercept(self) -> tuple[float, float]:
        """Slope and intercept; a slope of 0 means that there are none (NIfTI-1 standard)."""
        slope, intercept = float(self.header["scl_slope"]), float(self.header["scl_inter"])
        if slope == 0 or math.isnan(slope):
            return 1.0, 0.0
        if not (math.isfinite(slope) and math.isfinite(intercept)):
            raise Refusal("has a slope or intercept that is no number: export it again.")
        return slope, intercept


@dataclass(frozen=True)
class _Layout:
    """How slices of a plane lie in the voxel axes."""

    axes: tuple[int, int, int]  # voxel axes of right, forward, up
    flips: tuple[bool, bool, bool]  # which of them run the other way
    normal: int  # 0 right, 1 forward, 2 up
    slices: int
    frames: int
    spacing: tuple[float, float] | None

    @classmethod
    def of(cls, volume: _Volume, plane: Plane) -> _Layout:
        """Find the voxel axes that lie nearest to the patient's."""
        found = _orientation(volume.header)
        axes = tuple(int(axis) for axis in np.argsort(found[:, 0]))
        lengths = [volume.shape[axis] for axis in axes]
        normal = normal_of(lengths, plane)
        across, down = (axis for axis in range(3) if axis != normal)
        check_size((lengths[down], lengths[across]), volume.dtype)
        frames = lengths[normal] * volume.shape[3]
        if frames > MAX_FRAMES:
            raise Refusal(f"claims more than {MAX_FRAMES:,} slices: export it again.")
        affine = volume.header.get_best_affine()
        zooms = np.linalg.norm(affine[:3, :3], axis=0)[list(axes)].tolist()
        scale = _MM.get(volume.header.get_xyzt_units()[0])
        return cls(
            axes=(axes[0], axes[1], axes[2]),
            flips=tuple(bool(found[axis, 1] < 0) for axis in axes),  # type: ignore[arg-type]
            normal=normal,
            slices=lengths[normal],
            frames=frames,
            spacing=(zooms[down] * scale, zooms[across] * scale) if scale else None,
        )

    def slice(self, stored: np.ndarray, frame: int) -> np.ndarray:
        """Cut a slice (H, W, samples) out of the voxels (x, y, z, t)."""
        time, place = divmod(frame, self.slices)
        volume = stored[..., time].transpose(self.axes)
        volume = volume[tuple(np.s_[:: -1 if flip else 1] for flip in self.flips)]
        cut: list[slice | int] = [np.s_[:], np.s_[:], np.s_[:]]
        cut[self.normal] = place
        # Rows from the far end of the higher axis down, columns from the far end of the lower one.
        plane = np.ascontiguousarray(volume[tuple(cut)][::-1, ::-1].T)
        if plane.dtype.names:  # colour: a record of bytes
            return opaque(plane.view(np.uint8).reshape(*plane.shape, -1))
        return plane[..., None]


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


def _shape_of(header: Any) -> tuple[int, int, int, int]:
    shape = tuple(int(length) for length in header.get_data_shape())
    if not 2 <= len(shape) <= 7 or math.prod(shape[4:]) != 1 or min(shape) < 1:
        raise Refusal("is no volume, nor a series of volumes: save it as one.")
    x, y, z, t = (*shape[:4], 1, 1)[:4]
    return x, y, z, t


def _orientation(header: Any) -> np.ndarray:
    """Find the patient's axis that lies nearest to each voxel axis, and its direction (3, 2)."""
    from nibabel.orientations import io_orientation

    affine = header.get_best_affine()
    found = io_orientation(affine) if np.isfinite(affine).all() else np.full((3, 2), np.nan)
    if np.isnan(found).any():
        raise Refusal("has an orientation that is none (its affine is singular): mend it.")
    return np.asarray(found)


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
