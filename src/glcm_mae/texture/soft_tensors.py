"""Soft GLCMs by tensor operations: on every device, for kernels of any width, differentiable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .binning import Binning
from .offsets import Offset, pair_views

# A table of the kernel has this many steps a bandwidth: linear interpolation between them is then
# within 2e-5 of the kernel. (The linear kernel gets no table, for it has corners, and neither does
# float64, which is asked for to be exact.)
_STEPS_PER_BANDWIDTH = 128
_MOST_NODES = 2**13

# Weights that are held at a time. A CPU's cache wants few; a GPU wants more, and has the room.
_CHUNK, _CHUNK_OF_GPU = 2**18, 2**26


class Counting(NamedTuple):
    """How pairs are counted: arguments of `glcm_mae.texture.soft_glcm`, checked."""

    binning: Binning
    offsets: Sequence[Offset]
    normalized: bool


def differentiable_matrices(patches: Tensor, inside: Tensor | None, counting: Counting) -> Tensor:
    """Do as `glcm_mae.texture.soft_glcm`, by a weight of each pixel at each level.

    Parameters
    ----------
    patches : Tensor of float32 or float64, (..., p, q)
        Intensities.
    inside : Tensor of bool, like ``patches``, optional
        Region of interest; outside of it patches are finite.
    counting : Counting
        How.

    Returns
    -------
    Tensor, (..., O, L, L)
    """
    binning, offsets, normalized = counting
    phi = _weights_of_all_levels(patches, binning)
    if inside is None:
        return _matrices(phi, offsets, normalized)
    matrices = _matrices(phi * inside[..., None], offsets, normalized=False)
    if not normalized:
        return matrices
    pairs = [pair_views(inside, offset) for offset in offsets]
    counts = torch.stack([(a & b).sum(dim=(-2, -1)) for a, b in pairs], dim=-1)  # (..., O)
    counts = counts[..., None, None]
    # Divided by 0 an offset without a pair would make the gradient of the others NaN, too.
    return (matrices / counts.clamp_min(1)).masked_fill(counts == 0, torch.nan)


def looked_up_matrices(patches: Tensor, counting: Counting) -> Tensor:
    """Do so of whole patches (M, p, q), faster and without a gradient: (M, O, L, L)."""
    binning, offsets, normalized = counting
    nodes = _nodes(binning)
    smooth = binning.kernel != "linear" and patches.dtype != torch.float64
    use_table = smooth and nodes <= min(_MOST_NODES, patches.numel())
    table = _table(binning, nodes, patches) if use_table else None
    weights = _CHUNK if patches.device.type == "cpu" else _CHUNK_OF_GPU
    step = max(1, weights // max(1, patches[:1].numel() * binning.levels))
    return torch.cat(
        [
            _matrices(
                _weights_of_all_levels(part, binning)
                if table is None
                else _looked_up(part, binning, table),
                offsets,
                normalized,
            )
            for part in patches.split(step)
        ]
    )


def _matrices(phi: Tensor, offsets: Sequence[Offset], normalized: bool) -> Tensor:
    """Sum the products over pixel pairs: (..., p, q, L) to (..., O, L, L)."""
    phi = phi.movedim(-1, -3)  # (..., L, p, q)
    matrices = []
    for offset in offsets:
        first, second = pair_views(phi, offset)
        matrix = first.flatten(-2) @ second.flatten(-2).mT  # (..., L, L)
        pairs = first.shape[-2] * first.shape[-1]
        matrices.append(matrix / pairs if normalized else matrix)
    return torch.stack(matrices, dim=-3)


def _weights_of_all_levels(patches: Tensor, binning: Binning) -> Tensor:
    """Weight of each pixel at each level: (..., p, q) to (..., p, q, L)."""
    bins, weight = binning.weights(patches)
    phi = weight.new_zeros(*patches.shape, binning.levels)
    return phi.scatter_add(-1, bins, weight)


def _nodes(binning: Binning) -> int:
    low, high = binning.value_range
    return math.ceil(_STEPS_PER_BANDWIDTH * (high - low) / binning.scale)


def _table(binning: Binning, nodes: int, like: Tensor) -> Tensor:
    """Weights at evenly spaced gray levels, and how they go on to the next: (nodes + 1, 2 L)."""
    grid = torch.linspace(*binning.value_range, nodes + 1, dtype=like.dtype, device=like.device)
    weights = _weights_of_all_levels(grid, binning)
    rises = F.pad(torch.diff(weights, dim=0), (0, 0, 0, 1))
    return torch.cat([weights, rises], dim=1)


def _looked_up(patches: Tensor, binning: Binning, table: Tensor) -> Tensor:
    """Do as `_weights_of_all_levels` from a table of the kernel, faster and without a gradient."""
    low, high = binning.value_range
    nodes = len(table) - 1
    place = (patches.detach().clamp(low, high) - low) * (nodes / (high - low))
    node = place.nan_to_num(0.0).long().clamp_max(nodes - 1)
    weight, rise = F.embedding(node, table).chunk(2, dim=-1)
    return torch.addcmul(weight, (place - node)[..., None], rise)
