"""Soft GLCMs as tensors: what a network can predict, and what a user can look at."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .binning import Binning
from .offsets import Offset, check_offsets, pair_views


def soft_glcm(
    patches: Tensor,
    binning: Binning,
    offsets: Sequence[Offset] = ((0, 1), (1, 0)),
    *,
    normalized: bool = True,
) -> Tensor:
    """Soft gray-level co-occurrence matrix of each patch or image; differentiable.

    ``G[i, j]`` is the sum over the pixel pairs one offset apart of the first pixel's weight at
    level i times the second's at level j.

    Parameters
    ----------
    patches : Tensor of float, (..., p, q)
        Intensities.
    binning : Binning
        Levels, kernel, bandwidth and range.
    offsets : sequence of (dy, dx)
        Pixel offsets.
    normalized : bool
        Divide by the number of pairs, so that the entries are the joint probabilities of the two
        gray levels.

    Returns
    -------
    Tensor, (..., O, L, L)

    Raises
    ------
    ValueError
        If an offset leaves no pair inside a patch.

    Examples
    --------
    >>> checker = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> soft_glcm(checker, Binning(2, "sigmoid"), [(0, 1)]).round(decimals=3).tolist()
    [[[0.0, 0.5], [0.5, 0.0]]]
    """
    check_offsets(offsets, *patches.shape[-2:])
    patches = patches if patches.dtype == torch.float64 else patches.float()
    bins, weight = binning.weights(patches)
    phi = weight.new_zeros(*patches.shape, binning.levels).scatter_add(-1, bins, weight)
    phi = phi.movedim(-1, -3)  # (..., L, p, q)
    matrices = []
    for offset in offsets:
        first, second = pair_views(phi, offset)
        matrix = first.flatten(-2) @ second.flatten(-2).mT  # (..., L, L)
        pairs = first.shape[-2] * first.shape[-1]
        matrices.append(matrix / pairs if normalized else matrix)
    return torch.stack(matrices, dim=-3)
