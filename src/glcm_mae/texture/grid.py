"""Where Gaussians around gray levels are sampled, so that a kernel over pairs needs no pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .binning import Taps
from .inputs import check_range

# Grid points a bandwidth. The sum over the grid is then within 1.1e-7 of the integral: by Poisson's
# formula it is off by 2 exp(-(pi 1.3)^2).
_POINTS_PER_BANDWIDTH = 1.3

# Grid points a pixel touches: up to 5 bandwidths on either side, where exp(-x^2 / 2) is 4e-6.
_TAPS = 13

# At this share of the range a matrix takes 207 MiB in float64: finer grids would take more still.
_FINEST = 0.0005


@dataclass(frozen=True)
class GaussianGrid:
    """A grid of gray levels, at each of which a pixel weighs ``exp(-(x - level)^2 / 2 b^2)``.

    The product of two pixels' weights, summed over the grid, is ``exp(-(x - x')^2 / 4 b^2)`` times
    a constant: the squared difference of two co-occurrence matrices on this grid is a kernel
    distance between the two sets of pixel pairs, computed without comparing pair with pair.

    Parameters
    ----------
    bandwidth : float
        ``b``, in intensity units: 0.0005 of the range or more.
    ends : (float, float)
        Where the images' values lie. They may lie beyond by half the range on either side; values
        even further out count as lying there and receive no gradient.

    Raises
    ------
    ValueError
        If a setting is out of its range.

    Examples
    --------
    >>> grid = GaussianGrid(bandwidth=0.1)
    >>> x = torch.tensor([0.2, 0.35], dtype=torch.float64)
    >>> (_, (first, second), _) = grid.taps(x)
    >>> dense = torch.zeros(2, grid.levels, dtype=torch.float64)
    >>> a, b = dense.scatter_(1, grid.taps(x).bins, grid.taps(x).weight)
    >>> round(float(a @ b / grid.mass), 6), round(math.exp(-(0.15**2) / (4 * 0.1**2)), 6)
    (0.569783, 0.569783)
    """

    bandwidth: float
    ends: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        low, high = check_range(self.ends)
        object.__setattr__(self, "ends", (low, high))
        object.__setattr__(self, "bandwidth", float(self.bandwidth))
        least = _FINEST * (high - low)
        if not (math.isfinite(self.bandwidth) and self.bandwidth >= least):
            raise ValueError(
                f"bandwidth is {self.bandwidth}: give intensity units, {least:g} or more for "
                f"value_range {self.ends}."
            )

    @property
    def scale(self) -> float:
        """The bandwidth, as `Binning` names it."""
        return self.bandwidth

    @property
    def width(self) -> float:
        """Distance of two grid points, in intensity units."""
        return self.bandwidth / _POINTS_PER_BANDWIDTH

    @property
    def levels(self) -> int:
        """Number of grid points."""
        low, high = self.ends
        return math.ceil(2 * (high - low) / self.width) + _TAPS

    @property
    def value_range(self) -> tuple[float, float]:
        """Lower and upper edge of the grid, half a step beyond its outermost points."""
        low, high = self.ends
        low -= (high - low) / 2 + _TAPS / 2 * self.width
        return low, low + self.levels * self.width

    @property
    def covered(self) -> tuple[float, float]:
        """Least and greatest value whose grid points are all there."""
        low, high = self.value_range
        margin = _TAPS / 2 * self.width
        return low + margin, high - margin

    @property
    def n_taps(self) -> int:
        """Number of neighbouring grid points that a pixel touches."""
        return _TAPS

    @property
    def reach(self) -> float:
        """Distance from a pixel to the edge of its first grid point, rounded down, in steps."""
        return (_TAPS - 1) / 2

    @property
    def mass(self) -> float:
        """Sum over the grid of a pixel's squared weights."""
        return math.sqrt(math.pi) * _POINTS_PER_BANDWIDTH

    def taps(self, values: Tensor) -> Taps:
        """Find the grid points that each pixel touches, its weights there, and their slopes.

        Parameters
        ----------
        values : Tensor of float32 or float64, any shape
            Pixel intensities.

        Returns
        -------
        Taps
            Three tensors of shape ``(*values.shape, 13)``.
        """
        least, most = self.covered
        inside = (values >= least) & (values <= most)
        position = (values.double().clamp(least, most) - self.value_range[0]) / self.width
        first = torch.floor(position.detach() - self.reach).nan_to_num(0.0)
        first = first.clamp(0, self.levels - _TAPS)
        bins = first[..., None] + torch.arange(_TAPS, device=values.device)
        distance = ((position[..., None] - bins - 0.5) / _POINTS_PER_BANDWIDTH).to(values.dtype)
        weight = torch.exp(-0.5 * distance * distance)
        slope = (weight * distance / -self.bandwidth).masked_fill(~inside[..., None], 0)
        return Taps(bins.long(), weight, slope)
