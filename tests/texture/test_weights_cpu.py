"""The compiled loops' windows against the weights and slopes that they stand for."""

import numpy as np
import pytest
import torch

pytest.importorskip("numba")

from glcm_mae.texture.binning import Binning
from glcm_mae.texture.grid import GaussianGrid
from glcm_mae.texture.weights_cpu import (
    empty_windows,
    fill_windows,
    kernel_tables,
    window_blocks,
)

BINNINGS = [
    *(Binning(levels) for levels in (2, 5, 8, 9, 14, 16, 17, 32)),
    *(Binning(levels, bandwidth=0.2, value_range=(-1.0, 3.0)) for levels in (8, 16, 64)),
    *(Binning(8, kernel) for kernel in ("sigmoid", "linear", "bspline")),
    Binning(8, "linear", bandwidth=0.7),
    Binning(8, "linear", bandwidth=0.05),
    *(Binning(256, kernel) for kernel in ("sigmoid", "linear", "bspline")),
    Binning(2, "linear"),
    Binning(3, "sigmoid"),
    Binning(64, "sigmoid", bandwidth=0.02),
    Binning(8, "sigmoid", bandwidth=0.025),
    Binning(4, "sigmoid", bandwidth=0.05),
    Binning(4, "sigmoid", bandwidth=0.002),
    Binning(32, bandwidth=0.3),
    Binning(8, bandwidth=0.9),
    Binning(8, bandwidth=0.005),
]
# Some pieces of a B-spline end between nodes. A grid cuts tails at 4e-6, and where a pixel lies on
# one of its points it is for rounding to say which.
LESS_EXACT = [
    Binning(16, "bspline", bandwidth=0.3),
    GaussianGrid(0.05),
    GaussianGrid(1.0),
]
CASES = [*((binning, 1e-8) for binning in BINNINGS), *((binning, 3e-5) for binning in LESS_EXACT)]


@pytest.mark.parametrize(("binning", "error"), CASES, ids=str)
def test_windows_hold_the_weights_and_slopes_of_all_bins(binning, error):
    low, high = binning.value_range
    ends = torch.tensor([low, high, low - 0.1, high + 0.1, (low + high) / 2])
    values = torch.cat([ends, low + (high - low) * torch.rand(500)]).double()
    taps = binning.taps(values)
    expected = [
        part.new_zeros(len(values), binning.levels).scatter_add_(1, taps.bins, part).numpy()
        for part in (taps.weight, taps.slope)
    ]
    rows, width = window_blocks(binning)
    windows = empty_windows(len(values), (rows, width))
    fill_windows(values.numpy(), *kernel_tables(binning), windows)
    bins = windows[0][:, None] + np.arange(width)
    for found, part, unit in zip(windows[1:3], expected, (1.0, binning.scale), strict=True):
        dense = np.zeros((len(values), binning.levels + width))
        np.put_along_axis(dense, bins, found, axis=1)
        assert not dense[:, binning.levels :].any()
        assert not found[:, rows:].any()
        np.testing.assert_allclose(dense[:, : binning.levels] * unit, part * unit, atol=error)
