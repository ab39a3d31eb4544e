"""The GLCM distance and its gradient as one compiled loop for the CPU (numba).

The mathematics is that of `glcm_mae.texture.sparse`. Each pixel's weights are held as a window of
neighbouring bins, so that a pair adds a small outer product to the matrix; everything is summed in
float64. Threads share nothing but the input: each has a scratch of its own.
"""

from __future__ import annotations

# mypy: allow-untyped-defs
import functools
import math
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from .binning import NOISE, Binning
from .comparison import Comparison
from .grid import GaussianGrid
from .lanes import LANES, add_outer, add_products
from .regions import in_threads

_TABULATED, _LINEAR, _POINTS = 0, 1, 2
_SETTLED = math.inf  # marks a cell of the target's matrix as done
_compiled = numba.njit(
    nogil=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc"}
)

# A kernel's cumulative function is read from a table: a dozen of them a pixel would take most of
# the time. The cubic through values and slopes at steps of 1/128 bandwidth is within 2e-11.
_STEPS = 128

# Windows of up to this width get loops of their own, whose length the compiler knows. Wider ones
# are filled up with zeros to a whole number of the blocks that vector instructions work off.
_NARROW = 4


@functools.cache
def _table(kernel: str) -> np.ndarray:
    """Values and rises per step of a kernel's cumulative function: (nodes, 2), 0 in the middle."""
    noise = NOISE[kernel]
    nodes = math.ceil(noise.reach) * _STEPS
    t = torch.arange(-nodes, nodes + 1, dtype=torch.float64) / _STEPS
    return torch.stack([noise.cdf(t), noise.pdf(t) / _STEPS], dim=-1).numpy()


@_compiled
def _looked_up(table, t):
    """Cumulative and density function at t, from a table."""
    end = len(table) // (2 * _STEPS)
    if abs(t) >= end:
        return (1.0 if t > 0 else 0.0), 0.0
    place = (t + end) * _STEPS
    node = int(place)
    f = place - node
    left, start = table[node]
    right, stop = table[node + 1]
    square = 3.0 * (right - left) - 2.0 * start - stop
    cube = start + stop - 2.0 * (right - left)
    value = left + f * (start + f * (square + f * cube))
    return value, (start + f * (2.0 * square + f * 3.0 * cube)) * _STEPS


@_compiled
def _fill_windows(values, binning, table, pieces, windows):
    """Fill each pixel's window: first bin (n,), weights (n, T') and their slopes (n, T')."""
    if len(pieces):
        _fill_wide_windows(values, binning, pieces, windows)
    else:
        _fill_narrow_windows(values, binning, table, windows)


@_compiled
def _fill_wide_windows(values, binning, pieces, windows):
    """Do so from `_pieces`."""
    code, levels, n_taps, low, width, _, reach = binning
    start, weight, slope = windows
    inside = min(n_taps, levels)
    high = low + levels * width
    by_width = len(pieces) / width
    drawn = np.empty((2, pieces.shape[2]))
    for n in range(len(values)):
        x = float(values[n])
        position = (min(max(x, low), high) - low) / width - reach
        first = math.floor(position)
        place = (position - first) * len(pieces)
        node = min(max(int(place), 0), len(pieces) - 1)  # NaN has no place, and none outside
        f = place - node
        c, d, e, g = pieces[node]
        begin = min(max(first, 0), levels - inside)
        start[n] = begin
        whole = first >= 0 and first + n_taps <= levels and low <= x <= high
        w, s = (weight[n], slope[n]) if whole else (drawn[0], drawn[1])
        for tap in range(len(w)):
            w[tap] = c[tap] + f * (d[tap] + f * (e[tap] + f * g[tap]))
            s[tap] = (d[tap] + f * (2.0 * e[tap] + f * 3.0 * g[tap])) * by_width
        if whole:
            continue
        weight[n, :] = 0.0
        slope[n, :] = 0.0
        for tap in range(n_taps):
            k = first + tap
            if -levels <= k < 2 * levels and (code != _POINTS or 0 <= k < levels):
                k = -1 - k if k < 0 else (2 * levels - 1 - k if k >= levels else k)
                weight[n, k - begin] += w[tap]
                slope[n, k - begin] += s[tap] if low <= x <= high else 0.0


@_compiled
def _fill_narrow_windows(values, binning, table, windows):
    """Do so from the kernel's `_table`, or for the linear kernel from its definition."""
    code, levels, n_taps, low, width, scale, reach = binning
    start, weight, slope = windows
    span = min(n_taps, levels)
    high = low + levels * width
    for n in range(len(values)):
        x = float(values[n])
        position = (min(max(x, low), high) - low) / width
        first = math.floor(position - reach)
        begin = min(max(first, 0), levels - span)
        start[n] = begin
        weight[n, :] = 0.0
        slope[n, :] = 0.0
        above, density = 1.0, 0.0
        for tap in range(n_taps):
            k = first + tap
            distance = (position - k - 1.0) * (width / scale)  # from the bin's upper edge
            next_above, next_density = 0.0, 0.0
            if tap < n_taps - 1:
                if code == _LINEAR:
                    next_above = min(max(distance + 0.5, 0.0), 1.0)
                    next_density = 1.0 if -0.5 <= distance < 0.5 else 0.0
                else:
                    next_above, next_density = _looked_up(table, distance)
            if -levels <= k < 2 * levels:
                k = -1 - k if k < 0 else (2 * levels - 1 - k if k >= levels else k)
                weight[n, k - begin] += above - next_above
                slope[n, k - begin] += (density - next_density) / scale
            above, density = next_above, next_density
        if not low <= x <= high:
            slope[n, :] = 0.0


