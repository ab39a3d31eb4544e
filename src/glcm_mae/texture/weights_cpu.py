"""Each pixel's weights at the few gray levels it touches, as compiled loops for the CPU (numba).

The mathematics is that of `glcm_mae.texture.binning` and `glcm_mae.texture.grid`. The weights are a
window of neighbouring bins, and the kernel is read from tables.
"""

from __future__ import annotations

# mypy: allow-untyped-defs
import functools
import math
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

from .binning import NOISE, Binning
from .compiling import summing, written_out
from .grid import GaussianGrid
from .lanes import LANES, SIZES, put_cubics

_TABULATED, _LINEAR, _INTERPOLATING, _POINTS, _COVERING = 0, 1, 2, 3, 4

# A kernel's cumulative function is read from a table: a dozen of them a pixel would take most of
# the time. The cubic through values and slopes at steps of 1/128 bandwidth is within 2e-11.
_STEPS = 128

# Windows as cubics have as many nodes a bin. Of kernels so steep that these would leave the cache,
# each edge is looked up by itself.
_MOST_NODES = 4096

# A table of the whole range has 128 nodes a bandwidth: up to so many bandwidths, it stays in cache.
_WIDEST_COVERED = 16


@functools.cache
def _table(kernel: str) -> np.ndarray:
    """Values and rises per step of a kernel's cumulative function: (nodes, 2), 0 in the middle."""
    noise = NOISE[kernel]
    nodes = math.ceil(noise.reach) * _STEPS
    t = torch.arange(-nodes, nodes + 1, dtype=torch.float64) / _STEPS
    return torch.stack([noise.cdf(t), noise.pdf(t) / _STEPS], dim=-1).numpy()


@summing
def _looked_up(table, t):
    """Cumulative and density function at t, from a table."""
    end = len(table) // (2 * _STEPS)
    if abs(t) >= end:
        return (1.0 if t > 0 else 0.0), 0.0
    place = (t + end) * _STEPS
    node = min(max(int(place), 0), len(table) - 2)  # NaN has no place, and none outside
    f = place - node
    left, start = table[node]
    right, stop = table[node + 1]
    square = 3.0 * (right - left) - 2.0 * start - stop
    cube = start + stop - 2.0 * (right - left)
    value = left + f * (start + f * (square + f * cube))
    return value, (start + f * (2.0 * square + f * 3.0 * cube)) * _STEPS


@summing
def fill_windows(values, binning, tables, windows):
    """Fill each pixel's window: first bin (n,), weights (n, T') and their slopes (n, T').

    The fourth of ``windows``, the rows of their blocks, is there for those who read them.
    """
    table, pieces = tables
    if binning[0] == _COVERING:
        _fill_covering_windows(values, binning, pieces, windows)
    elif len(pieces):
        _fill_from_pieces(values, binning, pieces, windows)
    elif binning[0] == _INTERPOLATING:
        _fill_interpolating_windows(values, binning, windows)
    else:
        _fill_edge_by_edge(values, binning, table, windows)


@written_out
def _put_cubics(values, slopes, at, pieces, place, width, fraction, per_step):
    """Evaluate a window's cubics and their slopes; arguments as for `put_cubics`."""
    if width == 2:
        put_cubics(2, values, slopes, at, pieces, place, width, fraction, per_step)
    elif width == 4:
        put_cubics(4, values, slopes, at, pieces, place, width, fraction, per_step)
    elif width == 8:
        put_cubics(8, values, slopes, at, pieces, place, width, fraction, per_step)
    else:
        for i in range(0, width, LANES):
            put_cubics(LANES, values, slopes, at + i, pieces, place + i, width, fraction, per_step)


