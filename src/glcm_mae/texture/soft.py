"""Soft GLCMs as tensors: what a network can predict, and what a user can look at."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F

from .binning import Binning
from .distance import runs_compiled
from .inputs import check_ndim, check_tensors, region_of
from .offsets import Offset, check_offsets, pair_views
from .untraced import untraced

# A table of the kernel has this many steps a bandwidth: linear interpolation between them is then
# within 2e-5 of the kernel. (The linear kernel gets no table, for it has corners, and neither does
# float64, which is asked for to be exact.)
_STEPS_PER_BANDWIDTH = 128
_MOST_NODES = 2**13

# Weights that are held at a time. A CPU's cache wants few; a GPU wants more, and has the room.
_CHUNK, _CHUNK_OF_GPU = 2**18, 2**26

# Up to so many bins a pixel the compiled loops are ahead, beyond it matrix products.
_MOST_COMPILED = 16


def soft_glcm(
    patches: Tensor,
    binning: Binning,
    offsets: Sequence[Offset] = ((0, 1), (1, 0)),
    *,
    mask: Tensor | None = None,
    symmetric: bool = False,
    normalized: bool = True,
) -> Tensor:
    """Soft gray-level co-occurrence matrix of each patch or image; differentiable.

    ``G[i, j]`` is the sum over the pixel pairs one offset apart of the first pixel's weight at
    level i times the second's at level j. Runs in float32 (float64 for float64 input) whatever the
    autocast.

    `glcm_features` of it are features with a gradient, of the image as the kernel blurs it: where
    their values matter, take many levels or a narrow kernel. (Of a constant image, whose contrast
    is 0, they have a contrast of 2.2 with 16 levels and the Gaussian of one bin, 0.7 with the
    B-spline, and 0.5 at most with the linear kernel.) With a gradient or a mask, time and memory
    grow with the levels: each pixel then has a weight at each of them.

    Parameters
    ----------
    patches : Tensor of float, (..., p, q)
        Intensities.
    binning : Binning
        Levels, kernel, bandwidth and range.
    offsets : sequence of (dy, dx)
        Pixel offsets.
    mask : Tensor, broadcastable to ``patches``, optional
        Region of interest: a pair counts only where both its pixels' values are not 0. Outside,
        values have no meaning.
    symmetric : bool
        Count every pair in both directions, as the IBSI features are defined.
    normalized : bool
        Divide by the number of pairs, so that the entries are the joint probabilities of the two
        gray levels (where the weights of a pixel sum to one: see `Binning`).

    Returns
    -------
    Tensor, (..., O, L, L)
        NaN where a patch holds NaN or infinity, and so is the gradient of its finite pixels; and,
        if normalized, where a region holds no pair.

    Raises
    ------
    TypeError, ValueError
        If the patches are no tensor of floating point, the binning is none, the mask does not fit,
        or an offset leaves no pair inside a patch.

    Examples
    --------
    >>> checker = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> soft_glcm(checker, Binning(2, "sigmoid"), [(0, 1)]).round(decimals=3).tolist()
    [[[0.0, 0.5], [0.5, 0.0]]]
    """
    check_tensors(patches=patches, mask=mask)
    if not patches.is_floating_point():
        raise ValueError(
            f"patches are {patches.dtype}: bring them to floating point, on the scale of "
            "value_range."
        )
    check_ndim(2, patches=patches)
    if not isinstance(binning, Binning):
        raise TypeError(f"binning is {binning!r}: give a Binning, such as Binning(levels=8).")
    pairs = check_offsets(offsets, *patches.shape[-2:])
    patches = patches if patches.dtype == torch.float64 else patches.float()
    inside = None if mask is None else region_of(mask, patches)
    if inside is not None:
        patches = patches.masked_fill(~inside, binning.middle)  # a NaN there is none of ours
    with torch.autocast(patches.device.type, enabled=False):
        if inside is not None:
            matrices = _matrices_of_region(patches, inside, binning, pairs, normalized)
        elif _is_differentiated(patches):
            matrices = _matrices(_weights_of_all_levels(patches, binning), pairs, normalized)
        else:
            every = patches.detach().reshape(-1, *patches.shape[-2:])
            matrices = _matrices_without_gradient(every, binning, pairs, normalized)
    if symmetric:
        matrices = (matrices + matrices.mT) / (2 if normalized else 1)
    poison = (patches.detach() * 0).sum(dim=(-2, -1))  # NaN has no gray level, nor has infinity
    shape = *patches.shape[:-2], len(pairs), binning.levels, binning.levels
    return matrices.view(shape) * (1 + poison)[..., None, None, None]  # so the gradient has it, too


def _is_differentiated(patches: Tensor) -> bool:
    """Whether a derivative is asked for, backward or forward."""
    backward = patches.requires_grad and torch.is_grad_enabled()
    return backward or forward_ad.unpack_dual(patches).tangent is not None


@untraced
def _matrices_without_gradient(
    patches: Tensor, binning: Binning, offsets: Sequence[Offset], normalized: bool
) -> Tensor:
    """Do so for patches (M, p, q), faster: (M, O, L, L)."""
    few = min(binning.n_taps, binning.levels) <= _MOST_COMPILED
    if few and runs_compiled(patches.device):
        from .soft_cpu import soft_matrices  # imports numba, which takes half a second

        return soft_matrices(patches, binning, offsets, normalized)
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


def _matrices_of_region(
    patches: Tensor, inside: Tensor, binning: Binning, offsets: Sequence[Offset], normalized: bool
) -> Tensor:
    """Do so where both pixels lie inside: (..., p, q) to (..., O, L, L)."""
    phi = _weights_of_all_levels(patches, binning) * inside[..., None]
    matrices = _matrices(phi, offsets, normalized=False)
    if not normalized:
        return matrices
    pairs = [pair_views(inside, offset) for offset in offsets]
    counts = torch.stack([(a & b).sum(dim=(-2, -1)) for a, b in pairs], dim=-1)  # (..., O)
    counts = counts[..., None, None]
    # Divided by 0 an offset without a pair would make the gradient of the others NaN, too.
    return (matrices / counts.clamp_min(1)).masked_fill(counts == 0, torch.nan)


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
