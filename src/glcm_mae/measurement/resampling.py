"""Pixels and voxels of another size: a region's values, and the region, on a new grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from glcm_mae.data import UnreadableImage
from glcm_mae.data.memory import amount, memory_left

__all__ = ["bounding_box", "resample"]

_ORDERS = {"linear": 1, "cubic": 3}
# Of a cubic spline the n-th voxel from a point has a weight of some 0.27 to the n-th: of 32 on,
# none that a float64 holds. Of a linear one, the two on either side alone.
_MARGINS = {"linear": 1, "cubic": 32}
# Files tell the sides of their voxels in float32: what differs by less is alike. So is a share of
# the region of one half that rounding has made 0.4999... (IBSI section 5.2).
_ROUNDING = 1e-6
_COPIES = 3  # float64 arrays of the old grid that are there at once, and of the new one


def resample(
    values: Tensor,
    inside: Tensor,
    sides: Sequence[float],
    spacing: Sequence[float],
    interpolation: Literal["linear", "cubic"],
    path: Path,
) -> tuple[Tensor, Tensor]:
    """Bring a region to pixels of another size.

    The new grid lies on the centre of the old one and covers it: of n pixels of side a it makes
    ceil(n a / b) of side b. Values are interpolated linearly or by cubic splines of the image,
    which its outermost pixels continue outwards. A new pixel is in the region where the region,
    interpolated linearly, is one half or more.

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
    path : Path
        The image, for the error.

    Returns
    -------
    values : Tensor of float32, (h, w) or (d, h, w)
        On the new grid, around the region alone. Not float64: the noise of its last digits would
        put equal values into different bins, and some beyond the end of a range.
    inside : Tensor of bool, like it
        The region there.

    Raises
    ------
    UnreadableImage
        If it would take more memory than is left.

    References
    ----------
    Zwanenburg, Leger, Vallieres, Lock, "Image biomarker standardisation initiative",
    arXiv 1612.07003, 2016, section 2.4: grids aligned by their centres (3WE3), their size (026Q),
    and the region's threshold (E8H9).

    Examples
    --------
    >>> ramp, everywhere = torch.arange(4.0).view(1, 4), torch.ones(1, 4, dtype=torch.bool)
    >>> finer, inside = resample(ramp, everywhere, (3, 3), (3, 2), "linear", Path("ramp.png"))
    >>> finer, inside.all()
    (tensor([[0.0000, 0.5000, 1.1667, 1.8333, 2.5000, 3.0000]]), tensor(True))
    """
    # Heavy, and needed here alone.
    from scipy.ndimage import affine_transform

    box = bounding_box(inside)
    axes = [_Axis.around(*axis) for axis in zip(box, inside.shape, sides, spacing, strict=True)]
    if not all(axis.size for axis in axes):  # between two new pixels, or nowhere
        nothing = torch.zeros([axis.size for axis in axes])
        return nothing, nothing > 0
    _check_memory(axes, interpolation, path)

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
    return (
        torch.from_numpy(bring(values, interpolation)).float(),
        torch.from_numpy(share >= 0.5 - _ROUNDING),
    )


def bounding_box(inside: Tensor) -> tuple[slice, ...]:
    """Find the smallest box around a region; an empty one if there is none.

    Examples
    --------
    >>> bounding_box(torch.tensor([[False, False, False], [False, True, True]]))
    (slice(1, 2, None), slice(1, 3, None))
    """
    if not inside.any():
        return (slice(0, 0),) * inside.ndim
    box = []
    for axis in range(inside.ndim):
        others = [other for other in range(inside.ndim) if other != axis]
        there = inside.any(dim=others).nonzero()
        box.append(slice(int(there[0]), int(there[-1]) + 1))
    return tuple(box)


class _Axis(NamedTuple):
    """One axis of the new grid, as far as the region may reach, counted in old pixels."""

    start: float  # where the first of its pixels lies
    step: float
    size: int
    length: int  # old pixels that there are

    @classmethod
    def around(cls, box: slice, length: int, side: float, wanted: float) -> _Axis:
        """Lay the grid over the whole axis, and keep what is less than a pixel from the region.

        Examples
        --------
        >>> _Axis.around(slice(0, 40), 40, 1.1000000238418579, 1.1)  # 1.1 as a NIfTI tells it
        _Axis(start=0.0, step=1.0, size=40, length=40)
        """
        step = wanted / side
        if abs(step - round(step)) < _ROUNDING * step:
            step = float(round(step))
        whole = math.ceil(length / step * (1 - _ROUNDING))
        first = (length - 1 - step * (whole - 1)) / 2
        low = max(0, math.ceil((box.start - 1 - first) / step))
        high = min(whole - 1, math.floor((box.stop - first) / step))
        size = max(0, high - low + 1) if box.stop > box.start else 0
        return cls(first + low * step, step, size, length)

    def crop(self, margin: int) -> slice:
        """Say which old pixels are needed."""
        last = self.start + (self.size - 1) * self.step
        low = min(math.floor(self.start), self.length - 1) - margin
        high = math.ceil(last) + margin
        return slice(max(0, low), min(self.length, high + 1))


def _check_memory(axes: Sequence[_Axis], interpolation: str, path: Path) -> None:
    crops = [axis.crop(_MARGINS[interpolation]) for axis in axes]
    old = math.prod(crop.stop - crop.start for crop in crops)
    sizes = [axis.size for axis in axes]
    needed = 8 * _COPIES * (old + math.prod(sizes))
    if needed > memory_left():
        raise UnreadableImage(
            path,
            f"would be resampled to {' x '.join(map(str, sizes))}, which takes {amount(needed)} of "
            f"memory, of which {amount(memory_left())} are left: give a wider --spacing, or masks "
            "of smaller regions, or mend its header if its sides are not so long.",
        )
