"""What is compared: the settings that every implementation of the GLCM distance shares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .binning import Binning
from .grid import GaussianGrid
from .offsets import Offset


@dataclass(frozen=True)
class Comparison:
    """How two groups of patches are compared.

    Parameters
    ----------
    binning : Binning or GaussianGrid
        How pixels are shared between gray levels.
    offsets : tuple of (dy, dx)
        Pixel offsets.
    scaled : bool
        Replace G by ``G (S - G) / S``, S the sum of G.
    normalized : bool
        Divide by S.
    weights : tuple of float, optional
        How much each offset counts; scaled to sum to one. Default: all alike.

    Raises
    ------
    ValueError
        If there is not one weight, 0 or more, for each offset, or none is above 0.

    Examples
    --------
    >>> Comparison(Binning(levels=8), ((0, 1), (1, 0)), weights=(3.0, 1.0)).weights
    (0.75, 0.25)
    """

    binning: Binning | GaussianGrid
    offsets: tuple[Offset, ...]
    scaled: bool = False
    normalized: bool = False
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", offset_weights(self.weights, len(self.offsets)))


def offset_weights(weights: Sequence[float] | None, n_offsets: int) -> tuple[float, ...]:
    """Scale the weights of offsets to sum to one; without any, all count alike.

    Parameters
    ----------
    weights : sequence of float, optional
        One for each offset, 0 or more; or none.
    n_offsets : int
        Number of offsets.

    Returns
    -------
    tuple of float

    Raises
    ------
    ValueError
        If their number is wrong, one is negative or not finite, or all are 0.

    Examples
    --------
    >>> offset_weights((3, 1), 2), offset_weights((), 2)
    ((0.75, 0.25), (0.5, 0.5))
    """
    given = tuple(np.ravel(() if weights is None else weights).tolist()) or (1.0,) * n_offsets
    valid = all(math.isfinite(w) and w >= 0 for w in given) and sum(given) > 0
    if len(given) != n_offsets or not valid:
        raise ValueError(
            f"weights is {given}: give one number for each of the {n_offsets} offsets, 0 or more "
            "and not all 0."
        )
    return tuple(w / sum(given) for w in given)
