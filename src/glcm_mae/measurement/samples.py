"""Reading what is measured, one after the other: a slice or a volume, with its mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from glcm_mae.data import Grid, Record, UnreadableImage, one_line, read_grid, read_image
from glcm_mae.measurement.intensities import intensities
from glcm_mae.measurement.masks import read_mask
from glcm_mae.measurement.pairs import check_pair
from glcm_mae.measurement.spacing import Stretch, sides_of, stretch_of
from glcm_mae.settings import FeaturesSettings

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
    stretch : Stretch or None
        Its pixels or voxels, where they are longer in one direction than in another and not
        resampled.
    sides : tuple of float or None
        Sides of a pixel or voxel in mm along each axis of ``values``; None where they are not told.
    tells_unit : bool
        Whether its file says that they are in mm, or in what else. If not, they are taken to be.

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
    stretch: Stretch | None = None
    sides: tuple[float, ...] | None = None
    tells_unit: bool = True


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
        An image or its mask cannot be read, or does not fit the settings, and ``on_error`` is
        "stop".
    """
    for (path, _), found in groupby(records, key=lambda record: (record.path, record.mask)):
        frames = list(found)
        whole = replace(frames[0], frame=None)
        # All masks of a file before its images: of two packed files each is unpacked once.
        try:
            grid = read_grid(path)
            masks = _read_masks(frames, grid, settings)
        except UnreadableImage as error:
            if settings.on_error == "stop":
                raise
            of_mask = "" if error.path == path else f"has a mask {one_line(error.path)} that "
            yield Unreadable(whole, len(frames), f"{of_mask}{error.reason}")
            continue
        if settings.is_volumetric:
            yield from _sample(whole, frames, masks, grid, settings)
        else:
            for record, mask in zip(frames, masks, strict=True):
                yield from _sample(record, [record], [mask], grid, settings)


def _sample(
    record: Record,
    frames: list[Record],
    masks: list[np.ndarray | None],
    grid: Grid | None,
    settings: FeaturesSettings,
) -> Iterator[Sample | Unreadable]:
    """Read a slice, or the frames of a volume, as one sample."""
    try:
        read = [
            _read_slice(frame, mask, settings) for frame, mask in zip(frames, masks, strict=True)
        ]
        if settings.is_volumetric:
            _check_volume(frames, read, grid)
        sides = sides_of(grid, read[0].spacing, settings)
        if settings.spacing is not None and sides is None:
            raise UnreadableImage(record.path, _without_sides(read[0].spacing))
        plane = None if settings.is_3d else settings.plane
        if settings.spacing is not None and grid is not None and not grid.is_right_angled(plane):
            raise UnreadableImage(
                record.path,
                "has axes that do not stand at right angles (a tilted gantry?): resample it by a "
                "tool that knows them, or leave --spacing out.",
            )
    except UnreadableImage as error:
        if settings.on_error == "stop":
            raise
        yield Unreadable(record, len(frames), error.reason)
        return
    values = np.stack([found.values for found in read])
    marked = [mask for mask in masks if mask is not None]
    regions = np.stack(marked) if marked else None
    if not settings.is_volumetric:
        values, regions = values[0], None if regions is None else regions[0]
    yield Sample(
        record,
        len(frames),
        torch.from_numpy(values),
        None if regions is None else torch.from_numpy(regions),
        frozenset(found.bits for found in read if found.bits is not None),
        None if settings.spacing is not None else stretch_of(grid, read[0].spacing, settings),
        sides,
        read[0].spacing is not None,
    )


class _Slice(NamedTuple):
    values: np.ndarray
    bits: int | None  # where the values have no unit
    spacing: tuple[float, float] | None


def _read_slice(record: Record, mask: np.ndarray | None, settings: FeaturesSettings) -> _Slice:
    """Read an image. What is NaN or infinite outside of its mask, which nothing looks at, is 0."""
    stored, facts = read_image(record.path, record.frame, settings.plane, finite=mask is None)
    values = intensities(stored, facts, settings, Path(record.name))
    has_bits = facts.value_range is not None and facts.unit is None and not facts.is_rescaled
    bits = facts.bits if has_bits else None
    if mask is None:
        return _Slice(values, bits, facts.spacing)
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
    if settings.spacing is not None and not known.all():
        raise UnreadableImage(
            record.path,
            "holds NaN or infinite values outside its mask, which resampling would mix in: replace "
            "them before you save it, or leave --spacing out.",
        )
    return _Slice(np.where(known, values, values.dtype.type(0)), bits, facts.spacing)


def _read_masks(
    frames: list[Record], grid: Grid | None, settings: FeaturesSettings
) -> list[np.ndarray | None]:
    """Read the masks of a file's images, after a look at whether they fit."""
    first = frames[0]
    if first.mask is None:
        return [None] * len(frames)
    check_pair(first.path, grid, first.mask)
    return [read_mask(first.mask, record.frame, settings.plane) for record in frames]


def _check_volume(frames: list[Record], read: list[_Slice], grid: Grid | None) -> None:
    path = frames[0].path
    if len(frames) == 1:
        raise UnreadableImage(
            path,
            "is one slice and no volume: give volumes (NIfTI, as dcm2niix makes of DICOM series, "
            "NRRD, MetaImage, or files of several frames), or --aggregation averaged or merged.",
        )
    if len({found.values.shape for found in read}) > 1:
        raise UnreadableImage(
            path,
            "holds images of different sizes, which make no volume: give --aggregation averaged or "
            "merged.",
        )
    if grid is not None and grid.volumes > 1:
        raise UnreadableImage(
            path,
            "holds a series of volumes: save each as a file of its own, or give --aggregation "
            "averaged or merged.",
        )
    numbers = [frame.frame or 0 for frame in frames]
    if any(after != before + 1 for before, after in pairwise(numbers)):
        raise UnreadableImage(
            path,
            "is listed with frames that do not follow each other, which make no volume: list them "
            "in order, or give --aggregation averaged or merged.",
        )


def _without_sides(spacing: tuple[float, float] | None) -> str:
    what = "the size of its pixels" if spacing is None else "how far apart its slices are"
    return (
        f"does not tell {what}, without which it cannot be resampled: give it as NIfTI, NRRD or "
        "MetaImage (dcm2niix makes them of DICOM), or leave --spacing out."
    )


def _size(values: np.ndarray) -> str:
    return f"{values.shape[0]} x {values.shape[1]}"
