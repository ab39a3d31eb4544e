"""The GLCM distance and its gradient as one compiled loop for the CPU (numba).

The mathematics is that of `glcm_mae.texture.sparse`. Each pixel's weights are held as a window of
neighbouring bins, so that a pair adds a small outer product to the matrix; everything is summed in
float64. Threads share nothing but the input: each has a scratch of its own.
"""

from __future__ import annotations

# mypy: allow-untyped-defs
import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import torch
from torch import Tensor

from .comparison import Comparison

_SIGMOID, _LINEAR, _GAUSSIAN = 0, 1, 2
_CODE = {"sigmoid": _SIGMOID, "linear": _LINEAR, "gaussian": _GAUSSIAN}
_SETTLED = math.inf  # marks a cell of the target's matrix as done
_compiled = numba.njit(
    nogil=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc"}
)


# The normal distribution from a table: a dozen erfc calls a pixel would take most of the time. The
# cubic through values and slopes at steps of 1/128 is within 2e-11 of it.
_STEPS, _END = 128, 6
_NODES = torch.arange(-_END * _STEPS, _END * _STEPS + 1, dtype=torch.float64) / _STEPS
_NORMAL_CDF = torch.special.ndtr(_NODES).numpy()
_NORMAL_RISE = (torch.exp(-(_NODES**2) / 2) / math.sqrt(2 * math.pi) / _STEPS).numpy()


@_compiled
def _normal(t: float) -> tuple[float, float]:
    """Cumulative and density function of the normal distribution."""
    if abs(t) >= _END:
        return (1.0 if t > 0 else 0.0), 0.0
    place = (t + _END) * _STEPS
    node = int(place)
    f = place - node
    left, right = _NORMAL_CDF[node], _NORMAL_CDF[node + 1]
    start, end = _NORMAL_RISE[node], _NORMAL_RISE[node + 1]
    square = 3.0 * (right - left) - 2.0 * start - end
    cube = start + end - 2.0 * (right - left)
    value = left + f * (start + f * (square + f * cube))
    return value, (start + f * (2.0 * square + f * 3.0 * cube)) * _STEPS


@_compiled
def _noise(code: int, t: float) -> tuple[float, float]:
    """Cumulative and density function of the kernel's noise."""
    if code == _SIGMOID:
        s = 1.0 / (1.0 + math.exp(-t))
        return s, s * (1.0 - s)
    if code == _LINEAR:
        return min(max(t + 0.5, 0.0), 1.0), 1.0 if -0.5 <= t < 0.5 else 0.0
    return _normal(t)


@_compiled
def _fill_windows(values, binning, windows):
    """Fill each pixel's window: first bin (n,), weights (n, T') and their slopes (n, T')."""
    levels, n_taps, low, width, scale, reach, code = binning
    start, weight, slope = windows
    span = weight.shape[1]  # T' = min(T, L)
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
            next_above, next_density = 0.0, 0.0
            if tap < n_taps - 1:
                distance = (position - first - tap - 1) * (width / scale)
                next_above, next_density = _noise(code, distance)
            k = first + tap
            if -levels <= k < 2 * levels:
                k = -1 - k if k < 0 else (2 * levels - 1 - k if k >= levels else k)
                weight[n, k - begin] += above - next_above
                slope[n, k - begin] += (density - next_density) / scale
            above, density = next_above, next_density
        if not low <= x <= high:
            slope[n, :] = 0.0


@_compiled
def _scatter(matrix, levels, first, second, windows, share):
    """Add the outer product of two pixels' windows to a flat (L * L) matrix."""
    start, weight, _ = windows
    span = weight.shape[1]
    for i in range(span):
        begin = (start[first] + i) * levels + start[second]
        row = matrix[begin : begin + span]
        w = weight[first, i] * share
        for j in range(span):
            row[j] += w * weight[second, j]


@_compiled
def _clear(matrix, levels, first, second, windows):
    """Put zeros back where `_scatter` has written."""
    start, weight, _ = windows
    span = weight.shape[1]
    for i in range(span):
        begin = (start[first] + i) * levels + start[second]
        row = matrix[begin : begin + span]
        for j in range(span):
            row[j] = 0.0


@_compiled
def _gather(matrix, levels, first, second, windows, share, by_weight):
    """Sum of the entries times their cells; adds the derivative by each pixel's weights."""
    start, weight, _ = windows
    span = weight.shape[1]
    value = 0.0
    for i in range(span):
        begin = (start[first] + i) * levels + start[second]
        row = matrix[begin : begin + span]
        w = weight[first, i] * share
        along = 0.0
        for j in range(span):
            along += row[j] * weight[second, j]
            by_weight[second, j] += row[j] * w
        by_weight[first, i] += along * share
        value += along * w
    return value


@_compiled
def _inner(matrix, levels, first, second, windows, share):
    """Sum of the entries times their cells."""
    start, weight, _ = windows
    span = weight.shape[1]
    value = 0.0
    for i in range(span):
        begin = (start[first] + i) * levels + start[second]
        row = matrix[begin : begin + span]
        along = 0.0
        for j in range(span):
            along += row[j] * weight[second, j]
        value += along * weight[first, i]
    return value * share


