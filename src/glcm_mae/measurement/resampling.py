"""Pixels and voxels of another size: a region's values, and the region, on a new grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from glcm_mae.data.memory import memory_left
from glcm_mae.errors import UserError

__all__ = ["resample"]

_ORDERS = {"linear": 1, "cubic": 3}
# Of a cubic spline the n-th voxel from a point has a weight of some 0.27 to the n-th: of 32 on,
# none that a float64 holds. Of a linear one, the two on either side alone.
_MARGINS = {"linear": 1, "cubic": 32}
# A weight of one half that rounding has made 0.4999... is one half (IBSI section 5.2).
_HALF = 0.5 - 1e-6
_COPIES = 6  # float64 arrays of the new grid that are there at once, the spline's own among them


def resample(
    values: Tensor,
    inside: Tensor,
    sides: Sequence[float],
    spacing: Sequence[float],
    interpolation: Literal["linear", "cubic"],
    name: str,
) -> tuple[Tensor, Tensor]:
    """Bring a region to pixels of another size.

    The new grid lies on the centre of the old one and covers it: of n pixels of side a it makes
    ceil(n a / b) of side b. Values are interpolated linearly or by cubic splines, and beyond the
    outermost pixels' centres are those of these pixels. A new pixel is in the region where the
    region, interpolated linearly, is one half or more.

    Parameters
    ----------
    values : Tensor, (H, W) or (D, H, W)
        Finite values of the whole image: the grid is laid over all of it.
    inside : Tensor of bool, like ``values``
        The region.
    sides : sequence of float
        Sides of a pixel or voxel along each axis, in mm.
    spacing : sequence of float
        Those that are wanted.
    interpolation : {"linear", "cubic"}
        Of the values.
    name : str
        What errors call the image.

    Returns
    -------
    values : Tensor of float64, (h, w) or (d, h, w)
        On the new grid, around the region alone.
    inside : Tensor of bool, like it
        The region there.

    Raises
    ------
    UserError
        If it would take more memory than is left.

    References
    ----------
    Zwanenburg, Leger, Vallieres, Lock, "Image biomarker standardisation initiative",
    arXiv 1612.07003, 2016, section 2.4: grids aligned by their centres (3WE3), their size (026Q),
    and the region's threshold (E8H9).

    Examples
    --------
    >>> ramp, everywhere = torch.arange(4.0).view(1, 4), torch.ones(1, 4, dtype=torch.bool)
    >>> finer, inside = resample(ramp, everywhere, (3, 3), (3, 2), "linear", "ramp.png")
    >>> finer.numpy().round(3).tolist(), inside.all().item()
    ([[0.0, 0.5, 1.167, 1.833, 2.5, 3.0]], True)
    """
    # Heavy, and needed here alone.
    from scipy.ndimage import affine_transform

    if not inside.any():
        return values.double(), inside
    axes = [
        _Axis.around(*axis)
        for axis in zip(_extents(inside), inside.shape, sides, spacing, strict=True)
    ]
    _check_memory(axes, name)

    def bring(old: Tensor, kind: Literal["linear", "cubic"]) -> np.ndarray:
        crops = [axis.crop(_MARGINS[kind]) for axis in axes]
        return affine_transform(
            old[tuple(crops)].double().numpy(),
            [axis.step for axis in axes],
            [axis.start - crop.start for axis, crop in zip(axes, crops, strict=True)],
            [axis.size for axis in axes],
            order=_ORDERS[kind],
            mode="nearest",
        )

    share = bring(inside, "linear")
    return torch.from_numpy(bring(values, interpolation)), torch.from_numpy(share >= _HALF)


class _Axis(NamedTuple):
    """One axis of the new grid, as far as the region may reach, counted in old pixels."""

    start: float  # where the first of its pixels lies
    step: float
    size: int
    length: int  # old pixels that there are

    @classmethod
    def around(cls, extent: tuple[int, int], length: int, side: float, wanted: float) -> _Axis:
        """Lay the grid over the whole axis, and keep what is less than a pixel from the region."""
        step = wanted / side
        whole = math.ceil(length / step * (1 - 1e-9))  # 3 of 0.1 mm are no more than 0.3
        first = (length - 1 - step * (whole - 1)) / 2
        low = max(0, math.ceil((extent[0] - 1 - first) / step))
        high = min(whole - 1, math.floor((extent[1] + 1 - first) / step))
        return cls(first + low * step, step, max(0, high - low + 1), length)

    def crop(self, margin: int) -> slice:
        """Say which old pixels are needed."""
        last = self.start + (self.size - 1) * self.step
        low = min(math.floor(self.start), self.length - 1) - margin
        high = math.ceil(last) + margin
        return slice(max(0, low), min(self.length, high + 1))


def _extents(inside: Tensor) -> list[tuple[int, int]]:
    """Say for each axis between which pixels the region lies."""
    places = inside.nonzero()
    return list(zip(places.amin(dim=0).tolist(), places.amax(dim=0).tolist(), strict=True))


def _check_memory(axes: Sequence[_Axis], name: str) -> None:
    sizes = [axis.size for axis in axes]
    needed = 8 * _COPIES * math.prod(sizes)
    if needed > memory_left():
        raise UserError(
            f"{name} would be resampled to {' x '.join(map(str, sizes))}, which takes "
            f"{needed / 2**30:.1f} GiB of memory, of which {memory_left() / 2**30:.1f} GiB are "
            "left: give a wider --spacing, or masks of smaller regions."
        )
