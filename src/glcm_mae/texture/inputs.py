"""What callers hand over, checked in one place."""

from __future__ import annotations

import math
import operator
import sys
import warnings
from typing import Any

import torch
from torch import Tensor

from .transforming import is_transforming

MAX_LEVELS = 65_536
"""Most gray levels that are counted: pair codes are then of 32 bits."""


def check_tensors(**given: Any) -> None:
    """Refuse arrays and lists, whose methods are not a tensor's.

    Parameters
    ----------
    **given
        Arguments by their names; ``mask`` may be None.

    Raises
    ------
    TypeError
        If one is no tensor.

    Examples
    --------
    >>> check_tensors(images=[[0, 1]])
    Traceback (most recent call last):
    ...
    TypeError: images is a list: give a torch.Tensor, such as torch.as_tensor makes of it.
    """
    for name, value in given.items():
        if not isinstance(value, Tensor) and not (name == "mask" and value is None):
            raise TypeError(
                f"{name} is a {type(value).__name__}: give a torch.Tensor, such as "
                "torch.as_tensor makes of it."
            )


def check_ndim(ndim: int, **given: Tensor) -> None:
    """Refuse what has too few dimensions, or is said to have none of images or volumes.

    Parameters
    ----------
    ndim : int
        2 for images, 3 for volumes.
    **given
        Arguments by their names.

    Raises
    ------
    ValueError
        If one has fewer, or ``ndim`` is another number.

    Warns
    -----
    UserWarning
        If one looks like an image with its channels last, (H, W, 3).

    Examples
    --------
    >>> check_ndim(2, images=torch.zeros(9))
    Traceback (most recent call last):
    ...
    ValueError: images are (9,): they must be (..., H, W).
    """
    axes = {2: "(..., H, W)", 3: "(..., D, H, W)"}
    if ndim not in axes:
        raise ValueError(f"ndim is {ndim}: images have 2 dimensions, volumes 3.")
    for name, value in given.items():
        if value.ndim < ndim:
            raise ValueError(f"{name} are {tuple(value.shape)}: they must be {axes[ndim]}.")
        if ndim == 2:
            warn_of_channels_last(value)


def warn_of_channels_last(images: Tensor) -> None:
    """Tell those who give one image as (H, W, 3), which is taken for H narrow ones.

    Parameters
    ----------
    images : Tensor, (..., H, W)
        Images.

    Warns
    -----
    UserWarning
        If they are 3 or 4 pixels wide, and as many and high as an image has rows and columns.
    """
    shape = tuple(images.shape)
    if len(shape) == 3 and shape[-1] in (3, 4) and min(shape[:2]) >= 32:
        warnings.warn(
            f"images of {shape} are taken for {shape[0]} that are {shape[-1]} pixels wide: if "
            "these are channels, bring them before height and width by .movedim(-1, 0).",
            stacklevel=3,
        )


def warn_caller(message: str) -> None:
    """Warn at the line that called the losses or the head, be it by way of torch.

    Parameters
    ----------
    message : str
        What to tell.

    Warns
    -----
    UserWarning
        Always.
    """
    level, frame = 1, sys._getframe()
    own = ("torch.", "glcm_mae.texture.", "glcm_mae.models.")
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(own):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


def as_whole(name: str, value: Any, wanted: str = "a whole number, 1 or more") -> int:
    """Refuse what is no number of things, and make an int of what is one.

    Parameters
    ----------
    name : str
        Of the setting.
    value : int
        Of any library.
    wanted : str
        What to give in its place.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If it is no whole number, or below 1.

    Examples
    --------
    >>> as_whole("width", 32.0)
    Traceback (most recent call last):
    ...
    ValueError: width is 32.0: give a whole number, 1 or more.
    """
    try:
        whole = operator.index(value)
    except TypeError:
        whole = 0
    if whole < 1:
        raise ValueError(f"{name} is {value!r}: give {wanted}.")
    return whole


def check_side(patch_size: Any) -> int:
    """Do so of the side of a patch."""
    wanted = "the side of a square patch, a whole number of pixels"
    return as_whole("patch_size", patch_size, wanted)


