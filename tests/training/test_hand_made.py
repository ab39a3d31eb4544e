"""Hand-made features are what plain loops and numpy say."""

from itertools import product

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from glcm_mae.texture import directions, glcm_features, graycomatrix
from glcm_mae.training.hand_made import glcm_vectors, histograms, local_glcms, small_pixels


def test_local_glcms_are_those_of_a_loop_over_tiles() -> None:
    images = torch.rand(2, 1, 40, 35, generator=torch.Generator().manual_seed(4))
    for image, vector in zip(images[:, 0].double(), local_glcms(images), strict=True):
        roots = []
        for top, left in product((0, 16), (0, 16)):  # the rest is no whole tile
            tile = image[top : top + 16, left : left + 16]
            tile = tile - tile.mean() + 0.5
            offsets = [(0, 1), (1, 0), (0, 2), (2, 0), (0, 4), (4, 0)]
            matrices = [_soft_glcm_by_hand(tile.numpy(), *offset) for offset in offsets]
            roots.append(np.sqrt(matrices).ravel())
        np.testing.assert_allclose(vector, np.mean(roots, axis=0), atol=1e-4)


def _soft_glcm_by_hand(tile: np.ndarray, dy: int, dx: int) -> np.ndarray:
    """Eight bins of a Gaussian one bin wide; what lies beyond an end is mirrored back."""
    edges = np.linspace(-1, 2, 25)
    shares = np.diff(norm.cdf((edges - tile.clip(0, 1)[..., None]) * 8), axis=-1)
    below, inside, above = np.split(shares, 3, axis=-1)  # (p, q, 8) each
    phi = inside + below[..., ::-1] + above[..., ::-1]
    height, width = tile.shape
    first, second = phi[: height - dy, : width - dx], phi[dy:, dx:]
    return np.einsum("yxi,yxj->ij", first, second) / first[..., 0].size


def test_local_glcms_of_a_small_image_are_of_one_tile() -> None:
    images = torch.rand(1, 3, 9, 12, generator=torch.Generator().manual_seed(5))
    assert torch.equal(local_glcms(images), local_glcms(images[..., :9]))


def test_glcm_vectors_are_those_of_a_plain_loop() -> None:
    images = torch.rand(2, 1, 20, 14, generator=torch.Generator().manual_seed(0))
    for image, vector in zip(images[:, 0], glcm_vectors(images), strict=True):
        low, high = image.min().double(), image.max().double()
        levels = ((image.double() - low) * 32 / (high - low)).floor().clamp(max=31).int()
        expected = []
        for distance in (1, 2, 4, 8):
            matrices = graycomatrix(levels, 32, offsets=directions(2, distance), symmetric=True)
            expected.append(glcm_features(matrices).mean(dim=0))
        torch.testing.assert_close(vector, torch.cat(expected))


@given(scale=st.sampled_from([0.25, 0.5, 2.0]), shift=st.sampled_from([0.0, 0.125, 0.5]))
def test_glcm_vectors_do_not_depend_on_the_unit(scale: float, shift: float) -> None:
    images = torch.randint(0, 256, (1, 1, 16, 16), generator=torch.Generator().manual_seed(1)) / 256
    torch.testing.assert_close(glcm_vectors(images * scale + shift), glcm_vectors(images))


def test_a_constant_image_has_finite_features() -> None:
    for describe in (glcm_vectors, small_pixels, histograms):
        assert describe(torch.full((1, 1, 16, 16), 0.5)).isfinite().all()


def test_histograms_are_those_of_numpy() -> None:
    images = torch.rand(3, 2, 9, 7, generator=torch.Generator().manual_seed(2))
    for image, vector in zip(images.numpy(), histograms(images).numpy(), strict=True):
        counts = [np.histogram(channel, 64, (0, 1))[0] for channel in image]
        np.testing.assert_allclose(vector, np.sqrt(np.concatenate(counts) / 63))


def test_small_pixels_are_means_of_the_luminance() -> None:
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(3))
    gray = (0.299 * images[:, 0] + 0.587 * images[:, 1] + 0.114 * images[:, 2]).double()
    expected = gray.view(2, 32, 2, 32, 3).mean(dim=(2, 4)).flatten(1)
    torch.testing.assert_close(small_pixels(images), expected, atol=1e-6, rtol=0)
