"""Gray levels of a region whose bins have a width."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glcm_mae.measurement.gray_levels import gray_levels
from glcm_mae.settings import MeasurementSettings

PYRADIOMICS = MeasurementSettings(binning="pyradiomics", bin_width=25)


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ([-30.0, -25.0, -1.0, 0.0, 26.0], [0, 1, 1, 2, 3]),  # from -50
        ([50.0, 74.9, 75.0], [0, 0, 1]),
        ([10.0, 110.0], [0, 4]),  # from 0
    ],
)
def test_bins_of_pyradiomics_begin_at_a_multiple_of_their_width(values, codes):
    row = torch.tensor([values])
    found, _, levels = gray_levels(row, torch.ones_like(row, dtype=torch.bool), PYRADIOMICS, "a")
    assert found.tolist() == [codes]
    assert levels == max(codes) + 1


@settings(deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20),
    st.floats(0.25, 1e4),
)
def test_no_value_lies_below_the_first_bin(values, width):
    row = torch.tensor([values], dtype=torch.float64)
    if float(row.max() - row.min()) / width > 60_000:
        return
    how = MeasurementSettings(binning="pyradiomics", bin_width=width)
    codes, _, _ = gray_levels(row, torch.ones_like(row, dtype=torch.bool), how, "a")
    lowest = row.min().item() - row.min().item() % width
    np.testing.assert_array_equal(codes, np.floor((row.numpy() - lowest) / width))


def test_a_region_without_a_pixel_has_a_level():
    row = torch.tensor([[1e9, -1e9]])
    for binning in ("fixed_bin_size", "pyradiomics"):
        how = MeasurementSettings(binning=binning, bin_width=0.5, range=(-1000, 400))
        codes, inside, levels = gray_levels(row, torch.ones_like(row, dtype=torch.bool), how, "a")
        assert (codes.tolist(), inside.any().item(), levels) == ([[0, 0]], False, 1)
