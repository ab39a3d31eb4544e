"""From images and volumes to the 25 IBSI features, in IBSI's six ways of aggregating."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from .features import FEATURE_NAMES, glcm_features
from .hard import scatter_dense
from .inputs import check_ndim, check_tensors
from .offsets import directions
from .regions import Regions, regions
from .untraced import untraced

VolumeAggregation = Literal[
    "2d_averaged",
    "2d_slice_merged",
    "2.5d_direction_merged",
    "2.5d_merged",
    "3d_averaged",
    "3d_merged",
]

# Levels up to which the tensor form, which needs the matrices, is offered.
_MAX_TENSOR_LEVELS = 4096


def image_features(
    images: Tensor,
    levels: int,
    offsets: Sequence[tuple[int, int]] | None = None,
    *,
    aggregation: Literal["averaged", "merged", "separate"] = "averaged",
    mask: Tensor | None = None,
) -> Tensor:
    """Compute the 25 IBSI features of each image, patch or window.

    The values are those of `glcm_mae.texture.glcm_features` for symmetric matrices, where the
    degenerate cases are told. On a CPU with numba no matrix is built: a compiled loop keeps each
    image's counts in its cache; images share as many threads as ``torch.get_num_threads()``.

    Parameters
    ----------
    images : Tensor of integers, (..., H, W)
        Gray levels in ``[0, levels)``; see `glcm_mae.texture.quantize`. Views such as
        `glcm_mae.texture.windows` are read in place.
    levels : int
        Number of gray levels, 1 to 65,536 (to 4,096 but on a CPU with numba). The two
        normalised features depend on it.
    offsets : sequence of (dy, dx), optional
        The 4 directions at distance 1 if not given; see `glcm_mae.texture.directions`. (The default
        of `glcm_mae.texture.graycomatrix` is 2 of them.)
    aggregation : {"averaged", "merged", "separate"}
        "averaged": the mean of the offsets' features (IBSI's 2D averaged). "merged": the features
        of the sum of the offsets' matrices (IBSI's 2D slice-merged). "separate": each offset's.
    mask : Tensor, broadcastable to ``images``, optional
        Region of interest: a pair counts only where both its pixels' values are not 0.

    Returns
    -------
    Tensor of float64, (..., 25), or (..., O, 25) if ``separate``
        In the order of ``FEATURE_NAMES``. NaN where no pair lies in the region; a mean leaves
        offsets without a pair out.

    Raises
    ------
    ValueError
        If the images are not integers in range, or the offsets or the aggregation are unknown.

    Examples
    --------
    >>> from glcm_mae.texture import quantize, windows
    >>> images = quantize(torch.rand(2, 64, 64), levels=32)
    >>> image_features(images, 32).shape
    torch.Size([2, 25])
    >>> image_features(windows(images, 16), 32).shape
    torch.Size([2, 4, 4, 25])
    """
    _check_choice(aggregation, ("averaged", "merged", "separate"))
    steps = directions(2) if offsets is None else offsets
    area = regions(images, levels, steps, mask, ndims=(2,))
    values = _features(area, merged=aggregation == "merged")
    if aggregation == "merged":
        return values.squeeze(-2)
    return values.nanmean(dim=-2) if aggregation == "averaged" else values


def volume_features(
    volumes: Tensor,
    levels: int,
    aggregation: VolumeAggregation = "3d_merged",
    *,
    distance: int = 1,
    mask: Tensor | None = None,
) -> Tensor:
    """Compute the 25 IBSI features of each volume.

    Parameters
    ----------
    volumes : Tensor of integers, (..., D, H, W)
        Gray levels in ``[0, levels)``. `glcm_mae.texture.fixed_bin_number` takes each slice's range
        unless it is given ``ndim=3``.
    levels : int
        Number of gray levels, 1 to 65,536 (to 4,096 but on a CPU with numba). The two
        normalised features depend on it.
    aggregation : str
        IBSI's names. "2d_averaged": features of each slice and each of its 4 directions, then
        their mean. "2d_slice_merged": of each slice's sum over directions, then their mean.
        "2.5d_direction_merged": of each direction's sum over slices, then their mean.
        "2.5d_merged": of the sum over slices and directions. "3d_averaged": of each of the 13
        directions in space, then their mean. "3d_merged": of their sum.
    distance : int
        Chebyshev distance in pixels: each direction is multiplied by it.
    mask : Tensor, broadcastable to ``volumes``, optional
        Region of interest: a pair counts only where both its pixels' values are not 0.

    Returns
    -------
    Tensor of float64, (..., 25)
        In the order of ``FEATURE_NAMES``. A mean leaves matrices without a pair out; NaN where
        none has one.

    Raises
    ------
    ValueError
        If the volumes are not integers in range, or the aggregation is unknown.

    References
    ----------
    Zwanenburg, Leger, Vallieres, Lock, "Image biomarker standardisation initiative",
    arXiv 1612.07003, 2016, section 3.6.

    Examples
    --------
    >>> from glcm_mae.texture import fixed_bin_number
    >>> scan = torch.randn(10, 20, 20) * 100
    >>> tissue = scan > -150
    >>> codes = fixed_bin_number(scan, 32, mask=tissue, ndim=3)
    >>> volume_features(codes, 32, "2.5d_merged", mask=tissue).shape
    torch.Size([25])
    """
    _check_choice(aggregation, get_args(VolumeAggregation))
    check_tensors(volumes=volumes, mask=mask)
    check_ndim(3, volumes=volumes)
    plane, way = aggregation.split("_", maxsplit=1)
    if plane == "2d":
        area = regions(volumes, levels, directions(2, distance), mask)
    else:
        in_slice = tuple((0, *step) for step in directions(2, distance))
        steps = in_slice if plane == "2.5d" else directions(3, distance)
        area = regions(volumes, levels, steps, mask)
    values = _features(area, merged=way in ("slice_merged", "merged"))  # (..., [D,] G, 25)
    if plane == "2d":
        values = values.flatten(-3, -2)
    return values.nanmean(dim=-2)


def tensor_features(area: Regions, merged: bool) -> Tensor:
    """Compute features from matrices: on any device, and the specification of the compiled loop.

    Parameters
    ----------
    area : Regions
        Gray levels (..., D, H, W) and all else that says which pairs count.
    merged : bool
        Whether the offsets' matrices are added up first.

    Returns
    -------
    Tensor of float64, (N, G, 25)
        G is 1 if ``merged``, else the number of offsets.
    """
    if area.levels > _MAX_TENSOR_LEVELS:
        raise ValueError(
            f"levels is {area.levels}: features beyond {_MAX_TENSOR_LEVELS} levels need the CPU and"
            " numba; quantize to fewer, or move the images to the CPU."
        )
    values = []
    for _, chunk in area.chunks(len(area.offsets) * area.levels**2):
        matrices = scatter_dense(chunk, symmetric=True, dtype=torch.int64)
        matrices = matrices.sum(dim=1, keepdim=True) if merged else matrices
        values.append(glcm_features(matrices.unflatten(-1, (area.levels, area.levels))))
    groups = 1 if merged else len(area.offsets)
    empty = torch.zeros(
        0, groups, len(FEATURE_NAMES), dtype=torch.float64, device=area.codes.device
    )
    return torch.cat([empty, *values])


@untraced
def _features(area: Regions, merged: bool) -> Tensor:
    if area.compiled:
        from .features_cpu import features  # imports numba, which takes half a second

        values = features(area, merged)
    else:
        values = tensor_features(area, merged)
    return values.view(*area.lead, *values.shape[-2:])


def _check_choice(aggregation: str, choices: tuple[str, ...]) -> None:
    if aggregation not in choices:
        raise ValueError(f"aggregation is {aggregation!r}: choose one of {', '.join(choices)}.")
