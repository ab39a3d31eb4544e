"""The 25 IBSI features of many regions as a compiled loop for the CPU (numba).

The mathematics is that of `glcm_mae.texture.features`, for symmetric matrices, without the matrix.
With m the count of an unordered pair of levels {i, j}, the features need only the largest cell, the
sums of m^2 and of m log m, and three distributions over whole numbers: of i + j, of |i - j| and of
i. The counts m come from a triangle of cells, or, where that would be mostly empty (small patches,
many levels), from sorting the pairs: nothing grows with L * L.
"""

from __future__ import annotations

# mypy: allow-untyped-defs
import math

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .compiling import compiled, summing
from .features import FEATURE_NAMES
from .hard_cpu import OUTSIDE, for_all, radix_sort, seen
from .regions import Regions

# The count up to which m log2 m is looked up.
_LOGS = 8192

# A pass over this many cells of the triangle takes as long as sorting one pair.
_CELLS_A_PAIR = 8


@compiled
def _range(image, levels):
    """Lowest and highest level of the region; in an empty one, the lowest is above."""
    lowest, highest = np.uint32(levels), np.int32(-1)
    for code in image:
        lowest = min(lowest, np.uint32(code))  # OUTSIDE becomes the largest
        highest = max(highest, code)
    return np.int64(lowest), np.int64(highest)


@compiled
def _count_triangle(image, masked, pairs, o, lowest, triangle):
    """Add the pairs of one offset to the triangle of unordered levels; return how many."""
    runs, ends = pairs
    counted = 0
    for r in range(ends[o], ends[o + 1]):
        start, length, step = runs[r, 0], runs[r, 1], runs[r, 2]
        first, second = image[start : start + length], image[start + step : start + step + length]
        for x in range(length):
            if masked and (first[x] == OUTSIDE or second[x] == OUTSIDE):
                continue
            i = min(first[x], second[x]) - lowest
            j = max(first[x], second[x]) - lowest
            triangle[np.uintp((j * (j + 1) >> 1) + i)] += 1
            counted += 1
    return counted


@compiled
def _list_pairs(image, masked, pairs, o, lowest, span, keys, n):
    """Write down the unordered levels of every pair of one offset; return how many there are."""
    runs, ends = pairs
    for r in range(ends[o], ends[o + 1]):
        start, length, step = runs[r, 0], runs[r, 1], runs[r, 2]
        first, second = image[start : start + length], image[start + step : start + step + length]
        for x in range(length):
            if masked and (first[x] == OUTSIDE or second[x] == OUTSIDE):
                continue
            i = min(first[x], second[x]) - lowest
            j = max(first[x], second[x]) - lowest
            keys[n] = j * span + i
            n += 1
    return n


@numba.njit(inline="always")
def _m_log_m(m, logs):
    return logs[m] if m < len(logs) else m * math.log2(m)


@numba.njit(inline="always")
def _tally(i, j, m, logs, distributions):
    """Enter m pairs of levels i <= j; return the largest cell, sum of squares, sum of m log m."""
    by_sum, by_gap, by_level = distributions
    by_sum[i + j] += m
    by_gap[j - i] += m
    by_level[i] += m
    by_level[j] += m
    if i == j:  # both directions fall into one cell
        return 2 * m, 4.0 * m * m, _m_log_m(2 * m, logs)
    return m, 2.0 * m * m, 2.0 * _m_log_m(m, logs)


@compiled
def _tally_triangle(triangle, span, logs, distributions):
    """Enter all cells of the triangle, and put zeros back."""
    largest, squares, m_logs = 0, 0.0, 0.0
    cell = 0
    for j in range(span):
        for i in range(j + 1):
            m = triangle[cell]
            if m > 0:
                c, s, g = _tally(i, j, m, logs, distributions)
                largest = max(largest, c)
                squares += s
                m_logs += g
                triangle[cell] = 0
            cell += 1
    return largest, squares, m_logs