@_compiled
def _settle(p_matrix, t_matrix, levels, first, second, windows, p_total, t_total, scaled, lifted):
    """Turn the cells that a pair touches from G into the slope of D^2 / 2, each cell once.

    H(G) = A g (1 - g) if scaled, else A g, with g = G / S and A = 1 if lifted (normalized), else
    S. Returns the cells' sums of D^2 and of D dH/dS.
    """
    start, weight, _ = windows
    span = weight.shape[1]
    value, common = 0.0, 0.0
    p_height, t_height = (1.0, 1.0) if lifted else (p_total, t_total)
    for i in range(span):
        begin = (start[first] + i) * levels + start[second]
        for cell in range(begin, begin + span):
            if t_matrix[cell] == _SETTLED:
                continue
            g, t = p_matrix[cell] / p_total, t_matrix[cell] / t_total
            p_damp, t_damp = (g, t) if scaled else (0.0, 0.0)
            shaped = g * (1.0 - p_damp)
            steep = 1.0 - 2.0 * p_damp
            difference = p_height * shaped - t_height * t * (1.0 - t_damp)
            value += difference * difference
            by_total = -g * steep / p_total if lifted else shaped - g * steep
            common += difference * by_total
            p_matrix[cell] = difference * steep * p_height / p_total
            t_matrix[cell] = _SETTLED
    return value, common


@_compiled
def _groups_distance(
    prediction, target, counts, offsets, binning, scaled, normalized, distance, gradient
):
    """Fill ``distance`` (G,) and ``gradient`` (G, M, p, q) from two (G, M, p, q)."""
    n_groups, members, height, breadth = prediction.shape
    area = height * breadth
    levels = binning[0]
    span = min(binning[1], levels)
    p_matrix, t_matrix = np.zeros(levels * levels), np.zeros(levels * levels)
    p = _empty_windows(members * area, span)
    t = _empty_windows(members * area, span)
    by_weight = np.empty((members * area, span))
    flat_p, flat_t = prediction.reshape(n_groups, -1), target.reshape(n_groups, -1)
    flat_gradient = gradient.reshape(n_groups, -1)
    cells = float(levels * levels * len(offsets))
    shaped = scaled or normalized

    for g in range(n_groups):
        used, share = counts[g] * area, 1.0 / counts[g]
        _fill_windows(flat_p[g, :used], binning, p)
        _fill_windows(flat_t[g, :used], binning, t)
        by_weight[:used] = 0.0
        value = 0.0
        for o in range(len(offsets)):
            first, step = _first_pixels(offsets[o], counts[g], height, breadth)
            for a in first:
                _scatter(p_matrix, levels, a, a + step, p, share)
                _scatter(t_matrix if shaped else p_matrix, levels, a, a + step, t,
                         share if shaped else -share)  # fmt: skip
            common = 0.0
            if shaped:
                p_total, t_total = _total(first, step, p, share), _total(first, step, t, share)
                for a in first:
                    for windows in (p, t):
                        v, c = _settle(p_matrix, t_matrix, levels, a, a + step, windows,
                                       p_total, t_total, scaled, normalized)  # fmt: skip
                        value += v
                        common += c
                for a in first:
                    _gather(p_matrix, levels, a, a + step, p, share, by_weight)
                    by_weight[a] += common * share * p[1][a + step].sum()
                    by_weight[a + step] += common * share * p[1][a].sum()
            else:
                for a in first:
                    value += _gather(p_matrix, levels, a, a + step, p, share, by_weight)
                    value -= _inner(p_matrix, levels, a, a + step, t, share)
            for a in first:
                for windows in (p, t):
                    _clear(p_matrix, levels, a, a + step, windows)
                    if shaped:
                        _clear(t_matrix, levels, a, a + step, windows)
        distance[g] = value / cells
        for n in range(used):
            slope = 0.0
            for i in range(span):
                slope += by_weight[n, i] * p[2][n, i]
            flat_gradient[g, n] = slope * 2.0 / cells


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
    p, t, n = prediction.numpy(), target.numpy(), counts.numpy()
    distance, gradient = np.empty(len(p), p.dtype), np.zeros_like(p)
    b = comparison.binning
    binning = (b.levels, b.n_taps, b.value_range[0], b.width, b.scale, b.reach, _CODE[b.kernel])
    steps = np.array(comparison.offsets, dtype=np.int64)

    form = comparison.scaled, comparison.normalized

    def work(part: slice) -> None:
        _groups_distance(
            p[part], t[part], n[part], steps, binning, *form, distance[part], gradient[part]
        )

    threads = max(1, min(torch.get_num_threads(), len(p)))
    edges = np.linspace(0, len(p), threads + 1).astype(int)
    parts = [slice(start, end) for start, end in itertools.pairwise(edges)]
    if threads == 1:
        work(parts[0])
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, parts))
    return torch.from_numpy(distance), torch.from_numpy(gradient)
