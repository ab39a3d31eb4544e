"""Texture maps against a loop over windows."""

import pytest
import torch

from glcm_mae.texture import FEATURE_NAMES, image_features, maps, texture_map


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("chunk", [1, 40, 2**15])
def test_a_map_holds_the_feature_of_the_window_around_each_pixel(stride, chunk, monkeypatch):
    monkeypatch.setattr(maps, "_CHUNK", chunk)
    image, mask = torch.randint(0, 8, (2, 11, 10)), torch.rand(2, 11, 10) < 0.9
    found = texture_map(image, 8, "contrast", window=5, stride=stride, mask=mask)
    k = FEATURE_NAMES.index("contrast")
    for row, y in enumerate(range(0, 11, stride)):
        for column, x in enumerate(range(0, 10, stride)):
            part = (slice(None), slice(max(0, y - 2), y + 3), slice(max(0, x - 2), x + 3))
            values = image_features(image[part], 8, aggregation="merged", mask=mask[part])
            assert torch.allclose(found[:, row, column], values[:, k].float())
    assert found.shape == (2, -(-11 // stride), -(-10 // stride))


def test_pixels_whose_window_holds_no_pair_are_nan():
    mask = torch.zeros(9, 9)
    mask[:, 6:] = 1
    found = texture_map(torch.zeros(9, 9, dtype=torch.uint8), 2, window=3, mask=mask)
    assert torch.equal(found[0].isnan(), torch.arange(9) < 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"feature": "roughness"}, "choose one of joint_maximum"),
     ({"feature": ["contrast", "rough"]}, "feature is 'rough'"),
     ({"feature": []}, "feature is empty"), ({"window": 4}, "must be odd"),
     ({"window": 1}, "3 or more"), ({"window": 5.0}, "window is 5.0")],
)  # fmt: skip
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        texture_map(torch.zeros(9, 9, dtype=torch.uint8), 2, **arguments)


def test_an_image_without_a_pixel_is_refused():
    with pytest.raises(ValueError, match=r"images are \(4, 0\): they have no pixel"):
        texture_map(torch.zeros(4, 0, dtype=torch.uint8), 2, window=3)


def test_a_row_is_no_image():
    with pytest.raises(ValueError, match=r"images are \(9,\)"):
        texture_map(torch.zeros(9, dtype=torch.uint8), 2)


def test_several_features_are_the_maps_of_each():
    image, names = torch.randint(0, 8, (2, 11, 10)), ["contrast", "joint_entropy"]
    found = texture_map(image, 8, names, window=5, stride=2)
    assert found.shape == (2, 2, 6, 5)
    for k, name in enumerate(names):
        assert torch.equal(found[:, k], texture_map(image, 8, name, window=5, stride=2))
