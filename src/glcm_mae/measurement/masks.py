"""Regions of interest: where the mask of an image lies, and what its numbers mark."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from glcm_mae.data import (
    Manifest,
    Plane,
    UnreadableImage,
    one_line,
    read_image,
    without_ending,
)
from glcm_mae.data.record import Record
from glcm_mae.data.windows import rescaled
from glcm_mae.errors import UserError

__all__ = ["mask_path", "read_mask", "with_masks"]


def mask_path(image: Path, masks: str, source: str | Path) -> Path:
    """Tell where the mask of an image lies.

    Parameters
    ----------
    image : Path
        The image's file.
    masks : str
        A folder that holds a file of the same name in the same subfolders; or a file, in whose
        name ``{folder}`` stands for the image's folder and ``{name}`` for the image's name
        without its ending.
    source : str or Path
        The folder, manifest or image that was given.

    Returns
    -------
    Path

    Examples
    --------
    >>> mask_path(Path("busi/benign/a.png"), "{folder}/{name}_mask.png", "busi").as_posix()
    'busi/benign/a_mask.png'
    """
    if not Path(masks).is_dir():
        return Path(
            masks.replace("{folder}", str(image.parent)).replace("{name}", without_ending(image))
        )
    root = Path(source) if Path(source).is_dir() else Path(source).parent
    below = image.relative_to(root) if image.is_relative_to(root) else Path(image.name)
    return Path(masks, below)


def with_masks(
    manifest: Manifest, masks: str | None, source: str | Path, on_error: str = "stop"
) -> Manifest:
    """Tell each image its mask, and leave out the images that are masks of others.

    Parameters
    ----------
    manifest : Manifest
        All images, which may know their masks.
    masks : str, optional
        As for `mask_path`, where they do not.
    source : str or Path
        As for `mask_path`.
    on_error : {"stop", "skip"}
        Whether an image whose mask is missing is refused, or left for the reading to report.

    Returns
    -------
    Manifest
        All images have a mask, or none has.

    Raises
    ------
    UserError
        There are no such masks, or an image has none, or is its own; or masks are told twice.

    Examples
    --------
    >>> nothing = Manifest((), (), has_patients=False)
    >>> len(with_masks(nothing, "{folder}/{name}_mask.png", "images"))
    0
    """
    lacking = sum(record.mask is None for record in manifest.records)
    if masks is None and lacking == len(manifest):
        return manifest
    if masks is None:
        if lacking:
            raise UserError(
                f"{source} names no mask of {lacking} of {len(manifest)} images (column mask): "
                "fill them in, or list these images apart."
            )
        kept = list(manifest.records)
    elif lacking < len(manifest):
        raise UserError(f"{source} has a column mask and masks is {masks}: remove one of them.")
    else:
        kept = _named_by(masks, manifest, source)
    for record in kept:
        assert record.mask is not None
        if on_error == "stop" and not record.mask.is_file():
            raise UserError(
                f"{one_line(record.path)} has no mask {one_line(record.mask)}: add it, or say how "
                "masks are named by a pattern such as --masks '{folder}/{name}_mask.png'."
            )
    return replace(manifest, records=tuple(kept))


def _named_by(masks: str, manifest: Manifest, source: str | Path) -> list[Record]:
    """Find each image's mask by the setting; those of others are no images."""
    if "{" not in masks and not Path(masks).exists():
        raise UserError(
            f"masks is {masks}, which is no folder: give the folder of the masks, or a pattern "
            "such as '{folder}/{name}_mask.png'."
        )
    paths = [mask_path(record.path, masks, source) for record in manifest.records]
    places = [os.path.abspath(record.path) for record in manifest.records]
    owners: dict[str, set[str]] = {}  # of each mask
    for place, path in zip(places, paths, strict=True):
        owners.setdefault(os.path.abspath(path), set()).add(place)
    kept: list[Record] = []
    for record, place, path in zip(manifest.records, places, paths, strict=True):
        if owners.get(place) == {place}:
            raise UserError(
                f"{one_line(record.path)} is its own mask by --masks {masks}, and no other "
                "image's: give the folder of the masks, or a pattern such as "
                "'{folder}/{name}_mask.png'."
            )
        if place not in owners:
            kept.append(replace(record, mask=path))
    return kept


def read_mask(path: Path, frame: int | None = None, plane: Plane = "axial") -> np.ndarray:
    """Read a mask: 0 outside, and a number for each region.

    Parameters
    ----------
    path : Path
        The mask's file.
    frame : int, optional
        Which of its images, where it holds several: the frame of the image that it belongs to.
    plane : {"axial", "coronal", "sagittal"}
        How volumes (NIfTI, NRRD, MetaImage) are cut into slices.

    Returns
    -------
    np.ndarray
        (H, W) int32.

    Raises
    ------
    UnreadableImage
        The file cannot be read, or is no mask.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     place = Path(folder, "mask.png")
    ...     Image.new("L", (2, 1), 255).save(place)
    ...     read_mask(place).tolist()
    [[255, 255]]
    """
    stored, facts = read_image(path, frame, plane)
    if facts.format == "jpeg":
        raise UnreadableImage(
            path, "is a JPEG, which blurs the edges of a mask into other numbers: save it as PNG."
        )
    if facts.white_is_zero:
        raise UnreadableImage(
            path,
            f"says that white is 0 ({facts.photometric}), so that its regions and its background "
            "may be swapped: save the mask with black as 0.",
        )
    if (stored != stored[:1]).any():
        raise UnreadableImage(
            path,
            "has colours: save the mask in gray, a number for each region (of a palette, the "
            "indices themselves).",
        )
    numbers = rescaled(stored[0], facts).astype(np.float64)
    if numbers.min() < 0:
        raise UnreadableImage(
            path,
            "holds negative numbers, and a mask whole numbers from 0 (outside): mend it, or look "
            "whether image and mask are swapped.",
        )
    if (numbers != np.rint(numbers)).any() or numbers.max() >= 2**31:
        raise UnreadableImage(path, "holds fractions: give each region of the mask a whole number.")
    return numbers.astype(np.int32)
