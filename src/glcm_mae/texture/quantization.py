"""From intensities to gray levels, in the three ways of the field.

Gray levels are counted from 0 here; the Image Biomarker Standardisation Initiative (IBSI) counts
them from 1, and `glcm_mae.texture.glcm_features` adds that 1 where it matters.
"""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from .inputs import check_levels, check_ndim, check_range, check_tensors, region_of


def quantize(
    images: Tensor,
    levels: int,
    value_range: tuple[float, float] | None = None,
    *,
    mask: Tensor | None = None,
) -> Tensor:
    """Cut a given range into bins of equal width and give each pixel its bin's number.

    Parameters
    ----------
    images : Tensor of numbers, any shape
        Intensities. Values beyond an end of the range, infinite ones too, fall into its nearest
        bin.
    levels : int
        Number of bins.
    value_range : (float, float), optional
        Lower edge of the first bin, upper edge of the last. Default: (0, 1), for floating-point
        images; of whole numbers it must be given, such as (0, 256) for 8 bits.
    mask : Tensor of bool, broadcastable to ``images``, optional
        The region of interest; pixels outside are not looked at and get level 0.

    Returns
    -------
    Tensor of int32, like ``images``
        Gray levels in ``[0, levels)``.

    Raises
    ------
    TypeError, ValueError
        If the images are no tensor, a pixel of the region is NaN, there is no level, or the range
        is empty or missing.

    Warns
    -----
    UserWarning
        If no range is given, and most of the region lies beyond (0, 1).

    Examples
    --------
    >>> quantize(torch.tensor([0.0, 0.49, 0.5, 1.0]), levels=2).tolist()
    [0, 0, 1, 1]
    """
    check_tensors(images=images, mask=mask)
    _check_real(images)
    if value_range is None and not images.is_floating_point():
        raise ValueError(
            f"images are {images.dtype}: give their value_range, such as (0, 256) for 8 bits."
        )
    low, high = (0.0, 1.0) if value_range is None else check_range(value_range)
    levels = check_levels(levels)
    if math.isinf((high - low) * levels):
        raise ValueError(f"value_range is {value_range}: that is more than float64 can divide.")
    x, counted = images.double(), images.numel()
    if mask is not None:
        inside = region_of(mask, images)
        x, counted = x.masked_fill(~inside, low), int(inside.sum())
    if x.isnan().any():
        raise ValueError("images hold NaN, which has no gray level: replace it, or mask it out.")
    if value_range is None and 2 * int(((x < low) | (x > high)).sum()) > counted:
        warnings.warn(
            "most of the images lies beyond 0 to 1 and falls into the outermost bins: give their "
            "value_range.",
            stacklevel=2,
        )
    # Multiplied first: a whole number divided by a whole number falls on the right side of an edge.
    codes = (x.clamp(low, high) - low) * levels / (high - low)
    return codes.floor().clamp(0, levels - 1).int()


def fixed_bin_number(
    images: Tensor, levels: int, *, mask: Tensor | None = None, ndim: int = 2
) -> Tensor:
    """Cut each image's own range into a fixed number of bins (FBN).

    With x_min and x_max the range of the region of interest, a pixel x gets level
    ``floor(levels * (x - x_min) / (x_max - x_min))``, and x_max the last one: IBSI's formula minus
    1. An image of one value is all level 0. A value on the edge of two bins surely falls into the
    upper one if all are whole numbers; where they are not, rounding decides: quantize before
    scaling.

    Parameters
    ----------
    images : Tensor of numbers, (..., H, W) or (..., D, H, W)
        Intensities.
    levels : int
        Number of bins.
    mask : Tensor of bool, broadcastable to ``images``, optional
        The region of interest; pixels outside are not looked at and get level 0.
    ndim : int
        2 if the range is that of an image, 3 if that of a volume.

    Returns
    -------
    Tensor of int32, like ``images``
        Gray levels in ``[0, levels)``.

    Raises
    ------
    ValueError
        If a pixel of the region is NaN or infinite, the images are complex, there is no level, or
        ``ndim`` is neither 2 nor 3.

    References
    ----------
    Zwanenburg, Leger, Vallieres, Lock, "Image biomarker standardisation initiative",
    arXiv 1612.07003, 2016, section 2.7.

    Examples
    --------
    >>> fixed_bin_number(torch.tensor([[-10.0, 0.0, 10.0, 30.0]]), levels=4).tolist()
    [[0, 1, 2, 3]]
    """
    levels = check_levels(levels)
    check_tensors(images=images)
    check_ndim(ndim, images=images)
    x, inside = _region(images, mask)
    dims = tuple(range(-ndim, 0))
    if not x.numel():
        return x.int()
    low = x.masked_fill(~inside, torch.inf).amin(dims, keepdim=True)
    high = x.masked_fill(~inside, -torch.inf).amax(dims, keepdim=True)
    low, high = (end.masked_fill(low > high, 0.0) for end in (low, high))  # an empty region
    span = (high - low).masked_fill(high == low, 1.0)
    if (span * levels).isinf().any():
        raise ValueError("images range over more than float64 can hold: scale them down first.")
    codes = ((x - low) * levels / span).floor().clamp(0, levels - 1)  # multiplied first: exact
    return codes.masked_fill(~inside, 0).int()


