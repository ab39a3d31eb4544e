"""One image of a data set: where it lies, its class, its patient, its side of a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "val", "test")
"""The sides of a split."""


@dataclass(frozen=True)
class Record:
    """One image of a data set.

    Parameters
    ----------
    path : Path
        The image file.
    label : str or None
        Its class; None if unlabelled.
    patient : str
        The unit that must not cross a split. Where no patient is known, the file's own path; where
        a DICOM header tells of the person, the path of the first file of his.
    split : str or None
        "train", "val" or "test" where the data set fixes it; else None.
    frame : int or None
        Which image of a file that holds several, counted from 0; None for a file of one.
    mask : Path or None
        The file of its mask, if it has one: of texture features, the regions.
    person : str
        Digest of the identifier in its DICOM header, looked up where the data set names no patients
        (`glcm_mae.data.persons`); '' where there is none. Manifests and tables do not hold it.

    Examples
    --------
    >>> Record(Path("IM-0117-0001.png"), "NORMAL", "IM-0117", None).patient
    'IM-0117'
    >>> Record(Path("cine.dcm"), None, "cine.dcm", None, frame=3).name
    'cine.dcm#3'
    """

    path: Path
    label: str | None
    patient: str
    split: str | None
    frame: int | None = None
    mask: Path | None = None
    person: str = ""

    @property
    def name(self) -> str:
        """What tables and messages call the image: its path, with ``#frame`` where it has one."""
        return str(self.path) if self.frame is None else f"{self.path}#{self.frame}"


def file_by_file(records: Sequence[Record]) -> list[int]:
    """Put images in the order in which to read them: those of one file together.

    Of packed files the last alone is kept unpacked. Read in the order of a table that was shuffled,
    or sorted by class, each slice would unpack its volume anew.

    Parameters
    ----------
    records : sequence of Record
        The images.

    Returns
    -------
    list of int
        Their positions: files in the order of their first image, images of one in their own.

    Examples
    --------
    >>> names = ("a.nii.gz", "b.nii.gz", "a.nii.gz")
    >>> file_by_file([Record(Path(name), None, name, None, n) for n, name in enumerate(names)])
    [0, 2, 1]
    """
    first: dict[Path, int] = {}
    for position, record in enumerate(records):
        first.setdefault(record.path, position)
    return sorted(range(len(records)), key=lambda position: first[records[position].path])
