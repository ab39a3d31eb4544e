"""Haralick features: a few numbers that describe a GLCM."""

from __future__ import annotations

import torch
from torch import Tensor

FEATURE_NAMES = (
    "contrast",
    "dissimilarity",
    "homogeneity",
    "asm",
    "energy",
    "correlation",
    "entropy",
    "mean",
    "variance",
)


def glcm_features(matrices: Tensor) -> Tensor:
    """Haralick features of GLCMs, as scikit-image's ``graycoprops`` defines them.

    With P the matrix divided by its sum: contrast ``sum P (i-j)^2``, dissimilarity
    ``sum P |i-j|``, homogeneity ``sum P / (1 + (i-j)^2)``, ASM ``sum P^2``, energy ``sqrt ASM``,
    correlation (1 where a standard deviation is 0), entropy ``-sum P ln P``, mean ``sum i P`` and
    variance ``sum P (i - mean)^2``.

    Parameters
    ----------
    matrices : Tensor, (..., L, L)
        Counts or frequencies.

    Returns
    -------
    Tensor of float64, (..., 9)
        In the order of ``FEATURE_NAMES``.

    References
    ----------
    Haralick, Shanmugam, Dinstein, "Textural Features for Image Classification", IEEE Trans. SMC
    3(6), 1973.

    Examples
    --------
    >>> values = glcm_features(torch.tensor([[2, 1], [1, 0]]))
    >>> dict(zip(FEATURE_NAMES, values.tolist()))["contrast"]
    0.5
    """
    P = matrices.double()
    P = P / P.sum(dim=(-2, -1), keepdim=True)
    levels = torch.arange(P.shape[-1], dtype=P.dtype, device=P.device)
    i, j = levels[:, None], levels[None, :]
    step = i - j

    def expect(values: Tensor) -> Tensor:
        return (P * values).sum(dim=(-2, -1))

    mean_i, mean_j = expect(i.expand_as(step)), expect(j.expand_as(step))
    from_i, from_j = i - mean_i[..., None, None], j - mean_j[..., None, None]
    variance_i, variance_j = expect(from_i.square()), expect(from_j.square())
    spread = (variance_i * variance_j).sqrt()
    flat = spread < 1e-15
    correlation = torch.where(flat, 1.0, expect(from_i * from_j) / spread.masked_fill(flat, 1.0))
    asm = P.square().sum(dim=(-2, -1))
    values = (
        expect(step.square()),
        expect(step.abs()),
        expect(1 / (1 + step.square())),
        asm,
        asm.sqrt(),
        correlation,
        -torch.xlogy(P, P).sum(dim=(-2, -1)),
        mean_i,
        variance_i,
    )
    return torch.stack(values, dim=-1)
