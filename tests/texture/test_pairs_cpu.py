"""The walks over pixel pairs against the sums that they stand for, for every size of a block."""

import numpy as np
import pytest

pytest.importorskip("numba")

from glcm_mae.texture.lanes import LANES, SIZES
from glcm_mae.texture.pairs_cpu import (
    clear_pairs,
    count_pairs,
    gather_pairs,
    pair_runs,
    runs_inside,
    scatter_pairs,
)

STRIDE = 60
SHARE, WORTH = 0.5, 0.25


def windows_of(rows, n):
    """Random windows: their first bins, weights, slopes (0 beyond the rows) and rows."""
    rng = np.random.default_rng(0)
    width = SIZES.get(rows, rows)
    start = rng.integers(0, STRIDE - width, n)
    weight, slope = rng.normal(size=(2, n, width))
    weight[:, rows:] = slope[:, rows:] = 0.0
    return start, weight, slope, rows


def outer(windows, a, b, first=1, second=1):
    """Matrix (STRIDE, STRIDE) of one pair, of the weights (1) or the slopes (2) of either pixel."""
    start, rows = windows[0], windows[3]
    matrix = np.zeros((STRIDE, STRIDE))
    place = np.ix_(start[a] + np.arange(rows), start[b] + np.arange(rows))
    matrix[place] = np.outer(windows[first][a, :rows], windows[second][b, :rows])
    return matrix


def first_pixels(offset):
    """Flat indices of the first pixels of all pairs of two patches of 4 x 5."""
    (dy, dx), first = offset, []
    for m, y, x in np.ndindex(2, 4, 5):
        if 0 <= y + dy < 4 and 0 <= x + dx < 5:
            first.append((m * 4 + y) * 5 + x)
    return first


@pytest.mark.parametrize("offset", [(1, -2), (0, 3), (2, 0), (-3, 0), (-1, 4)])
@pytest.mark.parametrize("rows", [*SIZES, 2 * LANES])
def test_pairs_are_scattered_gathered_and_cleared(rows, offset):
    windows = windows_of(rows, n=2 * 4 * 5)
    runs, step = pair_runs(offset, 2, 4, 5)
    first = [a for begin, end in runs for a in range(begin, end)]
    assert first == first_pixels(offset)
    assert count_pairs(runs) == len(first)

    matrix = np.zeros(STRIDE**2)
    scatter_pairs(matrix, STRIDE, runs, step, windows, SHARE)
    expected = SHARE * sum(outer(windows, a, a + step) for a in first)
    cells = matrix.reshape(STRIDE, STRIDE)
    np.testing.assert_allclose(cells, expected, atol=1e-12)

    by_pixel, found = np.zeros((2, 40))
    for a in first:
        by_pixel[a] += WORTH * (outer(windows, a, a + step, first=2) * cells).sum()
        by_pixel[a + step] += WORTH * (outer(windows, a, a + step, second=2) * cells).sum()
    gather_pairs(matrix, STRIDE, runs, step, windows, WORTH, found)
    np.testing.assert_allclose(found, by_pixel, atol=1e-10)

    squares = clear_pairs(matrix, STRIDE, runs, step, windows)
    assert squares == pytest.approx(np.square(expected).sum())
    assert not matrix.any()


@pytest.mark.parametrize("offset", [(1, -2), (0, 3), (2, 0), (-3, 0), (-1, 4)])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 1.0])
def test_of_a_region_the_runs_hold_the_pairs_inside(offset, share):
    inside = np.random.default_rng(0).random(2 * 4 * 5) < share
    runs, step = pair_runs(offset, 2, 4, 5)
    cut = runs_inside(runs, step, inside)
    found = [a for begin, end in cut for a in range(begin, end)]
    assert found == [a for a in first_pixels(offset) if inside[a] and inside[a + step]]
    assert (cut[:, 0] < cut[:, 1]).all()
