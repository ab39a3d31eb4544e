"""The specification: the soft GLCM and its loss written down as the formulas stand.

Nothing here is fast. Every other implementation is tested against this one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .binning import Binning
from .comparison import Comparison
from .grid import GaussianGrid
from .offsets import Offset, pair_views


def _spline(t: Tensor) -> Tensor:
    """Cumulative distribution of the sum of three uniform numbers between -1/2 and 1/2."""
    parts = ((-1) ** k * math.comb(3, k) * (t + 1.5 - k).clamp_min(0) ** 3 for k in range(4))
    return torch.where(t < 1.5, sum(parts) / 6, 1.0)


_CDF = {
    "sigmoid": torch.sigmoid,
    "linear": lambda t: (t + 0.5).clamp(0, 1),
    "bspline": _spline,
    "gaussian": torch.special.ndtr,
}


def soft_assignment(values: Tensor, binning: Binning | GaussianGrid) -> Tensor:
    """Weight of every pixel in every bin, tails and mirror images included.

    Parameters
    ----------
    values : Tensor of float, any shape
        Pixel intensities.
    binning : Binning or GaussianGrid
        Levels, kernel, bandwidth and range.

    Returns
    -------
    Tensor, (*values.shape, levels)
        On a grid the Gaussian around each of its points. In bins
        ``phi_k(x) + phi_k(2 low - x) + phi_k(2 high - x)`` with
        ``phi_k(x) = F((x - c_k + w/2) / b) - F((x - c_k - w/2) / b)`` (Avi-Aharon et al. 2020,
        eqs. 5-7, for the logistic F).

    Examples
    --------
    >>> soft_assignment(torch.tensor([0.1]), Binning(levels=2, kernel="sigmoid")).round().tolist()
    [[1.0, 0.0]]
    """
    low, high = binning.value_range
    steps = torch.arange(binning.levels, dtype=values.dtype, device=values.device)
    centres = low + (steps + 0.5) * binning.width  # (L,)
    if isinstance(binning, GaussianGrid):
        values = values.clamp(*binning.covered)
        return torch.exp(-0.5 * ((values[..., None] - centres) / binning.bandwidth).square())
    cdf, half = _CDF[binning.kernel], binning.width / 2

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
        The squared difference: its mean over cells, averaged over offsets by their weights.
    """
    a, b = (
        shape_matrices(dense_glcm(groups, valid, comparison), comparison)
        for groups in (prediction, target)
    )
    return (a - b).square().mean(dim=(2, 3)) @ a.new_tensor(comparison.weights)


def pair_kernel_distance(
    prediction: Tensor, target: Tensor, valid: Tensor, offset: Offset, bandwidth: float
) -> Tensor:
    """Squared maximum mean discrepancy of two groups' pixel pairs, every pair against every other.

    With ``k(u, v) = exp(-|u - v|^2 / 4 b^2)`` on pairs of gray levels, the mean of k within the
    prediction plus that within the target minus twice that across (Gretton et al. 2012, eq. 2,
    the biased estimate).

    Parameters
    ----------
    prediction, target : Tensor of float, (G, M, p, q)
        Groups of patches.
    valid : Tensor of float, (G, M)
        1 where there is a patch.
    offset : (dy, dx)
        Pixel offset.
    bandwidth : float
        ``b``, in intensity units.

    Returns
    -------
    Tensor, (G,)
        Between 0 and 2.
    """
    clouds = []
    for groups in (prediction, target):
        pairs = torch.stack(pair_views(groups, offset), dim=-1)  # (G, M, h, w, 2)
        clouds.append(pairs.flatten(1, 3))  # (G, Q, 2)
    each = valid.repeat_interleave(clouds[0].shape[1] // valid.shape[1], dim=1)  # (G, Q)
    share = each / each.sum(dim=1, keepdim=True)

    def mean_kernel(u: Tensor, v: Tensor) -> Tensor:
        square = (u[:, :, None] - v[:, None]).square().sum(dim=-1)  # (G, Q, Q)
        return torch.einsum("gq,gr,gqr->g", share, share, torch.exp(-square / (4 * bandwidth**2)))

    p, t = clouds
    return mean_kernel(p, p) + mean_kernel(t, t) - 2 * mean_kernel(p, t)
