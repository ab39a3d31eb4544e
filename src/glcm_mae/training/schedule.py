"""Learning rates: groups of weights, and their course over the training."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from glcm_mae.settings import OptimizerSettings


def learning_rate(step: int, steps: int, peak: float, floor: float, warmup: float) -> float:
    """Rise linearly, then fall along half a cosine (Loshchilov and Hutter 2017).

    Parameters
    ----------
    step, steps : int
        The step about to be made, from 0, and their number.
    peak, floor : float
        Highest rate, and the rate at the end.
    warmup : float
        Share of the steps over which the rate rises.

    Returns
    -------
    float

    Examples
    --------
    >>> [round(learning_rate(s, 10, 1.0, 0.0, 0.2), 3) for s in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.038]
    """
    rising = round(steps * warmup)
    if step < rising:
        return peak * (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * done))


def make_optimizer(
    model: nn.Module,
    settings: OptimizerSettings,
    layer_decay: float = 1.0,
    *,
    fused: bool = False,
) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices alone and, if asked, slower lower layers.

    Parameters
    ----------
    model : nn.Module
        Its parameters that require a gradient are optimised.
    settings : OptimizerSettings
        Weight decay and betas.
    layer_decay : float
        Each block's rate is this times the rate of the block above it (Clark et al. 2020; Bao et
        al. 2022). A group's factor is kept under the key ``scale``.
    fused : bool
        Update each weight in one pass. On the CPU four times as fast; on GPUs not for fp16, whose
        loss scale such a step takes off where clipping has done so already.

    Returns
    -------
    torch.optim.AdamW
        With a rate of 0 until `set_learning_rate`.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    depth = 1 + max((_layer(name) for name, _ in named), default=0)
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in named:
        layer = _layer(name)
        above = depth - layer if layer >= 0 else 0
        decays = parameter.ndim > 1 and not name.endswith(("cls_token", "mask_token"))
        group = groups.setdefault(
            (above, decays),
            {
                "params": [],
                "scale": layer_decay**above,
                "weight_decay": settings.weight_decay if decays else 0.0,
            },
        )
        group["params"].append(parameter)
    return torch.optim.AdamW(list(groups.values()), lr=0.0, betas=settings.betas, fused=fused)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give each group of weights its share of a learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


def _layer(name: str) -> int:
    """Place of a parameter: 0 the patch embedding, 1, 2, ... the blocks, -1 what lies above."""
    # The encoder may stand inside other modules: classifier.encoder.blocks.0.norm1.weight.
    parts = name.rpartition("encoder.")[2].split(".")
    if parts[0] in ("patch_embed", "cls_token", "pos_embed"):
        return 0
    return int(parts[1]) + 1 if parts[0] == "blocks" else -1
