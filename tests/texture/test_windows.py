"""Windows as views."""

import pytest
import torch

from glcm_mae.texture import windows


@pytest.mark.parametrize(("size", "stride"), [(4, None), (3, 1), (3, 2), (2, 5)])
def test_windows_are_cuts_of_the_image(size, stride):
    images = torch.arange(2 * 9 * 11).view(2, 9, 11)
    found = windows(images, size, stride)
    assert found.untyped_storage().data_ptr() == images.untyped_storage().data_ptr()
    step = stride or size
    for row in range(found.shape[1]):
        for column in range(found.shape[2]):
            y, x = row * step, column * step
            expected = images[:, y : y + size, x : x + size]
            assert torch.equal(found[:, row, column], expected)
    assert found.shape[1] == (9 - size) // step + 1
    assert found.shape[2] == (11 - size) // step + 1


def test_bad_windows_are_refused():
    with pytest.raises(ValueError, match="does not fit"):
        windows(torch.zeros(8, 4), 5)
    with pytest.raises(ValueError, match="1 pixel or more"):
        windows(torch.zeros(8, 4), 2, 0)
    with pytest.raises(ValueError, match=r"size is 2\.0: give a whole number of pixels"):
        windows(torch.zeros(8, 4), 2.0)
    with pytest.raises(ValueError, match=r"stride is 1\.5: give a whole number of pixels"):
        windows(torch.zeros(8, 4), 2, 1.5)


def test_a_line_of_pixels_is_no_image():
    with pytest.raises(ValueError, match=r"images are \(9,\): they must be \(\.\.\., H, W\)"):
        windows(torch.zeros(9), 3)
