"""Pixel pairs: which offsets there are, and the two views of an image one offset apart."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Literal, SupportsFloat, TypeVar

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


def whole_offsets(
    offsets: Iterable[Iterable[SupportsFloat]], *ndims: int
) -> tuple[tuple[int, ...], ...]:
    """Bring offsets of any sequence, array or tensor to tuples of int.

    Parameters
    ----------
    offsets : sequence of sequences of int
        At least one, all of one length.
    *ndims : int
        How many components they may have: 2, 3, or either.

    Returns
    -------
    tuple of tuples of int

    Raises
    ------
    ValueError
        If there is none, one is no sequence, not of whole numbers, or of another length.

    Examples
    --------
    >>> whole_offsets(np.array([[0, 1], [1, 0]]), 2)
    ((0, 1), (1, 0))
    >>> whole_offsets([(0, 1.5)], 2)
    Traceback (most recent call last):
    ...
    ValueError: offset (0, 1.5) is not of whole pixels.
    """
    named = " or ".join({2: "(dy, dx)", 3: "(dz, dy, dx)"}[ndim] for ndim in ndims)
    if isinstance(offsets, str):
        raise ValueError(f"offsets is {offsets!r}: give a sequence of {named}.")
    try:
        given = [tuple(offset) for offset in offsets]
    except TypeError as error:
        raise ValueError(f"offsets is {offsets}: give a sequence of {named}.") from error
    if not given:
        raise ValueError(f"offsets is empty: give at least one {named}.")
    if len(given[0]) not in ndims or len({len(offset) for offset in given}) > 1:
        raise ValueError(
            f"offsets are {', '.join(map(str, given))}: they must all be {named} here."
        )
    for offset in given:
        if not all(float(step).is_integer() for step in offset):
            raise ValueError(f"offset {offset} is not of whole pixels.")
    return tuple(tuple(int(float(step)) for step in offset) for offset in given)


def check_offsets(
    offsets: Iterable[Iterable[SupportsFloat]], height: int, width: int
) -> tuple[Offset, ...]:
    """Refuse offsets that leave no pair inside an area of the given size.

    Parameters
    ----------
    offsets : sequence of (int, int)
        (dy, dx) in pixels.
    height, width : int
        Size of the area, in pixels.

    Returns
    -------
    tuple of (int, int)

    Raises
    ------
    ValueError
        If there is no offset, one is no pair of whole numbers, (0, 0), or reaches across the whole
        area.

    Examples
    --------
    >>> check_offsets([(0, 8)], 8, 8)
    Traceback (most recent call last):
    ...
    ValueError: offset (0, 8) leaves no pixel pair inside an area of 8x8 pixels.
    """
    pairs = [(dy, dx) for dy, dx in whole_offsets(offsets, 2)]
    for dy, dx in pairs:
        if (dy, dx) == (0, 0):
            raise ValueError("offset (0, 0) pairs a pixel with itself: give another one.")
        if abs(dy) >= height or abs(dx) >= width:
            raise ValueError(
                f"offset {(dy, dx)} leaves no pixel pair inside an area of {height}x{width} pixels."
            )
    return tuple(pairs)


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
        If ``ndim`` is neither 2 nor 3, or ``distance`` below 1 or no whole number.

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
    if not (distance >= 1 and float(distance).is_integer()):
        raise ValueError(f"distance is {distance}: it must be 1, 2, 3 or more whole pixels.")
    ndim, distance = int(ndim), int(distance)
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
        If distances or angles are no sequences of finite numbers or, with "ibsi", an angle is no
        multiple of pi/4 or a distance no whole number.

    Warns
    -----
    UserWarning
        If an angle is more than a whole turn, as degrees are.

    Examples
    --------
    >>> offsets_at([2], [0, math.pi / 4])
    ((0, 2), (1, 1))
    >>> offsets_at([2], [0, math.pi / 4], "ibsi")
    ((0, 2), (2, 2))
    """
    if convention not in ("skimage", "ibsi"):
        raise ValueError(f"convention is {convention!r}: choose one of skimage, ibsi.")
    for name, given in (("distances", distances), ("angles", angles)):
        if not isinstance(given, Iterable):
            raise ValueError(f"{name} is {given}: give a sequence, such as [{given}].")
    distances = tuple(float(d) for d in distances)
    angles = tuple(float(angle) for angle in angles)
    for name, given in (("distances", distances), ("angles", angles)):
        if not all(math.isfinite(number) for number in given):
            raise ValueError(f"{name} is {given}: give finite numbers.")
    if any(abs(angle) > 2 * math.pi + 1e-6 for angle in angles):
        warnings.warn(
            f"angles is {angles}, more than a whole turn: they are in radians, as np.deg2rad makes "
            "them of degrees.",
            stacklevel=2,
        )
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
