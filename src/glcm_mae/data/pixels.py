"""The pixels of many images, whether memory holds them or a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from glcm_mae.errors import UserError

__all__ = ["Picked", "PixelFile", "Pixels", "UnusableCache", "pick"]


_AT_ONCE = 64  # images of those that are taken one after another


class Pixels(Protocol):
    """Images (N, C, H, W) float32 in [0, 1], of which some are taken at a time.

    A tensor is one, `Picked` is another. Whatever is taken of it is a tensor; to take all, of a
    set that may be larger than memory, is for who knows that it is not.
    """

    @property
    def shape(self) -> torch.Size:
        """(N, C, H, W)."""

    def __len__(self) -> int:
        """Give N."""

    def __getitem__(self, index: Any, /) -> Tensor:
        """Take the images at some positions: a number, a slice, or an array of numbers."""

    def __iter__(self) -> Iterator[Tensor]:
        """Take each, one after another."""

    def split(self, size: int, /) -> Iterable[Tensor]:
        """Take all, in their order, so many at a time."""


class UnusableCache(UserError):  # noqa: N818 (named after what is found)
    """A folder that cannot keep images, or does not hold what was kept."""


class PixelFile:
    """Images in a file of NumPy's, read from it each time that they are asked for.

    Not mapped into memory: systems count what is mapped as memory that a process takes, its pages
    come from the disk few at a time (measured: a tenth as many images a second), and a file that
    has been cut off would end the process.

    Parameters
    ----------
    path : Path
        A file as ``numpy.save`` writes it, of float32, (M, C, H, W), under whatever name.

    Raises
    ------
    UnusableCache
        If it is none, or not whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            stored = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise self.damaged(str(error)) from error
        if stored.dtype != np.float32 or stored.ndim != 4 or not stored.flags.c_contiguous:
            raise self.damaged(f"it holds {stored.dtype} {stored.shape}")
        self.shape = torch.Size(stored.shape)
        self._start, self._size = stored.offset, stored[:1].nbytes

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Read the images in some rows (B,)."""
        images = torch.empty((len(rows), *self.shape[1:]))
        try:
            with self.path.open("rb") as file:
                for row, image in zip(rows.tolist(), images.numpy(), strict=True):
                    file.seek(self._start + row * self._size)
                    if file.readinto(image) != self._size:
                        raise self.damaged("it has been cut off")
        except OSError as error:
            raise UnusableCache(
                f"{self.path} can no longer be read ({error.strerror}): leave it where it is while "
                "a stage is at work, and start again (a training goes on by --resume true)."
            ) from error
        return images

    def damaged(self, reason: str) -> UnusableCache:
        """Say what is wrong with it."""
        return UnusableCache(f"{self.path} is damaged ({reason}): remove {self.path.parent}.")


class Picked:
    """Some images of a larger set, copied from it only when they are asked for.

    Parameters
    ----------
    stored : Tensor or PixelFile, (M, C, H, W)
        The larger set.
    rows : ndarray of int, (N,)
        Which images, in which order.

    Examples
    --------
    >>> picked = Picked(torch.arange(4.0).view(4, 1, 1, 1), np.array([3, 0, 1]))
    >>> picked.shape, picked[:2].flatten().tolist(), picked[-1].item()
    (torch.Size([3, 1, 1, 1]), [3.0, 0.0], 1.0)
    """

    def __init__(self, stored: Tensor | PixelFile, rows: np.ndarray) -> None:
        self.stored = stored
        self.rows = torch.from_numpy(np.asarray(rows, dtype=np.int64))
        self.shape = torch.Size((len(rows), *stored.shape[1:]))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any, /) -> Tensor:
        rows = self.rows[index]
        taken = self.stored[rows.reshape(-1)]  # never by one number: that would be a view
        return taken if rows.ndim else taken[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (image for part in self.split(_AT_ONCE) for image in part)

    def split(self, size: int, /) -> Iterator[Tensor]:
        """Take all, in their order, so many at a time."""
        return (self.stored[rows] for rows in self.rows.split(size))


def pick(pixels: Pixels, rows: np.ndarray) -> Picked:
    """Pick some of the images, without a copy.

    Parameters
    ----------
    pixels : Tensor or Picked, (M, C, H, W)
        Images.
    rows : ndarray of int, (N,)
        Which, in which order.

    Returns
    -------
    Picked

    Examples
    --------
    >>> evens = pick(torch.arange(6.0).view(6, 1, 1, 1), np.array([0, 2, 4]))
    >>> pick(evens, np.array([2]))[0].item()
    4.0
    """
    if isinstance(pixels, Picked):
        return Picked(pixels.stored, pixels.rows.numpy()[rows])
    return Picked(pixels[:], rows)
