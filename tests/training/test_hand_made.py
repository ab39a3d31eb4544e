"""The baseline's descriptor is what a loop over tiles says."""

from itertools import product

import numpy as np
import torch
from scipy.stats import norm

from glcm_mae.training.hand_made import local_glcms


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
