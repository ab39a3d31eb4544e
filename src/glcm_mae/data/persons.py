"""Whose image is whose: by the data set, or where it names no patients, by DICOM headers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from glcm_mae.data.pseudonyms import dicom_patient
from glcm_mae.data.readers import is_medmnist
from glcm_mae.data.record import Record
from glcm_mae.errors import UserError

if TYPE_CHECKING:
    from glcm_mae.data.manifest import Manifest

__all__ = ["files_of", "identities", "one_patient_each", "with_persons"]

_DIGITS = 16  # of 64: two of a million persons share a digest with a probability of 3e-8


def with_persons(records: Sequence[Record]) -> list[Record]:
    """Look up whom DICOM headers name.

    An identifier is digested and forgotten. A file is opened once, however many images it holds.

    Parameters
    ----------
    records : sequence of Record
        Images of a data set that names no patients.

    Returns
    -------
    list of Record
        The same, with `person` filled in where a header names one.

    Examples
    --------
    >>> from pydicom.data import get_testdata_file
    >>> path = Path(get_testdata_file("CT_small.dcm"))
    >>> [record] = with_persons([Record(path, None, "a.dcm", None)])
    >>> record.patient, len(record.person)
    ('a.dcm', 16)
    """
    found = {path: _person(path) for path in dict.fromkeys(record.path for record in records)}
    return [replace(record, person=found[record.path]) for record in records]


def one_patient_each(records: Sequence[Record]) -> list[Record]:
    """Let the images of one person count as one patient.

    The patient is named after the first image's file: a header's identifier, or a number made from
    it, may not stand in a table.

    Parameters
    ----------
    records : sequence of Record
        From `with_persons`.

    Returns
    -------
    list of Record

    Examples
    --------
    >>> records = [Record(Path(f"{n}.dcm"), None, f"{n}.dcm", None, person="x") for n in (7, 8)]
    >>> [record.patient for record in one_patient_each(records)]
    ['7.dcm', '7.dcm']
    """
    first: dict[str, str] = {}
    for record in records:
        first.setdefault(record.person, str(record.path))
    return [
        replace(record, patient=first[record.person]) if record.person else record
        for record in records
    ]


def identities(manifest: Manifest, *, doubtful: bool = False) -> list[tuple[str, ...]]:
    """Say of each image whose it is, in a way that can be compared with another set's.

    Names that this package has invented are none: images of two sets are not one patient's because
    both are in a group 3.

    Parameters
    ----------
    manifest : Manifest
        The data set, as `read_manifest` gives it.
    doubtful : bool
        Whether an identifier counts that all of the set's DICOM headers share: a set of one
        patient has it, and one made anonymous. Of two sets that are compared, one at least must
        tell persons apart.

    Returns
    -------
    list of tuple of str
        Digests (16 hexadecimal digits) of the patient; where the data set names none, of the person
        in the DICOM header, and of a file that holds several images. Empty where nothing is known.
        A patient in a header is the patient of the same name in a manifest: such a manifest's names
        are often those of the headers.

    Examples
    --------
    >>> from glcm_mae.data.manifest import Manifest
    >>> records = (Record(Path("a.png"), None, "7", None),)
    >>> identities(Manifest(records, (), has_patients=True))
    [('7902699be42c8a8e',)]
    >>> identities(Manifest(records, (), has_patients=False))
    [()]
    """
    if manifest.has_patients:
        return [(_digest(record.patient),) for record in manifest.records]
    by_header = manifest.has_persons or doubtful
    found = []
    for record, file in zip(manifest.records, files_of(manifest.records), strict=True):
        person = record.person if by_header else ""
        # A file of one image is no more than the image.
        shared = "" if record.frame is None or file == record.name else _digest(file)
        found.append(tuple(filter(None, (person, shared))))
    return found


def files_of(records: Sequence[Record]) -> list[str]:
    """Name the file of each image, whose other images are of the same patient if there are any.

    Parameters
    ----------
    records : sequence of Record
        The images.

    Returns
    -------
    list of str
        Of an image of a MedMNIST file its own name, for it holds images that are strangers.

    Examples
    --------
    >>> files_of([Record(Path("/data/ct.nii"), None, "", None, frame=3)])
    ['/data/ct.nii']
    """
    paths = dict.fromkeys(record.path for record in records)
    shared = {path: None if _holds_strangers(path) else os.path.realpath(path) for path in paths}
    return [shared[record.path] or record.name for record in records]


def _holds_strangers(path: Path) -> bool:
    try:
        return path.suffix.lower() == ".npz" and is_medmnist(path)
    except UserError:  # whoever reads it says what is wrong, or skips it
        return False


def _person(path: Path) -> str:
    try:
        return _digest(dicom_patient(path))
    except UserError:  # no DICOM file, without an identifier, or not to be read
        return ""


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]
