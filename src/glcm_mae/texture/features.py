"""The 25 GLCM features of the Image Biomarker Standardisation Initiative (IBSI)."""

from __future__ import annotations

import torch
from torch import Tensor

from .inputs import check_matrices

FEATURE_NAMES = (
    "joint_maximum",
    "joint_average",
    "joint_variance",
    "joint_entropy",
    "difference_average",
    "difference_variance",
    "difference_entropy",
    "sum_average",
    "sum_variance",
    "sum_entropy",
    "angular_second_moment",
    "contrast",
    "dissimilarity",
    "inverse_difference",
    "normalised_inverse_difference",
    "inverse_difference_moment",
    "normalised_inverse_difference_moment",
    "inverse_variance",
    "correlation",
    "autocorrelation",
    "cluster_tendency",
    "cluster_shade",
    "cluster_prominence",
    "information_correlation_1",
    "information_correlation_2",
)


def glcm_features(matrices: Tensor) -> Tensor:
    """Compute the 25 IBSI features of GLCMs.

    IBSI counts gray levels from 1: row 0 of a matrix is level 1. Its matrices are symmetric
    (``graycomatrix(..., symmetric=True)``); for others the marginals of rows and columns are kept
    apart where the formula names both, and the joint average and variance are those of the rows.

    Everything follows from the frequencies P, their marginals p_x and p_y, and the distributions
    p_diff of k = |i - j| and p_sum of k = i + j; H is an entropy in bits, 0 log 0 = 0, E a mean:

    ======================================  ==========================================
    joint_maximum, angular_second_moment    max P, sum P^2
    joint_average, joint_variance           mean and variance of p_x
    joint_entropy                           H(P)
    difference_average, _variance, _entropy mean, variance and H of p_diff
    sum_average, _variance, _entropy        mean, variance and H of p_sum
    contrast, dissimilarity                 E k^2, E k, over p_diff
    inverse_difference, normalised          E 1 / (1 + k), E 1 / (1 + k / L)
    inverse_difference_moment, normalised   E 1 / (1 + k^2), E 1 / (1 + k^2 / L^2)
    inverse_variance                        sum over k > 0 of p_diff(k) / k^2
    correlation                             covariance / (deviation of p_x * of p_y)
    autocorrelation                         E i j
    cluster_tendency, _shade, _prominence   2nd, 3rd and 4th central moments of p_sum
    information_correlation_1               (H(P) - H_xy) / max(H(p_x), H(p_y))
    information_correlation_2               sqrt(1 - exp(-2 (H_xy - H(P))))
    ======================================  ==========================================

    with H_xy = H(p_x) + H(p_y), which both of IBSI's cross entropies come to. A constant image has
    correlation 1, as in scikit-image and pyradiomics, and both information correlations 0. A matrix
    without a pair has no features: they are NaN, and its gradient is 0.

    Parameters
    ----------
    matrices : Tensor, (..., L, L)
        Counts or frequencies, of any sum.

    Returns
    -------
    Tensor of float64, (..., 25)
        In the order of ``FEATURE_NAMES``. Differentiable by the matrices; where a cell is 0, the
        infinite slope of its entropy is taken as 0.

    Raises
    ------
    TypeError, ValueError
        If they are no tensor, sparse, or not square.

    References
    ----------
    Zwanenburg, Leger, Vallieres, Lock, "Image biomarker standardisation initiative",
    arXiv 1612.07003, 2016, section 3.6. Haralick, Shanmugam, Dinstein, "Textural Features for Image
    Classification", IEEE Trans. SMC 3(6), 1973.

    Examples
    --------
    >>> values = glcm_features(torch.tensor([[2, 1], [1, 0]]))
    >>> dict(zip(FEATURE_NAMES, values.tolist()))["contrast"]
    0.5
    """
    check_matrices(matrices)
    counts = matrices.double()
    total = counts.sum(dim=(-2, -1), keepdim=True)
    P = counts / total.masked_fill(total == 0, 1.0)
    n_levels = P.shape[-1]
    level = torch.arange(1, n_levels + 1, dtype=P.dtype, device=P.device)
    gap, both = level - 1, torch.arange(2, 2 * n_levels + 1, dtype=P.dtype, device=P.device)

    p_x, p_y = P.sum(dim=-1), P.sum(dim=-2)  # (..., L)
    p_sum = _antidiagonals(P)  # (..., 2L - 1)
    p_signed = _antidiagonals(P.flip(-1))  # of i - j, from 1 - L to L - 1
    at_0 = n_levels - 1
    mirrored = p_signed[..., :at_0].flip(-1)
    p_diff = torch.cat(
        (p_signed[..., at_0 : at_0 + 1], p_signed[..., at_0 + 1 :] + mirrored), dim=-1
    )  # (..., L)

    mean_x, mean_y = _mean(p_x, level), _mean(p_y, level)
    variance_x, variance_y = _moment(p_x, level, 2), _moment(p_y, level, 2)
    from_x, from_y = level - mean_x[..., None], level - mean_y[..., None]
    covariance = (from_x * (P @ from_y[..., None]).squeeze(-1)).sum(dim=-1)
    flat = torch.minimum(variance_x, variance_y) < 1e-30
    deviations = (variance_x * variance_y).masked_fill(flat, 1.0).sqrt()
    correlation = torch.where(flat, 1.0, covariance / deviations)

    entropy, entropy_x, entropy_y = _entropy(P.flatten(-2)), _entropy(p_x), _entropy(p_y)
    information = entropy_x + entropy_y - entropy
    larger = torch.maximum(entropy_x, entropy_y)
    sharp = larger < 1e-15
    dependence = -torch.expm1(-2 * information)
    dependent = dependence > 0
    values = (
        P.amax(dim=(-2, -1)),
        mean_x,
        variance_x,
        entropy,
        _mean(p_diff, gap),
        _moment(p_diff, gap, 2),
        _entropy(p_diff),
        _mean(p_sum, both),
        _moment(p_sum, both, 2),
        _entropy(p_sum),
        P.square().sum(dim=(-2, -1)),
        _mean(p_diff, gap.square()),
        _mean(p_diff, gap),
        _mean(p_diff, 1 / (1 + gap)),
        _mean(p_diff, 1 / (1 + gap / n_levels)),
        _mean(p_diff, 1 / (1 + gap.square())),
        _mean(p_diff, 1 / (1 + (gap / n_levels).square())),
        _mean(p_diff[..., 1:], 1 / gap[1:].square()),
        correlation,
        covariance + mean_x * mean_y,
        _moment(p_sum, both, 2),
        _moment(p_sum, both, 3),
        _moment(p_sum, both, 4),
        torch.where(sharp, 0.0, -information / larger.masked_fill(sharp, 1.0)),
        torch.where(dependent, dependence.masked_fill(~dependent, 1.0).sqrt(), 0.0),
    )
    return torch.where(total.squeeze(-1) == 0, torch.nan, torch.stack(values, dim=-1))


def _antidiagonals(P: Tensor) -> Tensor:
    """Sum the cells of each i + j: (..., L, L) to (..., 2L - 1).

    Rows padded to twice their length and laid end to end, then cut one cell shorter, each begin one
    place further right than the row before.
    """
    n_levels = P.shape[-1]
    laid = torch.nn.functional.pad(P, (0, n_levels)).flatten(-2)[..., :-n_levels]
    return laid.unflatten(-1, (n_levels, 2 * n_levels - 1)).sum(dim=-2)


def _mean(p: Tensor, values: Tensor) -> Tensor:
    return (p * values).sum(dim=-1)


def _moment(p: Tensor, values: Tensor, order: int) -> Tensor:
    """Central moment."""
    return (p * (values - _mean(p, values)[..., None]) ** order).sum(dim=-1)


def _entropy(p: Tensor) -> Tensor:
    return -(p * p.masked_fill(p <= 0, 1.0).log2()).sum(dim=-1)
