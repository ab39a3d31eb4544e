"""What callers hand over, checked in one place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def check_tensors(**given: Any) -> None:
    """Refuse arrays and lists, whose methods are not a tensor's.

    Parameters
    ----------
    **given
        Arguments by their names; None is let through.

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
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(
                f"{name} is a {type(value).__name__}: give a torch.Tensor, such as "
                "torch.as_tensor makes of it."
            )


def check_matrices(matrices: Any) -> None:
    """Refuse what is no stack of GLCMs, (..., L, L).

    Parameters
    ----------
    matrices : Tensor
        To be checked.

    Raises
    ------
    TypeError, ValueError
        If it is no tensor, sparse, or not square in its last two axes.

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
    if matrices.ndim < 2 or matrices.shape[-1] != matrices.shape[-2]:
        raise ValueError(
            f"matrices are {tuple(matrices.shape)}: the last two axes must be the levels. "
            "(scikit-image puts levels first: matrices.movedim((0, 1), (-2, -1)) puts them last.)"
        )