@_compiled
def _use_few_levels(p_start, t_start):
    """Count both images' windows from the lowest bin on; return the number of first bins in use.

    A patch has few of the gray levels: its matrix then fits into a faster cache.
    """
    lowest = min(p_start.min(), t_start.min())
    p_start -= lowest
    t_start -= lowest
    return max(p_start.max(), t_start.max()) + 1


@_compiled
def _scatter(matrix, stride, first, second, windows, share, lanes):
    """Add the outer product of two pixels' windows to a flat matrix."""
    start, weight, _ = windows
    begin = start[first] * stride + start[second]
    if len(lanes) >= LANES:
        for i in range(0, len(lanes), LANES):
            for j in range(0, len(lanes), LANES):
                one, other = first * len(lanes) + i, second * len(lanes) + j
                add_outer(matrix, begin + i * stride + j, stride, weight, one, other, share)
        return
    for i in range(len(lanes)):
        row = matrix[begin + i * stride : begin + i * stride + len(lanes)]
        w = weight[first, i] * share
        for j in range(len(lanes)):
            row[j] += w * weight[second, j]


@_compiled
def _clear(matrix, stride, first, second, windows, lanes):
    """Put zeros back where `_scatter` has written."""
    start, _, _ = windows
    begin = start[first] * stride + start[second]
    for i in range(len(lanes)):
        row = matrix[begin + i * stride : begin + i * stride + len(lanes)]
        for j in range(len(lanes)):
            row[j] = 0.0


@_compiled
def _gather(matrix, stride, first, second, windows, share, by_weight, lanes):
    """Sum of the entries times their cells; adds the derivative by each pixel's weights."""
    start, weight, _ = windows
    begin = start[first] * stride + start[second]
    value = 0.0
    if len(lanes) >= LANES:
        for i in range(0, len(lanes), LANES):
            for j in range(0, len(lanes), LANES):
                one, other = first * len(lanes) + i, second * len(lanes) + j
                value += add_products(
                    by_weight, weight, one, other, matrix, begin + i * stride + j, stride, share
                )
        return value
    for i in range(len(lanes)):
        row = matrix[begin + i * stride : begin + i * stride + len(lanes)]
        w = weight[first, i] * share
        along = 0.0
        for j in range(len(lanes)):
            along += row[j] * weight[second, j]
            by_weight[second, j] += row[j] * w
        by_weight[first, i] += along * share
        value += along * w
    return value


@_compiled
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


@_compiled
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


@_compiled
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


@_compiled
def _clear_all(matrix, stride, first, step, both, whole, lanes):
    """Put zeros back."""
    if whole:
        matrix[: stride * stride] = 0.0
        return
    for windows in both:
        for a in first:
            _clear(matrix, stride, a, a + step, windows, lanes)


@_compiled
def _groups_distance(
    prediction,
    target,
    counts,
    offsets,
    parts,
    binning,
    table,
    pieces,
    form,
    lanes,
    distance,
    gradient,
):
    """Fill ``distance`` (G,) and ``gradient`` (G, M, p, q) from two (G, M, p, q)."""
    n_groups, members, height, breadth = prediction.shape
    area = height * breadth
    levels = binning[1]
    widest = levels + len(lanes)  # a window may reach beyond the last bin, with weight 0
    matrices = np.zeros(widest * widest), np.zeros(widest * widest)
    p_matrix, t_matrix = matrices
    p = _empty_windows(members * area, len(lanes))
    t = _empty_windows(members * area, len(lanes))
    both = p, t
    by_weight = np.empty((members * area, len(lanes)))
    flat_p, flat_t = prediction.reshape(n_groups, -1), target.reshape(n_groups, -1)
    flat_gradient = gradient.reshape(n_groups, -1)
    shaped = form[0] or form[1]

    for g in range(n_groups):
        used, share = counts[g] * area, 1.0 / counts[g]
        _fill_windows(flat_p[g, :used], binning, table, pieces, p)
        _fill_windows(flat_t[g, :used], binning, table, pieces, t)
        stride = _use_few_levels(p[0][:used], t[0][:used]) + len(lanes)
        by_weight[:used] = 0.0
        total = 0.0
        for o in range(len(offsets)):
            first, step = _first_pixels(offsets[o], counts[g], height, breadth)
            worth = share * parts[o]
            # Where windows cover the matrix many times over, walking over its cells is cheaper.
            whole = stride * stride < 2 * len(first) * len(lanes) ** 2
            for a in first:
                _scatter(p_matrix, stride, a, a + step, p, share, lanes)
            if shaped:
                for a in first:
                    _scatter(t_matrix, stride, a, a + step, t, share, lanes)
                totals = _total(first, step, p, share), _total(first, step, t, share)
                value, common = _settle_all(
                    matrices, stride, first, step, both, totals, form, whole, lanes
                )
                total += value * parts[o]
                for a in first:
                    _gather(p_matrix, stride, a, a + step, p, worth, by_weight, lanes)
                    by_weight[a] += common * worth * p[1][a + step].sum()
                    by_weight[a + step] += common * worth * p[1][a].sum()
                _clear_all(t_matrix, stride, first, step, both, whole, lanes)
            else:
                for a in first:
                    _scatter(p_matrix, stride, a, a + step, t, -share, lanes)
                value = 0.0
                for a in first:
                    value += _gather(p_matrix, stride, a, a + step, p, worth, by_weight, lanes)
                if whole:
                    total += np.square(p_matrix[: stride * stride]).sum() * parts[o]
                else:
                    for a in first:
                        value -= _inner(p_matrix, stride, a, a + step, t, worth, lanes)
                    total += value
            _clear_all(p_matrix, stride, first, step, both, whole, lanes)
        distance[g] = max(total, 0.0) / levels**2  # rounding can leave -1e-30 of equal textures
        for n in range(used):
            slope = 0.0
            for i in range(len(lanes)):
                slope += by_weight[n, i] * p[2][n, i]
            flat_gradient[g, n] = slope * 2.0 / levels**2


