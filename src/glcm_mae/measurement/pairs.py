"""Whether a mask fits its image: as many frames, and in space the same voxels."""

from __future__ import annotations

from math import floor, log10
from pathlib import Path

import numpy as np

from glcm_mae.data import (
    Grid,
    UnreadableImage,
    count_frames,
    one_line,
    read_dicom_header,
    read_grid,
)

__all__ = ["check_pair"]

# How far a voxel may lie from that of the mask, in voxels: more than rounding in a header comes to,
# and too little to make a voxel another's.
_SHIFT = 0.1


def check_pair(image: Path, grid: Grid | None, mask: Path) -> None:
    """Refuse a mask whose frames are not those of its image.

    Parameters
    ----------
    image : Path
        The image's file.
    grid : Grid or None
        Where its voxels lie, from `read_grid`.
    mask : Path
        The mask's file.

    Raises
    ------
    UnreadableImage
        Of the image, naming both, if they do not fit; of whichever cannot be opened.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     image, mask = Path(folder, "a.png"), Path(folder, "mask.png")
    ...     Image.new("L", (4, 3)).save(image)
    ...     Image.new("L", (4, 3)).save(mask)
    ...     check_pair(image, None, mask)
    """
    other = read_grid(mask)
    if grid is not None and other is not None:
        reason = _unlike(grid, other, one_line(mask))
    elif grid is None and other is None:
        reason = _of_other_length(count_frames(image), count_frames(mask), one_line(mask))
    else:
        reason = _turned(image, grid is not None, one_line(mask))
    if reason is not None:
        raise UnreadableImage(image, reason)


def _of_other_length(images: int, masks: int, mask: str) -> str | None:
    if images == masks:
        return None
    return (
        f"holds {_frames(images)} and its mask {mask} {masks}: give a mask with one frame for each "
        "of the image's."
    )


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"


def _turned(image: Path, is_volume: bool, mask: str) -> str:
    """Say why a volume does not go with another format: its slices alone are turned."""
    if is_volume:
        return (
            f"is a volume in space, whose slices are turned on reading, and its mask {mask} is "
            "none, so that they may lie otherwise: save the mask as NIfTI, NRRD or MetaImage, on "
            "the image's grid."
        )
    if read_dicom_header(image) is not None:
        return (
            f"is DICOM and its mask {mask} a volume: convert the image's series to NIfTI first, "
            "as dcm2niix does, or to NRRD with 3D Slicer."
        )
    return (
        f"is no volume in space and its mask {mask} is one, whose slices are turned on reading, so "
        "that they may lie otherwise: save both as NIfTI, NRRD or MetaImage, or both as what the "
        "image is."
    )


def _unlike(one: Grid, other: Grid, mask: str) -> str | None:
    if one.volumes != other.volumes:
        return _of_other_volumes(one.volumes, other.volumes, mask)
    if one.shape != other.shape:
        return (
            f"has {_voxels(one)} voxels and its mask {_voxels(other)} (to the right, front and "
            f"head): resample the mask {mask} to the image's grid."
        )
    if _shift(one, other) <= _SHIFT:
        return None
    return (
        f"lies elsewhere in space than its mask {mask} ({_difference(one, other)}): resample the "
        "mask to the image's grid or, if it was drawn there, save it with the image's origin and "
        "directions."
    )


def _of_other_volumes(images: int, masks: int, mask: str) -> str:
    if images == 1:
        return (
            f"is one volume and its mask {mask} a series of {masks}: give one volume with its "
            "lesions numbered 1, 2, ..., or a file for each lesion."
        )
    mask_is = "one volume" if masks == 1 else f"one of {masks}"
    return (
        f"is a series of {images} volumes and its mask {mask} {mask_is}: save each volume of the "
        "image as a file of its own."
    )


def _shift(one: Grid, other: Grid) -> float:
    """Measure in voxels how far the corners of two grids lie from each other.

    A voxel between them lies no farther: where it goes is linear in its counts.
    """
    ends = [(0, length - 1) for length in one.shape]
    corners = np.stack([axis.ravel() for axis in np.meshgrid(*ends)] + [np.ones(8)])
    apart = ((other.affine - one.affine) @ corners)[:3]
    sides = np.array(one.sides)
    along = (one.affine[:3, :3] / sides).T @ apart  # mm along each axis of the image
    return float((np.abs(along) / sides[:, None]).max())


def _difference(one: Grid, other: Grid) -> str:
    """Say which numbers differ, whatever the order of the axes in the files."""
    decimals = 3 - floor(log10(min(one.sides)))  # thousandths of a voxel
    middles = [grid.affine[:3] @ [*(np.array(grid.shape) - 1) / 2, 1] for grid in (one, other)]
    pairs = (("voxels", " x ", one.sides, other.sides), ("its middle", ", ", *middles))
    told = []
    for name, joint, *values in pairs:
        mine, its = (np.round(numbers, decimals) + 0.0 for numbers in values)  # + 0.0: no -0
        if (mine != its).any():
            shown = (joint.join(f"{number:.10g}" for number in row) for row in (mine, its))
            told.append(f"{name} {' mm against '.join(shown)}")
    return "; ".join(told) or "its axes point elsewhere"


def _voxels(grid: Grid) -> str:
    return " x ".join(map(str, grid.shape))
