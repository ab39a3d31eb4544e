"""One optimiser step, and the plan of all of them: what every training loop shares."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from glcm_mae.data import Augment
from glcm_mae.errors import UserError
from glcm_mae.models import Loss
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


# fp16 halves its loss scale at every step whose gradient overflows: from 65,536 to this, at
# twenty-six of them more than it ever doubled.
_LEAST_SCALE = 2.0**-10


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

    Raises
    ------
    UserError
        If a step would leave a batch or a device without an image, or the rate would rise to its
        end.

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

    def __post_init__(self) -> None:
        parts = self.optimizer.accumulate * self.world
        if self.n_images < parts:
            raise UserError(
                f"{self.n_images} training images are too few for steps of {parts} batches: lower "
                "optimizer.accumulate or hardware.devices, or add images."
            )
        if self.optimizer.min_lr > self.peak:
            raise UserError(
                f"optimizer.min_lr is {self.optimizer.min_lr:g}, above the greatest rate, "
                f"{self.peak:.3g} (base_lr {self.optimizer.base_lr:g} x {self.images_per_step} "
                "images a step / 256): lower optimizer.min_lr or raise optimizer.base_lr."
            )

    @property
    def batch(self) -> int:
        """Images a batch and device: as set, or fewer in a small set, so that a step is made."""
        parts = self.optimizer.accumulate * self.world
        return min(self.optimizer.batch_size, self.n_images // parts)

    @property
    def images_per_step(self) -> int:
        """Images on all devices together whose gradients make one step."""
        return self.batch * self.optimizer.accumulate * self.world

    @property
    def steps_per_epoch(self) -> int:
        """Whole steps in one pass over the images."""
        return self.n_images // self.images_per_step

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.optimizer.epochs * self.steps_per_epoch

    @property
    def peak(self) -> float:
        """Greatest learning rate."""
        return self.optimizer.base_lr * self.images_per_step / 256  # Goyal et al. 2017

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        o = self.optimizer
        return learning_rate(step, self.steps, self.peak, o.min_lr, o.warmup)

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
    loss_of: Callable[[Tensor], Loss],
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
        Mean of each term over the step's batches on all devices, and of their ``total``.

    Raises
    ------
    UserError
        If a term or the gradient is no longer a number, on whichever device. The weights are then
        those before the step.
    """
    seed_step(plan.seed, step, fabric.global_rank)
    set_learning_rate(optimizer, plan.rate(step))
    batches = plan.batches(step)
    sums: dict[str, Tensor] = {}
    for i, members in enumerate(batches):
        with fabric.no_backward_sync(model, enabled=i < len(batches) - 1):
            loss = loss_of(members)
            fabric.backward(loss.total / len(batches))
        for name, term in {**loss.terms, "total": loss.total}.items():
            sums[name] = sums.get(name, 0.0) + term.detach().float()
    means = _over_devices(fabric, sums, len(batches))
    broken = [name for name, mean in means.items() if not math.isfinite(mean)]
    if broken:
        raise _no_number(broken[0] if broken[0] in loss.terms else "the loss", step, means)
    # Without clipping too, for the gradient's norm.
    norm = fabric.clip_gradients(
        model, optimizer, max_norm=plan.optimizer.clip or math.inf, error_if_nonfinite=False
    )
    scaler = getattr(fabric.strategy.precision, "scaler", None)
    if scaler is None and norm is not None and not math.isfinite(norm):
        raise _no_number("the gradient", step, means)
    optimizer.step()  # in fp16: skipped where the gradient overflows, with a lower scale from then
    if scaler is not None and scaler.get_scale() < _LEAST_SCALE:
        raise _no_number("the gradient", step, means)
    optimizer.zero_grad()
    return means


def _over_devices(fabric: Fabric, sums: Mapping[str, Tensor], batches: int) -> dict[str, float]:
    """Means over the batches of all devices, the same on each of them."""
    mean = torch.stack(list(sums.values())) / batches
    reduced = cast(Tensor, fabric.all_reduce(mean, reduce_op="mean"))
    return dict(zip(sums, reduced.tolist(), strict=True))


def _no_number(what: str, step: int, means: Mapping[str, float]) -> UserError:
    shown = ", ".join(f"{name} = {mean:.4g}" for name, mean in means.items())
    return UserError(
        f"{what} is no longer a number at step {step + 1} ({shown}): start anew in another folder "
        "with a lower optimizer.base_lr, or go on from a checkpoint, which is from before, by "
        "--resume true with hardware.precision fp32 if it was another."
    )


def augmentation(data: DataSettings, augment: AugmentSettings) -> Augment:
    """Make the random changes that the settings ask for."""
    return Augment(
        height_and_width(data.image_size),
        augment.crop_scale,
        augment.flip,
        augment.rotate,
        augment.brightness_contrast,
        augment.erase,
    )


def check_optimizer(settings: OptimizerSettings, devices: int) -> None:
    """Refuse optimiser settings that make no training on so many devices, whatever the images.

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
    if not all(0 <= beta < 1 for beta in settings.betas):
        raise UserError(f"optimizer.betas is {settings.betas}: set both from 0 to below 1.")
    if settings.clip is not None and not settings.clip > 0:
        raise UserError(f"optimizer.clip is {settings.clip}: set it above 0, or to null.")
    world = max(1, devices)
    whole_step = settings.batch_size * settings.accumulate * world
    Plan(whole_step, settings, seed=0, world=world)  # the one with the greatest rate
