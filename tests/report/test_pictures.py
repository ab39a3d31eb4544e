"""Pictures of reconstructions, and the measure of what texture they keep."""

import pytest
import torch
from PIL import Image

from glcm_mae.report.pictures import Redrawn, draw_reconstructions, kept_texture


@pytest.fixture
def images():
    return torch.rand(3, 1, 32, 48)


def redrawn(images, drawn):
    mask = (torch.rand(3, 24) < 0.75).float()
    mask[:, 0] = 1
    kept = Redrawn(images, drawn, mask, patch_size=8)
    return Redrawn(images, torch.where(kept.removed > 0, drawn, images), mask, patch_size=8)


def test_a_perfect_copy_keeps_everything(images):
    kept = kept_texture(redrawn(images, images.clone()))
    assert kept == {"contrast": pytest.approx(1.0), "glcm_distance": 0.0}


def test_flat_gray_keeps_nothing(images):
    kept = kept_texture(redrawn(images, torch.full_like(images, 0.5)))
    assert kept["contrast"] == 0
    assert kept["glcm_distance"] > 0.95


def test_shuffled_noise_keeps_the_texture_but_not_the_pixels(images):
    kept = kept_texture(redrawn(images, torch.rand_like(images)))
    assert kept["contrast"] == pytest.approx(1, abs=0.1)
    assert kept["glcm_distance"] < 0.5


def test_contrast_is_a_ratio_of_deviations(images):
    half = (images - 0.5) / 2 + 0.5
    assert kept_texture(redrawn(images, half))["contrast"] == pytest.approx(0.5, rel=1e-4)


def test_kept_patches_do_not_count(images):
    one = redrawn(images, images * 0)
    mask = torch.zeros_like(one.mask)
    mask[:, 5] = 1
    elsewhere = images.clone()
    elsewhere[:, :, :8, :8] = 0  # patch 0, which is kept
    assert kept_texture(Redrawn(images, elsewhere, mask, 8))["glcm_distance"] == 0


@pytest.mark.parametrize("channels", [1, 3])
def test_the_picture_is_a_png_with_a_row_an_image(images, channels, tmp_path):
    images = images.expand(3, channels, 32, 48)
    path = tmp_path / "deep" / "picture.png"
    draw_reconstructions(redrawn(images, torch.full_like(images, 0.4)), path)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.size[0] > picture.size[1] > 300
