"""Gray values: counted, compared, and brought to another set's scale."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from glcm_mae.data import count_gray_values, gray_value_distance, match_gray_values
from glcm_mae.data.gray_values import GRAY_VALUES


def _bytes(seed: int, shape: tuple[int, ...] = (5, 1, 12, 10), top: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, top, shape, dtype=np.uint8)


def _unit(stored: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(stored.astype(np.float32) / 255)


def test_values_of_8_bits_are_counted_one_by_one() -> None:
    stored = _bytes(0, (3, 2, 16, 16))
    counts = count_gray_values(_unit(stored))
    assert counts.shape == (2, len(GRAY_VALUES))
    for channel in range(2):
        expected = np.bincount(stored[:, channel].ravel(), minlength=256)
        np.testing.assert_array_equal(counts[channel, ::16], expected)
        assert counts[channel].sum() == expected.sum()
    np.testing.assert_allclose(GRAY_VALUES[::16] * 255, np.arange(256), atol=1e-9)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 256))
def test_the_distance_is_that_of_kolmogorov_and_smirnov(seed: int, top: int) -> None:
    one, other = _bytes(seed), _bytes(seed + 1, top=top)
    found = gray_value_distance(*(count_gray_values(_unit(stored)) for stored in (one, other)))
    assert found == pytest.approx(ks_2samp(one.ravel(), other.ravel()).statistic)


def test_the_distance_is_that_of_the_channel_that_differs_most() -> None:
    stored = _bytes(3, (4, 3, 8, 8))
    changed = stored.copy()
    changed[:, 2] //= 2
    own, others = (count_gray_values(_unit(values)) for values in (stored, changed))
    alone = gray_value_distance(own[2:], others[2:])
    assert gray_value_distance(own, others) == alone > 0.3
    assert gray_value_distance(own, own) == 0


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_any_rising_change_of_gray_values_is_undone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    stored = _bytes(seed)
    curve = np.sort(rng.choice(GRAY_VALUES, 256, replace=False)).astype(np.float32)
    study = _unit(stored)
    matched = match_gray_values(torch.from_numpy(curve[stored]), count_gray_values(study))
    torch.testing.assert_close(matched, study, atol=1e-6, rtol=0)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 256), st.integers(2, 256))
def test_the_order_of_values_and_the_range_stay(seed: int, top: int, others: int) -> None:
    pixels = _unit(_bytes(seed + 1, top=top))
    reference = _unit(_bytes(seed, top=others))
    matched = match_gray_values(pixels, count_gray_values(reference))
    in_order = matched.flatten()[pixels.flatten().argsort()]
    assert bool((in_order.diff() >= 0).all())
    assert float(matched.min()) == pytest.approx(float(reference.min()), abs=1e-6)
    assert float(matched.max()) == pytest.approx(float(reference.max()), abs=1e-6)


def test_how_an_image_is_framed_does_not_count() -> None:
    tissue = _unit(_bytes(1) // 2 + 20)
    framed = torch.nn.functional.pad(tissue, (0, 30))  # three quarters are background now
    study = torch.nn.functional.pad(_unit(_bytes(2) // 4 + 100), (0, 2))
    counts = count_gray_values(study)
    matched = match_gray_values(framed, counts)
    narrow = match_gray_values(torch.nn.functional.pad(tissue, (0, 1)), counts)
    assert bool((matched[..., 10:] == 0).all())
    torch.testing.assert_close(matched[..., :10], narrow[..., :10])


def test_channels_are_matched_one_by_one() -> None:
    study, others = _unit(_bytes(0, (4, 3, 8, 8))), _unit(_bytes(1, (4, 3, 8, 8)) // 3)
    counts = count_gray_values(study)
    matched = match_gray_values(others, counts)
    for channel in range(3):
        one = slice(channel, channel + 1)
        torch.testing.assert_close(matched[:, one], match_gray_values(others[:, one], counts[one]))
    with pytest.raises(ValueError, match=r"have 1 channel\(s\) and the reference 3: read both"):
        match_gray_values(others[:, :1], counts)


@pytest.mark.parametrize("others", [[0.2, 0.4], [0.0, 0.3, 1.0]])
@pytest.mark.parametrize("reference", [[0.6], [0.6, 0.8], [0.1, 0.7, 0.9]])
def test_sets_of_hardly_a_value_have_a_curve(others: list[float], reference: list[float]) -> None:
    pixels, study = (torch.tensor(values).view(1, 1, 1, -1) for values in (others, reference))
    matched = match_gray_values(pixels, count_gray_values(study))
    assert bool(((matched >= min(reference) - 1e-6) & (matched <= max(reference) + 1e-6)).all())


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_channel_of_one_value_stays_as_it_is(value: float) -> None:
    others = _unit(_bytes(1, (4, 2, 8, 8)) // 3)
    others[:, 1] = value
    matched = match_gray_values(others, count_gray_values(_unit(_bytes(0, (4, 2, 8, 8)))))
    assert bool((matched[:, 1] == value).all())
    assert float(matched[:, 0].max()) > 0.9
