"""Reading what is measured, one after the other: a slice or a volume, with its mask."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glcm_mae.data import Record, UnreadableImage, is_volume, one_line, read_image
from glcm_mae.errors import UserError
from glcm_mae.measurement.intensities import intensities
from glcm_mae.measurement.masks import mask_path, read_mask
from glcm_mae.settings import FeaturesSettings

# How far a mask may lie from its image, in voxels: what rounding in a header comes to.
_SHIFT = 1e-3
_CUBE = 1.1  # ratio of the sides up to which a voxel passes for a cube

__all__ = ["Sample", "Unreadable", "read_samples"]


@dataclass(frozen=True)
class Sample:
    """What is measured at once.

    Parameters
    ----------
    record : Record
        The image; of a volume, its file.
    images : int
        How many images it is made of.
    values : Tensor, (H, W) or (D, H, W)
        Its intensities.
    regions : Tensor of int32, like ``values``, or None
        0 outside, else a region's number; None where there is no mask.
    depths : frozenset of int
        Bits of its images where their values have no unit: how bright one is, is then a matter of
        them.

    Examples
    --------
    >>> Sample(Record(Path("a.png"), None, "a", None), 1, torch.zeros(4, 4), None).images
    1
    """

    record: Record
    images: int
    values: Tensor
    regions: Tensor | None
    depths: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Unreadable:
    """An image that cannot be read, or the volume that it belongs to.

    Parameters
    ----------
    record : Record
        The image; of a volume, its file.
    images : int
        How many images that leaves out.
    reason : str
        As `UnreadableImage` says it.

    Examples
    --------
    >>> Unreadable(Record(Path("a.png"), None, "a", None), 1, "is empty.").reason
    'is empty.'
    """

    record: Record
    images: int
    reason: str


def read_samples(
    records: Sequence[Record], settings: FeaturesSettings
) -> Iterator[Sample | Unreadable]:
    """Read images one after another, in their order.

    Parameters
    ----------
    records : sequence of Record
        The images. Those of one file that stand together are the slices of a volume, where the
        aggregation is one of volumes.
    settings : FeaturesSettings
        How they are read, and where their masks are.

    Yields
    ------
    Sample or Unreadable

    Raises
    ------
    UnreadableImage
        A mask cannot be read, or an image, and ``on_error`` is "stop".
    UserError
        An image or a mask does not fit the settings.
    """
    for _, found in groupby(records, key=lambda record: record.path):
        frames = list(found)
        # All masks of a file before its images: of two packed files each is unpacked once.
        try:
            masks = [_read_mask(record, settings) for record in frames]
        except UnreadableImage as error:
            if settings.on_error == "stop":
                raise
            whole = replace(frames[0], frame=None)
            yield Unreadable(whole, len(frames), f"has a mask that {error.reason}")
            continue
        if settings.is_volumetric:
            whole = replace(frames[0], frame=None)
            yield from _sample(whole, frames, masks, settings)
        else:
            for record, mask in zip(frames, masks, strict=True):
                yield from _sample(record, [record], [mask], settings)


def _sample(
    record: Record,
    frames: list[Record],
    masks: list[np.ndarray | None],
    settings: FeaturesSettings,
) -> Iterator[Sample | Unreadable]:
    """Read a slice, or the frames of a volume, as one sample."""
    try:
        read = [
            _read_values(frame, mask, settings) for frame, mask in zip(frames, masks, strict=True)
        ]
        _check_grid(record, settings)  # of files that have just been read
    except UnreadableImage as error:
        if settings.on_error == "stop":
            raise
        yield Unreadable(record, len(frames), error.reason)
        return
    slices = [values for values, _ in read]
    depths = frozenset(bits for _, bits in read if bits is not None)
    marked = [mask for mask in masks if mask is not None]
    if not settings.is_volumetric:
        regions = torch.from_numpy(marked[0]) if marked else None
        yield Sample(record, 1, torch.from_numpy(slices[0]), regions, depths)
        return
    _check_volume(frames, slices)
    if settings.aggregation.startswith("3d"):
        _warn_of_flat_voxels(record.path)
    regions = torch.from_numpy(np.stack(marked)) if marked else None
    yield Sample(record, len(frames), torch.from_numpy(np.stack(slices)), regions, depths)


def _read_values(
    record: Record, mask: np.ndarray | None, settings: FeaturesSettings
) -> tuple[np.ndarray, int | None]:
    """Read an image, and its bits where its values have no unit.

    What is NaN or infinite outside of its mask, which nothing looks at, is 0.
    """
    stored, facts = read_image(record.path, record.frame, settings.plane, finite=mask is None)
    values = intensities(stored, facts, settings, one_line(record.name))
    has_bits = facts.value_range is not None and facts.unit is None and not facts.is_rescaled
    bits = facts.bits if has_bits else None
    if mask is None:
        return values, bits
    if mask.shape != values.shape:
        raise UnreadableImage(
            record.path,
            f"has {_size(values)} pixels (height x width) and its mask {_size(mask)}: a mask must "
            "be of its image's size.",
        )
    known = np.isfinite(values)
    if (~known & (mask != 0)).any():
        raise UnreadableImage(
            record.path, "holds NaN or infinite values inside its mask: leave them out of the mask."
        )
    return np.where(known, values, values.dtype.type(0)), bits


def _read_mask(record: Record, settings: FeaturesSettings) -> np.ndarray | None:
    if settings.masks is None:
        return None
    path = mask_path(record.path, settings.masks, settings.images)
    return read_mask(path, record.frame, settings.plane)


def _check_grid(record: Record, settings: FeaturesSettings) -> None:
    if settings.masks is not None:
        mask = mask_path(record.path, settings.masks, settings.images)
        _check_volumes(record.path, mask)


@lru_cache(maxsize=1)  # the slices of a volume come one after another
def _check_volumes(image: Path, mask: Path) -> None:
    """Refuse a volume's mask that lies elsewhere in space, or has other voxels."""
    if not (is_volume(image) and is_volume(mask)):
        return
    one, other = _volume(image), _volume(mask)
    if one.shape[:3] != other.shape[:3]:
        raise UnreadableImage(
            image,
            f"has {_voxels(one)} voxels and its mask {_voxels(other)}: a mask must be of its "
            "image's grid.",
        )
    spacing = np.linalg.norm(one.affine[:3, :3], axis=0)
    if np.abs(one.affine - other.affine)[:3].max() > _SHIFT * spacing.min():
        raise UnreadableImage(
            image,
            f"lies elsewhere in space than its mask {one_line(mask)} (their affines differ): "
            "resample the mask to the image's grid.",
        )


