"""Small gray copies of images, in which they are compared with each other."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["LUMINANCE", "SIDE", "band", "luminance", "thumbnail"]

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (ITU-R BT.601)."""

SIDE = 64
"""Height and width of a thumbnail in pixels."""

_FLOOR = 0.1  # of the image's own deviation: what varies less than this counts as flat


def luminance(pixels: np.ndarray) -> np.ndarray:
    """Give the gray image of a gray or colour one, in its own unit.

    Parameters
    ----------
    pixels : np.ndarray
        Pixels (C, H, W), C = 1 or 3, of any type.

    Returns
    -------
    np.ndarray
        (H, W) float64; weights of ITU-R BT.601.

    Examples
    --------
    >>> luminance(np.full((3, 1, 2), 100, np.uint8)).round(3).tolist()
    [[100.0, 100.0]]
    """
    wide = pixels.astype(np.float64)  # float32 would make infinity of what float64 files may hold
    gray: np.ndarray = wide[0] if len(wide) == 1 else np.einsum("c,chw->hw", LUMINANCE, wide)
    return gray


def thumbnail(gray: np.ndarray, inverted: bool = False) -> Tensor:
    """Shrink an image to a square, whatever its shape: two that differ in size become alike.

    Parameters
    ----------
    gray : np.ndarray
        (H, W), any finite values.
    inverted : bool
        Whether the least value means white (DICOM's MONOCHROME1).

    Returns
    -------
    Tensor
        (SIDE, SIDE) float32, mean 0 and deviation 1; all 0 for a constant image, or one whose
        range is no finite number.

    Examples
    --------
    >>> small = thumbnail(np.arange(200.0).reshape(10, 20))
    >>> small.shape, bool(small[0, 0] < small[-1, -1])
    (torch.Size([64, 64]), True)
    """
    # From float64: the values of a floating-point file may differ in their last digits alone.
    wide = np.asarray(gray, dtype=np.float64)
    span = float(wide.max()) - float(wide.min()) if wide.size else 0.0
    if not 0 < span < math.inf:
        return torch.zeros(SIDE, SIDE)
    scaled = torch.from_numpy(((wide - wide.min()) / span).astype(np.float32))
    size = (SIDE, SIDE)
    small = F.interpolate(scaled[None, None], size, mode="bilinear", antialias=True)[0, 0]
    small = small - small.mean()
    return (small / small.std().clamp_min(1e-6)) * (-1.0 if inverted else 1.0)


def band(images: Tensor) -> Tensor:
    """Keep the structure of a few pixels' width, at equal strength all over the image.

    The local mean goes (brightness, shading, the slow outline of a chest or of a scan sector),
    and the local contrast is made the same everywhere, so that the bright letters and callipers
    of a screenshot weigh no more than the tissue. Mirroring an image mirrors its band.

    Parameters
    ----------
    images : Tensor
        (N, H, W) float32 with deviation about 1.

    Returns
    -------
    Tensor
        (N, H, W) float32, about 0 where the image is flat, elsewhere of deviation about 1.

    Examples
    --------
    >>> gray = torch.rand(1, 32, 32)
    >>> same = band(gray)
    >>> torch.allclose(band(gray.flip(-1)), same.flip(-1), atol=1e-4)
    True
    """
    detail = images - _blurred(images, 2.0)
    strength = _blurred(detail.square(), 4.0).clamp_min(0)
    return detail / (strength + _FLOOR**2).sqrt()


def _blurred(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (N, H, W), mirrored at the borders."""
    reach = min(int(3 * sigma + 0.5), min(images.shape[1:]) - 1)
    steps = torch.arange(-reach, reach + 1, dtype=images.dtype)
    weights = torch.exp(-steps.square() / (2 * sigma**2))
    weights = weights / weights.sum()
    wide = F.pad(images[:, None], (reach,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(wide, weights.view(1, 1, 1, -1)), weights.view(1, 1, -1, 1))[:, 0]
