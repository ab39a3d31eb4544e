"""Whether torch.func is at work, in which a tensor stands for something and has no values."""

from __future__ import annotations

import torch


def is_transforming() -> bool:
    """Whether a transform of `torch.func` (grad, vmap, jvp and so on) runs the caller.

    PyTorch has no public name for the question.

    Examples
    --------
    >>> is_transforming()
    False
    >>> torch.func.vmap(lambda x: x + is_transforming())(torch.zeros(1))
    tensor([1.])
    """
    return torch._C._are_functorch_transforms_active()
