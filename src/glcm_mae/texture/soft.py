"""Soft GLCMs as tensors: what a network can predict, and what a user can look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from .binning import Binning
from .distance import runs_compiled
from .inputs import check_ndim, check_tensors, region_of
from .offsets import Offset, check_offsets
from .soft_tensors import Counting, differentiable_matrices, looked_up_matrices
from .transforming import is_transforming
from .untraced import untraced

# Up to so many bins a pixel the compiled loops are ahead: of products of weights that are looked
# up, and, with a gradient or a region, of products of weights that are computed.
_MOST_COMPILED, _MOST_DIFFERENTIATED = 16, 100


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
    autocast; where tensors and no compiled loops do the work (see below), derivatives taken inside
    of an autocast lose precision: take them outside, as PyTorch advises.

    `glcm_features` of it are features with a gradient, of the image as the kernel blurs it: where
    their values matter, take many levels or a narrow kernel. (Of a constant image, whose contrast
    is 0, they have a contrast of 2.2 with 16 levels and the Gaussian of one bin, 0.7 with the
    B-spline, and 0.5 at most with the linear kernel.) On a GPU, in `torch.func`, with kernels over
    more than 100 bins, and for second and forward derivatives, gradients and masks take time and
    memory that grow with the levels: each pixel then has a weight at each of them.

    Parameters
    ----------
    patches : Tensor of float, (..., p, q)
        Intensities.
    binning : Binning
        Levels, kernel, bandwidth and range, 0 to 1 if none is given: values beyond count as its
        end, without a gradient.
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
        matrices = _matrices(patches, inside, Counting(binning, pairs, normalized))
    if symmetric:
        matrices = (matrices + matrices.mT) / (2 if normalized else 1)
    poison = (patches.detach() * 0).sum(dim=(-2, -1))  # NaN has no gray level, nor has infinity
    shape = *patches.shape[:-2], len(pairs), binning.levels, binning.levels
    return matrices.view(shape) * (1 + poison)[..., None, None, None]  # so the gradient has it, too


def _matrices(patches: Tensor, inside: Tensor | None, counting: Counting) -> Tensor:
    """Compute them by the fastest form, as (M, O, L, L)."""
    every = patches.reshape(-1, *patches.shape[-2:])
    region = None if inside is None else inside.reshape(every.shape)
    plain = inside is None and not _is_differentiated(patches)
    most = _MOST_COMPILED if plain else _MOST_DIFFERENTIATED
    narrow = min(counting.binning.n_taps, counting.binning.levels) <= most
    if narrow and runs_compiled(patches.device) and not _is_transformed(patches):
        return untraced(_Compiled.apply)(every, region, counting)
    if plain:
        return untraced(looked_up_matrices)(every, counting)
    return differentiable_matrices(every, region, counting)


class _Compiled(torch.autograd.Function):
    """Matrices (M, O, L, L) of patches (M, p, q), and their gradient, by compiled loops.

    They import numba when they are first needed, which takes half a second.
    """

    @staticmethod
    def forward(ctx: Any, patches: Tensor, inside: Tensor | None, counting: Counting) -> Tensor:
        from .soft_cpu import soft_matrices

        ctx.save_for_backward(patches, inside)
        ctx.counting = counting
        return soft_matrices(patches.detach(), inside, counting)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        from .soft_cpu import soft_gradient

        patches, inside = ctx.saved_tensors
        again = torch.is_grad_enabled()  # somebody may differentiate what is returned
        if not again and torch._C._has_storage(upstream[0]):  # else it stands for many at once
            gradient = soft_gradient(upstream[0], patches.detach(), inside, ctx.counting)
            return gradient, None, None
        with torch.enable_grad(), torch.autocast(patches.device.type, enabled=False):
            matrices = differentiable_matrices(patches, inside, ctx.counting)
            gradients = torch.autograd.grad(matrices, patches, upstream, create_graph=again)
        return gradients[0], None, None


def _is_transformed(patches: Tensor) -> bool:
    """Whether somebody looks on whom compiled loops would lose: torch.func, forward derivatives."""
    tangent = forward_ad.unpack_dual(patches).tangent
    return tangent is not None or is_transforming()


def _is_differentiated(patches: Tensor) -> bool:
    """Whether a derivative is asked for, backward or forward."""
    backward = patches.requires_grad and torch.is_grad_enabled()
    return backward or _is_transformed(patches)
