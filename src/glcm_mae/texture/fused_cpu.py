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
from .lanes import FEW, LANES, add_outer, contract
from .regions import in_threads
from .weights_cpu import empty_windows, fill_windows, kernel_tables, lanes_for

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
def scatter_all(matrix, stride, first, step, windows, share, lanes):
    """Add the outer products of all pairs' windows to a flat matrix."""
    start, weight, _ = windows
    width = len(lanes)
    for a in first:
        b = a + step
        if width == FEW:
            begin = start[a] * stride + start[b]
            add_outer(FEW, matrix, begin, stride, weight, a * width, b * width, share)
        elif width >= LANES:
            _scatter_wide(matrix, stride, a, b, windows, share, width)
        else:
            _scatter(matrix, stride, a, b, windows, share, lanes)


@summing
def _scatter_wide(matrix, stride, first, second, windows, share, width):
    """Do so for one pair, block by block."""
    start, weight, _ = windows
    begin = start[first] * stride + start[second]
    for i in range(0, width, LANES):
        for j in range(0, width, LANES):
            place = begin + i * stride + j
            one, other = first * width + i, second * width + j
            add_outer(LANES, matrix, place, stride, weight, one, other, share)


@summing
def _scatter(matrix, stride, first, second, windows, share, lanes):
    """Do so for a pair of narrow windows, whose length the compiler knows."""
    start, weight, _ = windows
    begin = start[first] * stride + start[second]
    for i in range(len(lanes)):
        row = matrix[begin + i * stride : begin + i * stride + len(lanes)]
        w = weight[first, i] * share
        for j in range(len(lanes)):
            row[j] += w * weight[second, j]


@summing
def _clear(matrix, stride, first, second, windows, lanes):
    """Put zeros back where `_scatter` has written."""
    start, _, _ = windows
    begin = start[first] * stride + start[second]
    for i in range(len(lanes)):
        row = matrix[begin + i * stride : begin + i * stride + len(lanes)]
        for j in range(len(lanes)):
            row[j] = 0.0


@summing
def _gather_all(matrix, stride, first, step, windows, common, worth, lanes, by_pixel):
    """Sum of the entries of all pairs times their cells.

    Adds ``worth`` times its derivative to ``by_pixel``, as if each cell were ``common`` more.
    """
    start, weight, slope = windows
    width = len(lanes)
    total = 0.0
    for a in first:
        b = a + step
        if width == FEW:
            begin = start[a] * stride + start[b]
            value, by_first, by_second = contract(
                FEW, matrix, begin, stride, weight, slope, a * width, b * width
            )
        elif width >= LANES:
            value, by_first, by_second = _gather_wide(matrix, stride, a, b, windows, width)
        else:
            value, by_first, by_second = _gather(matrix, stride, a, b, windows, lanes)
        if common != 0.0:
            by_first += common * weight[b].sum() * slope[a].sum()
            by_second += common * weight[a].sum() * slope[b].sum()
        total += value
        by_pixel[a] += by_first * worth
        by_pixel[b] += by_second * worth
    return total


@summing
def _gather_wide(matrix, stride, first, second, windows, width):
    """Sum of a pair's entries times their cells and its derivatives by the two, block by block."""
    start, weight, slope = windows
    begin = start[first] * stride + start[second]
    value, by_first, by_second = 0.0, 0.0, 0.0
    for i in range(0, width, LANES):
        for j in range(0, width, LANES):
            place = begin + i * stride + j
            one, other = first * width + i, second * width + j
            v, f, s = contract(LANES, matrix, place, stride, weight, slope, one, other)
            value, by_first, by_second = value + v, by_first + f, by_second + s
    return value, by_first, by_second


@summing
def _gather(matrix, stride, first, second, windows, lanes):
    """Do so for a pair of narrow windows."""
    start, weight, slope = windows
    begin = start[first] * stride + start[second]
    value, by_first, by_second = 0.0, 0.0, 0.0
    for i in range(len(lanes)):
        row = matrix[begin + i * stride : begin + i * stride + len(lanes)]
        along, along_slope = 0.0, 0.0
        for j in range(len(lanes)):
            along += row[j] * weight[second, j]
            along_slope += row[j] * slope[second, j]
        value += along * weight[first, i]
        by_first += along * slope[first, i]
        by_second += along_slope * weight[first, i]
    return value, by_first, by_second


@summing
def _inner(matrix, stride, first, second, windows, share, lanes):
    """Sum of the entries times their cells."""
    start, weight, _ = windows
    begin = start[first] * stride + start[second]
    value = 0.0
    for i in range(len(lanes)):
        row = matrix[begin + i * stride : begin + i * stride + len(lanes)]
        along = 0.0
        for j in range(len(lanes)):
            along += row[j] * weight[second, j]
        value += along * weight[first, i]
    return value * share


@summing
def _settle(matrices, cell, totals, form):
    """Turn a cell from G into the slope of D^2 / 2, once; return D^2 and D dH/dS, or zeros.

    H(G) = A g (1 - g) if scaled, else A g, with g = G / S and A = 1 if normalized, else S.
    """
    p_matrix, t_matrix = matrices
    if t_matrix[cell] == _SETTLED:
        return 0.0, 0.0
    p_total, t_total = totals
    scaled, normalized = form
    p_height, t_height = (1.0, 1.0) if normalized else totals
    g, t = p_matrix[cell] / p_total, t_matrix[cell] / t_total
    p_damp, t_damp = (g, t) if scaled else (0.0, 0.0)
    shaped = g * (1.0 - p_damp)
    steep = 1.0 - 2.0 * p_damp
    difference = p_height * shaped - t_height * t * (1.0 - t_damp)
    by_total = -g * steep / p_total if normalized else shaped - g * steep
    p_matrix[cell] = difference * steep * p_height / p_total
    t_matrix[cell] = _SETTLED
    return difference * difference, difference * by_total


