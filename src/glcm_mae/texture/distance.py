"""The GLCM distance with its gradient, by the fastest implementation that the device has."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import torch
from torch import Tensor

from .comparison import Comparison
from .numba_here import has_numba
from .patches import Distance, Patches, compare_cut
from .sparse import matmul_distance, sparse_distance
from .untraced import untraced

# Working memory of one chunk, in numbers: the scratch matrices, and the entries of the pairs.
_CHUNK = 2**21


def glcm_distance(
    prediction: Tensor,
    target: Tensor,
    patches: Patches,
    comparisons: Sequence[tuple[Comparison, float]],
) -> Distance:
    """Compare groups of patches by their soft GLCMs; see `glcm_mae.texture.dense`.

    Parameters
    ----------
    prediction, target : Tensor of float32 or float64, (B, H, W)
        Planes.
    patches : Patches
        What of them is compared.
    comparisons : sequence of (Comparison, float)
        How, and how much the distance so found counts in the sum.

    Returns
    -------
    Distance

    Examples
    --------
    >>> from .binning import Binning
    >>> planes = torch.rand(3, 8, 8)
    >>> one = torch.tensor([[0], [1], [2]])  # each a group
    >>> patches = Patches(one, one >= 0, (1, 1), (8, 8))
    >>> comparison = Comparison(Binning(levels=8), ((0, 1), (1, 0)))
    >>> glcm_distance(planes, planes, patches, [(comparison, 1.0)]).value < 1e-20
    tensor([True, True, True])
    """
    if not patches.member.numel():
        return Distance(prediction.new_zeros(len(patches.member)), torch.zeros_like(prediction))
    if runs_compiled(prediction.device):
        from .fused_cpu import fused_distance  # imports numba, which takes half a second

        return fused_distance(prediction, target, patches, comparisons)

    def compare(p: Tensor, t: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = p.new_zeros(len(p)), torch.zeros_like(p)
        for comparison, worth in comparisons:
            found = _by_device(p, t, valid, comparison)
            value.add_(found[0], alpha=worth)
            gradient.add_(found[1], alpha=worth)
        return value, gradient

    return compare_cut(compare, prediction, target, patches)


def runs_compiled(device: torch.device) -> bool:
    """Whether the compiled loop serves this device: it needs numba and the CPU."""
    return device.type == "cpu" and untraced(has_numba)()


def _has_triton(pixels: Tensor) -> bool:
    """Whether the CUDA kernel can run: it needs Triton, a CUDA device and float32."""
    is_cuda = pixels.device.type == "cuda" and pixels.dtype == torch.float32
    return is_cuda and find_spec("triton") is not None


def _by_device(
    prediction: Tensor, target: Tensor, valid: Tensor, comparison: Comparison
) -> tuple[Tensor, Tensor]:
    """Compare patches cut out (G, M, p, q) by the CUDA kernel, or by tensors."""
    if _has_triton(prediction):
        from . import fused_cuda

        if fused_cuda.supports(comparison.binning):
            return fused_cuda.fused_distance(prediction, target, valid.sum(dim=1), comparison)
    return _in_chunks(prediction, target, valid.to(prediction.dtype), comparison)


def _in_chunks(
    prediction: Tensor, target: Tensor, valid: Tensor, comparison: Comparison
) -> tuple[Tensor, Tensor]:
    """Run a tensor form on a bounded number of groups at a time."""
    binning = comparison.binning
    distance, gradient = prediction.new_empty(len(prediction)), torch.empty_like(prediction)
    # Matrix products do L * L steps a pair, scattering T * T slower ones.
    by_matmul = binning.n_taps**2 > binning.levels
    per_pixel = binning.levels if by_matmul else binning.n_taps**2
    per_group = max(prediction[:1].numel() * per_pixel, binning.levels**2, 1)
    step = max(1, min(len(prediction), _CHUNK // per_group))
    scratch = prediction.new_zeros(2, 0 if by_matmul else step, binning.levels**2)
    for start in range(0, len(prediction), step):
        part = slice(start, start + step)
        chunk = prediction[part], target[part], valid[part], comparison
        if by_matmul:
            distance[part], gradient[part] = matmul_distance(*chunk)
        else:
            distance[part], gradient[part] = sparse_distance(*chunk, scratch)
    return distance, gradient