def _volume(path: Path) -> Any:
    """Open a NIfTI file for its shape and place; nibabel goes by its ending, where we do not."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    try:
        return nibabel.load(path)
    except ImageFileError as error:
        raise UnreadableImage(
            path, "is not packed as its ending says (.nii is plain, .nii.gz gzipped): rename it."
        ) from error


def _voxels(volume: Any) -> str:
    return " x ".join(map(str, volume.shape))


def _check_volume(frames: list[Record], slices: list[np.ndarray]) -> None:
    name = one_line(frames[0].path)
    if len(frames) == 1:
        raise UserError(
            f"{name} is one slice and no volume: give volumes (NIfTI, or files of several frames), "
            "or --aggregation averaged or merged."
        )
    if len({values.shape for values in slices}) > 1:
        raise UserError(
            f"{name} holds images of different sizes, which make no volume: give --aggregation "
            "averaged or merged."
        )
    if _is_series(frames[0].path):
        raise UserError(
            f"{name} holds a series of volumes: save each as a file of its own, or give "
            "--aggregation averaged or merged."
        )
    numbers = [frame.frame or 0 for frame in frames]
    if any(after != before + 1 for before, after in pairwise(numbers)):
        raise UserError(
            f"{name} is listed with frames that do not follow each other, which make no volume: "
            "list them in order, or give --aggregation averaged or merged."
        )


def _warn_of_flat_voxels(path: Path) -> None:
    """Say where the directions in space are of different lengths."""
    if not is_volume(path):
        return
    volume = _volume(path)
    sides = np.linalg.norm(volume.affine[:3, :3], axis=0)
    if sides.max() > _CUBE * sides.min():
        shown = " x ".join(f"{side:.3g}" for side in sides)
        print(
            f"{one_line(path)} has voxels of {shown} mm, which 3D directions take for cubes: "
            "resample it, or give --aggregation 2.5d_merged",
            file=sys.stderr,
        )


def _is_series(path: Path) -> bool:
    """Tell a NIfTI file of several volumes: the last slice of one comes before the next's first."""
    if not is_volume(path):
        return False
    volume = _volume(path)
    return len(volume.shape) > 3 and volume.shape[3] > 1


def _size(values: np.ndarray) -> str:
    return f"{values.shape[0]} x {values.shape[1]}"
