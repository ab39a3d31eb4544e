"""Where tensors of any strides lie in memory, as compiled loops read them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Stack:
    """Many volumes of one size in one memory, as a compiled loop reads them.

    Parameters
    ----------
    memory : ndarray, (M,)
        The memory from the first to the last element.
    starts : ndarray of int64, (N,)
        Where each volume begins in it.
    strides : (int, int, int)
        Steps in it from slice to slice, row to row and column to column.
    """

    memory: NDArray[np.generic]
    starts: NDArray[np.int64]
    strides: tuple[int, int, int]


def stack(volumes: Tensor) -> Stack:
    """Describe a tensor of any strides, (..., D, H, W) on the CPU, without a copy.

    Examples
    --------
    >>> import torch
    >>> images = torch.arange(6, dtype=torch.uint8).view(2, 1, 1, 3)
    >>> found = stack(images[..., ::2])
    >>> found.memory.tolist(), found.starts.tolist(), found.strides[2]
    ([0, 1, 2, 3, 4, 5], [0, 3], 2)
    """
    *lead, z, y, x = zip(volumes.shape, volumes.stride(), strict=True)
    if not volumes.numel():
        count = int(np.prod(volumes.shape[:-3]))
        return Stack(volumes.reshape(-1).numpy(), np.zeros(count, np.int64), (0, 0, 0))
    span = 1 + sum((size - 1) * step for size, step in (*lead, z, y, x))
    steps = (np.arange(size, dtype=np.int64) * step for size, step in lead)
    starts = reduce(np.add.outer, steps, np.zeros((), np.int64))
    memory = volumes.as_strided((span,), (1,)).numpy()
    return Stack(memory, starts.reshape(-1), (z[1], y[1], x[1]))
