"""Images to patches and back."""

from __future__ import annotations

from torch import Tensor


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Cut images into patches, pixels before channels as in MAE.

    Parameters
    ----------
    images : Tensor, (B, C, H, W)
    patch_size : int
        Side p of a patch; divides H and W.

    Returns
    -------
    Tensor, (B, N, p * p * C)

    Examples
    --------
    >>> import torch
    >>> patchify(torch.arange(4.0).view(1, 1, 2, 2), 1).flatten().tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    x = images.unflatten(-1, (-1, patch_size)).unflatten(-3, (-1, patch_size))  # (B,C,y,p,x,p)
    return x.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def unpatchify(patches: Tensor, patch_size: int, grid: tuple[int, int]) -> Tensor:
    """Put patches together to images; undoes `patchify`.

    Parameters
    ----------
    patches : Tensor, (B, N, p * p * C)
    patch_size : int
        Side p of a patch.
    grid : (int, int)
        Patches per column and row.

    Returns
    -------
    Tensor, (B, C, H, W)

    Examples
    --------
    >>> import torch
    >>> images = torch.rand(2, 3, 16, 24)
    >>> torch.equal(unpatchify(patchify(images, 8), 8, (2, 3)), images)
    True
    """
    x = patches.unflatten(1, grid).unflatten(3, (patch_size, patch_size, -1))  # (B,y,x,p,p,C)
    return x.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)


def spread_mask(mask: Tensor, patch_size: int, grid: tuple[int, int]) -> Tensor:
    """Give each pixel the mask of its patch: (B, N) to (B, 1, H, W).

    Examples
    --------
    >>> import torch
    >>> spread_mask(torch.tensor([[1.0, 0.0]]), 2, (1, 2))[0, 0].tolist()
    [[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]
    """
    squares = mask.unflatten(1, grid)[:, None]
    return squares.repeat_interleave(patch_size, -2).repeat_interleave(patch_size, -1)
