"""Laying one image over another, and saying how well they then agree."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["agreement", "register"]

_LARGEST_STEP = 0.05  # of half the image: Gauss-Newton may overshoot where the images disagree
_DAMPING = 1e-3
_LEAST_OVERLAP = 0.7


def register(fixed: Tensor, moving: Tensor, placement: Tensor, steps: int) -> Tensor:
    """Refine where each moving image lies over its fixed one.

    Gauss-Newton on the squared difference over scale and shift along both axes, as Lucas and
    Kanade (1981) have it. It finds its way from a start that is off by a pixel or two of the
    image's finest structure: start on small images and go on with larger ones.

    Parameters
    ----------
    fixed, moving : Tensor
        Pairs of images (P, H, H) of like mean and deviation.
    placement : Tensor
        (P, 4): scale y, scale x, shift y, shift x. The fixed image's point u shows the moving
        image's point scale * u + shift; both run from -1 to 1.
    steps : int
        Steps of Gauss-Newton.

    Returns
    -------
    Tensor
        The refined placement (P, 4).

    Examples
    --------
    >>> x = torch.linspace(-3, 3, 32)
    >>> bump = torch.exp(-(x[:, None] ** 2) - (x + 0.3) ** 2)[None]  # one tenth to the left
    >>> centred = torch.exp(-(x[:, None] ** 2) - x**2)[None]
    >>> start = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    >>> register(centred, bump, start, steps=20)[0, 3].item().__round__(2)
    -0.1
    """
    side = fixed.shape[-1]
    grid = _axis(side)
    layers = torch.stack([moving, *_gradients(moving)], dim=1)  # (P, 3, H, H)
    for _ in range(steps):
        seen, inside = _sampled(layers, placement)
        image, along_y, along_x = seen.unbind(1)
        residual = ((fixed - image) * inside).flatten(1)
        slopes = torch.stack(
            [along_y * grid[:, None], along_x * grid, along_y, along_x], dim=1
        )  # (P, 4, H, H)
        slopes = (slopes * inside[:, None]).flatten(2)
        normal = slopes @ slopes.mT + _DAMPING * side**2 * torch.eye(4)
        step = torch.linalg.solve(normal, slopes @ residual[..., None])[..., 0]
        placement = placement + step.clamp(-_LARGEST_STEP, _LARGEST_STEP)
    return placement


def agreement(fixed: Tensor, moving: Tensor, placement: Tensor) -> Tensor:
    """Normalised cross-correlation of pairs of images where they overlap.

    Parameters
    ----------
    fixed, moving, placement
        As for `register`.

    Returns
    -------
    Tensor
        (P,) from -1 to 1; 0 where the overlap is less than 70% of the image, or flat.

    Examples
    --------
    >>> image = torch.randn(1, 32, 32)
    >>> in_place = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    >>> agreement(image, image, in_place).item().__round__(3)
    1.0
    """
    seen, inside = _sampled(moving[:, None], placement)
    first, second = (fixed * inside).flatten(1), (seen[:, 0] * inside).flatten(1)
    size = (first.square().sum(1) * second.square().sum(1)).sqrt()
    correlation = (first * second).sum(1) / size.clamp_min(1e-6)
    return torch.where(inside.mean((1, 2)) >= _LEAST_OVERLAP, correlation, 0.0)


def _axis(side: int) -> Tensor:
    """Centres of the pixels of one axis, from -1 to 1."""
    return (torch.arange(side) + 0.5) / side * 2 - 1


def _gradients(images: Tensor) -> tuple[Tensor, Tensor]:
    """Differentiate (P, H, H) along y and x, per half image; 0 at the borders."""
    half = images.shape[-1] / 4  # two pixels between the neighbours, H/2 pixels to half an image
    along_y = F.pad(images[:, 2:] - images[:, :-2], (0, 0, 1, 1)) * half
    along_x = F.pad(images[:, :, 2:] - images[:, :, :-2], (1, 1)) * half
    return along_y, along_x


def _sampled(layers: Tensor, placement: Tensor) -> tuple[Tensor, Tensor]:
    """Layers (P, K, H, H) at the places of the fixed pixels, and which of these lie inside."""
    pairs, _, side, _ = layers.shape
    scale_y, scale_x, shift_y, shift_x = placement.T[:, :, None]
    y = (_axis(side) * scale_y + shift_y)[:, :, None].expand(pairs, side, side)
    x = (_axis(side) * scale_x + shift_x)[:, None, :].expand(pairs, side, side)
    seen = F.grid_sample(layers, torch.stack([x, y], dim=-1), align_corners=False)
    inside = ((x.abs() < 1) & (y.abs() < 1)).to(layers.dtype)
    return seen, inside
