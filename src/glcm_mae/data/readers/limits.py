"""How much memory a file may ask for, and which of its frames is meant."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from .refusal import Refusal

__all__ = ["MAX_BYTES", "MAX_FRAMES", "MAX_PIXELS", "check_size", "chosen_frame", "read_whole"]

MAX_PIXELS = 89_478_485
"""Pixels of an image: above this Pillow suspects a bomb; four times the largest mammogram."""

MAX_BYTES = 2**29
"""Bytes of a decoded image, and of what is read from a file at once: 512 MiB.

Decoders keep the file's bytes, their own picture and the array at once, so reading an image stays
below four times this, 2 GiB, whatever the file says; an image of ordinary size takes a few times
its own.
"""

MAX_FRAMES = 2**20
"""Images of one file: a list of more than a million would itself fill the memory."""


def check_size(shape: Sequence[int], dtype: np.dtype | None = None) -> None:
    """Refuse an image before it is decoded, by the size that its header claims.

    Parameters
    ----------
    shape : sequence of int
        Height, width, and samples where they are known.
    dtype : np.dtype, optional
        Type of a sample. Default: one byte.

    Raises
    ------
    Refusal
        There are more than `MAX_PIXELS` pixels, or more than `MAX_BYTES` bytes.
    """
    height, width = shape[:2]
    if height * width > MAX_PIXELS:
        raise Refusal(
            f"has {width} x {height} pixels, more than {MAX_PIXELS:,}: cut it into tiles or "
            "save it smaller."
        )
    if math.prod(shape) * (dtype.itemsize if dtype else 1) > MAX_BYTES:
        raise Refusal(
            f"takes more than {MAX_BYTES // 2**20} MiB for {width} x {height} pixels: cut it into "
            "tiles or save it smaller."
        )


def read_whole(file: BinaryIO) -> bytes:
    """Read all of a file, or refuse one that is too large for that."""
    if os.fstat(file.fileno()).st_size > MAX_BYTES:
        raise Refusal(f"is larger than {MAX_BYTES // 2**20} MiB: save each image on its own.")
    return file.read()


def chosen_frame(frame: int | None, frames: int) -> int:
    """Tell which frame of a file is meant, counted from 0."""
    if frames < 1:
        raise Refusal("has no pixels: export or copy it again.")
    if frame is None and frames > 1:
        raise Refusal(
            f"holds {frames} frames: name one of them, 0 to {frames - 1}, in the manifest's column "
            "frame."
        )
    frame = frame or 0
    if not 0 <= frame < frames:
        raise Refusal(f"has no frame {frame}: it holds {frames}, counted from 0.")
    return frame
