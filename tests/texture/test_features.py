"""The 25 features of matrices against their definitions, cell by cell, and their gradients."""

import math

import numpy as np
import pytest
import torch

from glcm_mae.texture import FEATURE_NAMES, glcm_features, graycomatrix


def definitions(matrix):
    """IBSI's formulas as double sums over levels i, j from 1."""
    p = matrix / matrix.sum()
    n = len(p)
    cells = [(i, j, p[i - 1, j - 1]) for i in range(1, n + 1) for j in range(1, n + 1)]
    p_x, p_y = p.sum(1), p.sum(0)
    p_diff = [sum(q for i, j, q in cells if abs(i - j) == k) for k in range(n)]
    p_sum = {k: sum(q for i, j, q in cells if i + j == k) for k in range(2, 2 * n + 1)}

    def entropy(distribution):
        return -sum(q * math.log2(q) for q in distribution if q > 0)

    def variance(distribution):
        mean = sum(k * q for k, q in distribution)
        return sum((k - mean) ** 2 * q for k, q in distribution)

    x, y = list(enumerate(p_x, 1)), list(enumerate(p_y, 1))
    mean_x, mean_y = (sum(k * q for k, q in d) for d in (x, y))
    h, h_x, h_y = entropy(p.ravel()), entropy(p_x), entropy(p_y)
    cross_1 = -sum(q * math.log2(p_x[i - 1] * p_y[j - 1]) for i, j, q in cells if q > 0)
    outer = np.outer(p_x, p_y).ravel()
    cross_2 = entropy(outer)
    centred = [(i + j - mean_x - mean_y, q) for i, j, q in cells]
    return {
        "joint_maximum": p.max(),
        "joint_average": mean_x,
        "joint_variance": variance(x),
        "joint_entropy": h,
        "difference_average": sum(k * q for k, q in enumerate(p_diff)),
        "difference_variance": variance(list(enumerate(p_diff))),
        "difference_entropy": entropy(p_diff),
        "sum_average": sum(k * q for k, q in p_sum.items()),
        "sum_variance": variance(list(p_sum.items())),
        "sum_entropy": entropy(p_sum.values()),
        "angular_second_moment": (p**2).sum(),
        "contrast": sum((i - j) ** 2 * q for i, j, q in cells),
        "dissimilarity": sum(abs(i - j) * q for i, j, q in cells),
        "inverse_difference": sum(q / (1 + abs(i - j)) for i, j, q in cells),
        "normalised_inverse_difference": sum(q / (1 + abs(i - j) / n) for i, j, q in cells),
        "inverse_difference_moment": sum(q / (1 + (i - j) ** 2) for i, j, q in cells),
        "normalised_inverse_difference_moment": sum(
            q / (1 + ((i - j) / n) ** 2) for i, j, q in cells
        ),
        "inverse_variance": 2 * sum(q / (i - j) ** 2 for i, j, q in cells if i < j),
        "correlation": (sum(i * j * q for i, j, q in cells) - mean_x * mean_y)
        / math.sqrt(variance(x) * variance(y)),
        "autocorrelation": sum(i * j * q for i, j, q in cells),
        "cluster_tendency": sum(d**2 * q for d, q in centred),
        "cluster_shade": sum(d**3 * q for d, q in centred),
        "cluster_prominence": sum(d**4 * q for d, q in centred),
        "information_correlation_1": (h - cross_1) / max(h_x, h_y),
        "information_correlation_2": math.sqrt(1 - math.exp(-2 * (cross_2 - h))),
    }


def matrix(levels, seed, *, symmetric=True, sparsity=0.5):
    rng = np.random.default_rng(seed)
    m = rng.integers(1, 30, (levels, levels)) * (rng.random((levels, levels)) > sparsity)
    return m + m.T if symmetric else m


@pytest.mark.parametrize("levels", [2, 3, 8, 17])
@pytest.mark.parametrize("seed", [0, 1])
def test_features_are_their_definitions(levels, seed):
    m = matrix(levels, seed, sparsity=0.4) + np.eye(levels, dtype=int)
    found = glcm_features(torch.from_numpy(m))
    assert tuple(definitions(m)) == FEATURE_NAMES
    np.testing.assert_allclose(found, list(definitions(m).values()), rtol=1e-9, atol=1e-12)


def test_features_of_asymmetric_matrices_are_their_definitions():
    m = matrix(6, 3, symmetric=False)
    expected = definitions(m)
    expected["inverse_variance"] = sum(
        m[i, j] / m.sum() / (i - j) ** 2 for i, j in np.ndindex(6, 6) if i != j
    )  # IBSI sums one triangle twice
    np.testing.assert_allclose(
        glcm_features(torch.from_numpy(m)), list(expected.values()), rtol=1e-9
    )


def test_batches_and_scale_change_nothing():
    matrices = torch.stack([torch.from_numpy(matrix(5, seed)) for seed in range(6)])
    expected = torch.stack([glcm_features(m) for m in matrices])
    assert torch.allclose(glcm_features(matrices.view(2, 3, 5, 5)).view(6, 25), expected)
    assert torch.allclose(glcm_features(matrices / 7.0), expected)
    assert glcm_features(matrices[:0]).shape == (0, 25)


def test_degenerate_matrices():
    constant = graycomatrix(torch.full((5, 5), 2), 4, [(0, 1)], symmetric=True)[0]
    values = dict(zip(FEATURE_NAMES, glcm_features(constant).tolist(), strict=True))
    expected = dict.fromkeys(FEATURE_NAMES, 0.0) | {
        "joint_maximum": 1, "joint_average": 3, "sum_average": 6, "angular_second_moment": 1,
        "inverse_difference": 1, "normalised_inverse_difference": 1,
        "inverse_difference_moment": 1, "normalised_inverse_difference_moment": 1,
        "correlation": 1, "autocorrelation": 9,
    }  # fmt: skip
    assert values == expected
    both = torch.stack((torch.zeros(4, 4), torch.eye(4))).requires_grad_()
    features = glcm_features(both)
    assert features[0].isnan().all()
    assert features[1].isfinite().all()
    features[1].sum().backward()
    assert both.grad.isfinite().all()
    assert not both.grad[0].any()


def test_gradcheck():
    m = torch.rand(2, 5, 5, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(glcm_features, m, atol=1e-6)
    m = torch.rand(5, 5, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda x: glcm_features(x + x.mT), m, atol=1e-6)


@pytest.mark.parametrize("m", [np.eye(4), np.diag([0, 3, 0, 0]), matrix(4, 0, sparsity=0.8)])
def test_gradients_are_finite_where_cells_are_empty(m):
    m = torch.tensor(m, dtype=torch.float64, requires_grad=True)
    for value in glcm_features(m):
        (gradient,) = torch.autograd.grad(value, m, retain_graph=True)
        assert gradient.isfinite().all()
