"""Room for images in memory, and how much is left, to say beforehand what would end half-way."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from glcm_mae.errors import UserError

__all__ = ["Room", "amount", "in_memory", "memory_left", "needed"]

Room = Callable[[tuple[int, ...]], Tensor]
"""What makes a tensor (N, C, H, W) of float32 to be filled."""


def in_memory(
    shape: tuple[int, ...], otherwise: str = "give a folder for them (data.cache), fewer at a time"
) -> Tensor:
    """Make room for images in memory.

    Parameters
    ----------
    shape : tuple of int
        (N, C, H, W).
    otherwise : str
        What else to do than to read smaller ones.

    Returns
    -------
    Tensor of float32
        Not yet filled.

    Raises
    ------
    UserError
        If it would take more memory than is left.

    Examples
    --------
    >>> in_memory((2, 1, 4, 4)).dtype
    torch.float32
    """
    left = memory_left()
    if needed(shape) > left:
        raise UserError(
            f"{shape[0]} images of {' x '.join(map(str, shape[1:]))} values take "
            f"{amount(needed(shape))} of memory, of which {amount(left)} are left: "
            f"{otherwise}, or set data.image_size lower"
            f"{' or data.color gray' * (shape[1] == 3)}."
        )
    return torch.empty(shape)


def needed(shape: tuple[int, ...]) -> int:
    """Count the bytes that values of four each take."""
    return 4 * math.prod(shape)


def amount(size: float) -> str:
    """Write a number of bytes.

    Examples
    --------
    >>> amount(3 * 2**30), amount(2**19)
    ('3.0 GiB', '0.5 MiB')
    """
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


def memory_left(root: Path = Path("/")) -> float:
    """Count the bytes that this process can still be given, swap included.

    What Linux tells of the machine, and of the limits that a container or a job of a cluster sets
    (control groups, of either version). Of such a limit, what else counts towards it is not taken
    off: what needs more than this is sure to be killed, what needs less may be.

    Parameters
    ----------
    root : Path
        Where ``proc`` and ``sys`` lie.

    Returns
    -------
    float
        Infinity where the system does not tell.

    Examples
    --------
    >>> memory_left() > 2**20
    True
    """
    told = re.findall(r"^(?:MemAvailable|SwapFree): +(\d+) kB", _text(root / "proc/meminfo"), re.M)
    machine = 1024.0 * sum(map(int, told)) if told else math.inf
    return min([machine, *_limits(root)])


def _limits(root: Path) -> Iterator[float]:
    """Yield the limits of the control groups that this process is in, and of those around them."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        mounted = root / "sys/fs/cgroup" / controllers
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        inside = Path(path.lstrip("/"))
        for group in (inside, *inside.parents):  # in a container, only the last may be seen
            limit = _text(mounted / group / name).strip()
            if limit.isdecimal():  # else "max"
                yield float(limit)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # another system, or no such group
        return ""
