"""The table of features: a CSV that pandas and R read as it is."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from math import isnan
from pathlib import Path
from typing import NamedTuple

from glcm_mae import __version__
from glcm_mae.data import Manifest, Record
from glcm_mae.files import whole_file
from glcm_mae.settings import FeaturesSettings
from glcm_mae.texture import FEATURE_NAMES

__all__ = ["Measured", "write_table"]

_Cells = dict[str, object]


@dataclass(frozen=True)
class Measured:
    """The features of an image, a volume, or a region of one, at a distance.

    Parameters
    ----------
    record : Record
        The image; of a volume, its file.
    region : int or None
        Its number in the mask.
    levels : int
        Number of gray levels.
    distance : int
        Steps between the two pixels of a pair.
    pixels : int
        How many pixels, or voxels, of the region were measured.
    left_out : int
        How many others of it lie beyond the range.
    features : tuple of float
        In the order of ``FEATURE_NAMES``; NaN where there is no pixel pair.

    Examples
    --------
    >>> record = Record(Path("a.png"), None, "a", None)
    >>> Measured(record, None, 32, 1, 9, 0, (float("nan"),) * 25).is_empty
    True
    """

    record: Record
    region: int | None
    levels: int
    distance: int
    pixels: int
    left_out: int
    features: tuple[float, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is no pixel pair."""
        return isnan(self.features[0])


def write_table(
    path: Path, rows: Iterable[Measured], manifest: Manifest, settings: FeaturesSettings
) -> None:
    """Write features row by row into a file that appears whole or not at all.

    The columns: where the values come from (path and frame, or patient and number of images;
    label and region where there are any), of how many pixels, how they were measured, and the 25
    features. Numbers have all the digits of a float64.

    Parameters
    ----------
    path : Path
        The CSV; replaced if it exists.
    rows : iterable of Measured
        In the images' order. An error while they are made leaves nothing behind.
    manifest : Manifest
        The images; says which columns there are.
    settings : FeaturesSettings
        How they are measured.

    Raises
    ------
    UserError
        The file cannot be written; what was there is intact.

    Examples
    --------
    >>> import tempfile
    >>> record = Record(Path("a.png"), None, "a", None)
    >>> row = Measured(record, None, 32, 1, 81, 0, (0.1,) * 25)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     settings = FeaturesSettings(images="a.png", out=f"{folder}/a.csv")
    ...     write_table(Path(settings.out), [row], Manifest((record,), (), False), settings)
    ...     header, line = Path(settings.out).read_text().splitlines()
    >>> header.split(",")[:4], line.split(",")[:4], line.split(",")[-1]
    (['path', 'pixels', 'binning', 'levels'], ['a.png', '81', 'fixed_bin_number', '32'], '0.1')
    """
    names = [*_columns(manifest, settings), *FEATURE_NAMES]
    constant = _how_measured(settings)
    cells = _by_patient(rows) if settings.per == "patient" else map(_of_image, rows)
    with whole_file(path) as file:
        # A file's name that is no text goes out as the bytes it came as.
        text = TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
        table = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(constant | row for row in cells)
        text.detach()  # the file is closed by whoever opened it


def _columns(manifest: Manifest, settings: FeaturesSettings) -> list[str]:
    """Name the columns before the features: only those that say something."""
    by_patient = settings.per == "patient"
    frames = any(record.frame is not None for record in manifest.records)
    possible = {
        "path": not by_patient,
        "frame": not by_patient and not settings.is_volumetric and frames,
        "label": len(manifest.classes) > 0,
        "patient": manifest.tells_patients,
        "region": any(record.mask is not None for record in manifest.records),
        "images": by_patient,
        "pixels": True,
        "left_out": settings.range is not None or settings.outliers is not None,
        "spacing": settings.spacing is not None,
        "interpolation": settings.spacing is not None,
        "round_values": settings.round_values,
        "outliers": settings.outliers is not None,
        "binning": True,
        # The number of bins of a fixed size differs from image to image.
        "levels": not (by_patient and settings.has_bin_width),
        "bin_width": settings.bin_width is not None,
        "range_low": settings.range is not None,
        "range_high": settings.range is not None,
        "window": settings.window is not None,
        "distance": True,
        "aggregation": True,
        "glcm_mae": True,
    }
    return [name for name, is_shown in possible.items() if is_shown]


def _how_measured(settings: FeaturesSettings) -> _Cells:
    """Say what identifies the measurement: the same in every row."""
    low, high = settings.range or ("", "")
    window: object = settings.window
    if isinstance(window, tuple):
        window = f"{window[0]} to {window[1]}"
    return {
        "spacing": settings.spacing,
        "interpolation": settings.interpolation,
        "round_values": settings.round_values,
        "outliers": settings.outliers,
        "binning": settings.binning,
        "levels": settings.levels,
        "bin_width": settings.bin_width,
        "range_low": low,
        "range_high": high,
        "window": window,
        "aggregation": settings.aggregation,
        "glcm_mae": __version__,
    }


def _of_image(row: Measured) -> _Cells:
    record = row.record
    return {
        "path": record.path,
        "frame": record.frame,
        "label": record.label,
        "patient": record.patient,
        "region": row.region,
        "levels": row.levels,
        "distance": row.distance,
        "pixels": row.pixels,
        "left_out": row.left_out,
        **_features(row.features),
    }


class _Group(NamedTuple):
    """What makes a row of a patient."""

    patient: str
    region: int | None
    distance: int


def _by_patient(rows: Iterable[Measured]) -> Iterator[_Cells]:
    """Average over each patient's images, by region and distance; NaN does not count.

    A patient whose images are of several classes has no label. Pixels are summed, those of images
    without a pair, too.
    """
    sums: dict[_Group, tuple[int, list[float]]] = {}
    sizes: dict[_Group, list[int]] = {}
    labels: dict[str, set[str | None]] = {}
    for row in rows:
        patient = row.record.patient
        labels.setdefault(patient, set()).add(row.record.label)
        group = _Group(patient, row.region, row.distance)
        count, total = sums.setdefault(group, (0, [0.0] * len(FEATURE_NAMES)))
        size = sizes.setdefault(group, [0, 0])
        size[:] = size[0] + row.pixels, size[1] + row.left_out
        if not row.is_empty:
            total = [a + b for a, b in zip(total, row.features, strict=True)]
            sums[group] = count + 1, total
    marked = {group.patient for group in sums if group.region is not None}
    for group, (count, total) in sums.items():
        if group.region is None and group.patient in marked:
            continue  # the images in which nothing is marked
        label = set(labels[group.patient])
        yield {
            **group._asdict(),
            "label": label.pop() if len(label) == 1 else None,
            "images": count,
            "pixels": sizes[group][0],
            "left_out": sizes[group][1],
            **_features([value / count if count else float("nan") for value in total]),
        }


def _features(values: Sequence[float]) -> _Cells:
    # R knows NaN in this spelling alone; a float64's repr has all its digits.
    cells = ("NaN" if isnan(value) else repr(value) for value in values)
    return dict(zip(FEATURE_NAMES, cells, strict=True))
