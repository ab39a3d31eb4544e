"""Where the voxels of a volume lie: how many, how long, and where, whatever their axes' order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

__all__ = ["Grid", "Plane", "are_alike", "normal_of"]

Plane = Literal["axial", "coronal", "sagittal"]

_NORMALS = {"sagittal": 0, "coronal": 1, "axial": 2}  # of x to the right, y forward, z up
_TILTED = 0.01  # cosine of two axes from which they do not pass for right-angled: half a degree
_ALIKE = 1.1  # ratio of two sides up to which they pass for equal


@dataclass(frozen=True)
class Grid:
    """The voxels of a volume, counted to the patient's right, forward and up as slices are.

    Parameters
    ----------
    shape : (int, int, int)
        Number of voxels to the right, forward and up.
    volumes : int
        How many volumes follow each other.
    affine : np.ndarray
        (4, 4), from the counts of a voxel to its place in mm.

    Examples
    --------
    >>> grid = Grid((512, 512, 90), 1, np.diag([0.7, 0.7, 3.0, 1.0]))
    >>> grid.sides, grid.pixel("coronal"), grid.square_planes
    ((0.7, 0.7, 3.0), (3.0, 0.7), ['axial'])
    """

    shape: tuple[int, int, int]
    volumes: int
    affine: np.ndarray

    @property
    def sides(self) -> tuple[float, float, float]:
        """Sides of a voxel to the right, forward and up."""
        right, forward, up = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return right, forward, up

    def pixel(self, plane: Plane) -> tuple[float, float]:
        """Height and width of a slice's pixels."""
        normal = normal_of(self.shape, plane)
        across, down = (side for axis, side in enumerate(self.sides) if axis != normal)
        return down, across

    def voxel(self, plane: Plane) -> tuple[float, float, float]:
        """Sides of a voxel as slices are stacked: from slice to slice, height and width."""
        return (self.sides[normal_of(self.shape, plane)], *self.pixel(plane))

    def is_right_angled(self, plane: Plane | None = None) -> bool:
        """Whether the axes of voxels, or of a plane's pixels, stand at right angles.

        Those of a CT with a tilted gantry do not, unless it was resampled.
        """
        axes = self.affine[:3, :3] / self.sides
        if plane is not None:
            axes = np.delete(axes, normal_of(self.shape, plane), axis=1)
        return bool(np.abs(np.triu(axes.T @ axes, 1)).max() < _TILTED)

    @property
    def square_planes(self) -> list[Plane]:
        """The planes whose pixels pass for squares."""
        return [plane for plane in get_args(Plane) if are_alike(self.pixel(plane))]


def are_alike(sides: Sequence[float]) -> bool:
    """Tell whether sides pass for equal: of a pixel for a square, of a voxel for a cube.

    Examples
    --------
    >>> are_alike((0.7, 0.72)), are_alike((0.7, 0.7, 3.0))
    (True, False)
    """
    return max(sides) <= _ALIKE * min(sides)


def normal_of(shape: Sequence[int], plane: Plane) -> int:
    """Tell the axis (0 right, 1 forward, 2 up) along which slices are counted.

    Examples
    --------
    >>> normal_of((5, 6, 7), "coronal"), normal_of((5, 6, 1), "coronal")
    (1, 2)
    """
    flat = [axis for axis in range(3) if shape[axis] == 1]
    # A file of one slice has but one plane.
    return flat[0] if len(flat) == 1 else _NORMALS[plane]
