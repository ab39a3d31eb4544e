"""Lightning Fabric from settings: devices, precision, several processes."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

from glcm_mae.errors import UserError
from glcm_mae.settings import HardwareSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_PRECISION: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def launch(settings: HardwareSettings, *, idle_weights: bool = False) -> Fabric:
    """Start Fabric on the devices asked for.

    With several devices, the processes wait for each other here: what each did before, it did
    before any did what follows.

    Parameters
    ----------
    settings : HardwareSettings
        Devices and precision.
    idle_weights : bool
        Whether some steps leave some weights without a gradient, which distributed training must
        know.

    Returns
    -------
    Fabric
        Launched: with several devices, this process is now one of several.

    Raises
    ------
    UserError
        If the machine does not have the devices, or they cannot compute in the precision.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    if settings.devices < 1:
        raise UserError(f"hardware.devices is {settings.devices}: set it to 1 or more.")
    if settings.strategy not in ("auto", "ddp"):
        # Sharded weights would have to be gathered for every checkpoint and validation.
        raise UserError(f"hardware.strategy is {settings.strategy!r}: set it to auto or ddp.")
    several = settings.devices > 1 or settings.strategy == "ddp"
    strategy = "ddp_find_unused_parameters_true" if several and idle_weights else settings.strategy
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning_fabric.*")
    try:
        fabric = Fabric(
            accelerator=settings.accelerator,
            devices=settings.devices,
            strategy=strategy,
            precision=_PRECISION[settings.precision],
        )
        _check_precision(settings, fabric)
        fabric.launch()
        fabric.barrier()
    except (MisconfigurationException, ValueError, RuntimeError, ImportError) as error:
        raise UserError(
            f"hardware asks for what this machine does not have ({error}): set "
            "hardware.accelerator, hardware.devices, hardware.strategy and hardware.precision."
        ) from error
    # Fabric would round the images to half precision on their way into the model, and with them
    # what the texture terms compare. Autocast rounds where it pays.
    fabric.strategy.precision.convert_input = _as_it_is  # type: ignore[method-assign]
    return fabric


def _check_precision(settings: HardwareSettings, fabric: Fabric) -> None:
    """Refuse what Fabric would replace with bf16 in silence."""
    if settings.precision == "fp16" and fabric.device.type == "cpu":
        raise UserError(
            "hardware.precision is fp16, in which a CPU cannot train: set it to bf16 or fp32."
        )


def _as_it_is(data: Any) -> Any:
    return data