@_compiled
def _empty_windows(n, span):
    return np.empty(n, np.int64), np.empty((n, span)), np.empty((n, span))


@_compiled
def _first_pixels(offset, members, height, breadth):
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


@_compiled
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
        *(offsets, np.array(comparison.weights), *_kernel(comparison.binning)),
        *((comparison.scaled, comparison.normalized), _lanes(comparison.binning)),
    )

    def work(part: slice) -> None:
        _groups_distance(p[part], t[part], n[part], *how, distance[part], gradient[part])

    in_threads(work, len(p))
    return torch.from_numpy(distance), torch.from_numpy(gradient)


def _kernel(
    binning: Binning | GaussianGrid,
) -> tuple[tuple[Any, ...], np.ndarray, np.ndarray]:
    """Tell the compiled loop what it needs to know of the bins, and the kernel's tables."""
    b = binning
    sizes = b.levels, b.n_taps, b.value_range[0], b.width, b.scale, b.reach
    if isinstance(b, GaussianGrid):
        return (_POINTS, *sizes), np.zeros((1, 2)), _pieces(b)
    code = _LINEAR if b.kernel == "linear" else _TABULATED
    is_wide = code == _TABULATED and b.n_taps > _NARROW
    return (code, *sizes), _table(b.kernel), _pieces(b) if is_wide else np.zeros((0, 4, 1))


@functools.lru_cache(maxsize=16)
def _pieces(binning: Binning | GaussianGrid) -> np.ndarray:
    """All weights of a window, as cubics in the pixel's place within a bin: (nodes, 4, T').

    A window depends on that place alone, but for the mirror at the ends of the range. Values and
    slopes at the nodes are met; between them the cubics are within 3e-11.
    """
    b = binning
    nodes = math.ceil(_STEPS * b.width / b.scale)
    place = torch.arange(nodes + 1, dtype=torch.float64)[:, None] / nodes
    ratio = b.width / b.scale
    if isinstance(b, GaussianGrid):
        taps = torch.arange(b.n_taps, dtype=torch.float64)
        distance = (place + b.reach - taps - 0.5) * ratio  # (nodes + 1, T)
        weight = torch.exp(-0.5 * distance.square())
        slope = -distance * weight
    else:
        edges = torch.arange(1, b.n_taps, dtype=torch.float64)
        distance = (place + b.reach - edges) * ratio  # (nodes + 1, T - 1)
        noise = NOISE[b.kernel]
        ends = torch.ones(nodes + 1, 1, dtype=torch.float64)
        weight = -torch.cat([ends, noise.cdf(distance), 0 * ends], dim=1).diff(dim=1)
        slope = -torch.cat([0 * ends, noise.pdf(distance), 0 * ends], dim=1).diff(dim=1)
    slope = slope * (ratio / nodes)  # by step
    rise = weight.diff(dim=0)
    left, right = slope[:-1], slope[1:]
    cubics = [weight[:-1], left, 3 * rise - 2 * left - right, left + right - 2 * rise]
    pieces = np.zeros((nodes, 4, _whole_blocks(b.n_taps)))
    pieces[:, :, : b.n_taps] = torch.stack(cubics, dim=1)
    return pieces


def _lanes(binning: Binning | GaussianGrid) -> tuple[float, ...] | np.ndarray:
    """Something as long as a window: a tuple, whose length is part of its type, or an array."""
    span = min(binning.n_taps, binning.levels)
    return (0.0,) * span if span <= _NARROW else np.zeros(_whole_blocks(span))


def _whole_blocks(span: int) -> int:
    return math.ceil(span / LANES) * LANES