@compiled
def _tally_sorted(keys, n, span, logs, distributions):
    """Enter all runs of equal keys."""
    largest, squares, m_logs = 0, 0.0, 0.0
    start = 0
    for k in range(1, n + 1):
        if k == n or keys[k] != keys[start]:
            key = np.int64(keys[start])
            c, s, g = _tally(key % span, key // span, k - start, logs, distributions)
            largest = max(largest, c)
            squares += s
            m_logs += g
            start = k
    return largest, squares, m_logs


@summing
def _entropy(counts, n, logs):
    """Entropy in bits of a distribution of n counts."""
    total = 0.0
    for m in counts:
        total += _m_log_m(int(m), logs)
    return math.log2(n) - total / n


@summing
def _mean(counts, n):
    total = 0.0
    for k in range(len(counts)):
        total += k * counts[k]
    return total / n


@summing
def _moments(counts, n, mean):
    """Second, third and fourth central moments."""
    second, third, fourth = 0.0, 0.0, 0.0
    for k in range(len(counts)):
        d = k - mean
        square = d * d * counts[k]
        second += square
        third += square * d
        fourth += square * d * d
    return second / n, third / n, fourth / n


@summing
def _dot(counts, weights):
    total = 0.0
    for k in range(len(counts)):
        total += counts[k] * weights[k]
    return total


@compiled
def _finish(pairs, lowest, span, joint, inverse, logs, distributions, values):
    """Turn what was entered into features, in the order of FEATURE_NAMES; put zeros back."""
    largest, squares, m_logs = joint
    by_sum = distributions[0][: 2 * span - 1]
    by_gap, by_level = distributions[1][:span], distributions[2][:span]
    n = float(pairs)
    entropy = math.log2(2 * n) - m_logs / (2 * n)
    entropy_x = _entropy(by_level, 2 * n, logs)
    gap_entropy, sum_entropy = _entropy(by_gap, n, logs), _entropy(by_sum, n, logs)
    dissimilarity = _mean(by_gap, n)
    contrast, _, _ = _moments(by_gap, n, 0.0)
    gap_variance, _, _ = _moments(by_gap, n, dissimilarity)
    shift = _mean(by_sum, n)
    tendency, shade, prominence = _moments(by_sum, n, shift)
    sum_average = 2.0 * (lowest + 1) + shift  # levels count from 1

    # i = (sum + gap) / 2 and j = (sum - gap) / 2, and in a symmetric matrix E gap = 0.
    mean = sum_average / 2
    variance, covariance = (tendency + contrast) / 4, (tendency - contrast) / 4
    if variance == 0:  # one level alone: rid the entropies of rounding, which a ratio would magnify
        entropy, entropy_x, gap_entropy, sum_entropy = 0.0, 0.0, 0.0, 0.0
    information = 2 * entropy_x - entropy
    values[0] = largest / (2 * n)
    values[1] = mean
    values[2] = variance
    values[3] = entropy
    values[4] = dissimilarity
    values[5] = gap_variance
    values[6] = gap_entropy
    values[7] = sum_average
    values[8] = tendency
    values[9] = sum_entropy
    values[10] = squares / (2 * n) ** 2
    values[11] = contrast
    values[12] = dissimilarity
    for w in range(len(inverse)):
        values[13 + w] = _dot(by_gap, inverse[w]) / n
    values[18] = covariance / variance if variance > 0 else 1.0
    values[19] = covariance + mean * mean
    values[20] = tendency
    values[21] = shade
    values[22] = prominence
    values[23] = -information / entropy_x if variance > 0 else 0.0
    values[24] = math.sqrt(max(0.0, -math.expm1(-2 * information)))
    by_sum[:] = 0.0
    by_gap[:] = 0.0
    by_level[:] = 0.0


@compiled
def _fill_features(images, masked, levels, pairs, merged, triangle, room, inverse, logs, values):
    """Fill (n, G, 25) with features.

    G is 1 if ``merged``, else the number of offsets; no matrix has more pairs than ``room``.
    """
    keys, spare = np.empty(room, np.uint32), np.empty(room, np.uint32)
    by_sum, by_gap, by_level = np.zeros(2 * levels - 1), np.zeros(levels), np.zeros(levels)
    distributions = by_sum, by_gap, by_level
    groups = values.shape[1]
    for n in range(len(images)):
        image = images[n]
        lowest, highest = _range(image, levels)
        span = highest - lowest + 1  # below 1 in an empty region
        by_triangle = span * (span + 1) // 2 <= len(triangle)
        bits = 0
        while (span * span - 1) >> bits > 0:
            bits += 1
        for group in range(groups):
            n_pairs = 0
            first, last = (0, len(pairs[1]) - 1) if merged else (group, group + 1)
            for o in range(first, last):
                if by_triangle:
                    n_pairs += _count_triangle(image, masked, pairs, o, lowest, triangle)
                else:
                    n_pairs = _list_pairs(image, masked, pairs, o, lowest, span, keys, n_pairs)
            if n_pairs == 0:
                values[n, group] = np.nan
                continue
            if by_triangle:
                joint = _tally_triangle(triangle, span, logs, distributions)
            else:
                ordered = radix_sort(keys, spare, n_pairs, bits)
                joint = _tally_sorted(ordered, n_pairs, span, logs, distributions)
            _finish(n_pairs, lowest, span, joint, inverse, logs, distributions, values[n, group])


def features(regions: Regions, merged: bool) -> Tensor:
    """Compute features as `glcm_mae.texture.region_features.tensor_features`, in parallel."""
    n, pairs = regions.lead.numel(), regions.runs()
    per_offset = [regions.pairs(offset) for offset in regions.offsets]
    room = sum(per_offset) if merged else max(per_offset)
    values = np.empty((n, 1 if merged else len(regions.offsets), len(FEATURE_NAMES)))
    tables = _inverses(regions.levels), _logs(min(2 * room, _LOGS))
    most_cells = min(regions.levels * (regions.levels + 1) // 2, _CELLS_A_PAIR * room)
    count_type = np.int32 if room < 2**31 else np.int64

    def compute(images: NDArray[np.int32], part: slice) -> None:
        triangle = np.zeros(most_cells, count_type)
        _fill_features(*seen(regions, images), pairs, merged, triangle, room, *tables, values[part])

    for_all(regions, compute)
    return torch.from_numpy(values)


def _inverses(levels: int) -> NDArray[np.float64]:
    """Weights of the five inverse features for each gap, (5, L), in the order of FEATURE_NAMES."""
    k = np.arange(levels, dtype=np.float64)
    squared = np.divide(1, k**2, out=np.zeros(levels), where=k > 0)
    weights = 1 / (1 + k), 1 / (1 + k / levels), 1 / (1 + k**2), 1 / (1 + (k / levels) ** 2)
    return np.stack((*weights, squared))


def _logs(largest: int) -> NDArray[np.float64]:
    m = np.arange(largest + 1, dtype=np.float64)
    return m * np.log2(np.maximum(m, 1))
