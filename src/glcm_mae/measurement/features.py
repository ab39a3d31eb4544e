"""The 25 IBSI features of many images, one after another, into a table."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from glcm_mae.data import Manifest, UnreadableImage, is_volume, one_line, read_grid
from glcm_mae.errors import UserError
from glcm_mae.files import check_out
from glcm_mae.measurement.checks import check_features
from glcm_mae.measurement.gray_levels import gray_levels, without_outliers
from glcm_mae.measurement.listing import list_images
from glcm_mae.measurement.masks import with_masks
from glcm_mae.measurement.pairs import check_pair
from glcm_mae.measurement.resampling import bounding_box, resample
from glcm_mae.measurement.samples import Sample, Unreadable, read_samples
from glcm_mae.measurement.spacing import Stretch
from glcm_mae.measurement.table import Measured, write_table
from glcm_mae.settings import FeaturesSettings
from glcm_mae.texture import directions, image_features, volume_features

__all__ = ["Outcome", "images_to_measure", "measure", "write_features"]

_THREADS = 2
_AHEAD = 2  # images or volumes that are read and wait for a thread


@dataclass
class Outcome:
    """What became of a measurement.

    Parameters
    ----------
    measured : int
        Images, volumes or regions that were measured, each once at each distance.
    empty : int
        How many of them hold no pixel pair.
    beyond : int
        How many of these have values, but all of them beyond the range.
    skipped : list of (str, str)
        The images or volumes that could not be read, and why.
    depths : set of int
        Bits of the images whose values have no unit.
    most_regions : (int, str)
        The most regions that an image has, and its name.
    stretched : dict of Path to Stretch
        The files whose pixels are no squares, or whose voxels are no cubes.
    without_unit : dict of Path to None
        The files whose sides were taken to be in mm, in their order.

    Examples
    --------
    >>> Outcome(measured=3).skipped
    []
    """

    measured: int = 0
    empty: int = 0
    beyond: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    depths: set[int] = field(default_factory=set)
    most_regions: tuple[int, str] = (0, "")
    stretched: dict[Path, Stretch] = field(default_factory=dict)
    without_unit: dict[Path, None] = field(default_factory=dict)


def images_to_measure(settings: FeaturesSettings) -> Manifest:
    """List the images, and check the settings before the first is read.

    Parameters
    ----------
    settings : FeaturesSettings
        What the user gave.

    Returns
    -------
    Manifest
        Each with its mask, if there are masks; without the images that are masks of others.

    Raises
    ------
    UserError
        Naming what is wrong: a setting, the images, or the image that has no mask.
    """
    check_features(settings)
    check_out(settings.out, (".csv",))
    may_lack = settings.on_error == "skip"
    manifest = list_images(settings.images, settings.patient_regex, settings.plane, may_lack)
    if settings.per == "patient" and not manifest.tells_patients:
        raise UserError(
            f"{settings.images} does not tell patients: give a CSV with the columns path,patient, "
            "or find them in the files' names with --patient_regex."
        )
    marked = with_masks(manifest, settings.masks, settings.images, settings.on_error)
    if settings.on_error == "stop":
        _check_pairs(marked)
    return marked


def _check_pairs(manifest: Manifest) -> None:
    """Refuse volumes whose masks do not fit before the first is measured: headers tell."""
    for path, mask in dict.fromkeys((record.path, record.mask) for record in manifest.records):
        if mask is not None and is_volume(path):
            check_pair(path, read_grid(path), mask)


def write_features(
    settings: FeaturesSettings,
    manifest: Manifest,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Measure images and write the table of their features.

    Images are read, measured and written one after another: memory does not grow with their
    number. The table appears whole or not at all.

    Parameters
    ----------
    settings : FeaturesSettings
        What is measured, and how.
    manifest : Manifest
        The images, from `images_to_measure`.
    progress : callable, optional
        Called after each image, or volume, with the number of images in it.

    Returns
    -------
    Outcome

    Raises
    ------
    UserError
        An image does not fit the settings or cannot be read, or the table cannot be written.
    """
    outcome = Outcome()
    rows = _rows(manifest, settings, outcome, progress)
    write_table(Path(settings.out), rows, manifest, settings)
    return outcome


