"""What can be measured of an image that has nothing to do with disease."""

from __future__ import annotations

from functools import reduce

import numpy as np

from glcm_mae.data.readers import Facts
from glcm_mae.data.thumbnails import luminance

__all__ = ["MEASUREMENTS", "measure"]

_FLAT = 0.02  # of the image's range: rows and columns that vary less are a border
_MARK = 0.4  # of the image's range: how far a mark stands out from what is around it
_MARK_WIDTH = 5  # pixels: letters and callipers are thinner
_COLOURED = 0.1  # of the image's range between the strongest and the weakest channel
_LARGEST = 1024  # longer sides are thinned out before marks are looked for

MEASUREMENTS: dict[str, tuple[str, ...]] = {
    "image size": ("height", "width"),
    "aspect ratio": ("aspect",),
    "file size": ("log bytes",),
    "border": ("top", "bottom", "left", "right"),
    "saturated pixels": ("at least value", "at greatest value"),
    "mean brightness": ("mean",),
    "sharpness": ("log laplacian", "log laplacian over variance"),
    "text and callipers": ("thin bright pixels",),
    "coloured marks": ("coloured pixels",),
}
"""Each shortcut and the numbers that describe it, in the order of `measure`."""


def measure(pixels: np.ndarray, facts: Facts, file_bytes: int) -> dict[str, tuple[float, ...]]:
    """Measure an image for everything that could give its class away but the disease.

    Parameters
    ----------
    pixels : np.ndarray
        Pixels (C, H, W) as stored.
    facts : Facts
        What the file says about them.
    file_bytes : int
        Size of the file.

    Returns
    -------
    dict
        For each name of `MEASUREMENTS` its numbers. Shares run from 0 to 1; brightness is a share
        of the range that the stored bits span (of floating-point values, the mean itself).

    Examples
    --------
    >>> image = np.zeros((1, 8, 16), np.uint8)
    >>> image[0, 2:, :] = np.arange(16) * 17
    >>> facts = Facts("png", "uint8", 8, "L", (0, 255))
    >>> found = measure(image, facts, file_bytes=100)
    >>> found["border"], found["aspect ratio"], found["image size"]
    ((0.25, 0.0, 0.0625, 0.0), (2.0,), (8.0, 16.0))
    """
    gray = luminance(pixels)
    height, width = gray.shape
    span = float(np.ptp(gray)) or 1.0
    low, high = facts.value_range or (float(gray.min()), float(gray.max()))
    brightness = float(gray.mean(dtype=np.float64))
    if facts.value_range is not None:
        brightness = (brightness - low) / (high - low)
    return {
        "image size": (float(height), float(width)),
        "aspect ratio": (width / height,),
        "file size": (float(np.log(max(1, file_bytes))),),
        "border": _border(gray, span),
        "saturated pixels": (float((gray <= low).mean()), float((gray >= high).mean())),
        "mean brightness": (brightness,),
        "sharpness": _sharpness(gray / span),
        "text and callipers": (_thin_bright(gray, span),),
        "coloured marks": (_coloured(pixels, span),),
    }


def _border(gray: np.ndarray, span: float) -> tuple[float, ...]:
    """Share of the height or width, from each side, that holds one value only."""
    shares = []
    for axis in (1, 0):
        flat = np.ptp(gray, axis=axis) <= _FLAT * span
        for line in (flat, flat[::-1]):
            shares.append(float(np.argmin(line) if not line.all() else len(line)) / len(line))
    return tuple(shares)


def _sharpness(gray: np.ndarray) -> tuple[float, float]:
    """Log of the Laplacian's variance, alone and over the image's own (Pech-Pacheco, ICPR 2000)."""
    if min(gray.shape) < 3:
        return 0.0, 0.0
    middle = gray[1:-1, 1:-1]
    around = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:]
    edges = float((around - 4 * middle).var()) + 1e-9
    return float(np.log(edges)), float(np.log(edges / (float(gray.var()) + 1e-9)))


def _thin_bright(gray: np.ndarray, span: float) -> float:
    """Share of pixels that a white top-hat leaves: brighter than anything wide around them."""
    step = -(-max(gray.shape) // _LARGEST)
    image = gray[::step, ::step]
    opened = _spread(_spread(image, np.minimum), np.maximum)
    return float((image - opened > _MARK * span).mean())


def _spread(image: np.ndarray, extreme: np.ufunc) -> np.ndarray:
    """Give each pixel the least or greatest value of the square around it."""
    reach = _MARK_WIDTH // 2
    for axis in (0, 1):
        length = image.shape[axis]
        padding = [(reach, reach) if side == axis else (0, 0) for side in (0, 1)]
        padded = np.pad(image, padding, mode="edge").swapaxes(0, axis)
        shifted = [padded[shift : shift + length] for shift in range(_MARK_WIDTH)]
        image = reduce(extreme, shifted).swapaxes(0, axis)
    return image


def _coloured(pixels: np.ndarray, span: float) -> float:
    if len(pixels) == 1:
        return 0.0
    spread = pixels.max(axis=0).astype(np.float32) - pixels.min(axis=0).astype(np.float32)
    return float((spread > _COLOURED * span).mean())
