"""Hand-made features: texture by GLCMs, small pictures and histograms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from glcm_mae.data.pixels import Pixels
from glcm_mae.data.thumbnails import LUMINANCE
from glcm_mae.models.patches import patchify
from glcm_mae.texture import (
    Binning,
    directions,
    fixed_bin_number,
    image_features,
    quantize,
    soft_glcm,
)

from .progress import Meter

_BATCH = 64
_TILE = 16  # side of the squares whose GLCMs are averaged
_LOCAL_DISTANCES = (1, 2, 4)
_DISTANCES = (1, 2, 4, 8)
_LEVELS = 32
_BINS = 64  # of a histogram
_SIDE = 32  # of a shrunk image

LOCAL_REACH = max(_LOCAL_DISTANCES)
"""How far apart `local_glcms` pairs pixels."""
REACH = max(_DISTANCES)
"""How far apart `glcm_vectors` pairs pixels."""


def measured(describe: Callable[[Tensor], Tensor], pixels: Pixels) -> np.ndarray:
    """Describe images, some at a time.

    Parameters
    ----------
    describe : callable
        Takes images (B, C, H, W) and returns their features (B, F).
    pixels : Tensor or Picked, (N, C, H, W)
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
    offsets = [(dy * d, dx * d) for d in _LOCAL_DISTANCES for dy, dx in ((0, 1), (1, 0))]
    # Image by image: soft bins take 8 times the memory of their pixels.
    roots = [soft_glcm(image, Binning(8), offsets).sqrt().mean(dim=0) for image in relative]
    return torch.stack(roots).flatten(1).double()


def glcm_vectors(images: Tensor) -> Tensor:
    """Describe texture: the 25 features of IBSI at 1, 2, 4 and 8 pixels, the mean of 4 directions.

    Each image's own range, of its luminance if it is in colour, is cut into 32 gray levels, so
    that neither brightness nor a window that leaves most of the scale empty takes part.

    Parameters
    ----------
    images : Tensor, (B, C, H, W)
        In [0, 1]; higher and wider than 8 pixels.

    Returns
    -------
    Tensor of float64, (B, 100)

    References
    ----------
    Zwanenburg, Leger, Vallieres, Lock, "Image biomarker standardisation initiative",
    arXiv 1612.07003, 2016, sections 2.7 (fixed bin number) and 3.6.

    Examples
    --------
    >>> glcm_vectors(torch.rand(2, 1, 16, 16)).shape
    torch.Size([2, 100])
    """
    codes = fixed_bin_number(luminance(images), _LEVELS)
    offsets = [(dy, dx) for distance in _DISTANCES for dy, dx in directions(2, distance)]
    separate = image_features(codes, _LEVELS, offsets, aggregation="separate")  # (B, 16, 25)
    return separate.unflatten(1, (len(_DISTANCES), -1)).mean(dim=2).flatten(1)


def small_pixels(images: Tensor) -> Tensor:
    """Shrink images, of colour ones the luminance, to 32 x 32 means of areas.

    Parameters
    ----------
    images : Tensor, (B, C, H, W)
        Of any values.

    Returns
    -------
    Tensor of float64, (B, 1024)

    Examples
    --------
    >>> small_pixels(torch.eye(64)[None, None])[0, :2].tolist()
    [0.5, 0.0]
    """
    return F.adaptive_avg_pool2d(luminance(images).double(), _SIDE).flatten(1)


def histograms(images: Tensor) -> Tensor:
    """Count each channel's values in 64 bins of [0, 1]: the square roots of their shares.

    The square root gives rare values, such as those of marks and borders, as much of a say as
    common ones: a count's root varies alike whatever the count (Anscombe, Biometrika 35, 1948).

    Parameters
    ----------
    images : Tensor, (B, C, H, W)
        In [0, 1].

    Returns
    -------
    Tensor of float64, (B, 64 C)

    Examples
    --------
    >>> images = torch.zeros(1, 1, 2, 2)
    >>> images[0, 0, 0, 1:] = 1.0
    >>> histograms(images)[0, [0, 1, 63]].square().round(decimals=6).tolist()
    [0.75, 0.0, 0.25]
    """
    bins = quantize(images, _BINS).flatten(2).long()  # (B, C, H*W)
    counts = torch.zeros(*bins.shape[:2], _BINS, dtype=torch.float64)
    counts.scatter_add_(2, bins, torch.ones_like(bins, dtype=torch.float64))
    return (counts / bins.shape[2]).sqrt().flatten(1)


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
