"""The GLCM distance and its gradient as one compiled loop for the CPU (numba).

The mathematics is that of `glcm_mae.texture.sparse`. Each pixel's weights are held as a window of
neighbouring bins, so that a pair adds a small outer product to the matrix; everything is summed in
float64. Threads share nothing but the input: each has a scratch of its own.
"""

from __future__ import annotations

# mypy: allow-untyped-defs
import math

import numpy as np
import torch
from torch import Tensor

from .comparison import Comparison
from .compiling import summing
from .pairs_cpu import clear_pairs, first_pixels, gather_pairs, scatter_pairs
from .regions import in_threads
from .weights_cpu import empty_windows, fill_windows, kernel_tables, window_blocks

_SETTLED = math.inf  # marks a cell of the target's matrix as done


@summing
def _use_few_levels(p_start, t_start):
    """Count both images' windows from the lowest bin on; return the number of first bins in use.

    A patch has few of the gray levels: its matrix then fits into a faster cache.
    """
    lowest = min(p_start.min(), t_start.min())
    p_start -= lowest
    t_start -= lowest
    return max(p_start.max(), t_start.max()) + 1


@summing
def _settle(p_cell, t_cell, shares, heights, form):
    """Return of a cell D^2, D dH/dS and the slope of D^2 / 2 by G.

    H(G) = A g (1 - g) if scaled, else A g, with g = G / S and A = 1 if normalized, else S.
    """
    scaled, normalized = form
    g, t = p_cell * shares[0], t_cell * shares[1]
    p_damp, t_damp = (g, t) if scaled else (0.0, 0.0)
    shaped = g * (1.0 - p_damp)
    steep = 1.0 - 2.0 * p_damp
    difference = heights[0] * shaped - heights[1] * t * (1.0 - t_damp)
    by_total = -g * steep * shares[0] if normalized else shaped - g * steep
    slope = difference * steep * heights[0] * shares[0]
    return difference * difference, difference * by_total, slope


@summing
def _settle_all(matrices, stride, first, step, both, totals, form, whole):
    """Turn the first matrix's cells into slopes; return the sums of D^2 and of D dH/dS."""
    p_matrix, t_matrix = matrices
    shares = 1.0 / totals[0], 1.0 / totals[1]
    heights = (1.0, 1.0) if form[1] else totals
    value, common = 0.0, 0.0
    if whole:
        for cell in range(stride * stride):
            v, c, slope = _settle(p_matrix[cell], t_matrix[cell], shares, heights, form)
            value, common = value + v, common + c
            p_matrix[cell] = slope
        return value, common
    for start, _, _, rows in both:
        for a in first:
            place = start[a] * stride + start[a + step]
            for i in range(rows):
                for cell in range(place + i * stride, place + i * stride + rows):
                    if t_matrix[cell] == _SETTLED:
                        continue
                    v, c, slope = _settle(p_matrix[cell], t_matrix[cell], shares, heights, form)
                    value, common = value + v, common + c
                    p_matrix[cell], t_matrix[cell] = slope, _SETTLED
    return value, common


@summing
def _add_by_total(first, step, sums, common, by_pixel):
    """Add what the distance changes by way of the total S."""
    weights, slopes = sums
    for a in first:
        b = a + step
        by_pixel[a] += common * slopes[a] * weights[b]
        by_pixel[b] += common * slopes[b] * weights[a]


@summing
def _clear(matrix, stride, first, step, both, whole):
    """Put zeros back; sum the squares that were there."""
    total = 0.0
    if not whole:
        for windows in both:
            total += clear_pairs(matrix, stride, first, step, windows)
        return total
    for cell in range(stride * stride):
        total += matrix[cell] ** 2
        matrix[cell] = 0.0
    return total


