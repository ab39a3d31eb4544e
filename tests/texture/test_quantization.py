"""Gray levels from intensities."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glcm_mae.texture import fixed_bin_number, fixed_bin_size, graycomatrix, quantize

NAN, INF = float("nan"), float("inf")


def test_range_puts_what_lies_beyond_into_the_end_bins():
    values = torch.tensor([-INF, -1.0, 0.0, 0.999, 1.0, 7.0, INF])
    codes = quantize(values, 256, (0.0, 1.0))
    assert codes.tolist() == [0, 0, 0, 255, 255, 255, 255]
    assert codes.dtype == torch.int32
    hounsfield = torch.tensor([-1000, 0, 400], dtype=torch.int16)
    assert quantize(hounsfield, 14, (-1000, 400)).tolist() == [0, 10, 13]


def test_range_refuses_nan_and_empty_ranges():
    with pytest.raises(ValueError, match="NaN"):
        quantize(torch.tensor([NAN]), 4)
    with pytest.raises(ValueError, match=r"two finite numbers with low < high"):
        quantize(torch.zeros(1), 4, (1, 1))
    for not_a_range in (255, (0, 1, 2), (0, NAN), (-1.7e308, 1.7e308)):
        with pytest.raises(ValueError, match=r"two finite numbers with low < high"):
            quantize(torch.zeros(1), 4, not_a_range)
    with pytest.raises(ValueError, match="more than float64 can divide"):
        quantize(torch.zeros(1), 4, (0, 1e308))
    with pytest.raises(ValueError, match=r"levels is 4\.0: give a whole number"):
        quantize(torch.zeros(1), 4.0)
    for levels in (0, 65_537):
        with pytest.raises(ValueError, match=rf"levels is {levels}: it can be 1 to 65,536"):
            quantize(torch.zeros(1), levels)


def test_levels_may_be_a_tensor():
    codes = torch.tensor([[0, 3]])
    assert quantize(torch.rand(4), codes.max() + 1).max() < 4
    assert graycomatrix(codes, codes.max() + 1, [(0, 1)]).shape == (1, 4, 4)


def test_complex_images_are_refused():
    for way in (
        lambda x: quantize(x, 4, (0, 1)),
        lambda x: quantize(x, 4),
        lambda x: fixed_bin_number(x, 4),
        lambda x: fixed_bin_size(x, 1, 0),
    ):
        with pytest.raises(ValueError, match=r"complex64: give magnitudes, as images\.abs"):
            way(torch.ones(3, 3, dtype=torch.complex64))


def test_range_takes_numbers_of_any_library():
    x = torch.linspace(3, 9, 50)
    expected = quantize(x, 7, (3.0, 9.0))
    assert torch.equal(quantize(x, np.uint8(7), (x.min(), np.float32(9))), expected)


def test_values_too_large_to_be_multiplied_fall_into_the_end_bins():
    x = torch.tensor([-1.7e308, 0.5, 1.7e308], dtype=torch.float64)
    assert quantize(x, 4, (0, 1)).tolist() == [0, 2, 3]


def test_range_is_not_guessed_in_silence():
    bytes_as_float = torch.tensor([0.0, 1.0, 128.0, 255.0, 255.0])
    with pytest.warns(UserWarning, match="give their value_range") as told:
        quantize(bytes_as_float, 32)
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quantize(bytes_as_float, 32, np.array([0, 256]))
        quantize(torch.tensor([-0.1, 0.5, 1.0]), 32)
        quantize(bytes_as_float, 32, mask=bytes_as_float < 2)


def test_range_looks_at_the_region_only():
    x = torch.tensor([[0.15, NAN], [0.95, 7.0]])
    inside = torch.tensor([[True, False], [True, False]])
    assert quantize(x, 10, mask=inside).tolist() == [[1, 0], [9, 0]]
    with pytest.raises(ValueError, match="or mask it out"):
        quantize(x, 10, mask=torch.ones(2, 2))


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(
        ValueError, match=r"mask is \(3, 2\), which does not fit images of \(2, 2\)"
    ):
        fixed_bin_number(torch.rand(2, 2), 4, mask=torch.ones(3, 2))
    with pytest.raises(ValueError, match=r"images are \(5,\): they must be \(\.\.\., H, W\)"):
        fixed_bin_number(torch.rand(5), 4)
    with pytest.raises(ValueError, match="ndim is 4: images have 2 dimensions, volumes 3"):
        fixed_bin_number(torch.rand(2, 2, 2, 2), 4, ndim=4)
    with pytest.raises(ValueError, match=r"\(\.\.\., D, H, W\)"):
        fixed_bin_number(torch.rand(5, 5), 4, ndim=3)


@settings(max_examples=60, deadline=None)
@given(
    levels=st.integers(1, 300),
    seed=st.integers(0, 2**31),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_fixed_bin_number_is_ibsis_formula(levels, seed, scale):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, 6, 5)) * scale
    found = fixed_bin_number(torch.from_numpy(x), levels).numpy()
    for image, codes in zip(x, found, strict=True):
        low, high = image.min(), image.max()
        expected = np.floor(levels * ((image - low) / (high - low))) + 1
        expected[image == high] = levels
        np.testing.assert_array_equal(codes, expected - 1)


@pytest.mark.parametrize(("top", "levels"), [(100, 100), (255, 85), (255, 51), (1000, 100)])
def test_whole_numbers_on_an_edge_fall_above_it(top, levels):
    whole = torch.arange(top + 1)
    expected = (whole * levels // top).clamp_max(levels - 1).int()
    assert torch.equal(fixed_bin_number(whole[None], levels)[0], expected)
    assert torch.equal(quantize(whole, levels, (0, top)), expected)


def test_no_level_is_ever_out_of_range():
    with pytest.raises(ValueError, match="more than float64 can hold"):
        fixed_bin_number(torch.tensor([[-1.7e308, 0.0, 1.7e308]], dtype=torch.float64), 4)
    with pytest.raises(ValueError, match="1 to 65,536"):
        quantize(torch.rand(3), 2**33)
    with pytest.raises(ValueError, match="two finite numbers"):
        quantize(torch.rand(3), 4, (0.0, float("inf")))


def test_fixed_bin_number_looks_at_the_region_only():
    x = torch.tensor([[0.0, 1.0, 2.0], [4.0, NAN, INF]])
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    assert fixed_bin_number(x, 4, mask=mask).tolist() == [[0, 1, 2], [3, 0, 0]]
    assert fixed_bin_number(x, 4, mask=mask * 0).tolist() == [[0, 0, 0], [0, 0, 0]]
    for pixel in (NAN, INF):
        with pytest.raises(ValueError, match="NaN or infinity"):
            fixed_bin_number(torch.tensor([[0.0, pixel]]), 4)


def test_fixed_bin_number_of_a_volume_takes_the_volumes_range():
    x = torch.tensor([[[0.0, 1.0]], [[2.0, 4.0]]])  # two slices
    assert fixed_bin_number(x, 4, ndim=3).flatten().tolist() == [0, 1, 2, 3]
    assert fixed_bin_number(x, 4).flatten().tolist() == [0, 3, 0, 3]
    assert fixed_bin_number(torch.full((2, 3), 7.0), 4).tolist() == [[0, 0, 0]] * 2
    assert fixed_bin_number(torch.zeros(0, 3, 3), 4).shape == (0, 3, 3)


def test_fixed_bin_size_starts_at_the_minimum():
    codes, levels = fixed_bin_size(torch.tensor([-3.0, -0.5, 0.0, 6.99]), 2.5, minimum=-3)
    assert codes.tolist() == [0, 1, 1, 3]
    assert levels == 4
    codes, levels = fixed_bin_size(
        torch.tensor([NAN, -9.0, 4.0]), 1, 0, mask=torch.tensor([False, False, True])
    )
    assert (codes.tolist(), levels) == ([0, 0, 4], 5)
    assert fixed_bin_size(torch.zeros(0), 1, 0)[1] == 1


@pytest.mark.parametrize(
    ("pixel", "size", "message"),
    [(-0.1, 1, "below the minimum"), (NAN, 1, "NaN or infinity"), (INF, 1, "NaN or infinity"),
     (1.0, 0, "must be positive"), (1.0, 1e-12, "levels")],
)  # fmt: skip
def test_fixed_bin_size_refuses(pixel, size, message):
    with pytest.raises(ValueError, match=message):
        fixed_bin_size(torch.tensor([pixel]), size, 0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.bool])
def test_whole_numbers_need_a_range(dtype):
    image = torch.randint(0, 2, (8, 8)).to(dtype)
    with pytest.raises(ValueError, match=r"give their value_range, such as \(0, 256\)"):
        quantize(image, 4)
    assert quantize(image, 4, (0, 256)).max() == 0
