"""How images of any size get to the one that a network sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from glcm_mae.data.readers import Facts
from glcm_mae.errors import UserError

Resize = Literal["none", "stretch", "crop", "pad", "center"]


def check_image_size(image_size: tuple[int, int]) -> None:
    """Refuse what is no size.

    Parameters
    ----------
    image_size : (int, int)
        Height and width.

    Raises
    ------
    UserError
        If one is below 1.
    """
    if min(image_size) < 1:
        raise UserError(f"data.image_size is {in_words(image_size)}: set it to 1 or more.")


def check_spacing(spacing: float | None, resize: Resize) -> None:
    """Refuse what is no size of a pixel, or would not last.

    Parameters
    ----------
    spacing : float or None
        Millimetres that a pixel shall measure.
    resize : str
        What happens to images after it.

    Raises
    ------
    UserError
        Naming the setting.
    """
    if spacing is None:
        return
    if not 0 < spacing < math.inf:
        raise UserError(f"data.spacing is {spacing:g}: set it above 0, in mm.")
    if resize in ("crop", "pad", "stretch"):
        raise UserError(
            f"data.spacing is {spacing:g} mm, and data.resize {resize} would scale each image "
            "anew: set data.resize to center."
        )


def size_at(
    spacing: float | None, shape: tuple[int, ...], facts: Facts, name: str
) -> tuple[int, int]:
    """Say how many pixels of a given size an image has.

    Parameters
    ----------
    spacing : float or None
        Side of these pixels, in mm. None: its own pixels.
    shape : (int, int)
        Height and width in its own.
    facts : Facts
        How large they are.
    name : str
        What errors call the image.

    Returns
    -------
    (int, int)

    Raises
    ------
    UserError
        If its file does not tell how large they are.

    Examples
    --------
    >>> size_at(0.5, (40, 30), Facts("dicom", "u2", 16, "", None, spacing=(1.0, 2.0)), "a.dcm")
    (80, 120)
    """
    height, width = shape
    if spacing is None:
        return height, width
    if facts.spacing is None:
        raise UserError(
            f"{name} does not tell the size of its pixels (a NIfTI file must name its unit, which "
            "nibabel's header.set_xyzt_units does): mend or leave out such images, or leave "
            "data.spacing out."
        )
    tall, wide = facts.spacing
    return max(1, round(height * tall / spacing)), max(1, round(width * wide / spacing))


def scaled_size(
    size: tuple[int, int], image_size: tuple[int, int], resize: Resize
) -> tuple[int, int]:
    """Say to how many pixels an image is scaled, before its margins are cut off or filled.

    Parameters
    ----------
    size : (int, int)
        How many it has.
    image_size : (int, int)
        How many it shall have in the end.
    resize : str
        As for `load_images`.

    Returns
    -------
    (int, int)

    Examples
    --------
    >>> [scaled_size((10, 20), (5, 5), way) for way in ("stretch", "crop", "pad", "center")]
    [(5, 5), (5, 10), (2, 5), (10, 20)]
    """
    if resize == "stretch":
        return image_size[0], image_size[1]
    if resize in ("none", "center"):
        return size
    scales = image_size[0] / size[0], image_size[1] / size[1]
    scale = max(scales) if resize == "crop" else min(scales)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def resized(pixels: Tensor, scaled: tuple[int, int], image_size: tuple[int, int]) -> Tensor:
    """Scale an image, and then cut its margins off, or fill them up with zeros.

    Parameters
    ----------
    pixels : Tensor, (C, H, W)
        The image.
    scaled : (int, int)
        From `scaled_size`.
    image_size : (int, int)
        What comes out.

    Returns
    -------
    Tensor, (C, *image_size)

    Examples
    --------
    >>> import torch
    >>> resized(torch.ones(1, 3, 2), (3, 2), (1, 4))
    tensor([[[0., 1., 1., 0.]]])
    """
    if pixels.shape[1:] != scaled:
        pixels = F.interpolate(pixels[None], scaled, mode="bilinear", antialias=True)[0]
    # Positive numbers of rows and columns are added, negative ones are cut off.
    rows, columns = image_size[0] - scaled[0], image_size[1] - scaled[1]
    left, top = columns // 2, rows // 2
    return F.pad(pixels, (left, columns - left, top, rows - top))


def in_words(size: Sequence[int]) -> str:
    """Write height and width.

    Examples
    --------
    >>> in_words((6, 8))
    '6 x 8'
    """
    return f"{size[0]} x {size[1]}"