def measure(sample: Sample, settings: FeaturesSettings) -> list[Measured]:
    """Measure a slice or a volume, or each region of it, at each distance.

    Parameters
    ----------
    sample : Sample
        What was read.
    settings : FeaturesSettings
        Gray levels, distances and aggregation.

    Returns
    -------
    list of Measured
        One a distance; with a mask, those of each region by its number. A mask without a region
        gives some of no number, all NaN.

    Raises
    ------
    UserError
        The values do not fit the gray levels.
    UnreadableImage
        A region would take more memory, resampled, than is left.

    Examples
    --------
    >>> from glcm_mae.data import Record
    >>> sample = Sample(Record(Path("a.png"), None, "a", None), 1, torch.rand(9, 9), None)
    >>> [row] = measure(sample, FeaturesSettings(images="a.png", out="a.csv"))
    >>> row.levels, len(row.features)
    (32, 25)
    """
    if sample.regions is None:
        everywhere = torch.ones_like(sample.values, dtype=torch.bool)
        return _measured(sample, everywhere, settings)
    rows = []
    for number in sample.regions.unique().tolist():
        if number:
            of_region = _measured(sample, sample.regions == number, settings)
            rows += [replace(row, region=number) for row in of_region]
    return rows or _measured(sample, sample.regions != 0, settings)


def _measured(sample: Sample, inside: Tensor, settings: FeaturesSettings) -> list[Measured]:
    record, name = sample.record, one_line(sample.record.name)
    values, inside = _gridded(sample, inside, settings)
    size = int(inside.sum())
    if settings.outliers is not None:
        inside = without_outliers(values, inside, settings.outliers)
    codes, inside, levels = gray_levels(values, inside, settings, name)
    pixels = int(inside.sum())
    mask = None if pixels == inside.numel() else inside
    way = settings.aggregation

    def measured(distance: int) -> Measured:
        if way == "averaged" or way == "merged":
            steps = [(dy, dx) for dy, dx in directions(2, distance)]
            features = image_features(codes, levels, steps, aggregation=way, mask=mask)
        else:
            features = volume_features(codes, levels, way, distance=distance, mask=mask)
        found = tuple(features.tolist())
        return Measured(record, None, levels, distance, pixels, size - pixels, found)

    return [measured(distance) for distance in settings.distances]


def _gridded(sample: Sample, inside: Tensor, settings: FeaturesSettings) -> tuple[Tensor, Tensor]:
    """Cut out what lies around a region, on the grid that is asked for."""
    values = sample.values.round() if settings.round_values else sample.values
    if settings.spacing is None:
        box = bounding_box(inside)
        return values[box], inside[box]
    assert sample.sides is not None  # as `read_samples` saw to
    wanted = [settings.spacing] * values.ndim
    if settings.is_volumetric and not settings.is_3d:
        wanted[0] = sample.sides[0]  # slices stay where they are
    path = Path(sample.record.name)
    values, inside = resample(values, inside, sample.sides, wanted, settings.interpolation, path)
    return values.round() if settings.round_values else values, inside


def _rows(
    manifest: Manifest,
    settings: FeaturesSettings,
    outcome: Outcome,
    progress: Callable[[int], None] | None,
) -> Iterator[Measured]:
    """Yield what is measured, in the images' order, and keep account."""

    def work(found: _Item) -> tuple[_Item, list[Measured]]:
        if isinstance(found, Unreadable):
            return found, []
        try:
            return found, measure(found, settings)
        except UnreadableImage as error:
            if settings.on_error == "stop":
                raise
            return Unreadable(found.record, found.images, error.reason), []

    for found, rows in _in_threads(work, read_samples(manifest.records, settings)):
        if isinstance(found, Unreadable):
            outcome.skipped.append((one_line(found.record.name), found.reason))
        else:
            outcome.depths |= found.depths
            if settings.spacing is not None and not found.tells_unit:
                outcome.without_unit[found.record.path] = None
            if found.stretch is not None:
                outcome.stretched.setdefault(found.record.path, found.stretch)
        regions = len({row.region for row in rows})
        outcome.most_regions = max(outcome.most_regions, (regions, one_line(found.record.name)))
        for row in rows:
            outcome.measured += 1
            outcome.empty += row.is_empty
            outcome.beyond += row.left_out > 0 and row.pixels == 0
            yield row
        if progress is not None:
            progress(found.images)
    if not outcome.measured:
        name, reason = outcome.skipped[0]
        raise UserError(
            f"None of the {len(manifest)} images can be read; the first: {name} {reason}"
        )


_Item = Sample | Unreadable
_T = TypeVar("_T")


def _in_threads(work: Callable[[_Item], _T], items: Iterable[_Item]) -> Iterator[_T]:
    """Yield ``work(item)``, in order.

    This thread takes the items from their files; a few others work, with one torch thread each.
    """
    waiting: deque[Future[_T]] = deque()
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(_THREADS, "", torch.set_num_threads, (1,)) as pool:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > _AHEAD + 1:
                    yield waiting.popleft().result()
            for result in waiting:
                yield result.result()
    finally:
        torch.set_num_threads(before)  # what one thread sets holds for all that begin after it
