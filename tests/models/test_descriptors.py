"""Descriptors that are no GLCM's, against scikit-image and against counting."""

import pytest
import skimage.feature
import torch
from hypothesis import given
from hypothesis import strategies as st

from glcm_mae.models.descriptors import OF_PIXELS, gradient_cells, hog, n_entries, of_matrices
from glcm_mae.texture import Binning, soft_glcm


def hog_by_scikit_image(image: torch.Tensor, side: int) -> torch.Tensor:
    """Of one channel: (H, W) to (cells down, cells across, 9)."""
    found = skimage.feature.hog(
        image.numpy(), 9, (side, side), (1, 1), block_norm="L2", feature_vector=False
    )
    return torch.from_numpy(found[:, :, 0, 0])


@given(st.sampled_from([2, 4, 8, 14]), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**20))
def test_hog_is_that_of_scikit_image(patch_size, down, across, seed):
    generator = torch.Generator().manual_seed(seed)
    size = max(2, down) * patch_size, max(2, across) * patch_size
    # In float64, for a gradient at a sector's edge may be rounded into either.
    images = torch.rand(2, 2, *size, generator=generator, dtype=torch.float64)
    cells = gradient_cells(images, patch_size)  # (B, N, 4, C, 9)
    found = hog(cells.flatten(0, 1)).view(cells.shape)
    side = patch_size // 2
    for b in range(2):
        for c in range(2):
            expected = hog_by_scikit_image(images[b, c], side)
            by_patch = expected.unflatten(1, (-1, 2)).unflatten(0, (-1, 2)).transpose(1, 2)
            torch.testing.assert_close(
                found[b, :, :, c], by_patch.reshape(-1, 4, 9), atol=1e-5, rtol=1e-5
            )


def test_hog_knows_neither_brightness_nor_contrast():
    images = torch.rand(1, 1, 16, 16)
    first, second = (hog(gradient_cells(x, 8).flatten(0, 1)) for x in (images, 0.3 + 0.5 * images))
    torch.testing.assert_close(first, second, atol=1e-3, rtol=0)


def test_flat_cells_have_no_orientation():
    found = hog(gradient_cells(torch.full((1, 1, 16, 16), 0.7), 8).flatten(0, 1))
    assert torch.equal(found, torch.zeros_like(found))


@pytest.mark.parametrize("levels", [2, 8])
def test_the_histogram_is_that_of_the_pixels_in_pairs(levels):
    gray = torch.randint(levels, (5, 1, 9, 9))
    images = (gray + 0.5) / levels  # there a narrow kernel has one bin
    matrices = soft_glcm(images, Binning(levels, "linear"), [(0, 1), (1, 0)])
    right = torch.cat((gray[..., :-1], gray[..., 1:]), dim=-1).flatten(2)
    down = torch.cat((gray[..., :-1, :], gray[..., 1:, :]), dim=-1).flatten(2)
    pixels = torch.cat((right, down), dim=-1)  # each as often as it is in a pair
    expected = torch.nn.functional.one_hot(pixels, levels).float().mean(dim=2).sqrt()
    torch.testing.assert_close(of_matrices("histogram", matrices), expected.flatten(1))


def test_textures_of_one_histogram_differ_in_their_glcm_alone():
    fine = torch.tensor([0.25, 0.75]).repeat(8, 4)
    coarse = torch.tensor([0.25, 0.25, 0.75, 0.75]).repeat(8, 2)
    matrices = soft_glcm(torch.stack((fine, coarse))[:, None], Binning(2, "linear"), [(0, 1)])
    first, second = of_matrices("histogram", matrices)
    torch.testing.assert_close(first, second)
    first, second = of_matrices("glcm", matrices)
    assert (first - second).abs().max() > 0.3


@pytest.mark.parametrize("descriptor", ["glcm", "haralick", "histogram"])
def test_entries_are_counted(descriptor):
    matrices = torch.rand(3, 1, 2, 5, 5)
    assert of_matrices(descriptor, matrices).shape == (3, n_entries(descriptor, 5, 2))


@pytest.mark.parametrize("descriptor", OF_PIXELS)
def test_entries_of_what_needs_no_glcm_are_counted(descriptor):
    averaged, finished = OF_PIXELS[descriptor]
    described = finished(averaged(torch.rand(1, 1, 16, 16), 8).flatten(0, 1))
    assert described.shape == (4, n_entries(descriptor, 5, 2))


def test_the_deviation_is_that_of_the_patchs_gray_values():
    images = torch.rand(2, 3, 16, 8)
    averaged, finished = OF_PIXELS["deviation"]
    found = finished(averaged(images, 8))  # (B, N, C)
    for n in range(2):
        patch = images[:, :, 8 * n : 8 * n + 8].flatten(2)
        torch.testing.assert_close(found[:, n], patch.std(dim=2, correction=0))
