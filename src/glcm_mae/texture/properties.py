"""GLCM properties under scikit-image's names."""

from __future__ import annotations

import torch
from torch import Tensor

from .inputs import check_matrices

PROPERTIES = (
    "contrast",
    "dissimilarity",
    "homogeneity",
    "ASM",
    "energy",
    "correlation",
    "mean",
    "variance",
    "std",
    "entropy",
)


def graycoprops(matrices: Tensor, prop: str = "contrast") -> Tensor:
    """Compute one property of GLCMs, equal to that of ``skimage.feature.graycoprops``.

    With P the matrix divided by its sum (by 1 if that is 0) and gray levels from 0: contrast
    ``sum P (i-j)^2``, dissimilarity ``sum P |i-j|``, homogeneity ``sum P / (1 + (i-j)^2)``, ASM
    ``sum P^2``, energy ``sqrt ASM``, correlation (1 where a standard deviation is 0), mean
    ``sum i P``, variance ``sum P (i - mean)^2``, std its root, and entropy ``-sum P ln P``. A
    matrix without a pair has correlation 1 and all else 0, as in scikit-image.

    Parameters
    ----------
    matrices : Tensor, (..., L, L)
        Counts or frequencies, as `glcm_mae.texture.graycomatrix` gives them. (scikit-image puts the
        levels first: ``matrices.movedim((0, 1), (-2, -1))`` puts them last.)
    prop : str
        One of the names above.

    Returns
    -------
    Tensor of float64, (...)
        Differentiable by the matrices; where a root is 0, its infinite slope is taken as 0.

    Raises
    ------
    TypeError, ValueError
        If there is no such property, or the matrices are no tensor, sparse, or not square.

    Warns
    -----
    UserWarning
        If the matrices look as if in scikit-image's order.

    References
    ----------
    Haralick, Shanmugam, Dinstein, "Textural Features for Image Classification", IEEE Trans. SMC
    3(6), 1973.

    Examples
    --------
    >>> graycoprops(torch.tensor([[2, 1], [1, 0]]), "contrast").item()
    0.5
    """
    if prop not in PROPERTIES:
        raise ValueError(f"prop is {prop!r}: choose one of {', '.join(PROPERTIES)}.")
    check_matrices(matrices)
    P = matrices.double()
    total = P.sum(dim=(-2, -1), keepdim=True)
    P = P / total.masked_fill(total == 0, 1.0)
    if prop in ("ASM", "energy"):
        asm = P.square().sum(dim=(-2, -1))
        return asm if prop == "ASM" else _root(asm)
    if prop == "entropy":
        return -(P * P.masked_fill(P <= 0, 1.0).log()).sum(dim=(-2, -1))
    level = torch.arange(P.shape[-1], dtype=P.dtype, device=P.device)
    gap = level[:, None] - level
    if prop in ("contrast", "dissimilarity", "homogeneity"):
        weights = {
            "contrast": gap.square(),
            "dissimilarity": gap.abs(),
            "homogeneity": 1 / (1 + gap.square()),
        }
        return (P * weights[prop]).sum(dim=(-2, -1))
    p_x, p_y = P.sum(dim=-1), P.sum(dim=-2)
    mean_x, mean_y = (p_x * level).sum(dim=-1), (p_y * level).sum(dim=-1)
    if prop == "mean":
        return mean_x
    from_x, from_y = level - mean_x[..., None], level - mean_y[..., None]
    variance_x = (p_x * from_x.square()).sum(dim=-1)
    if prop in ("variance", "std"):
        return variance_x if prop == "variance" else _root(variance_x)
    variance_y = (p_y * from_y.square()).sum(dim=-1)
    flat = torch.minimum(variance_x, variance_y) < 1e-30
    covariance = (from_x * (P @ from_y[..., None]).squeeze(-1)).sum(dim=-1)
    deviations = (variance_x * variance_y).masked_fill(flat, 1.0).sqrt()
    return torch.where(flat, 1.0, covariance / deviations)


def _root(x: Tensor) -> Tensor:
    none = x <= 0
    return x.masked_fill(none, 1.0).sqrt().masked_fill(none, 0.0)
