"""The GLCM distance and its gradient as one compiled loop for the CPU (numba).

The mathematics is that of `glcm_mae.texture.sparse`. Each pixel's weights are held as a window of
neighbouring bins, so that a pair adds a small outer product to the matrix; everything is summed in
float64. Threads share the planes, each writing where its own patches lie, and no scratch.
"""

from __future__ import annotations

# mypy: allow-untyped-defs
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .comparison import Comparison
from .compiling import summing
from .pairs_cpu import clear_pairs, count_pairs, gather_pairs, pair_runs, scatter_pairs
from .patches import Distance, Patches
from .planes_cpu import add_to_group, in_memory, read_group
from .threads import in_threads
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
def _settle_block(matrices, place, stride, rows, shares, heights, form):
    """Do as `_settle_all` with those of a block's cells that are not done yet."""
    p_matrix, t_matrix = matrices
    value, common = 0.0, 0.0
    for i in range(rows):
        for cell in range(place + i * stride, place + i * stride + rows):
            if t_matrix[cell] == _SETTLED:
                continue
            v, c, slope = _settle(p_matrix[cell], t_matrix[cell], shares, heights, form)
            value, common = value + v, common + c
            p_matrix[cell], t_matrix[cell] = slope, _SETTLED
    return value, common


@summing
def _settle_all(matrices, stride, runs, step, both, totals, form, whole):
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
        for r in range(len(runs)):
            for a in range(runs[r, 0], runs[r, 1]):
                place = start[a] * stride + start[a + step]
                v, c = _settle_block(matrices, place, stride, rows, shares, heights, form)
                value, common = value + v, common + c
    return value, common


@summing
def _add_by_total(runs, step, sums, common, by_pixel):
    """Add what the distance changes by way of the total S."""
    weights, slopes = sums
    for r in range(len(runs)):
        for a in range(runs[r, 0], runs[r, 1]):
            b = a + step
            by_pixel[a] += common * slopes[a] * weights[b]
            by_pixel[b] += common * slopes[b] * weights[a]


@summing
def _clear(matrix, stride, runs, step, both, whole):
    """Put zeros back; sum the squares that were there."""
    total = 0.0
    if not whole:
        for windows in both:
            total += clear_pairs(matrix, stride, runs, step, windows)
        return total
    for cell in range(stride * stride):
        total += matrix[cell] ** 2
        matrix[cell] = 0.0
    return total


