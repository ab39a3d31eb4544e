import pytest
import torch

from glcm_mae.models import patchify, spread_mask, unpatchify


@pytest.mark.parametrize(
    ("channels", "size", "grid"), [(1, 8, (2, 3)), (3, 4, (3, 1)), (4, 2, (1, 5))]
)
def test_each_patch_is_its_window_of_the_image(channels, size, grid):
    images = torch.rand(2, channels, grid[0] * size, grid[1] * size)
    patches = patchify(images, size)
    assert patches.shape == (2, grid[0] * grid[1], size * size * channels)
    for n in range(grid[0] * grid[1]):
        y, x = divmod(n, grid[1])
        window = images[:, :, y * size : (y + 1) * size, x * size : (x + 1) * size]
        # MAE's order: rows, columns, then channels.
        assert torch.equal(patches[:, n], window.permute(0, 2, 3, 1).reshape(2, -1))
    assert torch.equal(unpatchify(patches, size, grid), images)


def test_the_mask_of_a_pixel_is_that_of_its_patch():
    mask = (torch.rand(3, 6) < 0.5).float()
    pixels = spread_mask(mask, 4, (2, 3))
    assert pixels.shape == (3, 1, 8, 12)
    assert torch.equal(patchify(pixels, 4), mask[..., None].expand(-1, -1, 16))
