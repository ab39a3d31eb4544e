"""What all pictures share."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor


def png(figure: Figure, dpi: int, **options: Any) -> bytes:
    """Turn a figure into the content of a PNG file.

    Parameters
    ----------
    figure : Figure
        What is drawn.
    dpi : int
        Pixels per inch.
    **options
        Of ``Figure.savefig``.

    Returns
    -------
    bytes
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # which the font lacks: a box is drawn
        figure.savefig(buffer, format="png", dpi=dpi, **options)
    return buffer.getvalue()


def show_image(axes: Axes, image: Tensor) -> None:
    """Draw an image without a frame.

    Parameters
    ----------
    axes : Axes
        Where.
    image : Tensor, (C, H, W)
        Gray or RGB, in [0, 1].
    """
    pixels = image.permute(1, 2, 0).numpy()
    axes.imshow(
        pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels, cmap="gray", vmin=0, vmax=1
    )
    axes.set_axis_off()
