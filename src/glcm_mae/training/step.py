"""One optimiser step, and the plan of all of them: what every training loop shares."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from glcm_mae.data import Augment
from glcm_mae.errors import UserError
from glcm_mae.settings import (
    AugmentSettings,
    DataSettings,
    OptimizerSettings,
    height_and_width,
)

from .order import epoch_batches, seed_step
from .schedule import learning_rate, set_learning_rate

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.wrappers import _FabricModule


class StepLoss(NamedTuple):
    """What a batch costs: the sum to minimise, and its terms for the log."""

    total: Tensor
    terms: Mapping[str, Tensor]


@dataclass(frozen=True)
class Plan:
    """Which images each step of a training takes, and at which learning rate.

    Parameters
    ----------
    n_images : int
        Images to train on.
    optimizer : OptimizerSettings
        Epochs, batch size, accumulation and rates.
    seed : int
        Fixes the order.
    rank, world : int
        This device and the number of devices.

    Examples
    --------
    >>> plan = Plan(100, OptimizerSettings(epochs=3, batch_size=16, accumulate=2), seed=0)
    >>> plan.images_per_step, plan.steps_per_epoch, plan.steps
    (32, 3, 9)
    """

    n_images: int
    optimizer: OptimizerSettings
    seed: int
    rank: int = 0
    world: int = 1

    @property
    def batch(self) -> int:
        """Images a batch and device: as set, or fewer in a small set, so that a step is made."""
        parts = self.optimizer.accumulate * self.world
        return max(1, min(self.optimizer.batch_size, self.n_images // parts))

    @property
    def images_per_step(self) -> int:
        """Images on all devices together whose gradients make one step."""
        return self.batch * self.optimizer.accumulate * self.world

    @property
    def steps_per_epoch(self) -> int:
        """Whole steps in one pass over the images."""
        return max(1, self.n_images // self.images_per_step)

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.optimizer.epochs * self.steps_per_epoch

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        o = self.optimizer
        peak = o.base_lr * self.images_per_step / 256  # Goyal et al. 2017
        return learning_rate(step, self.steps, peak, o.min_lr, o.warmup)

    def batches(self, step: int) -> list[Tensor]:
        """Positions of the images of a step, one tensor a batch, on this device."""
        epoch, place = divmod(step, self.steps_per_epoch)
        dealt = epoch_batches(self.n_images, self.batch, self.seed, epoch, self.rank, self.world)
        parts = self.optimizer.accumulate
        return dealt[place * parts : (place + 1) * parts]


def make_step(
    fabric: Fabric,
    model: _FabricModule,
    optimizer: torch.optim.Optimizer,
    plan: Plan,
    step: int,
    loss_of: Callable[[Tensor], StepLoss],
) -> dict[str, float]:
    """Make one optimiser step.

    Parameters
    ----------
    fabric : Fabric
        Has set up model and optimizer.
    model : module
        What is trained, as Fabric has set it up.
    optimizer : Optimizer
        Of `make_optimizer`.
    plan : Plan
        Images and rates.
    step : int
        The step's number, from 0.
    loss_of : callable
        Loss of the images at the given positions.

    Returns
    -------
    dict of str to float
        Mean of each term over the step's batches on this device, and their ``total``.

    Raises
    ------
    UserError
        If a term is no longer a number. The weights are then those before the step.
    """
    seed_step(plan.seed, step, fabric.global_rank)
    set_learning_rate(optimizer, plan.rate(step))
    batches = plan.batches(step)
    means: dict[str, float] = {}
    for i, members in enumerate(batches):
        with fabric.no_backward_sync(model, enabled=i < len(batches) - 1):
            loss = loss_of(members)
            fabric.backward(loss.total / len(batches))
        for name, term in {**loss.terms, "total": loss.total}.items():
            means[name] = means.get(name, 0.0) + float(term.detach()) / len(batches)
    if not all(math.isfinite(mean) for mean in means.values()):
        shown = ", ".join(f"{name} = {mean:.4g}" for name, mean in means.items())
        raise UserError(
            f"the loss is no longer a number at step {step + 1} ({shown}); checkpoints are from "
            "before: lower optimizer.base_lr, or use hardware.precision fp32, and --resume true."
        )
    if plan.optimizer.clip:
        fabric.clip_gradients(
            model, optimizer, max_norm=plan.optimizer.clip, error_if_nonfinite=False
        )
    optimizer.step()
    optimizer.zero_grad()
    return means


def augmentation(data: DataSettings, augment: AugmentSettings) -> Augment:
    """Make the random changes that the settings ask for."""
    return Augment(
        height_and_width(data.image_size),
        augment.crop_scale,
        augment.flip,
        augment.rotate,
        augment.brightness_contrast,
    )


def check_optimizer(settings: OptimizerSettings) -> None:
    """Refuse optimiser settings that make no training.

    Raises
    ------
    UserError
        Naming the setting.
    """
    for name in ("epochs", "batch_size", "accumulate"):
        if getattr(settings, name) < 1:
            raise UserError(f"optimizer.{name} is {getattr(settings, name)}: set it to 1 or more.")
    for name in ("base_lr", "min_lr", "weight_decay"):
        if not 0 <= getattr(settings, name) < math.inf:
            raise UserError(f"optimizer.{name} is {getattr(settings, name)}: set it to 0 or more.")
    if not 0 <= settings.warmup < 1:
        raise UserError(f"optimizer.warmup is {settings.warmup}: set it from 0 to below 1.")
