"""Pixels that are no squares and voxels that are no cubes, which pairs of pixels take them for."""

from __future__ import annotations

from dataclasses import dataclass

from glcm_mae.data import Grid, Plane, are_alike
from glcm_mae.settings import FeaturesSettings

__all__ = ["Stretch", "sides_of", "stretch_of"]


@dataclass(frozen=True)
class Stretch:
    """The sides of a pixel or voxel that differ, though a step along each counts as one.

    Parameters
    ----------
    sides : tuple of float
        In mm: height and width of a pixel, or to the right, forward and up of a voxel.
    planes : tuple of str
        The planes in which the file's pixels are squares.

    Examples
    --------
    >>> str(Stretch((0.7, 0.7, 3.0), ("axial",)))
    '0.7 x 0.7 x 3 mm'
    """

    sides: tuple[float, ...]
    planes: tuple[Plane, ...]

    def __str__(self) -> str:
        return " x ".join(f"{side:.3g}" for side in self.sides) + " mm"


def stretch_of(
    grid: Grid | None, spacing: tuple[float, float] | None, settings: FeaturesSettings
) -> Stretch | None:
    """Tell whether an image's pixels, or voxels in the 3-D ways, differ in their sides.

    Parameters
    ----------
    grid : Grid or None
        Where the voxels of its file lie, if it is a volume.
    spacing : (float, float) or None
        Else the distance of two rows and of two columns, if it is known.
    settings : FeaturesSettings
        The way of aggregation and the plane.

    Returns
    -------
    Stretch or None
        None where the sides are alike, or not known.

    Examples
    --------
    >>> stretch_of(None, (0.5, 1.0), FeaturesSettings(images="a.dcm", out="a.csv")).sides
    (0.5, 1.0)
    """
    sides: tuple[float, ...] | None = spacing
    if grid is not None:  # in the order in which people name them
        sides = grid.sides if settings.is_3d else grid.pixel(settings.plane)
    if sides is None or are_alike(sides):
        return None
    return Stretch(sides, () if grid is None else tuple(grid.square_planes))


def sides_of(
    grid: Grid | None, spacing: tuple[float, float] | None, settings: FeaturesSettings
) -> tuple[float, ...] | None:
    """Tell how long a pixel or voxel is along each axis of what is measured at once.

    Parameters
    ----------
    grid, spacing, settings
        As for `stretch_of`.

    Returns
    -------
    tuple of float or None
        In mm: height and width of a slice's pixels, before them of a volume from slice to slice.
        None where one is not known that counts: in the ways that measure slice by slice, the
        first does not, and is 1.

    Examples
    --------
    >>> merged = FeaturesSettings(images="a.dcm", out="a.csv", aggregation="2.5d_merged")
    >>> sides_of(None, (0.5, 1.0), merged)
    (1.0, 0.5, 1.0)
    """
    if grid is not None:
        voxel = grid.voxel(settings.plane)
        return voxel if settings.is_volumetric else voxel[1:]
    if spacing is None or settings.is_3d:
        return None
    return (1.0, *spacing) if settings.is_volumetric else spacing
