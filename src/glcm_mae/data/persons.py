"""Whose images are whose, where only their DICOM headers tell."""

from __future__ import annotations

import numpy as np

from glcm_mae.data.groups import joined_groups
from glcm_mae.data.manifest import Manifest, Record
from glcm_mae.data.pseudonyms import dicom_patient
from glcm_mae.errors import UserError

__all__ = ["header_groups"]


def header_groups(manifest: Manifest) -> np.ndarray | None:
    """Group images by the patient in their DICOM headers, where the data set names no patients.

    The identifiers are compared and forgotten.

    Parameters
    ----------
    manifest : Manifest
        The data set.

    Returns
    -------
    np.ndarray or None
        Group (N,) int64 of each image. None where the data set names patients, or where headers
        tell no two persons apart: sets are made anonymous by one identifier for all.

    Examples
    --------
    >>> from pathlib import Path
    >>> records = (Record(Path("a.png"), None, "a.png", None),)
    >>> header_groups(Manifest(records, (), has_patients=False)) is None
    True
    """
    if manifest.has_patients:
        return None
    of_file = {record.path: _person(record) for record in manifest.records}
    if len({person for person in of_file.values() if person}) < 2:
        return None
    persons = [of_file[record.path] or str(record.path) for record in manifest.records]
    return joined_groups(manifest.patients, persons)


def _person(record: Record) -> str:
    try:
        return dicom_patient(record)
    except UserError:  # no DICOM file, without an identifier, or not to be read
        return ""