@summing
def _groups_distance(planes, patches, members, counts, how, worth, distance):
    """Add to ``distance`` (G,) and to the third of the planes, its gradient by the first.

    ``planes`` are three pairs of a flat memory and where planes lie in it, ``patches`` the grid
    and the shape of a patch, ``members`` (G, M) indices of patches, of which ``counts`` (G,) count.
    """
    (prediction, p_plane), (target, t_plane), (gradient, g_plane) = planes
    offsets, parts, binning, tables, form, size = how
    height, breadth = patches[1]
    n_groups, n_members = members.shape
    area = height * breadth
    levels = binning[1]
    rows, width = size
    widest = levels + width  # a window may reach beyond the last bin, with weight 0
    shaped = form[0] or form[1]  # else the difference lies in one matrix
    matrices = np.zeros(widest * widest), np.zeros(widest * widest if shaped else 0)
    p_matrix, t_matrix = matrices
    p = empty_windows(n_members * area, size)
    t = np.empty_like(p[0]), np.empty_like(p[1]), p[2], rows  # whose slopes are written over
    both = p, t
    pixels = np.empty(n_members * area)
    by_pixel = np.empty(n_members * area)  # half the derivative of the distance
    pairs = [pair_runs(offset, n_members, height, breadth) for offset in offsets]
    covered = 8 if shaped else 1  # a cell settled on a walk takes an eighth of one settled once
    scale = worth / levels**2

    for g in range(n_groups):
        own, used, share = members[g, : counts[g]], counts[g] * area, 1.0 / counts[g]
        poison = read_group(target, t_plane, patches, own, pixels)
        fill_windows(pixels[:used], binning, tables, t)
        poison += read_group(prediction, p_plane, patches, own, pixels)
        fill_windows(pixels[:used], binning, tables, p)
        stride = _use_few_levels(p[0][:used], t[0][:used]) + width
        by_pixel[:used] = poison
        total = poison
        if shaped:
            p_sums, t_sums = _sums(p, used), _sums(t, used)
        for o in range(len(offsets)):
            every, step = pairs[o]
            runs = every[: len(every) // n_members * counts[g]]
            part = share * parts[o]
            # Where windows cover much of the matrix, walking over its cells is cheaper.
            whole = stride * stride < covered * 2 * count_pairs(runs) * rows * width
            scatter_pairs(p_matrix, stride, runs, step, p, share)
            if shaped:
                scatter_pairs(t_matrix, stride, runs, step, t, share)
                totals = (
                    _total(runs, step, p_sums[0], share),
                    _total(runs, step, t_sums[0], share),
                )
                value, common = _settle_all(matrices, stride, runs, step, both, totals, form, whole)
                total += value * parts[o]
                gather_pairs(p_matrix, stride, runs, step, p, part, by_pixel)
                _add_by_total(runs, step, p_sums, common * part, by_pixel)
                _clear(t_matrix, stride, runs, step, both, whole)
                _clear(p_matrix, stride, runs, step, both, whole)
            else:
                scatter_pairs(p_matrix, stride, runs, step, t, -share)
                gather_pairs(p_matrix, stride, runs, step, p, part, by_pixel)
                total += _clear(p_matrix, stride, runs, step, both, whole) * parts[o]
        distance[g] += total * scale
        add_to_group(gradient, g_plane, patches, own, by_pixel, 2.0 * scale)


@summing
def _sums(windows, n):
    """Sum the weights of each of n pixels, and their slopes."""
    _, weight, slope, _ = windows
    weights, slopes = np.empty(n), np.empty(n)
    for i in range(n):
        weights[i], slopes[i] = weight[i].sum(), slope[i].sum()
    return weights, slopes


@summing
def _total(runs, step, weights, share):
    """Sum S of a group's GLCM, from its pixels' weights."""
    total = 0.0
    for r in range(len(runs)):
        for a in range(runs[r, 0], runs[r, 1]):
            total += weights[a] * weights[a + step]
    return total * share


def fused_distance(
    prediction: Tensor,
    target: Tensor,
    patches: Patches,
    comparisons: Sequence[tuple[Comparison, float]],
) -> Distance:
    """`glcm_mae.texture.dense.dense_distance` and its gradient, on as many threads as torch uses.

    Parameters
    ----------
    prediction, target : Tensor of float32 or float64 on the CPU, (B, H, W)
        Planes of any strides.
    patches : Patches
        What of them is compared.
    comparisons : sequence of (Comparison, float)
        How, and how much the distance so found counts in the sum.

    Returns
    -------
    Distance

    Raises
    ------
    ValueError
        If the planes are not alike, or the patches are not theirs: compiled loops do not look.
    """
    _check(prediction, target, patches)
    gradient = torch.from_numpy(np.zeros(prediction.shape, prediction.numpy().dtype))
    distance = np.zeros(len(patches.member), prediction.numpy().dtype)
    planes = tuple(in_memory(plane) for plane in (prediction, target, gradient))
    for comparison, worth in comparisons:
        _add_distance(planes, patches, comparison, worth, distance)
    return Distance(torch.from_numpy(distance), gradient)


def _check(prediction: Tensor, target: Tensor, patches: Patches) -> None:
    sides = tuple(n * side for n, side in zip(patches.grid, patches.shape, strict=True))
    if prediction.shape != target.shape or prediction.shape[1:] != sides:
        raise ValueError(
            f"prediction is {tuple(prediction.shape)} and target {tuple(target.shape)}: both must "
            f"be (B, {sides[0]}, {sides[1]}), as the patches say."
        )
    n_patches = len(prediction) * patches.grid[0] * patches.grid[1]
    least, greatest = (int(end) for end in patches.member.aminmax())
    if least < 0 or greatest >= n_patches or not patches.valid.any(dim=1).all():
        raise ValueError(
            f"patches {least} to {greatest} are asked for: there are 0 to {n_patches - 1}, and "
            "each group has one or more."
        )


def _add_distance(
    planes: Any, patches: Patches, comparison: Comparison, worth: float, distance: Any
) -> None:
    """Add to ``distance`` (G,) and to the third of the planes, on several threads."""
    members, counts = patches.member.numpy(), patches.valid.sum(dim=1).numpy()
    where = patches.grid, patches.shape
    how = (
        *(np.array(comparison.offsets, np.int64), np.array(comparison.weights)),
        *kernel_tables(comparison.binning),
        *((comparison.scaled, comparison.normalized), window_blocks(comparison.binning)),
    )

    def work(part: slice) -> None:
        own = members[part], counts[part]
        _groups_distance(planes, where, *own, how, worth, distance[part])

    in_threads(work, len(members))
