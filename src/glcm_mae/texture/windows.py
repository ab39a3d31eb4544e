"""Patches and sliding windows of images, as views."""

from __future__ import annotations

import operator
from typing import Any

from torch import Tensor

from .inputs import check_ndim, check_tensors


def windows(images: Tensor, size: int, stride: int | None = None) -> Tensor:
    """View images as windows, without a copy.

    `glcm_mae.texture.graycomatrix` and `glcm_mae.texture.image_features` take the result as it is:
    they read each window in place.

    Parameters
    ----------
    images : Tensor, (..., H, W)
        Pixels, gray levels or masks.
    size : int
        Side of a window, in pixels.
    stride : int, optional
        Step between windows, in pixels; ``size`` if not given, which cuts patches side by side.
        A rest of the image narrower than a window is left out.

    Returns
    -------
    Tensor, (..., nH, nW, size, size)
        A view of ``images``.

    Raises
    ------
    ValueError
        If a window is larger than the image, or ``size`` or ``stride`` no whole number from 1 on.

    Examples
    --------
    >>> import torch
    >>> windows(torch.zeros(8, 224, 224), 16).shape
    torch.Size([8, 14, 14, 16, 16])
    >>> windows(torch.zeros(224, 224), 16, stride=1).shape
    torch.Size([209, 209, 16, 16])
    """
    check_tensors(images=images)
    stride = size if stride is None else stride
    size, stride = (_whole(name, x) for name, x in (("size", size), ("stride", stride)))
    if size < 1 or stride < 1:
        raise ValueError(f"size is {size} and stride {stride}: both must be 1 pixel or more.")
    check_ndim(2, images=images)
    height, width = images.shape[-2:]
    if size > min(height, width):
        raise ValueError(
            f"a window of {size}x{size} pixels does not fit into an image of {height}x{width}."
        )
    return images.unfold(-2, size, stride).unfold(-2, size, stride)


def _whole(name: str, number: Any) -> int:
    try:
        return operator.index(number)
    except TypeError:
        raise ValueError(f"{name} is {number}: give a whole number of pixels.") from None
