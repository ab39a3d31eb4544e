"""The eight ways to lay a square on itself, and the windows of a slight crop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

__all__ = ["POSES", "SYMMETRIES", "WINDOWS", "Pose", "Symmetry", "Window"]


@dataclass(frozen=True)
class Symmetry:
    """A mirroring or a turn by a multiple of 90 degrees.

    Parameters
    ----------
    transposed : bool
        Whether rows and columns change places, before the rest.
    flipped_rows, flipped_columns : bool
        Whether the image is turned upside down, and left to right.

    Examples
    --------
    >>> import torch
    >>> Symmetry(False, False, True)(torch.tensor([[1, 2], [3, 4]])).tolist()
    [[2, 1], [4, 3]]
    """

    transposed: bool
    flipped_rows: bool
    flipped_columns: bool

    def __call__(self, images: Tensor) -> Tensor:
        """Apply it to images (..., H, W)."""
        if self.transposed:
            images = images.mT
        axes = [
            axis
            for axis, flipped in ((-2, self.flipped_rows), (-1, self.flipped_columns))
            if flipped
        ]
        return images.flip(axes) if axes else images

    def moved(self, y: float, x: float) -> tuple[float, float]:
        """Where the point (y, x), counted from the image's centre, comes to lie."""
        if self.transposed:
            y, x = x, y
        return -y if self.flipped_rows else y, -x if self.flipped_columns else x


SYMMETRIES = tuple(
    Symmetry(transposed, rows, columns)
    for transposed in (False, True)
    for rows in (False, True)
    for columns in (False, True)
)


@dataclass(frozen=True)
class Window:
    """A square part of a square image.

    Parameters
    ----------
    scale : float
        Its side as a share of the image's, up to 1.
    top, left : float
        Where it lies in its range: 0 at the top or left border, 1 at the other.

    Examples
    --------
    >>> import torch
    >>> Window(scale=0.5, top=0.0, left=1.0)(torch.arange(16).view(4, 4)).tolist()
    [[2, 3], [6, 7]]
    """

    scale: float
    top: float
    left: float

    def __call__(self, images: Tensor) -> Tensor:
        """Cut it out of images (..., H, H): gives (..., h, h), h = scale * H rounded."""
        side = images.shape[-1]
        kept = round(self.scale * side)
        y, x = round(self.top * (side - kept)), round(self.left * (side - kept))
        return images[..., y : y + kept, x : x + kept]


# A copy cut by 5% lies within 2.5% of the whole or of one of the corners; one cut by 5% on every
# side is the last.
WINDOWS = (
    Window(1.0, 0.0, 0.0),
    Window(0.95, 0.0, 0.0),
    Window(0.95, 0.0, 1.0),
    Window(0.95, 1.0, 0.0),
    Window(0.95, 1.0, 1.0),
    Window(0.9, 0.5, 0.5),
)


class Pose(NamedTuple):
    """How an image is seen: a window of it, then a symmetry."""

    window: Window
    symmetry: Symmetry

    def placement(self) -> tuple[float, float, float, float]:
        """Tell where the window lies in the image after the symmetry, as `register` takes it.

        Returns
        -------
        tuple of float
            Scale y, scale x, shift y, shift x; the image runs from -1 to 1 on both axes.

        Examples
        --------
        >>> Pose(Window(0.5, 0.0, 0.0), Symmetry(False, False, True)).placement()
        (0.5, 0.5, -0.5, 0.5)
        """
        scale, spare = self.window.scale, 1 - self.window.scale
        y, x = self.symmetry.moved(
            (2 * self.window.top - 1) * spare, (2 * self.window.left - 1) * spare
        )
        return scale, scale, y, x


POSES = tuple(Pose(window, symmetry) for window in WINDOWS for symmetry in SYMMETRIES)
"""Every pose in which a copy is looked for; the first is the image as it is."""
