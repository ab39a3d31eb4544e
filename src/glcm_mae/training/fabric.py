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


def launch(settings: HardwareSettings) -> Fabric:
    """Start Fabric on the devices asked for.

    Parameters
    ----------
    settings : HardwareSettings
        Devices and precision.

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

    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning_fabric.*")
    try:
        fabric = Fabric(
            accelerator=settings.accelerator,
            devices=settings.devices,
            strategy=settings.strategy,
            precision=_PRECISION[settings.precision],
        )
        fabric.launch()
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        raise UserError(
            f"hardware asks for what this machine does not have ({error}): set "
            "hardware.accelerator, hardware.devices, hardware.strategy and hardware.precision."
        ) from error
    return fabric
