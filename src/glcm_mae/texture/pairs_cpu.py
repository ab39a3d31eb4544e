"""Walks over the pairs of pixels of a group of patches, as compiled loops for the CPU (numba).

A pair's entries in the matrix are the outer product of its pixels' windows, a small block. A walk
is compiled for each of the sizes that a block has but the largest, of which wide windows take
several: to look at the size again at every pair would take a fifth of the time.
"""

from __future__ import annotations

# mypy: allow-untyped-defs
import numpy as np

from .compiling import summing
from .lanes import LANES, SIZES, add_outer, contract, take_squares


@summing
def pair_runs(offset, members, height, breadth):
    """Find runs of pixels that a pair begins at, in every patch, and how far off its second is.

    Begin and end in flat indices, (R, 2), as many for each patch: to walk from pixel to pixel is a
    sixth faster than to look each up in a list.
    """
    dy, dx = offset
    top, bottom = max(0, -dy), height - max(0, dy)
    left, right = max(0, -dx), breadth - max(0, dx)
    if dx == 0:  # rows follow on each other
        top, bottom, left, right = 0, 1, top * breadth, bottom * breadth
    runs = np.empty((members * (bottom - top), 2), np.int64)
    n = 0
    for m in range(members):
        for y in range(top, bottom):
            row = (m * height + y) * breadth
            runs[n, 0], runs[n, 1] = row + left, row + right
            n += 1
    return runs, dy * breadth + dx


@summing
def count_pairs(runs):
    """How many pixels are in runs."""
    total = 0
    for begin, end in runs:
        total += end - begin
    return total


@summing
def runs_inside(runs, step, inside):
    """Cut runs down to the pairs whose pixels both lie inside of a region, given flat."""
    cut = np.empty((count_pairs(runs), 2), np.int64)
    n = 0
    for begin, end in runs:
        ongoing = False
        for a in range(begin, end):
            counts = inside[a] and inside[a + step]
            if counts and not ongoing:
                cut[n, 0] = a
                n += 1
            if counts:
                cut[n - 1, 1] = a + 1
            ongoing = counts
    return cut[:n]


def _walks(rows):
    """Compile the three walks for windows of one block."""
    lanes = SIZES[rows]

    @summing
    def scatter(matrix, stride, runs, step, windows, share):
        start, weight, _, _ = windows
        for r in range(len(runs)):
            for a in range(runs[r, 0], runs[r, 1]):
                b = a + step
                place = start[a] * stride + start[b]
                add_outer(rows, lanes, matrix, place, stride, weight, a * lanes, b * lanes, share)

    @summing
    def gather(matrix, stride, runs, step, windows, worth, by_pixel):
        start, weight, slope, _ = windows
        for r in range(len(runs)):
            for a in range(runs[r, 0], runs[r, 1]):
                b = a + step
                place = start[a] * stride + start[b]
                by_first, by_second = contract(
                    rows, lanes, matrix, place, stride, weight, slope, a * lanes, b * lanes
                )
                by_pixel[a] += by_first * worth
                by_pixel[b] += by_second * worth

    @summing
    def clear(matrix, stride, runs, step, windows):
        start = windows[0]
        total = 0.0
        for r in range(len(runs)):
            for a in range(runs[r, 0], runs[r, 1]):
                place = start[a] * stride + start[a + step]
                total += take_squares(rows, lanes, matrix, place, stride)
        return total

    return scatter, gather, clear


_scatter_2, _gather_2, _clear_2 = _walks(2)
_scatter_3, _gather_3, _clear_3 = _walks(3)
_scatter_4, _gather_4, _clear_4 = _walks(4)
_scatter_8, _gather_8, _clear_8 = _walks(8)
_scatter_13, _gather_13, _clear_13 = _walks(13)


@summing
def scatter_pairs(matrix, stride, runs, step, windows, share):
    """Add the outer products of all pairs' windows to a flat matrix."""
    start, weight, _, rows = windows
    if rows == 2:
        _scatter_2(matrix, stride, runs, step, windows, share)
    elif rows == 3:
        _scatter_3(matrix, stride, runs, step, windows, share)
    elif rows == 4:
        _scatter_4(matrix, stride, runs, step, windows, share)
    elif rows == 8:
        _scatter_8(matrix, stride, runs, step, windows, share)
    elif rows == 13:
        _scatter_13(matrix, stride, runs, step, windows, share)
    else:
        for r in range(len(runs)):
            for a in range(runs[r, 0], runs[r, 1]):
                b = a + step
                for i in range(0, rows, LANES):
                    for j in range(0, rows, LANES):
                        at = (start[a] + i) * stride + start[b] + j
                        one, two = a * rows + i, b * rows + j
                        add_outer(LANES, LANES, matrix, at, stride, weight, one, two, share)


@summing
def gather_pairs(matrix, stride, runs, step, windows, worth, by_pixel):
    """Add ``worth`` times the derivative, by pixel, of all pairs' entries times their cells."""
    start, weight, slope, rows = windows
    if rows == 2:
        _gather_2(matrix, stride, runs, step, windows, worth, by_pixel)
    elif rows == 3:
        _gather_3(matrix, stride, runs, step, windows, worth, by_pixel)
    elif rows == 4:
        _gather_4(matrix, stride, runs, step, windows, worth, by_pixel)
    elif rows == 8:
        _gather_8(matrix, stride, runs, step, windows, worth, by_pixel)
    elif rows == 13:
        _gather_13(matrix, stride, runs, step, windows, worth, by_pixel)
    else:
        for r in range(len(runs)):
            for a in range(runs[r, 0], runs[r, 1]):
                b = a + step
                for i in range(0, rows, LANES):
                    for j in range(0, rows, LANES):
                        at = (start[a] + i) * stride + start[b] + j
                        one, two = a * rows + i, b * rows + j
                        by_first, by_second = contract(
                            LANES, LANES, matrix, at, stride, weight, slope, one, two
                        )
                        by_pixel[a] += by_first * worth
                        by_pixel[b] += by_second * worth


@summing
def clear_pairs(matrix, stride, runs, step, windows):
    """Put zeros back where `scatter_pairs` has written; sum the squares that were there."""
    start, _, _, rows = windows
    if rows == 2:
        return _clear_2(matrix, stride, runs, step, windows)
    if rows == 3:
        return _clear_3(matrix, stride, runs, step, windows)
    if rows == 4:
        return _clear_4(matrix, stride, runs, step, windows)
    if rows == 8:
        return _clear_8(matrix, stride, runs, step, windows)
    if rows == 13:
        return _clear_13(matrix, stride, runs, step, windows)
    total = 0.0
    for r in range(len(runs)):
        for a in range(runs[r, 0], runs[r, 1]):
            for i in range(0, rows, LANES):
                for j in range(0, rows, LANES):
                    at = (start[a] + i) * stride + start[a + step] + j
                    total += take_squares(LANES, LANES, matrix, at, stride)
    return total
