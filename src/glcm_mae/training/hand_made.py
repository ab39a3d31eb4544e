"""Hand-made features: how they are measured, and those that a probe sets beside an encoder's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from glcm_mae.data.thumbnails import LUMINANCE
from glcm_mae.models.patches import patchify
from glcm_mae.texture import Binning, soft_glcm

from .progress import Meter

_BATCH = 64
_TILE = 16  # side of the squares whose GLCMs are averaged
_DISTANCES = (1, 2, 4)
REACH = max(_DISTANCES)
"""How far apart pixels are paired."""


def measured(describe: Callable[[Tensor], Tensor], pixels: Tensor) -> np.ndarray:
    """Describe images, some at a time.

    Parameters
    ----------
    describe : callable
        Takes images (B, C, H, W) and returns their features (B, F).
    pixels : Tensor, (N, C, H, W)
        The images.

    Returns
    -------
    ndarray, (N, F)

    Examples
    --------
    >>> measured(lambda images: images.flatten(1), torch.ones(65, 1, 1, 2)).shape
    (65, 2)
    """
    features = []
    with Meter("measuring images", len(pixels)) as meter:
        for batch in pixels.split(_BATCH):
            features.append(describe(batch))
            meter.advance(len(batch), by=len(batch))
    return torch.cat(features).numpy()


def local_glcms(images: Tensor) -> Tensor:
    """Describe fine texture: the mean GLCM of the tiles of 16 x 16 pixels, each about its own mean.

    The mean gray value of each tile is brought to the middle of the scale, so that the GLCMs (8
    soft levels at 1, 2 and 4 pixels, right and down; the square roots of their entries) hold
    texture and not brightness. They are what texture prediction asks for with ``target.relative``,
    so this is what its perfect answer would be worth.

    Parameters
    ----------
    images : Tensor, (B, C, H, W)
        In [0, 1]; higher and wider than 4 pixels. Of colour images, the luminance.

    Returns
    -------
    Tensor of float64, (B, 384)

    Examples
    --------
    >>> image = torch.rand(1, 1, 32, 32) / 2
    >>> torch.allclose(local_glcms(image), local_glcms(image + 0.3), atol=1e-4)
    True
    """
    gray = luminance(images)
    side = min(_TILE, *gray.shape[-2:])
    height, width = (side * (n // side) for n in gray.shape[-2:])
    tiles = patchify(gray[:, None, :height, :width], side).unflatten(-1, (side, side))
    relative = tiles - tiles.mean(dim=(-2, -1), keepdim=True) + 0.5  # (B, tiles, side, side)
    offsets = [(dy * d, dx * d) for d in _DISTANCES for dy, dx in ((0, 1), (1, 0))]
    # Image by image: soft bins take 8 times the memory of their pixels.
    roots = [soft_glcm(image, Binning(8), offsets).sqrt().mean(dim=0) for image in relative]
    return torch.stack(roots).flatten(1).double()


def luminance(images: Tensor) -> Tensor:
    """Take the gray value of each pixel: (B, C, H, W) to (B, H, W).

    Parameters
    ----------
    images : Tensor, (B, C, H, W)
        Gray, or RGB.

    Returns
    -------
    Tensor, (B, H, W)
        The Rec. 601 luma of RGB.

    Examples
    --------
    >>> luminance(torch.ones(1, 3, 1, 1)).item()
    1.0
    """
    if images.shape[1] == 1:
        return images[:, 0]
    return torch.einsum("c,bchw->bhw", torch.tensor(LUMINANCE), images)
