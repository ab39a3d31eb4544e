"""Exact gray-level co-occurrence matrices: integer counts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .offsets import Offset, check_offsets, pair_views


def quantize(images: Tensor, levels: int, value_range: tuple[float, float] = (0.0, 1.0)) -> Tensor:
    """Cut a range into bins of equal width and give each pixel its bin's number.

    Parameters
    ----------
    images : Tensor of float, any shape
        Intensities. Values beyond an end of the range fall into its nearest bin.
    levels : int
        Number of bins.
    value_range : (float, float)
        Lower edge of the first bin, upper edge of the last.

    Returns
    -------
    Tensor of int64, like ``images``
        Gray levels in ``[0, levels)``.

    Raises
    ------
    ValueError
        If a pixel is NaN.

    Examples
    --------
    >>> quantize(torch.tensor([0.0, 0.49, 0.5, 1.0]), levels=2).tolist()
    [0, 0, 1, 1]
    """
    if images.isnan().any():
        raise ValueError("images hold NaN, which has no gray level: replace it first.")
    low, high = value_range
    return ((images.double() - low) / (high - low) * levels).floor().clamp(0, levels - 1).long()


def graycomatrix(
    images: Tensor,
    levels: int,
    offsets: Sequence[Offset] = ((0, 1), (1, 0)),
    *,
    symmetric: bool = False,
    normed: bool = False,
) -> Tensor:
    """Count how often two gray levels stand one offset apart.

    The counts equal those of ``skimage.feature.graycomatrix`` for the same offsets.

    Parameters
    ----------
    images : Tensor of integers, (..., H, W)
        Gray levels in ``[0, levels)``; see `quantize`.
    levels : int
        Number of gray levels L.
    offsets : sequence of (dy, dx)
        From the first pixel of a pair to the second.
    symmetric : bool
        Count every pair in both directions.
    normed : bool
        Divide by the number of pairs.

    Returns
    -------
    Tensor, (..., O, L, L)
        int64 counts, or float64 frequencies if ``normed``. ``[o, i, j]``: pairs of level i and,
        ``offsets[o]`` away, level j.

    Raises
    ------
    ValueError
        If the images are not integers in range, or an offset leaves no pair.

    References
    ----------
    Haralick, Shanmugam, Dinstein, "Textural Features for Image Classification", IEEE Trans. SMC
    3(6), 1973.

    Examples
    --------
    >>> graycomatrix(torch.tensor([[0, 0, 1], [1, 0, 0]]), levels=2, offsets=[(0, 1)]).tolist()
    [[[2, 1], [1, 0]]]
    """
    if images.is_floating_point() or images.dtype == torch.bool:
        raise ValueError(f"images are {images.dtype}: quantize them to integer levels first.")
    if images.numel() and not (int(images.min()) >= 0 and int(images.max()) < levels):
        raise ValueError(f"images hold gray levels outside 0 to {levels - 1}: raise levels.")
    check_offsets(offsets, *images.shape[-2:])
    lead = images.shape[:-2]
    codes = images.long().reshape(-1, *images.shape[-2:])
    matrices = codes.new_zeros(len(codes), len(offsets), levels * levels)
    for o, offset in enumerate(offsets):
        first, second = pair_views(codes, offset)
        cells = (first * levels + second).flatten(1)
        matrices[:, o].scatter_add_(1, cells, torch.ones_like(cells))
    matrices = matrices.view(*lead, len(offsets), levels, levels)
    if symmetric:
        matrices = matrices + matrices.mT
    return matrices.double() / matrices.sum(dim=(-2, -1), keepdim=True) if normed else matrices
