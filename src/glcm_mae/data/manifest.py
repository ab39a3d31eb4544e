"""The list of images of a data set: where each lies, its class, its patient, its split."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from glcm_mae.data.folder import read_folder
from glcm_mae.data.persons import one_patient_each, with_persons
from glcm_mae.data.readers import (
    Plane,
    UnreadableImage,
    count_frames,
    is_volume,
    one_line,
    read_medmnist_labels,
)
from glcm_mae.data.record import Record
from glcm_mae.data.tables import (
    COLUMNS,
    first_few,
    manifest_rows,
    table_records,
    translated_rows,
)
from glcm_mae.errors import UserError
from glcm_mae.files import csv_text, write_atomically

__all__ = ["Manifest", "Record", "check_names", "patients_on_two_sides", "read_manifest"]


@dataclass(frozen=True)
class Manifest:
    """The images of a data set in a fixed order.

    Parameters
    ----------
    records : tuple of Record
        One per image.
    classes : tuple of str
        All labels, sorted. A subset keeps the classes of the whole, so that the class numbers
        mean the same in both.
    has_patients : bool
        Whether the data set names patients. If not, each image counts as a patient of its own, but
        for those of one file, of one person (`has_persons`), or of one group.
    plane : {"axial", "coronal", "sagittal"}
        How volumes (NIfTI, NRRD, MetaImage) are cut into the slices that the frames count.
    has_persons : bool
        Whether DICOM headers tell persons apart in a data set that names no patients.
    has_groups : bool
        Whether patients are groups of images that count as one, though no patient is known.

    Examples
    --------
    >>> records = (
    ...     Record(Path("a.png"), "normal", "p1", None),
    ...     Record(Path("b.png"), "benign", "p2", None),
    ... )
    >>> manifest = Manifest(records, classes=("benign", "normal"), has_patients=True)
    >>> manifest.labels.tolist(), manifest.patients.tolist()
    ([1, 0], ['p1', 'p2'])
    >>> manifest.subset([1]).labels.tolist()
    [0]
    """

    records: tuple[Record, ...]
    classes: tuple[str, ...]
    has_patients: bool
    plane: Plane = "axial"
    has_persons: bool = False
    has_groups: bool = False

    @property
    def tells_patients(self) -> bool:
        """Whether it is known which images are of one patient: by the data set, or by headers."""
        return self.has_patients or (self.has_persons and not self.has_groups)

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def labels(self) -> np.ndarray:
        """Class numbers (N,) int64: positions in `classes`, -1 for an unlabelled image."""
        numbers: dict[str | None, int] = {name: k for k, name in enumerate(self.classes)}
        return np.array([numbers.get(record.label, -1) for record in self.records], dtype=np.int64)

    @cached_property
    def patients(self) -> np.ndarray:
        """Patients (N,) as strings."""
        return np.array([record.patient for record in self.records], dtype=np.str_)

    def subset(self, indices: Sequence[int] | np.ndarray) -> Manifest:
        """Pick some images, in the order given.

        Parameters
        ----------
        indices : sequence of int
            Positions in `records`.

        Returns
        -------
        Manifest
            These images, with the same classes.
        """
        return replace(self, records=tuple(self.records[int(index)] for index in indices))

    def spread(self, at_most: int) -> Manifest:
        """Pick some images, evenly spread over the set.

        Parameters
        ----------
        at_most : int
            How many; all of them where there are no more.

        Returns
        -------
        Manifest
            These images, with the same classes.
        """
        return self.subset(evenly_spread(len(self), at_most))

    def write(self, path: str | Path) -> None:
        """Write the manifest as CSV, which `read_manifest` reads back.

        Images below the CSV's folder are named relative to it, others by their absolute path.
        The patient column is empty where no patient is known; there is a column frame or mask if an
        image has one, and a column plane if it is a slice of a volume. The file appears whole
        or not at all.

        Parameters
        ----------
        path : str or Path
            The CSV file; replaced if it exists.

        Raises
        ------
        UserError
            If a name begins or ends with a space, which would be lost, or the file cannot be
            written; an older one is then intact.
        """
        path = Path(path)
        folder = os.path.abspath(path.parent)
        unit = "copy_group" if self.has_groups else "patient"
        is_known = self.has_groups or self.has_patients
        rows = [
            {
                "path": _relative(record.path, folder),
                "frame": "" if record.frame is None else str(record.frame),
                "label": record.label or "",
                unit: record.patient if is_known else "",
                "split": record.split or "",
                "mask": "" if record.mask is None else _relative(record.mask, folder),
                "plane": self.plane if record.frame is not None and is_volume(record.path) else "",
            }
            for record in self.records
        ]
        cells = [cell for row in rows for cell in row.items()]
        for column, cell in cells:
            if cell != cell.strip():
                raise UserError(
                    f"the {column} {cell!r} begins or ends with a space, which is lost in a CSV: "
                    "rename the file or folder."
                )
        columns = [
            name
            for name in COLUMNS
            if name in rows[0]
            and (name not in ("frame", "mask", "plane") or any(row[name] for row in rows))
        ]
        table = csv_text(columns, ([row[name] for name in columns] for row in rows))
        write_atomically(path, table)


def read_manifest(
    source: str | Path,
    patient_regex: str | None = None,
    plane: Plane = "axial",
    may_cross: bool = False,
    columns: Mapping[str, str] | None = None,
    may_lack: bool = False,
) -> Manifest:
    r"""List the images of a folder, of a CSV manifest or of a MedMNIST file.

    A folder is read as a class-per-folder tree (subfolders of a class are searched too, hidden
    files are left out); if its subfolders are called train, val and test, each of these is such
    a tree. A folder that holds only images is a set of unlabelled images. A CSV has the columns
    ``path,frame,label,patient,copy_group,split,mask,plane``, of which only ``path`` is required; it
    is relative to the CSV's folder, as ``mask`` is, which texture features alone look at. Commas,
    semicolons or tabs separate the columns. Where no patient is known, images of one ``copy_group``
    count as one, whatever DICOM headers say; else those of one person by these. An empty label
    means unlabelled; a column that is empty throughout counts as absent. The plane is that in which
    the frames of a volume are counted, and must be the one asked for.

    A file that holds several images (pages, frames, slices) stands for all of them, unless a row
    of a CSV names one by its frame, counted from 0. Where no patient is known, the images of one
    file count as one patient, so that they never cross a split.

    A MedMNIST ``.npz`` keeps its official split; each of its images counts as a patient, and its
    classes are its label numbers. Where an image has several labels (ChestMNIST), it has none here.

    Parameters
    ----------
    source : str or Path
        The folder, the CSV file or the .npz file.
    patient_regex : str, optional
        Regular expression searched in each file's name; its first group (the whole match if it
        has none) is the patient. For the chest X-rays of Kermany et al., one expression finds
        the patients of ``person1018_virus_1706.png``, ``IM-0117-0001.png`` and
        ``NORMAL2-IM-0117-0001.png``: ``^(person\d+|(?:NORMAL\d+-)?IM-\d+)``.
    plane : {"axial", "coronal", "sagittal"}
        How volumes (NIfTI, NRRD, MetaImage) are cut into slices.
    may_cross : bool
        Whether patients on two sides of the given split are let through, for an audit to report.
    columns : dict, optional
        What the columns of a CSV of another make are; see `translated_rows`.
    may_lack : bool
        Whether files that a CSV names may be missing, for whoever reads them to skip and report.

    Returns
    -------
    Manifest
        The images: of a folder sorted by class and path, of a CSV in its order.

    Raises
    ------
    UserError
        The source is missing or holds no images, a folder cannot be listed, a class folder is
        empty, a CSV has missing files, duplicates, unknown columns or gaps, a file name is no
        text or has no patient, a patient is on two sides of the given split, ``columns`` are given
        for what is no CSV, or ``patient_regex`` for what tells its patients or is one file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("benign/p1_a.png", "benign/p1_b.png", "normal/p2_a.png"):
    ...         file = Path(folder, name)
    ...         file.parent.mkdir(exist_ok=True)
    ...         file.touch()
    ...     manifest = read_manifest(folder, patient_regex=r"^p\d+")
    >>> manifest.classes, manifest.labels.tolist(), manifest.patients.tolist()
    (('benign', 'normal'), [0, 0, 1], ['p1', 'p1', 'p2'])
    """
    source = Path(source)
    if not source.exists():
        raise UserError(f"{source} does not exist: give a folder of images or a CSV manifest.")
    is_table = source.suffix.lower() == ".csv" and not source.is_dir()
    if columns is not None and not is_table:
        raise UserError(f"columns are those of a CSV, and {source} is none: leave them out.")
    if source.suffix.lower() == ".npz":
        if patient_regex is not None:
            raise UserError(
                f"{source} is one file, each of whose images counts as a patient: leave "
                "patient_regex out, or give a folder or a manifest."
            )
        return _read_medmnist(source, plane)
    if source.is_dir():
        records, has_patients, grouped = read_folder(source), False, False
    elif is_table:
        rows = manifest_rows(source) if columns is None else translated_rows(source, columns)
        records, has_patients = table_records(source, rows, plane, may_lack)
        grouped = any(row.get("copy_group") for row in rows)
    else:
        raise UserError(
            f"{source} is no folder and no .csv file (nor a MedMNIST .npz): give a folder or a "
            "manifest."
        )
    if patient_regex is not None:
        if has_patients:
            raise UserError(
                f"{source} has a patient column and patient_regex is set too: remove one of them."
            )
        records, has_patients = _with_patients(records, patient_regex), True
    crossing = patients_on_two_sides(
        [record.patient for record in records], [record.split or "" for record in records]
    )
    if crossing and not may_cross:
        raise UserError(
            f"{source} puts {len(crossing)} patient(s) on two sides of its split: give all images "
            "of a patient the same split (glcm-mae data check shows which)."
        )
    records = [single for record in records for single in _frames_of(record, plane)]
    check_names(records)
    _check_listed_once(source, records)
    has_persons = False
    if not has_patients:
        records = with_persons(records)
        has_persons = len({record.person for record in records} - {""}) > 1
        if has_persons and not grouped:
            records = one_patient_each(records)
    classes = tuple(sorted({record.label for record in records if record.label is not None}))
    return Manifest(tuple(records), classes, has_patients, plane, has_persons, grouped)


def evenly_spread(n: int, at_most: int) -> np.ndarray:
    """Pick positions in a row of n, evenly spread: all where there are no more.

    Examples
    --------
    >>> evenly_spread(10, 4).tolist(), evenly_spread(2, 4).tolist()
    ([0, 3, 6, 9], [0, 1])
    """
    return np.linspace(0, n - 1, min(at_most, n)).astype(int)


def patients_on_two_sides(
    patients: Sequence[str] | np.ndarray, sides: Sequence[str] | np.ndarray
) -> list[str]:
    """Find the patients whose images lie on more than one side of a split.

    Parameters
    ----------
    patients : sequence of str
        The patient of each image.
    sides : sequence of str
        The side of each image, in the same order.

    Returns
    -------
    list of str
        The patients that cross, sorted.

    Examples
    --------
    >>> patients_on_two_sides(["p1", "p1", "p2"], ["train", "test", "test"])
    ['p1']
    """
    pairs = {(str(patient), str(side)) for patient, side in zip(patients, sides, strict=True)}
    sides_of = Counter(patient for patient, _ in pairs)
    return sorted(patient for patient, count in sides_of.items() if count > 1)


def check_names(records: list[Record]) -> None:
    """Refuse names that no table can hold: bytes that are no text in UTF-8.

    Parameters
    ----------
    records : list of Record
        The images.

    Raises
    ------
    UserError
        Naming the file.
    """
    for record in records:
        if not str(record.path).isprintable():  # else quickly told: nearly all names are
            try:
                str(record.path).encode()
            except UnicodeEncodeError:
                raise UserError(
                    f"{one_line(record.path)} has a name that is no text in UTF-8: rename it."
                ) from None


def _read_medmnist(source: Path, plane: Plane) -> Manifest:
    """List the images of a MedMNIST file by their numbers, with its official split."""
    labels = read_medmnist_labels(source)
    tasks = max(of_split.shape[1] for of_split in labels.values())
    digits = len(str(max(int(of_split.max()) for of_split in labels.values())))
    rows = [
        (split, f"{row[0]:0{digits}d}" if tasks == 1 else None)
        for split, of_split in labels.items()
        for row in of_split
    ]
    records = tuple(
        Record(source, label, f"{source}#{frame}", split, frame)
        for frame, (split, label) in enumerate(rows)
    )
    classes = tuple(sorted({label for _, label in rows if label is not None}))
    return Manifest(records, classes, False, plane)


def _frames_of(record: Record, plane: Plane) -> list[Record]:
    """Name each image of a file that holds several."""
    if record.frame is not None:
        return [record]
    try:
        frames = count_frames(record.path, plane)
    except UnreadableImage:
        return [record]  # whoever reads it says what is wrong, or skips it
    if frames == 1:
        return [record]
    return [replace(record, frame=frame) for frame in range(frames)]


def _check_listed_once(source: Path, records: list[Record]) -> None:
    listed = Counter((os.path.abspath(record.path), record.frame) for record in records)
    twice = [image for image, count in listed.items() if count > 1]
    if twice:
        names = [place if frame is None else f"{place}#{frame}" for place, frame in twice]
        raise UserError(
            f"{source} lists {len(twice)} image(s) more than once ({first_few(names)}): keep one "
            "row for each."
        )


def _with_patients(records: list[Record], patient_regex: str) -> list[Record]:
    try:
        pattern = re.compile(patient_regex)
    except re.error as error:
        raise UserError(f"patient_regex is no regular expression ({error}): mend it.") from error
    return [replace(record, patient=_patient(record.path, pattern)) for record in records]


def _patient(path: Path, pattern: re.Pattern[str]) -> str:
    match = pattern.search(path.name)
    patient = match.group(1 if pattern.groups else 0) if match else None
    if not patient:
        raise UserError(
            f"{one_line(path)} has no patient in its name by patient_regex '{pattern.pattern}', "
            "which is not searched in folders' names: mend the expression, or give a CSV with the "
            "columns path,patient."
        )
    return patient


def _relative(path: Path, folder: str) -> str:
    absolute = Path(os.path.abspath(path))
    return (
        absolute.relative_to(folder) if absolute.is_relative_to(folder) else absolute
    ).as_posix()
