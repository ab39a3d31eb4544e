"""Patches of planes that are compared in groups: where they lie, and how they are cut out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor


class Distance(NamedTuple):
    """How far groups of patches lie apart, and which way is nearer.

    Attributes
    ----------
    value : Tensor, (G,)
        Distance of each group; NaN if one of its pixels is NaN or infinite, and has no gray level.
    gradient : Tensor, (B, H, W)
        Its derivative by the prediction's pixels: 0 in patches that do not count, NaN in those of a
        group without a value.
    """

    value: Tensor
    gradient: Tensor


@dataclass(frozen=True, eq=False)
class Patches:
    """The patches of planes (B, H, W) that are compared, in groups.

    Each patch is in one group at most, and each group has one at least.

    Parameters
    ----------
    member : Tensor of int64, (G, M)
        Index of each group's patches among those of all planes, row by row of the grid; any of the
        group's where it has fewer than M.
    valid : Tensor of bool, (G, M)
        True where there is a member: the first ones of a group.
    grid : (int, int)
        Patches per column and row of a plane.
    shape : (int, int)
        Height and width of a patch, in pixels.

    Examples
    --------
    >>> planes = torch.arange(8.0).view(1, 2, 4)  # two patches of 2 x 2 pixels
    >>> patches = Patches(torch.tensor([[1]]), torch.tensor([[True]]), (1, 2), (2, 2))
    >>> patches.cut(planes).tolist()
    [[[[2.0, 3.0], [6.0, 7.0]]]]
    >>> patches.paste(patches.cut(planes), 1).tolist()
    [[[0.0, 0.0, 2.0, 3.0], [0.0, 0.0, 6.0, 7.0]]]
    """

    member: Tensor
    valid: Tensor
    grid: tuple[int, int]
    shape: tuple[int, int]

    def cut(self, planes: Tensor) -> Tensor:
        """Copy the patches out of planes: (B, H, W) to (G, M, p, q)."""
        rows = planes.reshape(-1, self.shape[1]).index_select(0, self._rows.flatten())
        return rows.view(*self.member.shape, *self.shape)

    def paste(self, groups: Tensor, n_planes: int) -> Tensor:
        """Lay patches (G, M, p, q) where they belong in planes of zeros: (B, H, W)."""
        height, width = (n * side for n, side in zip(self.grid, self.shape, strict=True))
        planes = groups.new_zeros(n_planes, height, width)
        rows = groups[self.valid].view(-1, self.shape[1])
        planes.view(-1, self.shape[1]).index_copy_(0, self._rows[self.valid].flatten(), rows)
        return planes

    @cached_property
    def _rows(self) -> Tensor:
        """Where each patch's rows lie among rows of patches, (B * H * W / q, q): (G, M, p).

        To look pixels up by three indices takes three times as long.
        """
        across, height = self.grid[1], self.shape[0]
        above, x = self.member // across, self.member % across  # counted through all planes
        first = above * height * across + x
        down = torch.arange(height, device=self.member.device) * across
        return first[..., None] + down


def compare_cut(
    compare: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]],
    prediction: Tensor,
    target: Tensor,
    patches: Patches,
) -> Distance:
    """Compare groups of patches by a function of patches cut out.

    Parameters
    ----------
    compare : callable
        Takes two tensors (G, M, p, q) and ``valid`` (G, M); returns the distances (G,) and their
        derivatives by the first (G, M, p, q).
    prediction, target : Tensor of float32 or float64, (B, H, W)
        Planes.
    patches : Patches
        What of them is compared.

    Returns
    -------
    Distance
    """
    p, t = patches.cut(prediction), patches.cut(target)
    value, gradient = compare(p, t, patches.valid)
    poison = (p * 0 + t * 0).sum(dim=(2, 3))  # (G, M): 0, or NaN of NaN and of infinity
    poison = poison.masked_fill(~patches.valid, 0).sum(dim=1)
    gradient = gradient + poison[:, None, None, None]
    return Distance(value + poison, patches.paste(gradient, len(prediction)))
