"""Compiling loops for the CPU (numba), with a cache on disk that notices every change."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numba

_HERE = Path(__file__).parent


def compiled(
    function: Callable[..., Any], fastmath: Collection[str] = (), inline: str = "never"
) -> Any:
    """Compile a function when it is first called, or read it from the cache.

    numba takes a cached function for current while the file that it stands in is unchanged, though
    it holds the code of functions of other files, too. So each state of these files has a folder
    of its own. Where no folder can be written, nothing is cached.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "inline": inline}
    options["fastmath"] = set(fastmath)
    config: Any = numba.config
    base = config.CACHE_DIR
    config.CACHE_DIR = str(Path(base or _HERE / "__pycache__") / f"compiled-{_version()}")
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:
        return numba.njit(**options)(function)
    finally:
        config.CACHE_DIR = base


@functools.cache
def _version() -> str:
    """Name the state of all files with compiled functions."""
    files = sorted([*_HERE.glob("*_cpu.py"), _HERE / "lanes.py", Path(__file__)])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


summing: Any = functools.partial(compiled, fastmath=("contract", "reassoc"))
"""Does as `compiled`; sums may be taken in any order, and so several numbers at a time."""

written_out: Any = functools.partial(summing, inline="always")
"""Does as `summing`, in the caller: to hand over arrays would take longer than a short function."""
