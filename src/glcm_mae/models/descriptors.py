"""What texture prediction asks of a patch: descriptors of its GLCM, and some to compare with."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from glcm_mae.texture import FEATURE_NAMES, glcm_features

from .patches import patchify

Descriptor = Literal["glcm", "haralick", "both", "histogram", "hog", "deviation"]

_ORIENTATIONS = 9
_CELLS = 2  # a patch's side has so many, as patches of 16 have in MaskFeat
_FLAT = 1e-5  # a strength of gradients below which a cell counts as flat


def n_entries(descriptor: str, levels: int, n_offsets: int) -> int:
    """Count the entries of a descriptor, of one channel.

    Parameters
    ----------
    descriptor : {"glcm", "haralick", "histogram", "hog", "deviation"}
        The descriptor.
    levels : int
        Gray levels of the GLCM.
    n_offsets : int
        Pixel offsets, each with a GLCM.

    Returns
    -------
    int

    Examples
    --------
    >>> n_entries("glcm", 8, 2), n_entries("hog", 8, 2)
    (128, 36)
    """
    return {
        "glcm": n_offsets * levels**2,
        "haralick": n_offsets * len(_HARALICK),
        "histogram": levels,
        "hog": _CELLS**2 * _ORIENTATIONS,
        "deviation": 1,
    }[descriptor]


def of_matrices(descriptor: str, matrices: Tensor) -> Tensor:
    """Describe the texture by a descriptor that is made of GLCMs.

    The square root of entries and of a histogram evens out the variance of counts.

    Parameters
    ----------
    descriptor : {"glcm", "haralick", "histogram"}
        The descriptor.
    matrices : Tensor, (R, C, O, L, L)
        GLCMs of C channels and O offsets.

    Returns
    -------
    Tensor, (R, entries)

    Examples
    --------
    >>> checker = torch.tensor([[0.0, 0.5], [0.5, 0.0]]).expand(1, 1, 2, 2, 2)
    >>> of_matrices("histogram", checker).square()
    tensor([[0.5000, 0.5000]])
    """
    return _OF_MATRICES[descriptor](matrices).flatten(1)


# Haralick's first 13 features in his order, by IBSI's names; the power that brings each to the unit
# of gray levels (a variance to a deviation); and the most that this can be with L levels.
_HARALICK: dict[str, tuple[float, Callable[[int], float]]] = {
    "angular_second_moment": (0.5, lambda L: 1.0),
    "contrast": (0.5, lambda L: L - 1),
    "correlation": (1.0, lambda L: 1.0),
    "joint_variance": (0.5, lambda L: (L - 1) / 2),
    "inverse_difference_moment": (1.0, lambda L: 1.0),
    "sum_average": (1.0, lambda L: 2 * L),
    "sum_variance": (0.5, lambda L: L - 1),
    "sum_entropy": (1.0, lambda L: math.log2(2 * L - 1)),
    "joint_entropy": (1.0, lambda L: 2 * math.log2(L)),
    "difference_variance": (0.5, lambda L: (L - 1) / 2),
    "difference_entropy": (1.0, lambda L: math.log2(L)),
    "information_correlation_1": (1.0, lambda L: 1.0),
    "information_correlation_2": (1.0, lambda L: 1.0),
}


def haralick(matrices: Tensor) -> Tensor:
    """Compute the first 13 of Haralick's 14 features, brought to one scale.

    They are IBSI's, of each matrix and its transpose together, in the order of Haralick et al.
    1973. The four variances and the angular second moment are replaced by their roots: squares are
    skewed, and the few patches with an edge would rule a squared error. Each is then divided by the
    most that it can be with L levels, so that all lie between 0 and 1 (the correlation and the
    first information correlation between -1 and 1). IBSI's further features are these under a
    second name, or close to one of them, or third and fourth powers of gray levels.

    Parameters
    ----------
    matrices : Tensor, (..., L, L)
        Counts or frequencies, of any sum above 0.

    Returns
    -------
    Tensor of float32, (..., 13)
        Finite, of constant patches too.

    References
    ----------
    Haralick, Shanmugam, Dinstein, "Textural Features for Image Classification", IEEE Trans. SMC
    3(6), 1973.

    Examples
    --------
    >>> chance = torch.full((4, 4), 1 / 16)  # all pairs of 4 levels equally often
    >>> features = haralick(chance)
    >>> features[0].item(), features[8].item()  # root of the angular second moment, joint entropy
    (0.25, 1.0)
    """
    levels = matrices.shape[-1]
    features = glcm_features(matrices + matrices.mT)  # (..., 25)
    scaled = [
        features[..., FEATURE_NAMES.index(name)] ** power / most(levels)
        for name, (power, most) in _HARALICK.items()
    ]
    return torch.stack(scaled, dim=-1).float()


def _histogram(matrices: Tensor) -> Tensor:
    """Root of how often each gray level is in a pair, wherever: (R, C, O, L, L) to (R, C, L)."""
    margins = (matrices.sum(dim=-1) + matrices.sum(dim=-2)) / 2
    return margins.mean(dim=2).sqrt()


_OF_MATRICES: dict[str, Callable[[Tensor], Tensor]] = {
    "glcm": torch.sqrt,
    "haralick": haralick,
    "histogram": _histogram,
}


def gradient_cells(images: Tensor, patch_size: int) -> Tensor:
    """Add up the gradients of each cell by orientation, a patch having 2 x 2 cells.

    Gradients are differences of the pixels on either side, 0 at the image's border; orientations
    are 9 sectors of half a turn. `hog` of it is ``skimage.feature.hog`` with cells of half a patch
    and blocks of one cell.

    Parameters
    ----------
    images : Tensor, (B, C, H, W)
        Gray values.
    patch_size : int
        Side p of a patch, even.

    Returns
    -------
    Tensor, (B, N, 4, C, 9)
        Mean strength of the gradients of each orientation.

    References
    ----------
    Dalal, Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005.

    Examples
    --------
    >>> edge = torch.zeros(1, 1, 4, 4)
    >>> edge[..., 2:] = 1.0
    >>> gradient_cells(edge, 4)[0, 0, :, 0, 0].tolist()  # half of each cell's pixels
    [0.5, 0.5, 0.5, 0.5]
    """
    down = F.pad(images[..., 2:, :] - images[..., :-2, :], (0, 0, 1, 1))
    right = F.pad(images[..., 2:] - images[..., :-2], (1, 1))
    strength = torch.hypot(down, right)
    turn = torch.atan2(down, right).remainder(math.pi) / math.pi  # of half a turn
    sector = (turn * _ORIENTATIONS).long().clamp_max(_ORIENTATIONS - 1)
    cells = [
        F.avg_pool2d(strength * (sector == k), patch_size // _CELLS) for k in range(_ORIENTATIONS)
    ]
    rows = torch.stack(cells, dim=2).flatten(1, 2)  # (B, C * 9, cells down, cells across)
    return patchify(rows, _CELLS).unflatten(-1, (_CELLS**2, -1, _ORIENTATIONS))


def hog(cells: Tensor) -> Tensor:
    """Histogram of oriented gradients, each cell's of norm 1: (R, 4, C, 9) to (R, entries).

    It is what Wei et al. 2022 ask for (MaskFeat): which way edges run, and not how strong they are.
    A cell without gradient stays 0.

    Parameters
    ----------
    cells : Tensor, (R, 4, C, 9)
        As `gradient_cells` adds them up, or means of such.

    Returns
    -------
    Tensor, (R, 4 * C * 9)

    References
    ----------
    Wei, Fan, Xie, Wu, Yuille, Feichtenhofer, "Masked Feature Prediction for Self-Supervised Visual
    Pre-Training", CVPR 2022, arXiv 2112.09133.

    Examples
    --------
    >>> hog(torch.tensor([3.0, 4.0] + 7 * [0.0]).view(1, 1, 1, 9))[0, :2]
    tensor([0.6000, 0.8000])
    """
    norms = (cells.square().sum(dim=-1, keepdim=True) + _FLAT**2).sqrt()
    return (cells / norms).flatten(1)


def variances(images: Tensor, patch_size: int) -> Tensor:
    """Variance of each patch's gray values: (B, C, H, W) to (B, N, C).

    Parameters
    ----------
    images : Tensor, (B, C, H, W)
        Gray values.
    patch_size : int
        Side p of a patch.

    Returns
    -------
    Tensor, (B, N, C)

    Examples
    --------
    >>> variances(torch.tensor([[0.0, 1.0], [0.0, 1.0]]).view(1, 1, 2, 2), 2)
    tensor([[[0.2500]]])
    """
    patches = patchify(images, patch_size).unflatten(-1, (patch_size**2, -1))  # (B, N, p * p, C)
    return patches.var(dim=2, correction=0)


class OfPixels(NamedTuple):
    """A descriptor that needs no GLCM: what is averaged over patches, and what is made of it."""

    averaged: Callable[[Tensor, int], Tensor]  # (B, C, H, W), patch_size to (B, N, ...)
    finished: Callable[[Tensor], Tensor]  # (R, ...) to (R, entries)


OF_PIXELS = {
    "hog": OfPixels(gradient_cells, hog),
    "deviation": OfPixels(variances, torch.sqrt),
}
