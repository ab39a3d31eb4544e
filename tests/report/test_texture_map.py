"""The picture of a texture map."""

import io

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from glcm_mae.measurement import FeatureMap
from glcm_mae.report.texture_map import draw_map, unit_of
from glcm_mae.settings import TextureMapSettings
from glcm_mae.texture import FEATURE_NAMES, glcm_features

SETTINGS = TextureMapSettings(image="a.png", out="map.png")


def made(height: int, width: int) -> FeatureMap:
    values = np.random.default_rng(0).random((height, width)).astype(np.float32)
    return FeatureMap(values.astype(np.float64), values, levels=32)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Keep the figures that are saved."""
    kept: list[Figure] = []
    save = Figure.savefig

    def savefig(figure: Figure, *arguments: object, **options: object) -> None:
        kept.append(figure)
        save(figure, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Figure, "savefig", savefig)
    return kept


@pytest.mark.parametrize("size", [(20, 24), (60, 9), (9, 60), (1, 1)])
def test_image_and_map_stand_side_by_side_in_one_size(size, figures):
    with Image.open(io.BytesIO(draw_map(made(*size), SETTINGS))) as picture:
        assert picture.format == "PNG"
        assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    image, drawn = figures[0].axes[:2]
    one, other = (axes.get_window_extent() for axes in (image, drawn))
    assert (one.width, one.height) == pytest.approx((other.width, other.height))
    assert one.width / one.height == pytest.approx(size[1] / size[0], rel=1e-3)
    assert not one.overlaps(other)


def test_it_says_what_it_shows(figures):
    draw_map(made(20, 24), SETTINGS)
    image, drawn, bar = figures[0].axes[0], figures[0].axes[1], figures[0].axes[-1]
    words = [axes.get_title("left") + axes.get_ylabel() for axes in figures[0].axes]
    assert "joint entropy, 15 × 15 pixels\nfixed bin number, 32 levelsy (pixels)" in words
    assert "bits" in words
    assert image.get_xlabel() == drawn.get_xlabel() == "x (pixels)"
    assert bar is not image


def test_a_few_extreme_values_do_not_take_the_scale(figures):
    found = made(50, 50)
    found.values[:2, :2] = 1e6
    draw_map(found, SETTINGS)
    low, high = figures[0].axes[1].images[0].get_clim()
    assert 0 < low < high < 1


def test_the_image_is_shown_over_the_range_that_was_measured(figures):
    draw_map(made(9, 9), TextureMapSettings(image="a.png", out="map.png", range=(-5, 7)))
    assert figures[0].axes[0].images[0].get_clim() == (-5, 7)


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_a_map_of_one_value_or_of_none_is_drawn(value):
    found = FeatureMap(np.zeros((9, 9)), np.full((9, 9), value, np.float32), levels=1)
    assert draw_map(found, SETTINGS).startswith(b"\x89PNG")


@pytest.mark.parametrize("feature", FEATURE_NAMES)
def test_units_follow_from_doubling_the_gray_levels(feature):
    """A feature in gray levels to the power n grows by 2**n when the levels lie twice as far."""
    matrix = torch.randint(1, 9, (4, 4))
    matrix += matrix.T.clone()
    spread = torch.zeros(8, 8, dtype=torch.int64)
    spread[1::2, 1::2] = matrix  # IBSI's level i becomes 2 i
    k, unit = FEATURE_NAMES.index(feature), unit_of(feature)
    once, twice = (float(glcm_features(m)[k]) for m in (matrix, spread))
    if unit in ("", "bits"):
        # A number without a unit stays, unless it adds 1 to levels or divides by them.
        assert twice == pytest.approx(once) or "inverse" in feature
    else:
        power = ["gray levels", "gray levels²", "gray levels³", "gray levels⁴"].index(unit) + 1
        assert twice == pytest.approx(once * 2**power)
