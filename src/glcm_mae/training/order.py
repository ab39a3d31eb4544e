"""Everything random in a training follows from its seed and the number of the step.

So there is no state of generators to keep, and a resumed run makes the same steps.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

_PRIME = 1_000_003  # far apart seeds for neighbouring numbers


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Seed PyTorch for one step on one device: augmentation, masks, dropped paths.

    Parameters
    ----------
    seed, step, rank : int
        The run's seed, the step's number and the device's.
    """
    torch.manual_seed(((seed * _PRIME + step) * _PRIME + rank) % 2**63)


@lru_cache(maxsize=1)  # every step asks for its epoch: dealt anew, 50,000 images took 7 ms a step
def epoch_batches(
    n: int, batch: int, seed: int, epoch: int, rank: int = 0, world: int = 1
) -> list[Tensor]:
    """Deal the images of an epoch into whole batches, a share of them to each device.

    Parameters
    ----------
    n : int
        Number of images.
    batch : int
        Images a batch; at most n.
    seed, epoch : int
        The same numbers give the same order.
    rank, world : int
        This device and the number of devices.

    Returns
    -------
    list of Tensor of int64, (batch,)
        Images that do not fill a batch are left out of this epoch.

    Examples
    --------
    >>> [len(b) for b in epoch_batches(10, 4, seed=0, epoch=0)]
    [4, 4]
    """
    generator = torch.Generator().manual_seed((seed * _PRIME + epoch) % 2**63)
    order = torch.randperm(n, generator=generator)[rank::world]
    return [part for part in order.split(batch) if len(part) == batch]