@summing
def _fill_covering_windows(values, binning, pieces, windows):
    """Do so from `_covering_pieces`: windows of all bins."""
    _, levels, _, low, width, _, _ = binning
    start, weight, slope, _ = windows
    high = low + levels * width
    size = pieces.shape[2]
    by_range = len(pieces) / (high - low)
    start[: len(values)] = 0
    for n in range(len(values)):
        x = float(values[n])
        steep = by_range if low <= x <= high else 0.0
        place = (min(max(x, low), high) - low) * by_range
        node = min(max(int(place), 0), len(pieces) - 1)  # NaN has no place, and none outside
        f = place - node
        _put_cubics(weight, slope, n * size, pieces, node * 4 * size, size, f, steep)


@summing
def _fill_from_pieces(values, binning, pieces, windows):
    """Do so from `_pieces`."""
    code, levels, n_taps, low, width, _, reach = binning
    start, weight, slope, _ = windows
    inside = min(n_taps, levels)
    margin = n_taps / 2 * width if code == _POINTS else 0.0  # of a grid, which has no mirror
    least, most = low + margin, low + levels * width - margin
    by_width = len(pieces) / width
    size = pieces.shape[2]
    drawn, drawn_slope = np.empty((1, size)), np.empty((1, size))
    for n in range(len(values)):
        x = float(values[n])
        position = (min(max(x, least), most) - low) / width - reach
        first = math.floor(position)
        place = (position - first) * len(pieces)
        node = min(max(int(place), 0), len(pieces) - 1)
        f = place - node
        begin = min(max(first, 0), levels - inside)
        start[n] = begin
        whole = first >= 0 and first + n_taps <= levels and least <= x <= most
        w, s, at = (weight, slope, n * size) if whole else (drawn, drawn_slope, 0)
        _put_cubics(w, s, at, pieces, node * 4 * size, size, f, by_width)
        if whole:
            continue
        weight[n, :] = 0.0
        slope[n, :] = 0.0
        for tap in range(n_taps):
            k = first + tap
            if -levels <= k < 2 * levels:
                k = -1 - k if k < 0 else (2 * levels - 1 - k if k >= levels else k)
                weight[n, k - begin] += drawn[0, tap]
                slope[n, k - begin] += drawn_slope[0, tap] if least <= x <= most else 0.0


@summing
def _fill_interpolating_windows(values, binning, windows):
    """Do so for the linear kernel, one bin wide: what lies between two centres goes to both."""
    _, levels, _, low, width, _, _ = binning
    start, weight, slope, _ = windows
    per_bin = 1.0 / width
    for n in range(len(values)):
        position = (float(values[n]) - low) * per_bin - 0.5  # in bins, from the first one's centre
        steep = per_bin if 0.0 <= position < levels - 1 else 0.0
        position = min(max(position, 0.0), levels - 1.0)
        below = min(max(int(position), 0), levels - 2)
        part = position - below
        start[n] = below
        weight[n, 0], weight[n, 1] = 1.0 - part, part
        slope[n, 0], slope[n, 1] = -steep, steep


@summing
def _fill_edge_by_edge(values, binning, table, windows):
    """Do so from the kernel's `_table`, or for wider linear kernels from their definition."""
    code, levels, n_taps, low, width, scale, reach = binning
    start, weight, slope, _ = windows
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


@summing
def empty_windows(n, size):
    """Room for the windows of n pixels, as `fill_windows` fills them; the rows of their blocks."""
    rows, width = size
    return np.empty(n, np.int64), np.empty((n, width)), np.empty((n, width)), rows


def kernel_tables(
    binning: Binning | GaussianGrid,
) -> tuple[tuple[Any, ...], tuple[np.ndarray, np.ndarray]]:
    """Tell `fill_windows` what it needs to know of the bins, and the kernel's two tables."""
    with torch.device("cpu"):  # whatever the default
        return _kernel_tables(binning)


