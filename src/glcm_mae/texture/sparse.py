"""The GLCM distance and its gradient without L x L arithmetic.

A pixel touches T bins, so a pair of pixels touches T x T cells of the matrix: its *entries*. With
``D = H(prediction) - H(target)``, the sum of ``D^2`` over all cells is a sum over entries of their
weight times ``D`` at their cell, and the gradient is the same gather of ``D``. So: scatter the
entries into a scratch matrix, gather them back, scatter zeros. The work is in the number of
entries; the scratch is the only thing that knows the number of levels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .binning import Taps
from .comparison import Comparison
from .offsets import Offset, pair_views


class _Entries(NamedTuple):
    """What the pixel pairs of one offset add to the matrices of their groups."""

    cell: Tensor  # (G, E) int64, flat index into the L * L cells
    weight: Tensor  # (G, E)
    first: Tensor  # (G, M, h, w, T): weights of the pairs' first pixels, shares included
    second: Tensor  # (G, M, h, w, T)


def _entries(taps: Taps, share: Tensor, levels: int, offset: Offset) -> _Entries:
    bins_first, bins_second = _pair_views_of_taps(taps.bins, offset)
    first, second = _pair_views_of_taps(taps.weight, offset)
    first = first * share[:, :, None, None, None]
    cell = bins_first[..., :, None] * levels + bins_second[..., None, :]
    weight = first[..., :, None] * second[..., None, :]
    return _Entries(cell.flatten(1), weight.flatten(1), first, second)


def _pair_views_of_taps(taps: Tensor, offset: Offset) -> tuple[Tensor, Tensor]:
    """`pair_views` for a tensor whose last axis is the taps: (G, M, h, w, T)."""
    first, second = pair_views(taps.movedim(-1, 2), offset)
    return first.movedim(2, -1), second.movedim(2, -1)


def sparse_distance(
    prediction: Tensor,
    target: Tensor,
    valid: Tensor,
    comparison: Comparison,
    scratch: Tensor,
) -> tuple[Tensor, Tensor]:
    """`dense_distance` and its gradient by ``prediction``, by scatter, gather, scatter zeros.

    Parameters
    ----------
    prediction, target : Tensor of float32 or float64, (G, M, p, q)
        Groups of patches.
    valid : Tensor of float, (G, M)
        1 where there is a patch.
    comparison : Comparison
        How they are compared.
    scratch : Tensor, (2, G or more, L * L)
        Zeros on entry, and zeros again on return.

    Returns
    -------
    distance : Tensor, (G,)
    gradient : Tensor, (G, M, p, q)
        Derivative of each group's distance by its own pixels.
    """
    share = valid / valid.sum(dim=1, keepdim=True)  # (G, M)
    binning = comparison.binning
    p_taps, t_taps = binning.taps(prediction), binning.taps(target)
    matrix_p, matrix_t = scratch[0, : len(prediction)], scratch[1, : len(prediction)]

    distance = prediction.new_zeros(len(prediction))
    by_weight = torch.zeros_like(p_taps.weight)  # d distance / d tap weight
    for offset, part in zip(comparison.offsets, comparison.weights, strict=True):
        p = _entries(p_taps, share, binning.levels, offset)
        t = _entries(t_taps, share, binning.levels, offset)
        matrix_p.scatter_add_(1, p.cell, p.weight)
        matrix_t.scatter_add_(1, t.cell, t.weight)
        if comparison.scaled or comparison.normalized:
            value, slope = _shaped(p, t, matrix_p, matrix_t, comparison)
        else:
            value, slope = _plain(p, t, matrix_p, matrix_t)
        matrix_p.scatter_(1, p.cell, 0.0)
        matrix_t.scatter_(1, t.cell, 0.0)

        distance += part * value
        slope = part * slope.view(*p.first.shape, binning.n_taps)  # (G, M, h, w, T, T)
        at_first, at_second = _pair_views_of_taps(by_weight, offset)
        at_first += torch.einsum("...ij,...j->...i", slope, p.second) * share[..., None, None, None]
        at_second += torch.einsum("...ij,...i->...j", slope, p.first)
    gradient = (by_weight * p_taps.slope).sum(dim=-1)
    return distance / binning.levels**2, gradient * (2 / binning.levels**2)


def _plain(p: _Entries, t: _Entries, matrix_p: Tensor, matrix_t: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of D^2 and half its derivative by each entry of the prediction; H(G) = G."""
    difference_p = matrix_p.gather(1, p.cell) - matrix_t.gather(1, p.cell)  # (G, E)
    difference_t = matrix_p.gather(1, t.cell) - matrix_t.gather(1, t.cell)
    value = (p.weight * difference_p).sum(1) - (t.weight * difference_t).sum(1)
    return value, difference_p


