"""Pixel pairs: which offsets there are, and the two views of an image one offset apart."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal, TypeVar

import numpy as np
from torch import Tensor

Offset = tuple[int, int]

Pixels = TypeVar("Pixels", Tensor, np.ndarray)


def pair_views(pixels: Pixels, offset: tuple[int, ...]) -> tuple[Pixels, Pixels]:
    """Cut out the first and the second pixel of every pair that lies inside the image.

    Parameters
    ----------
    pixels : Tensor or ndarray, (..., H, W) or (..., D, H, W)
        Images, patches, volumes, or anything laid out like them.
    offset : (int, int) or (int, int, int)
        (dy, dx) or (dz, dy, dx) from the first pixel of a pair to the second; each may be negative.

    Returns
    -------
    first, second : views of ``pixels``, (..., H - |dy|, W - |dx|)
        Empty where the offset reaches across the image.

    Examples
    --------
    >>> import torch
    >>> first, second = pair_views(torch.arange(6).view(2, 3), (0, 1))
    >>> first.tolist(), second.tolist()
    ([[0, 1], [3, 4]], [[1, 2], [4, 5]])
    """
    first = [slice(None)] * (pixels.ndim - len(offset))
    second = list(first)
    for step, size in zip(offset, pixels.shape[-len(offset) :], strict=True):
        kept, start = max(0, size - abs(step)), max(0, -step)
        first.append(slice(start, start + kept))
        second.append(slice(start + step, start + step + kept))
    return pixels[tuple(first)], pixels[tuple(second)]


def check_offsets(offsets: Sequence[Offset], height: int, width: int) -> None:
    """Refuse offsets that leave no pair inside an area of the given size.

    Parameters
    ----------
    offsets : sequence of (int, int)
        (dy, dx) in pixels.
    height, width : int
        Size of the area, in pixels.

    Raises
    ------
    ValueError
        If there is no offset, one is (0, 0), or one reaches across the whole area.

    Examples
    --------
    >>> check_offsets([(0, 8)], 8, 8)
    Traceback (most recent call last):
    ...
    ValueError: offset (0, 8) leaves no pixel pair inside an area of 8x8 pixels.
    """
    if not offsets:
        raise ValueError("offsets is empty: give at least one (dy, dx).")
    for dy, dx in offsets:
        if (dy, dx) == (0, 0):
            raise ValueError("offset (0, 0) pairs a pixel with itself: give another one.")
        if abs(dy) >= height or abs(dx) >= width:
            raise ValueError(
                f"offset {(dy, dx)} leaves no pixel pair inside an area of {height}x{width} pixels."
            )


def directions(ndim: int, distance: int = 1) -> tuple[tuple[int, ...], ...]:
    """List the offsets to all neighbours at a Chebyshev distance, one of each opposite two.

    These are the 4 directions of an image or the 13 of a volume, each multiplied by the distance
    as the Image Biomarker Standardisation Initiative (IBSI) does. (pyradiomics takes every offset
    of that Chebyshev length instead: 8 in an image at distance 2.)

    Parameters
    ----------
    ndim : int
        2 for images, 3 for volumes.
    distance : int
        In pixels, at least 1.

    Returns
    -------
    tuple of offsets
        (dy, dx) or (dz, dy, dx).

    Raises
    ------
    ValueError
        If ``ndim`` is neither 2 nor 3, or ``distance`` is below 1.

    References
    ----------
    Zwanenburg, Leger, Vallieres, Lock, "Image biomarker standardisation initiative",
    arXiv 1612.07003, 2016, section 3.6.

    Examples
    --------
    >>> directions(2)
    ((0, 1), (1, -1), (1, 0), (1, 1))
    >>> len(directions(3, distance=2))
    13
    """
    if ndim not in (2, 3):
        raise ValueError(f"ndim is {ndim}: images have 2 dimensions, volumes 3.")
    if distance < 1:
        raise ValueError(f"distance is {distance}: it must be 1 pixel or more.")
    half = (o for o in itertools.product((-1, 0, 1), repeat=ndim) if o > (0,) * ndim)
    return tuple(tuple(step * distance for step in offset) for offset in half)


def offsets_at(
    distances: Sequence[float],
    angles: Sequence[float],
    convention: Literal["skimage", "ibsi"] = "skimage",
) -> tuple[Offset, ...]:
    """Turn distances and angles into pixel offsets.

    Angle 0 looks right and angles grow clockwise on the screen: pi/2 looks down, pi/4 down and
    right, as scikit-image computes them.

    Parameters
    ----------
    distances : sequence of float
        In pixels.
    angles : sequence of float
        In radians.
    convention : {"skimage", "ibsi"}
        How a distance is measured off the axes. "skimage": as a length, each component rounded to
        the nearest pixel, so that 45 degrees at distance 2 is (1, 1). "ibsi": in steps along one of
        the 8 directions (Chebyshev distance), so that it is (2, 2).

    Returns
    -------
    tuple of (dy, dx)
        All angles of the first distance, then of the next.

    Raises
    ------
    ValueError
        With "ibsi", if an angle is no multiple of pi/4 or a distance no whole number.

    Examples
    --------
    >>> offsets_at([2], [0, math.pi / 4])
    ((0, 2), (1, 1))
    >>> offsets_at([2], [0, math.pi / 4], "ibsi")
    ((0, 2), (2, 2))
    """
    if convention not in ("skimage", "ibsi"):
        raise ValueError(f"convention is {convention!r}: choose one of skimage, ibsi.")
    if convention == "skimage":
        return tuple(
            (_nearest(math.sin(angle) * d), _nearest(math.cos(angle) * d))
            for d, angle in itertools.product(distances, angles)
        )
    for d in distances:
        if d != int(d):
            raise ValueError(f"distance {d} is no whole number of steps, which 'ibsi' counts.")
    for angle in angles:
        if abs(angle / (math.pi / 4) - round(angle / (math.pi / 4))) > 1e-6:
            raise ValueError(f"angle {angle} is no multiple of pi/4, the directions of 'ibsi'.")
    return tuple(
        (_nearest(math.sin(angle)) * int(d), _nearest(math.cos(angle)) * int(d))
        for d, angle in itertools.product(distances, angles)
    )


def _nearest(x: float) -> int:
    """Round as scikit-image does: a half more, then cut (halves away from zero)."""
    return math.trunc(x + math.copysign(0.5, x))