def _kernel_tables(
    b: Binning | GaussianGrid,
) -> tuple[tuple[Any, ...], tuple[np.ndarray, np.ndarray]]:
    sizes = b.levels, b.n_taps, b.value_range[0], b.width, b.scale, b.reach
    no_table, no_pieces = np.zeros((1, 2)), np.zeros((0, 4, 1))
    if isinstance(b, Binning) and b.kernel == "linear":
        code = _INTERPOLATING if b.scale == b.width else _LINEAR
        return (code, *sizes), (no_table, no_pieces)
    if _covers(b):
        return (_COVERING, *sizes), (no_table, _covering_pieces(b))
    if isinstance(b, GaussianGrid):
        return (_POINTS, *sizes), (no_table, _pieces(b))
    if _nodes(b) > _MOST_NODES:
        return (_TABULATED, *sizes), (_table(b.kernel), no_pieces)
    return (_TABULATED, *sizes), (no_table, _pieces(b))


def _nodes(binning: Binning | GaussianGrid) -> int:
    """How many cubics make a window's weight over a bin."""
    return math.ceil(_STEPS * binning.width / binning.scale)


def _covers(binning: Binning | GaussianGrid) -> TypeGuard[Binning]:
    """Whether windows are of all bins: where these are so few that others would save no block."""
    b = binning
    if not isinstance(b, Binning) or b.kernel == "linear":  # which has corners
        return False
    in_cache = b.levels * b.width <= _WIDEST_COVERED * b.scale
    return in_cache and b.levels <= LANES and _width(b.levels) <= _width(b.n_taps)


@functools.lru_cache(maxsize=16)
def _pieces(binning: Binning | GaussianGrid) -> np.ndarray:
    """All weights of a window, as cubics in the pixel's place within a bin: (nodes, 4, T').

    A window depends on that place alone, but for the mirror at the ends of the range. Values and
    slopes at the nodes are met; between them the cubics are within 3e-11, and those of B-splines,
    whose pieces may end between nodes, within 2e-8 (their slopes, times the bandwidth, 1e-5).
    """
    b = binning
    nodes = _nodes(b)
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
    return _cubics(weight, slope * (ratio / nodes))


@functools.lru_cache(maxsize=16)
def _covering_pieces(binning: Binning) -> np.ndarray:
    """Weights of all bins, mirror included, as cubics in the gray level: (nodes, 4, L').

    They are as exact as those of `_pieces`.
    """
    b, noise = binning, NOISE[binning.kernel]
    ratio = b.width / b.scale
    nodes = math.ceil(_STEPS * b.levels * ratio)
    position = torch.linspace(0, b.levels, nodes + 1, dtype=torch.float64)[:, None]
    edges = torch.arange(-b.levels, 2 * b.levels + 1, dtype=torch.float64)
    distance = (position - edges) * ratio
    weight = _folded(-noise.cdf(distance).diff(dim=1))
    slope = _folded(-noise.pdf(distance).diff(dim=1))
    return _cubics(weight, slope * (b.levels * ratio / nodes))


def _folded(weight: Tensor) -> Tensor:
    """Mirror what lies beyond the range into it: (nodes, 3 L) to (nodes, L)."""
    below, straight, above = weight.chunk(3, dim=1)
    return straight + (below + above).flip(1)


def _cubics(weight: Tensor, slope: Tensor) -> np.ndarray:
    """Polynomials (nodes, 4, T') through weights and slopes by step at nodes (nodes + 1, T)."""
    rise = weight.diff(dim=0)
    left, right = slope[:-1], slope[1:]
    cubics = [weight[:-1], left, 3 * rise - 2 * left - right, left + right - 2 * rise]
    pieces = np.zeros((len(rise), 4, _width(weight.shape[1])))
    pieces[:, :, : weight.shape[1]] = torch.stack(cubics, dim=1)
    return pieces


def window_blocks(binning: Binning | GaussianGrid) -> tuple[int, int]:
    """Rows that the blocks of a window have, and its width: its bins, filled up to whole blocks."""
    span = binning.levels if _covers(binning) else min(binning.n_taps, binning.levels)
    return _rows(span), _width(span)


def _rows(span: int) -> int:
    """Round a number of bins up to one of `SIZES`, or to several of the largest."""
    return min((rows for rows in SIZES if rows >= span), default=math.ceil(span / LANES) * LANES)


def _width(span: int) -> int:
    """Columns that belong to those rows."""
    return SIZES.get(_rows(span), _rows(span))
