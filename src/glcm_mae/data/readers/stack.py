"""Arrays of images: which axis counts them, and which one of them is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from .facts import Facts, full_range
from .limits import MAX_FRAMES, check_size, chosen_frame
from .refusal import Refusal

__all__ = ["count", "image_of"]

_CHANNELS = (1, 3)


def count(shape: Sequence[int], dtype: np.dtype, is_stack: bool = False) -> int:
    """Count the images of an array, after checking that it is one of images.

    Parameters
    ----------
    shape : sequence of int
        (H, W); (N, H, W); (H, W, C), C = 1 or 3; (N, H, W, C) or (N, C, H, W).
    dtype : np.dtype
        Type of the elements.
    is_stack : bool
        Whether the first axis is known to count images.

    Returns
    -------
    int
        N, or 1.

    Raises
    ------
    Refusal
        The shape is none of these, or can be read in two ways; an image is too large.

    Examples
    --------
    >>> uint8 = np.dtype("uint8")
    >>> count((64, 80), uint8), count((64, 80, 3), uint8), count((7, 64, 80), uint8)
    (1, 1, 7)
    """
    if dtype.kind not in "biuf":
        raise Refusal("holds no numbers: save the images as integers or floating-point.")
    if min(shape, default=0) < 1:
        raise Refusal("holds no images: export or copy it again.")
    frames, single = _split(tuple(shape), is_stack)
    size = single[1:] if len(single) == 3 and single[2] not in _CHANNELS else single[:2]
    check_size((*size, math.prod(single) // max(math.prod(size), 1)), dtype)
    if frames > MAX_FRAMES:
        raise Refusal(f"holds more than {MAX_FRAMES:,} images: save it in parts.")
    return frames


def image_of(
    form: str,
    shape: Sequence[int],
    dtype: np.dtype,
    frame: int | None,
    take: Callable[[int | None], np.ndarray],
    is_stack: bool = False,
) -> tuple[np.ndarray, Facts]:
    """Take one image out of an array, and say what is known about it.

    Parameters
    ----------
    form : str
        The format, for the facts.
    shape, dtype : sequence of int, np.dtype
        Of the whole array.
    frame : int or None
        The image that is asked for.
    take : callable
        Gives that element of the array's first axis, or the whole array for None.
    is_stack : bool
        Whether the first axis is known to count images.

    Returns
    -------
    np.ndarray, Facts
        Pixels (H, W, samples), and what the file says about them.

    Raises
    ------
    Refusal
        There is no such image.
    """
    frames = count(shape, dtype, is_stack)
    number = chosen_frame(frame, frames)
    is_one_of = len(_split(tuple(shape), is_stack)[1]) < len(shape)
    pixels = np.asarray(take(number if is_one_of else None))
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] not in _CHANNELS:
        pixels = np.moveaxis(pixels, 0, -1)
    bits = 8 * dtype.itemsize
    if pixels.dtype == np.bool_:
        pixels, bits = pixels.astype(np.uint8) * np.uint8(255), 1
    facts = Facts(
        format=form,
        dtype=pixels.dtype.name,
        bits=bits,
        photometric="RGB" if pixels.shape[2] == 3 else "L",
        value_range=full_range(pixels.dtype),
        frames=frames,
    )
    return pixels, facts


def _split(shape: tuple[int, ...], is_stack: bool) -> tuple[int, tuple[int, ...]]:
    """Split a shape into the number of images and the shape of one."""
    if len(shape) == 3 and is_stack:
        return shape[0], shape[1:]
    if len(shape) == 2 or (len(shape) == 3 and shape[2] in _CHANNELS):
        return 1, shape
    if len(shape) == 3 and shape[0] == 3:
        raise Refusal(
            f"has the shape {shape}, three gray images or the channels of one: save colour as "
            "height, width, 3, and gray images as number, height, width, 1."
        )
    if len(shape) == 3 and shape[2] in (2, 4):
        raise Refusal(
            f"has the shape {shape}, one image of {shape[2]} channels, or {shape[0]} that are "
            f"{shape[2]} pixels wide: save images as number, height, width, 1, a channel each, or "
            "colour as height, width, 3."
        )
    has_channels = len(shape) == 4 and (shape[3] in _CHANNELS or shape[1] in _CHANNELS)
    if len(shape) == 3 or has_channels:
        return shape[0], shape[1:]
    raise Refusal(
        f"has the shape {shape}: save images as height, width, or number, height, width, both with "
        "1 or 3 channels behind if they have any."
    )
