"""Which patches lie inside is what a loop says, and a loss so masked knows of nothing outside."""

import pytest
import torch

from glcm_mae.texture import GLCMLoss, TransportLoss, patches_within


def test_patches_within_are_those_of_a_loop():
    valid = torch.rand(3, 12, 8, generator=torch.Generator().manual_seed(0)) < 0.8
    found = patches_within(valid, 4)
    expected = [
        [bool(image[y : y + 4, x : x + 4].all()) for y in (0, 4, 8) for x in (0, 4)]
        for image in valid
    ]
    assert found.tolist() == expected
    for same in (valid[:, None], valid.float(), valid.byte(), valid.mT.contiguous().mT):
        assert torch.equal(patches_within(same, 4), found)


@pytest.mark.parametrize("make", [GLCMLoss, TransportLoss])
def test_what_lies_outside_does_not_matter(make):
    prediction, target = torch.rand(2, 2, 1, 24, 32, generator=torch.Generator().manual_seed(1))
    valid = torch.ones(2, 24, 32, dtype=torch.bool)
    valid[:, :, 20:] = False
    mask, loss = patches_within(valid, 8), make(patch_size=8)
    other = torch.where(valid[:, None], prediction, 0.0)
    assert torch.equal(loss(prediction, target, mask), loss(other, target, mask))
    inside = (image[..., :16] for image in (prediction, target))
    assert torch.allclose(loss(*inside), loss(prediction, target, mask))


@pytest.mark.parametrize(
    ("valid", "words"),
    [
        (torch.ones(8, 8), r"valid is \(8, 8\): it must be \(B, H, W\)"),
        (torch.ones(1, 3, 8, 8), r"valid is \(1, 3, 8, 8\)"),
        (torch.full((1, 8, 8), 0.5), "valid holds more than 0 and 1"),
        (torch.ones(1, 8, 9), "crop it as the images, or pad it with False"),
    ],
)
def test_mistakes(valid, words):
    with pytest.raises(ValueError, match=words):
        patches_within(valid, 4)
    with pytest.raises(TypeError, match="valid is a list"):
        patches_within(valid.tolist(), 4)


@pytest.mark.parametrize("side", [0, -2, 2.0, None])
def test_a_side_that_is_none_is_refused(side):
    with pytest.raises(ValueError, match=r"patch_size is .*: give the side of a square patch"):
        patches_within(torch.ones(1, 8, 8), side)
