"""Keeping torch.compile out of what it cannot follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Function = TypeVar("Function", bound=Callable[..., object])


def untraced(function: Function) -> Function:
    """Have a function run as it is inside of compiled ones: numba's loops cannot be traced.

    Examples
    --------
    >>> untraced(len)([1, 2])
    2
    """
    kept: Function = torch.compiler.disable(function)
    return kept