def check_levels(levels: Any) -> int:
    """Refuse what is no number of gray levels, and make an int of what is one.

    Parameters
    ----------
    levels : int
        To be checked. Integers of NumPy and torch would overflow when they are squared.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If it is no whole number, or out of range.

    Examples
    --------
    >>> check_levels([1, 2])
    Traceback (most recent call last):
    ...
    ValueError: levels is [1, 2]: give a whole number, 1 to 65,536, right after the images.
    """
    try:
        whole = operator.index(levels)
    except TypeError:
        raise ValueError(
            f"levels is {levels}: give a whole number, 1 to {MAX_LEVELS:,}, right after the images."
        ) from None
    if not 1 <= whole <= MAX_LEVELS:
        raise ValueError(
            f"levels is {whole}: it can be 1 to {MAX_LEVELS:,}; quantize to wider bins for fewer."
        )
    return whole


def check_range(value_range: Any) -> tuple[float, float]:
    """Refuse what is no range of gray values, and make two floats of what is one.

    Parameters
    ----------
    value_range : (float, float)
        Start and end, as numbers of any library.

    Returns
    -------
    (float, float)

    Raises
    ------
    ValueError
        If these are not two finite numbers, the end above the start, or they lie further apart than
        float64 can tell.

    Examples
    --------
    >>> check_range([0, torch.tensor(255)])
    (0.0, 255.0)
    >>> check_range((1, 0))
    Traceback (most recent call last):
    ...
    ValueError: value_range is (1, 0): give (low, high), two finite numbers with low < high.
    """
    try:
        low, high = (float(end) for end in value_range)
    except (TypeError, ValueError):
        low, high = math.nan, math.nan
    if not 0 < high - low < math.inf:
        raise ValueError(
            f"value_range is {value_range}: give (low, high), two finite numbers with low < high."
        )
    return low, high


def region_of(mask: Tensor, images: Tensor) -> Tensor:
    """Bring a region of interest to the shape of its images.

    Parameters
    ----------
    mask : Tensor of bool or whole numbers, broadcastable to ``images``
        What is not 0 is inside.
    images : Tensor
        Of any shape.

    Returns
    -------
    Tensor of bool, like ``images``

    Raises
    ------
    ValueError
        If it cannot be broadcast, is a map of probabilities, or wants a gradient.

    Examples
    --------
    >>> region_of(torch.ones(3, 1), torch.zeros(2, 3, 4)).shape
    torch.Size([2, 3, 4])
    """
    looked_at = mask.is_floating_point() and not is_transforming()
    if mask.requires_grad or (looked_at and not (mask == mask.round()).all()):
        what = "has a gradient" if mask.requires_grad else "holds fractions or NaN"
        raise ValueError(
            f"mask {what}, and a pixel is inside of a region or it is not: give mask > 0.5, say."
        )
    try:
        return mask.bool().expand(images.shape)
    except RuntimeError:
        raise ValueError(
            f"mask is {tuple(mask.shape)}, which does not fit images of {tuple(images.shape)}: "
            "give it their shape (for windows, cut it into windows, too)."
        ) from None


def check_matrices(matrices: Any) -> None:
    """Refuse what is no stack of GLCMs, (..., L, L), or probably none.

    Parameters
    ----------
    matrices : Tensor
        To be checked.

    Raises
    ------
    TypeError, ValueError
        If it is no tensor, sparse, or not square in its last two axes.

    Warns
    -----
    UserWarning
        If it looks as if in the order of scikit-image, (L, L, distances, angles).

    Examples
    --------
    >>> check_matrices(torch.zeros(8, 8, 1, 4))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: matrices are (8, 8, 1, 4): the last two axes must be the levels. ...
    """
    check_tensors(matrices=matrices)
    if matrices.layout != torch.strided:
        raise ValueError(
            "matrices are sparse: call .to_dense() first, or take image_features, which measures "
            "any number of levels without a matrix."
        )
    shape = tuple(matrices.shape)
    advice = "(scikit-image puts levels first: matrices.movedim((0, 1), (-2, -1)) puts them last.)"
    if matrices.ndim < 2 or shape[-1] != shape[-2]:
        raise ValueError(f"matrices are {shape}: the last two axes must be the levels. {advice}")
    if not shape[-1]:
        raise ValueError(f"matrices are {shape}: there must be one gray level or more.")
    # As many distances as angles, of which there are seldom more than four.
    if matrices.ndim == 4 and shape[0] == shape[1] > shape[-1] and shape[-1] <= 4:
        warnings.warn(
            f"matrices are {shape}, taken for ones of {shape[-1]} gray levels. {advice}",
            stacklevel=3,
        )
