"""Which removed patches share a GLCM: a patch alone, a neighbourhood, or the whole image."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Pool = Literal["patch", "image"] | int


class Groups(NamedTuple):
    """The removed patches of a batch, sorted into groups that share one GLCM each.

    Attributes
    ----------
    member : Tensor of int64, (G, M)
        Index of each group's patches among all patches of the batch, row by row of the grid; the
        first once more where a group has fewer than M.
    valid : Tensor of bool, (G, M)
        True where there is a member.
    owner : Tensor of int64, (G,)
        Where each group lies among the places of all images, ``image * n_groups + place`` as
        `place_of_patch` counts them; those without a removed patch are not listed.
    """

    member: Tensor
    valid: Tensor
    owner: Tensor


def place_of_patch(
    grid: tuple[int, int], pool: Pool, device: torch.device | None = None
) -> tuple[Tensor, int]:
    """Find the group to which each patch of an image belongs, removed or not.

    Parameters
    ----------
    grid : (int, int)
        Patches per column and row.
    pool : "patch", "image" or int
        One group per patch; one per image; or one per block of pool x pool patches.
    device : torch.device, optional
        Where the result lies.

    Returns
    -------
    place : Tensor of int64, (N,)
        The group of each patch, in row order.
    n_groups : int

    Examples
    --------
    >>> place_of_patch((2, 3), pool=2)
    (tensor([0, 0, 1, 0, 0, 1]), 2)
    """
    rows, columns = grid
    side = pool if isinstance(pool, int) else {"patch": 1, "image": max(grid)}[pool]
    across = -(-columns // side)
    y = torch.arange(rows, device=device) // side
    x = torch.arange(columns, device=device) // side
    return (y[:, None] * across + x).flatten(), -(-rows // side) * across


def group_patches(mask: Tensor, grid: tuple[int, int], pool: Pool) -> Groups:
    """Sort the removed patches of each image into the groups that ``pool`` asks for.

    Pairs of pixels count within a removed patch only: none reaches across a patch's border, so a
    kept patch never enters.

    Parameters
    ----------
    mask : Tensor, (B, N)
        1 where a patch is removed.
    grid : (int, int)
        Patches per column and row; ``N = grid[0] * grid[1]``.
    pool : "patch", "image" or int
        One group per patch; one per image; or one per block of pool x pool patches.

    Returns
    -------
    Groups

    Examples
    --------
    >>> groups = group_patches(torch.tensor([[1, 0, 1, 1]]), (2, 2), "image")
    >>> groups.member.tolist(), groups.owner.tolist()
    ([[0, 2, 3]], [0])
    """
    place, n_groups = place_of_patch(grid, pool, mask.device)
    image = torch.arange(len(mask), device=mask.device)[:, None]
    owner_of_patch = (image * n_groups + place).flatten()  # (B * N,)

    removed = mask.flatten().nonzero()[:, 0]
    owner, order = owner_of_patch[removed].sort(stable=True)
    removed = removed[order]
    owners, row, counts = owner.unique_consecutive(return_inverse=True, return_counts=True)
    first = counts.cumsum(0) - counts
    column = torch.arange(len(removed), device=mask.device) - first[row]
    width = int(counts.max()) if len(counts) else 0
    # Of another group a NaN would come in, which no weight of 0 keeps out.
    member = removed[first][:, None].repeat(1, width)
    valid = torch.zeros_like(member, dtype=torch.bool)
    member[row, column], valid[row, column] = removed, True
    return Groups(member, valid, owners)
