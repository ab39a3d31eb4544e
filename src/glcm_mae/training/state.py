"""What a checkpoint holds of a training, and how it is put back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from glcm_mae.settings import OptimizerSettings

from .schedule import make_optimizer

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.wrappers import _FabricModule


def set_up(
    fabric: Fabric,
    model: nn.Module,
    settings: OptimizerSettings,
    state: dict[str, Any] | None,
    layer_decay: float = 1.0,
) -> tuple[_FabricModule, torch.optim.Optimizer]:
    """Bring a model and its optimiser onto the device, as a checkpoint left them if there is one.

    Parameters
    ----------
    fabric : Fabric
        Launched.
    model : nn.Module
        What is trained; moved and filled in place.
    settings : OptimizerSettings
        See `make_optimizer`.
    state : dict, optional
        What `snapshot` returned.
    layer_decay : float
        See `make_optimizer`.

    Returns
    -------
    module, Optimizer
        As Fabric wraps them.
    """
    if state:
        model.load_state_dict(state["model"])
    fused = fabric.device.type == "cpu"
    wrapped, optimizer = fabric.setup(
        model, make_optimizer(model, settings, layer_decay, fused=fused)
    )
    if state:
        optimizer.load_state_dict(state["optimizer"])
        if state["precision"]:  # a run may go on in another precision than it was begun in
            fabric.strategy.precision.load_state_dict(state["precision"])
    return wrapped, optimizer


def snapshot(fabric: Fabric, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Collect what `set_up` puts back.

    Parameters
    ----------
    fabric : Fabric
        Has set up both.
    model : nn.Module
        What is trained, not wrapped.
    optimizer : Optimizer
        As Fabric wraps it.

    Returns
    -------
    dict
        Tensors and numbers, in dicts and lists.
    """
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "precision": fabric.strategy.precision.state_dict(),
    }
