"""Building a manifest from what a user has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from glcm_mae.data.layouts import read_layout
from glcm_mae.data.manifest import (
    Manifest,
    check_names,
    patients_on_two_sides,
    read_manifest,
)
from glcm_mae.data.naming import left_out, listed, named_by, renamed
from glcm_mae.data.pseudonyms import dicom_patient, pseudonym, read_key
from glcm_mae.data.readers import Plane
from glcm_mae.errors import UserError

__all__ = ["build_manifest"]


def build_manifest(
    images: str | Path,
    out: str | Path,
    layout: str | None = None,
    pattern: str | None = None,
    leave_out: str | None = None,
    columns: Mapping[str, str] | None = None,
    rename: Mapping[str, str] | None = None,
    dicom_patients: bool = False,
    key_file: str | None = None,
    official_split: bool = True,
    plane: Plane = "axial",
) -> tuple[Manifest, str]:
    """List the images of a folder with all that is known of them.

    With a layout, the set's own rules say everything. With a pattern, only what it names is
    taken of a folder. Without either, the folders say class and split, or a table's columns do.

    Parameters
    ----------
    images : str or Path
        The folder, a CSV, or the .npz file of a MedMNIST set.
    out : str or Path
        The manifest's file, outside whose folder the key must lie. It is not written here.
    layout : str, optional
        A public set by name, see `read_layout`.
    pattern : str, optional
        See `named_by`.
    leave_out : str, optional
        See `left_out`.
    columns : dict, optional
        See `glcm_mae.data.tables.translated_rows`.
    rename : dict, optional
        See `renamed`.
    dicom_patients : bool
        Take the patients from the DICOM headers.
    key_file : str, optional
        A secret that turns patients into codes, see `read_key`.
    official_split : bool
        Keep the split that folders or a layout give.
    plane : {"axial", "coronal", "sagittal"}
        How volumes (NIfTI, NRRD, MetaImage) are cut into slices; that of a manifest, if it says
        one.

    Returns
    -------
    Manifest, str
        The images, and a sentence on them. Patients are codes if a key is given.

    Raises
    ------
    UserError
        The settings contradict each other, or the files do not fit them.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "benign_p1.png").touch()
    ...     pattern = "(?P<label>[a-z]+)_(?P<patient>p1)"
    ...     manifest, told = build_manifest(folder, "manifest.csv", pattern=pattern)
    >>> told
    '1 images of 1 patients: benign 1.'
    """
    if layout is not None and (pattern is not None or columns or dicom_patients):
        raise UserError(
            "layout says all of a known set: leave pattern, columns and dicom_patients out, or the "
            "layout."
        )
    folder = Path(images)
    if dicom_patients and key_file is None:
        raise UserError(
            "dicom_patients writes patients as codes and needs a secret: name its file with "
            "--key_file, outside the manifest's folder; it is made if it does not exist."
        )
    key = read_key(Path(key_file), Path(out)) if key_file is not None else None
    found = _found(folder, layout, pattern, columns, plane)
    records, has_patients = list(found.records), found.has_patients
    check_names(records)
    root = folder.parent if folder.is_file() else folder
    if leave_out is not None:
        records = left_out(leave_out, records, root)
    if not records:
        raise UserError(f"{images} has no images left: mend leave_out.")
    if pattern is not None:
        records, names_patients = named_by(pattern, records, root)
        has_patients = has_patients or names_patients
    if rename:
        records = renamed(rename, records, folder)
    if dicom_patients:
        records = [replace(record, patient=dicom_patient(record.path)) for record in records]
        has_patients = True
    if key is not None and has_patients:
        records = [replace(r, patient=pseudonym(r.patient, key)) for r in records]
    if not official_split:
        records = [replace(record, split=None) for record in records]
    classes = tuple(sorted({record.label for record in records if record.label is not None}))
    has_groups = found.has_groups and not has_patients
    manifest = Manifest(tuple(records), classes, has_patients, plane, has_groups=has_groups)
    return manifest, _told(manifest)


def _found(
    images: Path,
    layout: str | None,
    pattern: str | None,
    columns: Mapping[str, str] | None,
    plane: Plane,
) -> Manifest:
    if layout is not None:
        return read_layout(images, layout)
    if pattern is not None and images.is_dir() and not columns:
        return Manifest(tuple(listed(images)), (), has_patients=False)
    return read_manifest(images, plane=plane, may_cross=True, columns=columns or None)


def _told(manifest: Manifest) -> str:
    classes = Counter(record.label or "(unlabelled)" for record in manifest.records)
    counts = ", ".join(f"{name} {count}" for name, count in sorted(classes.items()))
    patients = f" of {len(set(manifest.patients.tolist()))} patients" * manifest.has_patients
    told = f"{len(manifest)} images{patients}: {counts}."
    sides = [record.split or "" for record in manifest.records]
    crossing = patients_on_two_sides(manifest.patients, sides)
    if crossing:
        told += (
            f" {len(crossing)} patient(s) stand on two sides of the given split, so that no stage "
            "will train on it: build it with --official_split false and split it anew."
        )
    return told
