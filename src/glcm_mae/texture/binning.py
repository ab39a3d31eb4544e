"""How softly a gray level falls into a bin: the four numbers that define a soft GLCM's cells.

A pixel is read as if its gray level carried noise of a given bandwidth: the weight of bin k is the
probability that the noisy value falls between the bin's edges. Every kernel is therefore the
difference of one cumulative distribution at two edges, and the weights of a pixel sum to one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .inputs import check_range, check_tensors

KernelName = Literal["sigmoid", "linear", "bspline", "gaussian"]

MOST_LEVELS = 4096
"""Of a soft GLCM: the difference of two with more takes over 64 MiB a patch."""

# Mass beyond which a kernel's tail is dropped. At 1e-9 float32 cannot tell the difference.
_TAIL = 1e-9


class _Noise(NamedTuple):
    """A standard noise distribution: its cumulative and density function and where they end."""

    cdf: Callable[[Tensor], Tensor]
    pdf: Callable[[Tensor], Tensor]
    reach: float  # half-width, in bandwidths, outside which the tail is below _TAIL
    default: float  # the default bandwidth, in bins


def _logistic_pdf(t: Tensor) -> Tensor:
    s = torch.sigmoid(t)
    return s * (1 - s)


def _normal_pdf(t: Tensor) -> Tensor:
    return torch.exp(-0.5 * t * t) / math.sqrt(2 * math.pi)


def _spline_cdf(t: Tensor) -> Tensor:
    """Cumulative distribution of the sum of three uniform numbers between -1/2 and 1/2."""
    tail = (1.5 - t.abs()).clamp_min(0) ** 3 / 6  # of |t| from 1/2 on
    near = t.clamp(-0.5, 0.5)
    middle = 0.5 + near * (0.75 - near * near / 3)
    return torch.where(t.abs() < 0.5, middle, torch.where(t > 0, 1 - tail, tail))


def _spline_pdf(t: Tensor) -> Tensor:
    near, far = 0.75 - t * t, (1.5 - t.abs()).clamp_min(0) ** 2 / 2
    return torch.where(t.abs() < 0.5, near, far)


NOISE: dict[str, _Noise] = {
    "sigmoid": _Noise(torch.sigmoid, _logistic_pdf, -math.log(_TAIL), 1 / 30),
    "linear": _Noise(
        lambda t: (t + 0.5).clamp(0, 1),
        lambda t: ((t >= -0.5) & (t < 0.5)).to(t.dtype),
        0.5,
        1.0,
    ),
    "bspline": _Noise(_spline_cdf, _spline_pdf, 1.5, 1.0),
    "gaussian": _Noise(torch.special.ndtr, _normal_pdf, 6.0, 1.0),
}


class Taps(NamedTuple):
    """The few bins that each pixel touches. All fields have the pixels' shape and one axis more.

    Attributes
    ----------
    bins : Tensor of int64, (..., T)
        The bins, in ``[0, levels)``.
    weight : Tensor, (..., T)
        The pixel's share in each of them.
    slope : Tensor, (..., T)
        The derivative of ``weight`` by the pixel's value.
    """

    bins: Tensor
    weight: Tensor
    slope: Tensor


@dataclass(frozen=True)
class Binning:
    """A soft assignment of intensities to gray levels.

    The range is cut into ``levels`` bins of width ``w``; the weight of pixel ``x`` in the bin
    between the edges ``e`` and ``e + w`` is ``F((x - e) / b) - F((x - e - w) / b)``, where ``F``
    is the kernel's cumulative distribution and ``b`` its bandwidth. What a kernel puts beyond an
    end of the range is mirrored back into it, once: the weights of a pixel sum to one if the kernel
    reaches no further than the range is wide. Values outside the range count as its nearest end
    and receive no gradient; at an end, where the kernel and its mirror image are alike, it is 0.

    Parameters
    ----------
    levels : int
        Number of bins, 2 to 4,096.
    kernel : {"sigmoid", "linear", "bspline", "gaussian"}
        ``F``: logistic (bandwidth = its scale; the form of Avi-Aharon et al. 2020), uniform
        (bandwidth = its full width; one bin wide gives linear interpolation between bin centres),
        the sum of three uniform numbers (bandwidth = the full width of each; one bin wide gives
        the cubic B-spline of Mattes et al. 2003: twice differentiable, four bins a pixel) or
        normal (bandwidth = its standard deviation).
    bandwidth : float, optional
        In intensity units, above 0 and below the width of the range. Default: a thirtieth of a bin
        for "sigmoid" (Madan et al. 2025), one bin for the others. (It is kept from then on:
        `dataclasses.replace` with other levels does not choose anew.)
    value_range : (float, float)
        The lower edge of the first bin and the upper edge of the last.

    Raises
    ------
    ValueError
        If a setting is out of its range.

    References
    ----------
    Avi-Aharon, Arbelle, Riklin Raviv, "DeepHist: Differentiable Joint and Color Histogram Layers
    for Image-to-Image Translation", 2020, arXiv 2005.03995.
    Madan et al., "Focus on Texture", MICCAI 2025, arXiv 2507.10869.
    Mattes, Haynor, Vesselle, Lewellen, Eubank, "PET-CT Image Registration in the Chest Using
    Free-form Deformations", IEEE Trans. Medical Imaging 22(1), 2003, section II-B.

    Examples
    --------
    >>> binning = Binning(levels=4, kernel="linear")
    >>> binning.width, binning.scale
    (0.25, 0.25)
    >>> bins, weight, _ = binning.taps(torch.tensor([0.125, 0.25]))
    >>> bins.tolist(), weight.tolist()
    ([[0, 1], [0, 1]], [[1.0, 0.0], [0.5, 0.5]])
    """

    levels: int
    kernel: KernelName = "gaussian"
    bandwidth: float | None = None
    value_range: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if not isinstance(self.levels, Integral) or not 2 <= self.levels <= MOST_LEVELS:
            raise ValueError(
                f"levels is {self.levels}: a soft GLCM has 2 to {MOST_LEVELS:,} gray levels."
            )
        object.__setattr__(self, "levels", int(self.levels))  # NumPy's integers would overflow
        if self.kernel not in tuple(NOISE):  # of a list, which has no hash, a dict would complain
            raise ValueError(f"kernel is {self.kernel!r}: choose one of {', '.join(NOISE)}.")
        object.__setattr__(self, "value_range", check_range(self.value_range))
        default = self._noise.default * self.width
        bandwidth = default if self.bandwidth is None else float(self.bandwidth)
        object.__setattr__(self, "bandwidth", bandwidth)
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"bandwidth is {self.bandwidth}: give intensity units above 0.")
        low, high = self.value_range
        if self.scale >= high - low:
            raise ValueError(
                f"bandwidth is {self.bandwidth:g}, no less than the width of value_range "
                f"{self.value_range}, and would tell no gray levels apart: it is in intensity "
                f"units, of which a bin has {self.width:g}."
            )

    @property
    def width(self) -> float:
        """Width of a bin, in intensity units."""
        low, high = self.value_range
        return (high - low) / self.levels

    @property
    def middle(self) -> float:
        """Middle of the range."""
        return sum(self.value_range) / 2

    @property
    def scale(self) -> float:
        """The bandwidth in force, in intensity units."""
        assert self.bandwidth is not None  # __post_init__ has set it
        return self.bandwidth

    @property
    def n_taps(self) -> int:
        """Number of neighbouring bins that a pixel can touch."""
        return math.ceil(2 * self.reach - 1e-9) + 1

    @property
    def _noise(self) -> _Noise:
        return NOISE[self.kernel]

    @property
    def reach(self) -> float:
        """Half-width of the kernel, tails of 1e-9 cut off, in bins."""
        return self._noise.reach * self.scale / self.width

    def weights(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Find the bins that each pixel touches, and its share in each; differentiable.

        Parameters
        ----------
        values : Tensor of float32 or float64, any shape
            Pixel intensities.

        Returns
        -------
        bins : Tensor of int64, (*values.shape, n_taps)
        weight : Tensor like ``values``, (*values.shape, n_taps)
            0 throughout where the value is NaN, which has no gray level.

        Raises
        ------
        TypeError, ValueError
            If the values are no tensor of these types.
        """
        check_tensors(values=values)
        if values.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"values are {values.dtype}: bring them to float32, on the scale of value_range."
            )
        first, distance = self._inner_edges(values)
        above = self._noise.cdf(distance).to(values.dtype)  # P(noisy value above the edge)
        # The outermost edges lie beyond the kernel: there the distribution is 1 and 0.
        above = F.pad(F.pad(above, (1, 0), value=1.0), (0, 1))
        weight = above[..., :-1] - above[..., 1:]
        bins, beyond = self._mirror(first)
        return bins, weight.masked_fill(beyond, 0)

    def taps(self, values: Tensor) -> Taps:
        """Find bins, shares, and how the shares change with the pixel.

        Parameters
        ----------
        values : Tensor of float32 or float64, any shape
            Pixel intensities.

        Returns
        -------
        Taps
            Three tensors of shape ``(*values.shape, n_taps)``; weight and slope have the dtype of
            ``values``.

        Raises
        ------
        TypeError, ValueError
            If the values are no tensor of these types.
        """
        bins, weight = self.weights(values)
        first, distance = self._inner_edges(values)
        density = self._noise.pdf(distance).to(values.dtype) / self.scale
        density = F.pad(density, (1, 1))
        slope = density[..., :-1] - density[..., 1:]
        low, high = self.value_range
        outside = (values < low) | (values > high)
        _, beyond = self._mirror(first)
        return Taps(bins, weight, slope.masked_fill(beyond | outside[..., None], 0))

    def _inner_edges(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """First bin of each pixel (...), and distances from the edges between its bins.

        Distances are in bandwidths, (..., n_taps - 1).
        """
        low, high = self.value_range
        # Position in bins. In float64: a float32 position at level 200 would be off by 1e-5 of a
        # bin, which the steep sigmoid multiplies by 30.
        position = (values.clamp(low, high).double() - low) / self.width
        first = torch.floor(position.detach() - self.reach)
        position = position - first
        if self.scale >= self.width:  # a gentle kernel does not need the extra digits
            position = position.to(values.dtype)
        edges = torch.arange(1, self.n_taps, device=values.device, dtype=position.dtype)
        return first.long(), (position[..., None] - edges) * (self.width / self.scale)

    def _mirror(self, first: Tensor) -> tuple[Tensor, Tensor]:
        """Bins from the first on, folded back at the ends; and which stay outside even so.

        Each is folded once. Returns two tensors (..., n_taps).
        """
        bins = first[..., None] + torch.arange(self.n_taps, device=first.device)
        beyond = (bins < -self.levels) | (bins >= 2 * self.levels)
        bins = torch.where(bins < 0, -1 - bins, bins)
        bins = torch.where(bins >= self.levels, 2 * self.levels - 1 - bins, bins)
        return bins.masked_fill(beyond, 0), beyond