def fixed_bin_size(
    images: Tensor, size: float, minimum: float, *, mask: Tensor | None = None
) -> tuple[Tensor, int]:
    """Cut intensities into bins of a fixed size (FBS), the first starting at a given minimum.

    A pixel x gets level ``floor((x - minimum) / size)``: IBSI's formula minus 1. (pyradiomics
    begins its bins at a multiple of the size: give the largest one not above the smallest value.)

    Parameters
    ----------
    images : Tensor of numbers, any shape
        Intensities.
    size : float
        Width of a bin, in the unit of the images.
    minimum : float
        Lower edge of the first bin: the lower end of the re-segmentation range, or the smallest
        value that can occur. It must be the same for all images that are compared.
    mask : Tensor of bool, broadcastable to ``images``, optional
        The region of interest; pixels outside are not looked at and get level 0.

    Returns
    -------
    codes : Tensor of int32, like ``images``
        Gray levels from 0.
    levels : int
        Number of levels: one more than the largest of all images together, at least 1. The two
        normalised features depend on it; IBSI takes each image's own, so call this image by image
        where they are compared with IBSI's.

    Raises
    ------
    ValueError
        If a pixel of the region is NaN, infinite or below ``minimum`` (IBSI removes such pixels
        from the region: do so with ``mask``), or ``size`` is not positive.

    References
    ----------
    Zwanenburg, Leger, Vallieres, Lock, "Image biomarker standardisation initiative",
    arXiv 1612.07003, 2016, section 2.7.

    Examples
    --------
    >>> codes, levels = fixed_bin_size(torch.tensor([-1000.0, -976.0, 80.0]), 25, minimum=-1000)
    >>> codes.tolist(), levels
    ([0, 0, 43], 44)
    """
    if not math.isfinite(minimum):
        raise ValueError(f"minimum is {minimum}: give a finite number.")
    if not size > 0:
        raise ValueError(f"size is {size}: the width of a bin must be positive.")
    x, inside = _region(images, mask)
    codes = ((x - minimum) / size).floor().masked_fill(~inside, 0)
    if codes.numel() and codes.min() < 0:
        raise ValueError(
            f"images hold values below the minimum of {minimum}: lower it, or mask them out."
        )
    if codes.numel() and codes.max() >= 2**31:
        raise ValueError(f"size is {size}: so narrow bins need more than 2**31 levels.")
    return codes.int(), int(codes.max()) + 1 if codes.numel() else 1


def _check_real(images: Tensor) -> None:
    if images.is_complex():
        raise ValueError(f"images are {images.dtype}: give magnitudes, as images.abs().")


def _region(images: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Give intensities in float64, zero outside the region, and the region itself."""
    check_tensors(images=images, mask=mask)
    _check_real(images)
    x = images.double()
    inside = torch.ones_like(x, dtype=torch.bool) if mask is None else region_of(mask, images)
    if not (x.isfinite() | ~inside).all():
        raise ValueError("images hold NaN or infinity, which has no gray level: mask it out.")
    return x.masked_fill(~inside, 0.0), inside