@summing
def _groups_distance(
    prediction, target, counts, offsets, parts, binning, tables, form, size, distance, gradient
):
    """Fill ``distance`` (G,) and ``gradient`` (G, M, p, q) from two (G, M, p, q)."""
    n_groups, members, height, breadth = prediction.shape
    area = height * breadth
    levels = binning[1]
    rows, width = size
    widest = levels + width  # a window may reach beyond the last bin, with weight 0
    matrices = np.zeros(widest * widest), np.zeros(widest * widest)
    p_matrix, t_matrix = matrices
    p = empty_windows(members * area, size)
    t = np.empty_like(p[0]), np.empty_like(p[1]), p[2], rows  # whose slopes are written over
    both = p, t
    by_pixel = np.empty(members * area)  # half the derivative of the distance
    flat_p, flat_t = prediction.reshape(n_groups, -1), target.reshape(n_groups, -1)
    flat_gradient = gradient.reshape(n_groups, -1)
    pairs = [first_pixels(offset, members, height, breadth) for offset in offsets]
    shaped = form[0] or form[1]
    covered = 8 if shaped else 1  # a cell settled on a walk takes an eighth of one settled once

    for g in range(n_groups):
        used, share = counts[g] * area, 1.0 / counts[g]
        fill_windows(flat_t[g, :used], binning, tables, t)
        fill_windows(flat_p[g, :used], binning, tables, p)
        stride = _use_few_levels(p[0][:used], t[0][:used]) + width
        by_pixel[:used] = 0.0
        total = 0.0
        if shaped:
            p_sums, t_sums = _sums(p, used), _sums(t, used)
        for o in range(len(offsets)):
            every, step = pairs[o]
            first = every[: len(every) // members * counts[g]]
            worth = share * parts[o]
            # Where windows cover much of the matrix, walking over its cells is cheaper.
            whole = stride * stride < covered * 2 * len(first) * rows * width
            scatter_pairs(p_matrix, stride, first, step, p, share)
            if shaped:
                scatter_pairs(t_matrix, stride, first, step, t, share)
                totals = (
                    _total(first, step, p_sums[0], share),
                    _total(first, step, t_sums[0], share),
                )
                value, common = _settle_all(
                    matrices, stride, first, step, both, totals, form, whole
                )
                total += value * parts[o]
                gather_pairs(p_matrix, stride, first, step, p, worth, by_pixel)
                _add_by_total(first, step, p_sums, common * worth, by_pixel)
                _clear(t_matrix, stride, first, step, both, whole)
                _clear(p_matrix, stride, first, step, both, whole)
            else:
                scatter_pairs(p_matrix, stride, first, step, t, -share)
                gather_pairs(p_matrix, stride, first, step, p, worth, by_pixel)
                total += _clear(p_matrix, stride, first, step, both, whole) * parts[o]
        distance[g] = total / levels**2
        for n in range(used):
            flat_gradient[g, n] = by_pixel[n] * 2.0 / levels**2


@summing
def _sums(windows, n):
    """Sum the weights of each of n pixels, and their slopes."""
    _, weight, slope, _ = windows
    weights, slopes = np.empty(n), np.empty(n)
    for i in range(n):
        weights[i], slopes[i] = weight[i].sum(), slope[i].sum()
    return weights, slopes


@summing
def _total(first, step, weights, share):
    """Sum S of a group's GLCM, from its pixels' weights."""
    total = 0.0
    for a in first:
        total += weights[a] * weights[a + step]
    return total * share


def fused_distance(
    prediction: Tensor,
    target: Tensor,
    counts: Tensor,
    comparison: Comparison,
) -> tuple[Tensor, Tensor]:
    """`glcm_mae.texture.dense.dense_distance` and its gradient, on as many threads as torch uses.

    Parameters
    ----------
    prediction, target : Tensor of float32 or float64 on the CPU, (G, M, p, q)
        Groups of patches.
    counts : Tensor of int64, (G,)
        How many of the M patches of a group count: the first ones.
    comparison : Comparison
        How they are compared.

    Returns
    -------
    distance : Tensor, (G,)
    gradient : Tensor, (G, M, p, q)
        Derivative of each group's distance by its own pixels.
    """
    p, t = prediction.contiguous().numpy(), target.contiguous().numpy()
    n = counts.numpy()
    distance, gradient = np.empty(len(p), p.dtype), np.zeros(p.shape, p.dtype)
    offsets = np.array(comparison.offsets, dtype=np.int64)
    how = (
        *(offsets, np.array(comparison.weights), *kernel_tables(comparison.binning)),
        *((comparison.scaled, comparison.normalized), window_blocks(comparison.binning)),
    )

    def work(part: slice) -> None:
        _groups_distance(p[part], t[part], n[part], *how, distance[part], gradient[part])

    in_threads(work, len(p))
    return torch.from_numpy(distance), torch.from_numpy(gradient)
