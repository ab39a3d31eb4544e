"""Soft GLCMs and their gradient as compiled loops for the CPU (numba)."""

from __future__ import annotations

# mypy: allow-untyped-defs
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .compiling import summing
from .pairs_cpu import count_pairs, gather_pairs, pair_runs, runs_inside, scatter_pairs
from .soft_tensors import Counting
from .threads import in_threads
from .weights_cpu import empty_windows, fill_windows, kernel_tables, window_blocks


@summing
def _own_runs(pairs, inside, m, normalized):
    """Find the runs of a patch's pairs, how far off the second is, and the share of each pair.

    ``inside`` (M, p, q) is empty where all pixels count.
    """
    runs, step = pairs
    if len(inside):
        runs = runs_inside(runs, step, inside[m].reshape(-1))
    return runs, step, (1.0 / count_pairs(runs) if normalized else 1.0)


@summing
def _fill_matrices(patches, inside, offsets, normalized, binning, tables, size, matrices):
    """Fill ``matrices`` (M, O, L, L) with those of ``patches`` (M, p, q)."""
    _, height, breadth = patches.shape
    levels = binning[1]
    stride = levels + size[1]  # a window may reach beyond the last bin, with weight 0
    scratch = np.zeros(stride * stride)
    square = scratch.reshape(stride, stride)
    windows = empty_windows(height * breadth, size)
    pairs = [pair_runs(offset, 1, height, breadth) for offset in offsets]
    for m in range(len(patches)):
        fill_windows(patches[m].reshape(-1), binning, tables, windows)
        for o in range(len(pairs)):
            runs, step, share = _own_runs(pairs[o], inside, m, normalized)
            scatter_pairs(scratch, stride, runs, step, windows, share)
            # A cubic may fall short of a weight of nothing by 1e-9, and roots are taken of entries.
            matrices[m, o] = np.maximum(square[:levels, :levels], 0.0)
            square[:] = 0.0
            if normalized and not len(runs):
                matrices[m, o] = np.nan


@summing
def _fill_gradient(patches, inside, offsets, normalized, binning, tables, size, upstream, gradient):
    """Fill ``gradient`` (M, p, q), given that by the matrices, (M, O, L, L)."""
    _, height, breadth = patches.shape
    levels = binning[1]
    stride = levels + size[1]
    scratch = np.zeros(stride * stride)
    square = scratch.reshape(stride, stride)
    windows = empty_windows(height * breadth, size)
    by_pixel = np.empty(height * breadth)
    pairs = [pair_runs(offset, 1, height, breadth) for offset in offsets]
    for m in range(len(patches)):
        fill_windows(patches[m].reshape(-1), binning, tables, windows)
        by_pixel[:] = 0.0
        for o in range(len(pairs)):
            runs, step, share = _own_runs(pairs[o], inside, m, normalized)
            square[:levels, :levels] = upstream[m, o]
            gather_pairs(scratch, stride, runs, step, windows, share, by_pixel)
        gradient[m] = by_pixel.reshape(height, breadth)


def soft_matrices(patches: Tensor, inside: Tensor | None, counting: Counting) -> Tensor:
    """Do as `glcm_mae.texture.soft_glcm`, on as many threads as torch uses.

    Each thread holds the weights of one patch, some 130 to 280 bytes a pixel.

    Parameters
    ----------
    patches : Tensor of float32 or float64 on the CPU, (M, p, q)
        Intensities.
    inside : Tensor of bool, like ``patches``, optional
        Region of interest; outside of it patches are finite.
    counting : Counting
        How.

    Returns
    -------
    Tensor, (M, O, L, L)
    """
    pixels, region, how = _for_loops(patches, inside, counting)
    levels = counting.binning.levels
    matrices = np.empty((len(pixels), len(counting.offsets), levels, levels), pixels.dtype)

    def work(part: slice) -> None:
        _fill_matrices(pixels[part], region[part], *how, matrices[part])

    in_threads(work, len(pixels))
    return torch.from_numpy(matrices)


def soft_gradient(
    upstream: Tensor, patches: Tensor, inside: Tensor | None, counting: Counting
) -> Tensor:
    """Gradient of a function of the matrices by the patches.

    Parameters
    ----------
    upstream : Tensor, (M, O, L, L)
        The function's gradient by the matrices.
    patches, inside, counting
        As for `soft_matrices`.

    Returns
    -------
    Tensor, (M, p, q)
    """
    pixels, region, how = _for_loops(patches, inside, counting)
    slopes, gradient = upstream.contiguous().numpy(), np.empty_like(pixels)

    def work(part: slice) -> None:
        _fill_gradient(pixels[part], region[part], *how, slopes[part], gradient[part])

    in_threads(work, len(pixels))
    return torch.from_numpy(gradient)


def _for_loops(
    patches: Tensor, inside: Tensor | None, counting: Counting
) -> tuple[Any, Any, tuple[Any, ...]]:
    """Bring arguments to the form that the loops take."""
    region = torch.empty(0, *patches.shape[1:], dtype=torch.bool) if inside is None else inside
    binning, offsets, normalized = counting
    steps = np.array(offsets, dtype=np.int64)
    how = steps, normalized, *kernel_tables(binning), window_blocks(binning)
    return patches.contiguous().numpy(), region.contiguous().numpy(), how
