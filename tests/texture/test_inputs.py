"""What looks like an image with its channels last is told, and nothing else."""

import warnings

import pytest
import torch

from glcm_mae.texture import (
    Binning,
    graycomatrix,
    image_features,
    soft_glcm,
    texture_map,
    volume_features,
)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: graycomatrix(x, 4),
        lambda x: image_features(x, 4),
        lambda x: texture_map(x, 4, window=3),
        lambda x: soft_glcm(x / 4, Binning(4)),
    ],
)
def test_channels_last_are_told(call):
    with pytest.warns(UserWarning, match="channels, bring them before height"):
        call(torch.randint(4, (40, 48, 3)))


def test_volumes_and_windows_may_be_three_pixels_wide():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        volume_features(torch.randint(4, (40, 40, 3)), 4)
        graycomatrix(torch.randint(4, (40, 40, 3, 3)), 4)
        graycomatrix(torch.randint(4, (40, 9, 3)), 4)
