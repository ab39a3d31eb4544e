"""SSIM against kornia's and scikit-image's."""

import kornia.metrics
import pytest
import torch
from skimage.metrics import structural_similarity

from glcm_mae.models.ssim import ssim_map


def _pair(*shape, dtype=torch.float64):
    x = torch.rand(shape, dtype=dtype)
    return x, (0.7 * x + 0.3 * torch.rand(shape, dtype=dtype)).clamp(0, 1)


@pytest.mark.parametrize("shape", [(2, 3, 16, 24), (1, 1, 6, 40), (3, 1, 33, 17)])
def test_values_and_gradient_are_kornias(shape):
    x, y = _pair(*shape)
    found, expected = [], []
    for of, into in ((ssim_map, found), (_kornia, expected)):
        leaf = x.clone().requires_grad_()
        values = of(leaf, y)
        values.backward(torch.linspace(0, 1, values.numel(), dtype=x.dtype).view(values.shape))
        into += [values.detach(), leaf.grad]
    for own, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(own, theirs, atol=1e-6, rtol=1e-6)


def _kornia(x, y):
    return kornia.metrics.ssim(x, y, window_size=11)


def test_inside_it_is_scikit_images():
    x, y = _pair(1, 1, 40, 30)
    _, full = structural_similarity(
        x[0, 0].numpy(), y[0, 0].numpy(), data_range=1.0, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, full=True,
    )  # fmt: skip
    inside = (slice(5, -5), slice(5, -5))
    torch.testing.assert_close(
        ssim_map(x, y)[0, 0][inside], torch.from_numpy(full)[inside], atol=1e-6, rtol=1e-6
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_lower_precision_and_autocast_lose_nothing(dtype):
    x, y = (t.to(dtype) for t in _pair(2, 1, 24, 24))
    expected = ssim_map(x.double(), y.double())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values = ssim_map(x, y)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values.double(), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("shape", [(1, 1, 1, 8), (1, 1, 3, 4), (0, 1, 16, 16)])
def test_images_smaller_than_the_window(shape):
    x, y = _pair(*shape)
    assert ssim_map(x, y).shape == shape
    assert ssim_map(x, y).isfinite().all()
    torch.testing.assert_close(ssim_map(x, x), torch.ones(shape, dtype=x.dtype))
