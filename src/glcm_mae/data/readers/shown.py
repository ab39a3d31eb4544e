"""Bringing decoded samples into the form in which all readers give them."""

from __future__ import annotations

import numpy as np

from .refusal import Refusal

__all__ = ["ORIENTATION_TAG", "opaque", "upright"]

ORIENTATION_TAG = 274  # of EXIF and of TIFF

# Orientation -> (swap axes, then flip rows, then flip columns) to stand upright.
_ORIENTATIONS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn pixels (H, W, samples) as their EXIF or TIFF orientation says."""
    swap, flip_rows, flip_columns = _ORIENTATIONS.get(orientation, (False, False, False))
    if swap:
        pixels = pixels.swapaxes(0, 1)
    return pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]


def opaque(pixels: np.ndarray) -> np.ndarray:
    """Drop the alpha channel, the last of 2 or 4 samples, of an image that needs none."""
    if pixels.shape[-1] not in (2, 4):
        return pixels
    full = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
    if (pixels[..., -1] != full).any():
        raise Refusal(
            "is partly transparent: save it without an alpha channel, over the background it "
            "should have."
        )
    return pixels[..., :-1]