def _shaped(
    p: _Entries,
    t: _Entries,
    matrix_p: Tensor,
    matrix_t: Tensor,
    comparison: Comparison,
) -> tuple[Tensor, Tensor]:
    """Do the same for H(G) = A h(G / S): h(g) = g (1 - g) if scaled, else g; A = 1 or S.

    An entry is worth its weight times ``H(G) / G`` at its cell. S depends on every entry, so a
    second term, the same for all entries, joins the gradient.
    """
    total_p = p.weight.sum(1, keepdim=True)  # (G, 1)
    total_t = t.weight.sum(1, keepdim=True)

    def worth(g: Tensor) -> Tensor:  # h(g) / g
        return 1 - g if comparison.scaled else torch.ones_like(g)

    def height(total: Tensor) -> Tensor:  # A
        return torch.ones_like(total) if comparison.normalized else total

    def difference(cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        g_p = matrix_p.gather(1, cell) / total_p
        g_t = matrix_t.gather(1, cell) / total_t
        d = height(total_p) * g_p * worth(g_p) - height(total_t) * g_t * worth(g_t)
        return d, g_p, g_t

    at_p, g_p, _ = difference(p.cell)
    at_t, _, g_t = difference(t.cell)
    lift_p, lift_t = height(total_p) / total_p, height(total_t) / total_t  # A / S
    value = (p.weight * worth(g_p) * at_p).sum(1) * lift_p[:, 0]
    value -= (t.weight * worth(g_t) * at_t).sum(1) * lift_t[:, 0]

    steep = 1 - 2 * g_p if comparison.scaled else torch.ones_like(g_p)  # h'(g)
    # dH/dS at fixed G, divided by G: (h(g) - g h'(g)) / G for A = S, - h'(g) / S^2 for A = 1.
    by_total = -steep / total_p**2 if comparison.normalized else (worth(g_p) - steep) / total_p
    common = (p.weight * at_p * by_total).sum(1, keepdim=True)
    return value, lift_p * steep * at_p + common


def matmul_distance(
    prediction: Tensor,
    target: Tensor,
    valid: Tensor,
    comparison: Comparison,
) -> tuple[Tensor, Tensor]:
    """`dense_distance` and its gradient by matrix products, for kernels wider than a few bins.

    A kernel that spans T bins costs T * T entries a pair in `sparse_distance`; the product of the
    pairs' (Q, L) weights costs L * L multiply-adds, which processors do far faster. It wins where
    T * T comes near to L * L.

    Parameters and returns are those of `sparse_distance`, without the scratch.
    """
    share = (valid / valid.sum(dim=1, keepdim=True))[:, :, None, None, None]
    binning = comparison.binning
    p_taps, t_taps = binning.taps(prediction), binning.taps(target)
    phi_p, phi_t = _spread(p_taps, binning.levels), _spread(t_taps, binning.levels)

    distance = prediction.new_zeros(len(prediction))
    by_phi = torch.zeros_like(phi_p)  # (G, M, p, q, L)
    for offset, part in zip(comparison.offsets, comparison.weights, strict=True):
        p_first, p_second = _pair_views_of_taps(phi_p, offset)
        t_first, t_second = _pair_views_of_taps(phi_t, offset)
        matrix_p = _product(p_first * share, p_second)  # (G, L, L)
        matrix_t = _product(t_first * share, t_second)
        value, slope = _matrix_slope(matrix_p, matrix_t, comparison)
        distance += part * value
        at_first, at_second = _pair_views_of_taps(by_phi, offset)
        slope = part * slope[:, None, None]  # (G, 1, 1, L, L): one matrix for all pairs of a group
        at_first += (p_second @ slope.mT) * share
        at_second += (p_first * share) @ slope
    gradient = (by_phi.gather(-1, p_taps.bins) * p_taps.slope).sum(dim=-1)
    return distance / binning.levels**2, gradient * (2 / binning.levels**2)


def _spread(taps: Taps, levels: int) -> Tensor:
    """Weights of all L bins from those of the T bins touched: (..., T) to (..., L)."""
    phi = taps.weight.new_zeros(*taps.weight.shape[:-1], levels)
    return phi.scatter_add_(-1, taps.bins, taps.weight)


def _product(first: Tensor, second: Tensor) -> Tensor:
    """Sum over pairs of the outer product of their weights: (G, M, h, w, L) twice to (G, L, L)."""
    return first.flatten(1, 3).mT @ second.flatten(1, 3)


def _matrix_slope(
    matrix_p: Tensor, matrix_t: Tensor, comparison: Comparison
) -> tuple[Tensor, Tensor]:
    """Sum of D^2 and half its derivative by the cells of the prediction's matrix."""
    total_p = matrix_p.sum(dim=(1, 2), keepdim=True)
    total_t = matrix_t.sum(dim=(1, 2), keepdim=True)
    g_p, g_t = matrix_p / total_p, matrix_t / total_t
    height_p, height_t = (
        (torch.ones_like(total_p),) * 2 if comparison.normalized else (total_p, total_t)
    )
    if comparison.scaled:
        shaped_p, shaped_t, steep = g_p * (1 - g_p), g_t * (1 - g_t), 1 - 2 * g_p
    else:
        shaped_p, shaped_t, steep = g_p, g_t, torch.ones_like(g_p)
    d = height_p * shaped_p - height_t * shaped_t
    # H = A h(G / S): its derivative by G, and by S, which every cell moves.
    by_total = -g_p * steep / total_p if comparison.normalized else shaped_p - g_p * steep
    slope = d * steep * height_p / total_p + (d * by_total).sum(dim=(1, 2), keepdim=True)
    return d.square().sum(dim=(1, 2)), slope
