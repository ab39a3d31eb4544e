"""Pixel pairs: the two views of an image whose pixels lie one offset apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from torch import Tensor

Offset = tuple[int, int]

Pixels = TypeVar("Pixels", Tensor, np.ndarray)


def pair_views(pixels: Pixels, offset: Offset) -> tuple[Pixels, Pixels]:
    """Cut out the first and the second pixel of every pair that lies inside the image.

    Parameters
    ----------
    pixels : Tensor or ndarray, (..., H, W)
        Images, patches, or anything laid out like them.
    offset : (int, int)
        (dy, dx) from the first pixel of a pair to the second; each may be negative.

    Returns
    -------
    first, second : views of ``pixels``, (..., H - |dy|, W - |dx|)

    Examples
    --------
    >>> import torch
    >>> first, second = pair_views(torch.arange(6).view(2, 3), (0, 1))
    >>> first.tolist(), second.tolist()
    ([[0, 1], [3, 4]], [[1, 2], [4, 5]])
    """
    (dy, dx), (height, width) = offset, pixels.shape[-2:]
    top, bottom = max(0, -dy), height - max(0, dy)
    left, right = max(0, -dx), width - max(0, dx)
    first = pixels[..., top:bottom, left:right]
    second = pixels[..., top + dy : bottom + dy, left + dx : right + dx]
    return first, second


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
