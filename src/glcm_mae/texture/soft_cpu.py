"""Soft GLCMs as one compiled loop for the CPU (numba), without a gradient."""

from __future__ import annotations

# mypy: allow-untyped-defs
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .binning import Binning
from .compiling import summing
from .offsets import Offset
from .pairs_cpu import count_pairs, pair_runs, scatter_pairs
from .threads import in_threads
from .weights_cpu import empty_windows, fill_windows, kernel_tables, window_blocks


@summing
def _fill_matrices(patches, offsets, normalized, binning, tables, size, matrices):
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
        for o, (runs, step) in enumerate(pairs):
            share = 1.0 / count_pairs(runs) if normalized else 1.0
            scatter_pairs(scratch, stride, runs, step, windows, share)
            # A cubic may fall short of a weight of nothing by 1e-9, and roots are taken of entries.
            matrices[m, o] = np.maximum(square[:levels, :levels], 0.0)
            square[:] = 0.0


def soft_matrices(
    patches: Tensor, binning: Binning, offsets: Sequence[Offset], normalized: bool
) -> Tensor:
    """Do as `glcm_mae.texture.soft_glcm`, on as many threads as torch uses.

    Each thread holds the weights of one patch, some 130 to 280 bytes a pixel.

    Parameters
    ----------
    patches : Tensor of float32 or float64 on the CPU, (M, p, q)
        Intensities.
    binning, offsets, normalized
        As for `glcm_mae.texture.soft_glcm`.

    Returns
    -------
    Tensor, (M, O, L, L)
    """
    pixels = patches.contiguous().numpy()
    matrices = np.empty((len(pixels), len(offsets), binning.levels, binning.levels), pixels.dtype)
    steps = np.array(offsets, dtype=np.int64)
    how = steps, normalized, *kernel_tables(binning), window_blocks(binning)

    def work(part: slice) -> None:
        _fill_matrices(pixels[part], *how, matrices[part])

    in_threads(work, len(pixels))
    return torch.from_numpy(matrices)