@summing
def _settle_all(matrices, stride, first, step, both, totals, form, whole, lanes):
    """Settle every cell that a pair touches; return the sums of D^2 and of D dH/dS."""
    value, common = 0.0, 0.0
    if whole:
        for cell in range(stride * stride):
            v, c = _settle(matrices, cell, totals, form)
            value += v
            common += c
        return value, common
    for windows in both:
        start = windows[0]
        for a in first:
            begin = start[a] * stride + start[a + step]
            for i in range(len(lanes)):
                for cell in range(begin + i * stride, begin + i * stride + len(lanes)):
                    v, c = _settle(matrices, cell, totals, form)
                    value += v
                    common += c
    return value, common


@summing
def _clear_all(matrix, stride, first, step, both, whole, lanes):
    """Put zeros back."""
    if whole:
        matrix[: stride * stride] = 0.0
        return
    for windows in both:
        for a in first:
            _clear(matrix, stride, a, a + step, windows, lanes)


@summing
def _groups_distance(
    prediction, target, counts, offsets, parts, binning, tables, form, lanes, distance, gradient
):
    """Fill ``distance`` (G,) and ``gradient`` (G, M, p, q) from two (G, M, p, q)."""
    n_groups, members, height, breadth = prediction.shape
    area = height * breadth
    levels = binning[1]
    widest = levels + len(lanes)  # a window may reach beyond the last bin, with weight 0
    matrices = np.zeros(widest * widest), np.zeros(widest * widest)
    p_matrix, t_matrix = matrices
    p = empty_windows(members * area, len(lanes))
    t = empty_windows(members * area, len(lanes))
    both = p, t
    by_pixel = np.empty(members * area)  # half the derivative of the distance
    flat_p, flat_t = prediction.reshape(n_groups, -1), target.reshape(n_groups, -1)
    flat_gradient = gradient.reshape(n_groups, -1)
    shaped = form[0] or form[1]

    for g in range(n_groups):
        used, share = counts[g] * area, 1.0 / counts[g]
        fill_windows(flat_p[g, :used], binning, tables, p)
        fill_windows(flat_t[g, :used], binning, tables, t)
        stride = _use_few_levels(p[0][:used], t[0][:used]) + len(lanes)
        by_pixel[:used] = 0.0
        total = 0.0
        for o in range(len(offsets)):
            first, step = first_pixels(offsets[o], counts[g], height, breadth)
            worth = share * parts[o]
            # Where windows cover the matrix many times over, walking over its cells is cheaper.
            whole = stride * stride < 2 * len(first) * len(lanes) ** 2
            scatter_all(p_matrix, stride, first, step, p, share, lanes)
            if shaped:
                scatter_all(t_matrix, stride, first, step, t, share, lanes)
                totals = _total(first, step, p, share), _total(first, step, t, share)
                value, common = _settle_all(
                    matrices, stride, first, step, both, totals, form, whole, lanes
                )
                total += value * parts[o]
                _gather_all(p_matrix, stride, first, step, p, common, worth, lanes, by_pixel)
                _clear_all(t_matrix, stride, first, step, both, whole, lanes)
            else:
                scatter_all(p_matrix, stride, first, step, t, -share, lanes)
                value = worth * _gather_all(
                    p_matrix, stride, first, step, p, 0.0, worth, lanes, by_pixel
                )
                if whole:
                    total += np.square(p_matrix[: stride * stride]).sum() * parts[o]
                else:
                    for a in first:
                        value -= _inner(p_matrix, stride, a, a + step, t, worth, lanes)
                    total += value
            _clear_all(p_matrix, stride, first, step, both, whole, lanes)
        distance[g] = max(total, 0.0) / levels**2  # rounding can leave -1e-30 of equal textures
        for n in range(used):
            flat_gradient[g, n] = by_pixel[n] * 2.0 / levels**2


@summing
def first_pixels(offset, members, height, breadth):
    """Flat index of the first pixel of every pair in every patch; distance to the second."""
    dy, dx = offset
    top, bottom = max(0, -dy), height - max(0, dy)
    left, right = max(0, -dx), breadth - max(0, dx)
    first = np.empty(members * (bottom - top) * (right - left), np.int64)
    n = 0
    for m in range(members):
        for y in range(top, bottom):
            for x in range(left, right):
                first[n] = (m * height + y) * breadth + x
                n += 1
    return first, dy * breadth + dx


@summing
def _total(first, step, windows, share):
    """Sum S of a group's GLCM, from its pixels' windows."""
    total = 0.0
    for a in first:
        total += windows[1][a].sum() * windows[1][a + step].sum()
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
        *((comparison.scaled, comparison.normalized), lanes_for(comparison.binning)),
    )

    def work(part: slice) -> None:
        _groups_distance(p[part], t[part], n[part], *how, distance[part], gradient[part])

    in_threads(work, len(p))
    return torch.from_numpy(distance), torch.from_numpy(gradient)
