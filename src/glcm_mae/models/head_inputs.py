"""What is handed to the texture head, checked, and brought to one form."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from glcm_mae.texture.inputs import as_whole, check_tensors


def as_grid(grid: Any) -> tuple[int, int]:
    """Refuse what is no grid of patches, and make a tuple of what is one.

    Parameters
    ----------
    grid : (int, int)
        Rows and columns.

    Returns
    -------
    (int, int)

    Raises
    ------
    ValueError
        If these are not two whole numbers, 1 or more.

    Examples
    --------
    >>> as_grid(14)
    Traceback (most recent call last):
    ...
    ValueError: grid is 14: give (rows, columns) of patches, two whole numbers, 1 or more.
    """
    try:
        rows, columns = (as_whole("grid", side) for side in grid)
    except (TypeError, ValueError):
        raise ValueError(
            f"grid is {grid!r}: give (rows, columns) of patches, two whole numbers, 1 or more."
        ) from None
    return rows, columns


def check_images(images: Any, in_chans: int, patch_size: int, grid: tuple[int, int]) -> None:
    """Refuse images other than the head was made for.

    Parameters
    ----------
    images : Tensor of float, (B, C, H, W)
        To be checked.
    in_chans, patch_size, grid
        Of the head.

    Raises
    ------
    TypeError, ValueError
        If they are no tensor of floating point, or of other channels or another grid.

    Examples
    --------
    >>> import torch
    >>> check_images(torch.rand(2, 1, 16, 64), 1, 8, (4, 4))  # doctest: +NORMALIZE_WHITESPACE
    Traceback (most recent call last):
    ...
    ValueError: images are of 16x64 pixels, but the head is for 32x32, 4x4 patches (rows x columns)
    of 8: resize or crop them, or give the head their grid.
    """
    check_tensors(images=images)
    height, width = (n * patch_size for n in grid)
    if images.ndim != 4 or images.shape[1] != in_chans:
        raise ValueError(
            f"images are {tuple(images.shape)}: give (B, {in_chans}, {height}, {width}), as "
            "in_chans, grid and patch_size of the head say."
        )
    if images.shape[-2:] != (height, width):
        raise ValueError(
            f"images are of {images.shape[-2]}x{images.shape[-1]} pixels, but the head is for "
            f"{height}x{width}, {grid[0]}x{grid[1]} patches (rows x columns) of {patch_size}: "
            "resize or crop them, or give the head their grid."
        )
    if not images.is_floating_point():
        raise ValueError(
            f"images are {images.dtype}: bring them to floating point in [0, 1], or whatever the "
            "range of the binning is."
        )


def as_tokens(
    features: Any, width: int, grid: tuple[int, int], n_images: int | None = None
) -> Tensor:
    """Bring what a network says of each patch to tokens, (B, N, width).

    Parameters
    ----------
    features : Tensor, (B, N, width) or (B, width, rows, columns)
        Tokens in row order, or a feature map.
    width, grid
        Of the head.
    n_images : int, optional
        How many images they must be of. Default: any number.

    Returns
    -------
    Tensor, (B, N, width)

    Raises
    ------
    TypeError, ValueError
        If they are no tensor, or of another shape.

    Examples
    --------
    >>> import torch
    >>> as_tokens(torch.rand(2, 64, 3, 4), 64, (3, 4)).shape
    torch.Size([2, 12, 64])
    """
    check_tensors(features=features)
    shape, n_patches = tuple(features.shape), math.prod(grid)
    of_all_images = n_images is None or shape[:1] == (n_images,)
    if of_all_images and len(shape) == 3 and shape[1:] == (n_patches, width):
        return features
    if of_all_images and len(shape) == 4 and shape[1:] == (width, *grid):
        return features.flatten(2).mT
    batch = "B" if n_images is None else n_images
    extra = ""
    if len(shape) == 3 and shape[1] == n_patches + 1:
        extra = " One token more than patches is the class token: features[:, 1:] leaves it out."
    raise ValueError(
        f"features are {shape}: give tokens ({batch}, {n_patches}, {width}) or a feature map "
        f"({batch}, {width}, {grid[0]}, {grid[1]}), as the images and the head's grid and width "
        f"say.{extra}"
    )


def as_asked(mask: Any, n_images: int, patch_size: int, grid: tuple[int, int]) -> Tensor:
    """Bring a mask of patches to the patches asked for, (B, N).

    Parameters
    ----------
    mask : Tensor of bool or 0 and 1, (B, N) or (B, rows, columns)
        1 where a patch is asked for.
    n_images : int
        Number of images, B.
    patch_size, grid
        Of the head.

    Returns
    -------
    Tensor of bool, (B, N)

    Raises
    ------
    TypeError, ValueError
        If it is no tensor, of another shape, or holds more than 0 and 1.

    Examples
    --------
    >>> import torch
    >>> as_asked(torch.tensor([[[1, 0], [0, 1]]]), 1, 8, (2, 2))
    tensor([[ True, False, False,  True]])
    """
    if mask is None:
        raise TypeError("mask is None: give 1 where a patch was removed, or torch.ones for all.")
    check_tensors(mask=mask)
    shape, (rows, columns) = tuple(mask.shape), grid
    if shape not in ((n_images, rows * columns), (n_images, rows, columns)):
        sides = rows * patch_size, columns * patch_size
        of_pixels = shape in ((n_images, *sides), (n_images, 1, *sides))
        how = f" F.max_pool2d(mask.float(), {patch_size}).flatten(1) makes it of a mask of pixels."
        raise ValueError(
            f"mask is {shape}: it must be ({n_images}, {rows * columns}) or ({n_images}, {rows}, "
            f"{columns}), with 1 or 0 for each patch of {patch_size} pixels squared, row by row."
            f"{how if of_pixels else ''}"
        )
    if mask.dtype != torch.bool and not ((mask == 0) | (mask == 1)).all():
        raise ValueError(
            "mask holds more than 0 (kept) and 1 (removed): mask > 0 makes it one of these."
        )
    return mask.bool().flatten(1)
