"""The specification: the soft GLCM and its loss written down as the formulas stand.

Nothing here is fast. Every other implementation is tested against this one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .binning import Binning
from .comparison import Comparison
from .offsets import pair_views

_CDF = {
    "sigmoid": torch.sigmoid,
    "linear": lambda t: (t + 0.5).clamp(0, 1),
    "gaussian": torch.special.ndtr,
}


def soft_assignment(values: Tensor, binning: Binning) -> Tensor:
    """Weight of every pixel in every bin, tails and mirror images included.

    Parameters
    ----------
    values : Tensor of float, any shape
        Pixel intensities.
    binning : Binning
        Levels, kernel, bandwidth and range.

    Returns
    -------
    Tensor, (*values.shape, levels)
        ``phi_k(x) + phi_k(2 low - x) + phi_k(2 high - x)`` with
        ``phi_k(x) = F((x - c_k + w/2) / b) - F((x - c_k - w/2) / b)`` (Avi-Aharon et al. 2020,
        eqs. 5-7, for the logistic F).

    Examples
    --------
    >>> soft_assignment(torch.tensor([0.1]), Binning(levels=2, kernel="sigmoid")).round().tolist()
    [[1.0, 0.0]]
    """
    low, high = binning.value_range
    cdf, half = _CDF[binning.kernel], binning.width / 2
    steps = torch.arange(binning.levels, dtype=values.dtype, device=values.device)
    centres = low + (steps + 0.5) * binning.width  # (L,)

    def phi(x: Tensor) -> Tensor:
        distance = x[..., None] - centres
        return cdf((distance + half) / binning.scale) - cdf((distance - half) / binning.scale)

    x = values.clamp(low, high)
    return phi(x) + phi(2 * low - x) + phi(2 * high - x)


def dense_glcm(groups: Tensor, valid: Tensor, comparison: Comparison) -> Tensor:
    """Soft GLCM of each group of patches: the mean of its patches' pair counts.

    Parameters
    ----------
    groups : Tensor of float, (G, M, p, q)
        Up to M patches for each of G groups.
    valid : Tensor of float, (G, M)
        1 where there is a patch, 0 where a group has fewer than M.
    comparison : Comparison
        Its binning and offsets.

    Returns
    -------
    Tensor, (G, O, L, L)
        ``[g, o, i, j]``: weight of the pairs whose first pixel is at level i and whose second,
        ``offsets[o]`` away, is at level j.
    """
    phi = soft_assignment(groups, comparison.binning)  # (G, M, p, q, L)
    share = valid / valid.sum(dim=1, keepdim=True)
    matrices = []
    for offset in comparison.offsets:
        first, second = pair_views(phi.movedim(-1, 2), offset)  # (G, M, L, p', q')
        matrices.append(torch.einsum("gm,gmiyx,gmjyx->gij", share, first, second))
    return torch.stack(matrices, dim=1)


def shape_matrices(matrices: Tensor, comparison: Comparison) -> Tensor:
    """Put GLCMs into the form in which they are compared.

    Parameters
    ----------
    matrices : Tensor, (..., L, L)
        GLCMs as counts.
    comparison : Comparison
        ``scaled``: replace G by ``G (S - G) / S``, S the sum of G, which damps the cells that flat
        regions fill (the released code of Madan et al. 2025). ``normalized``: divide by S.

    Returns
    -------
    Tensor, (..., L, L)
    """
    total = matrices.sum(dim=(-2, -1), keepdim=True)
    if comparison.scaled:
        matrices = matrices * (total - matrices) / total
    return matrices / total if comparison.normalized else matrices


def dense_distance(
    prediction: Tensor, target: Tensor, valid: Tensor, comparison: Comparison
) -> Tensor:
    """Mean squared difference of the GLCMs of two sets of groups.

    Parameters
    ----------
    prediction, target : Tensor of float, (G, M, p, q)
        Groups of patches.
    valid : Tensor of float, (G, M)
        1 where there is a patch.
    comparison : Comparison
        How they are compared.

    Returns
    -------
    Tensor, (G,)
        The mean over offsets and cells of the squared difference.
    """
    a, b = (
        shape_matrices(dense_glcm(groups, valid, comparison), comparison)
        for groups in (prediction, target)
    )
    return (a - b).square().mean(dim=(1, 2, 3))
