"""Each measurement answers to what it is named after."""

import numpy as np
import pytest

from glcm_mae.audit.measurements import MEASUREMENTS, measure
from glcm_mae.data import Facts

from ..data.scenes import make_scenes

FACTS = Facts("png", "uint8", 8, "L", (0, 255))


def scene(seed: int = 0) -> np.ndarray:
    """Give one gray image (1, 128, 128) without black or white in it."""
    gray = np.asarray(make_scenes(1, seed=seed)[0])
    return np.clip(gray, 20, 230)[None]


def measured(pixels: np.ndarray, facts: Facts = FACTS) -> dict[str, tuple[float, ...]]:
    found = measure(pixels, facts, file_bytes=1000)
    assert {name: len(numbers) for name, numbers in found.items()} == {
        name: len(parts) for name, parts in MEASUREMENTS.items()
    }
    assert all(np.isfinite(numbers).all() for numbers in found.values())
    return found


def test_a_border_is_measured_on_its_own_side() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1, 100, 100), np.uint8)
    for side, part in enumerate((np.s_[:, :10], np.s_[:, -20:], np.s_[..., :30], np.s_[..., -5:])):
        framed = noise.copy()
        framed[part] = 3
        wanted = [0.0] * 4
        wanted[side] = (0.1, 0.2, 0.3, 0.05)[side]
        assert measured(framed)["border"] == pytest.approx(wanted)


def test_saturation_counts_the_ends_of_the_range() -> None:
    image = scene()
    assert measured(image)["saturated pixels"] == (0.0, 0.0)
    image[0, :64] = 0
    image[0, 64:, :32] = 255
    assert measured(image)["saturated pixels"] == (0.5, 0.125)
    deep = Facts("dicom", "uint16", 12, "MONOCHROME2", (0, 4095))
    assert measured(np.full((1, 8, 8), 4095, np.uint16), deep)["saturated pixels"] == (0.0, 1.0)


def test_brightness_is_a_share_of_the_range() -> None:
    assert measured(np.full((3, 8, 8), 51, np.uint8))["mean brightness"] == pytest.approx((0.2,))
    floats = Facts("tiff", "float32", 32, "MINISBLACK", None)
    image = np.full((1, 8, 8), -3.5, np.float32)
    assert measured(image, floats)["mean brightness"] == (-3.5,)


def test_blur_lowers_sharpness() -> None:
    from scipy.ndimage import gaussian_filter

    sharp = scene()
    blurred = gaussian_filter(sharp.astype(np.float32), (0, 1, 1)).astype(np.uint8)
    for before, after in zip(
        measured(sharp)["sharpness"], measured(blurred)["sharpness"], strict=True
    ):
        assert after < before - 0.3


def test_letters_count_and_wide_bright_tissue_does_not() -> None:
    plain = np.tile(np.linspace(20, 120, 128).astype(np.uint8), (1, 128, 1))
    bright = plain.copy()
    bright[0, 40:80, 40:80] = 250
    written = plain.copy()
    written[0, 60, 20:60] = 250
    written[0, 40:80, 90] = 250
    marks = [measured(image)["text and callipers"][0] for image in (plain, bright, written)]
    assert marks[0] == marks[1] == 0
    assert marks[2] == pytest.approx(80 / 128**2, rel=0.05)


def test_colour_is_seen_in_colour_images_alone() -> None:
    gray = scene()
    rgb = np.repeat(gray, 3, axis=0)
    assert measured(gray)["coloured marks"] == measured(rgb)["coloured marks"] == (0.0,)
    rgb[:, :16, :16] = np.array([250, 20, 20], np.uint8)[:, None, None]
    assert measured(rgb)["coloured marks"] == pytest.approx((1 / 64,))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 9), (3, 2, 2), (1, 1500, 3)])
def test_any_shape_is_measured(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    measured(rng.integers(0, 255, shape, np.uint8))
    measured(np.zeros(shape, np.uint8))
