"""How much memory is left, to say beforehand what would end in the middle without a word."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["memory_left"]


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
