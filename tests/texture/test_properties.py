"""Properties under scikit-image's names against scikit-image."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.feature import graycomatrix as reference_matrix
from skimage.feature import graycoprops as reference

from glcm_mae.texture import glcm_features, graycoprops
from glcm_mae.texture.properties import PROPERTIES


@settings(max_examples=40, deadline=None)
@given(
    levels=st.integers(1, 30),
    kind=st.sampled_from(["random", "constant", "empty", "striped"]),
    symmetric=st.booleans(),
    normed=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_equals_scikit_image(levels, kind, symmetric, normed, seed):
    image = np.random.default_rng(seed).integers(0, levels, (12, 9))
    if kind == "constant":
        image[:] = levels - 1
    if kind == "striped":  # one marginal has no spread
        image[1:] = 0
    image = image[:1, :1] if kind == "empty" else image
    matrices = reference_matrix(image, [1, 2], [0, np.pi / 2], levels, symmetric, normed)
    ours = torch.from_numpy(matrices).permute(2, 3, 0, 1)  # (D, A, L, L)
    for prop in PROPERTIES:
        expected = reference(matrices, prop)
        np.testing.assert_allclose(graycoprops(ours, prop), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("distances", "angles"), [([1], [0.0]), ([1, 2], [0.0, 1.57])])
@pytest.mark.parametrize("levels", [8, 4])  # 4: the example of scikit-image's documentation
@pytest.mark.parametrize("function", [graycoprops, glcm_features])
def test_scikit_images_own_order_is_noticed(distances, angles, function, levels):
    image = np.random.default_rng(0).integers(0, levels, (9, 9))
    matrices = torch.from_numpy(reference_matrix(image, distances, angles, levels))
    with pytest.warns(UserWarning, match="movedim") as told:
        function(matrices)
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        function(matrices.movedim((0, 1), (-2, -1)))


@pytest.mark.parametrize("function", [graycoprops, glcm_features])
def test_a_grid_of_windows_is_not_taken_for_levels(function):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        function(torch.ones(14, 14, 8, 8))


def test_matrices_of_no_level_are_refused():
    with pytest.raises(ValueError, match="one gray level or more"):
        glcm_features(torch.zeros(3, 0, 0))


def test_gradcheck():
    m = torch.rand(4, 4, dtype=torch.float64, requires_grad=True)
    for prop in PROPERTIES:
        torch.autograd.gradcheck(lambda x, p=prop: graycoprops(x, p), m)


def test_an_unknown_property_is_refused():
    with pytest.raises(ValueError, match="choose one of contrast"):
        graycoprops(torch.eye(3), "roughness")


@pytest.mark.parametrize("prop", PROPERTIES)
def test_gradients_are_finite_where_nothing_varies_and_where_nothing_is(prop):
    flat = torch.zeros(4, 4, dtype=torch.float64)
    flat[0, 0] = 12
    for matrix in (flat, torch.zeros(4, 4, dtype=torch.float64)):
        matrix.requires_grad_()
        graycoprops(matrix, prop).backward()
        assert matrix.grad.isfinite().all()


def test_what_is_no_stack_of_matrices_is_refused():
    image = np.random.default_rng(0).integers(0, 8, (9, 9))
    theirs = reference_matrix(image, [1], [0, np.pi / 2], 8)
    for measure in (graycoprops, glcm_features):
        with pytest.raises(ValueError, match=r"\(8, 8, 1, 2\): the last two axes must be"):
            measure(torch.from_numpy(theirs))
        with pytest.raises(ValueError, match=r"sparse: call \.to_dense\(\) first"):
            measure(torch.zeros(2, 8, 8).to_sparse())
        with pytest.raises(TypeError, match=r"matrices is a ndarray: give a torch\.Tensor"):
            measure(theirs)
