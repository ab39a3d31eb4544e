"""Volumes of any format: cut into slices, the right way up, and laid in space.

An affine says where the patient's right, front and head are. A slice is shown as radiologists see
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

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .facts import Facts, full_range
from .grid import Grid, Plane, normal_of
from .limits import MAX_FRAMES, check_size, chosen_frame
from .refusal import Refusal

__all__ = ["NO_VOLUME", "Volume", "as_stored"]

NO_VOLUME = "is no volume, nor a series of volumes: save it as one."


@dataclass(frozen=True)
class Volume:
    """What a file's header says about its voxels, in the order in which it holds their axes.

    Parameters
    ----------
    format : str
        As `Facts` names it.
    shape : (int, int, int, int)
        Lengths of the three axes of a volume, and the number of volumes.
    samples : int
        Of a voxel: 1, or 3 for colour.
    dtype : np.dtype
        Of a sample.
    affine : np.ndarray
        (4, 4), from the counts of a voxel to its place: to the right, forward and up.
    mm : float or None
        The unit of that place in mm, if the file tells it.
    is_flat : bool
        Whether the file holds images of two axes, which lie nowhere in space and are shown as they
        are stored. Their affine is that of `as_stored`, and their third axis has a length of 1.

    Examples
    --------
    >>> head = Volume("nifti", (5, 6, 7, 1), 1, np.dtype("i2"), np.diag([2, -2, 3, 1]), mm=1.0)
    >>> head.frames("axial"), head.grid().sides
    (7, (2.0, 2.0, 3.0))
    >>> voxels = np.arange(5 * 6 * 7).reshape(5, 6, 7, 1, 1)
    >>> pixels, facts = head.read(lambda: voxels, 3, "coronal")
    >>> pixels.shape, facts.spacing
    ((7, 5, 1), (3.0, 2.0))
    """

    format: str
    shape: tuple[int, int, int, int]
    samples: int
    dtype: np.dtype
    affine: np.ndarray
    mm: float | None
    is_flat: bool = False

    def frames(self, plane: Plane) -> int:
        """Count the slices."""
        return _Layout.of(self, plane).frames

    def read(
        self, stored: Callable[[], np.ndarray], frame: int | None, plane: Plane
    ) -> tuple[np.ndarray, Facts]:
        """Take one slice (H, W, samples) out of the voxels (x, y, z, t, samples) that are given."""
        layout = _Layout.of(self, plane)
        number = chosen_frame(frame, layout.frames)
        pixels = layout.slice(stored(), number)
        facts = Facts(
            format=self.format,
            dtype=pixels.dtype.name,
            bits=8 * pixels.dtype.itemsize,
            photometric="RGB" if self.samples >= 3 else "L",
            value_range=full_range(pixels.dtype),
            frames=layout.frames,
            spacing=layout.spacing,
        )
        return pixels, facts

    def grid(self) -> Grid | None:
        """Tell where the voxels lie, unless nowhere."""
        from nibabel.orientations import inv_ornt_aff

        if self.is_flat:
            return None
        found = self._orientation()
        right, forward, up = (self.shape[axis] for axis in np.argsort(found[:, 0]))
        scale = self.mm or 1.0  # mm, where no unit is told
        affine = np.diag([scale, scale, scale, 1.0]) @ self.affine
        turned = affine @ inv_ornt_aff(found, self.shape[:3])
        return Grid((right, forward, up), self.shape[3], turned)

    def _orientation(self) -> np.ndarray:
        """Find the patient's axis nearest to each voxel axis, and its direction (3, 2)."""
        from nibabel.orientations import io_orientation

        is_known = np.isfinite(self.affine).all()
        found = io_orientation(self.affine) if is_known else np.full((3, 2), np.nan)
        if np.isnan(found).any():
            raise Refusal("has an orientation that is none (its affine is singular): mend it.")
        return np.asarray(found)


def as_stored(across: float, down: float) -> np.ndarray:
    """Give the affine by which an image of two axes is shown as it is stored.

    Parameters
    ----------
    across, down : float
        Width and height of a pixel.

    Examples
    --------
    >>> np.diag(as_stored(0.5, 0.7)).tolist()
    [-0.5, -0.7, 1.0, 1.0]
    """
    return np.diag([-across, -down, 1.0, 1.0])  # columns to the left, rows to the back: axial


@dataclass(frozen=True)
class _Layout:
    """How slices of a plane lie in the voxel axes."""

    axes: tuple[int, ...]  # voxel axes of right, forward, up
    flips: tuple[bool, ...]  # which of them run the other way
    normal: int  # 0 right, 1 forward, 2 up
    slices: int
    frames: int
    spacing: tuple[float, float] | None

    @classmethod
    def of(cls, volume: Volume, plane: Plane) -> _Layout:
        """Find the voxel axes that lie nearest to the patient's."""
        found = volume._orientation()
        axes = tuple(int(axis) for axis in np.argsort(found[:, 0]))
        lengths = [volume.shape[axis] for axis in axes]
        normal = normal_of(lengths, "axial" if volume.is_flat else plane)
        across, down = (axis for axis in range(3) if axis != normal)
        check_size((lengths[down], lengths[across], volume.samples), volume.dtype)
        frames = lengths[normal] * volume.shape[3]
        if frames > MAX_FRAMES:
            raise Refusal(f"claims more than {MAX_FRAMES:,} slices: export it again.")
        zooms = np.linalg.norm(volume.affine[:3, :3], axis=0)[list(axes)].tolist()
        scale = volume.mm
        return cls(
            axes=axes,
            flips=tuple(bool(found[axis, 1] < 0) for axis in axes),
            normal=normal,
            slices=lengths[normal],
            frames=frames,
            spacing=(zooms[down] * scale, zooms[across] * scale) if scale else None,
        )

    def slice(self, stored: np.ndarray, frame: int) -> np.ndarray:
        """Cut a slice (H, W, samples) out of the voxels (x, y, z, t, samples)."""
        time, place = divmod(frame, self.slices)
        volume = stored[..., time, :].transpose(*self.axes, 3)
        volume = volume[tuple(np.s_[:: -1 if flip else 1] for flip in self.flips)]
        cut: list[slice | int] = [np.s_[:], np.s_[:], np.s_[:]]
        cut[self.normal] = place
        # Rows from the far end of the higher axis down, columns from the far end of the lower one.
        return np.ascontiguousarray(volume[tuple(cut)][::-1, ::-1].swapaxes(0, 1))
