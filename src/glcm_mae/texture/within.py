"""Which patches of an image hold nothing but pixels that count."""

from __future__ import annotations

from torch import Tensor

from .inputs import check_side, check_tensors


def patches_within(valid: Tensor, patch_size: int) -> Tensor:
    """Find the patches all of whose pixels are valid, as a mask for the texture losses.

    An ultrasound's sector, a circular field, the border that a registration leaves and the padding
    that brings an image to whole patches have no texture, and where they end a co-occurrence
    matrix is of the edge. A loss that is given this mask compares the patches inside alone; times
    a mask of the removed ones, those of them.

    Parameters
    ----------
    valid : Tensor of bool, or of 0 and 1, (B, H, W) or (B, 1, H, W)
        True where a pixel counts.
    patch_size : int
        Side of a patch, in pixels; of the loss that is to be given the mask.

    Returns
    -------
    Tensor of bool, (B, N)
        True for patches that lie wholly inside; N patches in row order.

    Raises
    ------
    TypeError, ValueError
        If it is no such tensor, or its sides are no multiples of a whole patch size.

    Examples
    --------
    >>> import torch
    >>> valid = torch.ones(1, 4, 6, dtype=torch.bool)
    >>> valid[0, 3, 5] = False
    >>> patches_within(valid, 2).tolist()
    [[True, True, True, True, True, False]]
    """
    check_tensors(valid=valid)
    patch_size = check_side(patch_size)
    if valid.ndim not in (3, 4) or (valid.ndim == 4 and valid.shape[1] != 1):
        raise ValueError(f"valid is {tuple(valid.shape)}: it must be (B, H, W) or (B, 1, H, W).")
    if not ((valid == 0) | (valid == 1)).all():
        raise ValueError("valid holds more than 0 and 1: valid > 0 makes it one of these.")
    height, width = valid.shape[-2:]
    if not height or not width or height % patch_size or width % patch_size:
        raise ValueError(
            f"valid is of {height}x{width} pixels, which do not divide into patches of "
            f"{patch_size}: crop it as the images, or pad it with False."
        )
    tiles = valid.view(-1, height // patch_size, patch_size, width // patch_size, patch_size)
    return (tiles != 0).all(dim=4).all(dim=2).flatten(1)
