"""What is compared: the settings that every implementation of the GLCM distance shares."""

from __future__ import annotations

from dataclasses import dataclass

from .binning import Binning
from .offsets import Offset


@dataclass(frozen=True)
class Comparison:
    """How two groups of patches are compared.

    Parameters
    ----------
    binning : Binning
        How pixels are shared between gray levels.
    offsets : tuple of (dy, dx)
        Pixel offsets.
    scaled : bool
        Replace G by ``G (S - G) / S``, S the sum of G.
    normalized : bool
        Divide by S.

    Examples
    --------
    >>> Comparison(Binning(levels=8), ((0, 1), (1, 0))).n_cells
    128
    """

    binning: Binning
    offsets: tuple[Offset, ...]
    scaled: bool = False
    normalized: bool = False

    @property
    def n_cells(self) -> int:
        """Cells of all offsets' matrices together, over which a distance is averaged."""
        return self.binning.levels**2 * len(self.offsets)
