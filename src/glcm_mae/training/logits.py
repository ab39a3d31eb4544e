"""What a classifier says of images, some at a time."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from glcm_mae.data.pixels import Pixels

from .inputs import batches


@torch.no_grad()
def logits_of(model: nn.Module, pixels: Pixels, rows: np.ndarray, device: torch.device) -> Tensor:
    """Logits of some images.

    Parameters
    ----------
    model : nn.Module
        Takes images (B, C, H, W) in [0, 1], returns logits (B, K). On the device; it is set to
        evaluate.
    pixels : Tensor or Picked, (N, C, H, W)
        All images.
    rows : ndarray of int, (n,)
        Positions of those that are asked about.
    device : torch.device
        Where to compute.

    Returns
    -------
    Tensor of float64, (n, K)
        On the CPU.
    """
    model.eval()
    return torch.cat([model(some.to(device)).cpu().double() for some in batches(pixels, rows)])


def probabilities(
    model: nn.Module, pixels: Pixels, rows: np.ndarray, device: torch.device
) -> np.ndarray:
    """Class probabilities of some images.

    Parameters
    ----------
    model, pixels, rows, device
        See `logits_of`.

    Returns
    -------
    ndarray of float64, (n, K)
    """
    return logits_of(model, pixels, rows, device).softmax(dim=1).numpy()
