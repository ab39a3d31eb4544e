"""One image of a data set: where it lies, its class, its patient, its side of a split."""

from __future__ import annotations

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
