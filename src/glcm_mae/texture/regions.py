"""What the exact forms count over: gray levels, with or without a region of interest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .inputs import check_levels, check_tensors, region_of, warn_of_channels_last
from .numba_here import has_numba
from .offsets import whole_offsets

# Cells and pixels that the tensor forms hold at a time.
_CHUNK = 2**22

# What the compiled loops read without a copy.
_READ_AS_IS = (
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
    *(torch.int8, torch.int16, torch.int32, torch.int64),
)


@dataclass(frozen=True)
class Regions:
    """Checked input of the exact forms.

    Parameters
    ----------
    codes : Tensor of integers, (..., D, H, W)
        Gray levels; an image is a volume of one slice.
    mask : Tensor of bool like ``codes``, or None
        The region of interest.
    levels : int
        Number of gray levels L.
    offsets : tuple of (dz, dy, dx)
        From the first pixel of a pair to the second.
    """

    codes: Tensor
    mask: Tensor | None
    levels: int
    offsets: tuple[tuple[int, ...], ...]

    @property
    def lead(self) -> torch.Size:
        """Shape of the batch."""
        return self.codes.shape[:-3]

    @property
    def masked(self) -> bool:
        """Whether there is a region of interest."""
        return self.mask is not None

    @property
    def compiled(self) -> bool:
        """Whether the compiled loops can read them: on the CPU, where numba is installed."""
        return self.codes.device.type == "cpu" and has_numba()

    def pairs(self, offset: tuple[int, ...]) -> int:
        """Count the pairs of one offset that fit into one volume."""
        sizes = zip(self.codes.shape[-3:], offset, strict=True)
        return int(np.prod([max(0, size - abs(step)) for size, step in sizes]))

    def runs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Say where in a volume's memory pairs stand side by side.

        Returns
        -------
        runs : ndarray of int64, (R, 3)
            Flat index of the first pixel of a run's first pair, number of pairs, and distance to
            their second pixels.
        ends : ndarray of int64, (O + 1,)
            The runs of offset o are those from ``ends[o]`` to ``ends[o + 1]``.

        Examples
        --------
        >>> area = regions(torch.zeros(2, 3).int(), 8, [(0, 1), (1, 0)], None)
        >>> area.runs()[0].tolist()  # two of 2 pairs, and one of 3
        [[0, 2, 1], [3, 2, 1], [0, 3, 3]]
        """
        depth, height, width = self.codes.shape[-3:]
        parts = []
        for dz, dy, dx in self.offsets:
            z = np.arange(max(0, -dz), depth - max(0, dz))
            y = np.arange(max(0, -dy), height - max(0, dy))
            length = max(0, width - abs(dx))
            if dx == 0 and len(y):  # the rows of a slice follow one another
                y, length = y[:1], width * len(y)
            starts = (z[:, None] * height + y) * width + max(0, -dx)
            step = (dz * height + dy) * width + dx
            found = np.stack(np.broadcast_arrays(starts.ravel(), length, step), axis=1)
            parts.append(found[: len(found) if length else 0].astype(np.int64))
        ends = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        return np.concatenate(parts), ends

    def chunks(self, cells: int = 0) -> Iterator[tuple[slice, Regions]]:
        """Part the batch, made flat, so that pixels, and ``cells`` a volume, fit into memory."""
        codes = self.codes.reshape(self.lead.numel(), *self.codes.shape[-3:])
        mask = None if self.mask is None else self.mask.reshape(codes.shape)
        step = max(1, _CHUNK // max(1, cells, codes.shape[-3:].numel()))
        for start in range(0, len(codes), step):
            part = slice(start, start + step)
            own_mask = None if mask is None else mask[part]
            yield part, Regions(codes[part], own_mask, self.levels, self.offsets)

    def check_levels(self) -> None:
        """Refuse gray levels of the region that are out of range."""
        codes = self.codes if self.mask is None else self.codes[self.mask]
        if codes.numel() and not (int(codes.min()) >= 0 and int(codes.max()) < self.levels):
            raise self.out_of_range()

    def out_of_range(self) -> ValueError:
        """Say that a gray level is out of range."""
        return ValueError(
            f"images hold gray levels outside 0 to {self.levels - 1}: raise levels, or quantize "
            "them first."
        )


def regions(
    images: Tensor,
    levels: int,
    offsets: Sequence[tuple[int, ...]],
    mask: Tensor | None,
    *,
    ndims: tuple[int, ...] = (2, 3),
) -> Regions:
    """Check what all exact forms take, and bring images and offsets to three dimensions.

    Parameters
    ----------
    images : Tensor of integers, (..., H, W), or (..., D, H, W) where offsets have three components
        Gray levels.
    levels : int
        Number of gray levels, 1 to 65,536.
    offsets : sequence of (dy, dx) or (dz, dy, dx)
        At least one, all of one length.
    mask : Tensor, broadcastable to ``images``, or None
        The region of interest: what is not 0.
    ndims : tuple of int
        How many components offsets may have.

    Returns
    -------
    Regions

    Raises
    ------
    TypeError, ValueError
        If anything is not as said above. Gray levels are checked by those who read them.

    Warns
    -----
    UserWarning
        If images look like one with its channels last.
    """
    check_tensors(images=images, mask=mask)
    if images.is_floating_point() or images.is_complex():
        raise ValueError(f"images are {images.dtype}: quantize them to integer levels first.")
    if images.dtype == torch.bool:
        raise ValueError("images are torch.bool: .to(torch.uint8) makes two gray levels of them.")
    levels = check_levels(levels)
    whole = whole_offsets(offsets, *ndims)
    ndim = len(whole[0])
    if images.ndim < ndim:
        raise ValueError(f"images are {tuple(images.shape)}: these offsets need {ndim} dimensions.")
    if mask is not None:
        mask = region_of(mask, images)
    if ndim == 2:
        warn_of_channels_last(images)
        images, mask = images.unsqueeze(-3), None if mask is None else mask.unsqueeze(-3)
    if images.dtype not in _READ_AS_IS:
        images = images.long()
    steps = tuple((0,) * (3 - ndim) + offset for offset in whole)
    return Regions(images, mask, levels, steps)
