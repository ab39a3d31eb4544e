"""Exact GLCMs and their features against scikit-image."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.feature import graycomatrix as reference_matrix
from skimage.feature import graycoprops

from glcm_mae.texture import (
    FEATURE_NAMES,
    Binning,
    glcm_features,
    graycomatrix,
    quantize,
    soft_glcm,
)

# scikit-image's angle 0 looks right, pi/2 down.
ANGLES = {(0, 1): 0.0, (1, 0): np.pi / 2}


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(2, 20),
    width=st.integers(2, 20),
    levels=st.integers(2, 40),
    symmetric=st.booleans(),
    normed=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_equals_scikit_image(height, width, levels, symmetric, normed, seed):
    image = np.random.default_rng(seed).integers(0, levels, (height, width))
    for o, angle in ANGLES.items():
        found = graycomatrix(
            torch.from_numpy(image), levels, [o], symmetric=symmetric, normed=normed
        )
        expected = reference_matrix(image, [1], [angle], levels, symmetric, normed)[:, :, 0, 0]
        np.testing.assert_allclose(found[0].numpy(), expected)


def test_features_equal_scikit_image():
    image = np.random.default_rng(0).integers(0, 8, (30, 30))
    image[:, :15] //= 4
    matrix = reference_matrix(image, [1], [0.0], 8, True, True)
    found = dict(
        zip(
            FEATURE_NAMES, glcm_features(torch.from_numpy(matrix[:, :, 0, 0])).tolist(), strict=True
        )
    )
    for name in ("contrast", "dissimilarity", "homogeneity", "energy", "correlation", "mean",
                 "variance", "entropy", "ASM"):  # fmt: skip
        assert found[name.lower()] == pytest.approx(graycoprops(matrix, name).item(), rel=1e-9)


def test_features_of_a_constant_image():
    values = glcm_features(graycomatrix(torch.zeros(5, 5, dtype=torch.long), 4))
    assert values.isfinite().all()
    assert values[0, FEATURE_NAMES.index("correlation")] == 1


def test_quantize():
    assert quantize(torch.tensor([-1.0, 0.0, 0.999, 1.0, 7.0]), 256).tolist() == [
        0,
        0,
        255,
        255,
        255,
    ]
    with pytest.raises(ValueError, match="NaN"):
        quantize(torch.tensor([float("nan")]), 4)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="quantize them"):
        graycomatrix(torch.rand(4, 4), 4)
    with pytest.raises(ValueError, match="outside 0 to 3"):
        graycomatrix(torch.full((4, 4), 4), 4)
    with pytest.raises(ValueError, match="leaves no pixel pair"):
        graycomatrix(torch.zeros(1, 4, dtype=torch.long), 4)


def test_a_sharp_soft_glcm_is_the_hard_one():
    codes = torch.randint(0, 8, (3, 12, 12))
    centres = (codes + 0.5) / 8
    soft = soft_glcm(centres, Binning(8, "sigmoid", 1e-3), normalized=False)
    assert torch.allclose(soft, graycomatrix(codes, 8).float(), atol=1e-3)


def test_soft_glcm_gradcheck():
    patches = torch.rand(2, 5, 5, dtype=torch.float64, requires_grad=True)
    for kernel in ("sigmoid", "gaussian"):
        binning = Binning(4, kernel, 0.1)
        torch.autograd.gradcheck(lambda x, b=binning: soft_glcm(x, b), patches, atol=1e-6)


@pytest.mark.parametrize(("kernel", "levels"), [("gaussian", 8), ("linear", 8), ("gaussian", 32)])
def test_soft_glcm_without_gradient_equals_the_one_with(kernel, levels):
    patches = torch.rand(200, 8, 8) * 1.2 - 0.1
    binning = Binning(levels, kernel)
    exact = soft_glcm(patches.clone().requires_grad_(), binning)
    assert torch.allclose(soft_glcm(patches, binning), exact, atol=1e-6)
