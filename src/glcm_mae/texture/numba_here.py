"""Whether numba is there to be used."""

from __future__ import annotations

import functools
import warnings
from importlib.util import find_spec
from typing import Any


@functools.cache
def has_numba() -> bool:
    """Whether numba can be imported and may compile; if it is there and cannot, say so once.

    It refuses a NumPy that is newer than itself, say, and nothing here needs it but for speed.

    Examples
    --------
    >>> has_numba()
    True
    """
    if find_spec("numba") is None:
        return False
    try:
        import numba
    except ImportError as error:
        warnings.warn(
            f"numba is installed and cannot be imported ({error}): GLCMs are computed without it, "
            "to the same values, but slower. Update numba.",
            stacklevel=2,
        )
        return False
    config: Any = numba.config
    return not config.DISABLE_JIT  # as Python, the loops would take minutes
